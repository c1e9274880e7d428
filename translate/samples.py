"""Pictures and figures by which a person judges a run while it trains."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.metrics import sliced_wasserstein
from gan_core.precision import autocast, upcast
from translate.data.tensors import to_image
from translate.pictures import grid

Translations = Mapping[str, tuple[str, str]]


@torch.no_grad()
def apply(net: nn.Module, images: Tensor, precision: str, batch: int = 8) -> Tensor:
    """The network's pictures for [N, C, H, W], a few at a time, on the host in float32."""
    with autocast(precision, images.device):
        return torch.cat([upcast(net(part)).cpu() for part in images.split(batch)])


def sample_grid(
    nets: Mapping[str, nn.Module],
    translations: Translations,
    batch: Mapping[str, Tensor],
    precision: str,
) -> np.ndarray:
    """Two rows for each translation: what went in, and below it what came out."""
    rows = []
    for network, (source, _) in translations.items():
        made = apply(nets[network], batch[source], precision)
        rows += [[to_image(image) for image in batch[source].cpu()], [to_image(i) for i in made]]
    return grid(rows)


def judge(
    nets: Mapping[str, nn.Module],
    translations: Translations,
    held_out: Mapping[str, Tensor],
    device: torch.device,
    precision: str,
) -> dict[str, float]:
    """Sliced Wasserstein distance of each translation's pictures to real ones of its domain.

    Only of pictures of one size: without preprocessing the two domains' may differ.
    """
    figures = {}
    for network, (source, target) in translations.items():
        made = apply(nets[network], held_out[source].to(device), precision)
        real, count = held_out[target], min(len(made), len(held_out[target]))
        if real.shape[1:] == made.shape[1:]:
            smallest = min(16, *real.shape[2:])
            figures[target] = sliced_wasserstein(real[:count], made[:count], smallest=smallest).mean
    return figures
