"""Networks of linear layers, for points and codes.

Paper: Gulrajani et al. 2017, section 4 (figure 1b): three hidden layers of 512 ReLU for generator
and critic of points in the plane. First weights: He et al. 2015.
"""

from typing import Literal

from torch import Tensor, nn

from gan_core.blocks.initialisation import initialise
from gan_core.blocks.normalisation import norm_layer
from gan_core.blocks.shapes import check_counts
from gan_core.blocks.weights import Weights, hold_weights


def _hidden(
    width: int, filters: int, layers: int, norm: Literal["layer", "none"] = "none"
) -> list[nn.Sequential]:
    """``layers`` times linear, norm, ReLU, from ``width`` numbers to ``filters``."""
    return [
        nn.Sequential(
            nn.Linear(filters if layer else width, filters),
            norm_layer(norm, filters),
            nn.ReLU(inplace=True),
        )
        for layer in range(layers)
    ]


class PointGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels], unbounded. ``layers`` hidden ones of ``filters`` ReLU."""

    def __init__(
        self, out_channels: int, *, latent: int = 2, filters: int = 512, layers: int = 3
    ) -> None:
        super().__init__()
        check_counts(latent=latent, filters=filters, layers=layers)
        self.latent = latent
        self.layers = nn.Sequential(
            *_hidden(latent, filters, layers), nn.Linear(filters, out_channels)
        )
        initialise(self, "kaiming", 1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z)


class PointDiscriminator(nn.Module):
    """x [B, in_channels] -> [B, 1] scores. ``layers`` hidden ones of ``filters`` ReLU.

    With features=True: the list of what each ReLU gave, and the scores as its last entry.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        filters: int = 512,
        layers: int = 3,
        norm: Literal["layer", "none"] = "none",
        weights: Weights = "free",
    ) -> None:
        super().__init__()
        check_counts(filters=filters, layers=layers)
        self.stages = nn.ModuleList(_hidden(in_channels, filters, layers, norm))
        self.score = nn.Linear(filters, 1)
        initialise(self, "kaiming", 1.0)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        seen.append(self.score(x))
        return seen if features else seen[-1]


class Mapping(nn.Module):
    """x [B, in_channels] -> [B, outputs], unbounded. ``layers`` hidden ones of ``filters`` ReLU.

    layers: 0 for x -> W x without bias, which starts as the identity (cut or filled with zeros to
        the shape): the matrix that carries O-GAN's codes to latents.
    """

    def __init__(
        self, in_channels: int, outputs: int, *, filters: int = 128, layers: int = 1
    ) -> None:
        super().__init__()
        check_counts(outputs=outputs, filters=filters)
        if layers < 0:
            raise ValueError(f"layers must be 0 or more, not {layers}")
        if layers == 0:
            linear = nn.Linear(in_channels, outputs, bias=False)
            nn.init.eye_(linear.weight)
            self.layers = nn.Sequential(linear)
        else:
            self.layers = nn.Sequential(
                *_hidden(in_channels, filters, layers), nn.Linear(filters, outputs)
            )
            initialise(self, "kaiming", 1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
