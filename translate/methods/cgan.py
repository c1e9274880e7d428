"""cGAN: pictures drawn from noise, of a class that is asked for.

Mirza, Osindero: Conditional Generative Adversarial Nets, 2014: G and D are given the label, mapped
to a hidden layer and joined to their own ("concat"). Two later ways are offered beside it: Miyato,
Koyama: cGANs with Projection Discriminator, ICLR 2018 ("projection"); Odena, Olah, Shlens:
Conditional Image Synthesis with Auxiliary Classifier GANs, ICML 2017 ("auxiliary").
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gan_core.adversary import Adversary
from gan_core.handicap import Handicap
from gan_core.latents import PRIORS, Prior
from gan_core.losses.features import mean_feature_matching
from gan_core.losses.regularisers import orthogonality
from gan_core.precision import upcast
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update
from gan_core.sampling import latents
from translate.methods.pool import HistoryPool

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))


class ConditionalGAN:
    """loss: adversarial loss; "vanilla" in Mirza & Osindero and in ACGAN, "hinge" in projection.

    condition: how the label enters. "concat": G is given it beside the noise, D beside its last
        features. "projection": as each class's own scale and shift of G's normalised features, and
        as an inner product with D's. "auxiliary": G as for concat; D is not told and has to name
        the class, of real pictures and made ones.
    lambda_class: weight of naming the class ("auxiliary" alone); 1 in its paper.
    lambda_feature: weight of matching mean features (Salimans et al. 2016); 0: off.
    penalty, lambda_penalty: on D's slope, see ``gan_core.losses.penalties``.
    lambda_orthogonal: weight of G's orthogonal regularisation (Brock et al. 2019: 1e-4); 0: off.
    discriminator_steps: of D for each of G, every one on a batch of its own.
    prior: what G is drawn from, see ``gan_core.latents``.
    pool_size: past pictures that D is shown in place of new ones of their class; 0: none.
    """

    data: ClassVar[tuple[str, ...]] = ("labelled",)
    family: ClassVar[str] = "cgan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {}
    grid: ClassVar[tuple[str, ...]] = ("image", "made image")
    updates: ClassVar[tuple[Update, ...]] = (DISCRIMINATOR, GENERATOR)
    averaged: ClassVar[tuple[str, ...]] = ("G",)

    def __init__(
        self,
        handicap: Handicap,
        *,
        loss: Literal["vanilla", "lsgan", "hinge", "wgan"] = "vanilla",
        condition: Literal["concat", "projection", "auxiliary"] = "concat",
        lambda_class: float = 1.0,
        lambda_feature: float = 0.0,
        penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none",
        lambda_penalty: float = 10.0,
        lambda_orthogonal: float = 0.0,
        discriminator_steps: int = 1,
        prior: Prior = "normal",
        pool_size: int = 0,
    ) -> None:
        if lambda_class < 0 or lambda_orthogonal < 0 or discriminator_steps < 1:
            raise ValueError(
                "lambda_class and lambda_orthogonal must be 0 or more, discriminator_steps 1 or "
                f"more, not {lambda_class}, {lambda_orthogonal}, {discriminator_steps}"
            )
        self.adversary = Adversary(
            loss,
            penalty,
            lambda_penalty,
            lambda_feature,
            mean_feature_matching,
            handicap=handicap,
        )
        self.handicap, self.prior = handicap, PRIORS[prior]
        self.condition, self.lambda_class = condition, lambda_class
        self.lambda_orthogonal, self.discriminator_steps = lambda_orthogonal, discriminator_steps
        self.pool = HistoryPool(pool_size)

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        label = {"classes": channels["label"], "condition": self.condition}
        D = build("discriminator", in_channels=channels["image"], **label)
        self.adversary.check(D)
        return {"G": build("generator", out_channels=channels["image"], **label), "D": D}

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.handicap.begin(progress)
        return (
            Step(self.updates[:1], repeats=self.discriminator_steps - 1),
            Step(self.updates),
        )

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        real, label = batch["image"], batch["label"]
        z = self.prior(latents(nets["G"], real))
        return {"real": real, "fake": nets["G"](z, label), "label": label}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        if update is DISCRIMINATOR:
            return self._discriminator(nets["D"], scene)
        terms = self._generator(nets["D"], scene)
        if self.lambda_orthogonal:
            terms["orthogonal G"] = self.lambda_orthogonal * orthogonality(nets["G"])
        return terms

    def _discriminator(self, D: nn.Module, scene: Scene) -> Losses:
        real, label = scene["real"], scene["label"]
        # Labels are read only where a pool needs them: reading waits for a GPU, and explain's have
        # no values.
        of = label.tolist() if self.pool.size and not label.is_meta else None
        shown = self.pool.query(scene["fake"], of)
        judge = _Judge(D, label)
        terms = self.adversary.discriminator("D", judge, real, shown)
        if self.condition == "auxiliary":
            terms["class D"] = self.lambda_class * (judge.named(0) + judge.named(1))
        return terms

    def _generator(self, D: nn.Module, scene: Scene) -> Losses:
        label, fake = scene["label"], scene["fake"]
        judge = _Judge(D, label)
        terms = self.adversary.generator("G", judge, scene["real"], fake)
        if self.condition == "auxiliary":
            terms["class G"] = self.lambda_class * judge.named(0)
        return terms

    def generate(self, nets: Networks, normal: Tensor, label: Tensor | None = None) -> Tensor:
        return nets["G"](self.prior(normal), label)

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        z = latents(nets["G"], batch["image"], generator)
        return {"image": self.generate(nets, z, batch["label"])}

    def observe(self, logs: Mapping[str, float]) -> None:
        self.handicap.observe(logs)

    def state_dict(self) -> dict[str, Any]:
        return {"pool": self.pool.state_dict(), "handicap": self.handicap.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pool.load_state_dict(state["pool"])
        self.handicap.load_state_dict(state["handicap"])


class _Judge:
    """D's scores of pictures of these classes; it keeps the class logits that stand beside them,
    call by call, so that "auxiliary" need not run D again.
    """

    def __init__(self, D: nn.Module, label: Tensor) -> None:
        self.D, self.label = D, label
        self.logits: list[Tensor] = []

    def __call__(self, pictures: Tensor, features: bool = False) -> Tensor | list[Tensor]:
        *seen, out = self.D(pictures, self.label, features=True)
        self.logits.append(out[:, 1:])
        return [*seen, out[:, :1]] if features else out[:, :1]

    def named(self, call: int) -> Tensor:
        """-log p(class | picture), the mean over the batch (Odena et al. 2017, equation 3)."""
        return cross_entropy(upcast(self.logits[call]), self.label)
