"""Leaving on Ctrl-C or SIGTERM with everything saved."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requested(say: Callable[[str], None]) -> Iterator[Callable[[], int]]:
    """Inside, the yielded function returns the number of the signal that asked to stop, else 0.

    A second signal leaves at once, as if nothing had been caught.
    """
    asked = 0

    def ask(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(128 + number)
        asked = number
        say("stopping after this step; once more leaves at once, unsaved")

    before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
