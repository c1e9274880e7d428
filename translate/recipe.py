"""A recipe: the whole configuration of a run, as a TOML file with the same sections everywhere.

    [method]  [data]  [networks.<section>]  [growth]  [optimizer]  [schedule]  [run]

Values come, the later over the earlier, from the signatures' defaults, the recipe file, and the
command line. A recipe names no code: kinds are looked up in the packages' tables.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tomlkit
from torch import nn

from gan_core.growth import Growing, Growth
from gan_core.kernels.dispatch import Impl
from gan_core.optimizers import OPTIMIZERS
from gan_core.schedules import POLICIES
from gan_core.trainer import Trainer
from translate.data.dataset import DataSet, Layout
from translate.data.folders import reference_layout
from translate.data.loader import Batches
from translate.data.sets import LAYOUTS
from translate.errors import UserError, nearest
from translate.methods import TranslationMethod, find_method
from translate.networks import NETWORKS
from translate.recipe_file import LENGTH, SECTIONS, fill, override
from translate.run_folder import RunFolder
from translate.schema import arguments, assemble, blaming, check, keyed, keywords, required

# What says where and how conveniently a run is done, not what it computes: these may differ
# between a run and its resumption, and are left out of the model file.
BESIDES = {
    "data.workers",
    "data.max_broken",
    "run.device",
    "run.compile",
    "run.kernels",
    *(f"run.{name}" for name in keywords(RunFolder)),
}
PATHS = {"domains", "aligned", "images", "text", "validation"}  # of [data]


def length(*, steps: int = 0, epochs: int = 0) -> None:
    """[schedule] of every recipe: the run's length in steps or, with steps = 0, in epochs."""


def place(
    *, device: str = "auto", precision: str = "auto", compile: str = "auto", kernels: Impl = "auto"
) -> None:
    """[run] of every recipe: where it runs, in which number format, by which code.

    compile: networks by torch.compile: "on", "off". kernels: see ``gan_core.kernels.dispatch``.
    """


@dataclass(frozen=True)
class Recipe:
    """Checked values by section, defaults filled in, and the document they came from."""

    values: dict[str, Any]
    document: tomlkit.TOMLDocument

    @property
    def method(self) -> str:
        return str(self.values["method"]["name"])

    def make_method(self, growth: Growth | None = None) -> TranslationMethod:
        with blaming("method"):
            method = assemble(find_method(self.method), self.values["method"])
        return cast(TranslationMethod, Growing(method, growth) if growth else method)

    def make_growth(self) -> Growth | None:
        """The curriculum, where the recipe has one."""
        if "growth" not in self.values:
            return None
        if self.size is None:
            kind = self.values["data"]["kind"]
            raise UserError(f"recipe: [growth] is of pictures, not of {kind}: leave it out")
        shape = {key: self.values["data"][key] for key in ("size", "batch_size", "aspect")}
        with blaming("growth"):
            return Growth(**shape, **self.values["growth"])

    @property
    def layout(self) -> type[Any]:
        """The layout's class; ``make_layout`` looks at the pictures."""
        return LAYOUTS[self.values["data"]["kind"]]

    def make_layout(self) -> Layout:
        return cast(Layout, assemble(self.layout, self.values["data"]))

    def make_networks(
        self, method: TranslationMethod, channels: Mapping[str, int]
    ) -> tuple[dict[str, nn.Module], dict[str, dict[str, Any]]]:
        """The method's networks by name, and what a model file says to rebuild each.

        ``build`` gives a network those of the shape arguments that its signature asks for.
        """
        descriptions: dict[int, dict[str, Any]] = {}

        def build(section: str, **shape: int) -> nn.Module:
            if section not in self.values["networks"]:
                raise UserError(f"recipe: method {self.method!r} needs [networks.{section}]")
            chosen = self.values["networks"][section]
            maker = NETWORKS[chosen["kind"]]
            known = self.values["data"].keys()
            if not suits(maker, shape, known):
                fitting = [kind for kind, other in NETWORKS.items() if suits(other, shape, known)]
                raise UserError(
                    f"recipe: [networks.{section}] kind = {chosen['kind']!r} is no {section} for "
                    f"{self.method!r}; choose {', '.join(fitting)}"
                )
            given = self.values["data"] | shape
            shapes = arguments(maker) - keywords(maker).keys()
            given = {name: given[name] for name in given.keys() & shapes}
            described = given | without(chosen, "kind")
            with blaming(f"networks.{section}"):
                net = maker(**described)
            descriptions[id(net)] = {"kind": chosen["kind"], "arguments": described}
            return net

        with blaming("method"):
            nets = method.networks(build, channels)
        return nets, {name: descriptions[id(net)] for name, net in nets.items()}

    @property
    def size(self) -> int | None:
        """Of pictures; other data have none."""
        return self.values["data"].get("size")

    def make_optimizer(self, update: str, parameters: Iterable[nn.Parameter]) -> Any:
        chosen = self.values["optimizer"].get(update, self.values["optimizer"])
        with blaming("optimizer"):
            return OPTIMIZERS[chosen["kind"]](parameters, **without(chosen, "kind"))

    def make_rate(self) -> Callable[[int, int], float]:
        chosen = without(self.values["schedule"], "kind", *keywords(length))
        with blaming("schedule"):
            return POLICIES[self.values["schedule"]["kind"]](**chosen)

    def keywords(self, section: str, function: Callable[..., Any]) -> dict[str, Any]:
        """The section's values that are a function's keyword arguments."""
        return {name: self.values[section][name] for name in keywords(function)}

    def toml(self) -> str:
        """All values as TOML, in the order and with the comments of the document."""
        document = tomlkit.parse(tomlkit.dumps(self.document))
        fill(document, self.values)
        return tomlkit.dumps(document)

    def header(self) -> dict[str, Any]:
        """The values as plain data without what differs between equal runs."""
        plain: dict[str, Any] = json.loads(json.dumps(self.values))
        for dotted in BESIDES | {f"data.{key}" for key in PATHS}:
            section, key = dotted.split(".")
            plain[section].pop(key, None)
        return plain


def resolve(
    document: tomlkit.TOMLDocument, overrides: Sequence[tuple[str, Any]], method: str | None = None
) -> Recipe:
    """Apply overrides ("section.key", value) to a document and check every key of it.

    Kinds come first, since they drop arguments; paths are those seen from the working directory.
    """
    for dotted, value in sorted(overrides, key=lambda pair: not pair[0].endswith(".kind")):
        override(document, dotted, value)
    raw = document.unwrap()
    for section in raw:
        if section not in SECTIONS:
            raise UserError(f"recipe: no section [{section}]{nearest(section, SECTIONS)}")
    for section in raw:
        if not isinstance(raw[section], dict):
            raise UserError(f"recipe: {section} must be a section, [{section}]")
    name = raw.get("method", {}).get("name", method)
    if not isinstance(name, str):
        raise UserError('recipe: [method] must say name, such as name = "cyclegan"')
    maker = find_method(name)
    if method not in (None, name, maker.family):
        find_method(str(method))  # it may be the wrong one, rather than the recipe
        raise UserError(f"this recipe is for the method {name!r}, not {method!r}")
    layouts = {kind: LAYOUTS[kind] for kind in maker.data}
    _check_paths(raw.get("data", {}), layouts, maker.data[0])
    values = {
        "method": {
            "name": name,
            **check("method", without(raw.get("method", {}), "name"), keyed(maker)),
        },
        "data": _check_kind(
            "data", raw.get("data", {}), layouts, maker.data[0], [DataSet, Batches], keyed
        ),
        "networks": {
            section: _check_kind(f"networks.{section}", table, NETWORKS)
            for section, table in raw.get("networks", {}).items()
        },
        **({"growth": check("growth", raw["growth"], [Growth])} if "growth" in raw else {}),
        "optimizer": _check_optimizer(raw.get("optimizer", {}), [u.name for u in maker.updates]),
        "schedule": _check_kind("schedule", raw.get("schedule", {}), POLICIES, "linear", [length]),
        "run": check("run", raw.get("run", {}), [Trainer, RunFolder, place]),
    }
    for key in PATHS & values["data"].keys():
        values["data"][key] = _absolute(values["data"][key])
    return Recipe(values, document)


def pictures_of(method: str, **ways: Any) -> dict[str, Any]:
    """Recipe keys of the pictures' folders, or of a text, as a command names them.

    ways: keys of [data], and ``dataset`` (``translate.data.folders.reference_layout``), None for
        those not taken. UserError for more than one, and for one that the method's pictures cannot
        be given in.
    """
    given = {way: value for way, value in ways.items() if value is not None}
    if len(given) > 1:
        raise UserError(f"name the pictures in one way: {' or '.join(f'--{way}' for way in given)}")
    if not given:
        return {}
    ((way, value),) = given.items()
    keys = reference_layout(Path(value)) if way == "dataset" else {f"data.{way}": value}
    layouts = [LAYOUTS[kind] for kind in find_method(method).data]
    named = {key.removeprefix("data.") for key in keys}
    if not any(named <= keywords(layout).keys() for layout in layouts):
        raise UserError(
            f"what --{way} names is not what {method} is trained on: give {layouts[0].wanted}"
        )
    return keys


def suits(maker: Callable[..., Any], shape: Mapping[str, int], known: Iterable[str]) -> bool:
    """Whether a network takes these shape arguments and needs no others but those known besides."""
    shapes = arguments(maker) - keywords(maker).keys()
    return shape.keys() <= shapes and required(maker) <= {*known, *shape}


def _absolute(path: Any) -> Any:
    """One folder, or several; none stays none."""
    if isinstance(path, tuple):
        return tuple(map(_absolute, path))
    return str(Path(path).absolute()) if path else path


def _check_paths(table: Mapping[str, Any], layouts: Mapping[str, Any], default: str) -> None:
    """What names pictures that the recipe's layout does not take is told what it takes."""
    layout = layouts.get(str(table.get("kind", default)))
    if layout is None:
        return  # the kind is what is to be mended first
    known = {key for function in keyed(layout) for key in keywords(function)}
    for key in table:
        if key in PATHS - known - {"validation"}:
            raise UserError(
                f"recipe: [data] {key}: this recipe is not trained on such, give {layout.wanted}"
            )


def _check_kind(
    section: str,
    table: Any,
    makers: Mapping[str, Callable[..., Any]],
    default: str | None = None,
    also: Sequence[Callable[..., Any]] = (),
    keys_of: Callable[[Callable[..., Any]], list[Callable[..., Any]]] = lambda maker: [maker],
) -> dict[str, Any]:
    """A table whose ``kind`` says which function the other keys are arguments of."""
    if not isinstance(table, dict):
        raise UserError(f"recipe: [{section}] must be a section")
    kind = table.get("kind", default)
    if kind is None:
        raise UserError(f"recipe: [{section}] must say its kind{nearest('', makers)}")
    if str(kind) not in makers:
        raise UserError(
            f"recipe: [{section}] kind = {kind!r} is not known{nearest(str(kind), makers)}"
        )
    return {"kind": kind, **check(section, without(table, "kind"), [*keys_of(makers[kind]), *also])}


def _check_optimizer(table: dict[str, Any], updates: Sequence[str]) -> dict[str, Any]:
    """One table for all updates, or one for each, which leans on a table of its kind beside it."""
    own = {name: sub for name, sub in table.items() if isinstance(sub, dict)}
    for name in own:
        if name not in updates:
            raise UserError(f"recipe: [optimizer.{name}]: no such update{nearest(name, updates)}")
    shared = without(table, *own)
    checked = _check_kind("optimizer", shared, OPTIMIZERS, "adam")
    if not own:
        return checked
    full = {}
    for name in updates:
        mine = {"kind": checked["kind"], **own.get(name, {})}
        lent = shared if mine["kind"] == checked["kind"] else {}
        full[name] = _check_kind(f"optimizer.{name}", lent | mine, OPTIMIZERS)
    return full


def changed_keys(old: Recipe, new: Recipe) -> list[str]:
    """Dotted keys that differ and that a resumed run must not change."""
    before, after = flat(old.values), flat(new.values)
    return sorted(
        key
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key) and key not in BESIDES | LENGTH
    )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as {"section.key": value}."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[f"{prefix}{key}"] = value
    return result


def without(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in keys}
