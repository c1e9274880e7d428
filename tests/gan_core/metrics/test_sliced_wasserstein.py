"""The sliced Wasserstein distance against NumPy, closed forms and what it must and must not see."""

import math
import sys
import time
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.metrics import (
    SlicedWasserstein,
    pyramid_down,
    pyramid_up,
    sliced_distance,
    sliced_wasserstein,
)

Array = np.ndarray[Any, np.dtype[np.float64]]
BINOMIAL = np.array([1.0, 4.0, 6.0, 4.0, 1.0])
KERNEL = np.outer(BINOMIAL, BINOMIAL) / 256


def pictures(n: int, seed: int, size: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    """Smooth coloured blobs with a little noise in [-1, 1]: structure at every scale."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=generator) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    return (smooth + 0.1 * torch.randn(smooth.shape, generator=generator)).clamp(-1, 1)


# ---- an independent NumPy implementation -------------------------------------------------------


def mirror(index: int, size: int) -> int:
    """-1 is 1, size is size - 2: the border pixel itself is not repeated."""
    index = abs(index)
    return 2 * (size - 1) - index if index >= size else index


def numpy_blur(images: Array) -> Array:
    height, width = images.shape[2:]
    out = np.zeros_like(images)
    for i in range(5):
        rows = [mirror(y + i - 2, height) for y in range(height)]
        for j in range(5):
            columns = [mirror(x + j - 2, width) for x in range(width)]
            out += KERNEL[i, j] * images[:, :, rows][:, :, :, columns]
    return out


def numpy_pyramid(images: Array, levels: int) -> list[Array]:
    pyramid = [images]
    for _ in range(levels - 1):
        fine = pyramid[-1]
        coarse = numpy_blur(fine)[:, :, ::2, ::2]
        spread = np.zeros_like(fine)
        spread[:, :, ::2, ::2] = coarse
        pyramid[-1] = fine - 4 * numpy_blur(spread)
        pyramid.append(coarse)
    return pyramid


def numpy_cloud(band: Array, rows: Array, columns: Array) -> Array:
    cut = [
        band[i, :, y : y + 7, x : x + 7]
        for i in range(len(band))
        for y, x in zip(rows[i].flat, columns[i].flat, strict=True)
    ]
    return np.stack(cut)  # [K, C, 7, 7]


def numpy_swd(
    real: Tensor, fake: Tensor, levels: int, normalise: Literal["each", "real"], seed: int
) -> list[float]:
    """The draws in the documented order from torch's generator, everything else in float64."""
    generator = torch.Generator().manual_seed(seed)
    pyramids = [numpy_pyramid(x.double().numpy(), levels) for x in (real, fake)]
    out = []
    for bands in zip(*pyramids, strict=True):
        clouds = []
        for band in bands:
            n, _, height, width = band.shape
            rows = torch.randint(height - 6, (n, 10, 1), generator=generator).numpy()
            columns = torch.randint(width - 6, (n, 10, 1), generator=generator).numpy()
            clouds.append(numpy_cloud(band, rows, columns))
        ways = torch.randn(3 * 8, clouds[0][0].size, generator=generator).double().numpy()
        ways /= np.sqrt((ways**2).sum(axis=1, keepdims=True))
        means = [cloud.mean(axis=(0, 2, 3), keepdims=True) for cloud in clouds]
        spreads = [cloud.std(axis=(0, 2, 3), keepdims=True) for cloud in clouds]
        by = [0, 1] if normalise == "each" else [0, 0]
        a, b = ((c - means[i]) / spreads[i] for c, i in zip(clouds, by, strict=True))
        a, b = (np.sort(x.reshape(len(x), -1) @ ways.T, axis=0) for x in (a, b))
        out.append(1000 * float(np.abs(a - b).mean()))
    return out


@pytest.mark.parametrize("normalise", ["each", "real"])
@pytest.mark.parametrize(
    ("size", "channels", "expected"),
    [
        ((32, 32), 3, [32, 16]),
        ((65, 64), 1, [64, 32, 16]),
        ((37, 51), 4, [37, 19]),
        ((16, 90), 3, [16]),
        ((50, 50), 2, [50, 25]),
    ],
)
def test_equals_numpy(
    size: tuple[int, int],
    channels: int,
    expected: list[int],
    normalise: Literal["each", "real"],
) -> None:
    real, fake = pictures(6, 1, size, channels), pictures(6, 2, size, channels).pow(3)
    result = sliced_wasserstein(
        real, fake, patches=10, directions=8, repeats=3, normalise=normalise, seed=5
    )
    assert list(result.levels) == expected
    reference = numpy_swd(real, fake, len(expected), normalise, 5)
    assert list(result.levels.values()) == pytest.approx(reference, rel=1e-4)
    assert result.mean == pytest.approx(sum(reference) / len(reference), rel=1e-4)


# ---- the pyramid -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(32, 32), (33, 32), (64, 37), (100, 100)])
def test_pyramid_equals_numpy_and_reconstructs(size: tuple[int, int]) -> None:
    images = pictures(2, 3, size).double()
    reference = numpy_pyramid(images.numpy(), 3)
    pyramid = [images]
    for _ in range(2):
        coarse = pyramid_down(pyramid[-1])
        pyramid[-1] = pyramid[-1] - pyramid_up(coarse, (pyramid[-1].shape[2], pyramid[-1].shape[3]))
        pyramid.append(coarse)
    for band, wanted in zip(pyramid, reference, strict=True):
        assert band.shape == wanted.shape
        assert np.abs(band.numpy() - wanted).max() < 1e-14
    rebuilt = pyramid[-1]
    for band in pyramid[-2::-1]:
        rebuilt = band + pyramid_up(rebuilt, (band.shape[2], band.shape[3]))
    assert (rebuilt - images).abs().max() < 1e-14


@pytest.mark.parametrize("size", [(8, 8), (9, 12), (7, 3), (11, 5)])
def test_pyramid_keeps_constants_and_inner_ramps(size: tuple[int, int]) -> None:
    height, width = size
    flat = torch.full((1, 1, height, width), 0.7, dtype=torch.float64)
    down = pyramid_down(flat)
    assert down.shape == (1, 1, (height + 1) // 2, (width + 1) // 2)
    assert (down - 0.7).abs().max() < 1e-15
    assert (pyramid_up(down, size) - flat).abs().max() < 1e-15
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    assert torch.equal(pyramid_down(ramp)[..., 1:-1], ramp[:, :, ::2, 2:-2:2])
    up = pyramid_up(ramp[:, :, ::2, ::2], (16, 16))
    assert torch.equal(up[..., 2:-2], ramp[..., 2:-2])


def test_pyramid_down_of_an_impulse_is_the_binomial_filter() -> None:
    image = torch.zeros(1, 1, 9, 9)
    image[0, 0, 4, 4] = 256
    expected = torch.tensor([[1.0, 6, 1], [6, 36, 6], [1, 6, 1]])
    assert torch.equal(pyramid_down(image)[0, 0, 1:4, 1:4], expected)
    corner = torch.zeros(1, 1, 9, 9)
    corner[0, 0, 1, 1] = 256  # met twice by the mirrored window of pixel (0, 0): (4 + 4)^2
    assert pyramid_down(corner)[0, 0, 0, 0] == 64


# ---- the distance of two clouds ----------------------------------------------------------------


def test_distance_by_hand() -> None:
    a, b = torch.tensor([[3.0], [0.0], [1.0]]), torch.tensor([[2.0], [5.0], [1.0]])
    assert sliced_distance(a, b, torch.ones(1, 1)) == pytest.approx((1 + 1 + 2) / 3, rel=1e-6)
    axes = torch.eye(2)
    square, moved = torch.rand(50, 2), torch.tensor([0.5, -0.25])
    distance = sliced_distance(square, square + moved, axes)
    assert distance == pytest.approx((0.5 + 0.25) / 2, rel=1e-5)
    assert sliced_distance(square, square[torch.randperm(50)], axes) == 0


def test_distance_of_two_gaussians_in_one_dimension() -> None:
    # W1 of N(0, 1) and N(m, 1) is m; of N(0, 1) and N(0, s^2) it is (s - 1) sqrt(2 / pi).
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 200_000, 1, generator=generator)
    line = torch.ones(1, 1)
    assert 0.74 < sliced_distance(a, b + 0.75, line) < 0.76
    scaled = 1.5 * math.sqrt(2 / math.pi)
    assert scaled * 0.99 < sliced_distance(a, 2.5 * b, line) < scaled * 1.01
    assert 0 < sliced_distance(a, b, line) < 0.01


def test_distance_of_a_shift_averages_over_directions() -> None:
    # E |m . t| over the unit sphere of D dimensions: |m| Gamma(D/2) / (sqrt(pi) Gamma((D+1)/2)).
    generator = torch.Generator().manual_seed(1)
    cloud = torch.randn(30, 147, generator=generator)
    shift = torch.randn(147, generator=generator)
    ways = torch.randn(20_000, 147, generator=generator)
    ways = ways / ways.norm(dim=1, keepdim=True)
    mean = math.exp(math.lgamma(73.5) - math.lgamma(74)) / math.sqrt(math.pi)
    wanted = float(shift.norm()) * mean
    assert wanted * 0.98 < sliced_distance(cloud, cloud + shift, ways) < wanted * 1.02


def test_distance_is_the_same_without_numpy_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = torch.randn(2, 700, 20, generator=torch.Generator().manual_seed(2))
    ways = torch.randn(9, 20, generator=torch.Generator().manual_seed(3))
    whole = sliced_distance(a, b, ways)
    single = [sliced_distance(a, b, way[None]) for way in ways]
    assert sum(single) / 9 == pytest.approx(whole, rel=1e-6)

    def missing(tensor: Tensor) -> None:
        raise RuntimeError("Numpy is not available")

    monkeypatch.setattr(Tensor, "numpy", missing)
    assert sliced_distance(a, b, ways) == pytest.approx(whole, rel=1e-12)


def test_distance_in_pieces_of_the_image_set(monkeypatch: pytest.MonkeyPatch) -> None:
    real, fake = pictures(7, 1), pictures(7, 2)
    whole = sliced_wasserstein(real, fake, patches=9, directions=5)
    # The package's attribute of this name is the function, which hides its module.
    monkeypatch.setattr(sys.modules[sliced_wasserstein.__module__], "CHUNK", 1)
    pieces = sliced_wasserstein(real, fake, patches=9, directions=5)
    assert pieces.levels == pytest.approx(whole.levels, rel=1e-5)


# ---- what the measure sees ---------------------------------------------------------------------


def test_same_seed_same_value_and_no_trace() -> None:
    real, fake = pictures(8, 1), pictures(8, 2)
    before, state = (real.clone(), fake.clone()), torch.get_rng_state()
    first = sliced_wasserstein(real, fake, patches=16, directions=16, seed=3)
    assert first == sliced_wasserstein(real, fake, patches=16, directions=16, seed=3)
    assert first != sliced_wasserstein(real, fake, patches=16, directions=16, seed=4)
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_orders_floor_and_faults() -> None:
    real, other = pictures(64, 1), pictures(64, 2)
    noise = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    one = real[:1].expand(64, -1, -1, -1)
    itself = sliced_wasserstein(real, real)
    floor = sliced_wasserstein(real, other)
    for level in (32, 16):
        assert 0 < itself.levels[level] < 30  # its patches lie elsewhere
        assert 0 < floor.levels[level] < 80
    assert itself.levels[16] < 0.5 * floor.levels[16]
    assert 3 * floor.levels[16] < sliced_wasserstein(real, one).levels[16] < 600
    assert 1.5 * floor.mean < sliced_wasserstein(real, noise).mean < 600
    by_real = sliced_wasserstein(real, other, normalise="real").mean
    assert 10 * by_real < sliced_wasserstein(real, noise, normalise="real").mean < 6000


def test_symmetric_up_to_the_draws() -> None:
    real, fake = pictures(32, 1), pictures(32, 2).pow(3)
    there = [sliced_wasserstein(real, fake, seed=seed).mean for seed in range(8)]
    back = [sliced_wasserstein(fake, real, seed=seed).mean for seed in range(8)]
    spread = np.std(there) + np.std(back)
    assert abs(np.mean(there) - np.mean(back)) < 2 * spread
    assert 0.95 < np.mean(there) / np.mean(back) < 1.05


def test_more_images_lower_the_floor() -> None:
    few = sliced_wasserstein(pictures(16, 1), pictures(16, 2)).mean
    many = sliced_wasserstein(pictures(256, 1), pictures(256, 2)).mean
    assert 0.1 * few < many < 0.6 * few


def test_each_is_blind_to_colour_and_contrast_and_real_is_not() -> None:
    real, fake = pictures(32, 1), pictures(32, 2)
    gain = torch.tensor([0.3, 1.0, 0.6]).view(3, 1, 1)
    cast = fake * gain + torch.tensor([0.5, -0.2, 0.0]).view(3, 1, 1)
    plain = sliced_wasserstein(real, fake)
    assert sliced_wasserstein(real, cast).levels == pytest.approx(plain.levels, rel=1e-3)
    by_real = sliced_wasserstein(real, fake, normalise="real").mean
    assert 3 * by_real < sliced_wasserstein(real, cast, normalise="real").mean < 2000
    # ... and each is not blind to how the channels go together.
    grey = fake.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
    assert 2 * plain.mean < sliced_wasserstein(real, grey).mean < 600


@pytest.mark.parametrize("normalise", ["each", "real"])
def test_scale_of_both_sets_does_not_matter(normalise: Literal["each", "real"]) -> None:
    real, fake = (((x + 1) * 127.5).round() for x in (pictures(12, 1), pictures(12, 2)))
    signed = sliced_wasserstein(real / 127.5 - 1, fake / 127.5 - 1, normalise=normalise)
    counted = sliced_wasserstein(real, fake, normalise=normalise)
    assert counted.levels == pytest.approx(signed.levels, rel=1e-3)
    eight_bit = (real.to(torch.uint8), fake.to(torch.uint8))
    assert sliced_wasserstein(*eight_bit, normalise=normalise) == counted
    doubles = (real.double(), fake.double())
    assert sliced_wasserstein(*doubles, normalise=normalise) == counted


def test_grey_as_one_channel_is_about_grey_as_three() -> None:
    real, fake = pictures(32, 1, channels=1), pictures(32, 2, channels=1).pow(3)
    one = sliced_wasserstein(real, fake).mean
    three = sliced_wasserstein(real.expand(-1, 3, -1, -1), fake.expand(-1, 3, -1, -1)).mean
    assert 0.9 < one / three < 1.1


# ---- degenerate sets ---------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.7, -1.0, 255.0])
@pytest.mark.parametrize("normalise", ["each", "real"])
def test_constant_set_is_far_and_finite(value: float, normalise: Literal["each", "real"]) -> None:
    real, flat = pictures(8, 1), torch.full((8, 3, 32, 32), value)
    limit = 2000 if normalise == "each" or abs(value) <= 1 else 1e6
    for distance in sliced_wasserstein(real, flat, normalise=normalise).levels.values():
        assert 200 < distance < limit
    for distance in sliced_wasserstein(flat, real, normalise=normalise).levels.values():
        assert 200 < distance < limit
    assert sliced_wasserstein(flat, flat, normalise=normalise).mean == pytest.approx(0, abs=1e-2)


def test_rounding_noise_is_not_blown_up_into_a_picture() -> None:
    real = pictures(8, 1)
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(2))
    assert 700 < sliced_wasserstein(real, 0.7 + 1e-7 * noise).mean < 1000
    assert 20 < sliced_wasserstein(real, 0.7 + 1e-4 * noise).mean < 300  # that is a picture


def test_two_constants() -> None:
    grey, white = torch.full((4, 3, 16, 16), 0.1), torch.ones(4, 3, 16, 16)
    assert sliced_wasserstein(grey, white).mean == 0
    by_real = sliced_wasserstein(grey, white, normalise="real").mean
    assert 300 < by_real < 1200  # 900 in all 147 dimensions, times E |sum of t|: 0.8
    scaled = sliced_wasserstein(255 * grey, 255 * white, normalise="real").mean
    assert scaled == pytest.approx(by_real, rel=1e-4)


def test_constant_channel_on_both_sides_adds_nothing_by_itself() -> None:
    real, fake = pictures(8, 1), pictures(8, 2)
    opaque = torch.ones(8, 1, 32, 32)
    result = sliced_wasserstein(torch.cat([real, opaque], 1), torch.cat([fake, opaque], 1))
    wanted = sliced_wasserstein(real, fake).mean
    assert 0.7 * wanted < result.mean < wanted  # directions spend a quarter of themselves on it


# ---- the interface -----------------------------------------------------------------------------


def test_levels_of_a_hundred_pixels() -> None:
    images = pictures(2, 1, (100, 100))
    result = sliced_wasserstein(images, images, patches=4, directions=4)
    assert list(result.levels) == [100, 50, 25]
    assert isinstance(result, SlicedWasserstein)
    deeper = sliced_wasserstein(images, images, patches=4, directions=4, smallest=12)
    assert list(deeper.levels) == [100, 50, 25, 13]


@pytest.mark.parametrize(
    ("real", "fake", "options", "words"),
    [
        ((5, 3, 32, 32), (4, 3, 32, 32), {}, "5 real, 4 fake"),
        ((4, 3, 32, 32), (4, 1, 32, 32), {}, r"\[4, 3, 32, 32\].*\[4, 1, 32, 32\]"),
        ((4, 3, 32), (4, 3, 32), {}, r"real must be \[N, C, H, W\]"),
        ((0, 3, 32, 32), (0, 3, 32, 32), {}, "not empty"),
        ((4, 3, 15, 32), (4, 3, 15, 32), {}, "15x32 are below the smallest level, 16"),
        ((4, 3, 32, 32), (4, 3, 32, 32), {"smallest": 6}, "at least 7"),
        ((4, 3, 32, 32), (4, 3, 32, 32), {"patches": 0}, "patches must be at least 1"),
        ((4, 3, 32, 32), (4, 3, 32, 32), {"directions": 0}, "directions must be at least 1"),
        ((4, 3, 32, 32), (4, 3, 32, 32), {"repeats": -1}, "repeats must be at least 1"),
        ((4, 3, 32, 32), (4, 3, 32, 32), {"normalise": "fake"}, '"each" or "real", got \'fake\''),
    ],
)
def test_errors(
    real: tuple[int, ...], fake: tuple[int, ...], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        sliced_wasserstein(torch.zeros(real), torch.zeros(fake), **options)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_not_finite(value: float) -> None:
    good = pictures(2, 1)
    bad = good.clone()
    bad[1, 2, 31, 31] = value
    with pytest.raises(ValueError, match="fake images have pixels that are not finite"):
        sliced_wasserstein(good, bad)
    with pytest.raises(ValueError, match="real images have pixels that are not finite"):
        sliced_wasserstein(bad, good)


def test_unequal_clouds() -> None:
    with pytest.raises(ValueError, match=r"\[3, 2\] and \[4, 2\]"):
        sliced_distance(torch.zeros(3, 2), torch.zeros(4, 2), torch.eye(2))


@pytest.mark.slow
def test_hundred_against_hundred_is_quick() -> None:
    real, fake = pictures(100, 1, (64, 64)), pictures(100, 2, (64, 64))
    start = time.perf_counter()
    sliced_wasserstein(real, fake)
    assert time.perf_counter() - start < 5
