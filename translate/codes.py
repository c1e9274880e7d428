"""Real pictures through an encoder: made again, or changed by arithmetic on their codes."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from translate.convert.folder import Job
from translate.convert.folder import convert as convert_jobs
from translate.convert.folder import plan as plan_jobs
from translate.data.folders import pictures
from translate.data.header import BrokenImage
from translate.data.image import SUFFIXES, read, with_channels
from translate.data.preparation import Preparation
from translate.data.tensors import to_image, to_tensor
from translate.errors import UserError
from translate.model import Model, describing
from translate.outputs import check_free, names_file, write_grid
from translate.report import Report
from translate.schema import check, keywords

Redraw = Callable[[np.ndarray], list[np.ndarray]]  # what is made of a picture
Done = Callable[[int], None]


class Coder:
    """Pictures [H, W, C] to codes [1, n] and back, by a model whose method has an encoder.

    Pictures come to the model's size as those that its training was judged by.
    """

    def __init__(self, path: Path, device: torch.device, precision: str = "auto") -> None:
        self.model = Model(path, "encode", device, precision)
        with describing(path):
            self.channels = int(self.model.header["channels"])
            data = self.model.header["recipe"]["data"]
            keys = (keywords(Preparation).keys() - {"augment"}) & data.keys()
            prepared = check("data", {key: data[key] for key in keys}, [Preparation])
            self.prepare = Preparation(**prepared)

    def seen(self, image: np.ndarray) -> Tensor:
        """What the encoder sees of a picture of any size: [1, C, H, W] in [-1, 1]."""
        return to_tensor(self.prepare(with_channels(image, self.channels), None))[None]

    def code(self, image: np.ndarray) -> Tensor:
        return self.model.encode(self.seen(image))

    def picture(self, code: Tensor) -> np.ndarray:
        return to_image(self.model.decode(code)[0])


# ------------------------------------------------------------------------------------ what is made


class Reconstruction:
    """Makes a picture's reconstruction, and keeps its mean absolute error; black to white is 1."""

    def __init__(self, coder: Coder) -> None:
        self.coder = coder
        self.errors: list[float] = []

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        seen = self.coder.seen(image)
        made = self.coder.model.decode(self.coder.model.encode(seen)).clamp(-1, 1)
        self.errors.append(float((made - seen).abs().mean()) / 2)
        return [to_image(made[0])]

    @property
    def sentence(self) -> str:
        if not self.errors:
            return "reconstructed"
        return f"reconstructed with a mean error of {sum(self.errors) / len(self.errors):.4f}"


class Edit:
    """Moves a picture's code along a direction [1, n] by each strength, and shows where it is."""

    def __init__(self, coder: Coder, direction: Tensor, strengths: Sequence[float]) -> None:
        self.coder, self.direction, self.strengths = coder, direction, strengths

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        code = self.coder.code(image)
        return [self.coder.picture(code + s * self.direction) for s in self.strengths]


def mean_code(coder: Coder, paths: Sequence[Path], done: Done) -> tuple[Tensor, dict[str, str]]:
    """The mean [1, n] of the codes of those that can be read, and the failures: file -> reason."""
    failures: dict[str, str] = {}
    codes = [coder.code(image) for image in _readable(paths, failures, done)]
    if not codes:
        raise UserError(f"none of the pictures in {paths[0].parent} can be read")
    return torch.cat(codes).mean(0, keepdim=True), failures


# ------------------------------------------------------------------------------------ where it goes


class Plan(NamedTuple):
    """Pictures and the files that results go to; ``sheet``: all to one, a row for each picture."""

    jobs: list[Job]
    folder: Path
    sheet: bool


def plan(source: Path, out: Path, overwrite: bool = False) -> Plan:
    """A picture or a folder of them into a sheet or a folder, there by the same names, as .png."""
    if names_file(out, SUFFIXES):
        if source.resolve() in (out.resolve(), *out.resolve().parents):
            raise UserError(f"{out} lies where the pictures are: choose another --out")
        check_free(out, overwrite)
        return Plan([(path, out) for path in sources(source)], out.parent, True)
    jobs, folder = plan_jobs(source, out)
    taken: dict[Path, Path] = {}
    for path, target in jobs:
        other = taken.setdefault(target.with_suffix(".png"), path)
        if other != path:
            raise UserError(f"{other} and {path} would both become {target.stem}.png: rename one")
    return Plan([(path, target) for target, path in taken.items()], folder, False)


def sources(path: Path) -> list[Path]:
    """A picture, or all of those below a folder."""
    if not path.is_file():
        return pictures(path)
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no picture: its suffix is none of {', '.join(SUFFIXES)}")
    return [path]


def carry_out(
    plan: Plan, coder: Coder, redraw: Redraw, done: Done, overwrite: bool = False
) -> Report:
    """Redraw the plan's pictures, into a sheet beside what was seen of them; else the first that is
    made of each into its file, as ``translate.convert.folder`` does.
    """
    if not plan.sheet:
        return convert_jobs(
            lambda images: [redraw(image)[0] for image in images],
            plan.jobs,
            overwrite=overwrite,
            done=done,
        )
    report, rows = Report(), []
    for image in _readable([path for path, _ in plan.jobs], report.failures, done):
        rows.append([to_image(coder.seen(image)[0]), *redraw(image)])
    if rows:
        write_grid(plan.jobs[0][1], rows)
    report.converted = len(rows)
    return report


def _readable(paths: Sequence[Path], failures: dict[str, str], done: Done) -> Iterator[np.ndarray]:
    for path in paths:
        try:
            yield read(path)
        except BrokenImage as error:
            failures[str(path)] = str(error)
        done(1)
