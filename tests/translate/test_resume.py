"""A run that was stopped, in whatever way, and gone on with is the run that never was.

Real processes of the command, on pictures of 20 pixels. The comparison is byte for byte, of the
model file, the sample grids and every figure of the log.
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
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

if sys.platform != "linux":
    pytest.skip("kills processes and looks for them in /proc", allow_module_level=True)

STEPS, EVERY = 30, 4  # a checkpoint after 4, 8, ... 28 and 30; an epoch has 6 steps
PATIENCE = 240  # seconds: a machine may be busy with something else

Start = Sequence[str | Path]
Undisturbed = Callable[[str], dict[str, Any]]
Killed = Callable[[Path], Path]

RECIPE = f"""
[method]
name = "cyclegan"
pool_size = 3  # full after three steps: from then on, chance exchanges pictures

[data]
size = 16
load_ratio = 1.25

[networks.generator]
kind = "resnet"
blocks = 1
filters = 4
dropout = true

[networks.discriminator]
kind = "patch"
layers = 1
filters = 4

[schedule]
steps = {STEPS}

[run]
device = "cpu"
precision = "fp32"
ema_half_life = 5.0
log_every = 1
sample_every = 10
checkpoint_every = {EVERY}
"""


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
        self.until(lambda: len(whole_lines(self.out)) >= step)

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
def training(out: Path, *arguments: str | Path, file_limit: int = 0) -> Iterator[Training]:
    """``translate train cyclegan ARGUMENTS``; ended, with all it started, when the block is left.

    file_limit: the largest file, in bytes, that it may write.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))

    said = out.with_name(f"{out.name}.said")
    command = [sys.executable, "-m", "translate", "train", "cyclegan", *map(str, arguments)]
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


def train(out: Path, *arguments: str | Path, file_limit: int = 0) -> tuple[int, str]:
    with training(out, *arguments, file_limit=file_limit) as started:
        return started.end()


def resume(out: Path, *arguments: str, says: str = "") -> None:
    code, said = train(out, "--resume", out, *arguments)
    assert (code, said) == (0, says)


def whole_lines(out: Path) -> list[str]:
    log = out / "log.jsonl"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def result(out: Path) -> dict[str, Any]:
    """All that a run computed; neither times nor memory."""
    beside = ("images_per_second", "memory_mb")
    lines = [json.loads(line) for line in whole_lines(out)]
    return {
        "log": [{k: v for k, v in line.items() if k not in beside} for line in lines],
        "samples": {path.name: path.read_bytes() for path in (out / "samples").iterdir()},
        "model": (out / "model.safetensors").read_bytes(),
    }


def assert_same(out: Path, undisturbed: dict[str, Any]) -> None:
    steps = [line["step"] for line in result(out)["log"]]
    assert steps == list(range(1, STEPS + 1))
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
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Arguments that start a run: six pictures in one folder, five in the other, and a recipe."""
    folder = tmp_path_factory.mktemp("given")
    rng = np.random.default_rng(0)
    for name, count in {"sketches": 6, "photos": 5}.items():
        (folder / name).mkdir()
        for i in range(count):
            picture = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f"{i}.png"), picture)
    (folder / "tiny.toml").write_text(RECIPE)
    domains = folder / "sketches", folder / "photos"
    return ["--domains", *domains, "--recipe", folder / "tiny.toml"]


@pytest.fixture(scope="session")
def undisturbed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The result of a run from beginning to end, by its precision."""
    known: dict[str, dict[str, Any]] = {}

    def of(precision: str) -> dict[str, Any]:
        if precision not in known:
            out = tmp_path_factory.mktemp("undisturbed") / precision
            code, said = train(out, *start, "--out", out, "--precision", precision)
            assert (code, said) == (0, "")
            known[precision] = result(out)
        return known[precision]

    return of


@pytest.fixture(scope="session")
def killed(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Copies the folder of a run that was killed in its second epoch, after step 10 or so."""
    out = tmp_path_factory.mktemp("killed") / "run"
    with training(out, *start, "--out", out) as started:
        started.until_step(10)
        started.kill()
    assert len(checkpoints(out)) == 2

    def copy(to: Path) -> Path:
        return Path(shutil.copytree(out, to))

    return copy


def next_checkpoint(out: Path) -> Path:
    """That a run will write next."""
    last = int(max(checkpoints(out)).removeprefix("step-").removesuffix(".pt"))
    return out / "checkpoints" / f"step-{last + EVERY:08d}.pt"


def test_a_killed_run_goes_on_to_the_same_model(
    killed: Killed, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    out = killed(tmp_path / "run")
    done = len(whole_lines(out))
    resume(out)
    assert 10 <= done < STEPS
    assert_same(out, undisturbed("fp32"))


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
@pytest.mark.parametrize("step", [13, 18, 27])
def test_killed_at_several_steps(
    step: int, start: Start, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """In the middle and at the end of an epoch, and while the learning rate falls."""
    out = tmp_path / "run"
    with training(out, *start, "--out", out) as started:
        started.until_step(step)
        started.kill()
    resume(out)
    assert_same(out, undisturbed("fp32"))


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
    done = len(whole_lines(out))
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
