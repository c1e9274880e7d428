"""The kernels of the pixel norm against its formula in float64."""

import pytest
import torch
from kernel_checks import LAYOUTS, assert_accurate, assert_compiles, assert_rounded_once, draw

from gan_core.kernels import dispatch
from gan_core.kernels.pixel_norm import (
    _forward,
    _gradient,
    pixel_norm,
    reference,
    reference_gradient,
)

SHAPES = [(2, 5, 3, 7), (9, 64, 1, 1), (3, 64, 2, 2), (1, 3, 70, 1), (2, 67, 1, 3)]


def kernel(x: torch.Tensor) -> torch.Tensor:
    return pixel_norm(x, impl="triton")


def test_gradients_of_the_formula() -> None:
    x, g = draw(2, 3, 2, 1).requires_grad_(), draw(2, 3, 2, 1, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(reference, x)
    assert torch.autograd.gradgradcheck(reference, x)
    (exact,) = torch.autograd.grad(reference(x), x, g)
    assert torch.allclose(reference_gradient(g, x), exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_three_orders(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, device: torch.device
) -> None:
    x = draw(*shape).to(device, dtype, memory_format=layout)
    assert_accurate(kernel, reference, [x])
    y = kernel(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    assert dispatch.ran()["pixel_norm"] == "triton"


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 4), (2, 3, 2, 3, 4)])
def test_latents_and_volumes(shape: tuple[int, ...], device: torch.device) -> None:
    assert_accurate(kernel, reference, [draw(*shape).to(device, torch.float32)])


def test_one_channel(device: torch.device) -> None:
    """Only signs are left, and next to no gradient."""
    x = draw(2, 1, 5, 1).to(device, torch.float32).requires_grad_()
    y = kernel(x)
    assert torch.allclose(y, x.sign(), rtol=1e-3)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.abs().max() < 1e-3


def test_float32_inside(device: torch.device) -> None:
    x, g = (draw(2, 64, 16, 5, seed=s).to(device, torch.float16) for s in (0, 1))
    assert_rounded_once(kernel(x), reference(x.double()))
    assert_rounded_once(_gradient(g, x), reference_gradient(g.double(), x.double()))


def test_more_channels_than_a_block(device: torch.device) -> None:
    for layout in LAYOUTS:
        x = draw(1, 1100, 1, 2).to(device, torch.float32, memory_format=layout)
        assert_accurate(kernel, reference, [x])


def test_other_layouts(device: torch.device) -> None:
    """Strided maps, and gradients that do not lie as the maps do."""
    x = draw(2, 6, 4, 5).to(device, torch.float32)
    assert_accurate(lambda x: kernel(x[:, ::2, :, 1:]), lambda x: reference(x[:, ::2, :, 1:]), [x])
    assert_accurate(
        lambda x: kernel(x.to(memory_format=torch.channels_last)).contiguous(), reference, [x]
    )


def test_extremes(device: torch.device) -> None:
    x = torch.tensor([[300.0, -400.0], [3e-4, 4e-4], [0.0, 0.0]], dtype=torch.float16)
    expected = torch.tensor([[0.6, -0.8], [0.6, 0.8], [0.0, 0.0]]) * 2**0.5
    expected[1] *= 0.9622504  # 1e-8 beside a mean square of 12.5e-8: 1 / sqrt(1 + 0.08)
    assert torch.allclose(kernel(x.to(device)).float().cpu(), expected, rtol=2e-3)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_written(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(3, 5, 7, 3).to(device, torch.float32, memory_format=layout)
    assert kernel(x).isfinite().all()
    assert _gradient(x, x).isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_an_operator(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(2, 3, 2, 5).to(device, torch.bfloat16, memory_format=layout).requires_grad_()
    torch.library.opcheck(_forward, (x,))
    torch.library.opcheck(_gradient, (x.detach().clone().requires_grad_(), x))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    x = draw(2, 3, 2, 5).to(device, torch.float32).requires_grad_()
    assert assert_compiles(kernel, x).dtype == torch.float32
