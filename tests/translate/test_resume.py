"""A run that was stopped, in whatever way, and gone on with is the run that never was.

Every method with all of chance and of state that its recipe's keys allow, on pictures of 20 pixels.
What is killed is a real process of the command. The comparison is byte for byte, of the model file,
the sample grids and every figure of the log.
"""

import fcntl
import json
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from starts import GROWING, SYSTEMS, System, every_system
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from translate.recipe import flat, resolve
from translate.recipe_file import read
from translate.run_folder import RunFolder

if sys.platform != "linux":
    pytest.skip("kills processes and looks for them in /proc", allow_module_level=True)

STEPS, EVERY = 30, 4  # a checkpoint after 4, 8, ... 28 and 30
PATIENCE = 240  # seconds: a machine may be busy with something else

CYCLEGAN = SYSTEMS[0]
Start = Sequence[str | Path]
Given = Callable[..., Start]
Undisturbed = Callable[..., dict[str, Any]]
Killed = Callable[[Path], Path]
Command = Callable[..., Any]

# Of these, every system takes the keys that its recipe has.
SETTINGS = {
    "method.pool_size": 3,  # full after two steps: from then on, chance exchanges pictures
    "method.loss": "hinge",  # whose scores have a boundary, which a handicap needs
    "method.penalty": "two-sided",  # draws the mixes
    "method.penalty_every": 2,
    "method.condition": "projection",
    "method.discriminator_steps": 2,
    "method.burst": 0,
    "method.constraint": "norm-clip",
    "method.clip": 0.5,
    "method.margin": 20.0,
    "method.lambda_k": 0.05,  # k moves at once
    "method.noise": 0.1,
    "method.augment": ["colour", "translation", "cutout"],
    "method.augment_target": 0.1,
    "method.augment_images": 60,  # so does the probability
    "method.balance": 0.55,
    "method.balance_window": 3,
    "data.points": 50,
    "data.length": 8,
    "data.load_ratio": 1.25,
    "data.batch_size": 2,
    "networks.generator.filters": 4,
    "networks.generator.blocks": 1,
    "networks.generator.depth": 6,
    "networks.generator.latent": 8,
    "networks.generator.norm": "batch",
    "networks.generator.dropout": True,
    "networks.discriminator.filters": 4,
    "networks.discriminator.layers": 1,
    "networks.discriminator.norm": "instance",
    "networks.discriminator.weights": "spectral",
    "networks.discriminator.latent": 8,
    "networks.generator.base": 32,
    "networks.discriminator.base": 32,
    "networks.encoder.filters": 4,
    "networks.encoder.norm": "instance",
    "networks.encoder.weights": "spectral",
    "growth.stabilise": 3,  # shares of a run, by --steps: stops come while something fades
    "growth.fade": 6,
    "growth.final": 2,
    "growth.batch_sizes": [2],
    "optimizer.lr": 0.05,  # so that they soon change their minds
    "schedule.kind": "linear",
    "run.device": "cpu",
    "run.precision": "fp32",
    "run.seed": 4,  # by which discriminators are at times sure of real pictures
    "run.ema_half_life": 5.0,
    "run.log_every": 1,
    "run.sample_every": 10,
    "run.checkpoint_every": EVERY,
    "run.judged": 5,
}
# A boundary between scores is what these need; energies have none.
OF_SCORES = {"method.augment_target", "method.balance", "optimizer.lr"}
OF_PICTURES = {"method.augment", "method.augment_target", "networks.discriminator.norm"}


def settings(system: System) -> dict[str, Any]:
    known = flat(resolve(read(system.recipe), [], system.method).values)
    left_out = set() if "method.loss" in known else OF_SCORES
    if not system.of_pictures:
        left_out |= OF_PICTURES
    if "networks.generator.base" in known:  # of equalised layers, which no constraint holds
        left_out |= {"method.constraint"}
    deep = "networks.generator.depth" in known  # a U-Net has dropout from depth 6 on
    asked = {"data.size": 64 if deep else 16, **SETTINGS}
    return {k: v for k, v in asked.items() if k in known and k not in left_out}


@dataclass
class Training:
    """A process that trains into the folder ``out``."""

    process: subprocess.Popen[bytes]
    out: Path
    said: Path

    def until(self, happened: Callable[[], object]) -> None:
        """Look, hundreds of times a second, whether something has happened."""
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert self.process.poll() is None, f"it ended: {self.said.read_text()}"
            assert time.monotonic() < deadline, f"it did not happen: {self.said.read_text()}"
            time.sleep(0.002)

    def until_step(self, step: int) -> None:
        self.until(lambda: len(step_lines(self.out)) >= step)

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait(PATIENCE) == -signal.SIGKILL

    def end(self) -> tuple[int, str]:
        """Exit code and what was said on stderr."""
        return self.process.wait(PATIENCE), self.said.read_text()

    def others(self) -> list[int]:
        """Processes that it started, directly or not, and that are still there."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                after_name = entry.read_text().rpartition(")")[2].split()
            except OSError:
                continue  # gone meanwhile
            state, session = after_name[0], int(after_name[3])
            if session == self.process.pid != int(entry.parent.name) and state not in "ZX":
                found.append(int(entry.parent.name))
        return found


@contextmanager
def training(
    out: Path, *arguments: str | Path, method: str = "cyclegan", file_limit: int = 0
) -> Iterator[Training]:
    """``translate train METHOD ARGUMENTS``; ended, with all it started, when the block is left.

    file_limit: the largest file, in bytes, that it may write.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    said = out.with_name(f"{out.name}.said")
    command = [sys.executable, "-m", "translate", "train", method, *map(str, arguments)]
    with open(said, "wb") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=file,
            cwd=out.parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            start_new_session=True,
            preexec_fn=limit if file_limit else None,
        )
    started = Training(process, out, said)
    try:
        yield started
    finally:
        process.kill()
        process.wait()
        for pid in started.others():
            os.kill(pid, signal.SIGKILL)


def train(out: Path, *arguments: str | Path, **options: Any) -> tuple[int, str]:
    with training(out, *arguments, **options) as started:
        return started.end()


def resume(out: Path, *arguments: str, says: str = "", **options: Any) -> None:
    code, said = train(out, "--resume", out, *arguments, **options)
    assert (code, lines_but_the_last(said)) == (0, says.splitlines())


def lines_but_the_last(said: str) -> list[str]:
    """Without the word at the end of a run whose last model is not about its best."""
    return [line for line in said.splitlines() if "best.safetensors" not in line]


def whole_lines(out: Path) -> list[str]:
    log = out / "log.jsonl"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def step_lines(out: Path) -> list[str]:
    """Without those of figures."""
    return [line for line in whole_lines(out) if '"images"' in line]


def result(out: Path) -> dict[str, Any]:
    """All that a run computed; neither times nor memory."""
    beside = ("images_per_second", "memory_mb")
    logged = [json.loads(line) for line in whole_lines(out)]
    lines = [{k: v for k, v in line.items() if k not in beside} for line in logged]
    return {
        "log": [line for line in lines if "images" in line],
        "figures": [line for line in lines if "images" not in line],
        "samples": {path.name: path.read_bytes() for path in (out / "samples").iterdir()},
        **{path.name: path.read_bytes() for path in out.glob("*.safetensors")},
    }


def assert_same(out: Path, undisturbed: dict[str, Any]) -> None:
    steps = [line["step"] for line in result(out)["log"]]
    assert steps == list(range(1, STEPS + 1))
    assert result(out).keys() == undisturbed.keys()
    for name, made in result(out).items():
        assert made == undisturbed[name], name
    assert not [path for path in out.rglob("*") if path.name.endswith(".part")]


def checkpoints(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "checkpoints").glob("*.pt"))}


@contextmanager
def caught_writing(path: Path) -> Iterator[Callable[[], bool]]:
    """Whoever writes ``path`` is held up inside; the yielded function says whether that is so.

    In the place of the temporary file stands a pipe that takes few bytes. When the block is left
    those bytes lie there as a file: what a kill would have left.
    """
    part = path.with_name(f".{path.name}.part")
    os.mkfifo(part)
    pipe = os.open(part, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    got = b""

    def inside() -> bool:
        nonlocal got
        try:
            got += os.read(pipe, 100) if not got else b""
        except BlockingIOError:
            return False
        return bool(got)

    try:
        yield inside
    finally:
        os.close(pipe)
        part.unlink(missing_ok=True)
        part.write_bytes(got)


@pytest.fixture(scope="session")
def given(data_of: Callable[..., Start], tmp_path_factory: pytest.TempPathFactory) -> Given:
    """Arguments that start a run of a system, of so many steps: its data, and its settings."""
    folder = tmp_path_factory.mktemp("given")

    def of(system: System, steps: int = STEPS) -> Start:
        words = [f"--set={key}={json.dumps(value)}" for key, value in settings(system).items()]
        recipe = ["--recipe", system.recipe]
        data = data_of(system.recipe, folder / str(system))
        return [*data, *recipe, *words, "--steps", str(steps)]

    return of


@pytest.fixture(scope="session")
def start(given: Given) -> Start:
    return given(CYCLEGAN)


@pytest.fixture(scope="session")
def undisturbed(given: Given, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The result of a run from beginning to end, by its precision and system."""

    @cache
    def of(precision: str, system: System = CYCLEGAN) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("undisturbed") / precision
        words = [*given(system), "--out", out, "--precision", precision]
        code, said = train(out, *words, method=system.method)
        assert (code, lines_but_the_last(said)) == (0, [])
        return result(out)

    return of


@pytest.fixture(scope="session")
def killed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Copies the folder of a run that was killed after step 10 or so."""
    out = tmp_path_factory.mktemp("killed") / "run"
    with training(out, *start, "--out", out) as started:
        started.until_step(10)
        started.kill()
    assert len(checkpoints(out)) == 2
    assert 10 <= len(step_lines(out)) < STEPS

    def copy(to: Path) -> Path:
        return Path(shutil.copytree(out, to))

    return copy


def next_checkpoint(out: Path) -> Path:
    """That a run will write next."""
    last = int(max(checkpoints(out)).removeprefix("step-").removesuffix(".pt"))
    return out / "checkpoints" / f"step-{last + EVERY:08d}.pt"


# ---- every method --------------------------------------------------------------------------------


@every_system()
def test_these_runs_hold_all_that_is_to_be_found_again(system: System) -> None:
    """Else what follows would say less than it seems to."""
    recipe = resolve(read(system.recipe), list(settings(system).items()), system.method)
    made, values = recipe.make_method(), recipe.values
    with torch.device("meta"):
        nets, _ = recipe.make_networks(made, recipe.layout.channels_of(values["data"]))
    modules = [module for net in nets.values() for module in net.modules()]
    batch_norm = any(isinstance(m, nn.BatchNorm2d) for m in modules)
    latents = "latent" in values["networks"]["generator"]
    assert batch_norm or not system.of_pictures or system.method == "began"
    assert latents or any(isinstance(m, nn.Dropout) for m in modules)
    assert any(map(is_parametrized, modules)) or not hasattr(made, "adversary")
    held = {"pool_size": 3, "penalty": "two-sided", "noise": 0.1}.items()
    assert values["method"].items() >= {(k, v) for k, v in held if k in values["method"]}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@every_system([*SYSTEMS, *GROWING])
def test_stopped_and_resumed_and_saved_at_other_steps(
    system: System,
    precision: str,
    given: Given,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In this process, where SIGTERM comes at a certain step, while the learning rate falls.

    Each save and each sample passes pictures through the averaged networks.
    """
    words = ["train", system.method, *given(system, 10), "--precision", precision, "--out"]
    never = "--set=run.checkpoint_every=1000", "--set=run.sample_every=1000"
    assert command(*words, tmp_path / "whole", *never).code == 0
    write_line = RunFolder.log

    def log(folder: RunFolder, line: dict[str, Any]) -> None:
        write_line(folder, line)
        if line["step"] == 6 and "images" in line:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "log", log)
    out = tmp_path / "run"
    often = "--set=run.checkpoint_every=4", "--set=run.sample_every=3"
    assert command(*words, out, *often).code == 128 + signal.SIGTERM
    assert list(checkpoints(out)) == ["step-00000004.pt", "step-00000006.pt"]
    assert command("train", system.method, "--resume", out).code == 0
    whole, resumed = result(tmp_path / "whole"), result(out)
    assert resumed["model.safetensors"] == whole["model.safetensors"]
    assert resumed["log"] == whole["log"]
    assert [line["step"] for line in whole["log"]] == list(range(1, 11))
    assert resumed["samples"].items() > whole["samples"].items()
    assert resumed["figures"][-1:] == whole["figures"]
    for name in {"k", "augmentation"} & whole["log"][0].keys():
        assert len({line[name] for line in whole["log"]}) > 1, f"{name} moves"
    skips = {line.get("skipped real", 0) + line.get("skipped fake", 0) for line in whole["log"]}
    assert (len(skips) > 1) == ("method.balance" in settings(system))


@pytest.mark.slow
@pytest.mark.parametrize(("step", "precision"), [(13, "fp32"), (27, "bf16")])
@every_system([*SYSTEMS, *GROWING])
def test_killed_and_resumed(
    system: System,
    step: int,
    precision: str,
    given: Given,
    undisturbed: Undisturbed,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    words = [*given(system), "--out", out, "--precision", precision]
    with training(out, *words, method=system.method) as started:
        started.until_step(step)
        started.kill()
    assert step <= len(step_lines(out)) < STEPS
    resume(out, method=system.method)
    assert_same(out, undisturbed(precision, system))


# ---- processes and files, of one method ----------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_between_checkpoints_and_again_inside_one(
    workers: int, precision: str, start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    given = ["--out", out, "--precision", precision, "--workers", str(workers)]
    with training(out, *start, *given) as first:
        first.until_step(EVERY + 2)
        at_work = first.others()
        first.kill()
        assert len(at_work) == workers
        wait_until_gone(first)

    before = checkpoints(out)
    with (
        caught_writing(next_checkpoint(out)) as inside,
        training(out, "--resume", out) as second,
    ):
        second.until(inside)
        second.kill()
    assert list(out.glob("checkpoints/.*.part"))
    assert checkpoints(out) == before

    resume(out)
    assert_same(out, undisturbed(precision))


def wait_until_gone(started: Training) -> None:
    """Worker processes look every five seconds whether they are needed any more."""
    deadline = time.monotonic() + 30
    while started.others() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert started.others() == []


@pytest.mark.slow
def test_killed_before_the_first_checkpoint_there_is_nothing_to_go_on_from(
    start: Start, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with training(out, *start, "--out", out, "--set", "run.checkpoint_every=100") as started:
        started.until_step(2)
        started.kill()
    code, said = train(out, "--resume", out)
    assert code == 2
    assert said == (
        f"error: {out} cannot be resumed: it has no checkpoint yet; "
        f"start anew with --out {out} --overwrite\n"
    )


@pytest.mark.slow
def test_killed_at_the_end_between_checkpoint_and_model(
    killed: Killed, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """The model file is then one of an earlier step, though all steps are done."""
    out = killed(tmp_path / "run")
    never = ["--set", "run.checkpoint_every=1000"]
    with (
        caught_writing(out / "model.safetensors") as inside,
        training(out, "--resume", out, *never) as started,
    ):
        started.until(inside)
        started.kill()
    assert f"step-{STEPS:08d}.pt" in checkpoints(out)
    code, said = train(out, "--resume", out)
    assert (code, said) == (0, f"nothing to do: {STEPS} of {STEPS} steps are done\n")
    assert_same(out, undisturbed("fp32"))


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "precision"), [(0, 2, "fp32"), (2, 0, "bf16")])
def test_resumed_with_another_number_of_workers(
    before: int,
    after: int,
    precision: str,
    start: Start,
    undisturbed: Undisturbed,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    given = ["--out", out, "--precision", precision, "--workers", str(before)]
    with training(out, *start, *given) as started:
        started.until_step(EVERY + 1)
        started.kill()
    resume(out, "--workers", str(after))
    assert_same(out, undisturbed(precision))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves_and_says_how_to_go_on(
    number: signal.Signals, workers: int, start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Ctrl-C reaches the whole process group, as from a terminal; SIGTERM the process alone."""
    out = tmp_path / "a run"  # the command that is named must stand a space
    with training(out, *start, "--out", out, "--workers", str(workers)) as started:
        started.until_step(EVERY + 1)
        (os.killpg if number == signal.SIGINT else os.kill)(started.process.pid, number)
        code, said = started.end()
        left = started.others()
    assert code == 128 + number
    assert left == []
    first, last = said.splitlines()
    assert first == "stopping after this step; once more leaves at once, unsaved"
    done = len(step_lines(out))
    assert last.startswith(f"stopped at step {done} of {STEPS}, all saved; go on with: translate ")
    assert done < STEPS
    assert f"step-{done:08d}.pt" in checkpoints(out)

    command = shlex.split(last.partition("go on with: ")[2])
    assert command[:4] == ["translate", "train", "cyclegan", "--resume"]
    assert train(out, *command[3:]) == (0, "")
    assert_same(out, undisturbed("fp32"))


@pytest.mark.slow
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once(
    second: signal.Signals, killed: Killed, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = killed(tmp_path / "run")
    before = checkpoints(out)
    with (
        caught_writing(next_checkpoint(out)) as inside,
        training(out, "--resume", out, "--workers", "2") as started,
    ):
        started.until(inside)
        started.process.send_signal(signal.SIGTERM)
        started.until(lambda: "once more" in started.said.read_text())
        started.process.send_signal(second)
        assert started.process.wait(20) == 128 + second
        wait_until_gone(started)
    assert checkpoints(out) == before
    resume(out)
    assert_same(out, undisturbed("fp32"))


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_truncated_checkpoint_is_passed_over(
    kept: int, killed: Killed, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """``kept``: how many of its bytes."""
    out = killed(tmp_path / "run")
    last = out / "checkpoints" / max(checkpoints(out))
    last.write_bytes(last.read_bytes()[:kept])
    why = "is not a readable checkpoint: cut short or damaged"
    resume(out, says=f"passed over: {last} {why}\n")
    assert_same(out, undisturbed("fp32"))


@pytest.mark.slow
def test_with_every_checkpoint_truncated_nothing_is_touched(killed: Killed, tmp_path: Path) -> None:
    out = killed(tmp_path / "run")
    for name, data in checkpoints(out).items():
        (out / "checkpoints" / name).write_bytes(data[:1000])
    before = checkpoints(out), whole_lines(out)
    code, said = train(out, "--resume", out)
    assert code == 2
    assert said == (
        f"error: {out} cannot be resumed: none of its checkpoints can be read; "
        f"start anew with --out {out} --overwrite\n"
    )
    assert (checkpoints(out), whole_lines(out)) == before


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_costs_no_checkpoint(
    killed: Killed, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """Not full, in truth: no file may grow beyond what lies between model and checkpoint."""
    out = killed(tmp_path / "run")
    before, model = checkpoints(out), (out / "model.safetensors").stat().st_size
    limit = (model + min(map(len, before.values()))) // 2
    assert len((out / "log.jsonl").read_bytes()) * 3 < limit  # it is not the log that fails
    code, said = train(out, "--resume", out, file_limit=limit)
    assert code == 2
    what = "File too large; what was there before is untouched"
    assert said == f"error: could not write {next_checkpoint(out)}: {what}\n"
    assert checkpoints(out) == before
    assert not list(out.rglob(".*.part"))
    resume(out)
    assert_same(out, undisturbed("fp32"))


@pytest.mark.slow
def test_what_an_interrupted_checkpoint_left_is_removed_by_the_next(
    killed: Killed, tmp_path: Path
) -> None:
    """Also where no later run writes that step's again: it may be gigabytes."""
    out = killed(tmp_path / "run")
    left = out / "checkpoints" / ".step-00000003.pt.part"
    left.write_bytes(b"what was written of it")
    resume(out)
    assert not left.exists()
