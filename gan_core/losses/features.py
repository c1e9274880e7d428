"""Feature matching: a generator is asked for what the discriminator's layers see in real pictures.

``real`` and ``fake`` are activations layer by layer, each [B, C, ...], scores not among them. The
real side is a target: no gradient flows into it. Everything is computed in float32 at least.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from gan_core.precision import upcast


def paired_feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """sum over layers of mean |real - fake|, for pictures that belong together one by one.

    Wang et al. 2018 (pix2pixHD), eq. 4, for one discriminator.
    """
    return torch.stack(
        [(upcast(r.detach()) - upcast(f)).abs().mean() for r, f in zip(real, fake, strict=True)]
    ).sum()


def mean_feature_matching(real: Sequence[Tensor], fake: Sequence[Tensor]) -> Tensor:
    """sum over layers of mean over channels of (E real - E fake)^2, for pictures that do not.

    E is the mean over the batch and all places. Salimans et al. 2016, section 3.1; deviations:
    every layer counts instead of one, places share their channel's mean, and the squared distance
    is divided by the number of channels, so that wide layers do not outweigh narrow ones.
    """
    return torch.stack(
        [
            (_expectation(r.detach()) - _expectation(f)).square().mean()
            for r, f in zip(real, fake, strict=True)
        ]
    ).sum()


def _expectation(x: Tensor) -> Tensor:
    """[B, C, ...] -> [C]."""
    return upcast(x).transpose(0, 1).flatten(1).mean(1)
