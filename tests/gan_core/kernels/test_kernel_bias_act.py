"""The kernels of bias, leaky ReLU and gain against the formula in float64."""

from functools import partial

import numpy as np
import pytest
import torch
from kernel_checks import LAYOUTS, assert_accurate, assert_compiles, assert_rounded_once, draw
from torch import Tensor

from gan_core.kernels import dispatch
from gan_core.kernels.bias_act import _forward, _gradient, bias_act, reference_gradient

kernel = partial(bias_act, impl="triton")
plain = partial(bias_act, impl="reference")


def test_reference_by_numpy() -> None:
    x, b = draw(2, 3, 4, 5), draw(3, seed=1)
    v = x.numpy() + b.numpy()[:, None, None]
    expected = 1.5 * np.where(v > 0, v, 0.3 * v)
    np.testing.assert_allclose(plain(x, b, slope=0.3, gain=1.5), expected, rtol=1e-13)
    np.testing.assert_allclose(plain(x, slope=1), x, rtol=1e-15)


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_gradients_of_the_reference(slope: float) -> None:
    """And of the formula that stands for the kernels' own gradient."""
    x, b, g = draw(2, 3, 2, 2), draw(3, seed=1), draw(2, 3, 2, 2, seed=2)
    f = partial(plain, slope=slope, gain=2**0.5)
    inputs = x.requires_grad_(), b.requires_grad_()
    assert torch.autograd.gradcheck(f, inputs)
    assert torch.autograd.gradgradcheck(f, inputs)
    y = f(*inputs)
    exact = torch.autograd.grad(y, inputs, g)
    for found, expected in zip(reference_gradient(g, y, slope, 2**0.5, True), exact, strict=True):
        assert torch.allclose(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "slope"),
    [
        ((2, 5, 3, 7), 0.2),
        ((9, 67, 1, 1), 0.2),
        ((1, 1, 5, 7), 0.0),
        ((1, 2, 1, 2500), 1.0),
        ((3, 70, 5, 3), 0.2),
        pytest.param((1, 3, 131, 151), 0.2, marks=pytest.mark.slow),
    ],
)
def test_three_orders(
    shape: tuple[int, ...],
    slope: float,
    layout: torch.memory_format,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    x = draw(*shape).to(device, dtype, memory_format=layout)
    b = draw(shape[1], seed=1).to(device, torch.float32)
    settings = {"slope": slope, "gain": 2**0.5}
    assert_accurate(partial(kernel, **settings), partial(plain, **settings), [x, b])
    y = kernel(x)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    assert dispatch.ran()["bias_act"] == "triton"


def test_float32_inside(device: torch.device) -> None:
    x, g = (draw(2, 64, 16, 5, seed=s).to(device, torch.float16) for s in (0, 1))
    b = draw(64, seed=2).to(device, torch.float32)
    y = kernel(x, b, gain=2**0.5)
    assert_rounded_once(y, plain(x.double(), b.double(), gain=2**0.5))
    found, _ = _gradient(g, y, 0.2, 2**0.5, False)
    expected = torch.where(y > 0, g.double(), 0.2 * g.double()) * 2**0.5
    assert_rounded_once(found, expected)


@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 4), (2, 3, 2, 3, 4)])
def test_vectors_and_volumes(shape: tuple[int, ...], device: torch.device) -> None:
    x, b = draw(*shape).to(device, torch.float32), draw(shape[1], seed=1).to(device, torch.float32)
    assert_accurate(kernel, plain, [x, b])


def test_without_bias(device: torch.device) -> None:
    for layout in LAYOUTS:
        x = draw(2, 3, 4, 5).to(device, torch.float32, memory_format=layout)
        assert_accurate(kernel, plain, [x])


def test_other_layouts(device: torch.device) -> None:
    """Strided maps, and gradients that do not lie as the maps do."""
    x, b = draw(2, 6, 4, 5).to(device, torch.float32), draw(3, seed=1).to(device, torch.float32)

    def strided(f: partial[Tensor], x: Tensor, b: Tensor) -> Tensor:
        return f(x[:, ::2, :, 1:], b)

    assert_accurate(partial(strided, kernel), partial(strided, plain), [x, b])

    def turned(f: partial[Tensor], x: Tensor) -> Tensor:
        return f(x.to(memory_format=torch.channels_last)).contiguous()

    assert_accurate(partial(turned, kernel), partial(turned, plain), [x])


def test_what_is_kept(device: torch.device) -> None:
    """The result, which the next layer keeps too, and not x."""
    x = draw(2, 3, 4, 5).to(device, torch.float32).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        y = kernel(x, torch.zeros(3, device=device))
    assert [t.data_ptr() for t in kept] == [y.data_ptr()]


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(3, 5, 7, 3), (2, 70, 20, 10)])
def test_everything_is_written(
    shape: tuple[int, ...], layout: torch.memory_format, device: torch.device
) -> None:
    x = draw(*shape).to(device, torch.float32, memory_format=layout)
    y = _forward(x, None, 0.2, 1.0)
    for result in (y, *_gradient(x, y, 0.2, 1.0, True)):
        assert result.isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_an_operator(layout: torch.memory_format, device: torch.device) -> None:
    x = draw(2, 3, 2, 5).to(device, torch.bfloat16, memory_format=layout).requires_grad_()
    b = draw(3, seed=1).to(device, torch.float32).requires_grad_()
    torch.library.opcheck(_forward, (x, b, 0.2, 1.0))
    torch.library.opcheck(_forward, (x, None, 0.2, 1.0))
    grad = draw(2, 3, 2, 5, seed=2).to(x).detach().requires_grad_()
    torch.library.opcheck(_gradient, (grad, x.detach(), 0.2, 1.0, True))
    torch.library.opcheck(_gradient, (grad, x.detach(), 0.2, 1.0, False))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    x = draw(2, 3, 4, 5).to(device, torch.bfloat16).requires_grad_()
    b = draw(3, seed=1).to(device, torch.float32).requires_grad_()
    assert assert_compiles(kernel, x, b).dtype == torch.bfloat16


@pytest.mark.parametrize("f", [kernel, plain])
def test_mistakes_are_named(f: partial[Tensor], device: torch.device) -> None:
    x = draw(2, 3, 4, 5).to(device, torch.float32)
    with pytest.raises(ValueError, match=r"slope must be 0 or more, not -0.1, and gain above 0"):
        f(x, slope=-0.1)
    with pytest.raises(ValueError, match="gain above 0, not 0"):
        f(x, gain=0.0)
    with pytest.raises(ValueError, match=r"bias \[2\] must be \[3\]"):
        f(x, torch.ones(2))
