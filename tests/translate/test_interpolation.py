"""Ways between random codes and between real pictures: what each step shows, and the files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_models import cells, near, save_tiny

from translate.codes import Coder
from translate.data.image import read
from translate.interpolation import Stops, rows_of, save
from translate.sampler import Sampler

Command = Callable[..., Any]
Mistake = Callable[..., str]
Models = Callable[..., Path]

CPU = torch.device("cpu")
ON_CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ways")


@pytest.fixture(scope="module")
def pictures(shelf: Path, draw: Callable[..., Path]) -> list[Path]:
    return sorted(draw(shelf / "pictures", 3).iterdir())


@pytest.fixture(scope="module")
def models(shelf: Path, pictures: list[Path]) -> Models:
    def saved(system: str) -> Path:
        path = shelf / f"{system}.safetensors"
        if not path.exists():
            folder = None if system == "gan points" else pictures[0].parent
            save_tiny(path, system, folder)
        return path

    return saved


@pytest.fixture
def strip(command: Command, tmp_path: Path) -> Callable[..., list[list[np.ndarray]]]:
    """``interpolate`` to a strip, and its pictures of 16 x 16, row by row."""

    def run(model: Path, *words: object) -> list[list[np.ndarray]]:
        out = tmp_path / f"strip-{len(list(tmp_path.iterdir()))}.png"
        outcome = command("interpolate", model, *words, "--out", out, *ON_CPU)
        assert (outcome.code, outcome.err) == (0, "")
        found = cells(out)
        assert outcome.out == f"{sum(map(len, found))} pictures: {out}\n"
        return found

    return run


# ------------------------------------------------------------------------------------- random codes


@pytest.mark.parametrize("system", ["gan", "began", "ogan mapping"])
def test_stops_are_the_pictures_that_sample_draws(
    models: Models, strip: Callable[..., list[list[np.ndarray]]], system: str
) -> None:
    rows = strip(models(system), "--between", 3, "--steps", 2, "--seed", 5)
    first, second, third = Sampler(models(system), CPU, "fp32").draw(0, 3, seed=5)
    assert [len(row) for row in rows] == [3, 3]
    for row, (start, end) in zip(rows, ((first, second), (second, third)), strict=True):
        assert near(row[0], start)
        assert near(row[2], end)
        assert not near(row[1], start)
        assert not near(row[1], end)


@pytest.mark.parametrize("along", [None, "spherical", "linear"])
def test_steps_lie_on_an_arc_or_a_line(
    models: Models, strip: Callable[..., list[list[np.ndarray]]], along: str | None
) -> None:
    """Of the normal draws; an arc by default, here with complex numbers in the plane of both."""
    words = () if along is None else ("--along", along)
    (row,) = strip(models("gan"), "--steps", 4, *words)
    sampler = Sampler(models("gan"), CPU, "fp32")
    a, b = (z[0].double().numpy() for z in sampler.normals(0, 2, seed=0))
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    for step, image in enumerate(row):
        t = step / 4
        rest, much = (1 - t, t) if along == "linear" else np.sin([(1 - t) * angle, t * angle])
        code = (rest * a + much * b) / (1 if along == "linear" else np.sin(angle))
        made = sampler.made(torch.tensor(code[None], dtype=torch.float32), 0)[0]
        assert near(image, np.rint((made.permute(1, 2, 0).numpy() + 1) * 127.5))


def test_a_loop_comes_back(models: Models, strip: Callable[..., list[list[np.ndarray]]]) -> None:
    rows = strip(models("gan"), "--between", 3, "--steps", 2, "--loop")
    assert [len(row) for row in rows] == [3, 3, 3]
    assert near(rows[2][0], rows[1][2])
    assert near(rows[2][2], rows[0][0])
    there = strip(models("gan"), "--between", 3, "--steps", 2)
    np.testing.assert_array_equal(rows[:2], there)


def test_a_class_is_kept(
    shelf: Path,
    draw: Callable[..., Path],
    command: Command,
    mistake: Mistake,
    strip: Callable[..., list[list[np.ndarray]]],
    tmp_path: Path,
) -> None:
    """And has to be named."""
    for number, name in enumerate(("cats", "dogs")):
        draw(shelf / "classes" / name, number + 2)
    keys = ("networks.generator.filters=4", "networks.discriminator.filters=4")
    run = tmp_path / "run"
    trained = command(
        *("train", "cgan", "--images", shelf / "classes", "--out", run, "--size", 16, *ON_CPU),
        *("--batch-size", 2, "--steps", 1, "--workers", 0),
        *(f"--set={key}" for key in keys),
    )
    assert trained.code == 0
    (row,) = strip(run, "--steps", 3, "--label", "dogs", "--seed", 2)
    start, end = Sampler(run, CPU, "fp32").draw(1, 2, seed=2)
    assert near(row[0], start)
    assert near(row[3], end)
    words = ("interpolate", run, "--out", tmp_path / "a.png")
    mistake(*words, *ON_CPU, says=("say of which class by --label: cats, dogs",))
    mistake(*words, *ON_CPU, "--label", "dog", says=("did you mean 'dogs'?",))


# ------------------------------------------------------------------------------------ real pictures


@pytest.mark.parametrize("system", ["ogan", "began"])
def test_pictures_change_into_each_other_along_lines_of_codes(
    models: Models,
    pictures: list[Path],
    strip: Callable[..., list[list[np.ndarray]]],
    system: str,
) -> None:
    """The ends are their reconstructions; linear by default, spherical where asked for."""
    coder = Coder(models(system), CPU, "fp32")
    codes = [coder.code(read(path)) for path in pictures]
    rows = strip(models(system), *pictures, "--steps", 4)
    assert [len(row) for row in rows] == [5, 5]
    for row, (start, end) in zip(rows, (codes[:2], codes[1:]), strict=True):
        for step, image in enumerate(row):
            assert near(image, coder.picture(start + step / 4 * (end - start)))
    arc = strip(models(system), *pictures, "--steps", 4, "--along", "spherical")
    assert near(arc[1][4], rows[1][4])
    assert not np.array_equal(arc, rows)


# ------------------------------------------------------------------------------------------- files


def frames_of(path: Path) -> tuple[list[np.ndarray], float]:
    """As a video player sees them, and how many a second."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        frames.append(answer[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
@pytest.mark.parametrize(
    ("loop", "shades"),
    [(False, [0, 30, 60, 90, 140, 190, 240]), (True, [0, 30, 60, 90, 140, 190, 240, 160, 80])],
)
def test_an_animation_shows_each_stop_once(
    tmp_path: Path, suffix: str, loop: bool, shades: list[int]
) -> None:
    """All ways in a row; a loop ends just before its beginning."""

    def shade(code: torch.Tensor) -> np.ndarray:
        return np.full((16, 16, 1), round(code.item()), np.uint8)

    stops = Stops(torch.tensor([[0.0], [90.0], [240.0]]), "linear", shade)
    done: list[int] = []
    rows = rows_of(stops, 3, None, loop, moving=True)
    save(tmp_path / f"a{suffix}", rows, stops.picture, 20, done.append)
    frames, rate = frames_of(tmp_path / f"a{suffix}")
    assert rate == pytest.approx(20, rel=0.01)
    assert [round(frame.mean() / 10) * 10 for frame in frames] == shades
    assert sum(done) == len(shades)


def test_a_gif_on_the_command_line(
    models: Models, strip: Callable[..., list[list[np.ndarray]]], command: Command, tmp_path: Path
) -> None:
    """Eight pictures a second; what a strip would hold."""
    words = ("--steps", 2, "--between", 3)
    out = tmp_path / "new" / "a.GIF"
    outcome = command("interpolate", models("gan"), *words, "--fps", 8, "--out", out, *ON_CPU)
    assert outcome == (0, f"5 pictures: {out}\n", "")
    frames, rate = frames_of(out)
    assert rate == pytest.approx(100 / 12, rel=0.01)
    (first, second, third), (_, fourth, fifth) = strip(models("gan"), *words)
    for seen, drawn in zip(frames, (first, second, third, fourth, fifth), strict=True):
        assert np.abs(seen[:, :, ::-1].astype(int) - drawn).mean() < 5


def test_what_is_there_already_is_left_alone(
    models: Models, command: Command, mistake: Mistake, tmp_path: Path
) -> None:
    for suffix in (".png", ".gif", ".mp4"):
        out = tmp_path / f"precious{suffix}"
        out.write_bytes(b"mine")
        words = ("interpolate", models("gan"), "--out", out, "--steps", 1, *ON_CPU)
        mistake(*words, says=(f"{out} is there already", "--overwrite"))
        assert out.read_bytes() == b"mine"
        assert command(*words, "--overwrite").code == 0
        assert out.read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--out", "a.avi"), ("a.avi: a file is written as .png", ".gif, .mp4")),
        (("--out", "folder"), ("folder: name a picture file for a strip, or a .gif or .mp4",)),
        (("--out", "a.pgm"), (".pgm pictures are grey",)),
        (("--along", "spheric"), ("no way is called 'spheric'; did you mean 'spherical'?",)),
        (("--label", "cats"), ("trained without classes",)),
        (("one.png",), ("has no encoder: take a model of ebgan, began, ogan",)),
        (("one.png", "--between", "3"), ("--between and --label are for random codes",)),
        (("one.png", "--label", "cats"), ("--between and --label are for random codes",)),
    ],
)
def test_words_that_mean_nothing(
    models: Models,
    mistake: Mistake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    out = () if "--out" in words else ("--out", "a.png")
    mistake("interpolate", models("gan"), *words, *out, *ON_CPU, says=says)
    assert list(tmp_path.iterdir()) == []


def test_pictures_that_lead_nowhere(
    models: Models, pictures: list[Path], mistake: Mistake, tmp_path: Path
) -> None:
    words = ("interpolate", models("ogan"), "--out", tmp_path / "a.png", *ON_CPU)
    mistake(*words, pictures[0], says=(f"{pictures[0]} alone leads nowhere",))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    mistake(*words, pictures[0], broken, says=(f"{broken}: ",))
    mistake(*words, pictures[0], tmp_path / "none.png", says=("none.png", "No such file"))
    assert not (tmp_path / "a.png").exists()


def test_models_of_other_things(
    models: Models, model: Path, mistake: Mistake, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "a.gif")
    says = ("the model makes points, not pictures",)
    mistake("interpolate", models("gan points"), *out, *ON_CPU, says=says)
    mistake("interpolate", model, *out, says=("is a cyclegan model, which draws nothing",))
    assert not (tmp_path / "a.gif").exists()
