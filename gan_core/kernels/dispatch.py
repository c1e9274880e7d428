"""Which form of an operation runs: plain torch, the reference, or its Triton kernel.

Every operation takes ``impl``. "auto" is what ``use`` set for the process: the kernel wherever it
can run and the reference elsewhere; "reference" and "triton" are obeyed, or refused with a reason.
"""

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from gan_core.kernels._triton import AVAILABLE

Impl = Literal["auto", "reference", "triton"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Whether Triton, if it is there, runs its kernels in Python, on a CPU: slow, for tests."""

# Triton looks there, also where Debian's Python says that headers are elsewhere.
_SCHEME = "posix_prefix" if os.name == "posix" else "nt"

_auto: Literal["reference", "triton"] = "triton"
_ran: dict[str, str] = {}


def use(impl: Literal["reference", "triton"]) -> None:
    """Set what "auto" stands for in this process: "triton" where it can run, or never."""
    global _auto
    _auto = impl


def resolve(impl: Impl, device: torch.device) -> Literal["reference", "triton"]:
    """What "auto" stands for on a device. Raises ValueError if "triton" cannot run there."""
    obstacle = _of_machine(device)
    if impl == "triton" and obstacle:
        raise ValueError(f"kernels = 'triton' cannot run here: {obstacle}; choose auto")
    return "reference" if impl == "reference" or obstacle else "triton"


def ran() -> dict[str, str]:
    """By operation what ran last in this process: "triton", or "reference: " and why."""
    return dict(_ran)


def chosen(operation: str, impl: Impl, *tensors: Tensor) -> bool:
    """Whether the kernel is to run on these tensors; raises ValueError if it cannot but must."""
    wanted = _auto if impl == "auto" else impl
    reason = "asked for" if wanted == "reference" else _obstacle(*tensors)
    if impl == "triton" and reason:
        raise ValueError(f"{operation}: the Triton kernel cannot run: {reason}")
    note(operation, f"reference: {reason}" if reason else "triton")
    return not reason


def note(operation: str, what: str) -> None:
    """Keep what ``ran`` tells."""
    _ran[operation] = what


def _obstacle(*tensors: Tensor) -> str:
    for x in tensors:
        if reason := _of_machine(x.device):
            return reason
        if x.dtype not in DTYPES:
            return f"{x.dtype} tensors"
        if x.numel() == 0:
            return "an empty tensor"
    return ""


def _of_machine(device: torch.device) -> str:
    if device.type == "cpu" and INTERPRETED:
        return _LACKING
    if device.type != "cuda":
        return f"on {device.type}, and Triton's kernels run on CUDA devices"
    if torch.cuda.get_device_capability(device) < (7, 0):
        return "Triton needs a GPU of compute capability 7.0 or later"
    return _LACKING


def _lacking() -> str:
    if not AVAILABLE:
        return "Triton is not installed"
    if INTERPRETED:
        return ""
    if not (os.environ.get("CC") or any(map(shutil.which, ("gcc", "clang")))):
        return "Triton needs gcc or clang to load a kernel, and neither is on the PATH"
    if not (Path(sysconfig.get_path("include", _SCHEME)) / "Python.h").is_file():
        return "Triton needs Python's headers to load a kernel (Debian: python3-dev)"
    return ""


_LACKING = _lacking()  # once, and not inside what torch.compile looks at
