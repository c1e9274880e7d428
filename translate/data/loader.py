"""Batches by position, made ahead of the training step by worker processes."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from translate.data.dataset import DataSet, Item
from translate.errors import UserError


class Batches:
    """Iterates over batches from a position on, until closed; knows the files that were broken."""

    def __init__(
        self,
        data: DataSet,
        start: int,
        device: torch.device,
        say: Callable[[str], None] = lambda sentence: None,
        *,
        workers: Literal["auto"] | int = "auto",
    ) -> None:
        self.data, self.device, self.say = data, device, say
        self.broken: dict[str, str] = {}
        self._items = iter(
            DataLoader(
                data,
                batch_size=None,  # an item is a batch already
                sampler=itertools.count(start),
                num_workers=resolve_workers(workers, device),
                worker_init_fn=_init_worker,
                pin_memory=device.type == "cuda",
            )
        )

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        item: Item = next(self._items)
        if item.broken.keys() - self.broken.keys():
            self._count(item.broken)
        return {
            key: tensor.to(self.device, non_blocking=True) for key, tensor in item.batch.items()
        }

    def close(self) -> None:
        """End the workers. They ignore SIGTERM: an exit by a traceback would wait for ever."""
        if shutdown := getattr(self._items, "_shutdown_workers", None):
            shutdown()

    def _count(self, broken: Mapping[str, str]) -> None:
        for path, reason in broken.items():
            if path not in self.broken:
                self.broken[path] = reason
                self.say(f"skipped {reason}")
        for name, (bad, total) in self.data.count_broken(self.broken).items():
            if bad / total > self.data.max_broken or bad == total:
                raise UserError(
                    f"{bad} of {total} pictures in {name} cannot be read, more than "
                    f"data.max_broken = {self.data.max_broken}; the last: {reason}. "
                    "`translate data check` lists them"
                )


def resolve_workers(workers: Literal["auto"] | int, device: torch.device) -> int:
    """For "auto": none on a CPU, which the networks keep busy; up to four beside another device."""
    if workers == "auto":
        return 0 if device.type == "cpu" else min(4, max(_processors() - 1, 1))
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, not {workers}")
    return workers


def _processors() -> int:
    """Of this process: torchrun's processes on a machine share its processors."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (usable or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _init_worker(_: int) -> None:
    """One OpenCV thread each; Ctrl-C and SIGTERM are the main process's to answer."""
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
