import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_face import draw_face, eyes_of

from translate.data.face_detectors import Face
from translate.data.faces import crop_faces, first_faces, square
from translate.data.image import read, with_channels, write

Contents = Callable[[Path], dict[str, bytes]]
Command = Callable[..., Any]


def face(left: Sequence[float], right: Sequence[float], seen: bool = True) -> Face:
    return Face(np.array(left, float), np.array(right, float), seen)


def level(x: float, y: float, apart: float, seen: bool = True) -> Face:
    """With the middle of its eyes at (x, y)."""
    return face((x - apart / 2, y), (x + apart / 2, y), seen)


class Fake:
    """A detector that finds the same faces everywhere, and keeps what it was given."""

    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)
        self.given: list[np.ndarray] = []

    def __call__(self, picture: np.ndarray) -> list[Face]:
        self.given.append(picture)
        return self.faces


def noise(height: int, width: int, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([height, width, channels])
    return rng.integers(0, np.iinfo(kind).max, (height, width, channels), kind, endpoint=True)


def jobs_of(source: Path, target: Path) -> list[tuple[Path, Path]]:
    names = [path.relative_to(source) for path in sorted(source.rglob("*.*"))]
    return first_faces([(source / name, target / name) for name in names])


def rows(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "left-out.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize("angle", [0.0, 25.0, -140.0])
def test_the_square_is_that_of_the_paper(angle: float) -> None:
    """Karras et al. 2018, appendix C, for a mouth where 4.0 |x'| = 3.6 |y'|."""
    e0, e1 = eyes_of((70, 90), 120, angle)
    x_, y_ = e1 - e0, -4 / 3.6 * np.array([-(e1 - e0)[1], (e1 - e0)[0]])  # y': mouth to eyes
    centre, side = (e0 + e1) / 2 - 0.1 * y_, max(4 * np.hypot(*x_), 3.6 * np.hypot(*y_))
    x = x_ / np.hypot(*x_) * side / 2
    y = np.array([-x[1], x[0]])
    expected = [centre - x - y, centre + x - y, centre + x + y, centre - x + y]
    np.testing.assert_allclose(square(face(e0, e1)).corners(), expected)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.4, 0.5])
def test_eyes_and_mouth_in_the_square(share: float) -> None:
    place = square(level(200, 100, 40), share)
    assert place.side() == pytest.approx(40 / share)
    for point, expected in (
        ((180, 100), (0.5 - share / 2, 0.75 - share / 0.9)),
        ((220, 100), (0.5 + share / 2, 0.75 - share / 0.9)),
        ((200, 100 + 40 / 0.9), (0.5, 0.75)),
    ):
        shares = (np.array(point) - place.corner) / place.side()
        np.testing.assert_allclose(shares, expected)


@pytest.mark.parametrize("angle", [0.0, 15.0, -33.0])
def test_eyes_are_level_and_in_their_places(tmp_path: Path, angle: float) -> None:
    """Two dots at the eyes of a tilted face, and where they come to lie."""
    eyes = eyes_of((300, 280), 200, angle)
    down, across = np.indices((600, 600)) + 0.5
    picture = sum(np.exp(-((across - x) ** 2 + (down - y) ** 2) / 2 / 5**2) for x, y in eyes)
    write(tmp_path / "a/dots.png", np.rint(250 * np.asarray(picture))[..., None].astype(np.uint8))
    jobs, target = jobs_of(tmp_path / "a", tmp_path / "b"), tmp_path / "b"
    report = crop_faces(jobs, target, Fake(face(*eyes)), size=64)
    assert (report.converted, report.seen, report.left_out) == (1, 1, [])
    made = read(target / "dots.png")[..., 0].astype(float)
    down, across = np.indices((64, 64)) + 0.5
    for half, x in ((made * (across < 32), 24), (made * (across > 32), 40)):
        middle = [(half * axis).sum() / half.sum() for axis in (across, down)]
        np.testing.assert_allclose(middle, [x, 64 * (0.75 - 0.25 / 0.9)], atol=0.15)


# ------------------------------------------------------------------------------------------- files


def test_names_and_numbers(tmp_path: Path, contents: Contents) -> None:
    """The largest face has the picture's name; sub-folders are kept."""
    source, target = tmp_path / "a", tmp_path / "b"
    for name in ("x.png", "deep/er/y.tiff"):
        write(source / name, noise(200, 300))
    small, large, middle = level(60, 60, 10), level(100, 90, 20), level(200, 90, 15, seen=False)
    advanced: list[int] = []
    report = crop_faces(
        jobs_of(source, target),
        target,
        Fake(small, large, middle),
        size=16,
        done=advanced.append,
    )
    assert (report.converted, report.seen, report.already) == (6, 4, 0)
    assert sum(advanced) == 2
    names = ["deep/er/y-2.png", "deep/er/y-3.png", "deep/er/y.png", "x-2.png", "x-3.png", "x.png"]
    assert sorted(contents(target)) == names
    for number, one in enumerate((large, middle, small), 1):
        crop_faces([(source / "x.png", tmp_path / f"{number}.png")], tmp_path, Fake(one), size=16)
        name = "x.png" if number == 1 else f"x-{number}.png"
        np.testing.assert_array_equal(read(target / name), read(tmp_path / f"{number}.png"))


def test_the_largest_alone(tmp_path: Path, contents: Contents) -> None:
    write(tmp_path / "a/x.png", noise(200, 300))
    found = Fake(level(60, 60, 10), level(100, 90, 20))
    jobs, target = jobs_of(tmp_path / "a", tmp_path / "b"), tmp_path / "b"
    report = crop_faces(jobs, target, found, size=16, largest=True)
    assert (report.converted, report.left_out) == (1, [])
    assert list(contents(target)) == ["x.png"]


@pytest.mark.parametrize(
    ("names", "firsts"),
    [
        (["a.jpg", "b.png"], ["a.png", "b.png"]),
        (["a.jpg", "a.png", "d/a.png"], ["a.jpg.png", "a.png.png", "d/a.png"]),
        (["a.jpg", "a-2.jpg", "b-2.jpg"], ["a.png", "a-2.jpg.png", "b-2.png"]),
        (["a.jpg", "a.png", "a.jpg.png"], ["a.jpg.png", "a.png.png", "a.jpg.png.png"]),
        (["a.jpg", "a.png", "a.jpg-2.png"], ["a.jpg.png", "a.png.png", "a.jpg-2.png.png"]),
        (["a-2.jpg", "a-2.png"], ["a-2.jpg.png", "a-2.png.png"]),
    ],
)
def test_no_two_names_meet(names: list[str], firsts: list[str]) -> None:
    jobs = first_faces([(Path("in") / name, Path("out") / name) for name in names])
    assert jobs == [
        (Path("in") / name, Path("out") / first) for name, first in zip(names, firsts, strict=True)
    ]
    every = [name for first in firsts for name in (first, f"{first[:-4]}-2.png")]
    assert len({*every}) == len(every)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depth_and_channels_stay(tmp_path: Path, channels: int, kind: type) -> None:
    """A detector is given RGB of 8 bits, on white; what is cut is the picture as it was."""
    picture = noise(64, 64, channels, kind)
    if channels == 4:
        picture[..., 3] = np.iinfo(kind).max
        picture[:8, :, 3] = 0
    write(tmp_path / "a/x.tiff", picture)
    fake, jobs = Fake(level(32, 64 * (0.75 - 0.25 / 0.9), 16)), jobs_of(tmp_path / "a", tmp_path)
    crop_faces(jobs, tmp_path, fake, size=64)
    made = read(tmp_path / "x.png")
    assert made.dtype == picture.dtype
    visible = slice(8 if channels == 4 else 0, None)
    np.testing.assert_array_equal(made[visible], picture[visible])
    np.testing.assert_array_equal(made[..., 3:], picture[..., 3:])
    (given,) = fake.given
    eight = with_channels(picture, 3) / (np.iinfo(kind).max // 255)
    assert (given.dtype, given.shape) == (np.uint8, (64, 64, 3))
    assert np.abs(given - eight).max() <= 1
    assert channels < 4 or (given[:8] == 255).all()


def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    (tmp_path / "a").mkdir()
    _, data = cv2.imencodeWithMetadata(
        ".webp",
        noise(40, 60),
        [cv2.IMAGE_METADATA_EXIF],
        [np.frombuffer(block, np.uint8)],
        [cv2.IMWRITE_WEBP_QUALITY, 101],
    )
    (tmp_path / "a/x.webp").write_bytes(data.tobytes())
    fake = Fake()
    crop_faces(jobs_of(tmp_path / "a", tmp_path / "b"), tmp_path / "b", fake, size=16)
    assert fake.given[0].shape == (60, 40, 3)


# ---------------------------------------------------------------------------------------- left out


def test_what_is_left_out_and_why(tmp_path: Path, contents: Contents) -> None:
    """The square of eyes 16 apart is 64 wide; 16 of them are beyond the left edge at x = 16."""
    write(tmp_path / "a/x.png", noise(200, 300))
    jobs, target = jobs_of(tmp_path / "a", tmp_path / "b"), tmp_path / "b"
    small, fine = level(200, 100, 15.75), level(250, 100, 16)
    found = Fake(small, level(15.5, 100, 16), fine, level(16.25, 100, 16))
    report = crop_faces(jobs, target, found, size=16, smallest=64, beyond=0.25)
    assert report.converted == 2
    assert sorted(contents(target)) == ["left-out.jsonl", "x-2.png", "x.png"]
    file = str(tmp_path / "a/x.png")
    assert rows(target) == [
        {
            "file": file,
            "reason": "too near the edge",
            "detail": "26% of its square lie beyond the picture, over 25%",
        },
        {"file": file, "reason": "too small", "detail": "63 pixels across, under 64"},
    ]


def test_no_face_and_no_picture(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    write(source / "x.png", noise(20, 30))
    (source / "y.png").write_bytes((source / "x.png").read_bytes()[:60])
    report = crop_faces(jobs_of(source, target), target, Fake(), size=16)
    assert report.converted == 0
    assert list(report.failures) == [str(source / "y.png")]
    assert rows(target) == [
        {"file": str(source / "x.png"), "reason": "no face found", "detail": ""}
    ]


# ------------------------------------------------------------------------------------- second calls


def test_a_second_call_finishes_what_the_first_left(
    tmp_path: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between two faces of a picture: that picture does not count as done."""
    source, target = tmp_path / "a", tmp_path / "b"
    for name in ("x.png", "y.png", "z.png"):
        write(source / name, noise(100, 150))
    found = Fake(level(60, 60, 10), level(90, 50, 12), level(2, 2, 8))
    jobs = jobs_of(source, target)

    def killed(path: Path, image: np.ndarray) -> None:
        if path.name == "y.png":
            raise KeyboardInterrupt
        write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr("translate.data.faces.write", killed)
        with pytest.raises(KeyboardInterrupt):
            crop_faces(jobs, target, found, size=16)
    before = contents(target)
    left_out = {row["file"] for row in rows(target)}
    assert left_out == {str(source / name) for name in before if name in ("x.png", "z.png")}
    assert {"x.png", "x-2.png", "y-2.png"} <= before.keys()
    assert "y.png" not in before
    seen = Fake(*found.faces)
    report = crop_faces(jobs, target, seen, size=16)
    assert report.already == 3 - len(seen.given) > 0
    after = contents(target)
    assert {name: after[name] for name in before if name != "left-out.jsonl"} == {
        name: data for name, data in before.items() if name != "left-out.jsonl"
    }
    names = [f"{name}{more}.png" for name in "xyz" for more in ("-2", "")]
    assert sorted(after) == ["left-out.jsonl", *names]
    every = [str(source / f"{name}.png") for name in "xyz"]
    assert sorted(row["file"] for row in rows(target)) == every


def test_lines_go_with_what_they_said(tmp_path: Path) -> None:
    """Now there is a face: nothing is left out any more, and the list goes."""
    source, target = tmp_path / "a", tmp_path / "b"
    write(source / "x.png", noise(100, 150))
    jobs = jobs_of(source, target)
    crop_faces(jobs, target, Fake(), size=16)
    assert len(rows(target)) == 1
    crop_faces(jobs, target, Fake(level(60, 60, 10)), size=16)
    assert [path.name for path in target.iterdir()] == ["x.png"]


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    write(source / "x.png", noise(100, 150))
    write(source / "y.png", noise(100, 150))
    for name in ("x.png", "y-2.png"):
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text("mine")
    found = Fake(level(60, 60, 10), level(90, 50, 12))
    report = crop_faces(jobs_of(source, target), target, found, size=16)
    assert (report.already, len(found.given)) == (1, 1)
    assert sorted(path.name for path in target.iterdir()) == ["x.png", "y-2.png", "y.png"]
    assert (target / "x.png").read_text() == (target / "y-2.png").read_text() == "mine"


# ----------------------------------------------------------------------------------------- command


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """One face; one that is small and one that fills its picture; none; no picture."""
    folder = tmp_path / "people"
    whole, small = ((150.0, 150.0), 100.0, 12.0), ((80.0, 80.0), 40.0, 0.0)
    write(folder / "one.png", draw_face(300, 300, whole)[..., None])
    write(folder / "deep/small.png", draw_face(160, 160, small)[..., None])
    tight = (30.0, 34.0), 66.0, 0.0
    write(folder / "deep/tight.png", draw_face(68, 60, tight)[..., None])
    write(folder / "none.png", noise(64, 64))
    (folder / "cut.png").write_bytes((folder / "none.png").read_bytes()[:99])
    return folder


def test_the_command(people: Path, tmp_path: Path, command: Command, contents: Contents) -> None:
    target = tmp_path / "faces"
    words = ("data", "faces", people, target, "--size", 64, "--smallest", 65)
    code, out, err = command(*words)
    assert (code, err) == (1, "")
    first, advice, second = out.splitlines()
    assert advice.startswith("too near the edge: --eyes 0.4 --beyond 0.25 ")
    assert first.startswith("left out: 1 ")
    for reason in ("1 too small", "1 too near the edge", "1 no face found"):
        assert reason in first
    assert first.endswith(f": see {target / 'left-out.jsonl'}")
    failed = target / "failures.jsonl"
    assert second == f"1 faces written, 1 of them level by their eyes, 1 failed: see {failed}"
    assert sorted(contents(target)) == ["failures.jsonl", "left-out.jsonl", "one.png"]
    assert read(target / "one.png").shape == (64, 64, 1)
    _, out, _ = command(*words[:6], "--eyes", 0.4, "--beyond", 0.5)
    assert out.startswith("1 of 5 pictures were done already and stay as they are")
    assert {"deep/small.png", "deep/tight.png"} <= contents(target).keys()


def test_a_face_through_the_command_lies_where_it_should(
    people: Path, tmp_path: Path, command: Command
) -> None:
    """The tilted face, cut out and level, is the face drawn upright at that place."""
    target = tmp_path / "faces"
    command("data", "faces", people / "one.png", target, "--size", 128, "--eyes", 0.3)
    eyes_at, apart = 128 * (0.75 - 0.3 / 0.9), 128 * 0.3
    breadth = apart / 0.39
    upright = draw_face(128, 128, ((64, eyes_at + 0.11 * breadth), breadth, 0.0))
    off = np.abs(read(target / "one.png")[..., 0].astype(float) - upright)
    assert off.mean() < 3


def test_what_the_command_refuses(
    people: Path, tmp_path: Path, mistake: Callable[..., str]
) -> None:
    words = "data", "faces", people
    mistake(*words, people / "faces", says=("lies in", "results would become sources"))
    mistake("data", "faces", people / "one.png", tmp_path / "face.png", says=("a folder",))
    mistake(*words, tmp_path / "b", "--detector", tmp_path / "x.xml", says=("x.xml", "YuNet"))
    mistake("data", "faces", tmp_path / "no", tmp_path / "b", says=("no file or folder",))
    assert not (tmp_path / "b").exists()
