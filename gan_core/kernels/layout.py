"""How maps [B, C, ...] lie in memory, for kernels that take them as they are.

A kernel sees B samples of C channels of S places: the number at (b, c, s) is
b * C * S + c * channel_stride + s * place_stride numbers from the first.
"""

import math

import torch
from torch import Tensor


def memory_format(x: Tensor) -> torch.memory_format:
    """channels_last for [B, C, H, W] maps that lie so and in no other way, else contiguous.

    ``x.contiguous(memory_format=...)`` copies x only if it lies in neither of the two ways.
    """
    if x.ndim != 4 or x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def places(x: Tensor) -> int:
    """S: how many numbers a channel of a sample has."""
    return math.prod(x.shape[2:])


def strides(x: Tensor, layout: torch.memory_format) -> tuple[int, int]:
    """(channel_stride, place_stride)."""
    return (1, x.shape[1]) if layout is torch.channels_last else (places(x), 1)


def power_of_2(n: int) -> int:
    """The smallest power of two that is not below n: the sides of a kernel's blocks are such."""
    return 1 << (n - 1).bit_length()


def blocks(n: int, block: int) -> int:
    """How many blocks hold n."""
    return -(-n // block)
