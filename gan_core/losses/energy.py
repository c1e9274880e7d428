"""Losses of discriminators that are autoencoders: the score is an energy, **low = real**.

An energy is the error of rebuilding a sample; D's loss is the energy of reals plus something that
keeps that of fakes up, G's is the energy of fakes. Everything is computed in float32 at least.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import relu

from gan_core.losses.regularisers import overlap
from gan_core.precision import upcast

Energy = Literal["norm", "squared", "absolute"]

_ENERGIES: dict[str, Callable[[Tensor], Tensor]] = {
    "norm": lambda error: torch.linalg.vector_norm(error, dim=1),
    "squared": lambda error: error.square().mean(1),
    "absolute": lambda error: error.abs().mean(1),
}


def reconstruction_energy(x: Tensor, rebuilt: Tensor, kind: Energy) -> Tensor:
    """[B] from x and rebuilt [B, ...].

    norm: ||rebuilt - x||_2 over all numbers of a sample, not squared (Zhao et al. 2017, eq. 13);
        its gradient is 0 where x is rebuilt exactly.
    squared: their mean squared difference, what most other implementations of EBGAN take.
    absolute: their mean |rebuilt - x| (Berthelot et al. 2017, section 3.1, with eta = 1).
    The three are on different scales, and a norm grows with the picture: a margin goes with a kind.
    """
    if kind not in _ENERGIES:
        raise ValueError(f"energy {kind!r}: choose {', '.join(_ENERGIES)}")
    return _ENERGIES[kind]((upcast(rebuilt) - upcast(x)).flatten(1))


def margin_loss(energy: Tensor, margin: float) -> Tensor:
    """mean over samples of relu(margin - energy): a fake above the margin is left alone.

    Zhao et al. 2017, section 2.1. energy: [B]; each sample has its own hinge.
    """
    return relu(margin - upcast(energy)).mean()


def pulling_away(codes: Tensor) -> Tensor:
    """1 / (N (N - 1)) sum over i != j of cos^2(s_i, s_j): 0 where all codes are at right angles.

    Zhao et al. 2017, section 2.4; of the encoder's codes [N, ...] of fakes, for G alone. A code of
    zeros is at right angles to all. Of several processes each compares its own samples.
    """
    count = len(codes)
    if count < 2:
        raise ValueError(f"pulling away compares codes of a batch: it needs 2 or more, not {count}")
    return overlap(F.normalize(upcast(codes).flatten(1), dim=1)) / (count * (count - 1))
