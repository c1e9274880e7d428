"""The GAN of two networks: any adversarial loss, penalty and constraint.

Goodfellow et al. 2014 (loss = "vanilla"), Mao et al. 2017 ("lsgan"), total variation in three ways
("tvgan-*"), Lim & Ye 2017 and Miyato et al. 2018 ("hinge"), Arjovsky et al. 2017 ("wgan" with
constraint = "clip"), Gulrajani et al. 2017 ("wgan" with penalty = "two-sided"); Brock et al. 2019
is "hinge" with the networks of ``gan_core.networks.biggan``; Chen et al. 2016 (InfoGAN) is
``gan_core.information`` beside any of them.
Deviation: G's step looks at the fakes of the discriminator's last, where the papers draw new ones;
that saves a forward pass of G and a batch of pictures.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.adversary import Adversary
from gan_core.blocks.equalised import equalised
from gan_core.constraints import CONSTRAINTS
from gan_core.growth import grows
from gan_core.handicap import Handicap
from gan_core.information import Code, Information, Listening
from gan_core.latents import PRIORS, Prior
from gan_core.losses.features import mean_feature_matching
from gan_core.losses.information import consistency
from gan_core.losses.regularisers import orthogonality
from gan_core.routing import Losses, Networks, Progress, Project, Scene, Step, Update
from gan_core.sampling import latents

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))
NO_CODES = Information()


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

    data: ClassVar[tuple[str, ...]] = ("unlabelled", "points", "text")
    family: ClassVar[str] = "gan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {}
    grid: ClassVar[tuple[str, ...]] = ("image", "made image")
    averaged: ClassVar[tuple[str, ...]] = ("G",)
    updates: tuple[Update, ...] = (DISCRIMINATOR, GENERATOR)

    def __init__(
        self,
        handicap: Handicap,
        information: Information = NO_CODES,
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
        self.handicap, self.information = handicap, information
        self.lambda_orthogonal = lambda_orthogonal
        self.penalty_every, self.penalise = penalty_every, float(penalty_every)
        self.discriminator_steps, self.burst = discriminator_steps, burst
        self.prior = PRIORS[prior]
        codes = information.numbers > 0
        if codes and constraint in ("clip", "norm-clip"):
            raise ValueError(
                f"constraint = {constraint!r} would hold the weights of Q, which guesses codes, as "
                "well: set a penalty, or networks.discriminator.weights = 'spectral'"
            )
        trains = ("D", "Q") if codes else ("D",)
        hold: Project | None = (
            partial(CONSTRAINTS[constraint], clip) if constraint != "none" else None
        )
        self.updates = (Update(DISCRIMINATOR.name, trains, hold), GENERATOR)

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        D = build("discriminator", in_channels=channels["image"])
        self.adversary.check(D)
        G = build("generator", out_channels=channels["image"])
        if self.information.lambda_consistency and not grows(G):
            raise ValueError(
                "lambda_consistency compares the levels of a generator that grows: choose "
                "networks.generator.kind = 'progressive', or set it to 0"
            )
        for key, asked, net in (
            ("constraint", self.updates[0].project is not None, D),
            ("lambda_orthogonal", self.lambda_orthogonal > 0, G),
        ):
            if asked and equalised(net):
                raise ValueError(
                    f"{key} is of weights as they stand, and equalised layers scale theirs at each "
                    "use: leave it out, or choose networks of another kind"
                )
        if not self.information.numbers:
            return {"G": G, "D": D}
        return {"G": G, "D": D, "Q": self.information.head(build, G, D)}

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.handicap.begin(progress)
        due = progress.step % self.penalty_every == 0
        self.penalise = float(self.penalty_every) if due else 0.0
        bursting = self.burst and (progress.step < 25 or progress.step % 500 == 0)
        alone = (self.burst if bursting else self.discriminator_steps) - 1
        return (Step(self.updates[:1], repeats=alone), Step(self.updates))

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        z = self._fed(latents(nets["G"], batch["image"]))
        scene = {"real": batch["image"], "z": z}
        if not self.information.lambda_consistency:
            return {**scene, "fake": nets["G"](z)}
        levels = nets["G"](z, levels=True)
        return {**scene, "fake": levels[-1], "consistency": consistency(levels)}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        real, fake = scene["real"], scene["fake"]
        listening = Listening(nets["D"])
        judge = listening if self.information.numbers else nets["D"]
        if update.name == DISCRIMINATOR.name:
            terms = self.adversary.discriminator("D", judge, real, fake, penalise=self.penalise)
            return terms | self._guessed("D", nets, listening.heard[1:], scene)
        terms = self.adversary.generator("G", judge, real, fake)
        if self.lambda_orthogonal:
            terms["orthogonal G"] = self.lambda_orthogonal * orthogonality(nets["G"])
        if "consistency" in scene:
            terms["consistency G"] = self.information.lambda_consistency * scene["consistency"]
        return terms | self._guessed("G", nets, listening.heard, scene)

    def _guessed(
        self, name: str, nets: Networks, heard: list[list[Tensor]], scene: Scene
    ) -> Losses:
        """The codes' terms, from the first of what D was heard to see, which is of the fakes."""
        if not self.information.numbers:
            return {}
        return self.information.losses(name, nets["Q"], heard[0], scene["z"])

    def _fed(self, normal: Tensor) -> Tensor:
        return self.information.fed(normal, self.prior)

    @property
    def codes(self) -> tuple[Code, ...]:
        """Of what G is fed: the last of its numbers."""
        return self.information.codes

    def generate(self, nets: Networks, normal: Tensor, label: Tensor | None = None) -> Tensor:
        return nets["G"](self._fed(normal))

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
