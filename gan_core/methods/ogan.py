"""O-GAN: the discriminator is an encoder too.

Su: O-GAN: Extremely Concise Approach for Auto-Encoding Generative Adversarial Networks, 2019, and
the author's code. E maps a picture to a code of as many numbers as z; D(x) is the code's average,
and E(G(z)) is asked to correlate with z, for which the average does not count.
Deviations: high = real, where the author's scores are low. Any loss and penalty will do; "wgan"
with penalty = "quadratic" is the author's base, GAN-QP.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.adversary import Adversary
from gan_core.handicap import Handicap
from gan_core.latents import PRIORS, Prior
from gan_core.losses.codes import average, correlation, normalised, squared_code
from gan_core.losses.energy import reconstruction_energy
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update
from gan_core.sampling import latent_of, latents

ENCODER = Update("encoder", trains=("E",))
GENERATOR = Update("generator", trains=("G",))


class OGAN:
    """loss, penalty, lambda_penalty: of the GAN beneath, see ``gan_core.methods.gan``; a weight of
        0.25 on "quadratic" is the author's.

    head: D(x) is the code's "average", or what a "network" T makes of the code (section 3.2).
    code: how z is found again in E(G(z)). "correlation": Pearson's rho of the two. "matrix": the
        squared distance of z to W E(G(z)), W learned (what the author tried before), a matrix where
        networks.code is a "mapping" with layers = 0. "mapping": G is fed w = W(z), W a network,
        centred and of deviation 1, and rho is that of w. Two baselines: "squared-code", the squared
        distance of z to E(G(z)), and "squared-picture", that of x to G(E(x)). "none".
    lambda_code: its weight; 0.5 in the author's code at 128 pixels.
    prior: what z is drawn from, see ``gan_core.latents``.
    """

    data: ClassVar[tuple[str, ...]] = ("unlabelled",)
    family: ClassVar[str] = "gan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {}
    grid: ClassVar[tuple[str, ...]] = ("image", "made reconstruction", "made image")
    updates: tuple[Update, ...] = (ENCODER, GENERATOR)
    averaged: tuple[str, ...] = ("G", "E")

    def __init__(
        self,
        handicap: Handicap,
        *,
        loss: Literal["wgan", "vanilla", "lsgan", "hinge"] = "wgan",
        penalty: Literal["quadratic", "none", "two-sided", "one-sided", "r1"] = "quadratic",
        lambda_penalty: float = 0.25,
        head: Literal["average", "network"] = "average",
        code: Literal[
            "correlation", "matrix", "mapping", "squared-code", "squared-picture", "none"
        ] = "correlation",
        lambda_code: float = 0.5,
        prior: Prior = "normal",
    ) -> None:
        if lambda_code < 0:
            raise ValueError(f"lambda_code must be 0 or more, not {lambda_code}")
        self.adversary = Adversary(loss, penalty, lambda_penalty, handicap=handicap)
        self.handicap, self.lambda_code = handicap, lambda_code
        self.head, self.code, self.prior = head, code, PRIORS[prior]
        judges: tuple[str, ...] = ("E", "T") if head == "network" else ("E",)
        makers: tuple[str, ...] = ("G",)
        if code == "matrix":
            judges += ("W",)
        if code == "mapping":
            makers += ("W",)
        if code in ("matrix", "mapping"):
            self.averaged = ("G", "E", "W")
        self.updates = (Update(ENCODER.name, judges), Update(GENERATOR.name, makers))

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        G = build("generator", out_channels=channels["image"])
        n = latent_of(G)
        if n < 3:
            raise ValueError(
                f"networks.generator.latent must be 3 or more, not {n}: of fewer numbers nothing "
                "is left once a code is centred and scaled"
            )
        nets = {"G": G, "E": build("encoder", in_channels=channels["image"], outputs=n)}
        if self.head == "network":
            nets["T"] = build("head", in_channels=n)
        if self.code in ("matrix", "mapping"):
            nets["W"] = build("code", in_channels=n, outputs=n)
        self.adversary.check(nn.ModuleList([nets["E"], *([nets["T"]] if "T" in nets else [])]))
        return nets

    def schedule(self, progress: Progress) -> Sequence[Step]:
        """Both step from one scene, as the author's single optimiser does."""
        self.handicap.begin(progress)
        return (Step(self.updates, joint=True),)

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        code = self._code(nets, latents(nets["G"], batch["image"]))
        return {"real": batch["image"], "code": code, "fake": nets["G"](code)}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        judge = _Judge(nets)
        real, fake = scene["real"], scene["fake"]
        if update.name == ENCODER.name:
            terms = self.adversary.discriminator("E", judge, real, fake)
            return terms | self._found("E", nets, scene, judge.codes[1])
        terms = self.adversary.generator("G", judge, real, fake)
        return terms | self._found("G", nets, scene, judge.codes[0])

    def _found(self, name: str, nets: Networks, scene: Scene, code: Tensor) -> Losses:
        """The code's term, of E and of G alike; ``code``: E's of the fakes."""
        if self.code == "none":
            return {}
        term = _TERMS[self.code](nets, scene, code).mean()
        return {f"{self.code} {name}": self.lambda_code * term}

    def _code(self, nets: Networks, normal: Tensor) -> Tensor:
        """What G is fed."""
        z = self.prior(normal)
        return normalised(nets["W"](z)) if self.code == "mapping" else z

    def generate(self, nets: Networks, normal: Tensor, label: Tensor | None = None) -> Tensor:
        return nets["G"](self._code(nets, normal))

    def encode(self, nets: Networks, x: Tensor) -> Tensor:
        """Codes [B, n] that G takes for pictures [B, C, H, W].

        Where only the direction was learned, centred and of deviation 1 as z is (section 3.3).
        """
        code = nets["E"](x)
        if self.code == "matrix":
            return nets["W"](code)
        return code if self.code.startswith("squared") else normalised(code)

    def decode(self, nets: Networks, code: Tensor) -> Tensor:
        """Pictures of codes."""
        return nets["G"](code)

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        real = batch["image"]
        return {
            "image": self.generate(nets, latents(nets["G"], real, generator)),
            "reconstruction": self.decode(nets, self.encode(nets, real)),
        }

    def settling(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> None:
        """Batch norms' statistics are to be those of training: G's of z, E's of real pictures."""
        self.generate(nets, latents(nets["G"], batch["image"], generator))
        nets["E"](batch["image"])

    def observe(self, logs: Mapping[str, float]) -> None:
        self.handicap.observe(logs)

    def state_dict(self) -> dict[str, Any]:
        return self.handicap.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.handicap.load_state_dict(state)


def _correlation(nets: Networks, scene: Scene, code: Tensor) -> Tensor:
    return -correlation(scene["code"], code)


def _matrix(nets: Networks, scene: Scene, code: Tensor) -> Tensor:
    return squared_code(scene["code"], nets["W"](code))


def _squared_code(nets: Networks, scene: Scene, code: Tensor) -> Tensor:
    return squared_code(scene["code"], code)


def _squared_picture(nets: Networks, scene: Scene, code: Tensor) -> Tensor:
    real = scene["real"]
    return reconstruction_energy(real, nets["G"](nets["E"](real)), "squared")


_TERMS: dict[str, Callable[[Networks, Scene, Tensor], Tensor]] = {
    "correlation": _correlation,
    "mapping": _correlation,
    "matrix": _matrix,
    "squared-code": _squared_code,
    "squared-picture": _squared_picture,
}


class _Judge:
    """D(x) from E's code; it keeps the codes, call by call."""

    def __init__(self, nets: Networks) -> None:
        self.E, self.T = nets["E"], nets.get("T")
        self.codes: list[Tensor] = []

    def __call__(self, pictures: Tensor) -> Tensor:
        code = self.E(pictures)
        self.codes.append(code)
        return average(code) if self.T is None else self.T(code)
