"""The kernels of the minibatch standard deviation against its formula in float64."""

import pytest
import torch
from kernel_checks import BOUNDS, LAYOUTS, assert_accurate, assert_compiles, draw

from gan_core.kernels import dispatch
from gan_core.kernels.deviation import (
    _forward,
    _gradient,
    deviation,
    reference,
    reference_gradient,
)

# A value, and its gradient by g, is one number for each group: rounded by up to half a unit, and a
# small sum of large numbers, which a random direction's part along the gradient is.
SUMS = {torch.float16: 0.51, torch.bfloat16: BOUNDS[torch.bfloat16] + 0.4, torch.float32: 64.0}
SHAPES = [(8, 5, 3, 7), (4, 1, 1, 1), (6, 3, 1, 5), (12, 67, 2, 3)]  # groups of 4, 4, 3, 4


def kernel(x: torch.Tensor) -> torch.Tensor:
    return deviation(x, 4, impl="triton")


def plain(x: torch.Tensor) -> torch.Tensor:
    return deviation(x, 4, impl="reference")


def test_gradients_of_the_formula() -> None:
    x, g = draw(6, 2, 1, 3).requires_grad_(), draw(2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: reference(x, 3), x)
    assert torch.autograd.gradgradcheck(lambda x: reference(x, 3), x)
    (exact,) = torch.autograd.grad(reference(x, 3), x, g)
    assert torch.allclose(reference_gradient(g, x, 3), exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_three_orders(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, device: torch.device
) -> None:
    x = draw(*shape).to(device, dtype, memory_format=layout).requires_grad_()
    assert_accurate(kernel, plain, [x], SUMS)
    y = kernel(x)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert y.shape == (len(x), 1, *x.shape[2:])
    assert y.dtype == slope.dtype == dtype
    assert slope.is_contiguous(memory_format=layout)
    assert dispatch.ran()["deviation"] == "triton"


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_are_rounded_once(
    layout: torch.memory_format, dtype: torch.dtype, device: torch.device
) -> None:
    x, g = draw(8, 5, 3, 7), draw(2, seed=1)
    exact = reference_gradient(g, x, 4)
    found = _gradient(g.float().to(device), x.to(device, dtype, memory_format=layout), 4)
    error = (found.cpu().double() - exact).norm() / exact.norm()
    assert error <= BOUNDS[dtype] * torch.finfo(dtype).eps


@pytest.mark.parametrize("layout", LAYOUTS)
def test_alone(layout: torch.memory_format, device: torch.device) -> None:
    """A batch of five has no groups but of one, which differ from nothing."""
    x = draw(5, 3, 2, 2).to(device, torch.float32, memory_format=layout).requires_grad_()
    y = kernel(x)
    assert torch.allclose(y, torch.full_like(y, 1e-4), rtol=1e-6)
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.abs().max() == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs(layout: torch.memory_format, device: torch.device) -> None:
    """Samples m and m + 5 are 6 m apart, so each is 3 m off their mean."""
    m = torch.arange(1.0, 6.0, device=device)[:, None, None, None]
    x = torch.full((10, 3, 2, 2), 5.0, device=device).to(memory_format=layout)
    x[5:] += 6 * m
    x.requires_grad_()
    y = kernel(x)
    assert torch.allclose(y, (3 * m).repeat(2, 1, 2, 2), rtol=1e-6)
    (slope,) = torch.autograd.grad(y.sum(), x)
    # 1 / 2 of one of 12 numbers' deviations, seen at 4 places of both samples
    expected = torch.full_like(slope, 1 / 2 / 12 * 8)
    expected[:5] *= -1
    assert torch.allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_small_differences_of_large_numbers(dtype: torch.dtype, device: torch.device) -> None:
    """The mean of squares less the mean's square is off by 0.06, a unit of 1000^2 in float32."""
    x = (1000 + draw(8, 16, 4, 4)).to(device, dtype)
    exact = plain(x.cpu().double())
    assert (kernel(x).cpu().double() / exact - 1).abs().max() < 2 * torch.finfo(dtype).eps
    x[:] = x[:1]
    assert torch.allclose(kernel(x).float(), torch.full((), 1e-4, device=device), rtol=1e-3)


def test_large_numbers_in_16_bits(device: torch.device) -> None:
    x = (300 * draw(8, 3, 4, 4)).half().to(device)  # whose squares overflow
    assert_accurate(kernel, plain, [x], SUMS)


def test_many_samples_and_many_places(device: torch.device) -> None:
    """More than a program takes of either, with no power of two."""
    for shape, groups in [((2, 31, 43, 5), 2), ((100, 3, 7, 1), 50)]:
        x = draw(*shape).to(device, torch.float32).requires_grad_()
        wide = x.detach().cpu().double().requires_grad_()
        y, exact = deviation(x, groups, impl="triton"), deviation(wide, groups, impl="reference")
        assert torch.allclose(y.cpu().double(), exact, rtol=1e-6)
        (found,), (slope,) = (torch.autograd.grad(v.sum(), u) for v, u in [(y, x), (exact, wide)])
        assert torch.allclose(found.cpu().double(), slope, rtol=1e-3, atol=1e-6)


def test_other_layouts(device: torch.device) -> None:
    x = draw(4, 6, 4, 5).to(device, torch.float32)
    f, exact = (lambda x, g=g: g(x[:, ::2, :, 1:]) for g in (kernel, plain))
    assert_accurate(f, exact, [x], SUMS)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_written(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(6, 5, 23, 13).to(device, torch.float32, memory_format=layout)
    assert _forward(x, 3).isfinite().all()
    assert _gradient(torch.ones(2, device=device), x, 3).isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_an_operator(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(4, 3, 2, 5).to(device, torch.bfloat16, memory_format=layout).requires_grad_()
    torch.library.opcheck(_forward, (x, 2))
    torch.library.opcheck(_gradient, (torch.ones(2, device=device, requires_grad=True), x, 2))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    x = draw(4, 3, 2, 5).to(device, torch.float32).requires_grad_()
    assert assert_compiles(kernel, x).dtype == torch.float32
