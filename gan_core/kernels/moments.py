"""Mean and variance of every channel of every sample, and how such work is shared out.

A program takes CHANNELS channels of a sample, PLACES places at a time: all its places, or where
such programs would be too few for a GPU one chunk of them. Then one kernel measures the chunks, a
second merges what the first found, and a third uses it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from gan_core.kernels._triton import jit, tl
from gan_core.kernels.layout import blocks, places, power_of_2, strides

BUSY = 512
"""So many programs keep a large GPU busy."""
SHORT = 8
"""So few blocks of places take a program less time than two more kernels take to start."""


class Plan(NamedTuple):
    """grid: chunks, blocks of channels, samples. sizes: S, C, chunk, channel and place stride."""

    grid: tuple[int, int, int]
    sizes: tuple[int, int, int, int, int]
    block: dict[str, int]


def plan(x: Tensor, layout: torch.memory_format) -> Plan:
    """For x [B, C, ...] that lies in that layout."""
    S, C = places(x), x.shape[1]
    # what lies side by side in memory is read side by side
    CHANNELS = min(power_of_2(C), 32) if layout is torch.channels_last else 1
    PLACES = min(power_of_2(S), 2048 // CHANNELS)
    programs = len(x) * blocks(C, CHANNELS)
    steps = blocks(S, PLACES)
    chunk = (steps if steps <= SHORT else blocks(steps, max(1, BUSY // programs))) * PLACES
    grid = (blocks(S, chunk), blocks(C, CHANNELS), len(x))
    return Plan(grid, (S, C, chunk, *strides(x, layout)), {"CHANNELS": CHANNELS, "PLACES": PLACES})


@jit
def merge(count, mean, deviations):
    """Mean and sum of squared deviations of several sets, [CHANNELS, sets] (Chan et al. 1979)."""
    total = tl.sum(count, 1, keep_dims=True)
    # GPUs' plain division may be off in the last place, which shows where maps are flat
    merged = tl.div_rn(tl.sum(count * mean, 1, keep_dims=True), total)
    off = mean - merged
    return merged, tl.sum(deviations + count * off * off, 1, keep_dims=True)


@jit
def measure(x, present, first, last, place_stride, CHANNELS: tl.constexpr, PLACES: tl.constexpr):
    """Mean and squared deviations of places first to last: Welford's, of each lane by itself."""
    lane = tl.arange(0, PLACES)[None, :]
    mean = tl.zeros((CHANNELS, PLACES), tl.float32)
    deviations = tl.zeros((CHANNELS, PLACES), tl.float32)
    seen = 0.0
    for begin in range(first, last, PLACES):
        place = begin + lane.to(tl.int64)
        inside = present & (place < last)
        value = tl.load(x + place * place_stride, inside, 0).to(tl.float32)
        off = tl.where(inside, value - mean, 0.0)
        seen += 1.0
        mean += off / seen
        deviations += off * (value - mean)
    count = tl.maximum(last - first - lane + PLACES - 1, 0) // PLACES
    return merge(count.to(tl.float32), mean, deviations)


@jit
def _statistics_kernel(
    x, means, deviations, S, C, chunk, channel_stride, place_stride,
    CHANNELS: tl.constexpr, PLACES: tl.constexpr,
):  # fmt: skip
    """Of each chunk: means, deviations [B, C, chunks]."""
    sample = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1).to(tl.int64) * CHANNELS + tl.arange(0, CHANNELS)[:, None]
    first = tl.program_id(0) * chunk
    x += sample * C * S + channel * channel_stride
    last = tl.minimum(first + chunk, S)
    mean, off = measure(x, channel < C, first, last, place_stride, CHANNELS, PLACES)
    at = (sample * C + channel) * tl.num_programs(0) + tl.program_id(0)
    tl.store(means + at, mean, channel < C)
    tl.store(deviations + at, off, channel < C)


@jit
def _finish_kernel(
    part_means, part_deviations, means, rstds, rows, S, chunk, chunks, eps,
    ROWS: tl.constexpr, CHUNKS: tl.constexpr,
):  # fmt: skip
    """means, rstds [B, C] of all chunks; a row is a channel of a sample."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[:, None]
    part = tl.arange(0, CHUNKS)[None, :]
    at = row.to(tl.int64) * chunks + part
    inside = (row < rows) & (part < chunks)
    count = tl.maximum(tl.minimum(S - part * chunk, chunk), 0).to(tl.float32)
    mean = tl.load(part_means + at, inside, 0.0)
    mean, deviations = merge(count, mean, tl.load(part_deviations + at, inside, 0.0))
    tl.store(means + row, mean, row < rows)
    tl.store(rstds + row, tl.rsqrt(deviations / S + eps), row < rows)


def write_moments(x: Tensor, mean: Tensor, rstd: Tensor, eps: float, shared: Plan) -> None:
    """Write mean and 1 / sqrt(variance + eps), [B, C] in float32, of maps planned as ``shared``."""
    grid, sizes, block = shared
    S, _, chunk, *_ = sizes
    rows, chunks = mean.numel(), grid[0]
    parts = torch.empty(2, rows, chunks, dtype=torch.float32, device=x.device)
    _statistics_kernel[grid](x, *parts, *sizes, **block)
    _finish_kernel[(blocks(rows, 4),)](
        *parts, mean, rstd, rows, S, chunk, chunks, eps, ROWS=4, CHUNKS=power_of_2(chunks)
    )
