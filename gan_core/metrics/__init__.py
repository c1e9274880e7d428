"""Measures of what was generated: against what is real, and against itself."""

from gan_core.metrics.ms_ssim import diversity, ms_ssim
from gan_core.metrics.neighbours import nearest_distances
from gan_core.metrics.ngrams import ngram_divergence
from gan_core.metrics.sliced_wasserstein import (
    SlicedWasserstein,
    pyramid_down,
    pyramid_up,
    sliced_distance,
    sliced_wasserstein,
)

__all__ = [
    "SlicedWasserstein",
    "diversity",
    "ms_ssim",
    "nearest_distances",
    "ngram_divergence",
    "pyramid_down",
    "pyramid_up",
    "sliced_distance",
    "sliced_wasserstein",
]
