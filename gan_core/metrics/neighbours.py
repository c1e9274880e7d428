"""Nearest neighbours: is a made picture one of those that were trained on?"""

import torch
from torch import Tensor

from gan_core.precision import upcast

CHUNK = 2**24  # distances held at a time: 64 MiB


@torch.no_grad()
def nearest_distances(x: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Of every x the distance to the nearest of ``pool`` [N], and which that is [N] int64.

    The distance is the root of the mean squared difference of two samples' numbers: 0 for a copy,
    at most 2 for pictures in [-1, 1]. A small one betrays a copy; a large one does not exclude one
    that was moved by a pixel.

    x: [N, ...], pool: [M, ...], samples of one shape on one device
    """
    if x.shape[1:] != pool.shape[1:] or len(pool) == 0:
        raise ValueError(
            f"samples of one shape and a pool are needed: x {[*x.shape]}, pool {[*pool.shape]}"
        )
    x, pool = upcast(x).flatten(1), upcast(pool).flatten(1)
    # By differences: products, which are faster, lose what two near copies differ in.
    exact = "donot_use_mm_for_euclid_dist"
    found = [
        torch.cdist(some, pool, compute_mode=exact).min(1)
        for some in x.split(max(1, CHUNK // len(pool)))
    ]
    distances = torch.cat([nearest.values for nearest in found])
    return distances / x.shape[1] ** 0.5, torch.cat([nearest.indices for nearest in found])
