"""The convolutional GAN, with or without class labels.

Papers: Radford et al. 2016, sections 3 and 4 (DCGAN). Labels: Mirza & Osindero 2014 ("concat"),
Miyato & Koyama 2018 ("projection"), Odena et al. 2017 ("auxiliary"). Spectral norm: Miyato et al.
2018.
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from gan_core.blocks.conditional import ClassConditionalNorm, needed
from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.normalisation import Norm, norm_layer
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.blocks.weights import Weights, hold_weights

Condition = Literal["concat", "projection", "auxiliary"]


class DCGANGenerator(nn.Module):
    """z [B, latent], labels [B] int64 in [0, classes) -> [B, out_channels, H, W] in [-1, 1].

    A transposed convolution takes z to the first grid, others (stride 2) double its sides up to
    H x W. Norm and ReLU follow each, tanh alone the last. Channels: ``filters`` at half the size,
    twice as many at each halving down to the grid, at most 8 * filters.

    size: a power of two from 16 to 512.
    classes: 0 for a generator without labels, which ignores any that it is given.
    condition: "concat" and "auxiliary" put a learned vector per class, of ``embedding`` numbers,
        beside z. "projection" gives every norm a gain and a bias per class instead (Miyato &
        Koyama, section 5).
    aspect: (rows, columns): H = rows * size, W = columns * size; the grid is 4 rows x 4 columns.
    kernel: side of the convolutions that double: 5 in the paper's code, 4 in most others, which
        covers every pixel equally often.
    Deviation from Mirza & Osindero: z passes through no hidden layer of its own before the label
    joins it.
    """

    def __init__(
        self,
        out_channels: int,
        size: int,
        classes: int = 0,
        condition: Condition = "concat",
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 128,
        embedding: int = 64,
        filters: int = 64,
        kernel: int = 4,
        norm: Norm = "batch",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        _check_condition(condition)
        first_grid(size, aspect)
        check_counts(latent=latent, embedding=embedding, filters=filters, kernel=kernel)
        rows, columns = aspect
        by_norm = classes > 0 and condition == "projection"
        beside_z = classes > 0 and not by_norm

        def normalise(channels: int) -> nn.Module:
            layer = norm_layer(norm, channels, affine=not by_norm)
            return ClassConditionalNorm(layer, classes, channels) if by_norm else layer

        self.latent = latent
        self.embed = nn.Embedding(classes, embedding) if beside_z else None
        width = latent + embedding if beside_z else latent
        grid = partial(nn.ConvTranspose2d, kernel_size=(4 * rows, 4 * columns))  # from 1x1
        double = partial(
            nn.ConvTranspose2d,
            kernel_size=kernel,
            stride=2,
            padding=(kernel - 1) // 2,
            output_padding=kernel % 2,
        )
        self.layers = nn.ModuleList()
        for narrower in reversed(widths_down(size, filters)):
            up = double if self.layers else grid
            self.layers += [
                up(width, narrower, bias=norm != "batch"),
                normalise(narrower),
                nn.ReLU(inplace=True),
            ]
            width = narrower
        self.layers += [double(width, out_channels), nn.Tanh()]
        initialise(self, init, init_gain)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            z = torch.cat([z, self.embed(needed(labels))], 1)
        x = z[:, :, None, None]
        for layer in self.layers:
            steered = isinstance(layer, ClassConditionalNorm)
            x = layer(x, needed(labels)) if steered else layer(x)
        return x


class DCGANDiscriminator(nn.Module):
    """x [B, in_channels, H, W], labels [B] int64 in [0, classes) -> [B, 1] scores.

    ``halving_stages``, then a head. Scores are unbounded: no sigmoid.
    With features=True: the list of what each LeakyReLU gave, and the scores as its last entry.

    size, aspect, kernel, channels: as the generator's.
    classes: 0 for a discriminator without labels, which ignores any that it is given.
    condition: how the label takes part: ``Concat``, ``Projection``, ``Auxiliary``. The last gives
        [B, 1 + classes]: the score, then a logit per class; it does not look at labels.
    embedding: numbers per class for "concat" alone.
    weights: "spectral" or "normalised": see ``gan_core.blocks.weights``; not the label's vectors of
        "concat".
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        classes: int = 0,
        condition: Condition = "concat",
        aspect: tuple[int, int] = (1, 1),
        *,
        embedding: int = 64,
        filters: int = 64,
        kernel: int = 4,
        norm: Norm = "none",
        weights: Weights = "free",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        _check_condition(condition)
        first_grid(size, aspect)
        check_counts(embedding=embedding, filters=filters, kernel=kernel)
        rows, columns = aspect
        widths = widths_down(size, filters)
        self.stages = halving_stages(in_channels, widths, kernel, norm)
        head = _HEADS[condition] if classes > 0 else Unconditional
        self.head = head(widths[-1], 16 * rows * columns, classes, embedding)
        initialise(self, init, init_gain)
        hold_weights(self, weights)

    def forward(
        self, x: Tensor, labels: Tensor | None = None, features: bool = False
    ) -> Tensor | list[Tensor]:
        seen = []
        for stage in self.stages:
            x = stage(x)
            seen.append(x)
        seen += self.head(x, labels)
        return seen if features else seen[-1]


def halving_stages(in_channels: int, widths: list[int], kernel: int, norm: Norm) -> nn.ModuleList:
    """A stage per width: convolution of stride 2, norm (not in the first), LeakyReLU 0.2."""
    stages = nn.ModuleList()
    width = in_channels
    for wider in widths:
        used: Norm = norm if stages else "none"
        stages.append(
            nn.Sequential(
                nn.Conv2d(width, wider, kernel, 2, (kernel - 1) // 2, bias=used != "batch"),
                norm_layer(used, wider),
                nn.LeakyReLU(0.2, inplace=True),
            )
        )
        width = wider
    return stages


# A head takes what the last stage gave, h [B, width, 4 rows, 4 columns] with so many places, and
# the labels; it gives a list: its own activations, if it has any, and the scores.


class Unconditional(nn.Module):
    """Linear in all of h."""

    def __init__(self, width: int, places: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.score = nn.Linear(places * width, 1)

    def forward(self, h: Tensor, labels: Tensor | None) -> list[Tensor]:
        return [self.score(h.flatten(1))]


class Concat(nn.Module):
    """The label's vector joins h at each place; a hidden layer mixes; linear.

    Mirza & Osindero 2014, section 4.1: picture and label pass through layers of their own, then
    through a joint one. Here the latter is a 3x3 convolution with LeakyReLU (theirs is maxout).
    """

    def __init__(self, width: int, places: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(classes, embedding)
        self.mix = nn.Sequential(
            nn.Conv2d(width + embedding, width, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)
        )
        self.score = nn.Linear(places * width, 1)

    def forward(self, h: Tensor, labels: Tensor | None) -> list[Tensor]:
        label = self.embed(needed(labels))[:, :, None, None].expand(-1, -1, *h.shape[2:])
        mixed = self.mix(torch.cat([h, label], 1))
        return [mixed, self.score(mixed.flatten(1))]


class Projection(nn.Module):
    """score = linear(s) + <v_label, s>, s the sum of h over its places.

    Miyato & Koyama 2018, equation 3 and their networks' global sum pooling. The vectors v of all
    classes are the rows of one linear layer's weight, so that first weights and spectral norm
    treat them as any other, as the authors' code does.
    """

    def __init__(self, width: int, places: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        self.project = nn.Linear(width, classes, bias=False)

    def forward(self, h: Tensor, labels: Tensor | None) -> list[Tensor]:
        s = h.sum((2, 3))
        return [self.score(s) + self.project(s).gather(1, needed(labels)[:, None])]


class Auxiliary(nn.Module):
    """The score and, beside it, a logit for every class, both linear in all of h.

    Odena et al. 2017, section 3: P(source | x) and P(class | x) from one network.
    """

    def __init__(self, width: int, places: int, classes: int, embedding: int) -> None:
        super().__init__()
        self.score = nn.Linear(places * width, 1)
        self.logits = nn.Linear(places * width, classes)

    def forward(self, h: Tensor, labels: Tensor | None) -> list[Tensor]:
        h = h.flatten(1)
        return [torch.cat([self.score(h), self.logits(h)], 1)]


_HEADS: dict[str, type[Concat] | type[Projection] | type[Auxiliary]] = {
    "concat": Concat,
    "projection": Projection,
    "auxiliary": Auxiliary,
}


def _check_condition(condition: str) -> None:
    if condition not in _HEADS:
        raise ValueError(f"condition {condition!r}: choose {', '.join(_HEADS)}")


def widths_down(size: int, filters: int) -> list[int]:
    """Channels of the maps whose sides are size / 2, size / 4, ..., 4, for aspect (1, 1)."""
    return [filters * min(2**halving, 8) for halving in range(size.bit_length() - 3)]
