"""The device that a command works on."""

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


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that was allocated on a CUDA device, else the process's largest size."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0  # it does not say
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
