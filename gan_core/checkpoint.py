"""Two kinds of file: the training state (exact resume) and the model file (what use needs).

Both are written whole or not at all: to a temporary file beside the target, flushed to the disk,
then renamed. Neither is ever read with pickle's power to run code.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

FORMAT = 1
_STATE = re.compile(r"step-(\d+)\.pt")


class FileError(OSError):
    """A checkpoint or model file that cannot be written or read; the message is for people."""


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Give ``write`` an open file that becomes ``path`` only when all of it is on the disk."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save turns a failed write into RuntimeError
        temporary.unlink(missing_ok=True)
        reason = _root_cause(error)
        raise FileError(
            f"could not write {path}: {reason}; what was there before is untouched"
        ) from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _root_cause(error: BaseException) -> str:
    """The operating system's words, which torch.save hides behind its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)


def checkpoints(folder: Path) -> list[Path]:
    """Training states in a folder, oldest first."""
    numbered = [(_STATE.fullmatch(path.name), path) for path in folder.glob("step-*.pt")]
    return [path for match, path in sorted((int(m[1]), p) for m, p in numbered if m)]


def save_state(folder: Path, state: Mapping[str, Any], step: int, keep: int) -> Path:
    """Write the training state of a step; then remove all but the last ``keep``.

    state: nested dictionaries, lists and tuples of numbers, strings and tensors.
    """
    path = folder / f"step-{step:08d}.pt"
    write_whole(path, lambda file: torch.save(state, file))
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def load_state(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a training state (``weights_only``: no code in the file is ever run)."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise FileError(f"{path} is not a readable checkpoint ({error})") from error
    assert isinstance(state, dict)
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
            header = json.loads((file.metadata() or {}).get("header", "{}"))
            tensors = {name: file.get_tensor(name) for name in file}
    except (SafetensorError, OSError) as error:
        raise FileError(f"{path} is not a readable model file ({error})") from error
    if header.get("format") != FORMAT:
        raise FileError(
            f"{path} is no model file of this toolkit: its header says format "
            f"{header.get('format')!r}, this version reads {FORMAT}"
        )
    return tensors, header
