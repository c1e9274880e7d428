"""What a measurement ran on: enough to compare it with another, nothing of whose machine it is."""

import os
import platform
import re
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from gan_core.precision import resolve

PACKAGES = ("torch", "triton", "numpy", "opencv-python", "opencv-python-headless", "pillow")


def describe(device: torch.device) -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts: dict[str, Any] = {
        "date": str(date.today()),
        "device": _processor(),
        "processor": _processor(),
        "cores": usable,
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "auto_precision": resolve("auto", device),
        "versions": {"python": platform.python_version(), **_versions()},
    }
    if device.type == "cuda":
        facts["device"] = torch.cuda.get_device_name(device)
        facts["versions"]["cuda"] = torch.version.cuda
        facts["versions"]["cudnn"] = torch.backends.cudnn.version()
    return facts


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    text = listed.read_text(encoding="utf-8", errors="replace") if listed.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
