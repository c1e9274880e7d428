"""Penalties on a critic: pure functions of the critic and of what it is asked about.

A critic maps [B, ...] to scores of any shape, batch first. Its value at a sample is the *mean* of
that sample's scores, the quantity that a Wasserstein loss averages; the sum would make the slope of
a PatchGAN grow with the number of its patches.

Everything is computed in float32 at least, with autocast off: squared 16-bit slopes overflow.
Inputs are not detached: a caller who differentiates the result towards the critic alone passes
detached pictures.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu

from gan_core.compilation import eager
from gan_core.kernels.sample_norm import sample_norm
from gan_core.precision import uncast, upcast

Critic = Callable[[Tensor], Tensor]


def _slopes(critic: Critic, x: Tensor) -> Tensor:
    """Like x: the gradient of each sample's value by the sample's numbers."""
    with uncast(x), eager():
        x = x.view_as(x).requires_grad_()  # of a view, so that the caller's tensor stays as it was
        (slopes,) = torch.autograd.grad(_values(critic(x)).sum(), x, create_graph=True)
    return slopes


def _values(scores: Tensor) -> Tensor:
    """[B]: the mean of each sample's scores."""
    return upcast(scores).reshape(len(scores), -1).mean(1)


def gradient_penalty(
    critic: Critic,
    real: Tensor,
    fake: Tensor,
    mix: Tensor,
    *,
    target: float = 1.0,
    one_sided: bool = False,
) -> Tensor:
    """mean over samples of (||grad f(x)||_2 / target - 1)^2 at x = mix real + (1 - mix) fake.

    Gulrajani et al. 2017, eq. 3, without its weight lambda; with another target as Karras et al.
    2018, appendix A.1. The norm is over all numbers of a sample; where it is zero, so is its
    gradient. Samples must not see each other inside the critic (no batch normalisation), since the
    slope of each is read off the gradient of the batch's sum.

    real, fake: [B, ...]
    mix: [B], uniform in [0, 1]: one number per sample, drawn by the caller
    one_sided: only slopes above ``target`` cost: relu(||grad f(x)||_2 / target - 1)^2 (appendix C)
    """
    mix = mix.reshape(-1, *(1,) * (real.ndim - 1))
    slopes = _slopes(critic, mix * upcast(real) + (1 - mix) * upcast(fake))
    excess = sample_norm(slopes) / target - 1
    return (relu(excess) if one_sided else excess).square().mean()


def r1(critic: Critic, real: Tensor) -> Tensor:
    """1/2 mean over samples of ||grad f(real)||_2^2.

    Mescheder et al. 2018, eq. 9, without its weight gamma. real: [B, ...]. As above, samples must
    not see each other.
    """
    return sample_norm(_slopes(critic, upcast(real))).square().mean() / 2


def quadratic_potential(
    real: Tensor, fake: Tensor, real_scores: Tensor, fake_scores: Tensor
) -> Tensor:
    """mean over pairs of (f(real) - f(fake))^2 / mean((real - fake)^2).

    GAN-QP (Su 2018): a difference of scores costs the more, the closer the two pictures are. Each
    real picture stands against the fake in its place. With the *mean* over a picture's N numbers as
    distance, as in the author's O-GAN code; by the sum a weight would be N times as large.

    real, fake: [B, ...]; scores: [B, ...], of any shape
    """
    distance = (upcast(real) - upcast(fake)).square().flatten(1).mean(1)
    return ((_values(real_scores) - _values(fake_scores)).square() / distance).mean()


@dataclass(frozen=True)
class Asked:
    """Pictures [B, ...] that a critic is asked about, its scores, and [B] mixing weights."""

    real: Tensor
    fake: Tensor
    real_scores: Tensor
    fake_scores: Tensor
    mix: Tensor


@dataclass(frozen=True)
class Penalty:
    """measure(critic, asked, target) -> scalar.

    by_sample: samples must not see each other inside the critic.
    """

    measure: Callable[[Critic, Asked, float], Tensor]
    by_sample: bool = True


PENALTIES: dict[str, Penalty] = {
    "two-sided": Penalty(
        lambda critic, a, target: gradient_penalty(critic, a.real, a.fake, a.mix, target=target)
    ),
    "one-sided": Penalty(
        lambda critic, a, target: gradient_penalty(
            critic, a.real, a.fake, a.mix, target=target, one_sided=True
        )
    ),
    "r1": Penalty(lambda critic, a, target: r1(critic, a.real)),
    "quadratic": Penalty(
        lambda critic, a, target: quadratic_potential(a.real, a.fake, a.real_scores, a.fake_scores),
        by_sample=False,
    ),
}
