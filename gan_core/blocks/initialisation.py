"""Weight initialisation by name."""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

Init = Literal["normal", "xavier", "kaiming", "orthogonal"]

_FILL: dict[str, Callable[[Tensor, float], object]] = {
    "normal": lambda w, gain: nn.init.normal_(w, 0.0, gain),
    "xavier": lambda w, gain: nn.init.xavier_normal_(w, gain),
    "kaiming": lambda w, gain: nn.init.kaiming_normal_(w, a=0, mode="fan_in"),
    "orthogonal": lambda w, gain: nn.init.orthogonal_(w, gain),
}


def initialise(net: nn.Module, init: Init, gain: float) -> None:
    """Fill every convolution and linear layer's weight; biases 0; batch norm's weight N(1, gain).

    normal: N(0, gain), the 0.02 of DCGAN, pix2pix and CycleGAN. xavier, orthogonal: with ``gain``.
    kaiming: fan-in, for ReLU, which has no use for a gain.
    """
    if init not in _FILL:
        raise ValueError(f"init {init!r}: choose {', '.join(_FILL)}")
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _FILL[init](module.weight, gain)
        elif isinstance(module, nn.BatchNorm2d) and module.affine:
            nn.init.normal_(module.weight, 1.0, gain)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
