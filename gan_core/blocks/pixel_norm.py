"""The norm of PG-GAN's generator."""

from torch import Tensor, nn

from gan_core.kernels.pixel_norm import pixel_norm


class PixelNorm(nn.Module):
    """x [B, C, ...] -> like x: each place's vector of channels to a mean square of 1.

    Of [B, n] latents each vector.
    """

    def forward(self, x: Tensor) -> Tensor:
        return pixel_norm(x)
