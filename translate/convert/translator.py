"""A model file as a function from pictures to pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gan_core.checkpoint import load_model
from gan_core.precision import autocast, upcast
from gan_core.precision import resolve as resolve_precision
from translate.data.image import resize, with_channels
from translate.data.tensors import to_image, to_tensor
from translate.errors import TooLargeError, UserError, nearest
from translate.networks import rebuild


class Translator:
    """One direction of a model: pictures [H, W, C] of one shape -> as many of the same H and W.

    net: made for [-1, 1]; channels: what it takes and what it makes. Pictures of other channels
    are converted; alpha that the network does not know is kept and put back on its picture.
    at: the shorter side in pixels at which the network sees the pictures; the result is enlarged or
        shrunk back to the pictures' size. None: as they are.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: tuple[int, int],
        device: torch.device,
        precision: str,
        at: int | None = None,
    ) -> None:
        self.net = net.to(device).eval().requires_grad_(False)
        self.takes, self.makes = channels
        self.device, self.precision, self.at = device, precision, at

    def __call__(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        try:
            return self._translate(images)
        except (RuntimeError, MemoryError, cv2.error) as error:
            if not _out_of_memory(error):
                raise
            height, width = images[0].shape[:2]
            raise TooLargeError(
                f"{width} x {height} pixels are too many for the memory of {self.device}: "
                "translate at fewer with --at"
            ) from error

    @torch.inference_mode()
    def _translate(self, images: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = torch.stack([to_tensor(with_channels(self._seen(i), self.takes)) for i in images])
        height, width = batch.shape[2:]
        with autocast(self.precision, self.device):
            made = upcast(self.net(_fit(batch, self.net).to(self.device)))
        made = made[:, :, :height, :width].cpu()
        if made.isnan().any():
            raise UserError("the model makes no numbers of these pictures: try --precision fp32")
        return [self._finish(m, image) for m, image in zip(made, images, strict=True)]

    def _seen(self, image: np.ndarray) -> np.ndarray:
        if self.at is None:
            return image
        scale = self.at / min(image.shape[:2])
        return resize(image, *(max(1, round(side * scale)) for side in image.shape[:2]))

    def _finish(self, made: Tensor, source: np.ndarray) -> np.ndarray:
        image = resize(to_image(made, source.dtype.type), *source.shape[:2])
        if source.shape[2] == 4 and self.makes != 4:
            return np.concatenate([with_channels(image, 3), source[:, :, 3:]], axis=2)
        return image


def _out_of_memory(error: BaseException) -> bool:
    """Torch on a CPU and OpenCV say so in words only."""
    said = str(error).lower()
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "allocate" in said or "memory" in said


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
    path: Path,
    to: str | None,
    device: torch.device,
    precision: str = "auto",
    at: int | None = None,
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
    prefix = f"{name}."
    weights = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    try:
        with torch.device("meta"):
            net = rebuild(header["networks"][name])
        net.load_state_dict(weights, assign=True)
        channels = (header["channels"][chosen["from"]], header["channels"][chosen["to"]])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} holds a model that cannot be built here: {reason}") from error
    try:
        precision = resolve_precision(precision, device)
    except ValueError as error:
        raise UserError(str(error)) from None
    return Translator(net, channels, device, precision, at), chosen
