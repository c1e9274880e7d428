"""A run from its recipe: builds the parts, starts, resumes, trains, and writes the run folder."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gan_core import checkpoint, distributed
from gan_core.precision import resolve as resolve_precision
from gan_core.routing import trainable
from gan_core.trainer import Logs, Trainer, TrainingError, run
from translate.data.dataset import DataSet
from translate.data.loader import Batches, resolve_workers
from translate.data.preparation import Preparation
from translate.data.sets import LAYOUTS
from translate.device import peak_memory
from translate.errors import UserError
from translate.methods import TranslationMethod
from translate.recipe import Recipe, changed_keys, resolve
from translate.recipe_file import read
from translate.run_folder import RunFolder
from translate.samples import judge, made, sample_grid, settle
from translate.schema import blaming

Say = Callable[[str], None]


@dataclass
class Run:
    """The parts of a run, built from its recipe."""

    recipe: Recipe
    device: torch.device
    method: TranslationMethod
    data: DataSet
    trainer: Trainer
    describe: dict[str, dict[str, Any]]

    def model_header(self) -> dict[str, Any]:
        return {
            "method": self.recipe.method,
            "networks": {name: self.describe[name] for name in self.method.averaged},
            "size": self.recipe.size,
            "at": self.recipe.size if self.data.layout.prepare.squares and self._whole() else None,
            "range": [-1, 1],
            "recipe": self.recipe.header(),
            **self.data.layout.header(self.method.translations),
        }

    def _whole(self) -> bool:
        """Whether a generator expects pictures as large as it was trained on."""
        return any(getattr(net, "whole", False) for net in self.trainer.average.nets.values())

    def save_model(self, path: Path) -> None:
        tensors = {
            f"{name}.{key}": tensor
            for name, net in self.trainer.average.nets.items()
            for key, tensor in net.state_dict().items()
        }
        checkpoint.save_model(path, tensors, self.model_header())


def build(recipe: Recipe, device: torch.device, say: Say) -> Run:
    """Everything a run needs, in memory; ``auto`` values are resolved into the recipe."""
    with blaming("run"):
        recipe.values["run"]["precision"] = resolve_precision(
            recipe.values["run"]["precision"], device
        )
    seed = recipe.values["run"]["seed"]
    if not 0 <= seed < 2**63:
        raise UserError(f"recipe: [run] seed must be from 0 to 2^63 - 1, not {seed}")
    method = recipe.make_method()
    with blaming("data"):
        prepare = Preparation(**recipe.keywords("data", Preparation))
        maker = LAYOUTS[method.data]
        layout = maker(prepare, **recipe.keywords("data", maker))
        data = DataSet(layout, seed, **recipe.keywords("data", DataSet))
        resolve_workers(recipe.values["data"]["workers"], device)
        # What the first step would stumble over is told now, before a run folder is made.
        next(Batches(data, 0, device, workers=0))
        data.held_out_batch(1)
    recipe.values["data"] |= layout.found
    torch.manual_seed(seed)  # the networks' first weights
    nets, describe = recipe.make_networks(method, layout.channels)
    for net in nets.values():
        net.to(device)
    optimizers = {
        update.name: recipe.make_optimizer(update.name, trainable(update, nets))
        for update in method.updates
    }
    with blaming("run"):
        trainer = Trainer(
            method,
            nets,
            optimizers,
            steps_of(recipe, data),
            recipe.make_rate(),
            say,
            **recipe.keywords("run", Trainer),
        )
    return Run(recipe, device, method, data, trainer, describe)


def steps_of(recipe: Recipe, data: DataSet) -> int:
    """Length of the run in steps; an epoch shows the longest stream once."""
    schedule, accumulate = recipe.values["schedule"], recipe.values["run"]["accumulate"]
    if schedule["steps"] < 0 or schedule["epochs"] < 0:
        raise UserError("recipe: [schedule] steps and epochs must be 0 or more")
    steps = schedule["steps"] or schedule["epochs"] * -(-data.batches_per_epoch() // accumulate)
    if steps == 0:
        raise UserError("recipe: [schedule] give steps or epochs, such as epochs = 200")
    return int(steps)


def open_run(path: Path, overrides: list[tuple[str, Any]], method: str | None) -> Recipe:
    """The recipe of a run folder to resume; refuses, by name, changes that would break it."""
    if not (path / "recipe.toml").is_file():
        raise UserError(f"{path} is not a run folder: it has no recipe.toml")
    before = resolve(read(str(path / "recipe.toml")), [], method)
    after = resolve(read(str(path / "recipe.toml")), overrides, method)
    changed = changed_keys(before, after)
    if changed:
        raise UserError(
            f"a resumed run cannot change {', '.join(changed)}: start a new one, or edit "
            f"{path / 'recipe.toml'} if the run may go another way from here"
        )
    return after


def folder_of(run_: Run, path: Path) -> RunFolder:
    with blaming("run"):
        return RunFolder(path, **run_.recipe.keywords("run", RunFolder))


def begin(run_: Run, folder: RunFolder, overwrite: bool) -> None:
    """Make the run's folder, by the first process; if that may not, no process goes on."""
    refused: UserError | None = None
    if distributed.rank() == 0:
        try:
            folder.create(run_.recipe.toml(), overwrite)
        except UserError as error:
            refused = error
    if distributed.any_rank(refused is not None):
        raise refused or UserError("the first process could not make the run folder")


def restore(run_: Run, folder: RunFolder, say: Say) -> None:
    """Put the run where the folder's newest readable checkpoint stands."""
    trainer = run_.trainer
    state = _to_device(folder.latest(say), run_.device)
    pictures = run_.data.counts()
    try:
        before = state["pictures"]
        trainer.load_state_dict(state["trainer"])
    except distributed.WorldError as error:
        raise UserError(f"{folder.path} cannot be resumed so: {error}") from None
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(
            f"the checkpoint of {folder.path} does not fit its recipe.toml, which was changed: "
            f"{' '.join(str(error).split())[:200]}"
        ) from None
    if before != pictures:
        say(
            f"the pictures are not those that the run began with ({before}, now {pictures}): "
            "it goes on, but not as it would have gone"
        )
    done = trainer.counts["step"]
    if len(set(distributed.gather(done))) > 1:
        raise UserError(f"not all processes see the same checkpoint of {folder.path}: wait for it")
    if done > trainer.steps:
        raise UserError(f"{folder.path} has done {done} steps already, more than {trainer.steps}")
    if distributed.rank() == 0:
        folder.write_recipe(run_.recipe.toml())
        folder.forget_log_after(done)


def train(
    run_: Run,
    folder: RunFolder,
    *,
    stop: Callable[[], bool],
    show: Callable[[Logs], None],
    say: Say,
) -> bool:
    """Train to the end or until ``stop()``; return whether the end was reached.

    The folder exists with its recipe. What was trained is saved whichever way this ends; after a
    training error and too many unreadable files too, so that a run can be gone on with.
    """
    trainer, method, data = run_.trainer, run_.method, run_.data
    layout, nets = data.layout, trainer.average.nets
    held_out = data.held_out_batch(folder.judged if data.judges else folder.samples)
    meter, first = _Meter(trainer), distributed.rank() == 0  # one process writes for all

    def log(_: Logs) -> None:
        line = meter.report()
        if first:
            folder.log(line)

    def sample(_: Logs) -> None:
        if not first:
            return
        step, precision = trainer.counts["step"], trainer.precision
        settle_once()
        pictures = made(method, layout, nets, held_out, run_.device, precision)
        folder.save_sample(step, sample_grid(method, layout, pictures, held_out, folder.samples))
        if data.judges:
            folder.log({"step": step, **judge(layout, pictures, held_out)})

    settled = -1

    def settle_once() -> None:  # where sampling and saving meet
        nonlocal settled
        if settled != trainer.counts["step"]:
            settle(method, nets, data, run_.device, trainer.precision)
            settled = trainer.counts["step"]

    def save_model() -> None:
        settle_once()
        run_.save_model(folder.model)

    def save(_: Logs) -> None:
        state = trainer.state_dict()  # takes all processes
        if first:
            seen = {"trainer": state, "pictures": data.counts()}
            folder.save_state(seen, trainer.counts["step"])
            save_model()

    def each(logs: Logs) -> None:
        meter.take(logs)
        show(logs)

    every = {each: 1, log: folder.log_every, sample: folder.sample_every}
    every[save] = folder.checkpoint_every
    if trainer.counts["step"] >= trainer.steps:
        if first:
            say(f"nothing to do: {trainer.counts['step']} of {trainer.steps} steps are done")
            save_model()  # a kill may have come between the last state and its model
        return True
    with blaming("data"):
        workers = run_.recipe.keywords("data", Batches)
        batches = Batches(data, trainer.counts["batches"], run_.device, say, **workers)
    try:
        finished = run(trainer, batches, every=every, stop=stop)
    except (TrainingError, UserError) as error:
        if distributed.world() == 1:  # others may not have met the error, and would not come
            save({})
        raise UserError(str(error)) from error
    finally:
        batches.close()
    if not finished:
        save({})
    return finished


class _Meter:
    """Means of the losses, and rates, since the last report."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._restart()

    def _restart(self) -> None:
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.since, self.images = time.perf_counter(), self.trainer.counts["images"]

    def take(self, logs: Logs) -> None:
        for name, value in logs.items():
            self.sums[name].append(value)

    def report(self) -> dict[str, Any]:
        counts = self.trainer.counts
        seconds = time.perf_counter() - self.since
        line = {
            "step": counts["step"],
            "images": counts["images"],
            **{name: sum(values) / len(values) for name, values in self.sums.items()},
            "images_per_second": (counts["images"] - self.images) / seconds,
            "memory_mb": peak_memory(self.trainer.device) / 2**20,
            "redone": counts["redone"],
            "skipped": counts["skipped"],
        }
        self._restart()
        return line


def _to_device(state: Any, device: torch.device) -> Any:
    """Tensors of nested containers on a device (the optimisers and the pool need theirs there)."""
    if isinstance(state, torch.Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: _to_device(value, device) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_to_device(value, device) for value in state)
    return state


def expect(run_: Run, steps: int = 3) -> dict[str, Any]:
    """What a run would cost, from ``steps`` steps done in memory on its own data."""
    trainer = run_.trainer
    batches = Batches(run_.data, 0, run_.device, workers=0)
    trainer.step(batches)  # the first step allocates and chooses algorithms
    began = time.perf_counter()
    for _ in range(steps):
        trainer.step(batches)
    seconds = (time.perf_counter() - began) / steps
    return {
        "method": run_.recipe.method,
        "data": run_.data.counts(),
        "device": str(run_.device),
        "precision": trainer.precision,
        "parameters": {name: parameters(net) for name, net in trainer.nets.items()},
        "steps": trainer.steps,
        "seconds_per_step": seconds,
        "memory_bytes": peak_memory(run_.device),
        "disk_bytes": _bytes(trainer.state_dict()) * run_.recipe.values["run"]["keep"],
    }


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def _bytes(state: Any) -> int:
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(_bytes, state.values()))
    return sum(map(_bytes, state)) if isinstance(state, list | tuple) else 0
