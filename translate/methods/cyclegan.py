"""CycleGAN: translation between two domains without pairs.

Zhu, Park, Isola, Efros: Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks, ICCV 2017. G translates X to Y, F translates Y to X; D_X and D_Y judge their domains.
Deviations: none with the default arguments; identity mapping (section 5.2) is on, as in the
authors' code, and discriminators are updated after the generators, as there.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from gan_core.adversary import Adversary
from gan_core.blocks.normalisation import ties_samples
from gan_core.losses.distances import l1
from gan_core.losses.features import mean_feature_matching
from gan_core.routing import Losses, Networks, Progress, Scene, Step, Update, frozen
from translate.methods.pool import HistoryPool

GENERATORS = Update("generator", trains=("G", "F"))
DISCRIMINATORS = Update("discriminator", trains=("D_X", "D_Y"))


class CycleGAN:
    """loss: adversarial loss, "lsgan" in the paper (section 4).

    lambda_cycle: weight of the cycle terms, 10 in the paper.
    lambda_identity: weight of the identity terms relative to the cycle's (0.5: 5 in all); 0: off.
    cycle_gradient: who is trained by |F(G(x)) - x|: "both" generators, as in the paper, or only the
        "first" one of the chain; the second then passes gradient through untrained.
    lambda_feature: weight of matching mean features (Salimans et al. 2016); 0, as there: off.
    penalty, lambda_penalty: on the discriminators' slopes, see ``gan_core.losses.penalties``.
    pool_size: past translations that the discriminators are shown (section 4: 50); 0: none.
    """

    data: ClassVar[tuple[str, ...]] = ("unpaired",)
    family: ClassVar[str] = "cyclegan"
    translations: ClassVar[dict[str, tuple[str, str]]] = {"G": ("x", "y"), "F": ("y", "x")}
    grid: ClassVar[tuple[str, ...]] = ("x", "made y", "y", "made x")
    updates: ClassVar[tuple[Update, ...]] = (GENERATORS, DISCRIMINATORS)
    averaged: ClassVar[tuple[str, ...]] = ("G", "F")

    def __init__(
        self,
        *,
        loss: Literal["lsgan", "vanilla", "hinge", "wgan"] = "lsgan",
        lambda_cycle: float = 10.0,
        lambda_identity: float = 0.5,
        cycle_gradient: Literal["both", "first"] = "both",
        lambda_feature: float = 0.0,
        penalty: Literal["none", "two-sided", "one-sided", "r1"] = "none",
        lambda_penalty: float = 10.0,
        pool_size: int = 50,
    ) -> None:
        if lambda_cycle < 0 or lambda_identity < 0:
            raise ValueError(
                f"weights must be 0 or more, not lambda_cycle = {lambda_cycle}, "
                f"lambda_identity = {lambda_identity}"
            )
        self.adversary = Adversary(
            loss, penalty, lambda_penalty, lambda_feature, mean_feature_matching
        )
        self.lambda_cycle, self.lambda_identity = lambda_cycle, lambda_identity
        self.cycle_gradient = cycle_gradient
        self.pools = {"x": HistoryPool(pool_size), "y": HistoryPool(pool_size)}

    def networks(
        self, build: Callable[..., nn.Module], channels: Mapping[str, int]
    ) -> dict[str, nn.Module]:
        x, y = channels["x"], channels["y"]
        if self.lambda_identity and x != y:
            raise ValueError(
                f"the identity terms need as many channels in both domains, not {x} and {y}: "
                "set method.lambda_identity = 0"
            )
        nets = {
            "G": build("generator", in_channels=x, out_channels=y),
            "F": build("generator", in_channels=y, out_channels=x),
            "D_X": build("discriminator", in_channels=x),
            "D_Y": build("discriminator", in_channels=y),
        }
        self.adversary.check(nets["D_X"])
        return nets

    def schedule(self, progress: Progress) -> Sequence[Step]:
        return (Step(self.updates),)

    def scene(self, nets: Networks, batch: Mapping[str, Tensor]) -> Scene:
        G, F, x, y = nets["G"], nets["F"], batch["x"], batch["y"]
        second = frozen if self.cycle_gradient == "first" else nullcontext
        scene = {"x": x, "y": y}
        if self.lambda_identity:
            fake_y, scene["same_y"] = _each(G, x, y)
            fake_x, scene["same_x"] = _each(F, y, x)
        else:
            fake_y, fake_x = G(x), F(y)
        with second(F):
            cycled_x = F(fake_y)
        with second(G):
            cycled_y = G(fake_x)
        scene |= {"fake_x": fake_x, "fake_y": fake_y, "cycled_x": cycled_x, "cycled_y": cycled_y}
        return scene

    def losses(self, update: Update, nets: Networks, scene: Scene) -> Losses:
        terms = {GENERATORS: self._generators, DISCRIMINATORS: self._discriminators}
        return terms[update](nets, scene)

    def _generators(self, nets: Networks, scene: Scene) -> Losses:
        terms = self.adversary.generator("G", nets["D_Y"], scene["y"], scene["fake_y"])
        terms |= self.adversary.generator("F", nets["D_X"], scene["x"], scene["fake_x"])
        terms["cycle x"] = self.lambda_cycle * l1(scene["cycled_x"], scene["x"])
        terms["cycle y"] = self.lambda_cycle * l1(scene["cycled_y"], scene["y"])
        if self.lambda_identity:
            weight = self.lambda_identity * self.lambda_cycle
            terms["identity F"] = weight * l1(scene["same_x"], scene["x"])
            terms["identity G"] = weight * l1(scene["same_y"], scene["y"])
        return terms

    def _discriminators(self, nets: Networks, scene: Scene) -> Losses:
        """Halved, "which slows down the rate at which D learns" (section 7.1)."""
        terms: Losses = {}
        for domain, name in (("x", "D_X"), ("y", "D_Y")):
            shown = self.pools[domain].query(scene[f"fake_{domain}"])
            terms |= self.adversary.discriminator(
                name, nets[name], scene[domain], shown, weight=0.5
            )
        return terms

    def made(
        self, nets: Networks, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> dict[str, Tensor]:
        return {"y": nets["G"](batch["x"]), "x": nets["F"](batch["y"])}

    def observe(self, logs: Mapping[str, float]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {domain: pool.state_dict() for domain, pool in self.pools.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for domain, pool in self.pools.items():
            pool.load_state_dict(state[domain])


def _each(net: nn.Module, *batches: Tensor) -> Sequence[Tensor]:
    """What the network makes of each; in one call, which is faster, where that is the same."""
    if ties_samples(net) or len({batch.shape[1:] for batch in batches}) > 1:
        return [net(batch) for batch in batches]
    return net(torch.cat(batches)).split([len(batch) for batch in batches])
