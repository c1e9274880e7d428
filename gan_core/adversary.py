"""What a discriminator asks of pictures and of their generator: loss x penalty x features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gan_core import sampling
from gan_core.losses.adversarial import LOSSES
from gan_core.losses.features import paired_feature_matching
from gan_core.losses.penalties import PENALTIES
from gan_core.routing import Losses

Judge = Callable[..., Any]


@dataclass(frozen=True)
class Adversary:
    """The adversarial terms of a method, for any number of discriminators.

    A ``judge`` is a discriminator or a function around one (which adds a condition, say):
    judge(x) gives scores, high = real; judge(x, features=True) the list of its activations, whose
    last entry is the scores.

    loss: a name in ``gan_core.losses.adversarial.LOSSES``
    penalty: a name in ``gan_core.losses.penalties.PENALTIES``, or "none"
    lambda_penalty: its weight; 10 in Gulrajani et al. 2017
    lambda_feature: weight of feature matching in the generator's objective; 0 leaves it out
    match: feature matching of (real, fake) activations; see ``gan_core.losses.features``
    """

    loss: str
    penalty: str = "none"
    lambda_penalty: float = 10.0
    lambda_feature: float = 0.0
    match: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor] = paired_feature_matching

    def __post_init__(self) -> None:
        if self.loss not in LOSSES:
            raise ValueError(f"loss {self.loss!r}: choose {', '.join(LOSSES)}")
        if self.penalty not in ("none", *PENALTIES):
            raise ValueError(f"penalty {self.penalty!r}: choose none, {', '.join(PENALTIES)}")
        for name in ("lambda_penalty", "lambda_feature"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        unbounded = self.penalty == "none" or self.lambda_penalty == 0
        if LOSSES[self.loss].needs_penalty and unbounded:
            raise ValueError(
                f"loss = {self.loss!r} needs a bounded critic: set penalty = 'two-sided' and "
                "lambda_penalty above 0"
            )

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a network whose samples see each other, for a penalty is of each sample alone."""
        tied = any(isinstance(module, _BatchNorm) for module in discriminator.modules())
        if self.penalty != "none" and tied:
            raise ValueError(
                f"penalty = {self.penalty!r} is taken sample by sample, and batch normalisation "
                "ties the samples of a batch together: set networks.discriminator.norm = 'instance'"
            )

    def discriminator(
        self, name: str, judge: Judge, real: Tensor, fake: Tensor, weight: float = 1.0
    ) -> Losses:
        """``name`` and, with a penalty, ``penalty name``; ``weight`` multiplies both.

        Where between real and fake the slope is measured is drawn by ``gan_core.sampling``,
        which the trainer seeds for every batch.
        """
        loss = LOSSES[self.loss].discriminator(judge(real), judge(fake))
        terms = {name: weight * loss}
        if self.penalty != "none":
            # The pictures say only where the slope is measured, so nothing flows into them: a
            # generator is not asked to move to where the critic happens to be flat.
            penalty = PENALTIES[self.penalty](
                judge, real.detach(), fake.detach(), sampling.uniform(len(real), like=real)
            )
            terms[f"penalty {name}"] = weight * self.lambda_penalty * penalty
        return terms

    def generator(self, name: str, judge: Judge, real: Tensor, fake: Tensor) -> Losses:
        """``adversarial name`` and, with ``lambda_feature``, ``feature name``."""
        adversarial = LOSSES[self.loss].generator
        if not self.lambda_feature:
            return {f"adversarial {name}": adversarial(judge(fake))}
        *features, scores = judge(fake, features=True)
        with torch.no_grad():
            *targets, _ = judge(real, features=True)
        return {
            f"adversarial {name}": adversarial(scores),
            f"feature {name}": self.lambda_feature * self.match(targets, features),
        }
