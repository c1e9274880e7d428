"""What layouts of pictures share."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gan_core.metrics import sliced_wasserstein
from translate.data.dataset import Entry, Seed, Stream
from translate.data.folders import domain_names, pictures
from translate.data.preparation import Preparation

Channels = Literal[1, 3, 4]


def domain(name: str, folder: str, prepare: Preparation, key: str, channels: int) -> Stream:
    """All pictures below a folder, one by one: {key: [channels, H, W] in [-1, 1]}."""
    entries = [Entry((path,)) for path in pictures(Path(folder))]
    return Stream(name, entries, partial(_load, prepare, key, channels))


def _load(
    prepare: Preparation, key: str, channels: int, entry: Entry, seed: Seed
) -> dict[str, Tensor]:
    return {key: prepare.load(entry.files[0], channels, seed)}


def blank(channels: Mapping[str, int], values: Mapping[str, Any]) -> dict[str, Tensor]:
    """Two pictures without content for each batch key, as large as the values of [data] say."""
    rows, columns = values["aspect"]
    sides = values["size"] * rows, values["size"] * columns
    return {key: torch.empty(2, count, *sides) for key, count in channels.items()}


def name_domains(names: tuple[str, ...], folders: tuple[str, ...]) -> dict[str, str]:
    """Batch key -> the domain's name: the one given, or else the folder's last."""
    chosen = names or domain_names((Path(folders[0]), Path(folders[1])))
    for name in chosen:
        if not name or "/" in name or "\\" in name or name.startswith("."):
            raise ValueError(f"names must be usable in file names, which {name!r} is not")
    if chosen[0] == chosen[1]:
        raise ValueError(f"names must differ, not both be {chosen[0]!r}")
    return dict(zip(("x", "y"), chosen, strict=True))


def translations_header(
    translations: Mapping[str, tuple[str, str]],
    names: Mapping[str, str],
    channels: Mapping[str, int],
) -> dict[str, Any]:
    """What a model file says: which network goes from which domain to which, and their channels."""
    return {
        "translations": [
            {"network": network, "from": names[source], "to": names[target]}
            for network, (source, target) in translations.items()
        ],
        "channels": {names[key]: count for key, count in channels.items()},
    }


def _swd(real: Tensor, made: Tensor) -> float:
    """Sliced Wasserstein distance; of 16 pixels and up, or the pictures' own size."""
    count = min(len(real), len(made))
    smallest = min(16, *real.shape[2:])
    return sliced_wasserstein(real[:count], made[:count], smallest=smallest).mean


def _l1(real: Tensor, made: Tensor) -> float:
    """mean |real - made|, black to white being 1."""
    return float((real - made).abs().mean()) / 2


def _ssim(real: Tensor, made: Tensor) -> float:
    """Mean structural similarity (Wang et al. 2004), 11 x 11 Gaussian window, of values in 0..1."""
    from kornia.metrics import ssim

    return float(ssim((real + 1) / 2, (made + 1) / 2, 11).mean())


FIGURES: Mapping[str, Callable[[Tensor, Tensor], float]] = {"swd": _swd, "l1": _l1, "ssim": _ssim}
"""What pictures made are judged by: name -> (real, made), [N, C, H, W] in [-1, 1], -> number."""
