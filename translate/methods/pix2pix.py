"""pix2pix: translation learned from pairs.

Isola, Zhu, Zhou, Efros: Image-to-Image Translation with Conditional Adversarial Networks,
CVPR 2017. G translates x to y; D judges pairs, (x, y) against (x, G(x)). The noise is dropout
inside G.
Deviations: none with the default arguments. The loss is the paper's, with G's half of it in the
non-saturating form that the authors' code trains; D takes its step before G, as there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.adversary import Adversary
from gan_core.losses.distances import l1
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update
from translate.methods.pool import HistoryPool

DISCRIMINATOR = Update("discriminator", trains=("D",))
GENERATOR = Update("generator", trains=("G",))


class Pix2Pix:
    """loss: adversarial loss, "vanilla" in the paper (equation 1).

    lambda_l1: weight of |G(x) - y|, 100 in the paper (appendix 6.2); 0: off.
    lambda_feature: weight of feature matching against y (Wang et al. 2018: 10); 0: off.
    penalty, lambda_penalty: on D's slope by the pair, see ``gan_core.losses.penalties``.
    pool_size: past pairs that D is shown in place of new ones; 0, as in the paper: none.
    """

    data: ClassVar[tuple[str, ...]] = ("paired",)
    family: ClassVar[str] = "pix2pix"
    translations: ClassVar[dict[str, tuple[str, str]]] = {"G": ("x", "y")}
    grid: ClassVar[tuple[str, ...]] = ("x", "made y", "y")
    updates: ClassVar[tuple[Update, ...]] = (DISCRIMINATOR, GENERATOR)
    averaged: ClassVar[tuple[str, ...]] = ("G",)

    def __init__(
        self,
        *,
        loss: Literal["vanilla", "lsgan", "hinge", "wgan"] = "vanilla",
        lambda_l1: float = 100.0,
        lambda_feature: float = 0.0,
        penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none",
        lambda_penalty: float = 10.0,
        pool_size: int = 0,
    ) -> None:
        if lambda_l1 < 0:
            raise ValueError(f"lambda_l1 must be 0 or more, not {lambda_l1}")
        self.adversary = Adversary(loss, penalty, lambda_penalty, lambda_feature)
        self.lambda_l1 = lambda_l1
        self.pool = HistoryPool(pool_size)

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        x, y = channels["x"], channels["y"]
        D = build("discriminator", in_channels=x + y)
        self.adversary.check(D)
        return {"G": build("generator", in_channels=x, out_channels=y), "D": D}

    def schedule(self, progress: Progress) -> Sequence[Step]:
        return (Step(self.updates),)

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        x, y = batch["x"], batch["y"]
        fake = nets["G"](x)
        return {
            "fake": fake,
            "y": y,
            "real pair": torch.cat([x, y], 1),
            "fake pair": torch.cat([x, fake], 1),
        }

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        return {DISCRIMINATOR: self._discriminator, GENERATOR: self._generator}[update](
            nets["D"], scene
        )

    def _discriminator(self, D: nn.Module, scene: Scene) -> Losses:
        """Halved, "which slows down the rate at which D learns relative to G" (section 3.3)."""
        shown = self.pool.query(scene["fake pair"])
        return self.adversary.discriminator("D", D, scene["real pair"], shown, weight=0.5)

    def _generator(self, D: nn.Module, scene: Scene) -> Losses:
        terms = self.adversary.generator("G", D, scene["real pair"], scene["fake pair"])
        if self.lambda_l1:
            terms["l1"] = self.lambda_l1 * l1(scene["fake"], scene["y"])
        return terms

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"y": nets["G"](batch["x"])}

    def observe(self, logs: Mapping[str, float]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return self.pool.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.pool.load_state_dict(state)
