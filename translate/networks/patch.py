"""Patch discriminators: a score for every overlapping patch instead of one for the picture.

Paper: Isola et al. 2017, section 3.2.2 and appendix 6.1.2. Layer order and parameter names equal
the authors' PyTorch code. Called with ``features`` they also return what their layers make of the
pictures, for feature matching (Wang et al. 2018, section 3.2). ``weights``: see
``gan_core.blocks.weights``.
"""

from torch import Tensor, nn

from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.layers import fused
from gan_core.blocks.normalisation import Norm, norm_layer
from gan_core.blocks.weights import Weights, hold_weights


def run(layers: nn.Sequential, x: Tensor, features: bool) -> Tensor | list[Tensor]:
    """The scores; with ``features`` a list: what each LeakyReLU made, in order, then the scores."""
    kept = []
    for call, layer in fused(layers):
        x = call(x)
        if features and isinstance(layer, nn.LeakyReLU):
            kept.append(x)  # a convolution is next, which leaves it as it is
    return [*kept, x] if features else x


class PatchDiscriminator(nn.Module):
    """[B, in_channels, H, W] -> [B, 1, H', W'] scores, no sigmoid.

    Receptive field by ``layers``: 1: 16, 2: 34, 3: 70, 4: 142, 5: 286 pixels. C64-C128-C256-C512
    for 70 (no norm on the first); 2,764,737 parameters (3 channels, instance norm).
    size: of the training pictures, which must leave at least one score.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        *,
        filters: int = 64,
        layers: int = 3,
        norm: Norm = "instance",
        weights: Weights = "free",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be 1 or more, not {layers}")
        if filters < 1:
            raise ValueError(f"filters must be 1 or more, not {filters}")
        if size < 3 * 2**layers:
            raise ValueError(
                f"layers = {layers} needs pictures of {3 * 2**layers} pixels or more, not {size}"
            )
        bias = norm != "batch"
        stack: list[nn.Module] = [
            nn.Conv2d(in_channels, filters, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        width = filters
        for level in range(1, layers + 1):
            wider = filters * min(2**level, 8)
            stride = 2 if level < layers else 1
            stack += [
                nn.Conv2d(width, wider, 4, stride=stride, padding=1, bias=bias),
                norm_layer(norm, wider),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            width = wider
        self.model = nn.Sequential(*stack, nn.Conv2d(width, 1, 4, stride=1, padding=1))
        initialise(self, init, init_gain)
        hold_weights(self, weights)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | list[Tensor]:
        return run(self.model, x, features)


class PixelDiscriminator(nn.Module):
    """[B, in_channels, H, W] -> [B, 1, H, W] scores, no sigmoid: every pixel is judged alone.

    C64-C128 with 1x1 convolutions (no norm on the first); 9,024 parameters (6 channels, batch
    norm).
    """

    def __init__(
        self,
        in_channels: int,
        *,
        filters: int = 64,
        norm: Norm = "instance",
        weights: Weights = "free",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        if filters < 1:
            raise ValueError(f"filters must be 1 or more, not {filters}")
        bias = norm != "batch"
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, filters, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(filters, 2 * filters, 1, bias=bias),
            norm_layer(norm, 2 * filters),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * filters, 1, 1, bias=bias),
        )
        initialise(self, init, init_gain)
        hold_weights(self, weights)

    def forward(self, x: Tensor, features: bool = False) -> Tensor | list[Tensor]:
        return run(self.net, x, features)
