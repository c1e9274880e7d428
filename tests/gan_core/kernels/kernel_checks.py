"""What every kernel is held to."""

from collections.abc import Callable

import torch
from torch import Tensor

from gan_core.kernels.dispatch import INTERPRETED

# Of the format's unit, in the mean square over a tensor's numbers. Rounding the result to nearest
# costs up to 0.29; Triton's interpreter cuts off what bfloat16 does not hold, which costs 0.58.
BOUNDS = {torch.float16: 0.32, torch.bfloat16: 0.6 if INTERPRETED else 0.32, torch.float32: 16.0}
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def draw(*shape: int, seed: int = 0) -> Tensor:
    """Numbers of N(0, 1) that every format holds exactly, in float64."""
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return numbers.to(torch.bfloat16).to(torch.float16).double()


def orders(f: Callable[..., Tensor], inputs: list[Tensor]) -> dict[str, Tensor]:
    """The value of f, its gradients along random numbers g, and the gradients of those."""

    def along(x: Tensor, seed: int) -> Tensor:
        return draw(*x.shape, seed=seed).to(x)

    inputs = [x.detach().requires_grad_() for x in inputs]
    y = f(*inputs)
    g = along(y, 100).requires_grad_()
    first = torch.autograd.grad(y, inputs, g, create_graph=True)
    second = torch.autograd.grad(
        first,
        [g, *inputs],
        [along(d, 200 + i) for i, d in enumerate(first)],
        materialize_grads=True,
    )
    values = {"value": y, "second by g": second[0]}
    values |= {f"first {i}": d for i, d in enumerate(first)}
    values |= {f"second {i}": d for i, d in enumerate(second[1:])}
    return {name: value.detach() for name, value in values.items()}


def assert_accurate(
    f: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    inputs: list[Tensor],
    bounds: dict[torch.dtype, float] = BOUNDS,
) -> None:
    """f and its gradients equal the reference's in float64, up to rounding to f's formats."""
    exact = orders(reference, [x.detach().cpu().double() for x in inputs])
    for name, found in orders(f, inputs).items():
        error = (found.cpu().double() - exact[name]).norm()
        unit = torch.finfo(found.dtype).eps
        assert error <= bounds[found.dtype] * unit * exact[name].norm(), (
            f"{name}: {error / exact[name].norm() / unit:.3g} units"
        )


def assert_rounded_once(found: Tensor, exact: Tensor) -> None:
    """found, thousands of numbers in float16, is exact but for its own rounding.

    That is off by 0 to 1/2 of a number's last place, 0.289 in the mean square; another rounding on
    the way, of numbers of the same size, makes it 0.41.
    """
    assert found.dtype == torch.float16
    exact = exact.cpu().double()
    last_place = torch.finfo(found.dtype).eps * exact.abs().clamp(min=1e-2).log2().floor().exp2()
    off = ((found.cpu().double() - exact) / last_place).square().mean().sqrt()
    assert 0.27 < off < 0.3


def assert_compiles(f: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """As one graph and under autocast f and its gradients are what they are; returns the value."""
    with torch.autocast(inputs[0].device.type, torch.bfloat16):
        y: Tensor = torch.compile(f, fullgraph=True, backend="aot_eager")(*inputs)
    expected, g = f(*inputs), torch.ones_like(y)
    assert torch.equal(y, expected)
    found, exact = (torch.autograd.grad(value, inputs, g) for value in (y, expected))
    assert all(map(torch.equal, found, exact))
    return y
