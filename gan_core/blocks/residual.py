"""Residual blocks of generators and discriminators: out = shortcut + branch, pre-activation.

Paper: Gulrajani et al. 2017, with its authors' code; the same blocks stand in Miyato et al. 2018
(SNGAN), SAGAN and BigGAN. Shortcuts are 1x1 convolutions where the shape changes. Where one meets
doubling or pooling, it is computed on the smaller map: they commute.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from gan_core.blocks.attention import SelfAttention
from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.normalisation import Norm, norm_layer


def _conv3x3(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _double(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2, mode="nearest")


class UpBlock(nn.Module):
    """x [B, inputs, H, W] -> [B, outputs, 2H, 2W].

    Branch: norm, ReLU, nearest doubling, conv 3x3, norm, ReLU, conv 3x3.
    norm: makes the norm of that many channels. Whatever ``forward`` is given beside x, both norms
        are given too: what a conditional norm is steered by.
    """

    def __init__(self, inputs: int, outputs: int, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.norms = nn.ModuleList([norm(inputs), norm(outputs)])
        self.branch = nn.ModuleList([_conv3x3(inputs, outputs), _conv3x3(outputs, outputs)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, *steering: Tensor) -> Tensor:
        h = self.branch[0](_double(relu(self.norms[0](x, *steering))))
        h = self.branch[1](relu(self.norms[1](h, *steering)))
        return h + _double(self.shortcut(x))


class DownBlock(nn.Module):
    """x [B, inputs, H, W] -> [B, outputs, H/2, W/2], or of x's sides with halve=False.

    Branch: norm, ReLU, conv 3x3, norm, ReLU, conv 3x3, mean of 2x2. The first convolution widens,
    as in SNGAN's first block, SAGAN and BigGAN; in Gulrajani et al. the second one does.
    first: x are pictures: without norms and without the first ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm: Norm = "none",
        *,
        halve: bool = True,
        first: bool = False,
    ) -> None:
        super().__init__()
        used: Norm = "none" if first else norm
        pool = [nn.AvgPool2d(2)] if halve else []
        self.branch = nn.Sequential(
            *([] if first else [norm_layer(used, inputs), nn.ReLU()]),
            _conv3x3(inputs, outputs),
            norm_layer(used, outputs),
            nn.ReLU(inplace=True),
            _conv3x3(outputs, outputs),
            *pool,
        )
        fits = inputs == outputs and not halve
        self.shortcut = nn.Sequential(*pool, *([] if fits else [nn.Conv2d(inputs, outputs, 1)]))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.branch(x)
        return out


Resample = Literal["none", "up", "down"]

_MIDDLE: dict[str, Callable[[int, int], nn.Module]] = {
    "none": _conv3x3,
    "up": partial(nn.ConvTranspose2d, kernel_size=3, stride=2, padding=1, output_padding=1),
    "down": partial(nn.Conv2d, kernel_size=3, stride=2, padding=1),
}
_SHORTCUT: dict[str, Callable[[int, int], nn.Module]] = {
    "none": lambda inputs, outputs: nn.Identity(),
    "up": lambda inputs, outputs: nn.Sequential(
        nn.Conv2d(inputs, 4 * outputs, 1), nn.PixelShuffle(2)
    ),
    "down": lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1, stride=2),
}


class BottleneckBlock(nn.Module):
    """x [B, inputs, H, W] -> shortcut + 0.3 branch: [B, outputs, H, W], or twice or half the sides.

    Branch: ReLU, conv 1x1 to inputs / 2; ReLU, conv 3x3 to outputs / 2, which resamples (stride 2,
    transposed upwards); ReLU, conv 1x1 to outputs; norm. Shortcut: the identity; upwards a 1x1
    convolution to four times the channels, which become places; downwards one of stride 2.
    Without resampling, inputs and outputs are the same.
    """

    def __init__(self, inputs: int, outputs: int, norm: Norm, resample: Resample = "none") -> None:
        super().__init__()
        assert resample != "none" or inputs == outputs
        self.branch = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(inputs, inputs // 2, 1),
            nn.ReLU(inplace=True),
            _MIDDLE[resample](inputs // 2, outputs // 2),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs // 2, outputs, 1, bias=norm == "none"),
            norm_layer(norm, outputs),
        )
        self.shortcut = _SHORTCUT[resample](inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + 0.3 * self.branch(x)
        return out


def down_stages(
    in_channels: int, channels: list[int], halvings: int, size: int, attention: int, norm: Norm
) -> nn.ModuleList:
    """A discriminator's blocks from the picture on, the first ``halvings`` of which halve.

    channels: of every block's maps. Self-attention stands after the block whose halved maps have
    the side ``attention``.
    """
    stages = nn.ModuleList()
    width, side = in_channels, size
    for number, wider in enumerate(channels):
        halve = number < halvings
        stage = nn.Sequential(DownBlock(width, wider, norm, halve=halve, first=number == 0))
        if halve:
            side //= 2
            if side == attention:
                stage.append(SelfAttention(wider))
        stages.append(stage)
        width = wider
    return stages


def initialise_residual(net: nn.Module, init: Init, gain: float) -> None:
    """First weights with ``gain``, and sqrt 2 times that in branches; biases 0, norms as built.

    Branch convolutions follow a ReLU, which halves the mean square (He et al. 2015). With "xavier"
    and gain 1 these are the standard deviations of Gulrajani's and of Miyato's code.
    """
    branches = [
        module.branch
        for module in net.modules()
        if isinstance(module, UpBlock | DownBlock | BottleneckBlock)
    ]
    after_relu = {layer for branch in branches for layer in branch.modules()}
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            initialise(layer, init, gain * (2**0.5 if layer in after_relu else 1.0))


def check_attention(attention: int, size: int) -> None:
    if attention not in (0, *(side for side in (8, 16, 32, 64, 128, 256) if side < size)):
        raise ValueError(
            f"attention must be the side of some maps, a power of two from 8 to {size // 2}, "
            f"or 0 for none, not {attention}"
        )
