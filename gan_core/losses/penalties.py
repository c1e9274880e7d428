"""Penalties on the slope of a critic: pure functions of the critic and the points it is asked at.

A critic maps [B, ...] to scores of any shape, batch first. Its value at a sample is the *mean* of
that sample's scores, the quantity that a Wasserstein loss averages; the sum would make the slope of
a PatchGAN grow with the number of its patches. Samples must not see each other inside the critic
(no batch normalisation), since the slope of each is read off the gradient of the batch's sum.

Everything is computed in float32 at least, with autocast off: squared 16-bit slopes overflow.
Inputs are not detached: a caller who differentiates the result towards the critic alone passes
detached pictures.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import relu

from gan_core.precision import upcast

Critic = Callable[[Tensor], Tensor]


def _slopes(critic: Critic, x: Tensor) -> Tensor:
    """[B, N]: the gradient of each sample's value by the sample's N numbers."""
    # the meta device, on which routes are measured, knows no autocast
    with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
        x = x.view_as(x).requires_grad_()  # of a view, so that the caller's tensor stays as it was
        values = critic(x).reshape(len(x), -1).mean(1)
        (slopes,) = torch.autograd.grad(values.sum(), x, create_graph=True)
    return slopes.flatten(1)


def gradient_penalty(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
) -> Tensor:
    """mean over samples of (||grad f(x)||_2 - target)^2 at x = mix real + (1 - mix) fake.

    Gulrajani et al. 2017, eq. 3, without its weight lambda. The norm is over all numbers of a
    sample; where it is zero, so is its gradient.

    real, fake: [B, ...]
    mix: [B], uniform in [0, 1]: one number per sample, drawn by the caller
    one_sided: only slopes above ``target`` cost: relu(||grad f(x)||_2 - target)^2 (appendix C)
    """
    mix = mix.reshape(-1, *(1,) * (real.ndim - 1))
    slopes = _slopes(critic, mix * upcast(real) + (1 - mix) * upcast(fake))
    excess = torch.linalg.vector_norm(slopes, dim=1) - target
    return (relu(excess) if one_sided else excess).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """1/2 mean over samples of ||grad f(real)||_2^2.

    Mescheder et al. 2018, eq. 9, without its weight gamma. real: [B, ...].
    """
    return _slopes(critic, upcast(real)).square().sum(1).mean() / 2


PENALTIES: dict[str, Callable[[Critic, Tensor, Tensor, Tensor], Tensor]] = {
    "two-sided": gradient_penalty,
    "one-sided": partial(gradient_penalty, one_sided=True),
    "r1": lambda critic, real, fake, mix: r1(critic, real),
}
