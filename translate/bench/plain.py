"""The plain way: what the papers' code does, and a person following it would write.

PyTorch as it comes: float32 (or autocast around the forward passes), contiguous tensors, one call
of a generator for each translation, reconstruction and identity, ``torch.optim.Adam`` with its
defaults, pictures converted one after the other. It is what the toolkit is measured against, and is
tested to compute the same as the toolkit; so it is to be made neither faster nor slower.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from gan_core.routing import Batch, Method, Progress, Step, only_trains, trainable

Cast = Callable[[], AbstractContextManager[Any]]
Optimizer = Callable[[str, Sequence[nn.Parameter]], torch.optim.Optimizer]  # of an update's name


class ImagePool:
    """Section 4 of CycleGAN's paper: discriminators are shown 50 earlier pictures, too."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        if self.size == 0:
            return images
        shown = []
        for image in images.split(1):
            if len(self.images) < self.size:
                self.images.append(image)
                shown.append(image)
            elif random.random() > 0.5:
                place = random.randrange(self.size)
                shown.append(self.images[place])
                self.images[place] = image
            else:
                shown.append(image)
        return torch.cat(shown)


def set_requires_grad(nets: Sequence[nn.Module], value: bool) -> None:
    for net in nets:
        for parameter in net.parameters():
            parameter.requires_grad_(value)


def parameters(*nets: nn.Module) -> list[nn.Parameter]:
    return [parameter for net in nets for parameter in net.parameters()]


class CycleGAN:
    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        optimizer: Optimizer,
        cast: Cast = nullcontext,
        *,
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.5,
        pool_size: int = 50,
    ) -> None:
        self.G, self.F, self.D_X, self.D_Y = (nets[n] for n in ("G", "F", "D_X", "D_Y"))
        self.optimizer_G = optimizer("generator", parameters(self.G, self.F))
        self.optimizer_D = optimizer("discriminator", parameters(self.D_X, self.D_Y))
        self.pool_x, self.pool_y = ImagePool(pool_size), ImagePool(pool_size)
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.cast = cast
        self.l1 = nn.L1Loss()

    def adversarial(self, scores: Tensor, real: bool) -> Tensor:
        """Least squares (section 4)."""
        return nn.functional.mse_loss(scores, torch.full_like(scores, float(real)))

    def step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        batch = next(batches)
        x, y = batch["x"], batch["y"]

        set_requires_grad([self.D_X, self.D_Y], False)
        self.optimizer_G.zero_grad()
        with self.cast():
            fake_y = self.G(x)
            cycled_x = self.F(fake_y)
            fake_x = self.F(y)
            cycled_y = self.G(fake_x)
            loss_G = self.adversarial(self.D_Y(fake_y), True)
            loss_F = self.adversarial(self.D_X(fake_x), True)
            loss_cycle_x = self.l1(cycled_x, x) * self.lambda_cycle
            loss_cycle_y = self.l1(cycled_y, y) * self.lambda_cycle
            loss = loss_G + loss_F + loss_cycle_x + loss_cycle_y
            if self.lambda_identity > 0:
                weight = self.lambda_cycle * self.lambda_identity
                loss = loss + self.l1(self.G(y), y) * weight
                loss = loss + self.l1(self.F(x), x) * weight
        loss.backward()
        self.optimizer_G.step()

        set_requires_grad([self.D_X, self.D_Y], True)
        self.optimizer_D.zero_grad()
        loss_D_Y = self.judge(self.D_Y, y, self.pool_y.query(fake_y.detach()))
        loss_D_X = self.judge(self.D_X, x, self.pool_x.query(fake_x.detach()))
        self.optimizer_D.step()
        return {"adversarial G": loss_G, "adversarial F": loss_F, "D_X": loss_D_X, "D_Y": loss_D_Y}

    def judge(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        with self.cast():
            on_real = self.adversarial(D(real), True)
            on_fake = self.adversarial(D(fake), False)
            loss = (on_real + on_fake) * 0.5
        loss.backward()
        return loss


class Pix2Pix:
    def __init__(
        self,
        nets: Mapping[str, nn.Module],
        optimizer: Optimizer,
        cast: Cast = nullcontext,
        *,
        lambda_l1: float = 100.0,
        pool_size: int = 0,
    ) -> None:
        self.G, self.D = nets["G"], nets["D"]
        self.optimizer_G = optimizer("generator", parameters(self.G))
        self.optimizer_D = optimizer("discriminator", parameters(self.D))
        self.pool = ImagePool(pool_size)
        self.lambda_l1 = lambda_l1
        self.cast = cast
        self.l1 = nn.L1Loss()

    def adversarial(self, scores: Tensor, real: bool) -> Tensor:
        """Cross entropy (equation 1)."""
        goal = torch.full_like(scores, float(real))
        return nn.functional.binary_cross_entropy_with_logits(scores, goal)

    def step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        batch = next(batches)
        x, y = batch["x"], batch["y"]
        with self.cast():
            fake = self.G(x)

        set_requires_grad([self.D], True)
        self.optimizer_D.zero_grad()
        with self.cast():
            shown = self.pool.query(torch.cat([x, fake], 1).detach())
            on_fake = self.adversarial(self.D(shown), False)
            on_real = self.adversarial(self.D(torch.cat([x, y], 1)), True)
            loss_D = (on_fake + on_real) * 0.5
        loss_D.backward()
        self.optimizer_D.step()

        set_requires_grad([self.D], False)
        self.optimizer_G.zero_grad()
        with self.cast():
            loss_G = self.adversarial(self.D(torch.cat([x, fake], 1)), True)
            loss_l1 = self.l1(fake, y) * self.lambda_l1
            loss = loss_G + loss_l1
        loss.backward()
        self.optimizer_G.step()
        return {"adversarial G": loss_G, "l1": loss_l1, "D": loss_D}


class AnySystem:
    """A system's own losses, each network's step on fakes of its own, as in the algorithms of
    Goodfellow et al. 2014 and Gulrajani et al. 2017.
    """

    def __init__(
        self,
        method: Method,
        nets: Mapping[str, nn.Module],
        optimizer: Optimizer,
        cast: Cast = nullcontext,
    ) -> None:
        self.method, self.nets, self.cast = method, nets, cast
        self.optimizers = {u.name: optimizer(u.name, trainable(u, nets)) for u in method.updates}
        self.progress = Progress(0, 1, 0)

    def step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        logs: dict[str, Tensor] = {}
        for plan in self.method.schedule(self.progress):
            for _ in range(plan.repeats):
                logs |= self.treat(plan, next(batches))
        return logs

    def treat(self, plan: Step, batch: Batch) -> dict[str, Tensor]:
        logs: dict[str, Tensor] = {}
        for update in plan.updates:
            with only_trains([update], self.nets):
                self.optimizers[update.name].zero_grad()
                with self.cast():
                    scene = self.method.scene(self.nets, batch)
                    terms = self.method.losses(update, self.nets, scene)
                torch.stack(list(terms.values())).sum().backward()
            logs |= {name: term.detach() for name, term in terms.items()}
            if not plan.joint:
                self.optimizers[update.name].step()
                if update.project:
                    with torch.no_grad():
                        update.project(list(trainable(update, self.nets)))
        if plan.joint:
            for update in plan.updates:
                self.optimizers[update.name].step()
        return logs


# ------------------------------------------------------------------------------------- converting


@torch.no_grad()
def convert(
    net: nn.Module, sources: Sequence[Path], target: Path, device: torch.device, cast: Cast
) -> None:
    """Read, translate, write: one picture after the other."""
    for source in sources:
        read = cv2.imread(str(source), cv2.IMREAD_COLOR)
        assert read is not None
        picture = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
        x = torch.from_numpy(picture).permute(2, 0, 1).float() / 127.5 - 1
        with cast():
            made = net(x[None].to(device))
        values = (made[0].float().cpu().permute(1, 2, 0).numpy().clip(-1, 1) + 1) * 127.5
        picture = np.rint(values).astype(np.uint8)
        cv2.imwrite(str(target / source.name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


# ---------------------------------------------------------------------------------------- loading


class PillowPairs(Dataset[dict[str, Tensor]]):
    """Two folders as the authors' code reads them, with Pillow: the next picture of the first and
    any of the second, each resized (bicubic, which Pillow does without aliasing), cropped at
    random, mirrored half of the time and brought to [-1, 1].
    """

    def __init__(self, x: Sequence[Path], y: Sequence[Path], load_size: int, size: int) -> None:
        self.x, self.y, self.load_size, self.size = x, y, load_size, size

    def __len__(self) -> int:
        return 10**6  # an epoch's end is not what is measured

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.load(self.x[index % len(self.x)]), "y": self.load(random.choice(self.y))}

    def load(self, path: Path) -> Tensor:
        Image: Any = import_module("PIL.Image")
        picture = Image.open(path).convert("RGB")
        picture = picture.resize((self.load_size, self.load_size), Image.Resampling.BICUBIC)
        left, top = (random.randint(0, self.load_size - self.size) for _ in range(2))
        picture = picture.crop((left, top, left + self.size, top + self.size))
        if random.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        x = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
        return x.float().div(255).sub(0.5).div(0.5)
