"""InfoGAN's terms against closed forms and NumPy, and the consistency of levels by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.information import categorical_nll, consistency, gaussian_nll


def draws(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_cross_entropy_is_that_of_the_softmax() -> None:
    logits, ways = draws(6, 4), np.array([0, 3, 1, 1, 2, 0])
    shares = np.exp(logits.numpy())
    shares /= shares.sum(1, keepdims=True)
    expected = -np.log(shares[np.arange(6), ways]).mean()
    code = torch.eye(4, dtype=torch.float64)[ways]
    assert categorical_nll(logits, code).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ways", [2, 10])
def test_who_knows_nothing_pays_the_entropy(ways: int) -> None:
    """log k, so that the bound on the information is 0."""
    code = torch.eye(ways)
    assert categorical_nll(torch.zeros(ways, ways), code).item() == pytest.approx(math.log(ways))
    assert categorical_nll(1e4 * code, code).item() == pytest.approx(0, abs=1e-6)


def test_gaussian_is_that_of_deviation_1() -> None:
    mean, code = draws(5, 3), draws(5, 3, seed=1)
    density = np.exp(-((code - mean).numpy() ** 2) / 2) / np.sqrt(2 * np.pi)
    expected = -np.log(density).sum(1).mean()
    assert gaussian_nll(mean, code).item() == pytest.approx(expected, rel=1e-12)
    # the mean may not be lower than its constant, which a perfect guess costs
    least = 3 * math.log(2 * math.pi) / 2
    assert gaussian_nll(code, code).item() == pytest.approx(least, rel=1e-12)


def test_gaussian_pulls_each_mean_to_its_code() -> None:
    mean, code = draws(5, 3).requires_grad_(), draws(5, 3, seed=1)
    (slope,) = torch.autograd.grad(gaussian_nll(mean, code), mean)
    torch.testing.assert_close(slope, (mean.detach() - code) / 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bits_are_widened_first(dtype: torch.dtype) -> None:
    logits, code = 300 * draws(4, 3).to(dtype), torch.eye(3)[[0, 1, 2, 0]]
    for term in (categorical_nll, gaussian_nll):
        found = term(logits, code)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(term(logits.double(), code.double()).item(), rel=1e-5)


def test_levels_agree_where_means_of_squares_do() -> None:
    """By hand: one square of 2 x 2 against its pixel, then 4 x 4 against 2 x 2."""
    coarse = torch.zeros(1, 1, 1, 1)
    middle = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]])  # mean 4: 16 from 0
    fine = torch.kron(middle[0, 0], torch.ones(2, 2))[None, None] + 0.5  # 0.25 everywhere
    assert consistency([coarse, middle, fine]).item() == pytest.approx(16.25)
    assert consistency([coarse, middle]).item() == pytest.approx(16)
    same = [coarse, torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, -1.0], [0.0, 0.0]]]])]
    assert consistency(same[:2]).item() == 0
    fine = torch.kron(torch.zeros(2, 2), torch.ones(2, 2))[None, None].clone()
    fine[0, 0, ::2, ::2], fine[0, 0, 1::2, 1::2] = 1.0, -1.0  # detail that no coarser level has
    assert consistency([*same[:2], fine]).item() == 0


def test_levels_are_means_over_all_numbers_and_both_are_moved() -> None:
    levels = [draws(3, 2, side, 2 * side, seed=side).requires_grad_() for side in (2, 4, 8)]
    arrays = [level.detach().numpy() for level in levels]
    expected = sum(
        np.square(b.reshape(3, 2, h, 2, 2 * h, 2).mean((3, 5)) - a).mean()
        for a, b, h in zip(arrays, arrays[1:], (2, 4), strict=False)
    )
    found = consistency(levels)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(found, levels))


def test_one_level_has_nothing_to_agree_with() -> None:
    only = draws(2, 3, 4, 4).requires_grad_()
    assert consistency([only]).item() == 0
