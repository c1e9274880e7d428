"""Mixed precision: which number formats a step is computed in.

Weights, gradients, optimiser state and losses are float32 (or the float64 that a caller chose for
the networks); convolutions and matrix products run in the format named here under autocast.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(name: str, device: torch.device) -> str:
    """The format that ``auto`` stands for on a device; any other name is returned as it is.

    bf16 where the hardware computes it natively, fp16 on other CUDA devices, else fp32. CPUs
    without bf16 instructions emulate it, which is slower than fp32.
    """
    if name not in ("auto", *FORMATS):
        raise ValueError(f"precision {name!r}: choose auto, {', '.join(FORMATS)}")
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and _cpu_has_bf16():
        return "bf16"
    return "fp32"


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(name: str, device: torch.device) -> AbstractContextManager[None]:
    """The context in which a step's networks run."""
    dtype = FORMATS[name]
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def memory_format(name: str) -> torch.memory_format:
    """How maps [B, C, H, W] lie in memory for a format: channels last for 16 bits.

    Matrix units, and the 16-bit convolutions of CPUs, take channels side by side; laid out
    otherwise every map is reordered on the way in and out. Weights follow on CUDA only: a CPU's
    fused Adam would copy them, and its convolutions reorder them faster from where they are.
    """
    return torch.contiguous_format if FORMATS[name] is None else torch.channels_last


def uncast(x: Tensor) -> AbstractContextManager[None]:
    """The context in which what is computed from ``x`` stays in its own format."""
    # the meta device, on which routes are measured, knows no autocast
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def upcast(x: Tensor) -> Tensor:
    """At least float32: what every loss does with scores and pictures before it computes."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@dataclass
class LossScale:
    """Dynamic loss scaling, for fp16 alone: its gradients underflow below 6e-8.

    The scale is halved whenever a scaled gradient was not finite and doubled after ``patience``
    good steps (Micikevicius et al. 2018, section 3.2).
    """

    value: float = 2.0**14
    good: int = 0
    patience: int = 2000

    def bad_step(self) -> None:
        self.value, self.good = max(self.value / 2, 1.0), 0

    def good_step(self) -> None:
        self.good += 1
        if self.good >= self.patience:
            self.value, self.good = min(self.value * 2, 2.0**24), 0
