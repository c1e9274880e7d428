"""EBGAN: the discriminator is an autoencoder, its reconstruction error an energy, low = real.

Zhao, Mathieu, LeCun: Energy-based Generative Adversarial Networks, ICLR 2017.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.handicap import Handicap
from gan_core.latents import PRIORS, Prior
from gan_core.losses.energy import margin_loss, pulling_away, reconstruction_energy
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update
from gan_core.sampling import latents

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))

# the largest energy of pictures in [-1, 1] of N numbers that are rebuilt in [-1, 1]
_LARGEST: dict[str, Callable[[int], float]] = {
    "norm": lambda numbers: 2 * math.sqrt(numbers),
    "squared": lambda numbers: 4.0,
    "absolute": lambda numbers: 2.0,
}


class EBGAN:
    """margin: m, the energy from which on a fake is far enough (section 2.1), on energy's scale.

    energy: "norm" is ||D(x) - x||_2, not squared, as in equation 13; see
        ``gan_core.losses.energy``. Margins of one kind mean nothing in another.
    lambda_pull: weight of the pulling-away term on the codes of fakes; 0.1 in section 4.3.
    prior: what G is drawn from, see ``gan_core.latents``.
    """

    data: ClassVar[tuple[str, ...]] = ("unlabelled",)
    family: ClassVar[str] = "gan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {}
    grid: ClassVar[tuple[str, ...]] = ("image", "made reconstruction", "made image")
    averaged: ClassVar[tuple[str, ...]] = ("G", "D")
    updates: tuple[Update, ...] = (DISCRIMINATOR, GENERATOR)

    def __init__(
        self,
        handicap: Handicap,
        *,
        margin: float = 20.0,
        energy: Literal["norm", "squared", "absolute"] = "norm",
        lambda_pull: float = 0.1,
        prior: Prior = "normal",
    ) -> None:
        if not margin > 0 or lambda_pull < 0:
            raise ValueError(
                f"margin must be above 0 and lambda_pull 0 or more, not {margin}, {lambda_pull}"
            )
        handicap.check(None)
        self.handicap, self.margin, self.energy = handicap, margin, energy
        self.lambda_pull, self.prior = lambda_pull, PRIORS[prior]

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        D = build("discriminator", channels=channels["image"])
        assert isinstance(D.numbers, int)
        largest = _LARGEST[self.energy](D.numbers)
        if self.margin >= largest:
            raise ValueError(
                f"margin = {self.margin} can never be reached: an energy of kind {self.energy!r} "
                f"is at most {largest:.3g} for pictures of {D.numbers} numbers. The usual is about "
                "a tenth to a third of that"
            )
        return {"G": build("generator", out_channels=channels["image"]), "D": D}

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.handicap.begin(progress)
        return (Step(self.updates),)

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        z = self.prior(latents(nets["G"], batch["image"]))
        return {"real": batch["image"], "fake": nets["G"](z)}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        if update is GENERATOR:
            fake = self.handicap.show_fake(scene["fake"])
            rebuilt, codes = nets["D"](fake, codes=True)
            terms = {"energy G": self._energy(fake, rebuilt).mean()}
            if self.lambda_pull:
                terms["pulling away G"] = self.lambda_pull * pulling_away(codes)
            return terms
        real, fake = self.handicap.show(scene["real"], scene["fake"])
        return {
            "energy D": self._energy(real, nets["D"](real)).mean(),
            "margin D": margin_loss(self._energy(fake, nets["D"](fake)), self.margin),
        }

    def _energy(self, x: Tensor, rebuilt: Tensor) -> Tensor:
        return reconstruction_energy(x, rebuilt, self.energy)

    def generate(self, nets: Networks, normal: Tensor, label: Tensor | None = None) -> Tensor:
        return nets["G"](self.prior(normal))

    def encode(self, nets: Networks, x: Tensor) -> Tensor:
        """D's code of pictures [B, C, H, W]: [B, n]."""
        return nets["D"].encode(x)  # type: ignore[operator]

    def decode(self, nets: Networks, code: Tensor) -> Tensor:
        """Pictures of codes, by D's own decoder."""
        return nets["D"].decode(code)  # type: ignore[operator]

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        real = batch["image"]
        return {
            "image": self.generate(nets, latents(nets["G"], real, generator)),
            "reconstruction": nets["D"](real),
        }

    def observe(self, logs: Mapping[str, float]) -> None:
        self.handicap.observe(logs)

    def state_dict(self) -> dict[str, Any]:
        return self.handicap.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.handicap.load_state_dict(state)
