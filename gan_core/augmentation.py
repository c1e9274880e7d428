"""Differentiable augmentation: what a discriminator is shown, of real and made pictures alike.

Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", and the
authors' code, which settles the amounts. Since fakes are augmented too, and gradient passes
through, G is not taught to make augmented pictures.

Pictures are [B, C, H, W] in [-1, 1], of any sides. They are not clamped: colours may leave the
range, as in the authors' code. 0, middle grey, is what stands beyond borders and in holes. A fourth
channel is alpha: it moves and is cut with its picture (so that it is one half in a hole), but its
values are no colour. Every sample has random numbers of its own, by ``gan_core.sampling``.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core import sampling
from gan_core.precision import upcast


def colour(x: Tensor) -> Tensor:
    """Brightness: x + b, b in [-1/2, 1/2). Saturation: distances to the pixel's mean over colours,
    times s in [0, 2). Contrast: distances to the picture's mean, times c in [1/2, 3/2).

    One after the other; grey pictures have no saturation.
    """
    brightness, saturation, contrast = sampling.uniform(len(x), 3, 1, 1, 1, like=x).unbind(1)
    colours, alpha = x[:, :3], x[:, 3:]
    colours = colours + (brightness - 0.5)
    colours = _spread(colours, 2 * saturation, (1,))
    colours = _spread(colours, contrast + 0.5, (1, 2, 3))
    return torch.cat([colours, alpha], 1)


def translation(x: Tensor) -> Tensor:
    """Moved by whole pixels, at most an eighth of each side either way; 0 comes in."""
    height, width = x.shape[2:]
    down, right = height // 8, width // 8
    padded = F.pad(x, (right, right, down, down))
    rows = _whole(2 * down + 1, x) + torch.arange(height, device=x.device)
    columns = _whole(2 * right + 1, x) + torch.arange(width, device=x.device)
    return padded.take_along_dim(rows[:, None, :, None], 2).take_along_dim(
        columns[:, None, None, :], 3
    )


def cutout(x: Tensor) -> Tensor:
    """0 in a rectangle of half of each side, whose middle lies anywhere in the picture."""
    rows, columns = (_hole(size, x) for size in x.shape[2:])
    return x.masked_fill(rows[:, None, :, None] & columns[:, None, None, :], 0.0)


POLICIES: dict[str, Callable[[Tensor], Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def augment(x: Tensor, policies: Sequence[str], p: float | Tensor = 1.0) -> Tensor:
    """Apply each policy to each sample with probability p, one policy after the other.

    p = 1 is DiffAugment; lower ones are what ADA (Karras et al. 2020, section 2) adapts.
    Returns pictures of the same shape, of float32 at least: in 16 bits a change of brightness would
    be rounded. ValueError for an unknown policy and for what is no picture.
    """
    check(policies)
    if x.ndim != 4:
        raise ValueError(f"only pictures [B, C, H, W] can be augmented, not {[*x.shape]}")
    x = upcast(x)
    for name in policies:
        chosen = sampling.uniform(len(x), 1, 1, 1, like=x) < p
        x = torch.where(chosen, POLICIES[name](x), x)
    return x


def check(policies: Sequence[str]) -> None:
    """ValueError for an unknown policy."""
    for name in policies:
        if name not in POLICIES:
            raise ValueError(f"augmentation {name!r}: choose {', '.join(POLICIES)}")


def _spread(x: Tensor, factor: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Distances to the mean over ``dims`` times ``factor``."""
    mean = x.mean(dims, keepdim=True)
    return mean + factor * (x - mean)


def _whole(count: int, x: Tensor) -> Tensor:
    """[B, 1]: for every sample a whole number from 0 to count - 1."""
    return (sampling.uniform(len(x), 1, like=x) * count).long()


def _hole(size: int, x: Tensor) -> Tensor:
    """[B, size]: where along a side the hole is."""
    hole = size // 2
    start = _whole(size + 1 - hole % 2, x) - hole // 2
    place = torch.arange(size, device=x.device) - start
    return (place >= 0) & (place < hole)
