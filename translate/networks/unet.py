"""The U-Net generator of pix2pix.

Paper: Ronneberger et al. 2015 (the shape), Isola et al. 2017, section 3.2.1 and appendix 6.1.1 (as
used here). Layer order and parameter names equal the authors' PyTorch code, so that its weights can
be read.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from gan_core.blocks.convolution import Conv2d, ConvTranspose2d
from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.normalisation import Norm, norm_layer
from translate.networks.fit import at_any_size


class Level(nn.Module):
    """The layers of one resolution around those of all coarser ones: x -> cat(x, layers(x)).

    The authors' code changes x in place, so that the skip carries LeakyReLU(x). Here it carries x:
    the ReLU that follows makes the same of both.
    """

    def __init__(self, *layers: nn.Module, skip: bool = True) -> None:
        super().__init__()
        self.model = nn.Sequential(*layers)
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model(x)
        return torch.cat([x, out], 1) if self.skip else out


class UNetGenerator(nn.Module):
    """[B, in_channels, H, W] -> [B, out_channels, H, W] in [-1, 1]; H and W of any size.

    C64-C128-C256-C512-... halves the picture ``depth`` times, as many transposed convolutions
    double it again, and each takes what the encoder made at its resolution beside what comes from
    below; all are 4x4 with stride 2. No norm on the first, the bottleneck and the last.
    Parameters: 54,413,955 with depth 8, 41,828,995 with 7 (3 to 3 channels, batch norm).

    size: of the training pictures; depth = "auto" is floor(log2(size)), which leaves one pixel of
        a picture of 256 at depth 8.
    dropout: of 0.5 after the decoder's norms between two maps of 8 * ``filters`` channels but the
        innermost: depth - 5 of them, none up to depth 5. It is pix2pix's only noise.
    Deviations: sides that are no multiples of 2**depth are extended by mirroring, and the output is
        cut back; with norm = "none" convolutions keep their bias (the authors' code drops it).
    """

    whole = True  # the bottleneck sees the picture at once, and was trained to see all of it

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        filters: int = 64,
        depth: Literal["auto"] | int = "auto",
        norm: Norm = "batch",
        dropout: bool = True,
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        if filters < 1:
            raise ValueError(f"filters must be 1 or more, not {filters}")
        if size < 4:
            raise ValueError(f"a U-Net needs pictures of 4 pixels or more, not {size}")
        if depth == "auto":
            depth = size.bit_length() - 1
        if depth < 2:
            raise ValueError(f"depth must be 2 or more, not {depth}")
        if 2**depth > size:
            raise ValueError(
                f"depth = {depth} needs pictures of {2**depth} pixels or more, not {size}"
            )
        self.step = 2**depth
        bias = norm != "batch"

        def up(width: int, out: int, bias: bool) -> nn.Module:
            return ConvTranspose2d(width, out, 4, stride=2, padding=1, bias=bias)

        def down(width: int, out: int) -> nn.Module:
            return Conv2d(width, out, 4, stride=2, padding=1, bias=bias)

        widths = [filters * min(2**level, 8) for level in range(depth)]
        # ReLU may work in place: nothing else reads its map. The skip reads that of LeakyReLU.
        inner = Level(
            nn.LeakyReLU(0.2),
            down(widths[-2], widths[-1]),
            nn.ReLU(inplace=True),
            up(widths[-1], widths[-2], bias),
            norm_layer(norm, widths[-2]),
        )
        for level in range(depth - 2, 0, -1):
            outer, width = widths[level - 1], widths[level]
            inner = Level(
                nn.LeakyReLU(0.2),
                down(outer, width),
                norm_layer(norm, width),
                inner,
                nn.ReLU(inplace=True),
                up(2 * width, outer, bias),
                norm_layer(norm, outer),
                *([nn.Dropout(0.5)] if dropout and level >= 4 else []),
            )
        self.model = Level(
            down(in_channels, filters),
            inner,
            nn.ReLU(inplace=True),
            up(2 * filters, out_channels, True),
            nn.Tanh(),
            skip=False,
        )
        initialise(self, init, init_gain)

    def forward(self, x: Tensor) -> Tensor:
        return at_any_size(self.model, x, self.step, self.step)
