"""Residual networks without labels.

Paper: Gulrajani et al. 2017, its networks for CIFAR-10: the defaults at 32 pixels. At other sizes
Miyato et al. 2018 (SNGAN) and Zhang et al. 2019 (SAGAN, with ``attention``) build networks of the
same blocks, with channels that fall as the resolution grows: widths = "falling".
"""

from functools import partial
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import relu

from gan_core.blocks.attention import SelfAttention
from gan_core.blocks.initialisation import Init
from gan_core.blocks.normalisation import Norm, norm_layer
from gan_core.blocks.residual import UpBlock, check_attention, down_stages, initialise_residual
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.blocks.weights import Weights, hold_weights

Widths = Literal["constant", "falling"]


class ResidualGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, H, W] in [-1, 1].

    A linear layer takes z to maps of 4 x 4 (times aspect), blocks double them up to ``size``, then
    norm, ReLU, conv 3x3, tanh. 1,204,483 parameters at 32 pixels with 3 channels.

    size: a power of two from 16 to 512; pictures are size * rows high and size * columns wide for
        aspect = (rows, columns).
    widths: "constant": ``filters`` channels everywhere. "falling": ``filters`` in the largest maps,
        twice as many at each halving, at most 8 * filters.
    attention: self-attention stands where maps have this side (times aspect), from 8 to size / 2;
        0: none. SAGAN has it at 32.
    """

    def __init__(
        self,
        out_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 128,
        filters: int = 128,
        widths: Widths = "constant",
        norm: Norm = "batch",
        attention: int = 0,
        weights: Weights = "free",
        init: Init = "xavier",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.grid = first_grid(size, aspect)
        check_counts(latent=latent, filters=filters)
        check_attention(attention, size)
        self.latent = latent
        channels = _channels(widths, filters, size.bit_length() - 2)[::-1]
        self.start = nn.Linear(latent, channels[0] * self.grid[0] * self.grid[1])
        self.blocks = nn.Sequential()
        side = 4
        for wide, narrow in pairwise(channels):
            self.blocks.append(UpBlock(wide, narrow, partial(norm_layer, norm)))
            side *= 2
            if side == attention:
                self.blocks.append(SelfAttention(narrow))
        self.end = nn.Sequential(
            norm_layer(norm, channels[-1]),
            nn.ReLU(),
            nn.Conv2d(channels[-1], out_channels, 3, padding=1),
            nn.Tanh(),
        )
        initialise_residual(self, init, init_gain)
        hold_weights(self, weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x: Tensor = self.end(self.blocks(self.start(z).unflatten(1, (-1, *self.grid))))
        return x


class ResidualDiscriminator(nn.Module):
    """x [B, in_channels, H, W] -> [B, 1] scores, linear in the mean over places of ReLU(maps).

    Blocks halve the picture down to maps of 8 x 8 (times aspect), two more leave them so. Scores
    are unbounded: no sigmoid. 1,053,825 parameters at 32 pixels with 3 channels. With
    features=True: the list of what each block gave, and the scores as its last entry.

    size, aspect, attention: as the generator's.
    widths: "falling": ``filters`` channels after the first block, which halves the picture.
    norm: "layer" is the paper's where a critic has a norm at all. The first block has none.
    weights: "spectral" or "normalised": see ``gan_core.blocks.weights``.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        filters: int = 128,
        widths: Widths = "constant",
        norm: Norm = "none",
        attention: int = 0,
        weights: Weights = "free",
        init: Init = "xavier",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        first_grid(size, aspect)
        check_counts(filters=filters)
        check_attention(attention, size)
        channels = _channels(widths, filters, size.bit_length() - 4)
        last = channels[-1]
        self.stages = down_stages(
            in_channels, [*channels, last, last], len(channels), size, attention, norm
        )
        self.score = nn.Linear(last, 1)
        initialise_residual(self, init, init_gain)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        seen.append(self.score(relu(x).mean((2, 3))))
        return seen if features else seen[-1]


_GROWTH: dict[str, int] = {"constant": 1, "falling": 8}  # channels at most, in filters


def _channels(widths: Widths, filters: int, maps: int) -> list[int]:
    """Channels of that many maps, each of half the side of the one before."""
    if widths not in _GROWTH:
        raise ValueError(f"widths {widths!r}: choose {', '.join(_GROWTH)}")
    return [filters * min(2**halving, _GROWTH[widths]) for halving in range(maps)]
