"""Pairs made of single pictures: what is left of a picture, and the picture.

Tensors are [C, H, W] or [B, C, H, W].
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from translate.data.image import with_channels
from translate.data.tensors import to_tensor


class Derived(Protocol):
    names: tuple[str, str]
    channels: tuple[int, int]  # of the network's input and output
    spends_alpha: bool  # whether the input's alpha is used up, or put back on the result

    def pair(self, image: np.ndarray, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """The network's input and target, made of a sample [H, W, 3]."""

    def seen(self, image: np.ndarray) -> Tensor:
        """The network's input, made of a picture to convert."""

    def picture(self, made: Tensor, seen: Tensor) -> Tensor:
        """What the network made of ``seen``, as an RGB picture in [-1, 1]."""


class Colour:
    """Grey to colour in CIE L*a*b*: the lightness is given, a* and b* are to be found.

    Input L / 50 - 1, output (a, b) / 110, as in pix2pix's colourisation (Isola et al. 2017, section
    4.5, after Zhang et al. 2016); white point D65. The result keeps the lightness it was given
    where sRGB has such a colour; elsewhere its channels are clipped.
    """

    names = ("grey", "colour")
    channels = (1, 2)
    spends_alpha = False

    def pair(self, image: np.ndarray, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        lab = _lab(image)
        return lab[:1] / 50 - 1, lab[1:] / 110

    def seen(self, image: np.ndarray) -> Tensor:
        return _lab(image)[:1] / 50 - 1

    def picture(self, made: Tensor, seen: Tensor) -> Tensor:
        from kornia.color import lab_to_rgb

        lab = torch.cat([(seen + 1) * 50, made * 110], dim=-3)
        return lab_to_rgb(lab, clip=True) * 2 - 1


def _lab(image: np.ndarray) -> Tensor:
    from kornia.color import rgb_to_lab

    return rgb_to_lab((to_tensor(with_channels(image, 3)) + 1) / 2)


class Fill:
    """A picture with holes, to be filled (Pathak et al. 2016).

    The input's fourth channel is 1 where the picture is known and -1 in a hole, where its colours
    are 0; so pictures to convert mark their holes by transparency (alpha below one half). What is
    known comes back unchanged.
    Training draws 1 to 4 rectangles with sides of an eighth to a half of the picture's; judging,
    the centre.
    """

    names = ("holes", "whole")
    channels = (4, 3)
    spends_alpha = True

    def pair(self, image: np.ndarray, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        whole = to_tensor(with_channels(image, 3))
        known = np.ones(image.shape[:2], np.float32)
        for top, left, height, width in _holes(known.shape, rng):
            known[top : top + height, left : left + width] = -1
        return _masked(whole, torch.from_numpy(known)[None]), whole

    def seen(self, image: np.ndarray) -> Tensor:
        picture = to_tensor(with_channels(image, 4))
        return _masked(picture[:3], torch.where(picture[3:] < 0, -1.0, 1.0))

    def picture(self, made: Tensor, seen: Tensor) -> Tensor:
        *_, known = seen.split(1, dim=-3)
        return torch.where(known > 0, seen.narrow(-3, 0, 3), made)


def _masked(picture: Tensor, known: Tensor) -> Tensor:
    return torch.cat([picture * (known > 0), known])


def _holes(
    shape: tuple[int, ...], rng: np.random.Generator | None
) -> list[tuple[int, int, int, int]]:
    """(top, left, height, width) of each."""
    height, width = shape
    if rng is None:
        return [(height // 4, width // 4, height // 2, width // 2)]
    holes = []
    for _ in range(rng.integers(1, 5)):
        h, w = (int(rng.integers(max(1, side // 8), side // 2 + 1)) for side in shape)
        holes.append((int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w))
    return holes


DERIVED: dict[str, Derived] = {"colour": Colour(), "fill": Fill()}
