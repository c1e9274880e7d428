from collections.abc import Callable
from pathlib import Path

import pytest

from translate.data.folders import domain_names, pictures
from translate.errors import UserError


def test_pictures_of_a_folder_and_below_in_a_fixed_order(
    tmp_path: Path, draw: Callable[..., Path]
) -> None:
    draw(tmp_path / "b", 2)
    draw(tmp_path / "a" / "deep", 1, suffix=".JPG")
    draw(tmp_path, 1, suffix=".ppm")
    (tmp_path / "notes.txt").write_text("")
    found = [path.relative_to(tmp_path).as_posix() for path in pictures(tmp_path)]
    assert found == ["00.ppm", "a/deep/00.JPG", "b/00.png", "b/01.png"]


def test_folders_without_pictures(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    with pytest.raises(UserError, match="holds no pictures"):
        pictures(tmp_path)
    file.write_text("")
    with pytest.raises(UserError, match="holds no pictures"):
        pictures(tmp_path)
    with pytest.raises(UserError, match=f"{file} is a file; a folder of pictures is needed"):
        pictures(file)
    with pytest.raises(UserError, match=f"there is no folder {tmp_path / 'missing'}"):
        pictures(tmp_path / "missing")


def test_names_are_the_folders_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert domain_names((Path("a/one/"), Path("/b/two"))) == ("one", "two")
    assert domain_names((Path("."), Path("../two/x/.."))) == ("here", "two")


def test_equal_names_are_refused_with_a_way_out() -> None:
    with pytest.raises(UserError, match=r"both domains would be called 'x'.*--names x-a x-b"):
        domain_names((Path("a/x"), Path("b/x")))
