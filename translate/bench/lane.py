"""A piece of work in a process of its own, which does some of it when told to and else idles.

So peak memory is each one's own, settings of torch do not leak from one to the other, and several
can take turns.
"""

import multiprocessing
import re
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from translate.device import peak_memory
from translate.errors import UserError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Work:
    """turn: does the work's step so many times and returns the seconds that it took.

    images: that a step treats. facts: plain values that the result says of it; a turn may add some.
    """

    turn: Callable[[int], float]
    images: float = 0.0
    device: torch.device = CPU
    facts: dict[str, Any] = field(default_factory=dict)


class Lane:
    """``make`` is called in the new process, with what it needs to be told in a pickle."""

    def __init__(self, name: str, make: Callable[[], Work]) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make), name=name)
        self._process.start()
        theirs.close()  # so that a process that dies is heard of
        try:
            ready = self._answer()
        except BaseException:  # Ctrl-C too: nobody would end it
            self._process.terminate()
            self._process.join()
            raise
        self.images: float = ready["images"]
        self.facts: dict[str, Any] = ready["facts"]
        self.memory_before: int = ready["memory"]
        self.peak_memory = self.memory_before

    def __enter__(self) -> "Lane":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()  # ends its loop
        if error is not None:
            self._process.terminate()
        self._process.join()

    def turn(self, steps: int) -> float:
        """Seconds that ``steps`` steps took there, begun and ended with the device at rest."""
        self._pipe.send(steps)
        answer = self._answer()
        self.peak_memory, self.facts = answer["memory"], answer["facts"]
        seconds: float = answer["seconds"]
        return seconds

    def _answer(self) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise UserError(
                f"{self.name}: its process ended with code {self._process.exitcode}; where memory "
                "is short, choose a smaller --size or --batch-size"
            ) from None
        if "refused" in answer:
            raise UserError(f"{self.name}: {answer['refused']}")
        if "failed" in answer:
            raise RuntimeError(f"{self.name} failed in its process:\n{answer['failed']}")
        return answer


def timed(step: Callable[[], object], device: torch.device) -> Callable[[int], float]:
    """A turn that does a step again and again, waiting for the device before and after."""

    def turn(steps: int) -> float:
        _wait(device)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _wait(device)
        return time.perf_counter() - began

    return turn


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _serve(pipe: Connection, make: Callable[[], Work]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to answer
    # The way this process was started is handed down; loaders are to start theirs as ever.
    multiprocessing.set_start_method(None, force=True)
    before = _memory(CPU)
    try:
        work = make()
        memory = before if work.device.type != "cuda" else 0
        pipe.send({"images": work.images, "facts": work.facts, "memory": memory})
        while True:
            seconds = work.turn(pipe.recv())
            memory = _memory(work.device)
            pipe.send({"seconds": seconds, "memory": memory, "facts": work.facts})
    except EOFError:
        pass  # the parent is done
    except (UserError, ValueError) as error:  # ValueErrors say to callers what to mend
        pipe.send({"refused": str(error)})
    except Exception:
        pipe.send({"failed": traceback.format_exc()})


def _memory(device: torch.device) -> int:
    """Peak memory of this process in bytes, so far; of a CUDA device what torch held there.

    Linux keeps in ru_maxrss what the parent held when it made this process; its own peak stands
    in /proc.
    """
    status = Path("/proc/self/status")
    if device.type == "cuda" or not status.exists():
        return peak_memory(device)
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
    return int(found[1]) * 1024 if found else peak_memory(device)
