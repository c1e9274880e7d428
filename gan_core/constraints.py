"""Constraints on a critic's weights, kept by moving them back after every optimiser step.

The clip is that of Arjovsky et al. 2017 (algorithm 1, line 7). The clip by norm is only named in
Gulrajani et al. 2017 (section 3), as tried; what is written here is our reading of it. Both treat
every parameter alike, gains and biases of normalisation layers too.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def clip_values(bound: float, parameters: list[Tensor]) -> None:
    """w <- min(max(w, -bound), bound), element by element, in place."""
    torch._foreach_clamp_min_(parameters, -bound)
    torch._foreach_clamp_max_(parameters, bound)


def clip_norms(bound: float, parameters: list[Tensor]) -> None:
    """w <- w min(1, bound / ||w||_2), tensor by tensor, in place; a tensor of zeros stays."""
    for w, norm in zip(parameters, torch._foreach_norm(parameters), strict=True):
        w.mul_((bound / norm).clamp_max(1.0))


CONSTRAINTS: dict[str, Callable[[float, list[Tensor]], None]] = {
    "clip": clip_values,
    "norm-clip": clip_norms,
    "decay": lambda bound, parameters: None,  # the optimiser's own weight decay holds them
}
