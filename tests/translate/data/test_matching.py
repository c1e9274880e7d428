from pathlib import Path

import pytest

from translate.data.matching import match
from translate.errors import UserError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    names = ("00", "01", "deep/02", "deep/er/03.x")
    return (
        touch(tmp_path / "a", *(f"{name}.png" for name in names)),
        touch(tmp_path / "b", *(f"{name}.tif" for name in names)),
    )


def test_pictures_of_one_path_but_for_the_suffix_are_a_pair(two: tuple[Path, Path]) -> None:
    a, b = two
    assert [(x.relative_to(a).as_posix(), y.relative_to(b).as_posix()) for x, y in match(a, b)] == [
        ("00.png", "00.tif"),
        ("01.png", "01.tif"),
        ("deep/02.png", "deep/02.tif"),
        ("deep/er/03.x.png", "deep/er/03.x.tif"),
    ]


def test_pictures_without_a_partner(tmp_path: Path) -> None:
    a = touch(tmp_path / "a", *(f"{name}.png" for name in ("both", "1", "2", "3", "4")))
    b = touch(tmp_path / "b", "both.bmp", "deep/1.png")
    with pytest.raises(UserError) as raised:
        match(a, b)
    message = str(raised.value)
    assert f"4 only in {a} ({a}/1.png, {a}/2.png, {a}/3.png, ...)" in message
    assert f"1 only in {b} ({b}/deep/1.png)" in message
    assert match(a, b, skip_unmatched=True) == [(a / "both.png", b / "both.bmp")]


def test_pictures_of_one_side_without_a_partner(two: tuple[Path, Path]) -> None:
    a, b = two
    (b / "01.tif").unlink()
    with pytest.raises(UserError) as raised:
        match(a, b)
    assert f"1 only in {a} ({a}/01.png);" in str(raised.value)
    assert f"only in {b}" not in str(raised.value)


def test_nothing_is_left_when_no_picture_has_a_partner(tmp_path: Path) -> None:
    a, b = touch(tmp_path / "a", "x.png"), touch(tmp_path / "b", "y.png")
    with pytest.raises(UserError, match=f"no picture of {a} has a partner .* in {b}"):
        match(a, b, skip_unmatched=True)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("skip", [False, True])
def test_two_pictures_of_one_name_in_a_folder(
    two: tuple[Path, Path], side: int, skip: bool
) -> None:
    touch(two[side], "deep/02.jpg")
    with pytest.raises(UserError, match=r"deep/02\.jpg and .*deep/02\.(png|tif) have one name"):
        match(*two, skip_unmatched=skip)
