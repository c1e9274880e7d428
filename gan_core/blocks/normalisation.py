"""Normalisation layers by name."""

from collections.abc import Callable
from typing import Literal

from torch import nn

Norm = Literal["instance", "batch", "layer", "none"]

_LAYERS: dict[str, Callable[[int, bool], nn.Module]] = {
    # Without affine and running statistics, as pix2pix and CycleGAN use it: nothing to train.
    "instance": lambda channels, affine: nn.InstanceNorm2d(channels),
    "batch": lambda channels, affine: nn.BatchNorm2d(channels, affine=affine),
    # Over channels and places of a sample, with a gain and a bias per channel: the critic's norm of
    # Gulrajani et al. 2017, which may stand under a penalty.
    "layer": lambda channels, affine: nn.GroupNorm(1, channels, affine=affine),
    "none": lambda channels, affine: nn.Identity(),
}


def norm_layer(norm: Norm, channels: int, affine: bool = True) -> nn.Module:
    """The layer for [B, channels, H, W] maps.

    affine: False leaves the gain and bias per channel to the caller, where the norm has any.
    """
    if norm not in _LAYERS:
        raise ValueError(f"norm {norm!r}: choose {', '.join(_LAYERS)}")
    return _LAYERS[norm](channels, affine)
