from collections.abc import Callable
from pathlib import Path

import pytest

from translate.data.folders import domain_names, pictures, reference_layout
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


# -------------------------------------------------------------------------- the reference's layout


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def test_two_domains_of_the_reference(tmp_path: Path) -> None:
    """Test folders are left alone."""
    root = folders(tmp_path / "horse2zebra", "trainA", "trainB", "testA", "testB", "val")
    keys = {
        "data.domains": [str(root / "trainA"), str(root / "trainB")],
        "data.names": ["horse2zebra-A", "horse2zebra-B"],
    }
    assert reference_layout(root) == keys
    folders(root, "valA")
    with pytest.raises(UserError, match="horse2zebra has only one of valA and valB"):
        reference_layout(root)
    folders(root, "valB")
    judged = {"data.validation": [str(root / "valA"), str(root / "valB")]}
    assert reference_layout(root) == keys | judged


def test_aligned_pictures_of_the_reference(tmp_path: Path) -> None:
    root = folders(tmp_path / "facades", "train", "test", "valA", "valB")
    assert reference_layout(root) == {"data.aligned": str(root / "train")}
    folders(root, "val")
    assert reference_layout(root) == {
        "data.aligned": str(root / "train"),
        "data.validation": [str(root / "val")],
    }


def test_two_domains_come_before_aligned_pictures(tmp_path: Path) -> None:
    root = folders(tmp_path / "both", "trainA", "train", "val")
    assert reference_layout(root).keys() == {"data.aligned", "data.validation"}
    folders(root, "trainB")
    assert reference_layout(root).keys() == {"data.domains", "data.names"}


def test_names_are_of_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders(tmp_path / "maps", "trainA", "trainB"))
    assert reference_layout(Path("."))["data.names"] == ["maps-A", "maps-B"]


@pytest.mark.parametrize("names", [(), ("trainA",), ("trainB", "test"), ("valA", "valB", "val")])
def test_a_folder_of_another_layout(tmp_path: Path, names: tuple[str, ...]) -> None:
    folders(tmp_path, *names)
    (tmp_path / "train").write_text("a file")
    with pytest.raises(
        UserError, match=f"{tmp_path} has neither trainA and trainB nor train: name"
    ):
        reference_layout(tmp_path)
    with pytest.raises(UserError, match="has neither"):
        reference_layout(tmp_path / "missing")
