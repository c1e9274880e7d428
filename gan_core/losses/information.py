"""What pictures tell of the codes that they were made of, and levels of a picture of each other.

Chen et al. 2016, "InfoGAN", equation 4: H(c) - E[-log Q(c | G(z, c))] is a lower bound on the
mutual information of codes and pictures. The terms here are -log Q, which G, D and Q minimise
alike; H(c) is constant. Everything is in float32 at least.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.blocks.resampling import down
from gan_core.precision import upcast


def categorical_nll(logits: Tensor, code: Tensor) -> Tensor:
    """Mean over samples of -sum_k code_k log softmax(logits)_k; both [B, ways], code one-hot."""
    return -(upcast(code) * F.log_softmax(upcast(logits), 1)).sum(1).mean()


def gaussian_nll(mean: Tensor, code: Tensor) -> Tensor:
    """Mean over samples of sum_i (code_i - mean_i)^2 / 2 + log(2 pi) / 2; both [B, n].

    Q is a normal distribution of deviation 1 around ``mean``, as in the paper's code. Its bound on
    the information is a weak one, below 0 for uniform codes in [-1, 1].
    """
    squares = (upcast(code) - upcast(mean)).square().sum(1).mean()
    return (squares + code.shape[1] * math.log(2 * math.pi)) / 2


def consistency(levels: Sequence[Tensor]) -> Tensor:
    """Sum over neighbouring levels of the mean squared difference, the finer one box-reduced.

    levels: the same pictures [B, C, H, W] at growing resolutions. ProInfoGAN's authors' code, whose
    levels are both enlarged to full size before they are reduced: the same. A single level: 0.
    """
    levels = [upcast(level) for level in levels]
    apart = [
        F.mse_loss(down(finer, finer.shape[2] // coarser.shape[2]), coarser)
        for coarser, finer in pairwise(levels)
    ]
    return torch.stack([levels[0].new_zeros(()), *apart]).sum()
