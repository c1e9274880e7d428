"""The norm of PG-GAN's generator."""

from torch import Tensor, nn

from gan_core.precision import upcast


class PixelNorm(nn.Module):
    """x / sqrt(mean_c x_c^2 + 1e-8): each place's vector of channels to a mean square of 1.

    Karras et al. 2018, section 4.2. x [B, C, ...] -> like x; of [B, n] latents each vector. In
    float32 at least, where the authors' code widens the 1e-8 to 1e-4 for 16 bits.
    """

    def forward(self, x: Tensor) -> Tensor:
        wide = upcast(x)
        return (wide * (wide.square().mean(1, keepdim=True) + 1e-8).rsqrt()).to(x.dtype)
