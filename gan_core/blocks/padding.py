"""Padding by reflection, in the maps' own number format."""

from torch import Tensor, nn

from gan_core.precision import uncast


class ReflectionPad2d(nn.ReflectionPad2d):
    """``nn.ReflectionPad2d``, which autocast would widen to float32 on CPUs, for a copy."""

    def forward(self, x: Tensor) -> Tensor:
        with uncast(x):
            return super().forward(x)
