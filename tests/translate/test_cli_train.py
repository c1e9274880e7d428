import json
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
import tomlkit

from gan_core.checkpoint import checkpoints, load_model
from translate.methods import METHODS
from translate.methods.cyclegan import CycleGAN
from translate.run_folder import RunFolder

Command = Callable[..., Any]
Mistake = Callable[..., str]
Contents = Callable[[Path], dict[str, bytes]]


pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def start(tiny: tuple[object, ...], domains: tuple[Path, Path]) -> tuple[object, ...]:
    """The words of a tiny training; later options count over its own."""
    return ("train", "cyclegan", "--domains", *domains, "--steps", 2, *tiny)


def log_of(run: Path) -> list[dict[str, Any]]:
    lines = (run / "log.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if "images" in line]


def spoil(folder: Path, count: int) -> list[Path]:
    """Cut the first pictures of a folder short."""
    broken = sorted(folder.iterdir())[:count]
    for path in broken:
        path.write_bytes(path.read_bytes()[:60])
    return broken


# ------------------------------------------------------------------------------------ what it makes


def test_a_run_folder_holds_what_the_contract_says(
    start: tuple[object, ...], command: Command, here: Path, domains: tuple[Path, Path]
) -> None:
    outcome = command(*start, "--set", "run.checkpoint_every=1", "--steps", 4)
    run = here / "runs" / "cyclegan-drawings-paintings"
    assert outcome.code == 0
    assert outcome.err == ""
    assert Path(outcome.out.strip()).resolve() == run / "model.safetensors"
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    assert names == {
        "recipe.toml",
        "log.jsonl",
        "samples/step-00000004.png",
        "checkpoints/step-00000003.pt",  # run.keep = 2
        "checkpoints/step-00000004.pt",
        "model.safetensors",
    }
    recipe = tomlkit.parse((run / "recipe.toml").read_text())
    assert recipe["data"]["domains"] == [str(folder) for folder in domains]  # type: ignore[index]
    assert recipe["run"]["seed"] == 0  # type: ignore[index] # defaults included
    assert "# section 4" in recipe.as_string()  # the recipe's own comments

    log = log_of(run)
    assert [line["step"] for line in log] == [1, 2, 3, 4]
    assert [line["images"] for line in log] == [2, 4, 6, 8]
    terms = {"adversarial G", "cycle x", "identity F", "D_X", "lr generator", "images_per_second"}
    assert terms | {"memory_mb", "gradient discriminator"} <= log[0].keys()
    assert log[0]["lr generator"] == pytest.approx(2e-4)
    assert log[3]["lr generator"] == pytest.approx(1e-4)  # linear from the half on

    sample = cv2.imread(str(run / "samples" / "step-00000004.png"))
    assert sample.shape == (4 * 16 + 3 * 2, 2 * 16 + 2, 3)  # in, out, for each direction
    tensors, header = load_model(run / "model.safetensors")
    assert {name.partition(".")[0] for name in tensors} == {"G", "F"}
    assert header["translations"] == [
        {"network": "G", "from": "drawings", "to": "paintings"},
        {"network": "F", "from": "paintings", "to": "drawings"},
    ]
    assert header["format"] == 1
    assert header["size"] == 16
    assert str(here) not in json.dumps(header)
    assert str(domains[0].parent) not in json.dumps(header)


def test_equal_runs_are_equal_files(
    start: tuple[object, ...], command: Command, domains: tuple[Path, Path], tmp_path: Path
) -> None:
    moved = [Path(shutil.copytree(d, tmp_path / "moved" / d.name)) for d in domains]
    command(*start, "--out", "a")
    command(*start, "--domains", *moved, "--out", "b", "--set", "run.log_every=2")
    command(*start, "--seed", 1, "--out", "c")
    models = [Path(run, "model.safetensors").read_bytes() for run in "abc"]
    assert models[0] == models[1]
    assert models[0] != models[2]


def test_the_runs_recipe_repeats_the_run(start: tuple[object, ...], command: Command) -> None:
    command(*start, "--out", "a", "--set", "optimizer.lr=1e-3")
    assert command("train", "cyclegan", "--recipe", "a/recipe.toml", "--out", "b").code == 0
    for name in ("model.safetensors", "recipe.toml"):
        assert Path("a", name).read_bytes() == Path("b", name).read_bytes()


def test_epochs_count_the_larger_domain(start: tuple[object, ...], command: Command) -> None:
    command(*start[:5], *start[7:], "--epochs", 2, "--out", "a")  # 5 pictures in batches of 2
    assert log_of(Path("a"))[-1]["step"] == 6


@pytest.mark.parametrize("size", [16, 12])
def test_a_share_held_out_is_judged(start: tuple[object, ...], command: Command, size: int) -> None:
    share = ("--set", "data.validation_share=0.4")
    assert command(*start, *share, "--size", size, "--out", "a").code == 0
    lines = [json.loads(line) for line in Path("a/log.jsonl").read_text().splitlines()]
    (figures,) = [line for line in lines if "images" not in line]
    assert figures.keys() == {"step", "swd drawings", "swd paintings"}
    assert 0 < figures["swd paintings"] < 2000


def test_pictures_of_their_own_sizes(
    start: tuple[object, ...],
    command: Command,
    domains: tuple[Path, Path],
    draw: Callable[..., Path],
    tmp_path: Path,
) -> None:
    wide = draw(tmp_path / "wide", 4, size=28)
    options = ("--set", "data.preprocess=none", "--batch-size", 1)
    held_out = ("--set", "data.validation_share=0.5")
    outcome = command(
        *start, "--domains", domains[0], wide, *options, *held_out, "--out", "a", "--steps", 4
    )
    assert outcome.code == 0
    assert Path("a/model.safetensors").is_file()


def test_grey_drawings_and_colour_photos(start: tuple[object, ...], command: Command) -> None:
    grey = ("--set", "data.channels=[1, 3]", "--set", "method.lambda_identity=0")
    assert command(*start, *grey, "--out", "a").code == 0
    _, header = load_model(Path("a/model.safetensors"))
    assert header["channels"] == {"drawings": 1, "paintings": 3}


# ----------------------------------------------------------------------------------------- resuming


def test_resume_extends_a_run(start: tuple[object, ...], command: Command) -> None:
    command(*start, "--out", "a")
    outcome = command("train", "cyclegan", "--resume", "a", "--steps", 5)
    assert outcome.code == 0
    assert [line["step"] for line in log_of(Path("a"))] == [1, 2, 3, 4, 5]
    recipe = tomlkit.parse(Path("a/recipe.toml").read_text())
    assert recipe["schedule"]["steps"] == 5  # type: ignore[index]
    assert checkpoints(Path("a/checkpoints"))[-1].name == "step-00000005.pt"


def test_what_a_killed_run_logged_after_its_checkpoint_is_logged_once(
    start: tuple[object, ...], command: Command
) -> None:
    every = ("--set", "run.checkpoint_every=2", "--set", "schedule.kind=constant")
    command(*start, *every, "--steps", 4, "--out", "a")
    whole, log = Path("a/model.safetensors").read_bytes(), log_of(Path("a"))
    Path("a/checkpoints/step-00000004.pt").unlink()
    with open("a/log.jsonl", "a") as file:
        file.write('{"step": 5, "ima')  # cut short by the kill
    assert command("train", "cyclegan", "--resume", "a").code == 0
    again = log_of(Path("a"))
    assert [line["step"] for line in again] == [1, 2, 3, 4]
    assert [line["cycle x"] for line in again] == [line["cycle x"] for line in log]
    assert Path("a/model.safetensors").read_bytes() == whole


def test_resume_passes_over_a_damaged_checkpoint(
    start: tuple[object, ...], command: Command
) -> None:
    command(*start, "--set", "run.checkpoint_every=1", "--out", "a")
    whole = Path("a/model.safetensors").read_bytes()
    newest = Path("a/checkpoints/step-00000002.pt")
    newest.write_bytes(newest.read_bytes()[:1000])
    assert command("train", "cyclegan", "--resume", "a").code == 0
    assert Path("a/model.safetensors").read_bytes() == whole


def test_resuming_from_another_directory(
    start: tuple[object, ...],
    command: Command,
    domains: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(domains[0].parent)
    folders = ("--domains", "drawings", "paintings")
    validation = ("--set", 'data.validation=["drawings", "paintings"]')
    command(*start, *folders, *validation, "--out", tmp_path / "a")
    monkeypatch.chdir("/")
    assert command("train", "cyclegan", "--resume", tmp_path / "a", "--steps", 3).code == 0


def test_a_finished_run_has_nothing_to_do(start: tuple[object, ...], command: Command) -> None:
    command(*start, "--out", "a")
    model = Path("a/model.safetensors").read_bytes()
    outcome = command("train", "cyclegan", "--resume", "a")
    assert outcome.code == 0
    assert "nothing to do: 2 of 2 steps are done" in outcome.err
    assert Path("a/model.safetensors").read_bytes() == model


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "optimizer.lr=1"), ("cannot change optimizer.lr", "start a new one")),
        (("--size", 32), ("cannot change data.size",)),
        (("--out", "b"), ("--resume goes on in its own folder",)),
        (("--recipe", "demo"), ("--resume goes on in its own folder",)),
        (("--overwrite",), ("--resume goes on in its own folder",)),
        (("--set", "data.sise=1"), ("did you mean 'size'?",)),
    ],
)
def test_what_a_resumed_run_refuses(
    model: Path, mistake: Mistake, contents: Contents, words: tuple[object, ...], says: Any
) -> None:
    before = contents(model)
    mistake("train", "cyclegan", "--resume", model, *words, says=says)
    assert contents(model) == before


def test_resuming_a_run_of_another_method(
    model: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "other", CycleGAN)
    says = ("for the method 'cyclegan', not 'other'",)
    mistake("train", "other", "--resume", model, says=says)


def test_resuming_what_is_no_run(
    model: Path, command: Command, mistake: Mistake, domains: tuple[Path, Path], tmp_path: Path
) -> None:
    for what in (domains[0], tmp_path / "nowhere", model / "model.safetensors"):
        mistake("train", "cyclegan", "--resume", what, says=("is not a run folder",))
    run = Path(shutil.copytree(model, tmp_path / "run"))
    for checkpoint in checkpoints(run / "checkpoints"):
        checkpoint.write_bytes(b"")
    none = (f"{run} cannot be resumed: none of its checkpoints can be read", "start anew")
    mistake("train", "cyclegan", "--resume", run, says=none)
    shutil.rmtree(run / "checkpoints")
    mistake("train", "cyclegan", "--resume", run, says=("it has no checkpoint yet",))


def test_resuming_when_the_pictures_are_gone(
    start: tuple[object, ...], command: Command, mistake: Mistake, domains: tuple[Path, Path]
) -> None:
    command(*start, "--out", "a")
    shutil.rmtree(domains[1])
    mistake("train", "cyclegan", "--resume", "a", says=(f"there is no folder {domains[1]}",))


# ----------------------------------------------------------------------------------------- dry runs


def test_a_dry_run_tells_the_cost_and_writes_nothing(
    start: tuple[object, ...], command: Command, here: Path, domains: tuple[Path, Path]
) -> None:
    outcome = command(*start, "--dry-run", "--steps", 1000)
    assert outcome.code == 0
    assert outcome.err == ""
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert list(lines) == [*("method", "data", "device", "parameters", "length", "memory", "disk")]
    assert lines["data"] == "5 of drawings, 4 of paintings"
    assert lines["device"] == "cpu, fp32"
    assert lines["length"].startswith("1,000 steps of ")
    assert not list(here.iterdir())
    assert {path.name for path in domains[0].parent.iterdir()} == {"here", "drawings", "paintings"}


def test_a_dry_run_tells_the_mistakes_too(start: tuple[object, ...], mistake: Mistake) -> None:
    mistake(*start, "--dry-run", "--set", "run.keep=0", says=("[run] keep must be 1 or more",))


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--set", "data.sise=64"), ("[data] has no key 'sise'", "did you mean 'size'?")),
        (("--set", "dato.size=64"), ("no section [dato]", "did you mean 'data'?")),
        (("--set", "size=64"), ("name the section",)),
        (("--set", "data.size"), ("write section.key=value",)),
        (("--set", "data.size=big"), ('data] size = "big"', "integer")),
        (("--set", "method.loss=lsgam"), ("'lsgan'",)),
        (
            ("--set", "networks.generator.kind=unett"),
            ("[networks.generator]", "did you mean 'unet'"),
        ),
        (("--recipe", "cyclegn"), ("no recipe is called 'cyclegn'", "did you mean 'cyclegan'?")),
        (("--recipe", "none.toml"), ("there is no recipe file none.toml",)),
        (("--size", -16), ("size must be",)),
        (("--size", 0), ("size must be",)),
        (("--size", 15), ("multiple of 4",)),
        (("--set", "networks.discriminator.layers=3"), ("24 pixels or more, not 16",)),
        (("--batch-size", 0), ("batch_size must be 1 or more",)),
        (("--batch-size", -1), ("batch_size must be 1 or more",)),
        (("--steps", -5), ("steps and epochs must be 0 or more",)),
        (("--steps", 0), ("give steps or epochs",)),
        (("--epochs", -1, "--steps", 0), ("steps and epochs must be 0 or more",)),
        (("--workers", -1), ("workers must be 0 or more",)),
        (("--seed", -1), ("seed must be",)),
        (("--device", "gpu"), ("no device 'gpu'", "choose cpu")),
        (("--device", "cuda:99"), ("no device 'cuda:99'", "choose cpu")),
        (("--device", "meta"), ("'meta'",)),
        (("--device", ""), ("no device ''",)),
        (("--precision", "half"), ("'half'", "choose auto, fp32, bf16, fp16")),
        (("--set", "run.log_every=0"), ("log_every must be 1 or more",)),
        (("--set", "data.channels=[1, 3]"), ("lambda_identity = 0",)),
        (("--set", "data.preprocess=none"), ("batch_size must be 1",)),
        (("--set", "data.validation_share=0.95"), ("validation_share",)),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    start: tuple[object, ...], mistake: Mistake, here: Path, words: tuple[object, ...], says: Any
) -> None:
    mistake(*start, *words, says=says)
    assert not list(here.iterdir())


def test_an_unknown_method(mistake: Mistake, domains: tuple[Path, Path], here: Path) -> None:
    says = ("no method is called 'ciclegan'", "did you mean 'cyclegan'?")
    mistake("train", "ciclegan", "--domains", *domains, says=says)
    says = ("no method is called 'demo'",)  # a recipe's name
    mistake("train", "demo", "--domains", *domains, says=says)
    assert not list(here.iterdir())


def test_a_recipe_of_another_method(
    start: tuple[object, ...], mistake: Mistake, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    monkeypatch.setitem(METHODS, "other", CycleGAN)
    says = ("for the method 'cyclegan', not 'other'",)
    mistake("train", "other", *start[2:], "--recipe", "demo", says=says)
    assert not list(here.iterdir())


def test_no_folders_given(mistake: Mistake, here: Path) -> None:
    mistake("train", "cyclegan", says=("--domains",))
    assert not list(here.iterdir())


@pytest.mark.parametrize("words", [("--domains", "a"), ("--stops", "1"), ("--steps", "many")])
def test_what_the_command_line_itself_refuses(command: Command, words: tuple[str, ...]) -> None:
    outcome = command("train", "cyclegan", *words)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert words[0] in outcome.err


def test_folders_that_are_none(
    start: tuple[object, ...], mistake: Mistake, domains: tuple[Path, Path], here: Path
) -> None:
    empty, file = domains[0].parent / "empty", domains[0] / "00.png"
    empty.mkdir()
    (empty / "notes.txt").write_text("no picture")
    for folder, says in (
        (domains[0].parent / "missing", "there is no folder"),
        (empty, "holds no pictures"),
        (file, "is a file; a folder of pictures is needed"),
    ):
        mistake(*start, "--domains", domains[0], folder, says=(says, str(folder)))
        mistake(*start, "--domains", folder, domains[1], says=(says, str(folder)))
        two = json.dumps([str(domains[0]), str(folder)])
        mistake(*start, "--set", f"data.validation={two}", says=(says, str(folder)))
    assert not list(here.iterdir())


def test_domains_of_one_name(
    start: tuple[object, ...],
    command: Command,
    mistake: Mistake,
    draw: Callable[..., Path],
    tmp_path: Path,
    here: Path,
) -> None:
    twins = draw(tmp_path / "one" / "images", 3), draw(tmp_path / "two" / "images", 3)
    says = ("both domains would be called 'images'", "--names images-a images-b")
    mistake(*start, "--domains", *twins, says=says)
    mistake(*start, "--domains", *twins, "--names", "a", "a", says=("names must differ",))
    assert not list(here.iterdir())
    outcome = command(*start, "--domains", *twins, "--names", "images-a", "images-b")
    assert outcome.code == 0
    _, header = load_model(here / "runs/cyclegan-images-a-images-b/model.safetensors")
    assert header["channels"].keys() == {"images-a", "images-b"}


# ------------------------------------------------------------------------------ unreadable pictures


def test_all_pictures_unreadable(
    start: tuple[object, ...], mistake: Mistake, domains: tuple[Path, Path], here: Path
) -> None:
    spoil(domains[1], 4)
    says = ("4 of 4 pictures in paintings cannot be read", "translate data check")
    mistake(*start, says=says)
    mistake(*start, "--set", "data.max_broken=1.0", says=says)
    assert not list(here.iterdir())


def test_all_validation_pictures_unreadable(
    start: tuple[object, ...],
    mistake: Mistake,
    domains: tuple[Path, Path],
    draw: Callable[..., Path],
    tmp_path: Path,
    here: Path,
) -> None:
    judges = draw(tmp_path / "judges", 2)
    spoil(judges, 2)
    two = json.dumps([str(domains[0]), str(judges)])
    mistake(*start, "--set", f"data.validation={two}", says=("paintings", "can be read"))
    assert not list(here.iterdir())


def test_some_unreadable_pictures_are_skipped_counted_and_named(
    start: tuple[object, ...], command: Command, domains: tuple[Path, Path]
) -> None:
    (broken,) = spoil(domains[1], 1)
    options = ("--set", "data.max_broken=0.25", "--steps", 6, "--out", "a")
    outcome = command(*start, *options)
    assert outcome.code == 0
    said = [line for line in outcome.err.splitlines() if line.startswith("skipped ")]
    assert len(said) == 1  # once, though it comes up in every epoch
    assert str(broken) in said[0]
    assert "cut short" in said[0]
    assert len(log_of(Path("a"))) == 6


def test_too_many_unreadable_pictures_end_a_run_that_can_be_gone_on_with(
    start: tuple[object, ...], command: Command, domains: tuple[Path, Path]
) -> None:
    """They are met as training goes along: what was trained until then is kept."""
    whole = {path: path.read_bytes() for path in domains[1].iterdir()}
    spoil(domains[1], 2)
    one_by_one = ("--batch-size", 1, "--set", "data.max_broken=0.25", "--steps", 8, "--out", "a")
    # The first picture in the order of this seed is a good one, so that training begins.
    outcome = command(*start, *one_by_one, "--seed", 1)
    error = outcome.err.splitlines()[-1]
    assert outcome.code == 2
    assert error.startswith("error: 2 of 4 pictures in paintings cannot be read, more than ")
    assert "Traceback" not in outcome.err
    done = log_of(Path("a"))[-1]["step"]
    assert 1 <= done < 8
    assert checkpoints(Path("a/checkpoints"))[-1].name == f"step-{done:08}.pt"

    again = command("train", "cyclegan", "--resume", "a")
    assert again.code == 2  # nothing was mended
    assert "cannot be read, more than" in again.err
    allowed = command("train", "cyclegan", "--resume", "a", "--set", "data.max_broken=0.5")
    assert allowed.code == 0
    assert log_of(Path("a"))[-1]["step"] == 8
    for path, data in whole.items():
        path.write_bytes(data)
    mended = command("train", "cyclegan", "--resume", "a", "--steps", 12)
    assert mended.code == 0
    assert mended.err == ""


def test_a_traceback_leaves_no_worker_behind(
    start: tuple[object, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would wait for them before it exits, and they for Python."""

    def out_of_memory(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("gan_core.trainer.Trainer.step", out_of_memory)
    with pytest.raises(RuntimeError, match="out of memory") as told:
        command(*start, "--workers", 1)
    assert told.tb is not None  # as when Python prints it: it holds on to the loader
    assert multiprocessing.active_children() == []


# --------------------------------------------------------------------------------- existing folders


def test_an_existing_run_is_left_alone_unless_asked(
    start: tuple[object, ...], command: Command, mistake: Mistake, contents: Contents
) -> None:
    command(*start, "--out", "a")
    before = contents(Path("a"))
    mistake(*start, "--seed", 1, "--out", "a", says=("a exists", "--resume a", "--overwrite"))
    # A mistake beside --overwrite must not cost the old run either.
    mistake(*start, "--overwrite", "--out", "a", "--size", 15, says=("multiple of 4",))
    assert contents(Path("a")) == before
    assert command(*start, "--seed", 1, "--out", "a", "--overwrite", "--steps", 1).code == 0
    assert contents(Path("a"))["model.safetensors"] != before["model.safetensors"]
    assert "checkpoints/step-00000002.pt" not in contents(Path("a"))


def test_what_cannot_be_resumed_is_not_offered(start: tuple[object, ...], command: Command) -> None:
    command(*start, "--out", "a")
    shutil.rmtree("a/checkpoints")
    refused = command(*start, "--out", "a")
    assert refused.code == 2
    assert refused.err == "error: a exists: choose another --out, or give --overwrite\n"


def test_a_folder_that_is_no_run_is_never_overwritten(
    start: tuple[object, ...], mistake: Mistake, contents: Contents, domains: tuple[Path, Path]
) -> None:
    before = contents(domains[0])
    mistake(*start, "--out", domains[0], says=("exists",))
    mistake(*start, "--out", domains[0], "--overwrite", says=("not a run folder",))
    mistake(*start, "--out", domains[0] / "00.png", says=("is a file", "--out"))
    mistake(*start, "--out", domains[0] / "00.png", "--overwrite", says=("is a file", "--out"))
    assert contents(domains[0]) == before


def test_an_empty_folder_may_become_the_run(
    start: tuple[object, ...], command: Command, here: Path
) -> None:
    (here / "a").mkdir()
    assert command(*start, "--out", "a").code == 0


# ------------------------------------------------------------------------- what newcomers broke


def test_a_folder_that_is_being_trained_is_left_alone(
    start: tuple[object, ...], model: Path, mistake: Mistake, contents: Contents, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(model, tmp_path / "run"))
    with RunFolder(run).held():
        before = contents(run)
        busy = (f"{run} is being trained by another process",)
        mistake("train", "cyclegan", "--resume", run, "--steps", 9, says=busy)
        mistake(*start, "--out", run, "--overwrite", says=busy)
        assert contents(run) == before
    assert not (run / ".lock").exists()


def test_a_recipe_edited_beyond_its_checkpoint(
    model: Path, mistake: Mistake, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(model, tmp_path / "run"))
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("filters = 4", "filters = 5"))
    says = (f"the checkpoint of {run} does not fit its recipe.toml",)
    mistake("train", "cyclegan", "--resume", run, "--steps", 9, says=says)


@pytest.mark.parametrize("text", ["data = 3\n", "[data]\nsize = 16\nsize = 32\n"])
def test_a_recipe_that_is_no_recipe(
    text: str, domains: tuple[Path, Path], mistake: Mistake, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    mistake("train", "cyclegan", "--recipe", path, "--domains", *domains, says=())


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden"])
def test_names_stay_inside_the_folder_of_runs(
    name: str, start: tuple[object, ...], mistake: Mistake
) -> None:
    mistake(*start, "--names", name, "other", says=("names must be usable in file names",))
