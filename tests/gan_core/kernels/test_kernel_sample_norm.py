"""The kernels of a sample's norm against its formula in float64."""

import math

import pytest
import torch
from kernel_checks import BOUNDS, LAYOUTS, assert_accurate, assert_compiles, draw

from gan_core.kernels import dispatch
from gan_core.kernels.sample_norm import (
    BLOCK,
    _forward,
    _gradient,
    reference,
    reference_gradient,
    sample_norm,
)

# The gradient by g is a small sum of large numbers: a random direction's part along the slope.
SUMS = BOUNDS | {torch.float32: 64.0}
SHAPES = [(2, 5, 3, 7), (3, 1, 1, 1), (1, 3, 61, 47), (4, 1, 5, 1)]


def kernel(x: torch.Tensor) -> torch.Tensor:
    return sample_norm(x, impl="triton")


def test_gradients_of_the_formula() -> None:
    x, g = draw(2, 3, 2, 1).requires_grad_(), draw(2, seed=1).requires_grad_()
    norm = reference(x).detach()
    assert torch.autograd.gradcheck(reference, x)
    assert torch.autograd.gradgradcheck(reference, x)
    assert torch.autograd.gradcheck(lambda g, x: reference_gradient(g, x, norm), (g, x))
    (exact,) = torch.autograd.grad(reference(x), x, g)
    assert torch.allclose(reference_gradient(g, x, norm), exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_three_orders(
    shape: tuple[int, ...], layout: torch.memory_format, dtype: torch.dtype, device: torch.device
) -> None:
    x = draw(*shape).to(device, dtype, memory_format=layout).requires_grad_()
    if math.prod(shape[1:]) > 1:  # of one number the norm's second derivative is 0
        assert_accurate(kernel, reference, [x], SUMS)
    norm = kernel(x)
    (slope,) = torch.autograd.grad(norm.sum(), x)
    assert norm.dtype == torch.float32
    assert slope.dtype == dtype
    assert slope.is_contiguous(memory_format=layout)
    assert dispatch.ran()["sample_norm"] == "triton"


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 4), (2, 3, 2, 3, 4)])
def test_vectors_and_volumes(shape: tuple[int, ...], device: torch.device) -> None:
    assert_accurate(kernel, reference, [draw(*shape).to(device, torch.float32)])


def test_lengths_by_hand(device: torch.device) -> None:
    """Samples apart by much, and 300 times 400, which 16 bits do not hold, beside a dead one."""
    x = torch.tensor([[300.0, -400.0], [3e-4, 4e-4], [0.0, 0.0]], dtype=torch.float16).to(device)
    assert torch.allclose(kernel(x).cpu(), torch.tensor([500.0, 5e-4, 0.0]), rtol=1e-3, atol=0)
    for dtype in dispatch.DTYPES:
        y = x.to(dtype).requires_grad_()
        (slope,) = torch.autograd.grad(kernel(y), y, torch.tensor([1.0, 5.0, 7.0], device=device))
        expected = torch.tensor([[0.6, -0.8], [3.0, 4.0], [0.0, 0.0]])
        assert torch.allclose(slope.float().cpu(), expected, rtol=1e-2, atol=0)


def test_a_dead_sample_has_no_slopes_of_any_order(device: torch.device) -> None:
    x = draw(3, 4).to(device, torch.float32)
    x[1] = 0
    x.requires_grad_()
    g = torch.ones(3, device=device, requires_grad=True)
    (first,) = torch.autograd.grad(kernel(x), x, g, create_graph=True)
    second = torch.autograd.grad(first.square().sum() + first.sum(), [g, x])
    for slope in (first.detach(), *second):
        assert slope.isfinite().all()
        assert slope[1].abs().max() == 0
        assert slope[0].abs().max() > 0


def test_a_long_sample_is_shared(device: torch.device) -> None:
    """By three programs, the last of which has one number."""
    x = torch.zeros(2, 2 * BLOCK + 1, device=device)
    x[0, [0, BLOCK, -1]] = torch.tensor([2.0, -3.0, 6.0], device=device)
    x[1] = 1.0
    assert torch.allclose(kernel(x).cpu(), torch.tensor([7.0, (2 * BLOCK + 1) ** 0.5]))
    slope = _gradient(torch.tensor([7.0, 1.0], device=device), x, kernel(x))
    assert torch.allclose(slope[0], x[0])
    assert torch.allclose(slope[1] * kernel(x)[1], torch.ones_like(x[1]))


def test_other_layouts(device: torch.device) -> None:
    """Strided maps, and an expanded gradient."""
    x = draw(2, 6, 4, 5).to(device, torch.float32)
    assert_accurate(lambda x: kernel(x[:, ::2, :, 1:]), lambda x: reference(x[:, ::2, :, 1:]), [x])
    same = draw(1).to(device, torch.float32).expand(2)
    got, expected = (
        torch.autograd.grad(f(y), y, same)[0]
        for f, y in [(kernel, x.clone().requires_grad_()), (reference, x.clone().requires_grad_())]
    )
    assert torch.allclose(got, expected, rtol=1e-6)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_is_written(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(3, 5, 43, 37).to(device, torch.float32, memory_format=layout)
    assert kernel(x).isfinite().all()
    assert _gradient(kernel(x), x, kernel(x)).isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_an_operator(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(2, 3, 2, 5).to(device, torch.bfloat16, memory_format=layout).requires_grad_()
    g = torch.ones(2, device=device, requires_grad=True)
    torch.library.opcheck(_forward, (x,))
    torch.library.opcheck(_gradient, (g, x, _forward(x).detach()))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    x = draw(2, 3, 2, 5).to(device, torch.float32).requires_grad_()
    assert assert_compiles(kernel, x).dtype == torch.float32


def test_in_a_penalty(device: torch.device) -> None:
    """The weights' gradient of mean (||grad f|| - 1)^2, f a small network."""
    w, v, x = draw(6, 4, seed=1), draw(6, seed=2), draw(3, 4, seed=3)

    def penalty(norm, w, v, x):  # type: ignore[no-untyped-def]
        x = x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(((x @ w.T).tanh() @ v).sum(), x, create_graph=True)
        return (norm(slope) - 1).square().mean()

    w_32, v_32 = (t.to(device, torch.float32).requires_grad_() for t in (w, v))
    w, v = w.requires_grad_(), v.requires_grad_()
    exact = torch.autograd.grad(penalty(reference, w, v, x), [w, v])
    found = torch.autograd.grad(penalty(kernel, w_32, v_32, x.to(w_32)), [w_32, v_32])
    for a, b in zip(found, exact, strict=True):
        assert (a.cpu().double() - b).norm() < 1e-5 * b.norm()
