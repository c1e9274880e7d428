"""Minibatch standard deviation: whether a batch's pictures are too much alike."""

from typing import Any

import torch
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import blocks, memory_format, power_of_2
from gan_core.kernels.second_order import differentiate_by
from gan_core.precision import upcast

EPSILON = 1e-8


def deviation(x: Tensor, groups: int, *, impl: Impl = "auto") -> Tensor:
    """How far a group of samples differs, on average; the same at each place of its samples.

    sqrt(v + 1e-8), v the variance over G samples at each channel and place (divided by G, not by
    G - 1), averaged over all of them: Karras et al. 2018, section 3. A group's samples lie B / G
    apart, as in the authors' code: group m is samples m, m + B / G, m + 2 B / G, ...

    x: [B, C, H, W] -> [B, 1, H, W] of the same dtype (under autocast too), computed in float32 at
        least. Contiguous and channels_last maps are taken as they are.
    groups: samples in a group, at most. Deviation: where it does not divide B, which the authors'
        code refuses, G is the largest number below that does.
    Differentiable to any order; the kernels are the value and the first gradient.
    """
    batch, _, height, width = x.shape
    together = max(g for g in range(1, min(groups, batch) + 1) if batch % g == 0)
    alike = (_forward if chosen("deviation", impl, x) else reference)(x, together)
    return alike.repeat(together)[:, None, None, None].expand(-1, -1, height, width).to(x.dtype)


def reference(x: Tensor, together: int) -> Tensor:
    """[B, C, H, W] -> [B / G]: of each group of G samples."""
    grouped = upcast(x).unflatten(0, (together, -1))
    return (grouped.var(0, correction=0) + EPSILON).sqrt().mean((1, 2, 3))


def reference_gradient(grad: Tensor, x: Tensor, together: int) -> Tensor:
    """g_m (x - mean) / (sqrt(v + 1e-8) G C H W)."""
    grouped = upcast(x).unflatten(0, (together, -1))
    away = grouped - grouped.mean(0)
    spread = (away.square().mean(0) + EPSILON).sqrt()
    scale = grad[:, None, None, None] / (together * x[0].numel())
    return (away / spread * scale).flatten(0, 1).to(x.dtype)


# A sample's N numbers are taken in whatever order they lie. A program takes BLOCK of them from
# each of a group's G samples, which fill a column of GROUP >= G rows.


@jit
def _group(x, G, apart, N, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """The program's places, where its numbers lie, how far they are from their mean, deviations."""
    member = tl.arange(0, GROUP)[:, None]
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[None, :]
    inside = (member < G) & (place < N)
    at = (member.to(tl.int64) * apart + tl.program_id(1)) * N + place
    value = tl.load(x + at, inside, 0).to(tl.float32)
    away = tl.where(inside, value - tl.sum(value, 0, keep_dims=True) / G, 0)
    spread = tl.sqrt(tl.sum(away * away, 0, keep_dims=True) / G + 1e-8)
    return place, at, inside, away, spread


@jit
def _forward_kernel(x, parts, G, apart, N, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    place, _, _, _, spread = _group(x, G, apart, N, GROUP, BLOCK)
    part = tl.program_id(1).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sum(tl.where(place < N, spread, 0)) / N)


@jit
def _gradient_kernel(g, x, dx, G, apart, N, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    _, at, inside, away, spread = _group(x, G, apart, N, GROUP, BLOCK)
    tl.store(dx + at, away / spread * (tl.load(g + tl.program_id(1)) / G / N), inside)


def _block(together: int) -> int:
    return max(4096 // power_of_2(together), 1)


def _launch(kernel: Any, x: Tensor, together: int, *tensors: Tensor) -> None:
    apart, N, BLOCK = len(x) // together, x[0].numel(), _block(together)
    with torch.cuda.device_of(x):
        kernel[(blocks(N, BLOCK), apart)](
            *tensors, together, apart, N, GROUP=power_of_2(together), BLOCK=BLOCK
        )


@torch.library.custom_op("gan_core::deviation", mutates_args=())
def _forward(x: Tensor, together: int) -> Tensor:
    x = x.contiguous(memory_format=memory_format(x))
    shape = (len(x) // together, blocks(x[0].numel(), _block(together)))
    parts = torch.empty(shape, dtype=torch.float32, device=x.device)
    _launch(_forward_kernel, x, together, x, parts)
    return parts.sum(1)


@torch.library.custom_op("gan_core::deviation_gradient", mutates_args=())
def _gradient(grad: Tensor, x: Tensor, together: int) -> Tensor:
    layout = memory_format(x)
    grad, x = grad.contiguous(), x.contiguous(memory_format=layout)
    dx = torch.empty_like(x, memory_format=layout)
    _launch(_gradient_kernel, x, together, grad, x, dx)
    return dx


@_forward.register_fake
def _(x: Tensor, together: int) -> Tensor:
    return x.new_empty(len(x) // together, dtype=torch.float32)


@_gradient.register_fake
def _(grad: Tensor, x: Tensor, together: int) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


def _keep(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    x, ctx.together = inputs
    ctx.save_for_backward(x)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
    return _gradient(grad, *ctx.saved_tensors, ctx.together), None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiate_by(reference_gradient, _gradient)
