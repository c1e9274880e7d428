"""O-GAN's way with codes: their average is a score, and all else about them is the picture's.

Su 2019, "O-GAN: Extremely Concise Approach for Auto-Encoding Generative Adversarial Networks",
section 3. Codes and latents are [B, n]; everything is per sample and in float32 at least. Of two
numbers centring and scaling leave a sign alone, of one nothing.
"""

import math

import torch.nn.functional as F
from torch import Tensor

from gan_core.precision import upcast

# A code shorter than this, once centred, counts as constant: its correlation falls to 0 in a
# straight line, so that gradients stay finite.
FLAT = 1e-6


def average(code: Tensor) -> Tensor:
    """avg(z) = 1/n sum_i z_i: [B]."""
    return upcast(code).mean(1)


def normalised(code: Tensor) -> Tensor:
    """(z - avg(z)) / std(z), the deviation over n, not n - 1: [B, n]. 0 for a constant code."""
    return math.sqrt(code.shape[1]) * _direction(code)


def correlation(z: Tensor, code: Tensor) -> Tensor:
    """Pearson's rho of z and code over their n numbers: [B] in [-1, 1].

    The cosine of the centred vectors. It is blind to a code + b, a > 0, so that its gradient leaves
    the code's average, D's score, alone. 0 where either is constant.
    """
    return (_direction(z) * _direction(code)).sum(1)


def squared_code(z: Tensor, code: Tensor) -> Tensor:
    """||z - code||_2^2: [B]. The baseline, which fixes the code's average and scale as well."""
    return (upcast(z) - upcast(code)).square().sum(1)


def _direction(code: Tensor) -> Tensor:
    """Centred and of length 1."""
    code = upcast(code)
    return F.normalize(code - code.mean(1, keepdim=True), dim=1, eps=FLAT)
