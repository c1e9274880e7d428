"""Operations with a Triton kernel beside their plain form; one file each."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gan_core.kernels.bias_act import bias_act
from gan_core.kernels.deviation import deviation
from gan_core.kernels.instance_norm import instance_norm
from gan_core.kernels.pixel_norm import pixel_norm
from gan_core.kernels.resample import downsample, fade_up, upsample
from gan_core.kernels.sample_norm import sample_norm


@dataclass(frozen=True)
class Operation:
    """An operation as ``translate bench`` measures it.

    call: the operation; takes the example's tensors and ``impl``.
    example: (device, dtype) -> tensors of the size that networks give it on a GPU.
    moved: the example's tensors -> how many bytes the forward pass must read and write at least.
    moved_back: the same of the backward pass, to the gradients of all its maps.
    """

    call: Callable[..., Any]
    example: Callable[[torch.device, torch.dtype], tuple[Tensor, ...]]
    moved: Callable[..., int]
    moved_back: Callable[..., int]


def _maps(
    *shape: int, copies: int = 1
) -> Callable[[torch.device, torch.dtype], tuple[Tensor, ...]]:
    """So many channels_last maps of N(0, 1)."""

    def example(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
        return tuple(
            torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            for _ in range(copies)
        )

    return example


def _one_like_the_first(x: Tensor, *others: Tensor) -> int:
    """All tensors are read, and one like the first is written."""
    return x.nbytes + sum(t.nbytes for t in (x, *others))


def _fading(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Pictures of two resolutions and shares."""
    old, new = (_maps(16, 3, side, side)(device, dtype)[0] for side in (128, 256))
    return old, new, torch.rand(16, device=device)


def _faded(old: Tensor, new: Tensor, alpha: Tensor) -> int:
    """Or the other way round: what is made of them, or its gradient, is float32."""
    return old.nbytes + new.nbytes + 4 * new.numel()


def _read(x: Tensor) -> int:
    return x.nbytes


def _twice(x: Tensor) -> int:
    """x is read, and its gradient written."""
    return 2 * x.nbytes


def _thrice(x: Tensor, *skip: Tensor) -> int:
    """And the gradient of the result read, which is the skip's as well."""
    return 3 * x.nbytes


def _doubled(x: Tensor) -> int:
    return 5 * x.nbytes


def _halved(x: Tensor) -> int:
    return x.nbytes + x.nbytes // 4


OPERATIONS: dict[str, Operation] = {
    "instance_norm relu": Operation(
        partial(instance_norm, act="relu"), _maps(8, 64, 256, 256), _one_like_the_first, _thrice
    ),
    "instance_norm residual": Operation(
        lambda x, skip, impl: instance_norm(x, residual=skip, impl=impl),
        _maps(8, 256, 64, 64, copies=2),
        _one_like_the_first,
        _thrice,
    ),
    "bias_act": Operation(bias_act, _maps(16, 64, 128, 128), _one_like_the_first, _thrice),
    "pixel_norm": Operation(pixel_norm, _maps(16, 256, 128, 128), _one_like_the_first, _thrice),
    "upsample": Operation(upsample, _maps(16, 256, 64, 64), _doubled, _doubled),
    "upsample filtered": Operation(
        partial(upsample, filtered=True), _maps(16, 256, 64, 64), _doubled, _doubled
    ),
    "downsample": Operation(downsample, _maps(16, 256, 128, 128), _halved, _halved),
    "downsample filtered": Operation(
        partial(downsample, filtered=True), _maps(16, 256, 128, 128), _halved, _halved
    ),
    "fade_up": Operation(fade_up, _fading, _faded, _faded),
    "deviation": Operation(partial(deviation, groups=4), _maps(16, 512, 4, 4), _read, _twice),
    "sample_norm": Operation(sample_norm, _maps(16, 3, 256, 256), _read, _twice),
}
