"""Translation methods by name: those of this package and those that others install.

A package adds a method through an entry point of the group ``translate.methods`` that names a
class like ``CycleGAN``: a ``gan_core.routing.Method`` with a keyword-only constructor (its recipe
keys), and with

    data           what it trains on (a name in ``translate.data.sets.LAYOUTS``)
    translations   network -> (batch key it reads, batch key it makes); empty where pictures are
                   drawn from noise
    grid           rows of the sample grids: batch keys, and "made <key>" for what is made
    networks(build, channels)   its networks; ``build(section, **shape)`` makes the one that the
                   recipe's ``[networks.<section>]`` describes; ``channels``: by batch key, or the
                   number of classes
    made(nets, batch, generator)   what the generators make of a batch, by the key of the pictures
                   that it is to be like; all noise comes from ``generator``, a CPU one
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from gan_core.routing import Batch, Method, Networks
from translate.errors import UserError, nearest
from translate.methods.cgan import ConditionalGAN
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix

METHODS: dict[str, type[Any]] = {
    "cyclegan": CycleGAN,
    "pix2pix": Pix2Pix,
    "cgan": ConditionalGAN,
}


class TranslationMethod(Method, Protocol):
    data: ClassVar[str]
    translations: ClassVar[dict[str, tuple[str, str]]]
    grid: ClassVar[tuple[str, ...]]

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]: ...

    def made(
        self, nets: Networks, batch: Batch, generator: torch.Generator
    ) -> dict[str, Tensor]: ...


def find_method(name: str) -> type[Any]:
    """The method's class; UserError naming the nearest if there is none."""
    if name in METHODS:
        return METHODS[name]
    found = {entry.name: entry for entry in entry_points(group="translate.methods")}
    if name not in found:
        raise UserError(f"no method is called {name!r}{nearest(name, [*METHODS, *found])}")
    loaded = found[name].load()
    assert isinstance(loaded, type)
    return loaded
