"""What holds a network's weights: each layer's own weight is reparametrised.

The raw weight moves to ``parametrizations.weight.original`` in the state; first weights are to be
drawn before.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import register_parametrization

Weights = Literal["free", "spectral", "normalised"]


class UnitOutputs(nn.Module):
    """w = v / ||v||_2 for each output: weight normalisation (Salimans & Kingma 2016) with g = 1.

    A free g would leave the slope without a bound. With g = 1 that of a linear layer with n outputs
    is sqrt(n) at the most, that of a convolution sqrt(n) ceil(kernel / stride): so many of its
    places, in each direction, look at one pixel.

    dim: the axis of the outputs.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, v: Tensor) -> Tensor:
        rest = [d for d in range(v.ndim) if d != self.dim]
        return v / torch.linalg.vector_norm(v, dim=rest, keepdim=True)


def _normalise(layer: nn.Module) -> None:
    transposed = isinstance(layer, nn.ConvTranspose2d)  # [in, out, kernel, kernel]
    register_parametrization(layer, "weight", UnitOutputs(1 if transposed else 0))


_HOLD: dict[str, Callable[[nn.Module], object]] = {
    "spectral": spectral_norm,
    "normalised": _normalise,
}


def hold_weights(net: nn.Module, weights: Weights) -> None:
    """Reparametrise every convolution and linear layer of ``net``; "free" leaves it as it is.

    spectral: W / (u^T W v) with W as [out, rest], where u and v follow W by one power iteration at
        each use in training mode and stand still otherwise (Miyato et al. 2018, algorithm 1).
    normalised: every output's weight vector has length 1, see ``UnitOutputs``.
    """
    if weights == "free":
        return
    if weights not in _HOLD:
        raise ValueError(f"weights {weights!r}: choose free, {', '.join(_HOLD)}")
    for module in list(net.modules()):
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _HOLD[weights](module)
