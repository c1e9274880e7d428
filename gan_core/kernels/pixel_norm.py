"""The norm of PG-GAN's generator: every place's channels by their root mean square."""

from typing import Any

import torch
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import blocks, memory_format, places, power_of_2, strides
from gan_core.kernels.second_order import differentiate_by
from gan_core.precision import upcast

EPSILON = 1e-8


def pixel_norm(x: Tensor, *, impl: Impl = "auto") -> Tensor:
    """x / sqrt(mean_c x_c^2 + 1e-8): each place's vector of channels to a mean square of 1.

    Karras et al. 2018, section 4.2; in float32 at least, where the authors' code widens the 1e-8
    to 1e-4 for 16 bits.

    x: [B, C, ...] -> the same shape, dtype (under autocast too) and memory format. Contiguous and
        channels_last maps are taken as they are.
    Differentiable to any order; the kernels are the value and the first gradient.
    """
    return _forward(x) if chosen("pixel_norm", impl, x) else reference(x)


def reference(x: Tensor) -> Tensor:
    """What ``pixel_norm`` says, in plain torch."""
    wide = upcast(x)
    return (wide * (wide.square().mean(1, keepdim=True) + EPSILON).rsqrt()).to(x.dtype)


def reference_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """r g - x r^3 mean_c(x_c g_c), where r = 1 / sqrt(mean_c x_c^2 + 1e-8)."""
    g, wide = upcast(grad), upcast(x)
    r = (wide.square().mean(1, keepdim=True) + EPSILON).rsqrt()
    return (r * g - wide * r**3 * (wide * g).mean(1, keepdim=True)).to(x.dtype)


# A program takes ROWS places, each a row of C channels, through blocks of CHANNELS: once to
# measure the rows, and once more, while the numbers are still in the cache, to write.


@jit
def _forward_kernel(
    x, y, rows, S, C, channel_stride, place_stride, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    start = row // S * C * S + row % S * place_stride
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    for first in range(0, C, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)[None, :]
        inside = (row < rows) & (channel < C)
        value = tl.load(x + start + channel * channel_stride, inside, 0).to(tl.float32)
        squares += value * value
    r = tl.rsqrt(tl.sum(squares, 1, keep_dims=True) / C + 1e-8)
    for first in range(0, C, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)[None, :]
        inside = (row < rows) & (channel < C)
        at = start + channel * channel_stride
        tl.store(y + at, tl.load(x + at, inside, 0).to(tl.float32) * r, inside)


@jit
def _gradient_kernel(
    g, x, dx, rows, S, C, channel_stride, place_stride, ROWS: tl.constexpr, CHANNELS: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    start = row // S * C * S + row % S * place_stride
    squares = tl.zeros((ROWS, CHANNELS), tl.float32)
    products = tl.zeros((ROWS, CHANNELS), tl.float32)
    for first in range(0, C, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)[None, :]
        inside = (row < rows) & (channel < C)
        at = start + channel * channel_stride
        value = tl.load(x + at, inside, 0).to(tl.float32)
        squares += value * value
        products += value * tl.load(g + at, inside, 0).to(tl.float32)
    r = tl.rsqrt(tl.sum(squares, 1, keep_dims=True) / C + 1e-8)
    along = r * r * r * (tl.sum(products, 1, keep_dims=True) / C)
    for first in range(0, C, CHANNELS):
        channel = first + tl.arange(0, CHANNELS).to(tl.int64)[None, :]
        inside = (row < rows) & (channel < C)
        at = start + channel * channel_stride
        value = tl.load(x + at, inside, 0).to(tl.float32)
        slope = tl.load(g + at, inside, 0).to(tl.float32)
        tl.store(dx + at, r * slope - value * along, inside)


def _launch(kernel: Any, x: Tensor, layout: torch.memory_format, *tensors: Tensor) -> None:
    S, C = places(x), x.shape[1]
    rows = x.shape[0] * S
    channel_stride, place_stride = strides(x, layout)
    # What lies side by side in memory is read side by side: channels if they do, else places.
    CHANNELS = min(power_of_2(C), 1024 if channel_stride == 1 else 64)
    ROWS = min(power_of_2(rows), 4096 // CHANNELS)
    with torch.cuda.device_of(x):
        kernel[(blocks(rows, ROWS),)](
            *tensors, rows, S, C, channel_stride, place_stride, ROWS=ROWS, CHANNELS=CHANNELS
        )


@torch.library.custom_op("gan_core::pixel_norm", mutates_args=())
def _forward(x: Tensor) -> Tensor:
    layout = memory_format(x)
    x = x.contiguous(memory_format=layout)
    y = torch.empty_like(x, memory_format=layout)
    _launch(_forward_kernel, x, layout, x, y)
    return y


@torch.library.custom_op("gan_core::pixel_norm_gradient", mutates_args=())
def _gradient(grad: Tensor, x: Tensor) -> Tensor:
    layout = memory_format(x)
    grad, x = (t.contiguous(memory_format=layout) for t in (grad, x))
    dx = torch.empty_like(x, memory_format=layout)
    _launch(_gradient_kernel, x, layout, grad, x, dx)
    return dx


@_forward.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


@_gradient.register_fake
def _(grad: Tensor, x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> Tensor:
    return _gradient(grad, *ctx.saved_tensors)


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiate_by(reference_gradient, _gradient)
