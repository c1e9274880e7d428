"""A model file as a function from pictures to pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gan_core.checkpoint import load_model
from gan_core.precision import autocast, upcast
from gan_core.precision import resolve as resolve_precision
from translate.data.image import with_channels
from translate.data.tensors import to_image, to_tensor
from translate.errors import UserError, nearest
from translate.networks import rebuild


class Translator:
    """One direction of a model: pictures [H, W, C] of one shape -> as many of the same H and W.

    net: made for [-1, 1]; channels: what it takes and what it makes. Pictures of other channels
    are converted; alpha that the network does not know is kept and put back on its picture.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: tuple[int, int],
        device: torch.device,
        precision: str,
    ) -> None:
        self.net = net.to(device).eval().requires_grad_(False)
        self.takes, self.makes = channels
        self.device, self.precision = device, precision

    @torch.inference_mode()
    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = torch.stack([to_tensor(with_channels(i, self.takes)) for i in images])
        height, width = batch.shape[2:]
        with autocast(self.precision, self.device):
            made = upcast(self.net(_fit(batch, self.net).to(self.device)))
        made = made[:, :, :height, :width].cpu()
        return [self._finish(m, image) for m, image in zip(made, images, strict=True)]

    def _finish(self, made: Tensor, source: np.ndarray) -> np.ndarray:
        image = to_image(made, source.dtype.type)
        if source.shape[2] == 4 and self.makes != 4:
            return np.concatenate([with_channels(image, 3), source[:, :, 3:]], axis=2)
        return image


def _fit(batch: Tensor, net: nn.Module) -> Tensor:
    """Extend right and bottom to sides that the network takes: mirrored, else repeated."""
    multiple, smallest = getattr(net, "multiple", 1), getattr(net, "smallest", 1)
    height, width = batch.shape[2:]
    sides = [max(smallest, -(-side // multiple) * multiple) for side in (height, width)]
    extra = (0, sides[1] - width, 0, sides[0] - height)
    mirror = extra[1] < width and extra[3] < height
    return pad(batch, extra, mode="reflect" if mirror else "replicate")


def model_file(path: Path) -> Path:
    """A run folder's model, or the file itself."""
    model = path / "model.safetensors" if path.is_dir() else path
    if not model.is_file():
        what = "has no model.safetensors yet" if path.is_dir() else "does not exist"
        raise UserError(f"model {path} {what}")
    return model


def open_translator(
    path: Path, to: str | None, device: torch.device, precision: str = "auto"
) -> tuple[Translator, dict[str, Any]]:
    """The model's translation to the domain ``to`` (default: its first), and its description."""
    tensors, header = load_model(model_file(path))
    found = {entry["to"]: entry for entry in reversed(header.get("translations", []))}
    if not found:
        raise UserError(f"{path} is a {header.get('method')} model, which translates no pictures")
    if to is not None and to not in found:
        raise UserError(f"{path} does not translate to {to!r}{nearest(to, found)}")
    chosen = found[to] if to is not None else header["translations"][0]
    name = chosen["network"]
    with torch.device("meta"):
        net = rebuild(header["networks"][name])
    prefix = f"{name}."
    weights = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    net.load_state_dict(weights, assign=True)
    channels = (header["channels"][chosen["from"]], header["channels"][chosen["to"]])
    return Translator(net, channels, device, resolve_precision(precision, device)), chosen
