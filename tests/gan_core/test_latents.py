"""Latents: the priors' distributions, three truncations, straight lines and arcs."""

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.latents import (
    PRIORS,
    Prior,
    linear,
    resampled,
    scaled,
    spherical,
    towards_mean,
)

Path = Callable[[Tensor, Tensor, Tensor], Tensor]


def draws(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def farthest(values: Tensor, cumulative: Callable[[float], float]) -> float:
    """Kolmogorov's distance of values to a distribution; below 2 / sqrt(n) at 99.9 %."""
    ordered = np.sort(values.flatten().numpy())
    expected = np.array([cumulative(value) for value in ordered])
    return float(np.abs(expected - (np.arange(len(ordered)) + 0.5) / len(ordered)).max())


def normal_cumulative(x: float) -> float:
    return (1 + math.erf(x / math.sqrt(2))) / 2


# Priors.


def test_the_table_is_the_literal() -> None:
    assert set(PRIORS) == set(get_args(Prior))


def test_normal_is_what_was_drawn() -> None:
    z = draws(1, 4, 8)
    assert PRIORS["normal"](z).equal(z)


def test_uniform_is_uniform() -> None:
    u = PRIORS["uniform"](draws(1, 200, 100))
    assert -1 < u.min() < -0.999
    assert 0.999 < u.max() < 1
    assert farthest(u, lambda x: (x + 1) / 2) < 2 / 20_000**0.5
    known = torch.tensor([[-math.inf, -1.0, 0.0, 1.0, math.inf]], dtype=torch.float64)
    inside_one_deviation = 0.682689492137086
    assert PRIORS["uniform"](known)[0].tolist() == pytest.approx(
        [-1, -inside_one_deviation, 0, inside_one_deviation, 1]
    )


@pytest.mark.parametrize("n", [2, 3, 128])
def test_sphere_keeps_the_direction_and_sets_the_length(n: int) -> None:
    z = draws(1, 5, n)
    s = PRIORS["sphere"](z)
    np.testing.assert_allclose(s.norm(dim=1), n**0.5, rtol=1e-12)
    np.testing.assert_allclose(torch.cosine_similarity(s, z), np.ones(5), rtol=1e-12)
    assert PRIORS["sphere"](100 * z).numpy() == pytest.approx(s.numpy(), rel=1e-12)


@pytest.mark.parametrize("name", sorted(PRIORS))
def test_priors_treat_samples_apart_and_keep_shape_and_type(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        z = draws(1, 4, 6, dtype=dtype)
        x = PRIORS[name](z)
        assert x.shape == z.shape
        assert x.dtype == dtype
        np.testing.assert_allclose(PRIORS[name](z[2:3]), x[2:3], rtol=1e-6)
    assert PRIORS[name](torch.empty(4, 6, device="meta")).shape == (4, 6)


# Truncation.


@pytest.mark.parametrize("threshold", [0.04, 0.5, 1.0, 2.0])
def test_resampling_gives_the_cut_normal_distribution(threshold: float) -> None:
    z = resampled(draws(1, 200, 100), threshold, generator())
    below = normal_cumulative(-threshold)

    def cumulative(x: float) -> float:
        return (normal_cumulative(x) - below) / (1 - 2 * below)

    assert z.abs().max() <= threshold
    assert farthest(z, cumulative) < 2 / 20_000**0.5


def test_resampling_touches_only_what_is_outside() -> None:
    z = draws(1, 50, 20)
    cut = resampled(z, 1.0, generator())
    within = z.abs() <= 1
    assert cut[within].equal(z[within])
    again = cut[~within]
    assert (again.abs() < 1).all()
    assert len(again.unique()) == len(again) > 200
    assert abs(np.corrcoef(again, z[~within])[0, 1]) < 0.25, "drawn anew, not folded or clipped"


def test_resampling_is_a_function_of_draws_threshold_and_seed() -> None:
    z = draws(1, 6, 8)
    assert resampled(z, 0.7, generator(3)).equal(resampled(z, 0.7, generator(3)))
    assert not resampled(z, 0.7, generator(3)).equal(resampled(z, 0.7, generator(4)))
    one, other = generator(5), generator(5)
    resampled(z, 0.1, one)
    resampled(torch.zeros_like(z), 0.1, other)
    assert torch.rand(3, generator=one).equal(torch.rand(3, generator=other))


def test_a_wide_threshold_leaves_draws_and_a_narrow_one_stays_finite() -> None:
    z = draws(1, 100, 100, dtype=torch.float32)
    assert resampled(z, 20.0, generator()).equal(z)
    far = torch.full((1000, 100), 9.0)
    for threshold in (1e-6, 3.0, 6.0, 8.5):
        cut = resampled(far, threshold, generator())
        assert cut.isfinite().all()
        assert cut.abs().max() <= threshold


def test_the_smallest_number_that_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 of [0, 1) is the distribution's lower end, which is the threshold and not infinity."""
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.zeros(shape))
    for threshold in (0.5, 9.0):
        cut = resampled(torch.full((3,), 10.0), threshold, generator())
        assert cut.tolist() == pytest.approx([-threshold] * 3, rel=1e-6)


@pytest.mark.parametrize("threshold", [0.0, -1.0, math.nan])
def test_a_threshold_that_nothing_is_within_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be above 0"):
        resampled(draws(1, 2, 2), threshold, generator())


def test_the_other_truncations_by_hand() -> None:
    z = torch.tensor([[2.0, -4.0], [1.0, 0.0]])
    assert scaled(z, 0.5).tolist() == [[1.0, -2.0], [0.5, 0.0]]
    mean = torch.tensor([10.0, 20.0])
    assert towards_mean(z, mean, 0.25).tolist() == [[8.0, 14.0], [7.75, 15.0]]
    assert towards_mean(z, mean, 1.0).equal(z)
    assert towards_mean(z, mean, 0.0).equal(mean.expand(2, 2))


# Paths.

T = torch.tensor([0.0, 0.25, 0.5, 1.0], dtype=torch.float64)


def arc(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """By turning a towards b in their plane, for vectors of one length."""
    u = a / np.linalg.norm(a)
    right = b - (b @ u) * u
    right /= np.linalg.norm(right)
    angle = t * np.arccos(u @ b / np.linalg.norm(b))
    return np.linalg.norm(a) * (np.cos(angle) * u + np.sin(angle) * right)


@pytest.mark.parametrize("path", [linear, spherical])
def test_paths_begin_and_end_where_they_are_told(path: Path) -> None:
    a, b = draws(1, 7), draws(2, 7)
    x = path(a, b, T)
    assert x.shape == (4, 7)
    np.testing.assert_allclose(x[0], a, atol=1e-12)
    np.testing.assert_allclose(x[-1], b, atol=1e-12)
    np.testing.assert_allclose(path(b, a, 1 - T), x, atol=1e-12)


def test_linear_by_hand() -> None:
    x = linear(torch.tensor([0.0, 4.0]), torch.tensor([8.0, 0.0]), torch.tensor([0.25, 0.5]))
    assert x.tolist() == [[2.0, 3.0], [4.0, 2.0]]


@pytest.mark.parametrize("n", [2, 3, 64])
def test_an_arc_is_a_turn(n: int) -> None:
    a, b = draws(1, n), draws(2, n)
    b = b * (a.norm() / b.norm())
    for t, x in zip(T, spherical(a, b, T), strict=True):
        np.testing.assert_allclose(x, arc(a.numpy(), b.numpy(), t.item()), atol=1e-12)
        assert x.norm().item() == pytest.approx(a.norm().item(), rel=1e-12)


def test_an_arc_between_lengths_by_hand() -> None:
    """(1, 0) and (0, 3), 60 degrees of 90: sin 30 a + sin 60 b."""
    a, b = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 3.0]).double()
    x = spherical(a, b, torch.tensor([2 / 3]).double())
    assert x[0].tolist() == pytest.approx([0.5, 3 * 3**0.5 / 2])


@pytest.mark.parametrize("factor", [1.0, 2.5, -1.0, -0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_parallel_and_opposite_vectors_are_joined_by_a_line(
    factor: float, dtype: torch.dtype
) -> None:
    a = draws(1, 9, dtype=dtype)
    t = T.to(dtype)
    np.testing.assert_allclose(spherical(a, factor * a, t), linear(a, factor * a, t), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nearly_parallel_vectors_are_no_edge(dtype: torch.dtype) -> None:
    """Angles from 1e-8 to 1e-1: as far from the line as an arc bulges, angle^2 / 8."""
    a = torch.tensor([1.0, 0.0, 0.0], dtype=dtype)
    for exponent in np.linspace(-8, -1, 40):
        angle = 10**exponent
        b = torch.tensor([math.cos(angle), math.sin(angle), 0.0], dtype=dtype)
        t = torch.tensor([0.3, 0.5], dtype=dtype)
        apart = (spherical(a, b, t) - linear(a, b, t)).norm(dim=1).max().item()
        assert apart <= angle**2 / 7 + 3e-7
        assert apart >= angle**2 / 9 - 3e-7


def test_zeros_stay_finite() -> None:
    zero = torch.zeros(3)
    assert spherical(zero, zero, T.float()).eq(0).all()
    assert spherical(zero, torch.ones(3), T.float()).isfinite().all()
