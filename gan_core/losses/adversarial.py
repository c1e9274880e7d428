"""Adversarial losses as pairs of pure functions of scores.

A score is what the discriminator says before any sigmoid; high = real. Scores may have any shape,
batch first: a PatchGAN's map is averaged like everything else. Every function computes in float32
at least and returns a scalar mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from gan_core.precision import upcast


@dataclass(frozen=True)
class AdversarialLoss:
    """discriminator(real scores, fake scores) and generator(fake scores), both minimised.

    needs_penalty: the discriminator's loss has no lower bound unless something bounds its slope.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    needs_penalty: bool = False


def vanilla_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean softplus(-real) + mean softplus(fake), that is -log D(x) - log(1 - D(G(z))).

    Goodfellow et al. 2014, eq. 1, on logits; softplus keeps it finite at any score.
    """
    return softplus(-upcast(real)).mean() + softplus(upcast(fake)).mean()


def vanilla_generator(fake: Tensor) -> Tensor:
    """mean softplus(-fake) = -log D(G(z)): the non-saturating form of section 3 there."""
    return softplus(-upcast(fake)).mean()


def least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean (real - 1)^2 + mean fake^2.

    Mao et al. 2017, eq. 9 (a = 0, b = 1), without its factor 1/2: CycleGAN and pix2pix halve a
    discriminator's objective themselves.
    """
    return (upcast(real) - 1).square().mean() + upcast(fake).square().mean()


def least_squares_generator(fake: Tensor) -> Tensor:
    """mean (fake - 1)^2: eq. 9 there with c = 1, without the factor 1/2."""
    return (upcast(fake) - 1).square().mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean relu(1 - real) + mean relu(1 + fake) (Lim & Ye 2017; Miyato et al. 2018, eq. 16)."""
    return relu(1 - upcast(real)).mean() + relu(1 + upcast(fake)).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """-mean fake, never clipped (Miyato et al. 2018, eq. 17)."""
    return -upcast(fake).mean()


def wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """mean fake - mean real: minus the distance that the critic measures.

    Arjovsky et al. 2017, eq. 3. It is a Wasserstein distance only as far as the critic is
    1-Lipschitz, which ``gan_core.losses.penalties`` sees to (the paper clips weights instead).
    """
    return upcast(fake).mean() - upcast(real).mean()


def wasserstein_generator(fake: Tensor) -> Tensor:
    """-mean fake (algorithm 1 there, line 10)."""
    return -upcast(fake).mean()


LOSSES: dict[str, AdversarialLoss] = {
    "vanilla": AdversarialLoss(vanilla_discriminator, vanilla_generator),
    "lsgan": AdversarialLoss(least_squares_discriminator, least_squares_generator),
    "hinge": AdversarialLoss(hinge_discriminator, hinge_generator),
    "wgan": AdversarialLoss(wasserstein_discriminator, wasserstein_generator, needs_penalty=True),
}
