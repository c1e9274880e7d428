"""Energies, margin and pulling away: numbers by hand, definitions, gradients, extremes, formats."""

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.energy import Energy, margin_loss, pulling_away, reconstruction_energy

KINDS: tuple[Energy, ...] = get_args(Energy)
SHAPES = [(3, 2), (4, 1, 5, 3), (2, 3, 4, 4)]

BY_DEFINITION: dict[str, Callable[[np.ndarray], float]] = {
    "norm": lambda d: float(np.sqrt((d**2).sum())),
    "squared": lambda d: float((d**2).sum() / d.size),
    "absolute": lambda d: float(np.abs(d).sum() / d.size),
}


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


# Energies.


def test_energies_by_hand() -> None:
    """Differences (3, 4) and (-2, 0)."""
    x = torch.tensor([[1.0, 1.0], [5.0, 7.0]])
    rebuilt = torch.tensor([[4.0, 5.0], [3.0, 7.0]])
    assert reconstruction_energy(x, rebuilt, "norm").tolist() == [5.0, 2.0]
    assert reconstruction_energy(x, rebuilt, "squared").tolist() == [12.5, 2.0]
    assert reconstruction_energy(x, rebuilt, "absolute").tolist() == [3.5, 1.0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_energy_is_of_one_sample(kind: Energy, shape: tuple[int, ...]) -> None:
    x, rebuilt = draw(1, *shape), draw(2, *shape)
    energy = reconstruction_energy(x, rebuilt, kind)
    expected = [BY_DEFINITION[kind](d) for d in (rebuilt - x).numpy()]
    np.testing.assert_allclose(energy, expected, rtol=1e-12)
    assert reconstruction_energy(x, x, kind).eq(0).all(), "low = real"
    np.testing.assert_allclose(
        reconstruction_energy(x, 2 * rebuilt - x, kind),
        np.array(expected) * (4 if kind == "squared" else 2),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_energies(kind: Energy) -> None:
    x, rebuilt = (draw(seed, 3, 2, 2).requires_grad_() for seed in (1, 2))

    def energy(x: Tensor, rebuilt: Tensor) -> Tensor:
        return reconstruction_energy(x, rebuilt, kind)

    assert torch.autograd.gradcheck(energy, (x, rebuilt))
    if kind != "absolute":  # |x| has no second derivative to check
        assert torch.autograd.gradgradcheck(energy, (x, rebuilt))


@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_rebuild_has_no_gradient(kind: Energy) -> None:
    x = draw(1, 3, 4)
    rebuilt = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reconstruction_energy(x, rebuilt, kind).sum(), rebuilt)
    assert gradient.eq(0).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_energies_are_computed_in_float32(kind: Energy, dtype: torch.dtype) -> None:
    x, rebuilt = draw(1, 4, 3, 8, 8, dtype=dtype), draw(2, 4, 3, 8, 8, dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        energy = reconstruction_energy(x, rebuilt, kind)
    assert energy.dtype == torch.float32
    expected = [BY_DEFINITION[kind](d) for d in (rebuilt.double() - x.double()).numpy()]
    np.testing.assert_allclose(energy, expected, rtol=1e-5)
    top = torch.full((2, 9), 6e4, dtype=dtype)
    assert reconstruction_energy(top, -top, kind).isfinite().all()


def test_an_unknown_energy_is_named() -> None:
    with pytest.raises(ValueError, match="energy 'l2': choose norm, squared, absolute"):
        reconstruction_energy(draw(1, 2, 2), draw(2, 2, 2), "l2")  # type: ignore[arg-type]


# Margin.


def test_margin_by_hand() -> None:
    """Margin 2: 1.5, 0 and 0; the hinge of the mean energy would be 0."""
    energy = torch.tensor([0.5, 2.0, 9.5])
    assert margin_loss(energy, 2.0).item() == 0.5
    assert margin_loss(energy, 10.0).item() == pytest.approx((9.5 + 8 + 0.5) / 3)


def test_margin_pushes_up_what_is_below_it() -> None:
    energy = torch.tensor([0.5, 1.9, 2.1, 80.0]).requires_grad_()
    (gradient,) = torch.autograd.grad(margin_loss(energy, 2.0), energy)
    assert gradient.tolist() == [-0.25, -0.25, 0.0, 0.0]
    smooth = draw(1, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: margin_loss(e, 0.3), smooth)
    half = margin_loss(torch.tensor([6e4], dtype=torch.float16), 7e4)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(1e4, rel=1e-3)


# Pulling away.


def by_pairs(codes: np.ndarray) -> float:
    total, count = 0.0, len(codes)
    for i, a in enumerate(codes.reshape(count, -1)):
        for j, b in enumerate(codes.reshape(count, -1)):
            if i != j:
                total += (a @ b / (np.linalg.norm(a) * np.linalg.norm(b))) ** 2
    return total / (count * (count - 1))


def test_pulling_away_by_hand() -> None:
    """Angles of 90, 45 and 135 degrees: cos^2 of 0, 1/2, 1/2, each pair twice, of 6."""
    codes = torch.tensor([[3.0, 0.0], [0.0, -2.0], [5.0, 5.0]])
    assert pulling_away(codes).item() == pytest.approx(1 / 3, abs=1e-6)
    assert pulling_away(torch.eye(4)).item() == 0
    assert pulling_away(torch.tensor([[1.0, 2.0], [-3.0, -6.0]])).item() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(2, 5), (5, 2), (6, 6), (9, 4), (4, 2, 3, 3)])
def test_pulling_away_is_the_mean_over_pairs(shape: tuple[int, ...]) -> None:
    """More codes than numbers, and fewer."""
    codes = draw(1, *shape)
    assert pulling_away(codes).item() == pytest.approx(by_pairs(codes.numpy()), rel=1e-12)


def test_only_directions_count() -> None:
    codes = draw(1, 5, 3)
    lengths = torch.tensor([1e-3, -2.0, 5.0, 1e3, -1.0], dtype=torch.float64)[:, None]
    expected = pulling_away(codes).item()
    assert pulling_away(codes * lengths).item() == pytest.approx(expected, rel=1e-12)


def test_gradients_of_pulling_away() -> None:
    for shape in ((3, 4), (4, 2)):
        codes = draw(1, *shape).requires_grad_()
        assert torch.autograd.gradcheck(pulling_away, codes)
        assert torch.autograd.gradgradcheck(pulling_away, codes)


def test_descent_turns_codes_apart() -> None:
    codes = (torch.ones(4, 6, dtype=torch.float64) + 0.1 * draw(1, 4, 6)).requires_grad_()
    before = pulling_away(codes)
    for _ in range(300):
        (gradient,) = torch.autograd.grad(pulling_away(codes), codes)
        codes = (codes - gradient).detach().requires_grad_()
    assert before > 0.9
    assert 0 <= pulling_away(codes) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_pulling_away_is_computed_in_float32(dtype: torch.dtype) -> None:
    """Also under autocast, which would round the product of codes to 16 bits."""
    for codes in (draw(1, 8, 64, dtype=dtype), draw(1, 8, 4, dtype=dtype)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = pulling_away(codes)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(by_pairs(codes.double().numpy()), rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 1e-30, 6e4, 1e18])
def test_pulling_away_stays_finite(value: float) -> None:
    codes = torch.full((3, 4), value).requires_grad_()
    term = pulling_away(codes)
    (gradient,) = torch.autograd.grad(term, codes)
    assert 0 <= term <= 1 + 1e-6
    assert gradient.isfinite().all()


def test_one_code_has_nothing_to_be_pulled_from() -> None:
    with pytest.raises(ValueError, match="2 or more, not 1"):
        pulling_away(draw(1, 1, 4))


def test_shapes_alone() -> None:
    x = torch.empty(4, 3, 8, 8, device="meta", requires_grad=True)
    for kind in KINDS:
        assert reconstruction_energy(x, 2 * x, kind).shape == (4,)
    total = margin_loss(reconstruction_energy(x, 2 * x, "norm"), 1.0) + pulling_away(x)
    total.backward()
    assert x.grad is not None
