"""What a discriminator asks of pictures and of their generator: loss x penalty x features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gan_core import sampling
from gan_core.blocks.normalisation import ties_samples
from gan_core.constraints import CONSTRAINTS
from gan_core.handicap import Handicap
from gan_core.losses.adversarial import AdversarialLoss, find_loss
from gan_core.losses.features import paired_feature_matching
from gan_core.losses.penalties import PENALTIES, Asked
from gan_core.losses.regularisers import drift
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
    penalty_target: the slope that a gradient penalty asks for
    lambda_drift: weight of D's mean squared score of reals; 0.001 in Karras et al. 2018
    constraint: a name in ``gan_core.constraints.CONSTRAINTS``, or "none"
    handicap: what discriminators are shown, and which of their mistakes count. A penalty takes what
        is shown as the pictures.
    """

    loss: str
    penalty: str = "none"
    lambda_penalty: float = 10.0
    lambda_feature: float = 0.0
    match: Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor] = paired_feature_matching
    penalty_target: float = 1.0
    lambda_drift: float = 0.0
    constraint: str = "none"
    handicap: Handicap = field(default_factory=Handicap)

    def __post_init__(self) -> None:
        for key, table in (("penalty", PENALTIES), ("constraint", CONSTRAINTS)):
            if getattr(self, key) not in ("none", *table):
                raise ValueError(f"{key} {getattr(self, key)!r}: choose none, {', '.join(table)}")
        for name in ("lambda_penalty", "lambda_feature", "lambda_drift"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if not self.penalty_target > 0:
            raise ValueError(f"penalty_target must be above 0, not {self.penalty_target}")
        self.handicap.check(self.losses.boundary)

    @property
    def losses(self) -> AdversarialLoss:
        return find_loss(self.loss)

    def check(self, discriminator: nn.Module) -> None:
        """Refuse a network that the loss or the penalty cannot do with."""
        modules = list(discriminator.modules())
        by_sample = self.penalty != "none" and PENALTIES[self.penalty].by_sample
        if by_sample and ties_samples(discriminator):
            raise ValueError(
                f"penalty = {self.penalty!r} is taken sample by sample, and batch normalisation "
                "ties the samples of a batch together: in the section of [networks] that judges, "
                "set norm = 'layer' or 'instance'"
            )
        penalised = self.penalty != "none" and self.lambda_penalty > 0
        held = self.constraint != "none" or any(map(parametrize.is_parametrized, modules))
        if self.losses.needs_bound and not (penalised or held):
            raise ValueError(
                f"loss = {self.loss!r} needs a bounded critic: set penalty = 'two-sided' and "
                "lambda_penalty above 0"
            )

    def discriminator(
        self,
        name: str,
        judge: Judge,
        real: Tensor,
        fake: Tensor,
        weight: float = 1.0,
        penalise: float = 1.0,
    ) -> Losses:
        """``name`` and, where asked for, ``penalty name`` and ``drift name``, with the handicap's
        figures. ``weight`` multiplies all of them, ``penalise`` the penalty alone; 0 leaves it out.

        Where between real and fake the slope is measured is drawn by ``gan_core.sampling``,
        which the trainer seeds for every batch.
        """
        real, fake = self.handicap.show(real, fake)
        # One power iteration of spectral norm for both calls, as it is one step of D.
        with parametrize.cached():
            real_scores, fake_scores = judge(real), judge(fake)
            on_real, on_fake = self.handicap.weights()
            losses = self.losses
            loss = on_real * losses.real(real_scores) + on_fake * losses.fake(fake_scores)
            terms = {name: weight * loss}
            if self.penalty != "none" and penalise:
                # The pictures say only where the slope is measured, so nothing flows into them: a
                # generator is not asked to move to where the critic happens to be flat.
                real, fake = real.detach(), fake.detach()
                mix = sampling.uniform(len(real), like=real)
                penalty = PENALTIES[self.penalty].measure(
                    judge, Asked(real, fake, real_scores, fake_scores, mix), self.penalty_target
                )
                terms[f"penalty {name}"] = weight * penalise * self.lambda_penalty * penalty
        if self.lambda_drift:
            terms[f"drift {name}"] = weight * self.lambda_drift * drift(real_scores)
        return terms | self.handicap.figures(real_scores, fake_scores, losses.boundary)

    def generator(self, name: str, judge: Judge, real: Tensor, fake: Tensor) -> Losses:
        """``adversarial name`` and, with ``lambda_feature``, ``feature name``."""
        adversarial = self.losses.generator
        if not self.lambda_feature:
            return {f"adversarial {name}": adversarial(judge(self.handicap.show_fake(fake)))}
        real, fake = self.handicap.show(real, fake)
        *features, scores = judge(fake, features=True)
        with torch.no_grad():
            *targets, _ = judge(real, features=True)
        return {
            f"adversarial {name}": adversarial(scores),
            f"feature {name}": self.lambda_feature * self.match(targets, features),
        }
