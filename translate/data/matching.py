"""Pictures of two folders that belong together by name."""

from collections.abc import Sequence
from pathlib import Path
from unicodedata import normalize

from translate.data.folders import pictures
from translate.errors import UserError


def match(a: Path, b: Path, skip_unmatched: bool = False) -> list[tuple[Path, Path]]:
    """The pictures of two folders with one relative path but for the suffix, in the order of ``a``.

    skip_unmatched: leave pictures without a partner out. Raises UserError when there are such
    pictures and they are not to be left out, when no pair remains, and when one folder holds two
    pictures of one name (a.png and a.jpg).
    """
    return match_some(a, b, skip_unmatched)[0]


def match_some(a: Path, b: Path, skip_unmatched: bool) -> tuple[list[tuple[Path, Path]], str]:
    """The pairs, and a sentence about the pictures left out; "" if there are none."""
    first, second = by_name(a), by_name(b)
    alone = " and ".join(
        f"{len(files)} only in {folder} ({few(files)})"
        for folder, files in (
            (a, [path for name, path in first.items() if name not in second]),
            (b, [path for name, path in second.items() if name not in first]),
        )
        if files
    )
    if alone and not skip_unmatched:
        raise UserError(
            f"pictures without a partner of the same name: {alone}; rename them, or leave them "
            "out with `translate data pair --skip-unmatched`"
        )
    pairs = [(path, second[name]) for name, path in first.items() if name in second]
    if not pairs:
        raise UserError(f"no picture of {a} has a partner of the same name in {b}")
    return pairs, alone


def by_name(folder: Path) -> dict[str, Path]:
    """Relative path without suffix -> file."""
    found: dict[str, Path] = {}
    for path in pictures(folder):
        # some systems write an umlaut as two characters
        name = normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            raise UserError(
                f"{found[name]} and {path} have one name but for the suffix: rename or remove one"
            )
        found[name] = path
    return found


def few(things: Sequence[object], comma: str = ", ") -> str:
    """The first three, and dots where there are more."""
    return comma.join(map(str, things[:3])) + (f"{comma}..." if len(things) > 3 else "")
