"""Every method on each kind of data that it takes, with a recipe to begin with, and small networks.

A new method, layout, network kind or recipe is found by itself, or an assertion here says what to
add.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import pytest

from translate.methods import METHODS
from translate.networks import NETWORKS
from translate.recipe_file import recipe_names, recipes_folder

Overrides = list[tuple[str, Any]]

# Where several recipes train a method and none has its name: the plainest.
PLAINEST = {("gan", "unlabelled"): "faces-dcgan-small", ("gan", "points"): "8gaussians-wgan-gp"}

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
    "biggan": {"filters": 2, "latent": 8, "attention": "auto"},
    "biggan-discriminator": {"filters": 2, "attention": "auto"},
    "autoencoder": {"filters": 4, "latent": 8},
    "began": {"filters": 4, "latent": 8},
    "began-autoencoder": {"filters": 4, "latent": 8},
    "mlp": {"filters": 16},
    "mlp-discriminator": {"filters": 16},
    "mapping": {"filters": 16},
}
assert SMALL.keys() == NETWORKS.keys(), "say in SMALL what makes a network of a new kind small"


class System(NamedTuple):
    """A method, what it is trained on, and the packaged recipe that a test changes."""

    method: str
    kind: str
    recipe: str

    def __str__(self) -> str:
        usual = self.kind == METHODS[self.method].data[0]
        return self.method if usual else f"{self.method}-{self.kind}"


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
    ]
    assert fitting, f"add a recipe that trains {method!r} on {kind!r} data"
    known = [name for name in (method, PLAINEST.get((method, kind), "")) if name in fitting]
    return [*known, *fitting][0]


SYSTEMS = [
    System(method, kind, _recipe_for(method, kind))
    for method, maker in METHODS.items()
    for kind in maker.data
]


def every_system(
    systems: Sequence[System] = tuple(SYSTEMS), marks: Sequence[pytest.MarkDecorator] = ()
) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "system", [pytest.param(system, id=str(system), marks=marks) for system in systems]
    )


def small(recipe: str) -> Overrides:
    """What makes a recipe's run a matter of a moment."""
    points = kind_of(recipe) == "points"
    found: Overrides = [("data.points", 300)] if points else [("data.size", 16)]
    found.append(("data.batch_size", 2))
    if "burst" in table_of(recipe)["method"]:
        found.append(("method.burst", 2))
    for section, table in table_of(recipe).get("networks", {}).items():
        wanted = SMALL[table["kind"]].items()
        found += [
            (f"networks.{section}.{key}", value)
            for key, value in wanted
            if key != "attention" or key in table
        ]
    return found
