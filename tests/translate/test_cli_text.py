"""``translate train gan --text FILE``, and ``translate sample`` of its model."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gan_core.checkpoint import load_model, save_model
from translate.data.text import END, UNKNOWN

Command = Callable[..., Any]
Mistake = Callable[..., str]

ON_CPU = ("--device", "cpu", "--precision", "fp32")
TINY = (
    *("train", "gan", "--recipe", "text-wgan-gp-small", "--workers", 0, *ON_CPU),
    *("--batch-size", 4, "--steps", 2, "--set=data.length=12", "--set=networks.generator.latent=8"),
    *(f"--set=networks.{name}.filters=8" for name in ("generator", "discriminator")),
)
SONG = 'a "sea"\\shore\n\ttabs = [1]\nthe sea\x7f\x01\na shell \N{SNOWMAN}\nshe sells\n'


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.txt"
    path.write_bytes(SONG.encode())
    return path


def lines_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------------------------------- training


def test_a_run_folder_of_text(song: Path, command: Command, here: Path) -> None:
    """Lines instead of pictures, and a model file that knows its characters, odd ones too."""
    assert command(*TINY, "--text", song) == (0, "runs/gan-song/model.safetensors\n", "")
    run = here / "runs" / "gan-song"
    losses, figures = lines_of(run)
    assert losses.keys() >= {"D", "penalty D", "adversarial G"}
    assert losses["images"] == 2 * 3 * 4  # batches of the critic
    assert list(figures) == ["step", *(f"jsd-{n} song" for n in (4, 3, 2, 1))]
    assert all(0 <= value <= 1 for key, value in figures.items() if key != "step")
    (sheet,) = (run / "samples").iterdir()
    assert sheet.name == "step-00000002.txt"
    real, made = sheet.read_bytes().decode().split("\n\n[made song]\n")
    assert real.split("\n") == ["[song]", *(line[:12] for line in SONG.split("\n") if line)]
    assert made.count("\n") == 5, "as many as the text has"
    assert (run / "best.safetensors").is_file()

    _, header = load_model(run / "model.safetensors")
    known = header["characters"]
    assert known[:2] == END + UNKNOWN
    assert sorted(known[2:]) == sorted(set(SONG) - {"\n"})
    assert header["networks"]["G"]["arguments"] == {
        **{"out_channels": len(known), "length": 12, "latent": 8, "filters": 8, "blocks": 2}
    }
    assert (header["size"], header["at"]) == (None, None)
    assert str(here.parent) not in json.dumps(header)
    written = tomllib.loads((run / "recipe.toml").read_text())
    assert written["data"]["characters"] == known[2:]
    assert written["data"]["text"] == str(song)


def test_a_run_goes_on_with_the_characters_that_it_began_with(song: Path, command: Command) -> None:
    """Whatever becomes of the text."""
    assert command(*TINY, "--text", song, "--out", "run").code == 0
    _, before = load_model(Path("run/model.safetensors"))
    song.write_text("zebras\nand zoos\n" * 3, encoding="utf-8")
    outcome = command("train", "gan", "--resume", "run", "--steps", 3)
    assert outcome.code == 0
    _, after = load_model(Path("run/model.safetensors"))
    assert after["characters"] == before["characters"]
    sheet = Path("run/samples/step-00000003.txt").read_text(encoding="utf-8")
    assert f"{UNKNOWN}eb" in sheet


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set=data.length=3",), ("length must be 4 or more, not 3",)),
        (("--set=data.vocabulary=1",), ("vocabulary must be 2 or more, not 1",)),
        (("--size", 16), ("[data] has no key 'size'",)),
        (("--images", "faces"), ("name the pictures in one way: --images or --text",)),
        (("--set=method.augment=['colour']",), ("only pictures",)),
        (("--set=networks.generator.kind=dcgan",), ("is no generator for 'gan'; choose mlp, ",)),
        (("--set=networks.discriminator.kind=mlp-discriminator",), ("do not fit together",)),
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    words: tuple[object, ...], says: tuple[str, ...], song: Path, mistake: Mistake, here: Path
) -> None:
    mistake(*TINY, "--text", song, *words, says=says)
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "has 0 lines that are not blank"),
        (b"caf\xe9\nbar\n", "is no text in UTF-8"),
        (b"aa\naa\n", "has one character, 'a'"),
        (None, "there is no file"),
    ],
)
def test_a_text_that_is_none(
    content: bytes | None, says: str, song: Path, mistake: Mistake, here: Path
) -> None:
    song.unlink() if content is None else song.write_bytes(content)
    mistake(*TINY, "--text", song, says=(str(song), says))
    assert not list(here.iterdir())


def test_text_is_nothing_for_pictures(song: Path, mistake: Mistake, here: Path) -> None:
    words = ("what --text names is not what cyclegan is trained on: give the two folders",)
    mistake("train", "cyclegan", "--text", song, says=words)
    faces = ("train", "gan", "--recipe", "faces-dcgan-small", "--text", song)
    mistake(*faces, says=("[data] text: this recipe is not trained on such, give the folder",))
    mistake(*TINY, says=("give the text, a file in UTF-8: --text FILE",))
    assert not list(here.iterdir())


# ---------------------------------------------------------------------------------------- sampling


@pytest.fixture
def model(song: Path, command: Command, tmp_path: Path) -> Path:
    """The model file of a run, away from its folder and its text."""
    assert command(*TINY, "--text", song, "--out", tmp_path / "run").code == 0
    song.unlink()
    return (tmp_path / "run" / "model.safetensors").rename(tmp_path / "lines.safetensors")


def test_lines_into_a_file_and_to_the_terminal(model: Path, command: Command) -> None:
    words = ("--count", 20, "--seed", 3, *ON_CPU)
    assert command("sample", model, "--out", "new/a.txt", *words) == (
        0,
        "20 lines: new/a.txt\n",
        "",
    )
    told = Path("new/a.txt").read_bytes().decode()
    assert told.count("\n") == 20
    assert command("sample", model, *words) == (0, told, "")
    first = command("sample", model, "--count", 5, "--seed", 3, *ON_CPU).out
    assert told.startswith(first)
    assert first.count("\n") == 5
    assert command("sample", model, *words[:2], "--seed", 4, *ON_CPU).out != told
    _, header = load_model(model)
    assert set(told) <= set(header["characters"])
    assert max(map(len, told.split("\n"))) <= 12


def test_text_goes_into_a_text_file(model: Path, mistake: Mistake, here: Path) -> None:
    mistake("sample", model, "--out", "a.png", says=("a.png: a file is written as .txt",))
    mistake("sample", model, "--out", "a", says=("a: the model makes text: name a .txt",))
    assert not list(here.iterdir())
    Path("a.txt").write_text("kept")
    mistake("sample", model, "--out", "a.txt", says=("a.txt is there already",))
    mistake("interpolate", model, "--out", "a.png", says=("the model makes text, not pictures",))
    assert Path("a.txt").read_text() == "kept"


def test_characters_that_are_not_the_networks(model: Path, mistake: Mistake) -> None:
    tensors, header = load_model(model)
    save_model(model, tensors, header | {"characters": "ab"})
    mistake("sample", model, says=("cannot be built here", "2 characters are named"))


# ---------------------------------------------------------------------------------------- learning


@pytest.mark.slow
def test_a_grammar_is_learned(command: Command, tmp_path: Path) -> None:
    """Sentences of three parts: in the figures of the log the divergence of four letters halves."""
    rng = np.random.default_rng(0)
    parts = ["the cat", "a dog", "my aunt"], ["sees", "likes"], ["it", "fish", "a car"]
    sentences = [" ".join(part[rng.integers(len(part))] for part in parts) for _ in range(500)]
    (tmp_path / "grammar.txt").write_text("\n".join(sentences), encoding="utf-8")
    outcome = command(
        *("train", "gan", "--recipe", "text-wgan-gp-small", "--text", tmp_path / "grammar.txt"),
        *("--steps", 240, "--seed", 0, "--workers", 0, *ON_CPU, "--out", tmp_path / "run"),
        *("--set=run.sample_every=40", "--set=run.judged=300", "--set=data.length=20"),
        *(f"--set=networks.{name}.filters=48" for name in ("generator", "discriminator")),
    )
    assert outcome.code == 0
    figures = [line for line in lines_of(tmp_path / "run") if "images" not in line]
    first, last = figures[0], figures[-1]
    assert (first["step"], last["step"]) == (40, 240)
    assert 0.001 < last["jsd-4 grammar"] < first["jsd-4 grammar"] / 2
    assert last["jsd-1 grammar"] < 0.1
    made = command("sample", tmp_path / "run", "--count", 100, *ON_CPU).out.splitlines()
    begins = sum(line.startswith(("the ", "a ", "my ")) for line in made)
    assert begins > 30
