"""Folders of pictures as domains."""

from pathlib import Path

from translate.data.image import find
from translate.errors import UserError


def pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, in a fixed order; UserError where there are none."""
    if not folder.exists():
        raise UserError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; a folder of pictures is needed")
    try:
        found = find(folder)
    except OSError as error:
        raise UserError(
            f"{error.filename} cannot be opened ({error.strerror}): allow it, or move it elsewhere"
        ) from None
    if not found:
        raise UserError(f"{folder} holds no pictures (png, jpg, webp, bmp, tif, ppm, ...)")
    return found


def domain_names(folders: tuple[Path, Path]) -> tuple[str, str]:
    """The folders' last names, which name the domains; they must differ."""
    first, second = (folder.resolve().name for folder in folders)
    if first == second:
        raise UserError(
            f"both domains would be called {first!r} ({folders[0]} and {folders[1]}): name them "
            f"with --names, for example --names {first}-a {first}-b"
        )
    return first, second


def reference_layout(root: Path) -> dict[str, object]:
    """[data] keys for a folder as users of the CycleGAN and pix2pix reference have it.

    trainA and trainB: two domains, A and B; train: aligned pictures. valA and valB, or val, are
    what the run is judged by; test folders are left alone.
    """
    two, one = [root / "trainA", root / "trainB"], root / "train"
    if all(folder.is_dir() for folder in two):
        judged = [root / "valA", root / "valB"]
        keys: dict[str, object] = {"data.domains": [str(folder) for folder in two]}
        keys["data.names"] = [f"{root.resolve().name}-A", f"{root.resolve().name}-B"]
    elif one.is_dir():
        judged = [root / "val"]
        keys = {"data.aligned": str(one)}
    else:
        raise UserError(
            f"{root} has neither trainA and trainB nor train: name folders by --domains"
        )
    there = [folder.is_dir() for folder in judged]
    if any(there) and not all(there):
        raise UserError(f"{root} has only one of {judged[0].name} and {judged[1].name}")
    if all(there):
        keys["data.validation"] = [str(folder) for folder in judged]
    return keys
