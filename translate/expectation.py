"""What a run would cost."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from translate.data.loader import Batches
from translate.device import peak_memory
from translate.training import Run


def expect(run_: Run, steps: int = 3) -> dict[str, Any]:
    """What a run would cost, from ``steps`` steps done in memory on its own data."""
    trainer = run_.trainer
    # beginnings may differ, with more critic steps
    places = {(trainer.steps // 2 + 1, 0, 0): 1.0}
    if growth := run_.data.growth:
        places = _phases(growth.begins, trainer.steps)
    seconds = 0.0
    for (step, batch, images), share in places.items():
        trainer.counts |= {"step": step, "batches": batch, "images": images}
        batches = Batches(run_.data, batch, run_.device, workers=0)
        trainer.step(batches)  # the first step allocates and chooses algorithms
        began = time.perf_counter()
        for _ in range(steps):
            trainer.step(batches)
        seconds += share * (time.perf_counter() - began) / steps
    return {
        "method": run_.recipe.method,
        "data": run_.data.counts(),
        "device": str(run_.device),
        "precision": trainer.precision,
        "parameters": {name: parameters(net) for name, net in trainer.nets.items()},
        "steps": trainer.steps,
        "seconds_per_step": seconds,
        "memory_bytes": peak_memory(run_.device),
        "disk_bytes": _bytes(trainer.state_dict()) * run_.recipe.values["run"]["keep"],
    }


def _phases(begins: Sequence[tuple[int, int]], steps: int) -> dict[tuple[int, int, int], float]:
    """(step, batches, images) where each phase of a curriculum begins: its share of the run."""
    whole = begins[-1][0]
    return {
        (steps * batch // whole, batch, images): (after - batch) / whole
        for (batch, images), (after, _) in pairwise(begins)
        if after > batch
    }


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def _bytes(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0
