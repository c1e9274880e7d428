from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.check import inspect
from translate.data.image import write


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    write(folder / "a.png", noise(20, 30))
    write(folder / "b.png", noise(20, 30, seed=1))
    write(folder / "c.bmp", noise(20, 30))  # the pixels of a
    write(folder / "d.png", noise(8, 9, 1))
    write(folder / "e.png", noise(40, 6, 4).astype(np.uint16) * 257)
    write(folder / "f.png", np.full((20, 30, 3), 7, np.uint8))
    (folder / "g.png").write_bytes((folder / "a.png").read_bytes()[:50])
    return folder


def test_what_is_found(mixed: Path) -> None:
    steps: list[None] = []
    found = inspect(sorted(mixed.iterdir()), 16, lambda: steps.append(None))
    assert len(steps) == found.total == 7
    assert found.kinds == {
        "colour, 8 bits": 4,
        "grey, 8 bits": 1,
        "colour with alpha, 16 bits": 1,
    }
    assert found.sizes == {(20, 30): 4, (8, 9): 1, (40, 6): 1}
    assert list(found.broken) == [str(mixed / "g.png")]
    assert found.twins == {str(mixed / "c.bmp"): str(mixed / "a.png")}
    assert found.blank == [str(mixed / "f.png")]


def test_equal_bytes_of_another_shape_are_another_picture(tmp_path: Path) -> None:
    image = noise(4, 6)
    write(tmp_path / "a.png", image)
    write(tmp_path / "b.png", image.reshape(6, 4, 3))
    assert inspect([tmp_path / "a.png", tmp_path / "b.png"], 4).twins == {}


def test_the_report(mixed: Path, command: Callable[..., Any]) -> None:
    outcome = command("data", "check", mixed, "--size", 16)
    assert outcome.code == 1
    assert outcome.err == ""
    assert outcome.out.splitlines() == [
        f"{mixed}: 7 pictures, 1 of them cannot be read",
        f"{mixed}: broken: {mixed / 'g.png'}: cut short",
        f"{mixed}: 4 colour, 8 bits, 1 grey, 8 bits, 1 colour with alpha, 16 bits",
        f"{mixed}: 4 of 30 x 20 pixels, 2 other sizes from 6 x 8 to 30 x 40",
        f"{mixed}: 2 are smaller than 16 pixels and would be enlarged",
        f"{mixed}: the same pixels twice: {mixed / 'c.bmp'} and {mixed / 'a.png'}",
        f"{mixed}: one colour only: {mixed / 'f.png'}",
    ]


def test_a_folder_in_order(
    tmp_path: Path, draw: Callable[..., Path], command: Callable[..., Any]
) -> None:
    folder = draw(tmp_path / "a", 3)
    outcome = command("data", "check", folder, "--size", 16)
    assert outcome == (
        0,
        f"{folder}: 3 pictures, 0 of them cannot be read\n"
        f"{folder}: 3 colour, 8 bits\n"
        f"{folder}: 3 of 20 x 20 pixels\n",
        "",
    )


def test_several_folders_and_only_broken_pictures(
    tmp_path: Path, draw: Callable[..., Path], command: Callable[..., Any]
) -> None:
    good, bad = draw(tmp_path / "a", 1), tmp_path / "b"
    bad.mkdir()
    (bad / "x.png").write_bytes(b"")
    outcome = command("data", "check", good, bad)
    assert outcome.code == 1
    assert f"{good}: 1 are smaller than 256 pixels and would be enlarged" in outcome.out
    assert outcome.out.endswith(
        f"{bad}: 1 pictures, 1 of them cannot be read\n{bad}: broken: {bad / 'x.png'}: empty\n"
    )


def test_a_missing_folder(tmp_path: Path, mistake: Callable[..., str]) -> None:
    mistake("data", "check", tmp_path / "missing", says=("there is no folder",))


def test_pairs_are_checked_as_training_would(
    tmp_path: Path, draw: Callable[..., Path], command: Callable[..., Any], mistake: Any
) -> None:
    a, b = draw(tmp_path / "a", 3), draw(tmp_path / "b", 3)
    assert command("data", "check", a, b, "--paired").out.startswith("3 pairs\n")
    mistake("data", "check", a, "--paired", says=("two folders, not 1",))
    (b / "01.png").unlink()
    mistake("data", "check", a, b, "--paired", says=("1 only in", "01.png"))
