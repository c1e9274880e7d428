"""Codes: numbers by hand, what correlation is blind to, its gradient, constants, formats."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.codes import average, correlation, normalised, squared_code

Z = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
CODE = torch.tensor([[5.0, 5.0, 8.0], [-1.0, -2.0, -3.0], [1.0, -2.0, 1.0]])


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def test_numbers_by_hand() -> None:
    """(-1, 0, 1) against (-1, -1, 2): 3 / sqrt(2 6); against its negative; and at right angles."""
    assert average(CODE).tolist() == [6.0, -2.0, 0.0]
    assert correlation(Z, CODE).tolist() == pytest.approx([3 / 12**0.5, -1, 0], abs=1e-6)
    assert squared_code(Z, CODE).tolist() == [16 + 9 + 25, 4 + 16 + 36, 16 + 4]
    deviation = (2 / 3) ** 0.5  # over 3, not 2
    assert normalised(Z)[0].tolist() == pytest.approx([-1 / deviation, 0, 1 / deviation])


@pytest.mark.parametrize("n", [2, 3, 17, 128])
def test_equals_the_definition(n: int) -> None:
    z, code = draw(1, 5, n), 3 * draw(2, 5, n) + 7
    pairs = list(zip(z.numpy(), code.numpy(), strict=True))
    expected = [np.corrcoef(a, b)[0, 1] for a, b in pairs]
    np.testing.assert_allclose(correlation(z, code), expected, rtol=1e-9)
    np.testing.assert_allclose(average(code), [b.sum() / n for _, b in pairs], rtol=1e-12)
    np.testing.assert_allclose(squared_code(z, code), [((a - b) ** 2).sum() for a, b in pairs])
    in_full = [((a - a.mean()) * (b - b.mean())).sum() / (n * a.std() * b.std()) for a, b in pairs]
    np.testing.assert_allclose(correlation(z, code), in_full, rtol=1e-9)


def test_average_deviation_and_direction_make_up_the_code() -> None:
    code = 4 * draw(1, 6, 9) - 2
    whole = normalised(code) * code.std(1, correction=0)[:, None] + average(code)[:, None]
    np.testing.assert_allclose(whole, code, atol=1e-12)
    again = normalised(code)
    np.testing.assert_allclose(average(again), np.zeros(6), atol=1e-12)
    np.testing.assert_allclose(again.std(1, correction=0), np.ones(6), rtol=1e-12)
    np.testing.assert_allclose(normalised(again), again, atol=1e-12)


def test_correlation_is_blind_to_scale_and_shift() -> None:
    z, code = draw(1, 4, 16), draw(2, 4, 16)
    expected = correlation(z, code)
    for a, b in [(3.0, 0.0), (1.0, -50.0), (1e-3, 2.0), (1e3, 1e3)]:
        np.testing.assert_allclose(correlation(z, a * code + b), expected, atol=1e-9)
        np.testing.assert_allclose(correlation(a * z + b, code), expected, atol=1e-9)
        np.testing.assert_allclose(correlation(z, a * z + b), np.ones(4), atol=1e-9)
        np.testing.assert_allclose(correlation(z, -a * code + b), -expected, atol=1e-9)
    assert (squared_code(z, code + 1) - squared_code(z, code)).abs().min() > 1e-3


def test_its_gradient_leaves_average_and_scale_alone() -> None:
    z, code = draw(1, 4, 16), (2 * draw(2, 4, 16) + 3).requires_grad_()
    (gradient,) = torch.autograd.grad(correlation(z, code).sum(), code)
    centred = code.detach() - code.detach().mean(1, keepdim=True)
    assert gradient.abs().max() > 1e-3
    np.testing.assert_allclose(gradient.sum(1), np.zeros(4), atol=1e-12)
    np.testing.assert_allclose((gradient * centred).sum(1), np.zeros(4), atol=1e-12)


def test_gradients() -> None:
    z, code = draw(1, 3, 5).requires_grad_(), (draw(2, 3, 5) + 1).requires_grad_()
    for function in (correlation, squared_code):
        assert torch.autograd.gradcheck(function, (z, code))
        assert torch.autograd.gradgradcheck(function, (z, code))
    assert torch.autograd.gradcheck(normalised, code)
    assert torch.autograd.gradgradcheck(normalised, code)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-9, 1e-3, 1e15])
def test_constant_codes_and_huge_ones_stay_finite(scale: float) -> None:
    """Below the flatness limit rho falls with the deviation; above it is a cosine."""
    z = draw(1, 2, 8, dtype=torch.float32)
    code = (scale * z).requires_grad_()
    rho = correlation(z, code)
    (gradient,) = torch.autograd.grad(rho.sum(), code)
    assert gradient.isfinite().all()
    assert normalised(code).isfinite().all()
    if scale >= 1e-3:
        assert rho.tolist() == pytest.approx([1, 1], abs=1e-5)
    else:
        assert ((rho >= 0) & (rho < 0.01)).all()
    assert correlation(z, torch.zeros(2, 8)).eq(0).all()
    assert normalised(torch.full((2, 8), 3.0)).eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(dtype: torch.dtype) -> None:
    z, code = draw(1, 4, 64, dtype=dtype), (100 + draw(2, 4, 64)).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        values = average(code), correlation(z, code), squared_code(z, code), normalised(code)
    wide = z.double(), code.double()
    expected = average(wide[1]), correlation(*wide), squared_code(*wide), normalised(wide[1])
    for value, exact in zip(values, expected, strict=True):
        assert value.dtype == torch.float32
        np.testing.assert_allclose(value, exact, rtol=1e-4, atol=1e-5)


def test_shapes_alone() -> None:
    z = torch.empty(4, 8, device="meta", requires_grad=True)
    assert average(z).shape == correlation(z, 2 * z).shape == squared_code(z, z).shape == (4,)
    assert normalised(z).shape == (4, 8)
