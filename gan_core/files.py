"""Files that are written whole or not at all."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO


class FileError(OSError):
    """A file that cannot be written or read; the message is for people."""


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Give ``write`` an open file that becomes ``path`` only when all of it is on the disk.

    It is written beside the target, flushed to the disk, then renamed. Missing folders are made.
    """
    temporary = temporary_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch.save turns a failed write into RuntimeError
        _remove(temporary)
        reason = _root_cause(error)
        raise FileError(
            f"could not write {path}: {reason}; what was there before is untouched"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _remove(temporary: Path) -> None:
    with suppress(OSError):  # it may never have been made, nor its folder
        temporary.unlink()


def temporary_of(path: Path) -> Path:
    """Where a file is written before it is whole; a killed process may leave it there."""
    return path.with_name(f".{path.name}.part")


def _root_cause(error: BaseException) -> str:
    """The operating system's words, which torch.save hides behind its own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return str(error)
