"""Which of a run's models judged best, by the rules and in a run."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gan_core.checkpoint import load_model
from translate.best import Best
from translate.recipe import resolve
from translate.recipe_file import read
from translate.run_folder import RunFolder
from translate.training import Run, begin, build, folder_of, train

Command = Callable[..., Any]


# ---- the rules -----------------------------------------------------------------------------------


def test_the_lowest_value_and_nothing_else_is_the_best() -> None:
    best = Best([], "swd faces")
    values = [5.0, 6.0, 4.0, 4.0, 4.5, math.nan, 3.0]
    assert [best.take(v, step) for step, v in enumerate(values, 1)] == [
        *(True, False, True, False, False, False, True)
    ]
    assert (best.value, best.step) == (3.0, 7)


def test_a_resumed_run_knows_what_was_logged() -> None:
    """Of lines that have the figure: those of losses have not."""
    log: list[dict[str, Any]] = [
        {"step": 10, "D": 0.1, "images": 20},
        {"step": 10, "swd faces": 5.0},
        {"step": 20, "swd faces": 2.0, "l1 faces": 0.1},
        {"step": 30, "swd faces": 4.0},
        {"step": 40, "swd others": 1.0},
    ]
    best = Best(log, "swd faces")
    assert (best.value, best.step, best.last) == (2.0, 20, 4.0)
    assert not best.take(2.0, 50)
    assert best.take(1.9, 60)
    assert (best.value, best.step) == (1.9, 60)


@pytest.mark.parametrize(
    ("last", "tells"), [(1.0, False), (2.9, False), (3.0, False), (3.1, True), (math.nan, True)]
)
def test_a_last_model_that_is_much_worse_is_told_of(last: float, tells: bool) -> None:
    best = Best([], "swd faces")
    assert best.sentence == "", "nothing was judged"
    best.take(2.0, 300)
    assert best.sentence == "", "the last is the best"
    best.take(last, 400)
    told = (
        f"swd faces was 2 at step 300 and is {last:.4g} now: the model of then is best.safetensors "
        "in the run folder"
    )
    assert best.sentence == (told if tells else "")


def test_of_figures_that_never_were_numbers_nothing_is_told() -> None:
    best = Best([], "swd faces")
    assert not best.take(math.nan, 300)
    assert best.sentence == ""


# ---- in a run ------------------------------------------------------------------------------------

STEPS = 6


def small(system: str, *changes: tuple[str, Any]) -> Run:
    """A run of a few steps that is judged after each."""
    networks = {"generator.filters": 4, "generator.latent": 4, "discriminator.filters": 4}
    overrides = [(f"networks.{key}", value) for key, value in networks.items()]
    overrides += [("data.batch_size", 2), ("run.device", "cpu"), ("run.precision", "fp32")]
    overrides += [("schedule.steps", STEPS), ("run.sample_every", 1), ("run.judged", 5)]
    return build(resolve(read(system), [*overrides, *changes]), torch.device("cpu"), print)


@pytest.fixture
def faces(draw: Callable[..., Path], tmp_path: Path) -> tuple[str, Any]:
    return "data.images", str(draw(tmp_path / "faces", 5))


def go(
    made: Run, path: Path, values: list[float], monkeypatch: pytest.MonkeyPatch, figure: str
) -> list[str]:
    """Train with these judgements, step after step; what was said."""
    judged, said = iter(values), []  # type: ignore[var-annotated]
    monkeypatch.setattr("translate.training.judge", lambda *_: {figure: next(judged), "other": 0.0})
    folder = folder_of(made, path)
    begin(made, folder, overwrite=False)
    train(made, folder, stop=lambda: False, show=lambda logs: None, say=said.append)
    return said


def weights(path: Path) -> dict[str, bytes]:
    return {key: value.numpy().tobytes() for key, value in load_model(path)[0].items()}


@pytest.mark.parametrize("lowest", [1, 4, STEPS])
def test_the_model_of_the_lowest_figure_is_kept(
    lowest: int, faces: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that a run of so many steps ends with."""
    size = ("data.size", 16), ("networks.generator.norm", "instance")
    constant = ("schedule.kind", "constant"), ("schedule.steps", STEPS)
    values = [float(2 + abs(step - lowest)) for step in range(1, STEPS + 1)]
    made = small("faces-dcgan-small", faces, *size, *constant)
    said = go(made, tmp_path / "run", values, monkeypatch, "swd faces")
    best = tmp_path / "run" / "best.safetensors"
    shorter = small("faces-dcgan-small", faces, *size, *constant, ("schedule.steps", lowest))
    go(shorter, tmp_path / "shorter", values, monkeypatch, "swd faces")
    assert weights(best) == weights(tmp_path / "shorter" / "model.safetensors")
    header, last = (load_model(tmp_path / "run" / f"{n}.safetensors")[1] for n in ("best", "model"))
    assert header == last
    if lowest == STEPS:
        assert best.read_bytes() == (tmp_path / "run" / "model.safetensors").read_bytes()
    worse = values[-1] > 1.5 * 2
    assert [f"swd faces was 2 at step {lowest}" in line for line in said] == [True] * worse


def test_a_resumed_run_keeps_the_best_of_before(
    faces: tuple[str, Any], tmp_path: Path, command: Command
) -> None:
    """Whether the best came before or after, the file is the undisturbed run's."""
    words = ("--set=run.sample_every=1", "--set=schedule.kind=constant", "--batch-size", 2)
    small_ = ("--set=networks.generator.filters=4", "--set=networks.discriminator.filters=4")
    options = ("--size", 16, "--device", "cpu", "--precision", "fp32", *small_, *words)
    given = ("train", "gan", "--recipe", "faces-dcgan-small", "--images", faces[1], *options)
    assert command(*given, "--steps", 6, "--out", tmp_path / "whole").code == 0
    assert command(*given, "--steps", 3, "--out", tmp_path / "run").code == 0
    assert command("train", "gan", "--resume", tmp_path / "run", "--steps", 6).code == 0
    bests = [load_model(tmp_path / name / "best.safetensors")[0] for name in ("whole", "run")]
    assert bests[0].keys() == bests[1].keys()
    assert all(torch.equal(bests[0][key], bests[1][key]) for key in bests[0])


def test_runs_that_draw_from_noise_are_judged_on_training_pictures_if_none_are_held_out(
    faces: tuple[str, Any], tmp_path: Path, command: Command
) -> None:
    """What translates has seen the answers to those, so that it is not."""
    words = ("--set=networks.generator.filters=4", "--set=networks.discriminator.filters=4")
    options = ("--steps", 2, "--size", 16, "--batch-size", 2, "--device", "cpu", *words)
    gan = ("train", "gan", "--recipe", "faces-dcgan-small", "--images", faces[1], *options)
    for name, more in (("a", ()), ("b", ("--set=data.validation_share=0.4",))):
        assert command(*gan, "--out", tmp_path / name, *more).code == 0
        lines = RunFolder(tmp_path / name).logged()
        (figures,) = [line for line in lines if "images" not in line]
        assert figures.keys() == {"step", "swd faces"}
        assert (tmp_path / name / "best.safetensors").is_file()
    pairs = ("train", "pix2pix", "--domains", faces[1], faces[1], "--names", "in", "out", *options)
    layers = "--set=networks.discriminator.layers=1"
    assert command(*pairs, layers, "--out", tmp_path / "c").code == 0
    assert all("images" in line for line in RunFolder(tmp_path / "c").logged())
    assert not (tmp_path / "c" / "best.safetensors").exists()


@pytest.mark.parametrize("recipe", ["8gaussians-wgan-gp", "25gaussians-wgan", "swissroll-wgan"])
def test_points_are_judged_by_a_figure_of_which_lower_is_better(
    recipe: str, tmp_path: Path, command: Command
) -> None:
    small_ = ("--set=networks.generator.filters=16", "--set=networks.discriminator.filters=16")
    words = ("--set=data.points=300", "--set=method.discriminator_steps=1", "--batch-size", 50)
    burst = ("--set=method.burst=0", "--set=run.sample_every=2", "--steps", 8, "--device", "cpu")
    options = (*small_, *words, *burst, "--out", tmp_path / "run")
    assert command("train", "gan", "--recipe", recipe, *options).code == 0
    lines = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    figures = [line for line in lines if "images" not in line]
    assert [line["step"] for line in figures] == [2, 4, 6, 8]
    first = list(figures[0])[1]
    assert first.startswith("wasserstein ")
