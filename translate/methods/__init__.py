"""Translation methods by name: those of this package and those that others install.

A package adds a method through an entry point of the group ``translate.methods`` that names a
class like ``CycleGAN``: a ``gan_core.routing.Method`` with a keyword-only constructor (its recipe
keys), and with

    data           the kind of data set it trains on (a name in ``translate.data.sets.DATA_SETS``)
    translations   network -> (batch key it reads, batch key it makes)
    networks(build, channels)   its networks; ``build(section, **shape)`` makes the one that the
                   recipe's ``[networks.<section>]`` describes
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol

from torch import nn

from gan_core.routing import Method
from translate.errors import UserError, nearest
from translate.methods.cyclegan import CycleGAN

METHODS: dict[str, type[Any]] = {"cyclegan": CycleGAN}


class TranslationMethod(Method, Protocol):
    data: ClassVar[str]
    translations: ClassVar[dict[str, tuple[str, str]]]

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]: ...


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
