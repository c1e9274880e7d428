"""The folder of a training run: recipe, log, samples, checkpoints, model.

recipe.toml  log.jsonl  samples/step-*.png (.txt)  checkpoints/step-*.pt  model.safetensors
best.safetensors
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from gan_core.checkpoint import checkpoints, load_state, save_state
from gan_core.files import FileError, write_whole
from translate.data.image import write
from translate.errors import UserError


class RunFolder:
    """Reads and writes one run's files.

    log_every, sample_every, checkpoint_every: intervals in steps; keep: checkpoints kept.
    samples: columns of the sample grids; judged: held-out pictures that figures are computed on.
    tensorboard: write its event files into the folder as well (needs the extra of that name).
    """

    def __init__(
        self,
        path: Path,
        *,
        log_every: int = 50,
        sample_every: int = 500,
        checkpoint_every: int = 1000,
        keep: int = 2,
        samples: int = 8,
        judged: int = 64,
        tensorboard: bool = False,
    ) -> None:
        counts = {"log_every": log_every, "sample_every": sample_every, "keep": keep}
        counts |= {"checkpoint_every": checkpoint_every, "samples": samples, "judged": judged}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name} must be 1 or more, not {value}")
        self.path = path
        self.log_every, self.sample_every = log_every, sample_every
        self.checkpoint_every, self.keep = checkpoint_every, keep
        self.samples, self.judged = samples, judged
        self.tensorboard = tensorboard

    @cached_property
    def _events(self) -> Any:
        return _event_writer(self.path)

    @property
    def model(self) -> Path:
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "best.safetensors"

    def create(self, recipe: str, overwrite: bool) -> None:
        """Make the folder with its recipe; an older run's goes only where asked."""
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another --out")
        if self.path.is_dir() and any(path != self._lock for path in self.path.iterdir()):
            if not overwrite:
                resumable = checkpoints(self.path / "checkpoints")
                go_on = f"go on with it by --resume {quote(str(self.path))}, " if resumable else ""
                raise UserError(
                    f"{self.path} exists: {go_on}choose another --out, or give --overwrite"
                )
            if not (self.path / "recipe.toml").is_file():
                raise UserError(f"{self.path} is not a run folder, so --overwrite leaves it alone")
            with self.held():
                shutil.rmtree(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_recipe(recipe)

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process trains in the folder; the system lets go when a process dies."""
        lock = FileLock(self._lock)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.path} is being trained by another process: wait for it, stop it, or "
                "choose another --out"
            ) from None
        try:
            yield
        finally:
            self._lock.unlink(missing_ok=True)
            lock.release()

    def write_recipe(self, recipe: str) -> None:
        write_whole(self.path / "recipe.toml", lambda file: file.write(recipe.encode()))

    def log(self, line: Mapping[str, Any]) -> None:
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self.tensorboard:
            for name, value in line.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, line["step"])

    def forget_log_after(self, step: int) -> None:
        """Drop lines of steps that a resumed run does again."""
        path = self.path / "log.jsonl"
        if path.exists():
            kept = [line for line in self._lines() if _step_of(line) <= step]
            text = "".join(line + "\n" for line in kept)
            write_whole(path, lambda file: file.write(text.encode()))

    def logged(self) -> list[dict[str, Any]]:
        """The log's lines so far."""
        return [json.loads(line) for line in self._lines() if _step_of(line) < float("inf")]

    def _lines(self) -> list[str]:
        path = self.path / "log.jsonl"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def save_sample(self, step: int, sheet: np.ndarray | str) -> None:
        """A picture, or a text."""
        path = self.path / "samples" / f"step-{step:08d}"
        if isinstance(sheet, str):
            write_whole(path.with_suffix(".txt"), lambda file: file.write(sheet.encode()))
        else:
            write(path.with_suffix(".png"), sheet)

    def save_state(self, state: Mapping[str, Any], step: int) -> None:
        save_state(self.path / "checkpoints", state, step, self.keep)

    def latest(self, say: Callable[[str], None]) -> dict[str, Any]:
        """The newest training state that can be read; ``say`` is told of those that cannot."""
        found = checkpoints(self.path / "checkpoints")
        damaged: list[str] = []
        for path in reversed(found):
            try:
                state = load_state(path)
            except FileError as error:
                damaged.append(str(error))
                continue
            for sentence in damaged:
                say(f"passed over: {sentence}")
            return state
        what = "none of its checkpoints can be read" if found else "it has no checkpoint yet"
        raise UserError(
            f"{self.path} cannot be resumed: {what}; start anew with --out {self.path} --overwrite"
        )


def _step_of(line: str) -> float:
    """A line cut short by a kill counts as never written."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError):
        return float("inf")


def _event_writer(path: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("run.tensorboard = true needs the package tensorboard installed") from None
    return SummaryWriter(str(path))
