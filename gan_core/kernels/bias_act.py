"""Bias, leaky ReLU and gain: what follows a convolution that has no norm."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import blocks, memory_format, places, power_of_2
from gan_core.kernels.second_order import differentiate_by
from gan_core.precision import upcast


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    slope: float = 0.2,
    gain: float = 1.0,
    impl: Impl = "auto",
) -> Tensor:
    """gain leaky_relu(x + bias), slope for what is not above 0; 1 is no activation.

    x: [B, C, ...] -> the same shape, dtype (under autocast too) and memory format. Contiguous and
        channels_last maps are taken as they are.
    bias: [C]. slope: 0 or more; gain: above 0. So the result's sign is that of x + bias, and the
        gradients need nothing else: x is not kept.
    Differentiable to any order; the kernels are the value and the first gradient.
    """
    if slope < 0 or gain <= 0:
        raise ValueError(f"slope must be 0 or more, not {slope}, and gain above 0, not {gain}")
    if bias is not None and bias.shape != x.shape[1:2]:
        raise ValueError(f"bias {[*bias.shape]} must be [{x.shape[1]}], a number for each channel")
    if chosen("bias_act", impl, *(t for t in (x, bias) if t is not None)):
        return _forward(x, bias, slope, gain)
    return reference(x, bias, slope, gain)


def reference(x: Tensor, bias: Tensor | None, slope: float, gain: float) -> Tensor:
    """What ``bias_act`` says, in plain torch."""
    v = upcast(x)
    if bias is not None:
        v = v + upcast(bias).reshape(-1, *(1,) * (x.ndim - 2))
    return (F.leaky_relu(v, slope) * gain).to(x.dtype)


def reference_gradient(
    grad: Tensor, y: Tensor, slope: float, gain: float, with_bias: bool
) -> tuple[Tensor, Tensor]:
    """The gradients by x and, if it is wanted, by the bias: float32 [C], else [0]."""
    g = upcast(grad) * gain
    dx = torch.where(y > 0, g, g * slope)
    summed = dx.sum((0, *range(2, y.ndim))) if with_bias else dx.new_empty(0)
    return dx.to(y.dtype), summed


# To the kernels maps are a matrix whose rows are contiguous: a row is a channel of a sample and a
# column a place; or, channels being LAST, a row is a place of a sample and a column a channel.


@jit
def _forward_kernel(
    x, bias, y, rows, columns, C, slope, gain,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    inside = (row < rows) & (column < columns)
    at = row * columns + column
    v = tl.load(x + at, inside, 0).to(tl.float32)
    if bias is not None:
        channel = column if LAST else row % C
        v += tl.load(bias + channel, channel < C, 0).to(tl.float32)
    tl.store(y + at, tl.where(v > 0, v, v * slope) * gain, inside)


@jit
def _gradient_kernel(
    g, y, dx, sums, rows, columns, slope, gain,
    LAST: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """dx, and of STEPS blocks that share their channels sums: [programs, columns or else rows]."""
    row = tl.program_id(0).to(tl.int64) * ROWS * (STEPS if LAST else 1)
    column = tl.program_id(1) * COLUMNS * (1 if LAST else STEPS)
    row += tl.arange(0, ROWS)[:, None]
    column += tl.arange(0, COLUMNS)[None, :]
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for _ in range(STEPS):
        inside = (row < rows) & (column < columns)
        at = row * columns + column
        slant = tl.load(g + at, inside, 0).to(tl.float32) * gain
        slant = tl.where(tl.load(y + at, inside, 0).to(tl.float32) > 0, slant, slant * slope)
        tl.store(dx + at, slant, inside)
        total += slant
        if LAST:
            row += ROWS
        else:
            column += COLUMNS
    if sums is not None:
        if LAST:
            to = sums + tl.program_id(0).to(tl.int64) * columns + column
            tl.store(to, tl.sum(total, 0, keep_dims=True), column < columns)
        else:
            to = sums + tl.program_id(1).to(tl.int64) * rows + row
            tl.store(to, tl.sum(total, 1, keep_dims=True), row < rows)


def _matrix(x: Tensor, layout: torch.memory_format) -> tuple[int, int, dict[str, Any]]:
    """Rows, columns, and what the kernels take as constants."""
    last = layout is torch.channels_last
    columns = x.shape[1] if last else places(x)
    rows = x.numel() // columns
    COLUMNS = min(power_of_2(columns), 64 if last else 1024)
    ROWS = min(power_of_2(rows), 2048 // COLUMNS)
    return rows, columns, {"LAST": last, "ROWS": ROWS, "COLUMNS": COLUMNS}


@torch.library.custom_op("gan_core::bias_act", mutates_args=())
def _forward(x: Tensor, bias: Tensor | None, slope: float, gain: float) -> Tensor:
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    bias = None if bias is None else bias.contiguous()
    y = torch.empty_like(x, memory_format=layout)
    rows, columns, block = _matrix(x, layout)
    grid = blocks(rows, block["ROWS"]), blocks(columns, block["COLUMNS"])
    with torch.cuda.device_of(x):
        _forward_kernel[grid](x, bias, y, rows, columns, x.shape[1], slope, gain, **block)
    return y


@torch.library.custom_op("gan_core::bias_act_gradient", mutates_args=())
def _gradient(
    grad: Tensor, y: Tensor, slope: float, gain: float, with_bias: bool
) -> tuple[Tensor, Tensor]:
    """As ``reference_gradient``."""
    layout, C = memory_format(y), y.shape[1]
    grad, y = (t.contiguous(memory_format=layout) for t in (grad, y))
    dx = torch.empty_like(y, memory_format=layout)
    rows, columns, block = _matrix(y, layout)
    last, STEPS = block["LAST"], 8
    grid = (
        blocks(rows, block["ROWS"] * (STEPS if last else 1)),
        blocks(columns, block["COLUMNS"] * (1 if last else STEPS)),
    )
    shape = (grid[0], columns) if last else (grid[1], rows)
    sums = torch.empty(shape, dtype=torch.float32, device=y.device) if with_bias else None
    with torch.cuda.device_of(y):
        _gradient_kernel[grid](grad, y, dx, sums, rows, columns, slope, gain, STEPS=STEPS, **block)
    return dx, y.new_empty(0, dtype=torch.float32) if sums is None else sums.reshape(-1, C).sum(0)


@_forward.register_fake
def _(x: Tensor, bias: Tensor | None, slope: float, gain: float) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@_gradient.register_fake
def _(grad: Tensor, y: Tensor, slope: float, gain: float, with_bias: bool) -> tuple[Tensor, Tensor]:
    summed = y.new_empty(y.shape[1] if with_bias else 0, dtype=torch.float32)
    return torch.empty_like(y, memory_format=memory_format(y)), summed


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, bias, ctx.slope, ctx.gain = inputs
    ctx.bias = None if bias is None else bias.dtype
    ctx.save_for_backward(output)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    (y,) = ctx.saved_tensors
    with_bias = ctx.needs_input_grad[1]
    # only the sign of y counts, which has no gradient
    dx, summed = _gradient(grad, y.detach(), ctx.slope, ctx.gain, with_bias)
    return dx, summed.to(ctx.bias) if with_bias else None, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiate_by(reference_gradient, _gradient)
