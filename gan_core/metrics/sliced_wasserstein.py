"""Sliced Wasserstein distance of two sets of images, scale by scale: how PG-GAN measures itself.

Source: Karras et al. 2018, "Progressive Growing of GANs for Improved Quality, Stability, and
Variation", section 5, and the authors' ``metrics/sliced_wasserstein.py``, which settles what the
paper leaves open; the sliced distance itself is Rabin et al. 2011.

Every image becomes a Laplacian pyramid (Burt and Adelson 1983); from each level small patches are
cut at random places; the patches of the two sets are two clouds of points in ``C*7*7`` dimensions,
and the distance is the mean, over random directions, of the 1-D Wasserstein-1 distance of the
clouds' projections, which is the mean absolute difference of the sorted projections.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Normalise = Literal["each", "real"]

PATCH = 7  # side of a patch
CHUNK = 2**20  # floats that a step works on at a time: 4 MiB
FLAT = 1e-6  # a spread below this share of the largest pixel is float32 rounding, hence none


@dataclass(frozen=True)
class SlicedWasserstein:
    """Distances times 1000 by resolution (a level's shorter side), finest level first."""

    levels: dict[int, float]

    @property
    def mean(self) -> float:
        """The plain average over levels: PG-GAN's "avg" column."""
        return sum(self.levels.values()) / len(self.levels)


@torch.no_grad()
def sliced_wasserstein(
    real: Tensor,
    fake: Tensor,
    *,
    patches: int = 128,
    directions: int = 128,
    repeats: int = 4,
    smallest: int = 16,
    normalise: Normalise = "each",
    seed: int = 0,
) -> SlicedWasserstein:
    """Sliced Wasserstein distance per pyramid level, times 1000 (Karras et al. 2018, section 5).

    For a level with patches ``a_i`` (real) and ``b_i`` (fake), ``K = N*patches`` of each, and unit
    directions ``t``:  ``1000 * mean_t mean_i |sort(a @ t)_i - sort(b @ t)_i|``.

    Args:
        real: ``[N, C, H, W]``, any real dtype, any range that is the same for both sets.
        fake: the same shape as ``real``.
        patches: patches per image and level, ``7 x 7 x C``, wholly inside the image.
        directions: random unit directions per repeat.
        repeats: how often directions are drawn anew; the mean over ``repeats * directions`` (512 in
            the paper) is taken.
        smallest: no level is smaller than this (shorter side; at least 7).
        normalise: "each" is PG-GAN's: the patches of *each set* are brought to mean 0 and standard
            deviation 1 per channel, over all patches and pixels of that set and level, by the set's
            *own* figures. A cast of colour, too much or too little contrast, and a band whose
            detail is merely too weak (blur) then vanish; what is compared is shape, and how the
            channels go together. "real" divides both sets by the real set's figures: such
            faults then count, and the value has no upper bound. Not comparable with published ones.
        seed: of all random numbers; equal seeds give equal draws on every device.

    Returns:
        ``levels`` and their ``mean``. 0 is equality; "each" stays below about 2000 (2 is the sum of
        the two clouds' root mean square projections). Two samples of one distribution do not
        reach 0: the patches differ, the more so the fewer the images. So compare values at equal
        ``N`` only, and with the value between two halves of the real images.

    Levels: the full resolution and its halvings, as long as the shorter side, halved downwards,
    is at least ``smallest``: 64 gives 64, 32, 16, and 100 gives 100, 50, 25. The last level is the
    low-pass picture itself, the others are differences to the level below. After normalisation the
    distance does not depend on the pixels' scale: 0..255 and [-1, 1] give the same ("each", unlike
    "real", even where the two sets' scales differ).

    As in the official code: filter, mirrored borders, patch places drawn independently for the two
    sets, population standard deviation, directions shared by the two sets and new at every level.
    Deviations: any number of channels (the official code repeats grey to three, which is the same
    in expectation); the shorter side rules, not the height; an odd side is halved upwards, its
    up-sampling cropped, and the level called by its true size (there the official code fails); it
    draws without a seed.

    A channel whose spread is rounding error (an all but constant set) has no standard deviation to
    divide by. "each" then sets the channel to 0, a cloud in one point, which lies some hundreds
    from any cloud of spread 1 (and 0 from another constant). "real" divides by the fake set's
    standard deviation instead, or, where that is nothing too, by the largest pixel of both sets.

    Raises:
        ValueError: unequal numbers of images (sorted projections pair off one by one), other
            mismatches of shape or device, images below ``smallest``, pixels that are not finite,
            counts below 1, an unknown ``normalise``.
    """
    _check(real, fake, patches, directions, repeats, smallest, normalise)
    peaks = _peak(real, "real"), _peak(fake, "fake")
    generator = torch.Generator().manual_seed(seed)
    short = min(real.shape[2:])
    depth = 1 + max(level for level in range(short.bit_length()) if short >> level >= smallest)
    levels: dict[int, float] = {}
    for level in range(depth):
        below = None if level == depth - 1 else (_halved(real), _halved(fake))
        a = _patches(real, below and below[0], patches, generator)
        b = _patches(fake, below and below[1], patches, generator)
        _normalise(a, b, normalise, peaks)
        ways = torch.randn(repeats * directions, a[0].numel(), generator=generator)
        ways = F.normalize(ways, dim=1).to(a)
        levels[min(real.shape[2:])] = 1000 * sliced_distance(a.flatten(1), b.flatten(1), ways)
        del a, b  # before the next level's are cut
        if below is not None:
            real, fake = below
    return SlicedWasserstein(levels)


@torch.no_grad()
def sliced_distance(a: Tensor, b: Tensor, directions: Tensor) -> float:
    """Mean over directions of the Wasserstein-1 distance of two projected clouds of points.

    ``mean_t mean_i |sort(a @ t)_i - sort(b @ t)_i|``, 0 or more (Rabin et al. 2011; there the
    square of the difference, here, as in PG-GAN, its absolute value).

    Args:
        a: ``[K, D]``.
        b: ``[K, D]``, as many points: the sorted projections are paired.
        directions: ``[T, D]``, the rows of length 1.
    """
    if a.shape != b.shape:
        raise ValueError(f"two clouds of one shape are needed, got {[*a.shape]} and {[*b.shape]}")
    total = torch.zeros((), dtype=torch.float64, device=a.device)
    for some in torch.split(directions, max(1, CHUNK // len(a))):
        gap = _sorted(some @ a.T).sub_(_sorted(some @ b.T))
        total += gap.abs_().mean(dim=1).double().sum()
    return total.item() / len(directions)


def pyramid_down(images: Tensor) -> Tensor:
    """Blur with the 5 x 5 binomial filter (mirrored borders), then keep every other pixel.

    ``[N, C, H, W]`` to ``[N, C, ceil(H/2), ceil(W/2)]``; sides of 3 or more. Keeps the range.
    """
    return _blur(images)[..., ::2, ::2]


def pyramid_up(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Spread the pixels out with zeros between them, then blur, times 4 (Burt and Adelson 1983).

    ``[N, C, ceil(H/2), ceil(W/2)]`` to ``[N, C, H, W]`` for ``size = (H, W)``, sides of 3 or more.
    Keeps the range, and constants as they are, up to the border and also for odd sides.
    """
    spread = images.new_zeros(*images.shape[:2], *size)
    spread[..., ::2, ::2] = images
    return 4 * _blur(spread)


def _blur(images: Tensor) -> Tensor:
    # Sums of shifted pictures, not a convolution, which a GPU may round to TF32.
    blurred = F.pad(images, (2, 2, 2, 2), mode="reflect")
    for dim in (2, 3):
        size = images.shape[dim]
        a, b, c, d, e = (blurred.narrow(dim, shift, size) for shift in range(5))
        blurred = (a + e + 4 * (b + d) + 6 * c) / 16
    return blurred


def _sorted(rows: Tensor) -> Tensor:
    """Each row in ascending order; may reuse the argument's memory."""
    if rows.device.type == "cpu":
        with suppress(RuntimeError):  # torch's own words where NumPy is missing
            rows.numpy().sort(axis=1)  # needs no indices: ten times as fast
            return rows
    return rows.sort(dim=1).values


def _halved(images: Tensor) -> Tensor:
    n, channels, height, width = images.shape
    half = torch.empty(n, channels, (height + 1) // 2, (width + 1) // 2, device=images.device)
    step = max(1, CHUNK // images[0].numel())
    for start in range(0, n, step):
        half[start : start + step] = pyramid_down(images[start : start + step].float())
    return half


def _patches(fine: Tensor, coarse: Tensor | None, count: int, generator: torch.Generator) -> Tensor:
    """``[N*count, C, 49]``: patches of ``fine`` less the up-sampled ``coarse``, if there is one."""
    n, channels, height, width = fine.shape
    rows = torch.randint(height - PATCH + 1, (n, count, 1), generator=generator)
    columns = torch.randint(width - PATCH + 1, (n, count, 1), generator=generator)
    corners = (rows * width + columns).to(fine.device)
    side = torch.arange(PATCH, device=fine.device)
    window = (side[:, None] * width + side).flatten()
    cut = torch.empty(n, count, channels, len(window), device=fine.device)
    step = max(1, CHUNK // (channels * max(height * width, count * len(window))))
    for start in range(0, n, step):
        some = slice(start, start + step)
        band = fine[some].float()
        if coarse is not None:
            band = band - pyramid_up(coarse[some], (height, width))
        index = (corners[some] + window).flatten(1)[:, None].expand(-1, channels, -1)
        found = band.flatten(2).gather(2, index)
        cut[some] = found.reshape(len(band), channels, count, -1).transpose(1, 2)
    return cut.flatten(0, 1)


def _normalise(a: Tensor, b: Tensor, by: Normalise, peaks: tuple[float, float]) -> None:
    """In place: ``a`` (real) and ``b`` (fake) per channel, see ``sliced_wasserstein``."""
    deviation_a, mean_a = torch.std_mean(a, dim=(0, 2), correction=0, keepdim=True)
    deviation_b, mean_b = torch.std_mean(b, dim=(0, 2), correction=0, keepdim=True)
    flat_a, flat_b = deviation_a <= FLAT * peaks[0], deviation_b <= FLAT * peaks[1]
    if by == "each":
        a.sub_(mean_a).div_(deviation_a.masked_fill(flat_a, torch.inf))
        b.sub_(mean_b).div_(deviation_b.masked_fill(flat_b, torch.inf))
    else:
        spare = deviation_b.masked_fill(flat_b, max(peaks) or 1.0)
        scale = torch.where(flat_a, spare, deviation_a)
        a.sub_(mean_a).div_(scale)
        b.sub_(mean_a).div_(scale)


def _peak(images: Tensor, name: str) -> float:
    """The largest absolute pixel."""
    low, high = images.aminmax()
    peak = max(-float(low), float(high))
    if not -torch.inf < float(low) <= float(high) < torch.inf:
        raise ValueError(f"{name} images have pixels that are not finite")
    return peak


def _check(
    real: Tensor,
    fake: Tensor,
    patches: int,
    directions: int,
    repeats: int,
    smallest: int,
    normalise: str,
) -> None:
    for name, images in (("real", real), ("fake", fake)):
        if images.ndim != 4 or images.numel() == 0:
            raise ValueError(f"{name} must be [N, C, H, W] and not empty, got {[*images.shape]}")
    if len(real) != len(fake):
        raise ValueError(f"equally many images are needed: {len(real)} real, {len(fake)} fake")
    if real.shape != fake.shape:
        raise ValueError(f"shapes differ: real {[*real.shape]}, fake {[*fake.shape]}")
    if real.device != fake.device:
        raise ValueError(f"real is on {real.device}, fake on {fake.device}")
    if smallest < PATCH:
        raise ValueError(f"smallest must be at least {PATCH}, the side of a patch, got {smallest}")
    if min(real.shape[2:]) < smallest:
        height, width = real.shape[2:]
        raise ValueError(f"images of {height}x{width} are below the smallest level, {smallest}")
    for name, count in (("patches", patches), ("directions", directions), ("repeats", repeats)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    if normalise not in ("each", "real"):
        raise ValueError(f'normalise must be "each" or "real", got {normalise!r}')
