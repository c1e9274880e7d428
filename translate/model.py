"""A model file, and the networks in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_core.checkpoint import load_model
from gan_core.precision import resolve
from translate.errors import UserError
from translate.networks import rebuild


def read_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and header of a run folder's model, or of the file itself."""
    model = path / "model.safetensors" if path.is_dir() else path
    if not model.is_file():
        what = "has no model.safetensors yet" if path.is_dir() else "does not exist"
        raise UserError(f"model {path} {what}")
    return load_model(model)


def load_network(
    path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any], name: str
) -> nn.Module:
    """One of the model's networks, built as its header says."""
    prefix = f"{name}."
    weights = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
    with describing(path):
        with torch.device("meta"):
            net = rebuild(header["networks"][name])
        net.load_state_dict(weights, assign=True)
    return net


def find_precision(name: str, device: torch.device) -> str:
    """The number format that a person asks for, "auto" resolved; UserError if there is none."""
    try:
        return resolve(name, device)
    except ValueError as error:
        raise UserError(str(error)) from None


@contextmanager
def describing(path: Path) -> Iterator[None]:
    """A header that does not say what is asked of it becomes a UserError."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} holds a model that cannot be built here: {reason}") from error
