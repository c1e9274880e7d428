"""Two kinds of file: the training state (exact resume) and the model file (what use needs).

Both are written whole or not at all (``gan_core.files``), and neither is ever read with pickle's
power to run code.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_core.files import FileError, temporary_of, write_whole

FORMAT = 1
_STATE = re.compile(r"step-(\d+)\.pt")


def checkpoints(folder: Path) -> list[Path]:
    """Training states in a folder, oldest first."""
    numbered = [(_STATE.fullmatch(path.name), path) for path in folder.glob("step-*.pt")]
    return [path for match, path in sorted((int(m[1]), p) for m, p in numbered if m)]


def save_state(folder: Path, state: Mapping[str, Any], step: int, keep: int) -> Path:
    """Write the training state of a step; then remove all but the last ``keep``.

    state: nested dictionaries, lists and tuples of numbers, strings and tensors.
    """
    path = folder / f"step-{step:08d}.pt"
    for left in folder.glob(temporary_of(folder / "step-*.pt").name):
        if left != temporary_of(path):  # of a process that was killed while it wrote
            left.unlink()
    write_whole(path, lambda file: torch.save(state, file))
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a training state (``weights_only``: no code in the file is ever run)."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise FileError(f"{path} is not a readable checkpoint: cut short or damaged") from error
    if not isinstance(state, dict):
        raise FileError(f"{path} is not a readable checkpoint (it holds a {type(state).__name__})")
    return state


def save_model(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write a model file: safetensors with the header as JSON under one metadata key.

    One key, since safetensors keeps no order among several and equal models must be equal files.
    """
    from safetensors.torch import save

    metadata = {"header": json.dumps({"format": FORMAT, **header}, sort_keys=True)}
    plain = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    write_whole(path, lambda file: file.write(save(plain, metadata)))


def load_model(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a model file: tensors by name, and its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = _header(file.metadata() or {})
            names = file.keys()  # safe_open itself cannot be iterated over
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path} is not a readable model file ({error})") from error
    if header.get("format") != FORMAT:
        raise FileError(
            f"{path} is no model file of this toolkit: its header says format "
            f"{header.get('format')!r}, this version reads {FORMAT}"
        )
    return tensors, header


def _header(metadata: Mapping[str, str]) -> dict[str, Any]:
    """Empty where the file is another program's."""
    try:
        header = json.loads(metadata.get("header", "{}"))
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}
