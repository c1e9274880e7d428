"""The residual generator of CycleGAN.

Paper: Johnson et al. 2016 (the network), Zhu et al. 2017, section 7.2 (as used here). Layer order
and parameter names equal the authors' PyTorch code, so that its weights can be read.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.layers import Layers
from gan_core.blocks.normalisation import Norm, norm_layer
from gan_core.blocks.padding import ReflectionPad2d
from translate.networks.fit import at_any_size


class ResidualBlock(nn.Module):
    """x + (pad, conv 3x3, norm, ReLU, [dropout], pad, conv 3x3, norm)(x); no ReLU on the sum."""

    def __init__(self, channels: int, norm: Norm, dropout: bool, recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        bias = norm != "batch"
        self.conv_block = Layers(
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm_layer(norm, channels),
            nn.ReLU(inplace=True),
            *([nn.Dropout(0.5)] if dropout else []),
            ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            norm_layer(norm, channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self.conv_block, x, residual=x, use_reentrant=False)
        return self.conv_block(x, residual=x)


class ResnetGenerator(nn.Module):
    """[B, in_channels, H, W] -> [B, out_channels, H, W] in [-1, 1]; H and W of any size.

    c7s1-64, d128, d256, ``blocks`` x R256, u128, u64, c7s1-out, tanh, in the paper's notation.
    Parameters: 11,378,179 with 9 blocks, 7,837,699 with 6 (3 to 3 channels, instance norm).

    size: of the training pictures; with blocks = "auto" it chooses 6 blocks up to 128 pixels and 9
        from 256, as the paper does (the step is put at 192).
    recompute: what the residual blocks hold for the way back is computed again there (Chen et al.
        2016, "Training Deep Nets with Sublinear Memory Cost"): less memory, another forward pass of
        the blocks. Not with norm = "batch", whose statistics would be counted twice.
    Deviations: sides below 8 or no multiples of 4 are extended by mirroring, and the output is cut
        back; with norm = "none" convolutions keep their bias (the authors' code drops it).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        filters: int = 64,
        blocks: Literal["auto"] | int = "auto",
        norm: Norm = "instance",
        dropout: bool = False,
        recompute: bool = False,
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        if filters < 1:
            raise ValueError(f"filters must be 1 or more, not {filters}")
        if blocks == "auto":
            blocks = 9 if size > 192 else 6
        if blocks < 0:
            raise ValueError(f"blocks must be 0 or more, not {blocks}")
        if recompute and norm == "batch":
            raise ValueError(
                'recompute = true would count batch statistics twice: set norm = "instance"'
            )
        bias = norm != "batch"
        wide, wider = 2 * filters, 4 * filters
        self.model = Layers(
            ReflectionPad2d(3),
            nn.Conv2d(in_channels, filters, 7, bias=bias),
            norm_layer(norm, filters),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, wide, 3, stride=2, padding=1, bias=bias),
            norm_layer(norm, wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, wider, 3, stride=2, padding=1, bias=bias),
            norm_layer(norm, wider),
            nn.ReLU(inplace=True),
            *(ResidualBlock(wider, norm, dropout, recompute) for _ in range(blocks)),
            nn.ConvTranspose2d(wider, wide, 3, stride=2, padding=1, output_padding=1, bias=bias),
            norm_layer(norm, wide),
            nn.ReLU(inplace=True),
            nn.ConvTranspose2d(wide, filters, 3, stride=2, padding=1, output_padding=1, bias=bias),
            norm_layer(norm, filters),
            nn.ReLU(inplace=True),
            ReflectionPad2d(3),
            nn.Conv2d(filters, out_channels, 7),
            nn.Tanh(),
        )
        initialise(self, init, init_gain)

    def forward(self, x: Tensor) -> Tensor:
        # two halvings, after which instance norm needs more than one value
        return at_any_size(self.model, x, 4, smallest=8)
