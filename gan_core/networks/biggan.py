"""BigGAN, with or without class labels.

Paper: Brock et al. 2019, section 3 and appendix B (its networks for 128, 256 and 512 pixels); the
authors' PyTorch code for what it leaves open. Labels enter as in Miyato & Koyama 2018
("projection"): steering the generator's norms, and as an inner product in the discriminator.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from gan_core.blocks.attention import SelfAttention
from gan_core.blocks.conditional import needed
from gan_core.blocks.initialisation import Init
from gan_core.blocks.residual import UpBlock, check_attention, down_stages, initialise_residual
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.blocks.weights import Weights, hold_weights
from gan_core.networks.dcgan import Condition

# Channels in filters by picture size: the generator's maps from 4x4 up, in the reverse order the
# discriminator's from half the size down to 4x4 and, of its last block, at 4x4 again. 128 and more
# as in the paper; 64 as in SNGAN, whose discriminator is also BigGAN's; 32 as in the authors' code,
# where the discriminator stops at 8x8.
_CHANNELS = {
    16: (4, 4, 4),
    32: (4, 4, 4, 4),
    64: (16, 8, 4, 2, 1),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}


class ConditionalBatchNorm(nn.Module):
    """(1 + W_gain c) * norm(x) + W_bias c for x [B, channels, H, W] and c [B, width].

    norm: batch normalisation without affine of its own; c is what sample by sample steers it.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(width, channels, bias=False)
        self.bias = nn.Linear(width, channels, bias=False)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        gain, bias = self.gain(c)[:, :, None, None], self.bias(c)[:, :, None, None]
        out: Tensor = (1 + gain) * self.norm(x) + bias
        return out


class BigGANGenerator(nn.Module):
    """z [B, latent], labels [B] int64 in [0, classes) -> [B, out_channels, H, W] in [-1, 1].

    z is cut into equal parts, one for the linear layer that makes the first maps of 4 x 4 (times
    aspect), which takes what is left over too, and one for each block that doubles them. The norms
    of a block are steered by its part of z and, beside it, the label's vector, which is the same in
    all blocks. At the end norm, ReLU, conv 3x3, tanh.

    size: a power of two from 16 to 512; pictures are size * rows high and size * columns wide for
        aspect = (rows, columns).
    classes: 0 for a generator without labels, which ignores any that it is given.
    condition: "projection" alone, if there are classes.
    embedding: numbers of a label's vector, which no spectral norm holds.
    filters: channels of the largest maps; at 16 and 32 pixels all maps have 4 * filters.
    attention: self-attention stands where maps have this side (times aspect), from 8 to size / 2;
        "auto": at 64, or at half the size if that is less; 0: none.
    """

    def __init__(
        self,
        out_channels: int,
        size: int,
        classes: int = 0,
        condition: Condition = "projection",
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 120,
        embedding: int = 128,
        filters: int = 96,
        attention: Literal["auto"] | int = "auto",
        weights: Weights = "spectral",
        init: Init = "orthogonal",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.grid = first_grid(size, aspect)
        _check_condition(classes, condition)
        check_counts(embedding=embedding, filters=filters)
        attended = _attended(attention, size)
        channels = [filters * multiple for multiple in _CHANNELS[size]]
        blocks = len(channels) - 1
        part = latent // (blocks + 1)
        if part < 1:
            raise ValueError(
                f"latent must be {blocks + 1} or more, for the first layer and {blocks} blocks, "
                f"not {latent}"
            )
        self.latent = latent
        self.parts = [latent - blocks * part] + [part] * blocks
        self.embed = nn.Embedding(classes, embedding) if classes > 0 else None
        width = part + embedding if classes > 0 else part
        self.start = nn.Linear(self.parts[0], channels[0] * self.grid[0] * self.grid[1])
        self.blocks, self.attention = nn.ModuleList(), nn.ModuleList()
        side = 4
        for wide, narrow in pairwise(channels):
            self.blocks.append(UpBlock(wide, narrow, lambda c: ConditionalBatchNorm(c, width)))
            side *= 2
            self.attention.append(SelfAttention(narrow) if side == attended else nn.Identity())
        self.end = nn.Sequential(
            nn.BatchNorm2d(channels[-1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels[-1], out_channels, 3, padding=1),
            nn.Tanh(),
        )
        initialise_residual(self, init, init_gain)
        if self.embed is not None:
            nn.init.orthogonal_(self.embed.weight)  # of N(0, 1), vectors would drown z
        hold_weights(self, weights)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        first, *steering = z.split(self.parts, 1)
        if self.embed is not None:
            label = self.embed(needed(labels))
            steering = [torch.cat([label, part], 1) for part in steering]
        x = self.start(first).unflatten(1, (-1, *self.grid))
        for block, attention, c in zip(self.blocks, self.attention, steering, strict=True):
            x = attention(block(x, c))
        out: Tensor = self.end(x)
        return out


class BigGANDiscriminator(nn.Module):
    """x [B, in_channels, H, W], labels [B] int64 in [0, classes) -> [B, 1] scores.

    score = linear(s) + <v_label, s>, s the sum over places of ReLU(the last maps). Blocks halve the
    picture down to maps of 4 x 4 (times aspect), one more leaves them so. No sigmoid. With
    features=True: the list of what each block gave, and the scores as its last entry.

    size, aspect, condition, attention: as the generator's.
    classes: 0 for a discriminator without labels, which ignores any that it is given.
    filters: channels after the first block; at 16 and 32 pixels 4 * filters after every block.
    weights: "spectral" or "normalised": see ``gan_core.blocks.weights``; the label's vectors, which
        are a linear layer's, too.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        classes: int = 0,
        condition: Condition = "projection",
        aspect: tuple[int, int] = (1, 1),
        *,
        filters: int = 96,
        attention: Literal["auto"] | int = "auto",
        weights: Weights = "spectral",
        init: Init = "orthogonal",
        init_gain: float = 1.0,
    ) -> None:
        super().__init__()
        first_grid(size, aspect)
        _check_condition(classes, condition)
        check_counts(filters=filters)
        channels = [filters * multiple for multiple in reversed(_CHANNELS[size])]
        self.stages = down_stages(
            in_channels, channels, len(channels) - 1, size, _attended(attention, size), "none"
        )
        self.score = nn.Linear(channels[-1], 1)
        self.project = nn.Linear(channels[-1], classes, bias=False) if classes > 0 else None
        initialise_residual(self, init, init_gain)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        s = relu(x).sum((2, 3))
        score = self.score(s)
        if self.project is not None:
            score = score + self.project(s).gather(1, needed(labels)[:, None])
        seen.append(score)
        return seen if features else score


def _attended(attention: Literal["auto"] | int, size: int) -> int:
    """The side of the maps that self-attention stands after."""
    side = min(64, size // 2) if attention == "auto" else attention
    check_attention(side, size)
    return side


def _check_condition(classes: int, condition: str) -> None:
    if classes > 0 and condition != "projection":
        raise ValueError(f"BigGAN takes labels by condition = 'projection', not {condition!r}")
