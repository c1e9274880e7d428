"""A run from its recipe: builds the parts, starts, resumes, trains, and writes the run folder."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from gan_core import checkpoint, compilation, distributed, precision
from gan_core.growth import Growing
from gan_core.kernels import dispatch
from gan_core.precision import autocast
from gan_core.routing import Progress, trainable
from gan_core.trainer import Logs, Trainer, TrainingError, run
from translate.best import Best
from translate.data.dataset import DataSet
from translate.data.loader import Batches, resolve_workers
from translate.errors import UserError
from translate.meter import Meter
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
            "at": self.recipe.size if self.data.layout.squares and self._whole() else None,
            "range": [-1, 1],
            "recipe": self.recipe.header(),
            **self._stage(),
            **self.data.layout.header(self.method.translations),
        }

    def _stage(self) -> dict[str, Any]:
        """The stage of networks that grow, which the model's are to be called at."""
        if not (self.data.growth and self.data.growth.grows == "networks"):
            return {}
        assert isinstance(self.method, Growing)
        return {"stage": asdict(self.method.stage)}

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
    place = recipe.values["run"]
    with blaming("run"):
        place["precision"] = precision.resolve(place["precision"], device)
        place["compile"] = compilation.resolve(place["compile"], device)
        place["kernels"] = dispatch.resolve(place["kernels"], device)
    dispatch.use(place["kernels"])
    seed = recipe.values["run"]["seed"]
    if not 0 <= seed < 2**63:
        raise UserError(f"recipe: [run] seed must be from 0 to 2^63 - 1, not {seed}")
    growth = recipe.make_growth()
    method = recipe.make_method(growth)
    with blaming("data"):
        layout = recipe.make_layout()
        data = DataSet(layout, seed, growth, **recipe.keywords("data", DataSet))
        resolve_workers(recipe.values["data"]["workers"], device)
        # What the first step would stumble over is told now, before a run folder is made.
        first = next(Batches(data, 0, device, workers=0))
        data.held_out_batch(1)
        for sentence in data.thin():
            say(sentence)
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
            steps_of(recipe, data, method),
            recipe.make_rate(),
            say,
            *([growth.setting] if growth else []),
            **recipe.keywords("run", Trainer),
        )
    _rehearse(trainer, first)
    if place["compile"] == "on":
        compilation.compile_(nets.values())
        say("the networks are compiled in the first steps, which takes minutes on some machines")
    return Run(recipe, device, method, data, trainer, describe)


def _rehearse(trainer: Trainer, batch: Mapping[str, torch.Tensor]) -> None:
    """Compute all losses once and leave everything as it was, to be told what does not fit."""
    method, nets = trainer.method, trainer.nets
    state = method.state_dict()
    buffers = [(b, b.clone()) for net in nets.values() for b in net.buffers()]
    try:
        with blaming("method"), autocast(trainer.precision, trainer.device):
            for update in method.updates:
                method.losses(update, nets, method.scene(nets, batch))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the networks and the data do not fit together: {reason}") from error
    method.load_state_dict(state)
    for buffer, before in buffers:
        buffer.copy_(before)


def steps_of(recipe: Recipe, data: DataSet, method: TranslationMethod) -> int:
    """Length of the run in steps; an epoch shows the longest stream once.

    Where neither steps nor epochs say, as long as the curriculum.
    """
    schedule, growth = recipe.values["schedule"], data.growth
    if schedule["steps"] < 0 or schedule["epochs"] < 0:
        raise UserError("recipe: [schedule] steps and epochs must be 0 or more")
    if growth and schedule["epochs"]:
        raise UserError(
            "recipe: [schedule] what grows has its length in steps: give --steps, not epochs"
        )
    taken = _taken(recipe, method)
    steps = schedule["steps"] or schedule["epochs"] * -(-data.batches_per_epoch() // taken)
    if steps == 0 and growth:
        steps = -(-growth.begins[-1][0] // taken)
    if steps == 0:
        raise UserError("recipe: [schedule] give steps or epochs, such as epochs = 200")
    return int(steps)


def _taken(recipe: Recipe, method: TranslationMethod) -> int:
    """Batches that go into a step in the middle of a run."""
    middle = method.schedule(Progress(step=501, steps=1002, images=0))
    accumulate: int = recipe.values["run"]["accumulate"]
    return accumulate * sum(step.repeats for step in middle)


def stretch(recipe: Recipe, steps: int) -> None:
    """Scale the phases of the recipe's curriculum, if it has one, to as many steps in all."""
    growth = recipe.make_growth()
    if growth is None:
        return
    share = steps * _taken(recipe, recipe.make_method()) / growth.begins[-1][0]
    for phase in ("stabilise", "fade", "final"):
        recipe.values["growth"][phase] = round(share * recipe.values["growth"][phase])


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
    # What is drawn from noise may be held against the pictures trained on, which it has not seen.
    judged = data.judges or not method.translations
    held_out = data.held_out_batch(folder.judged if judged else folder.samples)
    meter, first = Meter(trainer), distributed.rank() == 0  # one process writes for all

    def log(_: Logs) -> None:
        line = meter.report()
        if first:
            folder.log(line)

    def sample(_: Logs) -> None:
        if not first:
            return
        step = trainer.counts["step"]
        settle_once()
        pictures = made(method, layout, nets, held_out, run_.device, trainer.precision)
        folder.save_sample(step, sample_grid(method, layout, pictures, held_out, folder.samples))
        figures = judge(layout, pictures, held_out) if judged else {}
        if figures:
            folder.log({"step": step, **figures})
            keep_best(figures, step)

    best: Best | None = None

    def keep_best(figures: dict[str, float], step: int) -> None:
        """By the first figure, of which lower is better."""
        nonlocal best
        name, value = next(iter(figures.items()))
        best = best or Best(folder.logged()[:-1], name)
        if best.take(value, step):
            run_.save_model(folder.best)

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
    elif best is not None and best.sentence:
        say(best.sentence)
    return finished


def _to_device(state: Any, device: torch.device) -> Any:
    """Tensors of nested containers on a device (the optimisers and the pool need theirs there)."""
    if isinstance(state, torch.Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {key: _to_device(value, device) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_to_device(value, device) for value in state)
    return state
