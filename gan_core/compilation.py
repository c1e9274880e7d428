"""torch.compile for the networks of a run."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from gan_core.kernels import dispatch


def resolve(name: str, device: torch.device) -> Literal["on", "off"]:
    """What "auto" stands for: "off", until it is measured to pay somewhere.

    On a CPU with bf16 a CycleGAN step takes as long compiled as not, after 14 seconds of compiling;
    no GPU has been measured. Raises ValueError for another word, and for "on" where a CPU's
    networks would have no compiler.
    """
    if name not in ("auto", "on", "off"):
        raise ValueError(f"compile {name!r}: choose auto, on, off")
    compilers = (os.environ.get("CXX", "g++"), "clang++")
    if name == "on" and device.type == "cpu" and not any(map(shutil.which, compilers)):
        raise ValueError("compile = 'on' needs g++ or clang++ on a CPU: install one, or choose off")
    return "on" if name == "on" else "off"


def compile_(nets: Iterable[nn.Module]) -> None:
    """Compile networks in place at their next call; their parameters and states stay as they are.

    Needs a C++ compiler on CPUs. A network is compiled once for each of the forms that it is used
    in: trained, passing gradient through, and for each shape of its input.
    """
    prepare()
    for net in nets:
        net.compile()


def prepare() -> None:
    """Set torch.compile up for what is made here; before anything is compiled."""
    import torch._functorch.config as config

    # Several losses walk back through one scene; the first must leave the graph's buffers alone.
    config.donated_buffer = False
    # Not to be looked into: torch.compile would compile anew whenever another operation had run.
    torch.compiler.assume_constant_result(dispatch.note)


@contextmanager
def eager() -> Iterator[None]:
    """Inside, compiled networks run as if they were not: compiled graphs have no second order."""
    with torch.compiler.set_stance("force_eager"):
        yield
