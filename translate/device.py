"""The device that a command works on."""

import ctypes
import sys

import torch

from translate.errors import UserError


def find_device(name: str) -> torch.device:
    """``auto`` (CUDA, then MPS, then CPU) or a device by name; UserError if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
            torch.empty(0, device=device)  # raises; a GPU that is there is not taken hold of yet
    except (RuntimeError, AssertionError, NotImplementedError):
        here = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        here += ["mps"] if torch.backends.mps.is_available() else []
        raise UserError(f"there is no device {name!r} here; choose {', '.join(here)}") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"device {name!r} holds no numbers to train on; choose cpu, cuda or mps")
    return device


def tune(device: torch.device) -> None:
    """Set this process up for steps that are alike; for commands that do many of them.

    CUDA: cuDNN tries its algorithms once for each shape. CPU with glibc: memory that is freed is
    kept. By default glibc gives every large block back to the system, and a step, which frees its
    gradients and asks for as much again, pays page faults for each: a 33 MB tensor was copied in
    13.5 ms, and in 1.9 ms so. The process holds a few percent more at its peak.
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    if device.type == "cpu" and sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        trim_threshold, mmap_max = -1, -4  # glibc's malloc.h
        if mallopt is not None:
            mallopt(mmap_max, 0)
            mallopt(trim_threshold, -1)


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that was allocated on a CUDA device, else the process's largest size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # it does not say
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
