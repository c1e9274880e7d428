"""Where commands that draw put what they made."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from translate.data.image import write
from translate.errors import UserError
from translate.pictures import grid


def names_file(out: Path, suffixes: Sequence[str]) -> bool:
    """Whether ``out`` is a file with one of the suffixes, rather than a folder; UserError for a
    file of another kind.
    """
    if out.suffix.lower() in suffixes:
        return True
    if out.suffix and not out.is_dir():
        raise UserError(f"{out}: a file is written as {', '.join(suffixes)}")
    return False


def check_free(out: Path, overwrite: bool) -> None:
    """UserError where there is a file, or a folder that is not empty, and it is to be kept."""
    if not overwrite and (any(out.iterdir()) if out.is_dir() else out.exists()):
        raise UserError(f"{out} is there already: choose another --out, or give --overwrite")


def write_grid(out: Path, rows: Sequence[Sequence[np.ndarray]]) -> None:
    """Rows of pictures as one picture file; UserError for what its format cannot hold."""
    try:
        write(out, grid(rows))
    except ValueError as error:
        raise UserError(str(error)) from None
