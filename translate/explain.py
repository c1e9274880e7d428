"""The measured table term x network of a recipe."""

from collections.abc import Sequence
from typing import Any

import tomlkit
import torch

from gan_core.routing import Route, route_matrix
from translate.recipe import resolve


def routes(
    document: tomlkit.TOMLDocument, overrides: Sequence[tuple[str, Any]], method: str
) -> dict[str, dict[str, dict[str, Route]]]:
    """``{update: {term: {network: route}}}`` of a recipe, from one batch of no data at all.

    The networks live on torch's meta device: shapes and autograd graphs without numbers, so that
    a full-size recipe costs no memory and no time.
    """
    recipe = resolve(document, overrides, method)
    made = recipe.make_method()
    values = recipe.values["data"]
    with torch.device("meta"):
        nets, _ = recipe.make_networks(made, recipe.layout.channels_of(values))
        batch = recipe.layout.blank(values)
    return route_matrix(made, nets, batch)
