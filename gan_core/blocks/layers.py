"""Layers one after the other, with instance norms and what follows them in one pass."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from torch import Tensor, nn

from gan_core.blocks.normalisation import InstanceNorm2d

Call = Callable[[Tensor], Any]


class Layers(nn.Sequential):
    """``nn.Sequential``, faster where an activation follows an instance norm.

    residual: of the result's shape, is added to it: see ``gan_core.kernels.instance_norm``.
    """

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        for call, last in fused(self):
            if residual is not None and last is self[-1] and isinstance(last, InstanceNorm2d):
                return last(x, residual=residual)
            x = call(x)
        return x if residual is None else x + residual


def fused(layers: Iterable[nn.Module]) -> Iterator[tuple[Call, nn.Module]]:
    """What is to be called in turn, beside the layer whose output that makes."""
    waiting = list(layers)
    while waiting:
        layer = waiting.pop(0)
        activation = _activation(waiting[0]) if waiting else {}
        if activation and isinstance(layer, InstanceNorm2d):
            yield partial(layer, **activation), waiting.pop(0)
        else:
            yield layer, layer


def _activation(layer: nn.Module) -> dict[str, Any]:
    """As an instance norm takes it; empty for a layer that is none."""
    if isinstance(layer, nn.ReLU):
        return {"act": "relu"}
    if isinstance(layer, nn.LeakyReLU):
        return {"act": "leaky", "slope": layer.negative_slope}
    return {}
