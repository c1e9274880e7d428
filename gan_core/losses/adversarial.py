"""Adversarial losses as triples of pure functions of scores.

A score is what the discriminator says before any sigmoid; high = real. Scores may have any shape,
batch first: a PatchGAN's map is averaged like everything else. Every function computes in float32
at least and returns a scalar mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_core.precision import upcast


@dataclass(frozen=True)
class AdversarialLoss:
    """What is minimised: by D real(its scores of reals) + fake(of fakes), by G generator(of fakes).

    boundary: the score between real and fake, None where there is none.
    needs_bound: D's loss has no lower bound unless something bounds D's slope, and D is useless
        without one.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    boundary: float | None = 0.0
    needs_bound: bool = False

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """All that D minimises."""
        return self.real(real) + self.fake(fake)


def vanilla_real(real: Tensor) -> Tensor:
    """mean softplus(-real) = -log D(x).

    Goodfellow et al. 2014, eq. 1, on logits; softplus keeps it finite at any score.
    """
    return softplus(-upcast(real)).mean()


def vanilla_fake(fake: Tensor) -> Tensor:
    """mean softplus(fake) = -log(1 - D(G(z))) (eq. 1 there)."""
    return softplus(upcast(fake)).mean()


def vanilla_generator(fake: Tensor) -> Tensor:
    """mean softplus(-fake) = -log D(G(z)): the non-saturating form of section 3 there."""
    return softplus(-upcast(fake)).mean()


def saturating_generator(fake: Tensor) -> Tensor:
    """-mean softplus(fake) = log(1 - D(G(z))): eq. 1 there as it stands.

    Its slope -sigmoid(fake) vanishes where D is sure of a fake.
    """
    return -softplus(upcast(fake)).mean()


def least_squares_real(real: Tensor) -> Tensor:
    """mean (real - 1)^2.

    Mao et al. 2017, eq. 9 (a = 0, b = 1), without its factor 1/2: CycleGAN and pix2pix halve a
    discriminator's objective themselves.
    """
    return (upcast(real) - 1).square().mean()


def least_squares_fake(fake: Tensor) -> Tensor:
    """mean fake^2 (eq. 9 there)."""
    return upcast(fake).square().mean()


def hinge_real(real: Tensor) -> Tensor:
    """mean relu(1 - real) (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return relu(1 - upcast(real)).mean()


def hinge_fake(fake: Tensor) -> Tensor:
    """mean relu(1 + fake)."""
    return relu(1 + upcast(fake)).mean()


def linear_real(real: Tensor) -> Tensor:
    """-mean real.

    With ``linear_fake``, minus the distance that a critic measures (Arjovsky et al. 2017, eq. 3).
    It is a Wasserstein distance only as far as the critic is 1-Lipschitz, which penalties
    (``gan_core.losses.penalties``) or constraints (``gan_core.constraints``) see to.
    """
    return -upcast(real).mean()


def linear_fake(fake: Tensor) -> Tensor:
    """mean fake."""
    return upcast(fake).mean()


def linear_generator(fake: Tensor) -> Tensor:
    """-mean fake, never clipped (Arjovsky et al., algorithm 1, line 10; Miyato et al., eq. 17)."""
    return -upcast(fake).mean()


def bounded_real(real: Tensor) -> Tensor:
    """-mean tanh(real): total variation with |D| <= 1 for D = tanh(score)."""
    return -upcast(real).tanh().mean()


def bounded_fake(fake: Tensor) -> Tensor:
    """mean tanh(fake)."""
    return upcast(fake).tanh().mean()


def bounded_generator(fake: Tensor) -> Tensor:
    """-mean tanh(fake): its slope 1 - tanh^2 starves G as D gets sure."""
    return -upcast(fake).tanh().mean()


def shrunken_real(real: Tensor, weight: float = 0.5) -> Tensor:
    """mean (weight |real| - real): an unbounded D whose size costs.

    Pointwise D is pulled to 0 where |p - q| <= weight (p + q) and without a bound elsewhere: from 1
    on the weight kills D everywhere, and no weight gives a finite margin. By default half way.
    """
    real = upcast(real)
    return (weight * real.abs() - real).mean()


def shrunken_fake(fake: Tensor, weight: float = 0.5) -> Tensor:
    """mean (weight |fake| + fake)."""
    fake = upcast(fake)
    return (weight * fake.abs() + fake).mean()


def zeroed_real(real: Tensor) -> Tensor:
    """-mean min(1, real): no gradient from reals that score 1 or more; hinge's gradients."""
    real = upcast(real)
    return -torch.where(real >= 1, 1.0, real).mean()


def zeroed_fake(fake: Tensor) -> Tensor:
    """mean max(-1, fake): no gradient from fakes that score -1 or less."""
    fake = upcast(fake)
    return torch.where(fake <= -1, -1.0, fake).mean()


VANILLA = AdversarialLoss(vanilla_real, vanilla_fake, vanilla_generator)

LOSSES: dict[str, AdversarialLoss] = {
    "vanilla": VANILLA,
    "logistic": VANILLA,  # what StyleGAN and its kin call the same
    "saturating": AdversarialLoss(vanilla_real, vanilla_fake, saturating_generator),
    "lsgan": AdversarialLoss(
        least_squares_real, least_squares_fake, least_squares_real, boundary=0.5
    ),
    "hinge": AdversarialLoss(hinge_real, hinge_fake, linear_generator),
    "wgan": AdversarialLoss(
        linear_real, linear_fake, linear_generator, boundary=None, needs_bound=True
    ),
    # three ways to keep D's value finite while it tells two densities' total variation
    "tvgan-tanh": AdversarialLoss(bounded_real, bounded_fake, bounded_generator),
    "tvgan-l1": AdversarialLoss(shrunken_real, shrunken_fake, linear_generator),
    "tvgan-zero": AdversarialLoss(zeroed_real, zeroed_fake, linear_generator),
}


def find_loss(name: str) -> AdversarialLoss:
    """The loss of this name; ValueError with all of them if there is none."""
    if name not in LOSSES:
        raise ValueError(f"loss {name!r}: choose {', '.join(LOSSES)}")
    return LOSSES[name]
