"""Training steps on ready tensors: ours, and the plain way's."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gan_core.kernels import dispatch
from gan_core.precision import FORMATS, autocast
from gan_core.routing import Batch, Progress
from translate.bench import plain
from translate.bench.lane import Work, timed
from translate.bench.plain_networks import plain_network
from translate.data.dataset import DataSet
from translate.device import find_device, tune
from translate.errors import UserError
from translate.methods import TranslationMethod
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix
from translate.recipe import Recipe, resolve
from translate.recipe_file import default_recipe, read
from translate.schema import keywords
from translate.training import build

LONG = 10**6  # steps of a run, of which those in the middle are measured
READY = 4  # batches that take turns
PAPERS: dict[type[Any], tuple[Callable[..., Any], tuple[str, ...]]] = {
    CycleGAN: (plain.CycleGAN, ("lambda_cycle", "lambda_identity", "pool_size")),
    Pix2Pix: (plain.Pix2Pix, ("lambda_l1", "pool_size")),
}
"""Of a method the paper's loop, and the recipe's numbers that it takes."""


@dataclass(frozen=True)
class Training:
    """What is trained, as a person asks for it, with drawn pictures for its data.

    source: a recipe's name or file; None: the method's own.
    pictures: a folder with pictures of equal names in "x" and "y".
    """

    method: str
    source: str | None
    overrides: tuple[tuple[str, Any], ...]
    pictures: Path
    device: str

    def recipe(self) -> Recipe:
        document = read(self.source) if self.source else default_recipe(self.method)
        recipe = resolve(document, list(self.overrides), self.method)
        data, folders = recipe.values["data"], [str(self.pictures / name) for name in "xy"]
        if data.get("domains") == () and not data.get("derive"):
            data["domains"] = tuple(folders)
        elif "images" in data:
            data["images"] = folders[0]
        elif data["kind"] != "points":
            raise UserError(f"no data of kind {data['kind']!r} are drawn here: train on pictures")
        recipe.values["schedule"] |= {
            "epochs": 0,
            "steps": 0 if "growth" in recipe.values else LONG,
        }
        return recipe


# ------------------------------------------------------------------------------------------- ours


def ours(training: Training) -> Work:
    """What ``translate train`` builds, and its trainer's step."""
    recipe, device = training.recipe(), find_device(training.device)
    tune(device)
    run = build(recipe, device, lambda sentence: None)
    trainer, batches = run.trainer, _ready(run.data, device)
    progress = _middle(trainer.steps, run.data)
    trainer.counts |= {"step": progress.step, "images": progress.images}
    endless = cycle(batches)

    def step() -> None:
        trainer.step(endless)
        trainer.counts["step"] = _next(progress, trainer.counts["step"])

    averages = [p for net in trainer.average.nets.values() for p in net.parameters()]
    facts = {
        "batch": samples(batches[0]),
        "run": dict(recipe.values["run"]),
        "averages": sum(p.nbytes for p in averages),
    }
    timer = timed(step, device)

    def turn(steps: int) -> float:
        seconds = timer(steps)
        facts["kernels"] = dispatch.ran()
        facts["redone"] = trainer.counts["redone"] + trainer.counts["skipped"]
        return seconds

    images = samples(batches[0]) * taken(run.method, progress) * trainer.accumulate
    return Work(turn, images, device, facts)


# -------------------------------------------------------------------------------------- the plain


def the_plain(training: Training, precision: str) -> Work:
    """The paper's loop with the same networks, weights and batches; autocast with "bf16"."""
    torch.backends.cudnn.benchmark = True  # as the authors' code
    dispatch.use("reference")
    recipe, device = training.recipe(), find_device(training.device)
    layout, growth = recipe.make_layout(), recipe.make_growth()
    seed = recipe.values["run"]["seed"]
    data = DataSet(layout, seed, growth, **recipe.keywords("data", DataSet))
    method = recipe.make_method(growth)
    torch.manual_seed(seed)
    loop = plain_loop(recipe, method, layout.channels, device, precision)
    batches = _ready(data, device)
    progress = _middle(LONG, data)
    endless = cycle(batches)

    def step() -> None:
        loop.step(endless)
        if isinstance(loop, plain.AnySystem):
            after = _next(progress, loop.progress.step + 1)
            loop.progress = Progress(after, progress.steps, progress.images)

    if isinstance(loop, plain.AnySystem):
        loop.progress = progress
    images = samples(batches[0]) * taken(method, progress)
    return Work(timed(step, device), images, device, {"batch": samples(batches[0])})


def plain_loop(
    recipe: Recipe,
    method: TranslationMethod,
    channels: Mapping[str, int],
    device: torch.device,
    precision: str = "fp32",
) -> plain.CycleGAN | plain.Pix2Pix | plain.AnySystem:
    """The paper's loop of a recipe; UserError for what the paper has not."""
    cast = cast_of(precision, device)
    nets, described = recipe.make_networks(method, channels)
    values = recipe.values["method"]
    if type(method) not in PAPERS:
        for net in nets.values():
            net.to(device)
        return plain.AnySystem(method, nets, partial(_optimizer, recipe), cast)
    maker, numbers = PAPERS[type(method)]
    for key, argument in keywords(type(method)).items():
        if key not in numbers and values[key] != argument.default:
            raise UserError(f"the paper's loop has no method.{key} = {values[key]!r}: leave it out")
    papers = {name: papers_network(described[name], nets[name]).to(device) for name in nets}
    given = {key: values[key] for key in numbers}
    return maker(papers, partial(_optimizer, recipe), cast, **given)


def papers_network(described: Mapping[str, Any], ours: nn.Module) -> nn.Module:
    """The network in the paper's layers, with the weights of ours."""
    with torch.device("meta"):
        try:
            net = plain_network(described["kind"], described["arguments"])
        except ValueError as error:
            raise UserError(str(error)) from None
    net.load_state_dict(ours.state_dict(), assign=True)
    return net


def cast_of(precision: str, device: torch.device) -> plain.Cast:
    """What stands around the plain way's forward passes."""
    return partial(autocast, precision, device) if FORMATS[precision] else nullcontext


def _optimizer(
    recipe: Recipe, update: str, parameters: Sequence[nn.Parameter]
) -> torch.optim.Optimizer:
    chosen = recipe.values["optimizer"].get(update, recipe.values["optimizer"])
    if chosen["kind"] != "adam":
        made: torch.optim.Optimizer = recipe.make_optimizer(update, parameters)
        return made
    numbers = {key: chosen[key] for key in ("lr", "betas", "eps", "weight_decay")}
    return torch.optim.Adam(parameters, **numbers)


# ---------------------------------------------------------------------------------------- of both


def samples(batch: Batch) -> int:
    return len(next(iter(batch.values())))


def taken(method: Any, progress: Progress) -> int:
    """Batches of a step."""
    return sum(step.repeats for step in method.schedule(progress))


def _ready(data: DataSet, device: torch.device) -> list[dict[str, Tensor]]:
    """Batches of the run, of the last phase of what grows, on the device."""
    first = data.growth.begins[-2][0] if data.growth else 0
    found = [data[first + number].batch for number in range(READY)]
    return [{key: x.to(device) for key, x in batch.items()} for batch in found]


def _middle(steps: int, data: DataSet) -> Progress:
    """In the middle of a run, where no method begins any more, or in the last phase of growth."""
    images = data.growth.begins[-2][1] if data.growth else 0
    return Progress(steps // 2 + 1, steps, images)


def _next(progress: Progress, step: int) -> int:
    """The step after, going round before a method's special steps at every 500th come."""
    return progress.step + (step - progress.step) % 400
