"""The progressive GAN's discriminator.

Paper and deviations: see ``gan_core.networks.progressive``.
"""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedConv2d, EqualisedLinear
from gan_core.blocks.minibatch import MinibatchDiscrimination
from gan_core.blocks.resampling import down, fade
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.kernels.deviation import deviation
from gan_core.networks.progressive import level_channels, levels_to

Statistics = Literal["deviation", "discrimination", "none"]


class ProgressiveDiscriminator(nn.Module):
    """x [B, in_channels, H, W] -> [B, 1] scores. H = rows * resolution, W = columns * resolution.

    The generator's mirror image: a 1x1 convolution of the level's own makes maps of the picture,
    blocks halve them down to 4 x 4, a convolution, a dense layer and a linear one follow. No norm.
    Scores are unbounded: no sigmoid. Labels are ignored.

    size, aspect, base, most: as the generator's.
    statistics: how it looks at the batch, see ``gan_core.blocks.minibatch``. "deviation": one more
        map before the last convolution, the paper's, over ``groups`` samples; "discrimination": of
        so many ``kernels`` beside the dense layer's activations, the paper's ablation (e*); "none".

    forward: resolution: of the picture, the full size where it is None; alpha [B] or [1]: the share
    of the finest level, beside the picture's smaller version in the level below; None: all of it.
    features=True: a list of [B, C, rows * level, columns * level] for each level, the finest first:
    what its last convolution gave, before halving; at 4 x 4, since what follows may look at the
    batch, what enters the last block. Then the dense layer's activations [B, C], and the scores.
    """

    grows: ClassVar[bool] = True

    def __init__(
        self,
        in_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        base: int = 8192,
        most: int = 512,
        statistics: Statistics = "deviation",
        groups: int = 4,
        kernels: int = 100,
    ) -> None:
        super().__init__()
        rows, columns = first_grid(size, aspect, 4, 1024)
        check_counts(groups=groups, kernels=kernels)
        self.size = size
        channels = level_channels(size, base, most)
        self.rgb = nn.ModuleDict(
            {str(level): EqualisedConv2d(in_channels, n, 1) for level, n in channels.items()}
        )
        self.blocks = nn.ModuleDict(
            {"4": _End(channels[4], rows * columns, statistics, groups, kernels)}
        )
        for level in list(channels)[1:]:
            self.blocks[str(level)] = _Fall(channels[level], channels[level // 2])

    def forward(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        features: bool = False,
        resolution: int | None = None,
        alpha: Tensor | None = None,
    ) -> Tensor | list[Tensor]:
        *coarser, finest = levels_to(self.size, resolution, alpha)
        seen = []
        h = self._maps(x, finest)
        for level in reversed([*coarser, finest][1:]):
            seen.append(self.blocks[str(level)](h))
            h = down(seen[-1], 2)
            if level == finest and alpha is not None:
                h = fade(self._maps(down(x, 2), level // 2), h, alpha)
        seen += [h, *self.blocks["4"](h)]
        return seen if features else seen[-1]

    def _maps(self, x: Tensor, level: int) -> Tensor:
        return _slope(self.rgb[str(level)](x))


class _Fall(nn.Module):
    """[B, inputs, H, W] -> [B, outputs, H, W]; who calls it halves the sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = EqualisedConv2d(inputs, inputs, 3, padding=1)
        self.second = EqualisedConv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return _slope(self.second(_slope(self.first(x))))


class _End(nn.Module):
    """[B, width, 4 rows, 4 columns], of so many places -> activations [B, width], scores [B, 1]."""

    def __init__(
        self, width: int, places: int, statistics: Statistics, groups: int, kernels: int
    ) -> None:
        super().__init__()
        if statistics not in ("deviation", "discrimination", "none"):
            raise ValueError(f"statistics {statistics!r}: choose deviation, discrimination, none")
        self.groups = groups if statistics == "deviation" else 0
        self.first = EqualisedConv2d(width + (self.groups > 0), width, 3, padding=1)
        self.second = EqualisedLinear(width * places, width)
        discriminates = statistics == "discrimination"
        self.discrimination = MinibatchDiscrimination(width, kernels) if discriminates else None
        self.score = EqualisedLinear(width + discriminates * kernels, 1, gain=1.0)

    def forward(self, x: Tensor) -> list[Tensor]:
        if self.groups:
            x = torch.cat([x, deviation(x, self.groups)], 1)
        dense = _slope(self.second(_slope(self.first(x)).flatten(1)))
        told = dense
        if self.discrimination is not None:
            told = torch.cat([dense, self.discrimination(dense)], 1)
        return [dense, self.score(told)]


def _slope(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2, inplace=True)
