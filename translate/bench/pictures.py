"""Converting a folder of pictures, and reading pictures for training: ours, and the plain way's."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from translate.bench import plain
from translate.bench.lane import Work, timed
from translate.bench.limits import operations
from translate.bench.training import Training, cast_of, papers_network
from translate.convert.folder import convert, plan
from translate.convert.translator import open_translator
from translate.data.dataset import DataSet
from translate.data.folders import pictures
from translate.data.loader import Batches, resolve_workers
from translate.device import find_device
from translate.model import load_network, read_model
from translate.training import build

# ------------------------------------------------------------------------------------- converting


@dataclass(frozen=True)
class Converting:
    """A folder of pictures and a model; results go below ``folder``. A step is the whole folder."""

    model: Path
    pictures: Path
    folder: Path
    device: str
    precision: str
    batch_size: int


def save_model(training: Training, path: Path) -> Work:
    """The model of an untrained run; nothing to measure, but memory to give back."""
    build(training.recipe(), find_device("cpu"), lambda sentence: None).save_model(path)
    return Work(lambda steps: 0.0)


def ours_converts(converting: Converting) -> Work:
    """What ``translate convert`` does once the model is loaded."""
    device = find_device(converting.device)
    translator, _ = open_translator(converting.model, None, device, converting.precision)
    jobs, _ = plan(converting.pictures, converting.folder / "ours", colour=True)

    def step() -> None:
        report = convert(translator, jobs, batch_size=converting.batch_size, overwrite=True)
        assert report.converted == len(jobs)

    facts = {"run": {"precision": translator.precision, "device": str(device)}}
    return Work(timed(step, device), len(jobs), device, facts)


def plain_converts(converting: Converting, precision: str) -> Work:
    """One picture after the other; in float32, or under autocast with "bf16"."""
    torch.backends.cudnn.benchmark = True
    device = find_device(converting.device)
    tensors, header = read_model(converting.model)
    name = header["translations"][0]["network"]
    ours = load_network(converting.model, tensors, header, name)
    net = papers_network(header["networks"][name], ours).to(device).eval()
    sources = pictures(converting.pictures)
    target = converting.folder / f"plain-{precision}"
    target.mkdir(parents=True)
    cast = cast_of(precision, device)
    step = partial(plain.convert, net, sources, target, device, cast)
    return Work(timed(step, device), len(sources), device)


def converting_operations(model: Path, size: int) -> float:
    """That the network needs for a picture."""
    tensors, header = read_model(model)
    name = header["translations"][0]["network"]
    net = papers_network(header["networks"][name], load_network(model, tensors, header, name)).to(
        "meta"
    )
    channels = header["networks"][name]["arguments"]["in_channels"]
    x = torch.empty(1, channels, size, size, device="meta")
    return operations(lambda: net.eval()(x))


# ---------------------------------------------------------------------------------------- loading


READ_BY_BOTH = ("size", "batch_size", "workers", "load_ratio")
"""The keys of a recipe's [data] that both ways of loading know."""


def ours_loads(training: Training) -> Work:
    """The batches that ``translate train`` would read, augment and bring to the device."""
    recipe, device = training.recipe(), find_device(training.device)
    seed = recipe.values["run"]["seed"]
    data = DataSet(recipe.make_layout(), seed, **recipe.keywords("data", DataSet))
    keywords = recipe.keywords("data", Batches)
    workers = resolve_workers(keywords["workers"], device)
    turns = 0

    def begin() -> AbstractContextManager[Iterator[dict[str, Tensor]]]:
        nonlocal turns
        turns += 1
        return closing(Batches(data, 10_000 * turns, device, **keywords))

    images = len(data.streams) * data.batch_size
    return Work(_reading(begin, workers, device), images, device, {"workers": workers})


def plain_loads(training: Training) -> Work:
    """The same with Pillow, in PyTorch's loader with as many workers."""
    recipe, device = training.recipe(), find_device(training.device)
    values = recipe.values["data"]
    workers = resolve_workers(values["workers"], device)
    x, y = (pictures(Path(folder)) for folder in values["domains"])
    data = plain.PillowPairs(x, y, round(values["size"] * values["load_ratio"]), values["size"])

    @contextmanager
    def begin() -> Iterator[Iterator[dict[str, Tensor]]]:
        loader = DataLoader(data, values["batch_size"], shuffle=True, num_workers=workers)
        yield ({key: x.to(device) for key, x in batch.items()} for batch in loader)

    return Work(_reading(begin, workers, device), 2 * values["batch_size"], device)


def _reading(
    begin: Callable[[], AbstractContextManager[Iterator[dict[str, Tensor]]]],
    workers: int,
    device: torch.device,
) -> Callable[[int], float]:
    """Turns on a loader that is there for the turn alone: its workers would read ahead while others
    have theirs. What they read ahead before they are asked, two batches each, is not counted.
    """

    def turn(steps: int) -> float:
        with begin() as batches:
            for _ in range(2 * workers + 1):
                next(batches)
            return timed(partial(next, batches), device)(steps)

    return turn
