"""MS-SSIM, the likeness of two pictures at several scales, and how alike the pictures of a set are.

Wang, Simoncelli, Bovik 2003, "Multi-scale structural similarity for image quality assessment",
and for small pictures the code that GAN papers measure with (TensorFlow's ``msssim.py``; Odena et
al. 2017, section 4.2; Karras et al. 2018, table 1).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.precision import upcast

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, finest first
WINDOW, SIGMA = 11, 1.5  # Gaussian, in pixels
C1, C2 = 0.01**2, 0.03**2  # for pixels from 0 to 1
CHUNK = 2**18  # floats of either picture that a step works on at a time: caches hold them


@torch.no_grad()
def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """[N] from 0 to 1, 1 for equal pictures; a, b: [N, C, H, W] in [-1, 1].

    The product over five scales, each a halving of the last, of cs^weight, and at the last of
    (l cs)^weight instead, where at each place of a Gaussian window

        l  = (2 mu_a mu_b + C1) / (mu_a^2 + mu_b^2 + C1)
        cs = (2 sigma_ab + C2) / (sigma_a^2 + sigma_b^2 + C2)

    and places and channels are averaged before the power; averages below 0 count as 0. Windows
    stay inside the picture. They are 11 pixels wide with sigma 1.5, or as wide as the shorter side
    with sigma in proportion: below 176 pixels some are, and the last scale of 16 is one pixel. An
    odd side is halved upwards, its last pixel standing for two.

    Values are comparable at one size only; small ones are often 0, since a coarse scale is a single
    window, whose structures may be opposed. Deviation from the code mentioned: pixels are not
    rounded to 8 bits.
    """
    if a.shape != b.shape or a.ndim != 4:
        raise ValueError(f"two [N, C, H, W] of one shape are needed: {[*a.shape]}, {[*b.shape]}")
    a, b = (upcast(a) + 1) / 2, (upcast(b) + 1) / 2
    value = a.new_ones(len(a))
    for weight in WEIGHTS[:-1]:
        _, structure = _similarities(a, b)
        value *= structure.clamp_min(0) ** weight
        a, b = (F.avg_pool2d(x, 2, ceil_mode=True) for x in (a, b))
    whole, _ = _similarities(a, b)
    return value * whole.clamp_min(0) ** WEIGHTS[-1]


@torch.no_grad()
def diversity(images: Tensor, pairs: int, generator: torch.Generator) -> float:
    """Mean MS-SSIM of random pairs of different pictures of a set: near 1, the set has collapsed.

    Odena et al. 2017, section 4.2. Compare it with the real pictures' own: low is not good in
    itself, since noise has the lowest.

    images: [N, C, H, W] in [-1, 1], two or more; generator: a CPU one
    """
    count = len(images)
    if count < 2 or pairs < 1:
        raise ValueError(f"2 or more images and 1 or more pairs are needed: {count}, {pairs}")
    first = torch.randint(count, (pairs,), generator=generator)
    second = (first + torch.randint(1, count, (pairs,), generator=generator)) % count
    step = max(1, CHUNK // images[0].numel())
    parts = zip(first.split(step), second.split(step), strict=True)
    return torch.cat([ms_ssim(images[i], images[j]) for i, j in parts]).double().mean().item()


def _similarities(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """[N] each, means over places and channels: l cs, and cs alone."""
    mu_a, mu_b, aa, bb, ab = _blurred(torch.stack([a, b, a * a, b * b, a * b]))
    product, squares = mu_a * mu_b, mu_a**2 + mu_b**2
    cs = (2 * (ab - product) + C2) / (aa + bb - squares + C2)
    luminance = (2 * product + C1) / (squares + C1)
    return (luminance * cs).mean((1, 2, 3)), cs.mean((1, 2, 3))


def _blurred(x: Tensor) -> Tensor:
    """The Gaussian mean of every window inside the pictures [..., H, W]."""
    width = min(WINDOW, *x.shape[-2:])
    sigma = SIGMA * width / WINDOW
    heights = [math.exp(-(((i - (width - 1) / 2) / sigma) ** 2) / 2) for i in range(width)]
    window = [height / sum(heights) for height in heights]
    # Sums of shifted pictures, not a convolution, which a GPU may round to TF32.
    for dim in (-2, -1):
        places = x.shape[dim] - width + 1
        shifted = torch.zeros_like(x.narrow(dim, 0, places))
        for i, share in enumerate(window):
            shifted.add_(x.narrow(dim, i, places), alpha=share)
        x = shifted
    return x
