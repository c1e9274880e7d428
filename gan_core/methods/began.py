"""BEGAN: an autoencoder's losses of reals and fakes are kept in a ratio, low = real.

Berthelot, Schumm, Metz: BEGAN: Boundary Equilibrium Generative Adversarial Networks, 2017.
Deviation: D and G look at the same fakes, as in the published code; the paper draws z_D and z_G.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gan_core.handicap import Handicap
from gan_core.latents import PRIORS, Prior
from gan_core.losses.energy import reconstruction_energy
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update
from gan_core.sampling import latents

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))


class BEGAN:
    """gamma: the ratio L(G(z)) / L(x) that is kept, 0 to 1; low: better pictures, less variety.

    lambda_k: how fast k, the weight of fakes in D's loss, follows (section 3.3: 0.001).
    prior: what G is drawn from; uniform in section 3.5.
    L(x) is the mean absolute error of D's reconstruction.
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
        gamma: float = 0.5,
        lambda_k: float = 0.001,
        prior: Prior = "uniform",
    ) -> None:
        if not 0 < gamma <= 1 or not lambda_k > 0:
            raise ValueError(
                f"gamma must be above 0 and at most 1, lambda_k above 0, not {gamma}, {lambda_k}"
            )
        handicap.check(None)
        self.handicap, self.gamma, self.lambda_k = handicap, gamma, lambda_k
        self.prior, self.k = PRIORS[prior], 0.0

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        return {
            "G": build("generator", out_channels=channels["image"]),
            "D": build("discriminator", channels=channels["image"]),
        }

    def schedule(self, progress: Progress) -> Sequence[Step]:
        self.handicap.begin(progress)
        return (Step(self.updates),)

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        z = self.prior(latents(nets["G"], batch["image"]))
        return {"real": batch["image"], "fake": nets["G"](z)}

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        if update is GENERATOR:
            return {"energy G": _loss(nets["D"], self.handicap.show_fake(scene["fake"]))}
        shown = self.handicap.show(scene["real"], scene["fake"])
        real, fake = (_loss(nets["D"], x) for x in shown)
        balance = self.gamma * real - fake
        return {
            "energy D": real,
            "energy fake D": -self.k * fake,
            "k": torch.full_like(real, self.k, requires_grad=False),
            "balance": balance.detach(),
            # M_global, section 3.4.1; of several processes, or batches, the mean of each one's
            "measure": (real + balance.abs()).detach(),
        }

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
        if "balance" in logs:  # not where the step was skipped
            self.k = min(max(self.k + self.lambda_k * logs["balance"], 0.0), 1.0)

    def state_dict(self) -> dict[str, Any]:
        return {"k": self.k, "handicap": self.handicap.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.k = state["k"]
        self.handicap.load_state_dict(state["handicap"])


def _loss(D: nn.Module, x: Tensor) -> Tensor:
    """L(x), the mean over the batch."""
    return reconstruction_energy(x, D(x), "absolute").mean()
