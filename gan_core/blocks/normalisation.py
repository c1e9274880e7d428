"""Normalisation layers by name."""

from collections.abc import Callable
from typing import Literal

from torch import nn

Norm = Literal["instance", "batch", "none"]

_LAYERS: dict[str, Callable[[int], nn.Module]] = {
    # Without affine and running statistics, as pix2pix and CycleGAN use it: nothing to train.
    "instance": lambda channels: nn.InstanceNorm2d(channels),
    "batch": lambda channels: nn.BatchNorm2d(channels),
    "none": lambda channels: nn.Identity(),
}


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """The layer for [B, channels, H, W] maps."""
    if norm not in _LAYERS:
        raise ValueError(f"norm {norm!r}: choose {', '.join(_LAYERS)}")
    return _LAYERS[norm](channels)
