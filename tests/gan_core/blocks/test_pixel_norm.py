"""Each place's vector of channels has a mean square of 1."""

import numpy as np
import pytest
import torch

from gan_core.blocks.pixel_norm import PixelNorm


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 3, 4)])
def test_by_formula(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64) * 1e-3
    y = PixelNorm()(x)
    expected = x.numpy() / np.sqrt((x.numpy() ** 2).mean(1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    assert (y.square().mean(1) < 1).all(), "the 1e-8 is felt"


def test_by_hand() -> None:
    x = torch.tensor([[[[3.0, 0.0]], [[-4.0, 0.0]]]], dtype=torch.float64)
    expected = torch.tensor([[[[0.6, 0.0]], [[-0.8, 0.0]]]], dtype=torch.float64) * 2**0.5
    assert torch.allclose(PixelNorm()(x), expected, rtol=1e-8)


def test_large_16_bit_numbers_do_not_overflow() -> None:
    x = torch.tensor([[300.0, -400.0]], dtype=torch.float16)  # whose squares do
    y = PixelNorm()(x)
    assert y.dtype == torch.float16
    assert torch.allclose(y.float(), torch.tensor([[0.6, -0.8]]) * 2**0.5, rtol=1e-3)


def test_gradients() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(PixelNorm(), x)
    assert torch.autograd.gradgradcheck(PixelNorm(), x)
    (slope,) = torch.autograd.grad(PixelNorm()(torch.zeros_like(x) * x).sum(), x)
    assert slope.isfinite().all()
