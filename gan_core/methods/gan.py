"""The GAN of two networks: any adversarial loss, penalty and constraint.

Goodfellow et al. 2014 (loss = "vanilla"), Mao et al. 2017 ("lsgan"), total variation in three ways
("tvgan-*"), Lim & Ye 2017 and Miyato et al. 2018 ("hinge"), Arjovsky et al. 2017 ("wgan" with
constraint = "clip"), Gulrajani et al. 2017 ("wgan" with penalty = "two-sided"); Brock et al. 2019
is "hinge" with the networks of ``gan_core.networks.biggan``.
Deviation: G's step looks at the fakes of the discriminator's last, where the papers draw new ones;
that saves a forward pass of G and a batch of pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.adversary import Adversary
from gan_core.constraints import CONSTRAINTS
from gan_core.handicap import Handicap
from gan_core.latents import PRIORS, Prior
from gan_core.losses.features import mean_feature_matching
from gan_core.losses.regularisers import orthogonality
from gan_core.routing import Losses, Networks, Progress, Project, Scene, Step, Update
from gan_core.sampling import latents

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))


class GAN:
    """loss: adversarial loss, see ``gan_core.losses.adversarial``.

    penalty, lambda_penalty, penalty_target: on D's slope, see ``gan_core.losses.penalties``;
        penalty_every: it is taken at every so many steps, and as many times as strong.
    lambda_drift: weight of D's mean squared score of reals (Karras et al. 2018: 0.001); 0: off.
    lambda_feature: weight of matching mean features (Salimans et al. 2016); 0: off.
    lambda_orthogonal: weight of G's orthogonal regularisation (Brock et al.: 1e-4); 0: off.
    constraint, clip: where D's weights are moved back to after each of its steps, see
        ``gan_core.constraints``; 0.01 in Arjovsky et al. "decay": the optimiser's weight_decay.
    discriminator_steps: of D for each of G, every one on a batch of its own.
    burst: as many of them instead in the first 25 steps and in every 500th (100 in Arjovsky et
        al.'s code); 0: none.
    prior: what G is drawn from, see ``gan_core.latents``.
    """

    data: ClassVar[tuple[str, ...]] = ("unlabelled", "points")
    family: ClassVar[str] = "gan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {}
    grid: ClassVar[tuple[str, ...]] = ("image", "made image")
    averaged: ClassVar[tuple[str, ...]] = ("G",)
    updates: tuple[Update, ...] = (DISCRIMINATOR, GENERATOR)

    def __init__(
        self,
        handicap: Handicap,
        *,
        loss: Literal[
            "vanilla",
            "logistic",
            "saturating",
            "lsgan",
            "hinge",
            "wgan",
            "tvgan-tanh",
            "tvgan-l1",
            "tvgan-zero",
        ] = "vanilla",
        penalty: Literal["none", "two-sided", "one-sided", "r1", "quadratic"] = "none",
        lambda_penalty: float = 10.0,
        penalty_target: float = 1.0,
        penalty_every: int = 1,
        lambda_drift: float = 0.0,
        lambda_feature: float = 0.0,
        lambda_orthogonal: float = 0.0,
        constraint: Literal["none", "clip", "norm-clip", "decay"] = "none",
        clip: float = 0.01,
        discriminator_steps: int = 1,
        burst: int = 0,
        prior: Prior = "normal",
    ) -> None:
        if penalty_every < 1 or discriminator_steps < 1 or burst < 0:
            raise ValueError(
                "penalty_every and discriminator_steps must be 1 or more and burst 0 or more, not "
                f"{penalty_every}, {discriminator_steps}, {burst}"
            )
        if not clip > 0 or lambda_orthogonal < 0:
            raise ValueError(
                f"clip must be above 0 and lambda_orthogonal 0 or more, not {clip}, "
                f"{lambda_orthogonal}"
            )
        self.adversary = Adversary(
            loss,
            penalty,
            lambda_penalty,
            lambda_feature,
            mean_feature_matching,
            penalty_target,
            lambda_drift,
            constraint,
            handicap,
        )
        self.handicap, self.lambda_orthogonal = handicap, lambda_orthogonal
        self.penalty_every, self.penalise = penalty_every, float(penalty_every)
        self.discriminator_steps, self.burst = discriminator_steps, burst
        self.prior = PRIORS[prior]
        if constraint != "none":
            hold: Project = partial(CONSTRAINTS[constraint], clip)
            self.updates = (replace(DISCRIMINATOR, project=hold), GENERATOR)

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        D = build("discriminator", in_channels=channels["image"])
        self.adversary.check(D)
        return {"G": build("generator", out_channels=channels["image"]), "D": D}

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.handicap.begin(progress)
        due = progress.step % self.penalty_every == 0
        self.penalise = float(self.penalty_every) if due else 0.0
        bursting = self.burst and (progress.step < 25 or progress.step % 500 == 0)
        alone = (self.burst if bursting else self.discriminator_steps) - 1
        return (Step(self.updates[:1], repeats=alone), Step(self.updates))

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        z = self.prior(latents(nets["G"], batch["image"]))
        return {"real": batch["image"], "fake": nets["G"](z)}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        real, fake = scene["real"], scene["fake"]
        if update.name == DISCRIMINATOR.name:
            return self.adversary.discriminator("D", nets["D"], real, fake, penalise=self.penalise)
        terms = self.adversary.generator("G", nets["D"], real, fake)
        if self.lambda_orthogonal:
            terms["orthogonal G"] = self.lambda_orthogonal * orthogonality(nets["G"])
        return terms

    def generate(self, nets: Networks, normal: Tensor, label: Tensor | None = None) -> Tensor:
        return nets["G"](self.prior(normal))

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        like = batch["image"]
        return {"image": self.generate(nets, latents(nets["G"], like, generator))}

    def observe(self, logs: Mapping[str, float]) -> None:
        self.handicap.observe(logs)

    def state_dict(self) -> dict[str, Any]:
        return self.handicap.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.handicap.load_state_dict(state)
