"""The measured table term x network of a recipe."""

from collections.abc import Sequence
from typing import Any

import tomlkit
import torch

from gan_core.routing import Route, route_matrix
from translate.data.sets import LAYOUTS
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
    channels = LAYOUTS[made.data].channels_of(recipe.values["data"])
    with torch.device("meta"):
        nets, _ = recipe.make_networks(made, channels)
        pictures = {k: torch.empty(2, n, recipe.size, recipe.size) for k, n in channels.items()}
        batch = pictures | {k: torch.zeros(2, dtype=torch.long) for k in channels if k == "label"}
    return route_matrix(made, nets, batch)
