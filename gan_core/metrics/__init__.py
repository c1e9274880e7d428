"""Measures of generated images against real ones."""

from gan_core.metrics.sliced_wasserstein import (
    SlicedWasserstein,
    pyramid_down,
    pyramid_up,
    sliced_distance,
    sliced_wasserstein,
)

__all__ = [
    "SlicedWasserstein",
    "pyramid_down",
    "pyramid_up",
    "sliced_distance",
    "sliced_wasserstein",
]
