"""Folders through the command and through ``convert`` itself, with pictures of all sorts."""

import json
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from translate.convert.folder import convert, plan
from translate.data.image import read, write
from translate.errors import TooLargeError, UserError
from translate.report import write_failures

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]

ON_CPU = ("--device", "cpu", "--precision", "fp32")


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([height, width, channels])
    limit = np.iinfo(dtype).max
    return rng.integers(0, limit, (height, width, channels), dtype, endpoint=True)


def inverted(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Stands in for a model: exact, and easy to see in the results."""
    assert len({(image.shape, image.dtype) for image in images}) == 1
    return [np.iinfo(image.dtype).max - image for image in images]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Pictures of all shapes in sub-folders, and things that are no pictures."""
    folder = tmp_path / "source"
    write(folder / "a.png", noise(17, 33))
    write(folder / "b.PNG", noise(1, 1))
    write(folder / "deep" / "er" / "a.png", noise(3, 50))
    write(folder / "deep" / "c.bmp", noise(100, 101))
    write(folder / "deep" / "grey.png", noise(20, 20, 1))
    write(folder / "deep" / "sixteen.tiff", noise(16, 12, 3, np.uint16))
    write(folder / "x y ü.png", noise(12, 9, 4))
    (folder / "notes.txt").write_text("no picture")
    write(folder / ".hidden" / "d.png", noise(8, 8))
    return folder


PICTURES = ["a.png", "b.PNG", "deep/er/a.png", "deep/c.bmp", "deep/grey.png"]
PICTURES += ["deep/sixteen.tiff", "x y ü.png"]


# ------------------------------------------------------------------------------------ whole folders


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_folders_names_formats_and_sizes_are_kept(
    source: Path, tmp_path: Path, contents: Contents, batch_size: int
) -> None:
    target, advanced = tmp_path / "target", []
    jobs, folder = plan(source, target)
    report = convert(inverted, jobs, batch_size=batch_size, done=advanced.append)
    assert folder == target
    assert (report.converted, report.already, report.failures) == (7, 0, {})
    assert sum(advanced) == 7
    assert sorted(contents(target)) == sorted(PICTURES)
    for name in PICTURES:
        before, after = read(source / name), read(target / name)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, np.iinfo(before.dtype).max - before)
    assert (target / "deep/c.bmp").read_bytes()[:2] == b"BM"


def test_with_a_model(model: Path, source: Path, tmp_path: Path, command: Command) -> None:
    target = tmp_path / "target"
    outcome = command("convert", model, source, target, *ON_CPU)
    assert outcome == (0, "7 converted from drawings to paintings\n", "")
    for name in PICTURES:
        before, after = read(source / name), read(target / name)
        assert after.shape[:2] == before.shape[:2]
        assert after.dtype == before.dtype
        assert after.shape[2] == {1: 3, 3: 3, 4: 4}[before.shape[2]]
    np.testing.assert_array_equal(
        read(target / "x y ü.png")[..., 3], read(source / "x y ü.png")[..., 3]
    )


def test_batches_change_no_byte(
    model: Path, tmp_path: Path, command: Command, contents: Contents
) -> None:
    source = tmp_path / "source"
    for number, (height, width) in enumerate([(16, 16), (20, 24), (16, 16), (5, 7), (20, 24)] * 2):
        rng = np.random.default_rng(number)
        write(source / f"{number}.png", rng.integers(0, 256, (height, width, 3), np.uint8))
    for batch_size in (1, 3, 8):
        words = (model, source, tmp_path / str(batch_size), "--batch-size", batch_size)
        assert command("convert", *words, *ON_CPU).code == 0
    alone = contents(tmp_path / "1")
    assert len(alone) == 10
    assert contents(tmp_path / "3") == alone
    assert contents(tmp_path / "8") == alone


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_picture_is_the_same_alone_and_among_seven_others(
    model: Path, tmp_path: Path, command: Command, contents: Contents, precision: str
) -> None:
    source, on_cpu = tmp_path / "source", ("--device", "cpu", "--precision", precision)
    for number in range(8):
        write(source / f"{number}.png", np.roll(noise(18, 23), number))
    together = {}
    for batch_size in (1, 3, 8):
        words = (model, source, tmp_path / str(batch_size), "--batch-size", batch_size)
        assert command("convert", *words, *on_cpu).code == 0
        together[batch_size] = contents(tmp_path / str(batch_size))
    assert together[1] == together[3] == together[8]
    assert len(set(together[8].values())) == 8
    for name, data in together[8].items():
        words = (model, source / name, tmp_path / "alone" / name)
        assert command("convert", *words, *on_cpu).code == 0
        assert (tmp_path / "alone" / name).read_bytes() == data


def test_exif_orientation_is_applied(model: Path, tmp_path: Path, command: Command) -> None:
    source, image = tmp_path / "source", noise(16, 24)
    exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"  # 6: turn right
    kinds = [cv2.IMAGE_METADATA_EXIF]
    done, data = cv2.imencodeWithMetadata(
        ".png", image[..., ::-1], kinds, [np.frombuffer(exif, np.uint8)]
    )
    assert done
    source.mkdir()
    (source / "turned.png").write_bytes(data.tobytes())
    write(source / "upright.png", np.rot90(image, -1))
    assert command("convert", model, source, tmp_path / "target", *ON_CPU).code == 0
    turned, upright = (read(tmp_path / "target" / f"{n}.png") for n in ("turned", "upright"))
    assert turned.shape == (24, 16, 3)
    np.testing.assert_array_equal(turned, upright)


def test_memory_is_bounded_however_many_shapes_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    for number in range(40):
        write(source / f"{number:02}.png", noise(4, 4 + number))
    jobs, _ = plan(source, tmp_path / "target")
    reads: list[Path] = []
    held: list[int] = []

    def counted(path: Path) -> np.ndarray:
        reads.append(path)
        return read(path)

    def translate(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        held.append(len(reads) - len(held))  # one by one, as no two are of a shape
        return list(images)

    monkeypatch.setattr("translate.convert.folder.read", counted)
    assert convert(translate, jobs, batch_size=2).converted == 40
    assert len(held) == 40
    assert 8 <= max(held) <= 16  # 4 x 2 wait, and at most as many are read ahead


# ---------------------------------------------------------------------------- broken and unfinished


def test_a_broken_picture_is_listed_and_the_rest_is_done(
    model: Path, source: Path, tmp_path: Path, command: Command
) -> None:
    target = tmp_path / "target"
    (source / "deep" / "cut.png").write_bytes((source / "a.png").read_bytes()[:40])
    (source / "empty.jpg").write_bytes(b"")
    outcome = command("convert", model, source, target, *ON_CPU)
    assert outcome.code == 1
    assert outcome.err == ""
    assert outcome.out.startswith("7 converted from drawings to paintings, 2 failed: see ")
    assert str(target / "failures.jsonl") in outcome.out
    lines = [json.loads(line) for line in (target / "failures.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [
        str(source / "deep" / "cut.png"),
        str(source / "empty.jpg"),
    ]
    assert "cut short" in lines[0]["reason"]
    assert "empty" in lines[1]["reason"]
    assert all((target / name).is_file() for name in PICTURES)

    # Mended, a second call does these two and forgets the list.
    write(source / "deep" / "cut.png", noise(9, 9))
    (source / "empty.jpg").unlink()
    outcome = command("convert", model, source, target, *ON_CPU)
    assert outcome.code == 0
    assert outcome.out.startswith("1 converted from drawings to paintings, 7 were there already")
    assert not (target / "failures.jsonl").exists()


def test_what_no_format_can_hold_is_a_failure_too(tmp_path: Path) -> None:
    """The content decides how a picture is read, but its suffix how it is written."""
    source, target = tmp_path / "source", tmp_path / "target"
    write(source / "a.png", noise(8, 8))
    (source / "b.pgm").write_bytes((source / "a.png").read_bytes())
    jobs, _ = plan(source, target)
    report = convert(inverted, jobs)
    assert report.converted == 1
    assert list(report.failures) == [str(source / "b.pgm")]
    assert "grey" in report.failures[str(source / "b.pgm")]
    assert [path.name for path in target.iterdir()] == ["a.png"]


def test_a_second_call_finishes_what_the_first_left(
    model: Path, source: Path, tmp_path: Path, command: Command, contents: Contents
) -> None:
    target = tmp_path / "target"
    command("convert", model, source, target, *ON_CPU)
    whole = contents(target)
    times = {name: (target / name).stat().st_mtime_ns for name in PICTURES}
    (target / "a.png").unlink()
    shutil.rmtree(target / "deep" / "er")
    outcome = command("convert", model, source, target, *ON_CPU)
    assert outcome.out == (
        "2 converted from drawings to paintings, 5 were there already "
        "(--overwrite does them again)\n"
    )
    assert contents(target) == whole
    again = {name: (target / name).stat().st_mtime_ns for name in PICTURES}
    assert {name for name in PICTURES if again[name] != times[name]} == {"a.png", "deep/er/a.png"}
    outcome = command("convert", model, source, target, "--overwrite", *ON_CPU)
    assert outcome.out == "7 converted from drawings to paintings\n"
    assert contents(target) == whole


@pytest.mark.skipif(sys.platform == "win32", reason="limits file sizes as POSIX does")
def test_a_full_disk_is_one_line_and_leaves_no_partial_file(
    model: Path, tmp_path: Path, contents: Contents
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source / "a.bmp", noise(8, 8))
    write(source / "b.bmp", noise(64, 64))  # 12 kB, more than the process may write
    process = subprocess.run(
        [sys.executable, "-m", "translate", "convert", model, source, target, *ON_CPU],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
    )
    assert process.returncode == 2
    assert process.stderr.count("\n") == 1
    assert process.stderr.startswith(f"error: could not write {target / 'b.bmp'}: ")
    assert set(contents(target)) <= {"a.bmp"}


def test_an_error_of_the_model_ends_the_threads_too(source: Path, tmp_path: Path) -> None:
    jobs, _ = plan(source, tmp_path / "target")
    before = threading.active_count()

    def translate(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        convert(translate, jobs)
    assert threading.active_count() == before
    assert not (tmp_path / "target").exists()


def test_the_list_of_failures_comes_and_goes(tmp_path: Path) -> None:
    assert write_failures(tmp_path / "missing", {}) is None
    path = write_failures(tmp_path, {"ü.png": "cut short"})
    assert path == tmp_path / "failures.jsonl"
    assert json.loads(path.read_text()) == {"file": "ü.png", "reason": "cut short"}
    assert write_failures(tmp_path, {}) is None
    assert not path.exists()


# ----------------------------------------------------------------------------------------- one file


def test_one_file_to_a_file_or_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jpg", noise(8, 8))
    (tmp_path / "folder.png").mkdir()
    for target, output, folder in (
        ("b.png", "b.png", "."),
        ("new/b.TIF", "new/b.TIF", "new"),
        ("new", "new/a.jpg", "new"),
        ("folder.png", "folder.png/a.jpg", "folder.png"),
    ):
        jobs, where = plan(tmp_path / "a.jpg", tmp_path / target)
        assert jobs == [(tmp_path / "a.jpg", tmp_path / output)]
        assert where == tmp_path / folder


def test_one_file_with_a_model(model: Path, tmp_path: Path, command: Command) -> None:
    write(tmp_path / "a.png", noise(10, 10))
    assert command("convert", model, tmp_path / "a.png", tmp_path / "b.jpg", *ON_CPU).code == 0
    assert (tmp_path / "b.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert read(tmp_path / "b.jpg").shape == (10, 10, 3)


# ---------------------------------------------------------------------------------- colour and grey


def test_colour_out_of_grey_formats(model: Path, tmp_path: Path, command: Command) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    write(source / "a.pgm", noise(8, 8, 1))
    write(source / "sub" / "a.PGM", noise(8, 8, 1, np.uint16))
    write(source / "b.pgm", noise(9, 9, 1))
    write(source / "b.ppm", noise(10, 10))
    write(source / "c.png", noise(8, 8, 1))
    outcome = command("convert", model, source, target, *ON_CPU)
    assert outcome == (0, "5 converted from drawings to paintings\n", "")
    shapes = {p.relative_to(target).as_posix(): read(p).shape for p in target.rglob("*.p*")}
    assert shapes == {
        "a.ppm": (8, 8, 3),
        "sub/a.ppm": (8, 8, 3),
        "b.ppm": (10, 10, 3),
        "b-pgm.ppm": (9, 9, 3),
        "c.png": (8, 8, 3),
    }
    assert read(target / "sub" / "a.ppm").dtype == np.uint16
    outcome = command("convert", model, source, target, *ON_CPU)
    assert "0 converted" in outcome.out
    assert "5 were there already" in outcome.out


def test_grey_out_of_grey_formats_keeps_its_name(tmp_path: Path) -> None:
    write(tmp_path / "source" / "a.pgm", noise(8, 8, 1))
    jobs, _ = plan(tmp_path / "source", tmp_path / "target", colour=False)
    assert jobs[0][1] == tmp_path / "target" / "a.pgm"


def test_names_for_colour_never_meet(tmp_path: Path) -> None:
    source = tmp_path / "source"
    names = ("a.pgm", "a.PGM", "a.ppm", "a-pgm.ppm")
    for name in names:
        write(source / name, noise(4, 4, 3 if name.endswith("ppm") else 1))
    jobs, _ = plan(source, tmp_path / "target", colour=True)
    outputs = [output.name for _, output in jobs]
    assert len(set(outputs)) == len(names)
    assert all(name.endswith(".ppm") for name in outputs)
    assert {"a.ppm", "a-pgm.ppm"} <= {o.name for s, o in jobs if s.name == o.name}


def test_a_grey_file_asked_for_by_name(model: Path, tmp_path: Path, mistake: Mistake) -> None:
    write(tmp_path / "a.png", noise(8, 8))
    says = ("b.pgm would hold no colour", "b.ppm")
    mistake("convert", model, tmp_path / "a.png", tmp_path / "b.pgm", *ON_CPU, says=says)
    assert not (tmp_path / "b.pgm").exists()


# ----------------------------------------------------------------------------------------- mistakes


def test_results_never_become_sources(
    model: Path, source: Path, mistake: Mistake, contents: Contents, tmp_path: Path
) -> None:
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to(source)
    for target in (source, source / "out", source / "deep" / ".." / "x", tmp_path / "link" / "out"):
        mistake("convert", model, source, target, *ON_CPU, says=(f"{target} lies in {source}",))
    one = source / "a.png"
    for target in (one, source, source / "deep" / ".." / "a.png"):
        says = ("would overwrite its own source",)
        mistake("convert", model, one, target, *ON_CPU, says=says)
    (tmp_path / "link").unlink()
    assert contents(tmp_path) == before


def test_a_target_beside_the_source_with_a_longer_name(source: Path, tmp_path: Path) -> None:
    assert len(plan(source, tmp_path / "source-2")[0]) == 7
    assert len(plan(source / "deep", source)[0]) == 4  # the other way round is nobody's loss


@pytest.mark.parametrize(
    ("what", "target", "says"),
    [
        ("missing", "target", "there is no file or folder"),
        ("source/notes.txt", "target", "is no picture: its suffix is none of"),
        ("empty", "target", "holds no pictures"),
        ("source", "source/a.png/x", "lies in"),
        ("source/deep", "source/a.png", "is a file; a folder is needed"),
    ],
)
def test_what_cannot_be_planned(
    source: Path, tmp_path: Path, what: str, target: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=says):
        plan(tmp_path / what, tmp_path / target)


def test_what_memory_does_not_hold_is_a_failure_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Pictures that fit alone but not together are done alone."""
    for name, size in {"a": 4, "b": 4, "c": 9}.items():
        write(tmp_path / "in" / f"{name}.png", np.zeros((size, size, 3), np.uint8))

    def narrow(images: Sequence[np.ndarray]) -> list[np.ndarray]:
        if len(images) > 1 or len(images[0]) > 8:
            raise TooLargeError("too large")
        return list(images)

    jobs, _ = plan(tmp_path / "in", tmp_path / "out")
    report = convert(narrow, jobs)
    assert report.converted == 2
    assert report.failures == {str(tmp_path / "in/c.png"): f"{tmp_path / 'in/c.png'}: too large"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
