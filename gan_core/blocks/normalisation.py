"""Normalisation layers by name."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_core.kernels.instance_norm import Activation, instance_norm

Norm = Literal["instance", "batch", "layer", "none"]


class InstanceNorm2d(nn.InstanceNorm2d):
    """``nn.InstanceNorm2d`` of maps' own statistics, with what may follow it in one pass.

    See ``gan_core.kernels.instance_norm``.
    """

    def forward(
        self,
        x: Tensor,
        residual: Tensor | None = None,
        act: Activation = "none",
        slope: float = 0.2,
    ) -> Tensor:
        return instance_norm(
            x, self.weight, self.bias, residual, act=act, slope=slope, eps=self.eps
        )


_LAYERS: dict[str, Callable[[int, bool], nn.Module]] = {
    # Without affine and running statistics, as pix2pix and CycleGAN use it: nothing to train.
    "instance": lambda channels, affine: InstanceNorm2d(channels),
    "batch": lambda channels, affine: nn.BatchNorm2d(channels, affine=affine),
    # Over channels and places of a sample, with a gain and a bias per channel: the critic's norm of
    # Gulrajani et al. 2017, which may stand under a penalty.
    "layer": lambda channels, affine: nn.GroupNorm(1, channels, affine=affine),
    "none": lambda channels, affine: nn.Identity(),
}


def norm_layer(norm: Norm, channels: int, affine: bool = True) -> nn.Module:
    """The layer for [B, channels, H, W] maps.

    affine: False leaves the gain and bias per channel to the caller, where the norm has any.
    """
    if norm not in _LAYERS:
        raise ValueError(f"norm {norm!r}: choose {', '.join(_LAYERS)}")
    return _LAYERS[norm](channels, affine)


def ties_samples(net: nn.Module) -> bool:
    """Whether a network's batch norms let the samples of a batch see each other."""
    return any(isinstance(module, _BatchNorm) for module in net.modules())
