"""Each operation of ``gan_core.kernels``: its kernel, its plain form, and torch.compile of that.

Forward and backward passes on tensors of the size that networks give them, medians of Triton's
``do_bench``, which empties the cache before every call. The limit is a copy that moves as many
bytes as the pass must at least; the reached share is the copy's time by the kernel's.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from gan_core import compilation
from gan_core.kernels import OPERATIONS, Operation
from gan_core.precision import FORMATS
from translate.bench.lane import Work
from translate.device import find_device

DTYPES = {name: dtype or torch.float32 for name, dtype in FORMATS.items()}


def measured(device: str) -> Work:
    """A turn of so many steps measures every way so often, in turns: facts["kernels"]."""
    place = find_device(device)
    do_bench: Any = import_module("triton.testing").do_bench
    rows: list[dict[str, Any]] = []

    def turn(rounds: int) -> float:
        for name, operation in OPERATIONS.items():
            for precision, dtype in DTYPES.items():
                tensors = operation.example(place, dtype)
                passes = {
                    "forward": (forward, operation.moved(*tensors)),
                    "backward": (backward, operation.moved_back(*tensors)),
                }
                for which, (ways, moved) in passes.items():
                    row = {"operation": name, "pass": which, "format": precision, "bytes": moved}
                    rows.append(row | _times(ways(operation, tensors, moved), do_bench, rounds))
        return math.nan

    return Work(turn, device=place, facts={"kernels": rows})


def _times(
    calls: Mapping[str, Callable[[], object]], do_bench: Callable[..., float], rounds: int
) -> dict[str, Any]:
    """Seconds by way and round; a way that fails is left out, and said."""
    seconds: dict[str, list[float]] = {way: [] for way in calls}
    failed: dict[str, str] = {}
    for way in list(calls) * rounds:
        if way in failed:
            continue
        try:
            seconds[way].append(do_bench(calls[way], return_mode="median") / 1000)
        except Exception as error:
            failed[way] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    return {"seconds": {way: times for way, times in seconds.items() if times}, "failed": failed}


def forward(
    operation: Operation, tensors: tuple[Tensor, ...], moved: int
) -> dict[str, Callable[[], object]]:
    calls = {way: torch.no_grad()(call) for way, call in _calls(operation, tensors).items()}
    return calls | {"copy": _copy(tensors[0], moved)}


def backward(
    operation: Operation, tensors: tuple[Tensor, ...], moved: int
) -> dict[str, Callable[[], object]]:
    # not by the shares of a fade
    inputs = tuple(nn.Parameter(x) if x.ndim == 4 else x for x in tensors)
    maps = [x for x in inputs if x.requires_grad]
    calls = {way: _gradients(call, maps) for way, call in _calls(operation, inputs).items()}
    return calls | {"copy": _copy(tensors[0], moved)}


def _gradients(call: Callable[[], Tensor], maps: list[Tensor]) -> Callable[[], object]:
    """The backward pass of what the first call makes."""
    made: list[Tensor] = []

    def walk() -> object:
        if not made:
            y = call()
            made.extend((y, torch.randn_like(y)))
        y, along = made
        return torch.autograd.grad(y, maps, along, retain_graph=True)

    return walk


def _calls(operation: Operation, tensors: tuple[Tensor, ...]) -> dict[str, Callable[[], Tensor]]:
    compilation.prepare()  # also because a backward pass is done again and again
    torch.compiler.reset()  # one operation's versions are not to count against the next one's

    def reference(*inputs: Tensor) -> Tensor:
        made: Tensor = operation.call(*inputs, impl="reference")
        return made

    return {
        "ours": partial(operation.call, *tensors, impl="triton"),
        "eager": partial(reference, *tensors),
        "compiled": partial(torch.compile(reference, dynamic=False), *tensors),
    }


def _copy(like: Tensor, moved: int) -> Callable[[], object]:
    source = torch.empty(moved // 2, dtype=torch.uint8, device=like.device)
    return partial(torch.empty_like(source).copy_, source)
