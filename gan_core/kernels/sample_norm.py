"""The length of each sample's slope, which the penalties on a critic ask for."""

from typing import Any

import torch
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.dispatch import Impl, chosen
from gan_core.kernels.layout import blocks, memory_format
from gan_core.kernels.second_order import differentiate_by
from gan_core.precision import upcast


def sample_norm(x: Tensor, *, impl: Impl = "auto") -> Tensor:
    """||x_b||_2 over all numbers of sample b; the gradient is x_b / ||x_b||, 0 where x_b is 0.

    x: [B, ...] -> [B], in float32 at least (under autocast too). Contiguous and channels_last maps
        are taken as they are, and their gradient has x's dtype and memory format.
    Differentiable to any order; the kernels are the value and the first gradient.
    """
    return _forward(x) if chosen("sample_norm", impl, x) else reference(x)


def reference(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(upcast(x).flatten(1), dim=1)


def reference_gradient(grad: Tensor, x: Tensor, _: Tensor) -> Tensor:
    """g_b x_b / ||x_b||, and 0 where x_b is. The norm, which the kernel is given, is part of it."""
    norm = reference(x)
    scale = torch.where(norm == 0, 0.0, grad / torch.where(norm == 0, 1.0, norm))
    return (upcast(x) * scale.reshape(-1, *(1,) * (x.ndim - 1))).to(x.dtype)


# A sample's N numbers are taken in whatever order they lie. It is shared by several programs, of
# BLOCK numbers each, whose norms have the norm that is wanted: samples alone are too few.

BLOCK = 4096


@jit
def _forward_kernel(x, parts, N, BLOCK: tl.constexpr):
    sample = tl.program_id(1)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + sample.to(tl.int64) * N + place, place < N, 0).to(tl.float32)
    part = sample.to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    tl.store(parts + part, tl.sqrt(tl.sum(value * value, 0)))


@jit
def _gradient_kernel(g, x, norm, dx, N, BLOCK: tl.constexpr):
    sample = tl.program_id(1)
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    at = sample.to(tl.int64) * N + place
    length = tl.load(norm + sample)
    scale = tl.load(g + sample) / tl.where(length == 0, 1.0, length)
    tl.store(dx + at, tl.load(x + at, place < N, 0).to(tl.float32) * scale, place < N)


@torch.library.custom_op("gan_core::sample_norm", mutates_args=())
def _forward(x: Tensor) -> Tensor:
    x = x.contiguous(memory_format=memory_format(x))
    N = x[0].numel()
    parts = torch.empty((len(x), blocks(N, BLOCK)), dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _forward_kernel[(parts.shape[1], len(x))](x, parts, N, BLOCK=BLOCK)
    return torch.linalg.vector_norm(parts, dim=1)


@torch.library.custom_op("gan_core::sample_norm_gradient", mutates_args=())
def _gradient(grad: Tensor, x: Tensor, norm: Tensor) -> Tensor:
    layout = memory_format(x)
    grad, x, norm = grad.contiguous(), x.contiguous(memory_format=layout), norm.contiguous()
    dx, N = torch.empty_like(x, memory_format=layout), x[0].numel()
    with torch.cuda.device_of(x):
        _gradient_kernel[(blocks(N, BLOCK), len(x))](grad, x, norm, dx, N, BLOCK=BLOCK)
    return dx


@_forward.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(len(x), dtype=torch.float32)


@_gradient.register_fake
def _(grad: Tensor, x: Tensor, norm: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=memory_format(x))


def _keep(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _differentiate(ctx: Any, grad: Tensor) -> Tensor:
    x, norm = ctx.saved_tensors
    return _gradient(grad, x, norm.detach())  # whose part in the gradient is in the formula


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiate_by(reference_gradient, _gradient)
