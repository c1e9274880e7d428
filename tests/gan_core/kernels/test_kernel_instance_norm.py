"""The kernels of the instance norm against its formula in float64."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kernel_checks import LAYOUTS, assert_accurate, assert_compiles, assert_rounded_once, draw
from torch import Tensor, nn

from gan_core.kernels import dispatch, moments
from gan_core.kernels.instance_norm import (
    Activation,
    _forward,
    _gradient,
    instance_norm,
    reference_gradient,
)

kernel = partial(instance_norm, impl="triton")
plain = partial(instance_norm, impl="reference")
ACTIVATIONS: tuple[Activation, ...] = ("none", "relu", "leaky")


def maps(
    shape: tuple[int, ...],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
    layout: torch.memory_format = torch.contiguous_format,
    seed: int = 0,
) -> Tensor:
    return draw(*shape, seed=seed).to(device, dtype, memory_format=layout)


def affine(channels: int, device: torch.device | str, dtype: torch.dtype) -> list[Tensor]:
    return [draw(channels, seed=seed).to(device, dtype) for seed in (1, 2)]


# The reference.


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_reference_by_numpy(act: Activation) -> None:
    x, skip = maps((2, 3, 4, 5)), maps((2, 3, 4, 5), seed=3)
    w, b = affine(3, "cpu", torch.float64)
    array = x.numpy()
    off = array - array.mean((2, 3), keepdims=True)
    n = off / np.sqrt((off**2).mean((2, 3), keepdims=True) + 0.1)
    v = n * w.numpy()[:, None, None] + b.numpy()[:, None, None]
    below = {"none": 1.0, "relu": 0.0, "leaky": 0.3}[act]
    expected = skip.numpy() + np.where(v > 0, v, below * v)
    found = plain(x, w, b, skip, act=act, slope=0.3, eps=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_reference_is_torch_s_own_layer(dtype: torch.dtype, layout: torch.memory_format) -> None:
    """To the last bit of contiguous maps: results and gradients; to a rounding of others."""
    rounding = 4 * torch.finfo(dtype).eps * (layout is torch.channels_last)
    for batch in (1, 2):
        x = maps((batch, 3, 6, 5), dtype=dtype, layout=layout).requires_grad_()
        g = maps((batch, 3, 6, 5), dtype=dtype, seed=1)
        y, expected = plain(x, act="leaky"), F.leaky_relu(nn.InstanceNorm2d(3)(x), 0.2)
        assert y.is_contiguous(memory_format=layout)
        torch.testing.assert_close(y, expected, rtol=rounding, atol=rounding)
        (found,) = torch.autograd.grad(y, x, g)
        (wanted,) = torch.autograd.grad(expected, x, g)
        torch.testing.assert_close(found, wanted, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("act", ACTIVATIONS)
def test_gradients_of_the_reference(act: Activation) -> None:
    """And of the formula that stands for the kernels' own gradient."""
    x, g = maps((2, 2, 2, 3)).requires_grad_(), maps((2, 2, 2, 3), seed=4).requires_grad_()
    skip = maps((2, 2, 2, 3), seed=3).requires_grad_()
    w, b = (p.requires_grad_() for p in affine(2, "cpu", torch.float64))
    f = partial(plain, act=act)
    assert torch.autograd.gradcheck(f, (x, w, b, skip))
    assert torch.autograd.gradgradcheck(f, (x, w, b, skip))
    slope = {"none": 1.0, "relu": 0.0, "leaky": 0.2}[act]
    unused = torch.zeros(2, 2)
    dx, (d, dn) = reference_gradient(g, x, unused, unused, w, b, slope, 1e-5)
    expected = torch.autograd.grad(f(x, w, b), (x, w, b), g)
    for found, exact in zip((dx, dn.sum(0), d.sum(0)), expected, strict=True):
        assert torch.allclose(found, exact, rtol=1e-10, atol=1e-12)


# The kernels.


@pytest.mark.parametrize("dtype", dispatch.DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("shape", "act"),
    [
        ((2, 5, 3, 7), "none"),
        ((2, 3, 5, 3), "relu"),
        ((3, 1, 7, 9), "leaky"),
        ((1, 3, 47, 53), "leaky"),
        pytest.param((2, 67, 5, 3), "leaky", marks=pytest.mark.slow),
        pytest.param((1, 2, 131, 127), "relu", marks=pytest.mark.slow),
    ],
)
def test_three_orders(
    shape: tuple[int, ...],
    act: Activation,
    layout: torch.memory_format,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    x, skip = maps(shape, device, dtype, layout), maps(shape, device, dtype, layout, seed=3)
    w, b = affine(shape[1], device, torch.float32)
    assert_accurate(partial(kernel, act=act), partial(plain, act=act), [x, w, b, skip])
    y = kernel(x, act=act)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=layout)
    assert dispatch.ran()["instance_norm"] == "triton"


def test_float32_inside(device: torch.device) -> None:
    x, g, skip = (maps((1, 2, 50, 50), device, torch.float16, seed=s) for s in (0, 3, 4))
    w, b = affine(2, device, torch.float32)
    wide = [t.double() for t in (x, w, b, skip)]
    assert_rounded_once(kernel(x, w, b, skip), plain(*wide))
    x, wide[0] = x.requires_grad_(), wide[0].requires_grad_()
    (found,) = torch.autograd.grad(kernel(x, w, b, skip), x, g)
    assert_rounded_once(found, *torch.autograd.grad(plain(*wide), wide[0], g.double()))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("short", [1, 8])
def test_several_blocks_in_turn_or_shared_out(
    short: int, layout: torch.memory_format, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "SHORT", short)
    x = maps((1, 2, 47, 53), device, torch.float32, layout)
    (chunks, _, _), _, block = moments.plan(x, layout)
    several = -(-47 * 53 // block["PLACES"])
    assert chunks == (1 if several <= short else several)
    assert several > 1
    assert_accurate(partial(kernel, act="relu"), partial(plain, act="relu"), [x])


def test_parts_that_may_be_missing(device: torch.device) -> None:
    x, skip = (maps((2, 3, 4, 5), device, torch.float32, seed=s) for s in (0, 3))
    w, b = affine(3, device, torch.float32)
    for given in ({}, {"weight": w}, {"bias": b}, {"residual": skip}):
        names = list(given)

        def of(f: partial[Tensor], x: Tensor, *parts: Tensor, names: list[str] = names) -> Tensor:
            return f(x, **dict(zip(names, parts, strict=True)), act="leaky", slope=0.3, eps=0.1)

        assert_accurate(partial(of, kernel), partial(of, plain), [x, *given.values()])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 3, 40, 60), (2, 4, 3, 5)])
def test_means_far_from_zero(
    shape: tuple[int, ...], layout: torch.memory_format, device: torch.device
) -> None:
    """Squares of 1000 would leave no digit of a deviation of 1 in float32."""
    x = 1000 + maps(shape, device, torch.float32, layout)
    expected = plain(x.double())
    assert (kernel(x) - expected).abs().max() < 3e-4
    # halves of 1000 + x are what float16 holds, and they must be normalised as such
    coarse = x.half()
    expected = plain(coarse.double())
    assert (kernel(coarse) - expected).abs().max() < 2e-3


def test_one_outlier_leaves_the_rest_their_digits(device: torch.device) -> None:
    x = maps((1, 1, 40, 60), device, torch.float32)
    x[0, 0, 0, 0] = 1e4
    found, expected = kernel(x), plain(x.double())
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert torch.allclose(found[..., 1:, :].std(), expected[..., 1:, :].std().float(), rtol=1e-5)


def test_flat_maps_are_zero(device: torch.device) -> None:
    x = torch.full((1, 2, 3, 3), 7.0, device=device, requires_grad=True)
    y = kernel(x, act="relu")
    assert not y.any()
    (slope,) = torch.autograd.grad(y.sum(), x)
    assert slope.isfinite().all()


def test_other_layouts(device: torch.device) -> None:
    """Strided maps, and residuals and gradients that do not lie as the maps do."""
    x, skip = maps((2, 6, 4, 5), device, torch.float32), maps((2, 3, 4, 4), device, torch.float32)

    def strided(f: partial[Tensor], x: Tensor, skip: Tensor) -> Tensor:
        return f(x[:, ::2, :, 1:], residual=skip)

    assert_accurate(partial(strided, kernel), partial(strided, plain), [x, skip])

    def turned(f: partial[Tensor], x: Tensor, skip: Tensor) -> Tensor:
        last = x.to(memory_format=torch.channels_last)
        return f(last, residual=skip).contiguous()

    y = maps((2, 3, 4, 4), device, torch.float32, seed=5)
    assert_accurate(partial(turned, kernel), partial(turned, plain), [y, skip])


def test_a_residual_of_another_format(device: torch.device) -> None:
    x = maps((1, 2, 4, 5), device, torch.bfloat16)
    skip = maps((1, 2, 4, 5), device, torch.float32, seed=3)
    for f in (kernel, plain):
        s = skip.clone().requires_grad_()
        y = f(x, residual=s)
        assert y.dtype == torch.bfloat16
        (slope,) = torch.autograd.grad(y.sum(), s)
        assert slope.dtype == torch.float32
        assert torch.equal(slope, torch.ones_like(slope))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(2, 3, 5, 3), (1, 3, 47, 53)])
def test_everything_is_written(
    shape: tuple[int, ...], layout: torch.memory_format, device: torch.device
) -> None:
    x = maps(shape, device, torch.float32, layout)
    results = _forward(x, None, None, None, 0.2, 1e-5)
    results += _gradient(x, x, *results[1:], None, None, 0.2, 1e-5)
    for result in results:
        assert result.isfinite().all()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_as_an_operator(layout: torch.memory_format, device: torch.device) -> None:
    x = maps((2, 3, 2, 5), device, torch.bfloat16, layout).requires_grad_()
    w, b = (p.requires_grad_() for p in affine(3, device, torch.float32))
    torch.library.opcheck(_forward, (x, w, b, x.detach(), 0.2, 1e-5))
    torch.library.opcheck(_forward, (x, None, None, None, 1.0, 1e-5))
    _, mean, rstd = _forward(x.detach(), w.detach(), b.detach(), None, 0.2, 1e-5)
    torch.library.opcheck(_gradient, (x.detach(), x, mean, rstd, w, b, 0.2, 1e-5))


def test_compiled_and_under_autocast(device: torch.device) -> None:
    x = maps((2, 3, 4, 5), device, torch.bfloat16).requires_grad_()
    w, b = (p.requires_grad_() for p in affine(3, device, torch.float32))

    def f(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return kernel(x, w, b, x, act="leaky")

    assert assert_compiles(f, x, w, b).dtype == torch.bfloat16


def test_a_gradient_penalty_through_a_critic(device: torch.device) -> None:
    """Its gradient by the weights of a convolution before the norm."""
    x, v = maps((2, 2, 6, 5), device, torch.float64), maps((3, 2, 3, 3), device, seed=1)

    def penalty(f: partial[Tensor], x: Tensor, v: Tensor) -> Tensor:
        x, v = x.clone().requires_grad_(), v.clone().requires_grad_()
        y = f(F.conv2d(x, v), act="leaky").square().sum()
        (slope,) = torch.autograd.grad(y, x, create_graph=True)
        return torch.autograd.grad((slope.flatten(1).norm(dim=1) - 1).square().sum(), v)[0]

    expected = penalty(plain, x, v)
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = penalty(kernel, x.float(), v.float())
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("f", [kernel, plain])
def test_mistakes_are_named(f: partial[Tensor], device: torch.device) -> None:
    x = maps((2, 3, 4, 5), device, torch.float32)
    with pytest.raises(ValueError, match="Expected more than 1 spatial element when training"):
        f(x[:, :, :1, :1])
    with pytest.raises(ValueError, match="act 'elu': choose none, relu, leaky"):
        f(x, act="elu")
    with pytest.raises(ValueError, match=r"residual \[1, 3, 4, 5\] is not of x's shape"):
        f(x, residual=x[:1])
    for parameters in ({"weight": torch.ones(2)}, {"bias": torch.ones(3, 1)}):
        with pytest.raises(ValueError, match="a number for each of 3 channels"):
            f(x, **parameters)
