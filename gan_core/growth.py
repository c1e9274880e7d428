"""Growth: detail comes in while training goes on (Karras et al. 2018, PG-GAN, section 2).

It stands around a method, which does not know of it. Networks that grow take ``resolution`` and
``alpha`` at every call (see ``gan_core.networks.progressive``); or networks stay as they are, and
the pictures gain detail.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gan_core.blocks.resampling import down, up
from gan_core.kernels.resample import fade_up
from gan_core.routing import Batch, Losses, Method, Networks, Progress, Scene, Setting, Step, Update


@dataclass(frozen=True)
class Stage:
    """resolution: of the finest level, as ``size`` counts it; alpha: its share, 1: all of it."""

    resolution: int
    alpha: float


@dataclass(frozen=True)
class _Phase:
    resolution: int
    fades: bool
    images: int
    batch_size: int
    rate: float


class Growth:
    """The curriculum: what is trained on, as a pure function of the training images seen before.

    Each resolution from ``start`` to the data's size, twice the one before, is faded in (but for
    the first) and then stabilised. Batches belong to the phase that their first image falls into.

    grows: "networks", or "pictures": of a fixed network, that sees them at full size but with the
        detail of the resolution. No published code of the latter was found; a pixel is enlarged to
        a square, as fading pictures are in PG-GAN.
    start: the first resolution, a power of two.
    order: "stabilise": PG-GAN's, which stabilises a resolution and then fades in the next; "fade":
        fades in a resolution and then stabilises it, so that the first, which has nothing to fade
        from, is stabilised for both lengths.
    stabilise, fade: lengths of these phases in images (600,000 in the authors' code, 800,000 in
        the paper's text); final: of the last resolution's stabilising.
    batch_sizes, rates: for each resolution from the first, those left out as the last that is
        given; batch sizes are data.batch_size where none are, rates are shares of the learning
        rate.
    resets: optimisers forget their moments where a phase begins, as in the authors' code.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        grows: Literal["networks", "pictures"] = "networks",
        start: int = 4,
        order: Literal["stabilise", "fade"] = "stabilise",
        stabilise: int = 600_000,
        fade: int = 600_000,
        final: int = 600_000,
        batch_sizes: tuple[int, ...] = (),
        rates: tuple[float, ...] = (),
        resets: bool = True,
    ) -> None:
        for name, value in (("start", start), ("the data's size", size)):
            if value < 4 or value & (value - 1):
                raise ValueError(f"{name} must be a power of two, 4 or more, not {value}")
        if start > size:
            raise ValueError(f"start must be at most the data's size of {size}, not {start}")
        if min(stabilise, fade, final) < 0:
            raise ValueError(
                "stabilise, fade and final are numbers of images, 0 or more, not "
                f"{stabilise}, {fade}, {final}"
            )
        if min(batch_sizes, default=1) < 1 or not min(rates, default=1.0) > 0:
            raise ValueError(
                f"batch_sizes must be 1 or more and rates above 0, not {batch_sizes}, {rates}"
            )
        self.size, self.rows, self.grows, self.resets = size, aspect[0], grows, resets
        self.sized = bool(batch_sizes)
        resolutions = [start << n for n in range((size // start).bit_length())]
        sizes, shares = batch_sizes or (batch_size,), rates or (1.0,)
        self._phases: list[_Phase] = []
        for n, resolution in enumerate(resolutions):
            more = (sizes[min(n, len(sizes) - 1)], shares[min(n, len(shares) - 1)])
            stays = final if resolution == size else stabilise
            if n:
                self._phases.append(_Phase(resolution, True, fade, *more))
            elif order == "fade":
                stays += fade
            self._phases.append(_Phase(resolution, False, stays, *more))
        # Where phases begin: as planned, in images; and with their first whole batch, in batches
        # and images.
        lengths = [phase.images for phase in self._phases]
        self._borders = list(accumulate(lengths, initial=0))
        if self._borders[-1] == 0:
            raise ValueError(
                f"stabilise, fade and final are no images in all: {stabilise}, {fade}, {final}"
            )
        self._batches, self._images = [0], [0]
        for phase, border in zip(self._phases, self._borders[1:], strict=True):
            count = max(-(-(border - self._images[-1]) // phase.batch_size), 0)
            self._batches.append(self._batches[-1] + count)
            self._images.append(self._images[-1] + count * phase.batch_size)

    @property
    def batch_sizes(self) -> Sequence[int]:
        return [phase.batch_size for phase in self._phases]

    @property
    def begins(self) -> Sequence[tuple[int, int]]:
        """(batches, images) before the first whole batch of each phase, and after the last phase.

        Its numbers of batches may be equal where a phase is shorter than a batch.
        """
        return list(zip(self._batches, self._images, strict=True))

    def _phase(self, images: int) -> int:
        return min(bisect_right(self._borders, images), len(self._phases)) - 1

    def stage(self, images: int) -> Stage:
        """What is trained after so many images; the last stage goes on for ever."""
        number = self._phase(images)
        phase = self._phases[number]
        done = (images - self._borders[number]) / phase.images if phase.fades else 1.0
        return Stage(phase.resolution, done)

    def setting(self, images: int) -> Setting:
        number = self._phase(images)
        return Setting(self._phases[number].rate, number if self.resets else 0)

    def batch(self, number: int) -> tuple[int, int]:
        """(images before it, size) of the run's batch of this number."""
        phase = min(bisect_right(self._batches, number), len(self._phases)) - 1
        size = self._phases[phase].batch_size
        return self._images[phase] + (number - self._batches[phase]) * size, size

    def shown(self, batch: Batch, images: int) -> dict[str, Tensor]:
        """The batch after so many images: pictures [B, C, H, W] at the stage's resolution, and,
        while one fades in, its share as "alpha" [B].
        """
        stage = self.stage(images)
        factor = self.size // stage.resolution
        seen = {key: down(x, factor) if x.ndim == 4 else x for key, x in batch.items()}
        if stage.alpha < 1:
            seen["alpha"] = torch.full((len(next(iter(batch.values()))),), stage.alpha)
        return seen


class At(nn.Module):
    """A growing network at a stage, which it is told at every call."""

    def __init__(self, net: nn.Module, resolution: int, alpha: Tensor | None) -> None:
        super().__init__()
        self.net, self.resolution, self.alpha = net, resolution, alpha

    @property
    def latent(self) -> Any:
        return self.net.latent

    def forward(self, *args: Any, **more: Any) -> Any:
        return self.net(*args, resolution=self.resolution, alpha=self.alpha, **more)


def grows(net: nn.Module) -> bool:
    return bool(getattr(net, "grows", False))


class Growing:
    """A method on pictures and networks that grow; whatever else it offers is the method's own.

    Reals fade as fakes do: lerp(up(down(x)), x, alpha). Figures and samples show what is made at
    the size that it will have in the end.
    """

    def __init__(self, method: Method, growth: Growth) -> None:
        self.method: Any = method  # which offers more than a trainer asks for
        self.growth = growth
        self.images = 0
        self._now: tuple[int, Tensor | None] = (growth.size, None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.method, name)

    def networks(self, *given: Any) -> dict[str, nn.Module]:
        nets: dict[str, nn.Module] = self.method.networks(*given)
        if self.growth.grows == "networks" and not any(map(grows, nets.values())):
            raise ValueError(
                "none of the networks grows, as [growth] wants: choose networks of kind "
                "'progressive' and 'progressive-discriminator', or growth.grows = 'pictures'"
            )
        return nets

    @property
    def updates(self) -> Sequence[Update]:
        return self.method.updates

    @property
    def averaged(self) -> Sequence[str]:
        return self.method.averaged

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.images = progress.images
        return self.method.schedule(progress)

    def scene(self, nets: Networks, batch: Batch) -> Scene:
        alpha = batch.get("alpha")
        pictures = {key: x for key, x in batch.items() if x.ndim == 4}
        resolution = next(iter(pictures.values())).shape[2] // self.growth.rows
        if alpha is not None:
            pictures = {k: fade_up(down(x, 2), x, alpha) for k, x in pictures.items()}
        if self.growth.grows == "pictures":
            pictures = {key: self._whole(x) for key, x in pictures.items()}
        self._now = (resolution, alpha)
        return self.method.scene(self._at(nets, *self._now), {**batch, **pictures})

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        """Of the scene that was made last."""
        return self.method.losses(update, self._at(nets, *self._now), scene)

    def observe(self, logs: Mapping[str, float]) -> None:
        self.method.observe(logs)

    def made(self, nets: Networks, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        made = self.method.made(self._then(nets), batch, generator)
        return {key: self._whole(x) if x.ndim == 4 else x for key, x in made.items()}

    def settling(
        self, nets: Networks, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]:
        passes = getattr(self.method, "settling", self.method.made)
        made: dict[str, Tensor] = passes(self._then(nets), batch, generator)
        return made

    def state_dict(self) -> dict[str, Any]:
        return {"images": self.images, "method": self.method.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.images = state["images"]
        self.method.load_state_dict(state["method"])

    @property
    def stage(self) -> Stage:
        """That of the step which the schedule was asked for last."""
        return self.growth.stage(self.images)

    def _then(self, nets: Networks) -> Networks:
        return at_stage(nets, self.stage) if self.growth.grows == "networks" else nets

    def _at(self, nets: Networks, resolution: int, alpha: Tensor | None) -> Networks:
        return _views(nets, resolution, alpha) if self.growth.grows == "networks" else nets

    def _whole(self, pictures: Tensor) -> Tensor:
        return up(pictures, self.growth.size * self.growth.rows // pictures.shape[2])


def at_stage(nets: Networks, stage: Stage) -> dict[str, nn.Module]:
    """The networks at a stage; those that do not grow as they are."""
    device = next(p.device for net in nets.values() for p in net.parameters())
    alpha = torch.tensor([stage.alpha], device=device) if stage.alpha < 1 else None
    return _views(nets, stage.resolution, alpha)


def _views(nets: Networks, resolution: int, alpha: Tensor | None) -> dict[str, nn.Module]:
    return {n: At(net, resolution, alpha) if grows(net) else net for n, net in nets.items()}
