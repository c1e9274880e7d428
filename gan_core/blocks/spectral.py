"""Spectral normalisation of a whole network."""

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


def normalise_spectrally(net: nn.Module) -> None:
    """Divide every convolution and linear layer's weight by its largest singular value.

    W / (u^T W v) with W as [out, rest], where u and v follow W by one power iteration at each use
    in training mode and stand still otherwise (Miyato et al. 2018, algorithm 1). Weights are to be
    initialised before. ``weight`` becomes ``parametrizations.weight.original`` in the state.
    """
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(module)
