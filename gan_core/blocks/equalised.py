"""Layers with an equalised learning rate (Karras et al. 2018, PG-GAN, section 4.1).

w ~ N(0, 1), and at every use w * gain / sqrt(fan_in), He et al.'s (2015) constant for a ReLU with
gain = sqrt 2. An optimiser that divides by a gradient's size, as Adam does, then moves all layers
at one relative speed. Biases start at 0 and are not scaled.
"""

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class EqualisedConv2d(nn.Conv2d):
    """``nn.Conv2d`` with a bias; its state holds the raw w."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, gain: float = math.sqrt(2), **more: Any
    ) -> None:
        super().__init__(inputs, outputs, kernel, **more)
        self.scale = gain / math.sqrt(inputs * kernel**2)

    def reset_parameters(self) -> None:
        _standard(self)

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight * self.scale, self.bias)


class EqualisedLinear(nn.Linear):
    """``nn.Linear``; its state holds the raw w."""

    def __init__(
        self, inputs: int, outputs: int, bias: bool = True, *, gain: float = math.sqrt(2)
    ) -> None:
        super().__init__(inputs, outputs, bias)
        self.scale = gain / math.sqrt(inputs)

    def reset_parameters(self) -> None:
        _standard(self)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


def equalised(net: nn.Module) -> bool:
    """Whether a network has such layers."""
    return any(isinstance(m, EqualisedConv2d | EqualisedLinear) for m in net.modules())


def _standard(layer: nn.Conv2d | nn.Linear) -> None:
    nn.init.normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
