"""Discriminators that reconstruct, and BEGAN's generator, which is the decoder of one.

Papers: Zhao et al. 2017 (EBGAN), section 2.3; Berthelot et al. 2017 (BEGAN), section 3.5 and
figure 1. How far the reconstruction is from the picture is the caller's to measure.
"""

from typing import Any

from torch import Tensor, nn

from gan_core.blocks.initialisation import Init, initialise
from gan_core.blocks.normalisation import Norm
from gan_core.blocks.shapes import check_counts, first_grid
from gan_core.networks.dcgan import DCGANGenerator
from gan_core.networks.encoder import DCGANEncoder


class Autoencoder(nn.Module):
    """x [B, channels, H, W] -> decode(encode(x)), like x.

    With codes=True: (the same, the code [B, latent]).

    numbers: those of a picture, channels * H * W.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        aspect: tuple[int, int],
        encode: nn.Module,
        decode: nn.Module,
    ) -> None:
        super().__init__()
        rows, columns = aspect
        self.numbers = channels * rows * size * columns * size
        self.encode = encode
        self.decode = decode

    def forward(self, x: Tensor, codes: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        code = self.encode(x)
        reconstruction = self.decode(code)
        return (reconstruction, code) if codes else reconstruction


class ConvAutoencoder(Autoencoder):
    """EBGAN's: strided convolutions down, transposed ones up, reconstructions in [-1, 1].

    ``DCGANEncoder`` and ``DCGANGenerator``: LeakyReLU 0.2 on the way down, ReLU and a last tanh on
    the way up; norm everywhere but at the two ends.

    latent: numbers of the code.
    Deviations: the paper's code is a map, without the linear layers around it, and is reached after
    fewer halvings (three at 64x64).
    """

    def __init__(
        self,
        channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 128,
        filters: int = 64,
        kernel: int = 4,
        norm: Norm = "batch",
        init: Init = "normal",
        init_gain: float = 0.02,
    ) -> None:
        check_counts(latent=latent)
        alike: dict[str, Any] = {
            "filters": filters,
            "kernel": kernel,
            "norm": norm,
            "init": init,
            "init_gain": init_gain,
        }
        super().__init__(
            channels,
            size,
            aspect,
            DCGANEncoder(channels, size, latent, aspect, **alike),
            DCGANGenerator(channels, size, aspect=aspect, latent=latent, **alike),
        )


def _elu(width: int, wider: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(width, wider, 3, stride, padding=1), nn.ELU(inplace=True)]


class BEGANGenerator(nn.Module):
    """z [B, latent] -> [B, out_channels, H, W], unbounded: no activation at the end.

    A linear layer to the first grid, then at each resolution two 3x3 convolutions with ELU, and a
    nearest-neighbour doubling between resolutions; all maps have ``filters`` channels. First
    weights: Xavier, as in the public code; the paper does not say.

    size: a power of two from 16 to 512.
    aspect: (rows, columns): H = rows * size, W = columns * size; the grid is 8 rows x 8 columns.
    Left out: the paper's optional vanishing residuals.
    """

    def __init__(
        self,
        out_channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 64,
        filters: int = 128,
    ) -> None:
        super().__init__()
        first_grid(size, aspect)
        check_counts(latent=latent, filters=filters)
        rows, columns = aspect
        self.latent = latent
        self.layers = nn.Sequential(
            nn.Linear(latent, 64 * rows * columns * filters),
            nn.Unflatten(1, (filters, 8 * rows, 8 * columns)),
        )
        for level in range(_levels(size)):
            if level > 0:
                self.layers.append(nn.Upsample(scale_factor=2))
            self.layers.extend([*_elu(filters, filters), *_elu(filters, filters)])
        self.layers.append(nn.Conv2d(filters, out_channels, 3, padding=1))
        initialise(self, "xavier", 1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(z)


class BEGANAutoencoder(Autoencoder):
    """BEGAN's: the decoder is a ``BEGANGenerator``, the encoder its mirror with more channels.

    The encoder has one convolution more at its start, and one of stride 2 between resolutions; its
    channels grow by ``filters`` at each. ELU follows all convolutions but the last, nothing the
    linear layers on both sides of the code.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        aspect: tuple[int, int] = (1, 1),
        *,
        latent: int = 64,
        filters: int = 128,
    ) -> None:
        decode = BEGANGenerator(channels, size, aspect, latent=latent, filters=filters)
        rows, columns = aspect
        encode = nn.Sequential(*_elu(channels, filters))
        width = filters
        for level in range(_levels(size)):
            if level > 0:
                encode.extend(_elu(width, width, stride=2))
            wider = filters * (level + 1)
            encode.extend([*_elu(width, wider), *_elu(wider, wider)])
            width = wider
        encode.extend([nn.Flatten(), nn.Linear(64 * rows * columns * width, latent)])
        initialise(encode, "xavier", 1.0)
        super().__init__(channels, size, aspect, encode, decode)


def _levels(size: int) -> int:
    """Resolutions size, size / 2, ..., 8."""
    return size.bit_length() - 3
