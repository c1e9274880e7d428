"""From a picture to a vector: the discriminator's convolutions with another end."""

from torch import Tensor, nn

from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.normalisation import Norm
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.blocks.weights import Weights, hold_weights
from gan_core.networks.dcgan import halving_stages, widths_down


class DCGANEncoder(nn.Module):
    """x [B, in_channels, H, W] -> [B, outputs], linear in all of the last map and so unbounded.

    The stages of ``DCGANDiscriminator`` and their arguments; by default with the batch norms of
    O-GAN's encoder (Su 2019, the author's code), which comes with kernel = 5.
    Deviation from it: channels stop at 8 * filters, theirs double down to the 4x4 map.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        outputs: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        filters: int = 64,
        kernel: int = 4,
        norm: Norm = "batch",
        weights: Weights = "free",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        super().__init__()
        first_grid(size, aspect)
        check_counts(outputs=outputs, filters=filters, kernel=kernel)
        rows, columns = aspect
        widths = widths_down(size, filters)
        self.layers = nn.Sequential(
            *halving_stages(in_channels, widths, kernel, norm),
            nn.Flatten(),
            nn.Linear(16 * rows * columns * widths[-1], outputs),
        )
        initialise(self, init, init_gain)
        hold_weights(self, weights)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
