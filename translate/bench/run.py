"""``translate bench`` without its words: what is measured against what, as plain data."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from translate.bench import kernels, limits, pictures, training
from translate.bench.compare import Effort, Facts, Make, Watch, compare
from translate.bench.drawn import draw
from translate.bench.lane import Lane
from translate.bench.machine import describe
from translate.device import find_device
from translate.errors import UserError, nearest
from translate.methods import METHODS
from translate.recipe_file import default_recipe, read
from translate.schema import blaming

TRAININGS = ("cyclegan", "pix2pix", "gan")
WHATS = (*TRAININGS, "convert", "load", "kernels")
AXES = {  # what a sweep changes -> what it makes a difference to
    "size": (*TRAININGS, "convert", "load"),
    "batch": (*TRAININGS, "convert", "load"),
    "workers": ("load",),
}


@dataclass(frozen=True)
class Request:
    """What a person asks for; None is the recipe's own.

    device: by its name; pictures: that are drawn to be converted and loaded.
    """

    device: str
    recipe: str | None = None
    size: int | None = None
    batch: int | None = None
    precision: str = "auto"
    workers: int | None = None
    overrides: tuple[tuple[str, Any], ...] = ()
    pictures: int = 32

    def at(self, axis: str, value: int) -> "Request":
        changed: dict[str, Any] = {axis: value}
        return replace(self, **changed)


def bench(
    whats: Sequence[str],
    request: Request,
    effort: Effort,
    sweeps: Mapping[str, Sequence[int]],
    watch: Watch,
) -> dict[str, Any]:
    """Measure all of ``whats``; without any, what the device is there for.

    sweeps: axis -> values: whatever it makes a difference to is measured at each; a value that
        something cannot have is noted and left out.
    A KeyboardInterrupt ends it with what was measured until then.
    watch: (title, rounds) -> a context whose value is to be called after each round.
    """
    device = find_device(request.device)
    usual = ["cyclegan", "pix2pix", "convert", "load", *["kernels"] * (device.type == "cuda")]
    chosen = list(whats) or usual
    for what in chosen:
        if what not in WHATS:
            raise UserError(f"nothing called {what!r} is measured{nearest(what, WHATS)}")
    family = _family(request.recipe, chosen)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as work:
        bench_ = _Bench(Path(work), family, effort, watch)
        try:
            bench_.measure_all(chosen, request, sweeps)
        except KeyboardInterrupt:  # what was measured took long enough to be kept
            bench_.notes.append("stopped before all was measured")
    return {
        "machine": describe(device),
        "rounds": effort.rounds,
        "comparisons": bench_.comparisons,
        "kernels": bench_.kernels,
        "notes": list(dict.fromkeys(bench_.notes)),
    }


def sweep_of(text: str) -> tuple[str, list[int]]:
    """("size", [64, 128]) of "size=64,128"; UserError for what cannot be swept."""
    axis, _, values = text.partition("=")
    if axis not in AXES:
        raise UserError(f"--sweep {text}: nothing called {axis!r} is swept{nearest(axis, AXES)}")
    try:
        numbers = sorted({int(value) for value in values.split(",")})
    except ValueError:
        raise UserError(f"--sweep {text}: give whole numbers, as in {axis}=1,2,4") from None
    least = {"size": 4, "batch": 1, "workers": 0}[axis]
    if numbers[0] < least:
        raise UserError(f"--sweep {text}: {axis} must be {least} or more, not {numbers[0]}")
    return axis, numbers


def _family(recipe: str | None, chosen: Sequence[str]) -> str | None:
    """What the recipe given is for; UserError if that is not measured."""
    if recipe is None:
        return None
    name = str(read(recipe).unwrap().get("method", {}).get("name"))
    family = METHODS[name].family if name in METHODS else name
    translates = family in ("cyclegan", "pix2pix")
    users = {family, "convert"} if translates else {family}
    users |= {"load"} if family == "cyclegan" else set()
    if family not in TRAININGS or not users & set(chosen):
        raise UserError(f"--recipe {recipe} is for {family}, which is not among what is measured")
    return family


@dataclass
class _Bench:
    """Measures one thing after another; pictures are drawn once and kept.

    family: what the recipe given is for; all else begins with its own.
    """

    work: Path
    family: str | None
    effort: Effort
    watch: Watch
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    kernels: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def measure_all(
        self, chosen: Sequence[str], request: Request, sweeps: Mapping[str, Sequence[int]]
    ) -> None:
        if not sweeps:
            for what in chosen:
                self.measure(what, request, {})
        refused: list[str] = []
        for axis, values in sweeps.items():
            costing = [what for what in chosen if what in AXES[axis]]
            if not costing:
                raise UserError(f"{axis} makes no difference to {', '.join(chosen)}")
            for what, value in product(costing, values):
                try:
                    self.measure(what, request.at(axis, value), {"swept": axis, "value": value})
                except UserError as error:
                    refused.append(f"{what} at {axis} {value}: left out: {error}")
                    self.notes.append(refused[-1])
        if refused and not self.comparisons:
            raise UserError("; ".join(refused))

    def measure(self, what: str, request: Request, labels: dict[str, Any]) -> None:
        if what == "kernels":
            self._kernels(request.device)
            return
        ways = {"convert": self._convert, "load": self._load}
        rows = ways[what](request) if what in ways else self._train(what, request)
        for row in rows:
            self.comparisons.append({"what": what, **labels, **row})

    def _train(self, what: str, request: Request) -> Iterator[dict[str, Any]]:
        asked = self._training(what, request)
        size = asked.recipe().size or 16
        asked = replace(asked, pictures=self._drawn(8, size))
        recipe = asked.recipe()
        with blaming("data"):
            recipe.make_layout()
        needed = limits.training_operations(asked)  # first: it knows what the plain way cannot do

        def rivals(facts: Facts) -> dict[str, Make]:
            return _by_precision(partial(training.the_plain, asked), facts)

        def limit(facts: Facts) -> Make:
            precision, batch = facts["run"]["precision"], facts["batch"]
            return partial(limits.limit, request.device, precision, size, batch)

        yield {
            "title": f"{recipe.method}, a training step at {size} pixels",
            "size": recipe.size,
            "recipe": recipe.header(),
            **self._compare(what, partial(training.ours, asked), rivals, (needed, limit)),
        }

    def _convert(self, request: Request) -> Iterator[dict[str, Any]]:
        method = "pix2pix" if self.family == "pix2pix" else "cyclegan"
        asked = self._training(method, replace(request, batch=None))
        size = asked.recipe().values["data"]["size"]
        asked = replace(asked, pictures=self._drawn(request.pictures, size), device="cpu")
        folder = Path(tempfile.mkdtemp(dir=self.work))
        model, batch = folder / "model.safetensors", request.batch or 8
        with Lane("the model to convert with", partial(pictures.save_model, asked, model)):
            pass
        given = (request.device, request.precision, batch)
        converting = pictures.Converting(model, asked.pictures / "x", folder, *given)
        needed = pictures.converting_operations(model, size)

        def rivals(facts: Facts) -> dict[str, Make]:
            return _by_precision(partial(pictures.plain_converts, converting), facts)

        def limit(facts: Facts) -> Make:
            return partial(limits.limit, request.device, facts["run"]["precision"], size, 1)

        ours = partial(pictures.ours_converts, converting)
        yield {
            "title": f"convert {request.pictures} pictures of {size} pixels by {method}",
            "size": size,
            "batch": batch,
            "recipe": asked.recipe().header(),
            **self._compare("convert", ours, rivals, (needed, limit)),
        }

    def _load(self, request: Request) -> Iterator[dict[str, Any]]:
        """From pictures as large as they are trained on, and from pictures of twice the side."""
        if find_spec("PIL") is None:
            self.notes.append("load: left out, the plain way reads with Pillow: pip install pillow")
            return
        asked = self._training("cyclegan", request)
        for key, _ in asked.overrides:
            if key.startswith("data.") and key.removeprefix("data.") not in pictures.READ_BY_BOTH:
                raise UserError(f"the plain way of loading has no {key}: leave it out")
        size = asked.recipe().values["data"]["size"]
        for side in (size, 2 * size):
            these = replace(asked, pictures=self._drawn(request.pictures, side))
            rivals: dict[str, Make] = {"plain": partial(pictures.plain_loads, these)}
            ours = partial(pictures.ours_loads, these)
            yield {
                "title": f"load samples of {size} pixels from pictures of {side}",
                "size": size,
                "of": side,
                "relative": "the same size" if side == size else "twice the size",
                "recipe": asked.recipe().header(),
                **self._compare("load", ours, lambda facts, rivals=rivals: rivals, None),
            }

    def _kernels(self, device: str) -> None:
        if find_device(device).type != "cuda":
            self.notes.append(f"kernels: left out, they run on CUDA devices, not on {device}")
            return
        measured = partial(kernels.measured, device)
        with self.watch("kernels", 1) as done, Lane("kernels", measured) as lane:
            lane.turn(self.effort.rounds)
            self.kernels = lane.facts["kernels"]
            done()

    def _compare(self, title: str, ours: Make, rivals: Any, limit: Any) -> dict[str, Any]:
        return compare(title, ours, rivals, limit, self.effort, self.watch)

    def _training(self, method: str, request: Request) -> training.Training:
        source = request.recipe if method == self.family else None
        document = read(source) if source else default_recipe(method)
        batch = None if request.batch is None else [request.batch]
        keys = {
            "data.size": request.size,
            "data.batch_size": request.batch,
            "growth.batch_sizes": batch if "growth" in document else None,
            "data.workers": request.workers,
        }
        given: list[tuple[str, Any]] = [("run.precision", request.precision)]
        given += [(key, value) for key, value in keys.items() if value is not None]
        overrides = (*given, *request.overrides)
        return training.Training(method, source, overrides, Path(), request.device)

    def _drawn(self, count: int, side: int) -> Path:
        """A folder of JPEG pictures in "x" and "y"."""
        folder = self.work / f"{count}-of-{side}"
        if not folder.exists():
            for name in "xy":
                draw(folder / name, count, side, ".jpg")
        return folder


def _by_precision(plain: Any, facts: Facts) -> dict[str, Make]:
    """The plain way in float32 and, where ours works in 16 bits, under autocast as well."""
    rivals: dict[str, Make] = {"plain": partial(plain, "fp32")}
    precision = facts["run"]["precision"]
    if precision != "fp32":
        rivals[f"plain {precision}"] = partial(plain, precision)
    return rivals
