"""Several processes that train one run, each on an equal part of every batch.

The networks stay plain modules in every process. What the processes must agree on is exchanged
here, in as few messages as possible, and everything else they compute alike. A process of n has
its ``rank`` 0 ... n - 1 in a ``world`` of n. Where ``start`` was not called, or found one process
only, the world is 1 and every function here returns what it was given.

Functions that exchange something must be called by all processes, in the same order: one that is
missing keeps the others waiting.
"""

import io
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


class WorldError(ValueError):
    """A state is of another number of processes; the message says of how many."""


BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is; 0 is the one that speaks and writes."""
    return dist.get_rank() if world() > 1 else 0


@contextmanager
def start(device: torch.device) -> Iterator[torch.device]:
    """Inside, the processes that torchrun started train together; yields this one's device.

    torchrun says in the environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT) who
    is there; without it, or with a world of 1, nothing happens. On CUDA each process works on the
    GPU of its LOCAL_RANK, whichever ``device`` names. ValueError for other devices than CPU, CUDA.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device.type not in BACKENDS:
        raise ValueError(f"several processes train on {' or '.join(BACKENDS)}, not {device}")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    # Any optimiser imports this module, whose defaults hold the group that there is by then: its
    # threads would outlive it, and at the interpreter's end could abort the process.
    import_module("torch.distributed.nn.functional")
    dist.init_process_group(BACKENDS[device.type])
    yield device
    # Not after an error, which may be this process's alone: this waits for the others, and they
    # for what this one was to send. Its end is what makes torchrun end them.
    dist.destroy_process_group()


def mean_(tensors: Sequence[Tensor]) -> None:
    """Put the mean over all processes in the place of every tensor; one message per dtype.

    Every process gets the same bits, and a number that is not finite anywhere is so everywhere.
    """
    for flat in _laid_end_to_end(tensors):
        dist.all_reduce(flat)
        flat /= world()


def share_(tensors: Sequence[Tensor]) -> None:
    """Put rank 0's values in the place of every tensor; one message per dtype."""
    for flat in _laid_end_to_end(tensors):
        dist.broadcast(flat, src=0)


def any_rank(flag: bool) -> bool:
    """Whether the flag is set in any process."""
    share = torch.tensor(float(flag))  # on the CPU: a GPU need not have finished what it computes
    mean_([share])
    return bool(share > 0)


def gather(value: Any) -> list[Any]:
    """Every process's value, by rank.

    value: nested dictionaries, lists and tuples of numbers, strings and tensors. In a world of
    several it comes back as a copy with tensors on the CPU.
    """
    if world() == 1:
        return [value]
    parts: list[Any] = [None] * world()
    dist.all_gather_object(parts, _packed(value))
    return [torch.load(io.BytesIO(p), map_location="cpu", weights_only=True) for p in parts]


def _packed(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def own(parts: Sequence[Any]) -> Any:
    """This process's part of what ``gather`` returned, in this run or an earlier one.

    WorldError if another number of processes had gathered parts that differ.
    """
    if len(parts) == world():
        return parts[rank()]
    if len({_packed(part) for part in parts}) > 1:
        raise WorldError(
            f"this is of a run of {len(parts)} processes, not {world()}: start {len(parts)}"
        )
    return parts[0]


def _laid_end_to_end(tensors: Sequence[Tensor]) -> Iterator[Tensor]:
    """A flat copy of each dtype's tensors; what was done to it is then written back to them."""
    alike: dict[torch.dtype, list[Tensor]] = defaultdict(list)
    for tensor in tensors if world() > 1 else ():
        alike[tensor.dtype].append(tensor.detach())
    for group in alike.values():
        flat = torch.cat([tensor.flatten() for tensor in group])
        yield flat
        for tensor, part in zip(group, flat.split([t.numel() for t in group]), strict=True):
            tensor.copy_(part.view(tensor.shape))
