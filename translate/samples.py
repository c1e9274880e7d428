"""Pictures and figures by which a person judges a run while it trains."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.ema import restate_statistics
from gan_core.precision import autocast, upcast
from translate.data.dataset import DataSet, Layout
from translate.data.tensors import to_image
from translate.methods import TranslationMethod
from translate.pictures import grid

Nets = Mapping[str, nn.Module]
Batch = Mapping[str, Tensor]


@torch.no_grad()
def made(
    method: TranslationMethod,
    layout: Layout,
    nets: Nets,
    batch: Batch,
    device: torch.device,
    precision: str,
) -> dict[str, Tensor]:
    """What the generators make of a batch, a few rows at a time, as pictures on the host.

    Float32; noise is the same at every call. Where two domains hold unequal numbers of pictures,
    as many as the fewer.
    """
    generator = torch.Generator().manual_seed(0)
    parts: list[dict[str, Tensor]] = []
    for start in range(0, count := min(map(len, batch.values())), 8):
        part = {key: values[start : min(start + 8, count)] for key, values in batch.items()}
        with autocast(precision, device):
            fakes = method.made(nets, {k: v.to(device) for k, v in part.items()}, generator)
        seen = {key: values.cpu() for key, values in part.items()}
        parts.append({k: layout.picture(k, upcast(v).cpu(), seen) for k, v in fakes.items()})
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def sample_grid(
    method: TranslationMethod, layout: Layout, made: Batch, batch: Batch, count: int
) -> np.ndarray:
    """A row for each of the method's ``grid``: pictures of the batch, and what was made of it."""
    rows = {f"made {key}": images for key, images in made.items()}
    rows |= {key: layout.picture(key, images, batch) for key, images in batch.items()}
    return grid([[to_image(image) for image in rows[row][:count]] for row in method.grid])


def judge(layout: Layout, made: Batch, batch: Batch) -> dict[str, float]:
    """The layout's figures of what was made against held-out pictures.

    Only of pictures of one size, 8 pixels or more: without preprocessing two domains' may differ.
    """
    figures = {}
    for key, images in made.items():
        real = layout.picture(key, batch[key], batch)
        if real.shape[1:] == images.shape[1:] and min(real.shape[2:]) >= 8:
            for name, figure in layout.figures.items():
                figures[f"{name} {layout.names[key]}"] = figure(real, images)
    return figures


def settle(
    method: TranslationMethod, nets: Nets, data: DataSet, device: torch.device, precision: str
) -> None:
    """Give averaged networks the batch-norm statistics of their own weights.

    Estimated on the run's first 128 training samples, 16 at a time whatever the run's batch, so
    that the variance between pictures counts too.
    """
    generator = torch.Generator().manual_seed(0)

    def forward(batch: Batch) -> None:
        with autocast(precision, device):
            method.made(nets, {key: v.to(device) for key, v in batch.items()}, generator)

    restate_statistics(nets, (partial(forward, batch) for batch in data.first(128, 16)))
