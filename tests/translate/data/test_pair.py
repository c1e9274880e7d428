import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from translate.data.image import read, with_channels, write
from translate.data.matching import match
from translate.data.pair import Pair, divide, shares_of
from translate.errors import UserError

Files = dict[str, np.ndarray]
EIGHT, SIXTEEN = np.dtype(np.uint8), np.dtype(np.uint16)


def noise(
    seed: int, channels: int = 3, kind: np.dtype = EIGHT, height: int = 5, width: int = 7
) -> np.ndarray:
    top = int(np.iinfo(kind).max)
    rng = np.random.default_rng(seed)
    return rng.integers(0, top + 1, (height, width, channels), kind, endpoint=False)


def fill(folder: Path, files: Files) -> Path:
    for name, image in files.items():
        write(folder / name, image)
    return folder


def stored(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): read(path) for path in sorted(folder.rglob("*.png"))
    }


def as_kind(image: np.ndarray, channels: int, kind: np.dtype) -> np.ndarray:
    """In 16 bits, 255 is 65535: times 257."""
    image = with_channels(image, channels)
    return image if image.dtype == kind else image.astype(np.uint16) * np.uint16(257)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """Four pairs, one of them in a sub-folder; no two pictures are equal."""
    names = ("00", "01", "deep/02", "deep/er/03.x")
    a = fill(tmp_path / "a", {f"{name}.png": noise(i) for i, name in enumerate(names)})
    b = fill(tmp_path / "b", {f"{name}.tif": noise(i + 9) for i, name in enumerate(names)})
    return a, b


# ------------------------------------------------------------------------------------- pixels


@pytest.mark.parametrize(
    ("left", "right", "channels", "kind"),
    [
        ((1, EIGHT), (1, EIGHT), 1, EIGHT),
        ((3, EIGHT), (3, EIGHT), 3, EIGHT),
        ((1, EIGHT), (3, EIGHT), 3, EIGHT),
        ((4, EIGHT), (3, EIGHT), 4, EIGHT),
        ((1, EIGHT), (4, EIGHT), 4, EIGHT),
        ((1, SIXTEEN), (1, SIXTEEN), 1, SIXTEEN),
        ((3, EIGHT), (3, SIXTEEN), 3, SIXTEEN),
        ((1, SIXTEEN), (3, EIGHT), 3, SIXTEEN),
        ((4, SIXTEEN), (1, EIGHT), 4, SIXTEEN),
    ],
)
def test_there_and_back_again(
    tmp_path: Path,
    left: tuple[int, np.dtype],
    right: tuple[int, np.dtype],
    channels: int,
    kind: np.dtype,
    command: Callable[..., Any],
) -> None:
    first, second = noise(0, *left), noise(1, *right)
    a = fill(tmp_path / "a", {"deep/x.y.png": first})
    b = fill(tmp_path / "b", {"deep/x.y.png": second})
    done = (0, "1 pairs written\n", "")
    assert command("data", "pair", a, b, tmp_path / "ab") == done
    (joined,) = stored(tmp_path / "ab").values()
    assert (joined.shape, joined.dtype) == ((5, 14, channels), kind)
    assert command("data", "pair", tmp_path / "ab", tmp_path / "cut") == (
        0,
        "1 pairs written\n",
        "",
    )
    halves = stored(tmp_path / "cut")
    assert list(halves) == ["left/deep/x.y.png", "right/deep/x.y.png"]
    for half, image in zip(halves.values(), (first, second), strict=True):
        assert half.dtype == kind
        np.testing.assert_array_equal(half, as_kind(image, channels, kind))


def test_the_left_half_is_of_the_first_folder(
    two: tuple[Path, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    assert command("data", "pair", *two, tmp_path / "ab").code == 0
    made = stored(tmp_path / "ab")
    assert list(made) == ["00.png", "01.png", "deep/02.png", "deep/er/03.x.png"]
    for image, (left, right) in zip(made.values(), match(*two), strict=True):
        np.testing.assert_array_equal(image[:, :7], read(left))
        np.testing.assert_array_equal(image[:, 7:], read(right))


def test_eight_bits_become_sixteen_from_black_to_white(
    tmp_path: Path, command: Callable[..., Any]
) -> None:
    a = fill(tmp_path / "a", {"x.png": np.array([[[0], [1], [255]]], np.uint8)})
    b = fill(tmp_path / "b", {"x.png": np.array([[[7], [8], [9]]], np.uint16)})
    assert command("data", "pair", a, b, tmp_path / "ab").code == 0
    made = read(tmp_path / "ab/x.png")
    assert made.dtype == np.uint16
    assert made.ravel().tolist() == [0, 257, 65535, 7, 8, 9]


def test_halves_go_to_the_folders_that_are_named(
    tmp_path: Path, command: Callable[..., Any]
) -> None:
    image = noise(0, width=8)
    aligned = fill(tmp_path / "ab", {"x.png": image})
    words = ("data", "pair", aligned, tmp_path / "cut", "--names", "map", "photo")
    assert command(*words).code == 0
    halves = stored(tmp_path / "cut")
    assert list(halves) == ["map/x.png", "photo/x.png"]
    np.testing.assert_array_equal(halves["map/x.png"], image[:, :4])
    np.testing.assert_array_equal(halves["photo/x.png"], image[:, 4:])


def turned(image: np.ndarray) -> bytes:
    """A JPEG of this grey picture [H, W] that is to be shown turned by 90 degrees, EXIF's 6."""
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    data: bytes = cv2.imencode(".jpg", image)[1].tobytes()
    return data[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block + data[2:]


def test_pictures_are_upright_before_their_sizes_are_compared(
    tmp_path: Path, command: Callable[..., Any], mistake: Callable[..., str]
) -> None:
    a = fill(tmp_path / "a", {"x.png": noise(0, 1, height=9, width=6)})
    b = tmp_path / "b"
    b.mkdir()
    (b / "x.jpg").write_bytes(turned(np.zeros((6, 9), np.uint8)))
    assert command("data", "pair", a, b, tmp_path / "ab").code == 0
    assert read(tmp_path / "ab/x.png").shape == (9, 12, 1)
    (b / "x.jpg").write_bytes(turned(np.zeros((9, 6), np.uint8)))
    says = (f"{a}/x.png is 6 x 9, {b}/x.jpg 9 x 6",)
    mistake("data", "pair", a, b, tmp_path / "no", says=says)


# ------------------------------------------------------------------------------------- splits


def some_digests(seed: int, count: int, pictures: int) -> dict[Pair, tuple[bytes, bytes]]:
    """Pairs of some of so many pictures: the fewer, the more pairs share one."""
    drawn = np.random.default_rng(seed).integers(0, pictures, (count, 2))
    return {Pair(f"{i:03}", ()): (bytes([a]), bytes([b])) for i, (a, b) in enumerate(drawn)}


SHARES = {"train": 0.7, "val": 0.2, "test": 0.1}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("pictures", [20, 60, 250])
def test_no_picture_is_in_two_splits(seed: int, pictures: int) -> None:
    digests = some_digests(seed, 60, pictures)
    places, tied = divide(digests, SHARES, seed)
    assert set(places) == set(digests)
    homes: dict[bytes, set[str]] = {}
    for pair, folder in places.items():
        for digest in digests[pair]:
            homes.setdefault(digest, set()).add(folder)
    assert {len(folders) for folders in homes.values()} == {1}
    uses = Counter(digest for both in digests.values() for digest in set(both))
    assert tied == sum(any(uses[digest] > 1 for digest in both) for both in digests.values())


def test_pairs_are_tied_through_others_and_across_sides() -> None:
    a, b, c, d, e = (bytes([i]) for i in range(5))
    chain = {Pair("0", ()): (a, b), Pair("1", ()): (c, d), Pair("2", ()): (b, c)}
    for seed in range(8):
        places, tied = divide({**chain, Pair("3", ()): (e, e)}, {"train": 0.5, "val": 0.5}, seed)
        assert len({places[pair] for pair in chain}) == 1
        assert places[Pair("3", ())] not in {places[pair] for pair in chain}
        assert tied == 3


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (10, (0.8, 0.1, 0.1), {"train": 8, "val": 1, "test": 1}),
        (100, (0.7, 0.2, 0.1), {"train": 70, "val": 20, "test": 10}),
        (7, (0.5, None, 0.5), {"train": 4, "test": 3}),
        (3, (None, 0.1, None), {"train": 3}),
        (11, (None, 0.3, 0.2), {"train": 6, "val": 3, "test": 2}),
        (5, (1.0, None, None), {"train": 5}),
        (4, (0.0, 0.5, 0.5), {"val": 2, "test": 2}),
        (5, (None, None, None), {"": 5}),
    ],
)
def test_single_pairs_meet_the_shares(
    count: int, shares: tuple[float | None, ...], expected: dict[str, int]
) -> None:
    single = {Pair(str(i), ()): (bytes([i]), bytes([i, i])) for i in range(count)}
    for seed in range(4):
        places, tied = divide(single, shares_of(*shares), seed)
        assert (Counter(places.values()), tied) == (expected, 0)


def test_a_large_group_goes_where_it_fits_best() -> None:
    """5 of 10 pairs are tied: in train they leave 3 places, 1 each for the others."""
    digests = {Pair(str(i), ()): (bytes([i]), bytes([99 if i < 5 else i])) for i in range(10)}
    for seed in range(4):
        places, tied = divide(digests, {"val": 0.1, "train": 0.8, "test": 0.1}, seed)
        assert {places[Pair(str(i), ())] for i in range(5)} == {"train"}
        assert Counter(places.values()) == {"train": 8, "val": 1, "test": 1}
        assert tied == 5


def test_the_split_is_a_function_of_the_pairs_and_the_seed() -> None:
    digests = some_digests(0, 60, 100)
    backwards = dict(reversed(digests.items()))
    splits = []
    for seed in range(5):
        places = divide(digests, SHARES, seed).places
        assert divide(backwards, SHARES, seed).places == places
        splits.append(tuple(places[pair] for pair in sorted(places)))
    assert len(set(splits)) == 5


def test_every_pair_can_be_held_out() -> None:
    single = {Pair(str(i), ()): (bytes([i]), bytes([i, i])) for i in range(5)}
    held = {
        pair.name
        for seed in range(40)
        for pair, folder in divide(single, {"train": 0.8, "val": 0.2}, seed).places.items()
        if folder == "val"
    }
    assert held == set("01234")


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, None), (None, 0.7, 0.4), (0.9, 0.1, 0.1), (float("nan"), None, None)]
)
def test_shares_that_do_not_sum_to_one(shares: tuple[float | None, ...]) -> None:
    with pytest.raises(UserError, match="must be 0 or more and sum to 1, not train"):
        shares_of(*shares)


def test_shares_that_sum_to_one_but_for_rounding() -> None:
    assert list(shares_of(0.8, 0.1, 0.1)) == ["train", "val", "test"]
    assert list(shares_of(None, 0.9, 0.1)) == ["val", "test"]


def test_a_split_on_disk(
    tmp_path: Path, command: Callable[..., Any], contents: Callable[[Path], dict[str, bytes]]
) -> None:
    """20 pairs; four of them show one photo, stored as grey, as colour, in 16 bits, on either side.

    The same split again, whatever order the files were made in, and when the files are cut.
    """
    shared = noise(0, 1)
    alike = {2: shared, 5: with_channels(shared, 3), 11: as_kind(shared, 1, SIXTEEN)}
    rights = {i: noise(100 + i) for i in range(20)} | {17: with_channels(shared, 4)}
    folders = []
    for run, order in (("one", range(20)), ("two", range(19, -1, -1))):
        a, b = tmp_path / run / "a", tmp_path / run / "b"
        for i in order:
            write(a / f"{i:02}.png", alike.get(i, noise(i + 1)))
            write(b / f"{i:02}.png", rights[i])
        shares = ("--train", 0.6, "--validation", 0.2, "--test", 0.2)
        words = ("data", "pair", a, b, tmp_path / run / "ab", *shares, "--seed", 3)
        assert command(*words) == (
            0,
            "train 12, val 4, test 4\n"
            "4 pairs share a picture with another pair and stay with it\n"
            "20 pairs written\n",
            "",
        )
        folders.append(contents(tmp_path / run / "ab"))
    assert folders[0] == folders[1]
    assert Counter(name.split("/")[0] for name in folders[0]) == {"train": 12, "val": 4, "test": 4}
    home = {name.split("/")[1]: name.split("/")[0] for name in folders[0]}
    assert len(home) == 20
    assert len({home[f"{i:02}.png"] for i in (2, 5, 11, 17)}) == 1
    assert command("data", "pair", a, b, tmp_path / "whole") == (0, "20 pairs written\n", "")
    cut = command("data", "pair", tmp_path / "whole", tmp_path / "cut", *shares, "--seed", 3)
    assert cut.code == 0
    assert set(stored(tmp_path / "cut")) == {
        f"{folder}/{half}/{name}" for name, folder in home.items() for half in ("left", "right")
    }


# ------------------------------------------------------------------------------------- failures


def test_pictures_that_cannot_be_read_are_listed_and_the_others_go_on(
    two: tuple[Path, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    a, b = two
    for path in (a / "00.png", b / "00.tif", b / "deep/02.tif"):
        path.write_bytes(b"")
    target = tmp_path / "ab"
    assert command("data", "pair", a, b, target) == (
        1,
        f"2 pairs written, 3 failed: see {target / 'failures.jsonl'}\n",
        "",
    )
    listed = [json.loads(line) for line in (target / "failures.jsonl").read_text().splitlines()]
    assert listed == [
        {"file": str(path), "reason": f"{path}: empty"}
        for path in (a / "00.png", b / "00.tif", b / "deep/02.tif")
    ]
    assert list(stored(target)) == ["01.png", "deep/er/03.x.png"]


def test_an_odd_width_has_no_halves(tmp_path: Path, command: Callable[..., Any]) -> None:
    aligned = fill(tmp_path / "ab", {"x.png": noise(0), "y.png": noise(0, width=2)})
    assert command("data", "pair", aligned, tmp_path / "cut", "--test", 1).code == 1
    (line,) = (tmp_path / "cut/failures.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "file": str(aligned / "x.png"),
        "reason": f"{aligned / 'x.png'}: 7 pixels wide, an odd number: no two halves",
    }
    assert list(stored(tmp_path / "cut")) == ["test/left/y.png", "test/right/y.png"]


def test_only_failures(tmp_path: Path, command: Callable[..., Any]) -> None:
    aligned, target = fill(tmp_path / "ab", {"x.png": noise(0)}), tmp_path / "cut"
    assert command("data", "pair", aligned, target, "--validation", 0.5) == (
        1,
        f"train 0, val 0\n0 pairs written, 1 failed: see {target / 'failures.jsonl'}\n",
        "",
    )


def test_what_cannot_be_written_is_listed(tmp_path: Path, command: Callable[..., Any]) -> None:
    """A PNG is at most a million pixels wide, a TIFF is not."""
    long = np.zeros((1, 600_000, 1), np.uint8)
    a = fill(tmp_path / "a", {"x.png": long, "y.png": noise(0)})
    b = fill(tmp_path / "b", {"x.png": long, "y.png": noise(1)})
    assert command("data", "pair", a, b, tmp_path / "ab").code == 1
    (line,) = (tmp_path / "ab/failures.jsonl").read_text().splitlines()
    assert json.loads(line)["file"] == str(a / "x.png")
    assert "x is not written: cannot write (1, 1200000, 1)" in json.loads(line)["reason"]
    assert list(stored(tmp_path / "ab")) == ["y.png"]


def test_left_out_pictures_are_reported(
    two: tuple[Path, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    a, b = two
    (b / "01.tif").unlink()
    assert command("data", "pair", a, b, tmp_path / "ab", "--skip-unmatched") == (
        0,
        f"left out: 1 only in {a} ({a}/01.png)\n3 pairs written\n",
        "",
    )


# ------------------------------------------------------------------------------------- refusals


def test_refusals_write_nothing(
    two: tuple[Path, Path],
    tmp_path: Path,
    mistake: Callable[..., str],
    contents: Callable[[Path], dict[str, bytes]],
) -> None:
    a, b = two
    write(tmp_path / "c/00.png", noise(0))
    write(tmp_path / "d/00.png", noise(0, width=8))
    write(tmp_path / "e/00.png", noise(0))
    write(tmp_path / "e/00.jpg", noise(0))
    (tmp_path / "file").write_text("")
    os.symlink(a, tmp_path / "link")
    before = contents(tmp_path)
    c, d, e, new = (tmp_path / name for name in ("c", "d", "e", "new"))
    pair = ("data", "pair")
    mistake(*pair, a, c, new, says=("3 only in", "01.png", "--skip-unmatched"))
    says = (f"1 of 1 pairs differ in size ({c}/00.png is 7 x 5, {d}/00.png 8 x 5):",)
    mistake(*pair, c, d, new, says=says)
    mistake(*pair, a, d, new, "--skip-unmatched", says=("1 of 1 pairs differ in size",))
    mistake(*pair, e, c, new, says=("00.jpg and", "00.png have one name"))
    mistake(*pair, e, new, says=("00.jpg and", "00.png have one name"))
    mistake(*pair, tmp_path / "missing", b, new, says=("there is no folder",))
    mistake(*pair, a, b, c, says=(f"{c} is there and not an empty folder",))
    mistake(*pair, a, b, says=(f"{b} is there and not an empty folder: the last path is",))
    mistake(*pair, a, b, tmp_path / "file", says=("file is there and not an empty folder",))
    mistake(*pair, a, b, b / "new", says=(f"{b / 'new'} lies in {b}: name a new folder",))
    mistake(*pair, a, b, tmp_path / "link/new", says=(f"lies in {a}",))
    mistake(*pair, a, a, says=(f"lies in {a}",))
    mistake(*pair, a, b, new, "--train", 0.5, says=("sum to 1, not train 0.5, val 0, test 0",))
    mistake(*pair, a, new, "--names", "x", "x", says=("must be two names of folders",))
    mistake(*pair, a, new, "--names", "x/y", "z", says=("must be two names of folders",))
    mistake(*pair, a, new, "--names", "x", "..", says=("must be two names of folders",))
    assert contents(tmp_path) == before
    assert not new.exists()


def test_an_empty_folder_is_new(
    two: tuple[Path, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    (tmp_path / "empty").mkdir()
    assert command("data", "pair", *two, tmp_path / "empty").code == 0
    assert len(stored(tmp_path / "empty")) == 4
