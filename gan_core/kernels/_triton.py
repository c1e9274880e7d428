"""Triton; or, on a machine without it, what lets kernels be written down that nothing will run."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def _as_written(kernel: Any) -> Any:
    return kernel


AVAILABLE = True
try:
    import triton
    import triton.language
except ImportError:
    AVAILABLE = False
    jit: Callable[[Any], Any] = _as_written
    tl: Any = SimpleNamespace(constexpr=None)  # all that a signature asks for
else:
    jit, tl = triton.jit, triton.language
