"""MS-SSIM against NumPy and closed forms, small and odd pictures; what diversity must see."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.metrics import diversity, ms_ssim

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def pictures(n: int, seed: int, size: tuple[int, int] = (32, 32), channels: int = 3) -> Tensor:
    """Smooth blobs with a little noise in [-1, 1]: structure at every scale."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, channels, 5, 5, generator=generator, dtype=torch.float64) * 2 - 1
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    noise = torch.randn(smooth.shape, generator=generator, dtype=torch.float64)
    return (smooth + 0.1 * noise).clamp(-1, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---- an independent implementation: each window's own means, variances and covariance ----------


def numpy_scale(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(mean of l cs, mean of cs) of one pair [C, H, W] in 0 ... 255."""
    width = min(11, *a.shape[1:])
    sigma = 1.5 * width / 11
    place = np.arange(width) - (width - 1) / 2
    window = np.exp(-(place[:, None] ** 2 + place**2) / (2 * sigma**2))
    window /= window.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    both, structures = [], []
    for x, y in zip(a, b, strict=True):
        for top in range(a.shape[1] - width + 1):
            for left in range(a.shape[2] - width + 1):
                p = x[top : top + width, left : left + width]
                q = y[top : top + width, left : left + width]
                mu_p, mu_q = (window * p).sum(), (window * q).sum()
                var_p, var_q = (window * (p - mu_p) ** 2).sum(), (window * (q - mu_q) ** 2).sum()
                covariance = (window * (p - mu_p) * (q - mu_q)).sum()
                structures.append((2 * covariance + c2) / (var_p + var_q + c2))
                luminance = (2 * mu_p * mu_q + c1) / (mu_p**2 + mu_q**2 + c1)
                both.append(luminance * structures[-1])
    return float(np.mean(both)), float(np.mean(structures))


def numpy_half(x: np.ndarray) -> np.ndarray:
    """Means of 2 x 2; beyond an odd side its last pixels are repeated."""
    x = np.pad(x, [(0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2)], mode="edge")
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def numpy_ms_ssim(a: Tensor, b: Tensor) -> float:
    x, y = ((t.numpy() + 1) * 127.5 for t in (a, b))
    value = 1.0
    for scale, weight in enumerate(WEIGHTS):
        both, structure = numpy_scale(x, y)
        value *= max(both if scale == 4 else structure, 0.0) ** weight
        x, y = numpy_half(x), numpy_half(y)
    return value


@pytest.mark.parametrize(
    ("size", "channels"),
    [((32, 32), 1), ((32, 32), 3), ((16, 16), 1), ((40, 24), 1), ((33, 45), 2), ((11, 5), 1)],
)
def test_equals_the_definition(size: tuple[int, int], channels: int) -> None:
    """Pairs from all but equal to unlike; sides that are odd, and below the window."""
    a = pictures(4, 1, size, channels)
    other = pictures(4, 2, size, channels)
    far = torch.tensor([0.02, 0.1, 0.3, 1.0], dtype=torch.float64)[:, None, None, None]
    b = (1 - far) * a + far * other
    expected = [numpy_ms_ssim(x, y) for x, y in zip(a, b, strict=True)]
    assert expected[0] > 0.95
    assert expected[1] > expected[2] > expected[3]
    np.testing.assert_allclose(ms_ssim(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(ms_ssim(a.float(), b.float()), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_equals_the_definition_where_every_window_is_whole() -> None:
    """From 176 pixels on the last of the five scales has 11."""
    a, b = pictures(1, 1, (176, 180), 1), pictures(1, 2, (176, 180), 1)
    mixed = 0.7 * a + 0.3 * b
    assert ms_ssim(a, mixed).item() == pytest.approx(numpy_ms_ssim(a[0], mixed[0]), rel=1e-9)


@pytest.mark.parametrize("size", [(8, 8), (16, 16), (32, 48), (33, 31), (200, 180)])
def test_equal_pictures_have_one_and_nothing_has_more(size: tuple[int, int]) -> None:
    a, b = pictures(3, 1, size), pictures(3, 2, size)
    assert ms_ssim(a, a).eq(1).all()
    for x, y in ((a, b), (a, -a), (a, 0 * a)):
        value = ms_ssim(x, y)
        assert value.shape == (3,)
        assert ((value >= 0) & (value < 0.95)).all()
        assert value.equal(ms_ssim(y, x))


def test_constant_pictures_differ_in_luminance_alone() -> None:
    """Grey p against q of 0 ... 1: ((2 p q + C1) / (p^2 + q^2 + C1))^0.1333."""
    a = torch.full((1, 1, 64, 64), -0.5, dtype=torch.float64)
    b = torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)
    p, q, c1 = 0.25, 0.75, 1e-4
    expected = ((2 * p * q + c1) / (p**2 + q**2 + c1)) ** 0.1333
    assert ms_ssim(a, b).item() == pytest.approx(expected, rel=1e-9)


def test_opposite_structure_counts_as_none() -> None:
    """Its negative average has no power of 0.0448."""
    a = torch.randn(2, 1, 32, 32, generator=generator(), dtype=torch.float64).clamp(-1, 1)
    assert ms_ssim(a, -a).eq(0).all()


def test_pairs_are_apart() -> None:
    a, b = pictures(5, 1), pictures(5, 2)
    alone = torch.cat([ms_ssim(a[i : i + 1], b[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(ms_ssim(a, b), alone, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(dtype: torch.dtype) -> None:
    a, b = pictures(2, 1).to(dtype), pictures(2, 2).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = ms_ssim(a, b)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(value, ms_ssim(a.double(), b.double()), rtol=1e-4)


def test_noise_and_blur_and_shift_all_count() -> None:
    a = pictures(4, 1, (64, 64))
    noise = torch.randn(a.shape, generator=generator(), dtype=torch.float64)
    values = [ms_ssim(a, a + s * noise).mean().item() for s in (0.0, 0.05, 0.2, 0.8)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 0.3
    assert ms_ssim(a, a.roll(4, 3)).max() < 0.95


# Diversity.


def test_diversity_is_the_mean_of_pairs_of_different_pictures() -> None:
    """Of three pictures: over many draws each of the three pairs a third of the time."""
    x = pictures(3, 1)
    pairs = [ms_ssim(x[i : i + 1], x[j : j + 1]).item() for i, j in ((0, 1), (0, 2), (1, 2))]
    found = diversity(x, 1000, generator())
    spread = np.std(pairs) / 1000**0.5
    assert spread > 0
    assert abs(found - np.mean(pairs)) < 4 * spread
    assert found < 0.9, "no picture was held against itself"


def test_two_pictures_have_one_pair() -> None:
    x = pictures(2, 1)
    for seed in range(5):
        expected = ms_ssim(x[:1], x[1:]).item()
        assert diversity(x, 3, generator(seed)) == pytest.approx(expected, rel=1e-12)


def test_collapse_shows() -> None:
    real = pictures(40, 1)
    collapsed = real[:1] + 0.02 * (pictures(40, 2) - real[:1])
    assert diversity(collapsed, 200, generator()) > 0.98
    assert diversity(real, 200, generator()) < 0.4


def test_diversity_is_a_function_of_its_seed_and_not_of_its_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = pictures(10, 1)
    expected = diversity(x, 50, generator(3))
    assert diversity(x, 50, generator(3)) == expected
    assert diversity(x, 50, generator(4)) != expected
    module = sys.modules["gan_core.metrics.ms_ssim"]
    for chunk in (1, 7 * x[0].numel()):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert diversity(x, 50, generator(3)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
def test_memory_is_that_of_a_chunk() -> None:
    """3000 pairs of pictures are 74 MB, and their five maps 184; a chunk's are 1 MiB each."""
    program = """
import resource, torch
from gan_core.metrics import diversity
x = torch.rand(8, 3, 32, 32)
diversity(x, 1, torch.Generator())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
diversity(x, 3000, torch.Generator())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert int(out.stdout) < 60_000  # KiB


# Mistakes.


def test_mistakes_are_named() -> None:
    x = pictures(2, 1)
    with pytest.raises(
        ValueError, match=r"one shape are needed: \[2, 3, 32, 32\], \[1, 3, 32, 32\]"
    ):
        ms_ssim(x, x[:1])
    with pytest.raises(ValueError, match=r"\[3, 32, 32\]"):
        ms_ssim(x[0], x[0])
    with pytest.raises(ValueError, match="2 or more images and 1 or more pairs are needed: 1, 5"):
        diversity(x[:1], 5, generator())
    with pytest.raises(ValueError, match="1 or more pairs are needed: 2, 0"):
        diversity(x, 0, generator())
