"""``traverse``: a code's rows change by that code alone; the files; what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from starts import small
from tiny_models import cells, near, save_tiny

from translate.recipe_file import recipe_names
from translate.sampler import Sampler
from translate.traversal import Traversal

Command = Callable[..., Any]
Mistake = Callable[..., str]
Models = Callable[..., Path]

CPU = torch.device("cpu")
ON_CPU = ("--device", "cpu", "--precision", "fp32")
HEAD = {"networks__codes__kind": "code-head", "networks__codes__hidden": 4}
# Of latents of 8: noise of 3, a category of 3 and two codes; or noise of 4 and two groups of two.
KINDS: dict[str, dict[str, object]] = {
    "plain": {},
    "uniform": {**HEAD, "method__categories": [3], "method__continuous": 2},
    "normal": {
        **HEAD,
        "method__continuous": 2,
        "method__code_prior": "normal",
        "method__code_scales": [4, 8],
    },
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, draw: Callable[..., Path]) -> Models:
    shelf = tmp_path_factory.mktemp("codes")
    pictures = draw(shelf / "pictures", 3)

    def saved(kind: str) -> Path:
        path = shelf / f"{kind}.safetensors"
        return path if path.exists() else save_tiny(path, "gan", pictures, **KINDS[kind])

    return saved


@pytest.fixture
def sheet(command: Command, tmp_path: Path) -> Callable[..., list[list[np.ndarray]]]:
    """``traverse`` to a sheet, and its pictures of 16 x 16, row by row."""

    def run(model: Path, *words: object) -> list[list[np.ndarray]]:
        out = tmp_path / f"sheet-{len(list(tmp_path.iterdir()))}.png"
        outcome = command("traverse", model, *words, "--out", out, *ON_CPU)
        assert (outcome.code, outcome.err) == (0, "")
        return cells(out)

    return run


def fed(path: Path, number: int, seed: int = 0) -> tuple[Any, torch.Tensor]:
    """G, and what it is fed for the picture of this number that ``sample`` makes."""
    sampler = Sampler(path, CPU, "fp32")
    normal = list(sampler.normals(0, number + 1, seed))[number]
    method = sampler.model.method
    return sampler.model.nets["G"], method.information.fed(normal, method.prior)


def picture(G: Any, z: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        made = G(z)[0].permute(1, 2, 0).numpy()
    return np.rint((made.clip(-1, 1) + 1) * 127.5)


# ---- what changes ------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "far"), [("uniform", 1.0), ("normal", 1.25)])
def test_a_row_is_of_its_code_alone(
    models: Models, sheet: Callable[..., list[list[np.ndarray]]], kind: str, far: float
) -> None:
    """In equal steps from end to end, for each draw; all other numbers are the draw's."""
    rows = sheet(models(kind), "--count", 2, "--steps", 5, "--seed", 3)
    ways = 3 if kind == "uniform" else 0
    codes = list(range(-2, 0)) if ways else list(range(-4, 0))
    rows = rows[2 if ways else 0 :]  # a category's come first
    assert len(rows) == 2 * len(codes)
    for number, row in enumerate(rows):
        column, base = codes[number // 2], number % 2
        for step, image in enumerate(row[:5]):
            G, z = fed(models(kind), base, seed=3)
            z[0, column] = -far + step / 4 * 2 * far
            assert near(image, picture(G, z)), (number, step)
        assert not np.array_equal(row[0], row[4])


def test_a_category_has_a_column_for_each_way(
    models: Models, sheet: Callable[..., list[list[np.ndarray]]]
) -> None:
    (row,) = sheet(models("uniform"), "--code", "category 1")
    assert len(row) == 3
    for way, image in enumerate(row):
        G, z = fed(models("uniform"), 0)
        z[0, 3:6] = torch.eye(3)[way]
        assert near(image, picture(G, z))
    drawn = next(iter(Sampler(models("uniform"), CPU, "fp32").draw(0, 1, 0)))
    assert sum(near(image, drawn) for image in row) == 1, "one is the draw's own"


def test_how_far(models: Models, sheet: Callable[..., list[list[np.ndarray]]]) -> None:
    (row,) = sheet(models("uniform"), "--code", "code 2", "--reach", 2, "--steps", 2)
    for end, image in zip((-2.0, 2.0), row, strict=True):
        G, z = fed(models("uniform"), 0)
        z[0, -1] = end
        assert near(image, picture(G, z))


def test_codes_by_name(models: Models, sheet: Callable[..., list[list[np.ndarray]]]) -> None:
    path = models("normal")
    named = sheet(path, "--code", "8: code 1", "--code", "4: code 2")
    every = sheet(path)
    np.testing.assert_array_equal([every[2], every[1]], named)


def test_the_model_draws_as_before_afterwards(models: Models) -> None:
    sampler = Sampler(models("uniform"), CPU, "fp32")
    before = next(iter(sampler.draw(0, 1, 0)))
    traversal = Traversal(models("uniform"), sampler, 1, 0)
    code = traversal.codes[0]
    traversal.row(traversal.normals[0], code, traversal.values(code, 9, None))
    np.testing.assert_array_equal(next(iter(sampler.draw(0, 1, 0))), before)


# ---- files -------------------------------------------------------------------------------------


def frames_of(path: Path) -> list[np.ndarray]:
    video, frames = cv2.VideoCapture(str(path)), []
    while (answer := video.read())[0]:
        frames.append(answer[1][:, :, ::-1])
    return frames


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_a_folder_has_a_sheet_and_an_animation_of_each_code(
    models: Models,
    command: Command,
    sheet: Callable[..., list[list[np.ndarray]]],
    tmp_path: Path,
    suffix: str,
) -> None:
    """Draws side by side; a code goes there and back, a category round."""
    out = tmp_path / "codes"
    words = ("--count", 2, "--steps", 4, "--fps", 5, *([] if suffix == "gif" else ["--mp4"]))
    outcome = command("traverse", models("uniform"), "--out", out, *words, *ON_CPU)
    # 2 draws by 3 ways and by 4 steps of each of two codes
    said = f"22 pictures, by category 1, code 1, code 2: {out}\n"
    assert outcome == (0, said, "")
    names = {"traverse.png", *(f"{n}.{suffix}" for n in ("category-1", "code-1", "code-2"))}
    assert {path.name for path in out.iterdir()} == names
    rows = sheet(models("uniform"), "--count", 2, "--steps", 4)
    for name, first, order in (
        ("category-1", 0, [0, 1, 2]),
        ("code-2", 4, [0, 1, 2, 3, 2, 1]),
    ):
        frames = frames_of(out / f"{name}.{suffix}")
        assert len(frames) == len(order)
        for frame, column in zip(frames, order, strict=True):
            for place, row in enumerate(rows[first : first + 2]):
                seen = frame[:16, place * 18 : place * 18 + 16].astype(float)
                apart = [np.abs(seen - image).mean() for image in row[: max(order) + 1]]
                # an MP4 of 16 pixels of noise is not to be told from its neighbour
                assert abs(np.argmin(apart) - column) <= (suffix == "mp4")


def test_scales_name_files_that_any_system_takes(
    models: Models, command: Command, tmp_path: Path
) -> None:
    out = tmp_path / "codes"
    assert command("traverse", models("normal"), "--out", out, "--steps", 2, *ON_CPU).code == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"traverse.png", *(f"{s}-code-{n}.gif" for s in (4, 8) for n in (1, 2))}


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_one_animation_shows_the_codes_in_turn(
    models: Models, command: Command, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"all{suffix}"
    words = ("--code", "category 1", "--code", "code 1", "--steps", 3)
    assert command("traverse", models("uniform"), "--out", out, *words, *ON_CPU).code == 0
    assert len(frames_of(out)) == 3 + 4


# ---- trained -----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", [name for name in recipe_names() if "infogan-small" in name])
def test_a_runs_codes_are_shown(
    recipe: str, draw: Callable[..., Path], command: Command, tmp_path: Path
) -> None:
    """Of every recipe, also where networks or pictures grow."""
    words = [f"--set={key}={json.dumps(value)}" for key, value in small(recipe)]
    pictures, run, out = draw(tmp_path / "faces", 5), tmp_path / "run", tmp_path / "codes"
    trained = command(
        *("train", "gan", "--recipe", recipe, "--images", pictures, "--out", run),
        *("--steps", 2, *ON_CPU, "--workers", 0, *words),
    )
    assert trained.code == 0
    outcome = command("traverse", run, "--out", out, "--steps", 2, *ON_CPU)
    assert (outcome.code, outcome.err) == (0, "")
    codes = [code.name for code in Sampler(run, CPU, "fp32").model.method.codes]
    assert f"by {', '.join(codes)}: {out}" in outcome.out
    assert len(list(out.iterdir())) == 1 + len(codes)


def test_a_run_with_codes_goes_on_as_if_it_had_not_stopped(
    draw: Callable[..., Path], command: Command, tmp_path: Path
) -> None:
    recipe = "faces-infogan-small"
    words = [f"--set={key}={json.dumps(value)}" for key, value in small(recipe)]
    more = ("--set=schedule.kind=constant", *ON_CPU, "--workers", 0)
    start = ("train", "gan", "--recipe", recipe, "--images", draw(tmp_path / "faces", 5))
    straight, halved = tmp_path / "straight", tmp_path / "halved"
    assert command(*start, "--out", straight, "--steps", 4, *words, *more).code == 0
    assert command(*start, "--out", halved, "--steps", 2, *words, *more).code == 0
    before = (halved / "model.safetensors").read_bytes()
    assert command("train", "gan", "--resume", halved, "--steps", 4).code == 0
    models = [(run / "model.safetensors").read_bytes() for run in (straight, halved)]
    assert models[0] == models[1] != before


# ---- refusals ----------------------------------------------------------------------------------


def test_a_model_without_codes_names_the_recipes_that_have_them(
    models: Models, mistake: Mistake, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "a", *ON_CPU)
    said = mistake("traverse", models("plain"), *out, says=("is a model without codes",))
    for name in recipe_names():
        assert (f"{name} " in said or f"{name})" in said) == ("infogan" in name)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--code", "code 3"), "the model has no code 'code 3'; did you mean 'code"),
        (("--code", "0"), "the model has no code '0'"),
        (("--code", "4"), "the model has no code '4'"),
        (("--reach", "0"), "--reach must be above 0, not 0.0"),
        (("--reach", "inf"), "--reach must be above 0, not inf"),
        (("--out", "a.avi"), "a.avi: a file is written as .png"),
    ],
)
def test_words_that_mean_nothing(
    models: Models,
    mistake: Mistake,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    out = () if "--out" in words else ("--out", "a")
    mistake("traverse", models("uniform"), *words, *out, *ON_CPU, says=(says,))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_already_is_left_alone(
    models: Models, command: Command, mistake: Mistake, tmp_path: Path
) -> None:
    out = tmp_path / "precious.png"
    out.write_bytes(b"mine")
    words = ("traverse", models("uniform"), "--out", out, "--steps", 2, *ON_CPU)
    mistake(*words, says=(f"{out} is there already", "--overwrite"))
    assert out.read_bytes() == b"mine"
    assert command(*words, "--overwrite").code == 0
    assert out.read_bytes() != b"mine"


def test_models_of_other_things(model: Path, mistake: Mistake, tmp_path: Path) -> None:
    mistake("traverse", model, "--out", tmp_path / "a", says=("which draws nothing from noise",))
