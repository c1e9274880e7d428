"""Exponential moving average of weights."""

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class Average:
    """Averages of some networks' weights, forgetting half in ``half_life`` training images.

    After a step on n images: average <- lerp(weights, average, 0.5 ** (n / h)), where h grows with
    the images seen to ``half_life`` (h = min(half_life, seen / 20)), so that early, poor weights
    leave no trace. Buffers (running statistics) are copied. A half-life of 0 keeps the weights
    themselves. Counting in images makes the average independent of the batch size (Karras et al.
    2020, StyleGAN2-ADA, use the same parametrisation).
    """

    RAMP = 0.05

    def __init__(self, nets: Mapping[str, nn.Module], half_life: float) -> None:
        if half_life < 0:
            raise ValueError(f"ema_half_life must be 0 (off) or more images, not {half_life}")
        self.half_life = half_life
        self.nets = {
            name: copy.deepcopy(net).requires_grad_(False).eval() for name, net in nets.items()
        }

    @torch.no_grad()
    def update(self, nets: Mapping[str, nn.Module], images: int, seen: int) -> None:
        """Take in the weights after a step on ``images`` images, ``seen`` in all."""
        horizon = min(self.half_life, seen * self.RAMP)
        keep = 0.5 ** (images / horizon) if horizon > 0 else 0.0
        for name, average in self.nets.items():
            mine: list[Tensor] = list(average.parameters())
            theirs: list[Tensor] = [p.detach() for p in nets[name].parameters()]
            torch._foreach_lerp_(mine, theirs, 1.0 - keep)
            for mine_b, theirs_b in zip(average.buffers(), nets[name].buffers(), strict=True):
                mine_b.copy_(theirs_b)


@torch.no_grad()
def restate_statistics(
    nets: Mapping[str, nn.Module], passes: Iterable[Callable[[], object]]
) -> None:
    """Estimate batch norms' running statistics anew, as the mean over forward passes.

    Averaged weights make other activations than the weights whose statistics were copied (Izmailov
    et al. 2018, SWA, section 3.2). Everything but the batch norms stays in evaluation mode: what
    is estimated is what evaluation, without dropout, will see. Without batch norms nothing is run.
    """
    norms = [m for net in nets.values() for m in net.modules() if _keeps_statistics(m)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean
        norm.train()
    try:
        for forward in passes:
            forward()
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


def _keeps_statistics(module: nn.Module) -> TypeGuard[_BatchNorm]:
    return isinstance(module, _BatchNorm) and module.track_running_stats
