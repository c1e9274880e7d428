"""Pictures and figures by which a person judges a run while it trains."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.ema import restate_statistics
from gan_core.precision import autocast, upcast
from translate.data.dataset import DataSet, Layout
from translate.methods import TranslationMethod

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
    count = min(map(len, batch.values()))
    seen = {key: values[:count].cpu() for key, values in batch.items()}
    parts: list[dict[str, Tensor]] = []
    for start in range(0, count, 8):
        part = {key: values[start : start + 8].to(device) for key, values in seen.items()}
        with autocast(precision, device):
            fakes = method.made(nets, part, generator)
        parts.append({key: upcast(values).cpu() for key, values in fakes.items()})
    whole = {key: torch.cat([part[key] for part in parts]) for key in parts[0]}
    return {key: layout.picture(key, values, seen) for key, values in whole.items()}


def sample_grid(
    method: TranslationMethod, layout: Layout, made: Batch, batch: Batch, count: int
) -> np.ndarray | str:
    """A sheet of the first of the batch and of what was made, by the rows of the method's grid."""
    rows = {f"made {key}": images for key, images in made.items()}
    rows |= {key: layout.picture(key, images, batch) for key, images in batch.items()}
    return layout.sheet({row: rows[row][:count] for row in method.grid})


def judge(layout: Layout, made: Batch, batch: Batch) -> dict[str, float]:
    """The layout's figures of what was made against what was held out under the same key.

    Of pictures only where they are of one size, 8 pixels or more: without preprocessing two
    domains' may differ.
    """
    figures = {}
    for key in [key for key in made if key in batch]:
        real, images = layout.picture(key, batch[key], batch), made[key]
        if real.shape[1:] == images.shape[1:] and all(side >= 8 for side in real.shape[2:]):
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
    pass_through = getattr(method, "settling", method.made)

    def forward(batch: Batch) -> None:
        with autocast(precision, device):
            pass_through(nets, {key: v.to(device) for key, v in batch.items()}, generator)

    restate_statistics(nets, (partial(forward, batch) for batch in data.first(128, 16)))
