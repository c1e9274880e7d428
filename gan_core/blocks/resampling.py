"""Sides of pictures and maps doubled and halved without weights, and a fade between two."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.kernels.resample import downsample, upsample
from gan_core.precision import upcast


def up(x: Tensor, factor: int) -> Tensor:
    """[B, C, H, W] -> [B, C, factor H, factor W]: every number as a square of itself.

    factor: a power of two; 1 leaves x.
    """
    if factor == 2:
        return upsample(x)
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="nearest")


def down(x: Tensor, factor: int) -> Tensor:
    """[B, C, H, W] -> [B, C, H / factor, W / factor]: the mean of every square.

    factor: a power of two that divides the sides; 1 leaves x.
    """
    if factor == 2:
        return downsample(x)
    return x if factor == 1 else F.avg_pool2d(x, factor)


def fade(old: Tensor, new: Tensor, alpha: Tensor) -> Tensor:
    """(1 - alpha) old + alpha new, exactly ``old`` at 0 and ``new`` at 1, in float32 at least.

    old, new: [B, C, H, W]; alpha: [B] or [1], in [0, 1]
    """
    old, new = upcast(old), upcast(new)
    return torch.lerp(old, new, alpha.to(new)[:, None, None, None])
