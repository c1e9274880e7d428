"""The 101-layer residual networks of bottleneck blocks, which are hard to train without a penalty.

Paper: Gulrajani et al. 2017, section 5.2 (Figure 2), for pictures of 64 pixels; blocks, widths and
the division by 5 are those of its authors' code.
"""

from torch import Tensor, nn

from gan_core.blocks.initialisation import Init
from gan_core.blocks.normalisation import Norm
from gan_core.blocks.residual import BottleneckBlock, Resample, initialise_residual
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.blocks.weights import Weights, hold_weights


class BottleneckGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, H, W] in [-1, 1].

    A linear layer takes z to maps of 4 x 4 (times aspect); at each resolution ``blocks`` blocks, at
    the largest one less, with a block that doubles the maps in between; then conv 1x1 and
    tanh(x / 5). With the defaults at 64 pixels these are 33 blocks of 3 layers and 2 more: 101.

    size: a power of two from 16 to 512; pictures are size * rows high and size * columns wide for
        aspect = (rows, columns).
    filters: channels of the largest maps, twice as many at each halving, at most 16 * filters.
    """

    def __init__(
        self,
        out_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 128,
        filters: int = 32,
        blocks: int = 6,
        norm: Norm = "batch",
        weights: Weights = "free",
        init: Init = "xavier",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.grid = first_grid(size, aspect)
        check_counts(latent=latent, blocks=blocks)
        self.latent = latent
        channels = _channels(filters, size)[::-1]
        self.start = nn.Linear(latent, channels[0] * self.grid[0] * self.grid[1])
        counts = [blocks] * (len(channels) - 1) + [blocks - 1]
        self.stages = _stages(channels, counts, norm, "up")
        self.end = nn.Conv2d(channels[-1], out_channels, 1)
        initialise_residual(self, init, init_gain)
        hold_weights(self, weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.start(z).unflatten(1, (-1, *self.grid))
        for stage in self.stages:
            x = stage(x)
        out: Tensor = (self.end(x) / 5).tanh()
        return out


class BottleneckDiscriminator(nn.Module):
    """x [B, in_channels, H, W] -> [B, 1] scores: a fifth of what is linear in the 4 x 4 maps.

    The generator's blocks the other way round, between a 1x1 convolution and a linear layer.
    With features=True: the list of the maps of each resolution, and the scores as its last entry.

    weights: "spectral" or "normalised": see ``gan_core.blocks.weights``.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        filters: int = 32,
        blocks: int = 6,
        norm: Norm = "layer",
        weights: Weights = "free",
        init: Init = "xavier",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        grid = first_grid(size, aspect)
        check_counts(blocks=blocks)
        channels = _channels(filters, size)
        self.start = nn.Conv2d(in_channels, channels[0], 1)
        counts = [blocks - 1] + [blocks] * (len(channels) - 1)
        self.stages = _stages(channels, counts, norm, "down")
        self.score = nn.Linear(channels[-1] * grid[0] * grid[1], 1)
        initialise_residual(self, init, init_gain)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        seen = []
        x = self.start(x)
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        seen.append(self.score(x.flatten(1)) / 5)
        return seen if features else seen[-1]


def _channels(filters: int, size: int) -> list[int]:
    """Of the maps whose sides are size, size / 2, ..., 4."""
    if filters < 2:
        raise ValueError(f"filters must be 2 or more, since blocks halve them, not {filters}")
    return [filters * min(2**halving, 16) for halving in range(size.bit_length() - 2)]


def _stages(
    channels: list[int], counts: list[int], norm: Norm, resample: Resample
) -> nn.ModuleList:
    """For every resolution the block that leads to it from the one before, and its own blocks."""
    stages = nn.ModuleList()
    before = None
    for width, count in zip(channels, counts, strict=True):
        stage = nn.Sequential()
        if before is not None:
            stage.append(BottleneckBlock(before, width, norm, resample))
        stage.extend(BottleneckBlock(width, width, norm) for _ in range(count))
        stages.append(stage)
        before = width
    return stages
