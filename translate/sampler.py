"""Pictures drawn from noise by a model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gan_core.precision import autocast, upcast
from translate.data.tensors import to_image
from translate.errors import UserError, nearest
from translate.model import describing, find_precision, load_network, read_model


class Sampler:
    """A class-conditional generator from a model file.

    classes: their names, in the order of their labels. Picture ``number`` of a class depends on
    (seed, class, number) alone, not on which others are drawn with it.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        tensors, header = read_model(path)
        if "classes" not in header:
            raise UserError(
                f"{path} is a {header.get('method')} model, which draws nothing from noise: "
                "use translate convert"
            )
        with describing(path):
            (name,) = header["networks"]
            arguments = header["networks"][name]["arguments"]
            self.classes, self.latent = list(header["classes"]), int(arguments["latent"])
            _check(self.classes, arguments["classes"])
        self.net = load_network(path, tensors, header, name).to(device).eval()
        self.device, self.precision = device, find_precision(precision, device)

    def label_of(self, name: str) -> int:
        if name not in self.classes:
            raise UserError(f"the model knows no class {name!r}{nearest(name, self.classes)}")
        return self.classes.index(name)

    @torch.inference_mode()
    def draw(self, label: int, count: int, seed: int) -> Iterator[np.ndarray]:
        """``count`` pictures [H, W, C] of a class."""
        generator = torch.Generator().manual_seed(_seed(seed, label))
        for _ in range(count):
            z = torch.randn(1, self.latent, generator=generator).to(self.device)
            with autocast(self.precision, self.device):
                made = self.net(z, torch.tensor([label], device=self.device))
            yield to_image(upcast(made)[0])


def _check(classes: list[str], known: int) -> None:
    """A model may come from anywhere, and pictures go to folders of these names."""
    if len(classes) != known:
        raise ValueError(f"{len(classes)} classes are named, the network knows {known}")
    for name in classes:
        if Path(name).name != name or not name or name.startswith("."):
            raise ValueError(f"class {name!r} is no folder's name")


def _seed(seed: int, label: int) -> int:
    return int(np.random.SeedSequence([seed, label]).generate_state(1, np.uint64)[0] >> 1)
