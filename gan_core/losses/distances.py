"""Distances between pictures, as loss terms."""

from torch import Tensor

from gan_core.precision import upcast


def l1(a: Tensor, b: Tensor) -> Tensor:
    """mean |a - b| over everything, in float32 at least."""
    return (upcast(a) - upcast(b)).abs().mean()
