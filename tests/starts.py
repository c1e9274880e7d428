"""Every method on each kind of data that it takes, with a recipe to begin with, and small networks.

A new method, layout, network kind or recipe is found by itself, or an assertion here says what to
add.
"""

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest

from translate.methods import METHODS
from translate.networks import NETWORKS
from translate.recipe_file import recipe_names, recipes_folder

Overrides = list[tuple[str, Any]]

# Where several recipes train a method and none has its name: the plainest.
PLAINEST = {
    ("gan", "unlabelled"): "faces-dcgan-small",
    ("gan", "points"): "8gaussians-wgan-gp",
    ("gan", "text"): "text-wgan-gp-small",
}

SMALL: dict[str, dict[str, Any]] = {
    "resnet": {"filters": 4, "blocks": 1},
    "unet": {"filters": 4},
    "patch": {"filters": 4, "layers": 1},
    "pixel": {"filters": 4},
    "dcgan": {"filters": 4, "latent": 8},
    "dcgan-discriminator": {"filters": 4},
    "dcgan-encoder": {"filters": 4},
    "residual": {"filters": 4, "latent": 8, "attention": 8},
    "residual-discriminator": {"filters": 4, "attention": 8},
    "bottleneck": {"filters": 2, "latent": 8, "blocks": 1},
    "bottleneck-discriminator": {"filters": 2, "blocks": 1},
    "biggan": {"filters": 2, "latent": 5, "attention": "auto"},
    "biggan-discriminator": {"filters": 2, "attention": "auto"},
    "autoencoder": {"filters": 4, "latent": 8},
    "began": {"filters": 4, "latent": 8},
    "began-autoencoder": {"filters": 4, "latent": 8},
    "mlp": {"filters": 16},
    "mlp-discriminator": {"filters": 16},
    "mapping": {"filters": 16},
    "code-head": {"hidden": 8},
    "text": {"filters": 4, "latent": 8, "blocks": 1},
    "text-discriminator": {"filters": 4, "blocks": 1},
    "progressive": {"base": 32, "most": 8, "latent": 8, "injected": 1, "injected_to": 8},
    "progressive-discriminator": {"base": 32, "most": 8},
}
assert SMALL.keys() == NETWORKS.keys(), "say in SMALL what makes a network of a new kind small"


# As many codes as small latents have room for.
CODES = {"categories": [2], "continuous": 1, "code_scales": [4, 8]}

# What makes data small that are no pictures.
NO_PICTURES: dict[str, dict[str, Any]] = {
    "points": {"points": 300},
    "text": {"length": 8, "vocabulary": 4},
}


class System(NamedTuple):
    """A method, what it is trained on, and the packaged recipe that a test changes.

    grows: what gains detail by the recipe's curriculum, if it has one.
    """

    method: str
    kind: str
    recipe: str
    grows: str = ""

    @property
    def of_pictures(self) -> bool:
        return self.kind not in NO_PICTURES

    def __str__(self) -> str:
        usual = self.kind == METHODS[self.method].data[0]
        named = [self.method, *([] if usual else [self.kind])]
        return "-".join([*named, *(["growing", self.grows] if self.grows else [])])


@cache
def table_of(recipe: str) -> dict[str, Any]:
    return tomllib.loads((recipes_folder() / f"{recipe}.toml").read_text(encoding="utf-8"))


def kind_of(recipe: str) -> str:
    """The layout of a recipe's data."""
    table = table_of(recipe)
    return str(table.get("data", {}).get("kind", METHODS[table["method"]["name"]].data[0]))


def _recipe_for(method: str, kind: str) -> str:
    fitting = [
        name
        for name in recipe_names()
        if table_of(name)["method"]["name"] == method and kind_of(name) == kind
        if "growth" not in table_of(name)
    ]
    assert fitting, f"add a recipe that trains {method!r} on {kind!r} data"
    known = [name for name in (method, PLAINEST.get((method, kind), "")) if name in fitting]
    return [*known, *fitting][0]


def _growing() -> Iterator[System]:
    """Of each method, a recipe without codes of every way to grow."""
    seen = set()
    for name in recipe_names():
        growth = table_of(name).get("growth")
        if growth and "codes" not in table_of(name)["networks"]:
            way = (table_of(name)["method"]["name"], kind_of(name), growth["grows"])
            if way not in seen:
                yield System(*way[:2], name, way[2])
            seen.add(way)


SYSTEMS = [
    System(method, kind, _recipe_for(method, kind))
    for method, maker in METHODS.items()
    for kind in maker.data
]
# The same methods, whose networks or pictures grow.
GROWING = list(_growing())


def every_system(
    systems: Sequence[System] = tuple(SYSTEMS), marks: Sequence[pytest.MarkDecorator] = ()
) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "system", [pytest.param(system, id=str(system), marks=marks) for system in systems]
    )


def small_data(kind: str) -> Overrides:
    """What makes samples of a layout small."""
    return [(f"data.{key}", value) for key, value in NO_PICTURES.get(kind, {"size": 16}).items()]


def small(recipe: str) -> Overrides:
    """What makes a recipe's run a matter of a moment."""
    found: Overrides = [*small_data(kind_of(recipe)), ("data.batch_size", 2)]
    if "growth" in table_of(recipe):  # of pictures of 2 a batch: a step to stabilise, two to fade
        phases = {"stabilise": 2, "fade": 4, "final": 6, "batch_sizes": [2]}
        found += [(f"growth.{key}", value) for key, value in phases.items()]
    fewer = {"burst": 2, **CODES}
    found += [(f"method.{k}", v) for k, v in fewer.items() if k in table_of(recipe)["method"]]
    for section, table in table_of(recipe).get("networks", {}).items():
        wanted = SMALL[table["kind"]].items()
        found += [
            (f"networks.{section}.{key}", value)
            for key, value in wanted
            if key not in ("attention", "injected", "injected_to") or key in table
        ]
    return found
