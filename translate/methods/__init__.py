"""Translation methods by name: those of this package and those that others install.

A package adds a method through an entry point of the group ``translate.methods`` that names a
class like ``CycleGAN``: a ``gan_core.routing.Method`` whose constructor takes its recipe keys as
keyword-only arguments, and *parts*, whose keys are recipe keys too, as positional ones
(``translate.schema.parts``), and with

    data           what it can be trained on, the usual first (names in
                   ``translate.data.sets.LAYOUTS``)
    family         the METHOD of ``translate train`` that its recipes belong to
    translations   network -> (batch key it reads, batch key it makes); empty where pictures are
                   drawn from noise
    grid           rows of the sample grids: batch keys, and "made <key>" for what is made
    networks(build, channels)   its networks; ``build(section, **shape)`` makes the one that the
                   recipe's ``[networks.<section>]`` describes; ``channels``: by batch key, or the
                   number of classes
    made(nets, batch, generator)   what the generators make of a batch, by the key of the pictures
                   that it is to be like; all noise comes from ``generator``, a CPU one

    settling       optional, as ``made``: the passes that batch norms' statistics are estimated on

Where pictures are drawn from noise also

    generate(nets, normal, label)   pictures of numbers [B, G.latent] from N(0, 1), by calling
                   nets["G"](w) or nets["G"](w, label), around which truncation stands
    codes          optional: a ``gan_core.information.Code`` for each of the last numbers of w that
                   stand for something, for ``translate traverse``

and where codes can be had of pictures

    encode(nets, x), decode(nets, code)   [B, C, H, W] to [B, n], and back
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from gan_core.methods.began import BEGAN
from gan_core.methods.ebgan import EBGAN
from gan_core.methods.gan import GAN
from gan_core.methods.ogan import OGAN
from gan_core.routing import Batch, Method, Networks
from translate.errors import UserError, nearest
from translate.methods.cgan import ConditionalGAN
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix

METHODS: dict[str, type[Any]] = {
    "cyclegan": CycleGAN,
    "pix2pix": Pix2Pix,
    "cgan": ConditionalGAN,
    "gan": GAN,
    "ebgan": EBGAN,
    "began": BEGAN,
    "ogan": OGAN,
}


class TranslationMethod(Method, Protocol):
    data: ClassVar[tuple[str, ...]]
    family: ClassVar[str]
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
