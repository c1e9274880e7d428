"""A model file as a function from pictures to pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from gan_core.precision import autocast, memory_format, upcast
from translate.data.derived import DERIVED, Derived
from translate.data.image import resize, with_channels
from translate.data.tensors import to_image, to_tensor
from translate.errors import TooLargeError, UserError, nearest
from translate.model import describing, find_precision, load_network, read_model

LARGEST_MADE = 2**24
"""Pixels that a picture may be enlarged to: a strip of 1 x 4000 would come to 256 x 1,024,000."""


class Translator:
    """One direction of a model: pictures [H, W, C] of one shape -> as many of the same H and W.

    net: made for [-1, 1]; channels: what it takes and what it makes. Pictures of other channels
    are converted; alpha that the network does not know is kept and put back on its picture.
    derived: for a network whose input is made of the picture, see ``translate.data.derived``.
    at: the shorter side in pixels at which the network sees the pictures; what it made is brought
        back to the pictures' size. None: as they are. square: the longer side as well, out of
        proportion, as "resize_crop" trains.
    noise: None for dropout off and batch norms' running statistics. A number for pix2pix's noise:
        dropout on and the picture's own statistics; it seeds the noise together with the picture,
        so that a picture's result depends on nothing else.

    On a CPU a picture's result is the same to the last bit whichever pictures come with it.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: tuple[int, int],
        device: torch.device,
        precision: str,
        at: int | None = None,
        derived: Derived | None = None,
        noise: int | None = None,
        square: bool = False,
    ) -> None:
        self.net = net.to(device).eval().requires_grad_(False)
        self.takes, self.makes = channels
        if derived:
            self.takes, self.makes = 4 if derived.spends_alpha else 3, 3
        self.device, self.precision, self.at = device, precision, at
        self.derived, self.noise, self.square = derived, noise, square
        if noise is not None:
            _make_noisy(self.net)
        # One by one costs nothing on a CPU, and a batch's size may change how sums are rounded;
        # a batch norm that computes its own statistics must see one picture alone.
        self.together = device.type != "cpu" and noise is None

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
        batch = torch.stack([self._seen(image) for image in images])
        parts = batch.split(len(batch) if self.together else 1)
        made = torch.cat([self._made(part) for part in parts])
        if made.isnan().any():
            raise UserError("the model makes no numbers of these pictures: try --precision fp32")
        return [self._finish(m, image) for m, image in zip(made, images, strict=True)]

    def _seen(self, image: np.ndarray) -> Tensor:
        image = with_channels(image, self.takes)  # first: what is transparent is not to be averaged
        if self.at is not None:
            height, width = image.shape[:2]
            scale = self.at / min(height, width)
            if not self.square and scale > 1 and height * width * scale**2 > LARGEST_MADE:
                raise TooLargeError(
                    f"{width} x {height} pixels are too many with the shorter side at {self.at}: "
                    "translate them as they are with --at 0"
                )
            sides = (max(1, round(side * scale)) for side in (height, width))
            image = resize(image, *((self.at, self.at) if self.square else sides))
        return self.derived.seen(image) if self.derived else to_tensor(image)

    def _made(self, batch: Tensor) -> Tensor:
        """The network's pictures on the host, in float32."""
        if self.noise is not None:
            torch.manual_seed(crc32(batch.numpy().tobytes(), self.noise))
        with autocast(self.precision, self.device):
            batch = batch.to(self.device, memory_format=memory_format(self.precision))
            made: Tensor = upcast(self.net(batch))
        return made.cpu()

    def _finish(self, made: Tensor, source: np.ndarray) -> np.ndarray:
        size = source.shape[:2]
        if self.derived:  # what the picture gives to the result it gives at its own size
            made = self.derived.picture(_resized(made, *size), self.derived.seen(source))
        image = resize(to_image(made, source.dtype.type), *size)
        spent = self.derived is not None and self.derived.spends_alpha
        if source.shape[2] == 4 and self.makes != 4 and not spent:
            return np.concatenate([with_channels(image, 3), source[:, :, 3:]], axis=2)
        return image


def _resized(made: Tensor, height: int, width: int) -> Tensor:
    """``resize`` of [C, H, W]."""
    values = resize(made.permute(1, 2, 0).contiguous().numpy(), height, width)
    return torch.from_numpy(values).permute(2, 0, 1)


def _make_noisy(net: nn.Module) -> None:
    """Dropout on; batch norms by their input's own statistics, without keeping them."""
    noisy = False
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train()
            noisy |= module.p > 0
        elif isinstance(module, nn.BatchNorm2d):
            module.train()
            module.momentum = 0.0
    if not noisy:
        raise UserError("this model's network has no dropout, so that --stochastic has no noise")


def _out_of_memory(error: BaseException) -> bool:
    """Torch on a CPU and OpenCV say so in words only."""
    said = str(error).lower()
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "allocate" in said or "memory" in said


def open_translator(
    path: Path,
    to: str | None,
    device: torch.device,
    precision: str = "auto",
    at: int | None = None,
    noise: int | None = None,
) -> tuple[Translator, dict[str, Any]]:
    """The model's translation to the domain ``to`` (default: its first), and its description.

    at: as for ``Translator``; 0: at the pictures' own size; None: as the model's header says, which
        is that or the square that it was trained on.
    """
    tensors, header = read_model(path)
    if not header.get("translations"):
        raise UserError(
            f"{path} is a {header.get('method')} model, which translates no pictures: "
            "use translate sample"
        )
    with describing(path):
        found = {entry["to"]: entry for entry in reversed(header["translations"])}
    if to is not None and to not in found:
        raise UserError(f"{path} does not translate to {to!r}{nearest(to, found)}")
    chosen = found[to] if to is not None else header["translations"][0]
    with describing(path):
        name = chosen["network"]
        channels = (header["channels"][chosen["from"]], header["channels"][chosen["to"]])
        derived = DERIVED[header["derived"]] if "derived" in header else None
        square = at is None
        at = int(header.get("at") or 0) if at is None else at
    net = load_network(path, tensors, header, name)
    precision = find_precision(precision, device)
    return Translator(net, channels, device, precision, at or None, derived, noise, square), chosen
