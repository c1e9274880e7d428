"""The progressive GAN: a generator of pictures of every resolution from 4 up.

Paper: Karras et al. 2018, appendix A, table 2. What is 4 x 4 there is 4 rows x 4 columns here.
Which resolution is meant, and how far it is faded in, is said at each call: the networks hold no
stage.

With base = 2048 G and its discriminator have 13.6 million parameters at 128 pixels, with 8192 the
paper's 23.1 million at 1024; colours of levels that are not looked at are not counted.
Deviation: no doubling or halving is fused with a convolution, as the authors' code does from 128
pixels on.
"""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedConv2d, EqualisedLinear
from gan_core.blocks.pixel_norm import PixelNorm
from gan_core.blocks.resampling import up
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.kernels.resample import fade_up

# What follows a convolution of so many channels.
_AFTER: dict[str, Callable[[int], nn.Module]] = {
    "pixel": lambda channels: nn.Sequential(nn.LeakyReLU(0.2, inplace=True), PixelNorm()),
    "batch": lambda channels: nn.Sequential(
        nn.BatchNorm2d(channels), nn.LeakyReLU(0.2, inplace=True)
    ),
    "none": lambda channels: nn.LeakyReLU(0.2, inplace=True),
}
_OUTPUTS: dict[str, Callable[[], nn.Module]] = {"linear": nn.Identity, "tanh": nn.Tanh}


class ProgressiveGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, H, W], H = rows * resolution, W = columns * resolution.

    A block makes maps of 4 x 4 of the latent, each further one doubles their sides; a 1x1
    convolution of each level's own makes a picture of them. A level's maps have min(2 base / level,
    most) channels. Layers are equalised. Labels are ignored.

    size: of the finest level, a power of two from 4 to 1024.
    aspect: (rows, columns); the first maps are 4 rows x 4 columns.
    norm: "pixel": the latent, and after each LeakyReLU, the paper's; "batch": before each
        LeakyReLU.
    output: "linear": the paper's, whose pictures may leave [-1, 1]; "tanh": of each level.
    injected: n codes for each level from 4 to ``injected_to`` or ``size``, the last numbers of the
        latent, 4's first; 0: none. ProInfoGAN (Stopa 2018): a level's codes, each time through a
        linear layer of its own, are added to what enters its block and each of its convolutions
        (at 4 x 4 to the latent and to what enters the convolution). Deviations: those layers are
        equalised too, with gain 1, where the author's start from small weights.

    forward: resolution: of the picture, the full size where it is None; alpha [B] or [1]: the share
    of the finest level in it, beside that of the level before, enlarged; None: all of it.
    levels=True: the list of all levels' pictures from 4 to ``resolution``, the last alone faded.
    """

    grows: ClassVar[bool] = True

    def __init__(
        self,
        out_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 512,
        base: int = 8192,
        most: int = 512,
        norm: Literal["pixel", "batch", "none"] = "pixel",
        output: Literal["linear", "tanh"] = "linear",
        injected: int = 0,
        injected_to: int = 1024,
    ) -> None:
        super().__init__()
        grid = first_grid(size, aspect, 4, 1024)
        check_counts(latent=latent)
        if norm not in _AFTER or output not in _OUTPUTS:
            raise ValueError(
                f"norm {norm!r}, output {output!r}: choose {', '.join(_AFTER)} and "
                f"{', '.join(_OUTPUTS)}"
            )
        if injected < 0:
            raise ValueError(f"injected must be 0 or more, not {injected}")
        channels = level_channels(size, base, most)
        groups = [injected if level <= injected_to else 0 for level in channels]
        noise = latent - sum(groups)
        if noise < 1:
            raise ValueError(f"latent must be above {sum(groups)}, its codes, not {latent}")
        self.size, self.latent, self.parts = size, latent, [noise, *groups]
        self.blocks, self.rgb = nn.ModuleDict(), nn.ModuleDict()
        width = noise
        for (level, wide), codes in zip(channels.items(), groups, strict=True):
            self.blocks[str(level)] = (
                _Rise(width, wide, (level // 4 * grid[0], level // 4 * grid[1]), codes, norm)
                if level > 4
                else _Start(noise, wide, grid, codes, norm)
            )
            self.rgb[str(level)] = EqualisedConv2d(wide, out_channels, 1, gain=1.0)
            width = wide
        self.output = _OUTPUTS[output]()

    def forward(
        self,
        z: Tensor,
        labels: Tensor | None = None,
        resolution: int | None = None,
        alpha: Tensor | None = None,
        levels: bool = False,
    ) -> Tensor | list[Tensor]:
        present = levels_to(self.size, resolution, alpha)
        x, *codes = z.split(self.parts, 1)
        # Of the others only what the last is faded with need be made.
        seen = present if levels else present[-2:] if alpha is not None else present[-1:]
        pictures = []
        for level, c in zip(present, codes, strict=False):
            x = self.blocks[str(level)](x, c)
            if level in seen:
                pictures.append(self.output(self.rgb[str(level)](x)))
        if alpha is not None:
            pictures[-1] = fade_up(pictures[-2], pictures[-1], alpha)
        return pictures if levels else pictures[-1]


class _Start(nn.Module):
    """[B, latent], codes [B, codes] -> [B, outputs, *grid]."""

    def __init__(
        self, latent: int, outputs: int, grid: tuple[int, int], codes: int, norm: str
    ) -> None:
        super().__init__()
        self.grid = grid
        self.normalise = PixelNorm() if norm == "pixel" else nn.Identity()
        self.into_first = _Injection(codes, (latent,))
        # The gain makes it a 4x4 convolution's, which it is in the authors' first code.
        self.first = EqualisedLinear(
            latent, outputs * grid[0] * grid[1], bias=False, gain=math.sqrt(2) / 4
        )
        self.bias = nn.Parameter(torch.zeros(outputs, 1, 1))
        self.after_first = _AFTER[norm](outputs)
        self.into_second = _Injection(codes, (outputs, *grid))
        self.second = EqualisedConv2d(outputs, outputs, 3, padding=1)
        self.after_second = _AFTER[norm](outputs)

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        x = self.first(self.into_first(self.normalise(z), c)).unflatten(1, (-1, *self.grid))
        x = self.after_first(x + self.bias)
        return self.after_second(self.second(self.into_second(x, c)))


class _Rise(nn.Module):
    """[B, inputs, H / 2, W / 2], codes [B, codes] -> [B, outputs, H, W]."""

    def __init__(
        self, inputs: int, outputs: int, sides: tuple[int, int], codes: int, norm: str
    ) -> None:
        super().__init__()
        self.into_block = _Injection(codes, (inputs, sides[0] // 2, sides[1] // 2))
        self.into_first = _Injection(codes, (inputs, *sides))
        self.first = EqualisedConv2d(inputs, outputs, 3, padding=1)
        self.after_first = _AFTER[norm](outputs)
        self.into_second = _Injection(codes, (outputs, *sides))
        self.second = EqualisedConv2d(outputs, outputs, 3, padding=1)
        self.after_second = _AFTER[norm](outputs)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        x = up(self.into_block(x, c), 2)
        x = self.after_first(self.first(self.into_first(x, c)))
        return self.after_second(self.second(self.into_second(x, c)))


class _Injection(nn.Module):
    """x [B, *shape], c [B, codes] -> x + W c + b; x itself where there are no codes."""

    def __init__(self, codes: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.map = EqualisedLinear(codes, math.prod(shape), gain=1.0) if codes else None

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        return x if self.map is None else x + self.map(c).view_as(x)


# What both networks are built of.


def level_channels(size: int, base: int, most: int) -> dict[int, int]:
    """Channels of the maps of each level, from 4 to ``size``: min(2 base / level, most).

    ValueError where that is less than one channel.
    """
    check_counts(most=most)
    if 2 * base < size:
        raise ValueError(f"base must be {size // 2} or more at a size of {size}, not {base}")
    return {level: min(2 * base // level, most) for level in levels_to(size, None, None)}


def levels_to(size: int, resolution: int | None, alpha: Tensor | None) -> Sequence[int]:
    """The levels that are present, 4 first. ValueError where there is no such, or none to fade."""
    levels = [4 << n for n in range((size // 4).bit_length())]
    if resolution is None:
        resolution = size
    if resolution not in levels:
        raise ValueError(
            f"resolution must be one of {', '.join(map(str, levels))}, not {resolution}"
        )
    if resolution == 4 and alpha is not None:
        raise ValueError("alpha must be None at a resolution of 4, which fades from nothing")
    return levels[: levels.index(resolution) + 1]


def modules_at(net: nn.Module, resolution: int) -> list[nn.Module]:
    """What either network needs at a resolution, nothing being faded."""
    blocks, rgb = cast(nn.ModuleDict, net.blocks), cast(nn.ModuleDict, net.rgb)
    present = levels_to(cast(int, net.size), resolution, None)
    return [rgb[str(resolution)], *(blocks[str(level)] for level in present)]
