"""Codes join any discriminator, any adversarial loss and any penalty, also new ones."""

import inspect
from typing import Any

import pytest
import torch
from starts import SMALL

from gan_core.handicap import Handicap
from gan_core.information import Information
from gan_core.losses.adversarial import LOSSES
from gan_core.losses.penalties import PENALTIES
from gan_core.methods.gan import GAN
from gan_core.networks.codes import CodeHead
from gan_core.networks.dcgan import DCGANGenerator
from gan_core.routing import trainable
from gan_core.trainer import Trainer
from translate.networks import NETWORKS
from translate.recipe import suits
from translate.schema import arguments, keywords

BATCH, SIZE = 4, 16
SHAPES = {"size": SIZE, "aspect": (1, 1)}
JUDGES = [
    kind
    for kind, maker in NETWORKS.items()
    if suits(maker, {"in_channels": 3}, SHAPES)
    and "features" in inspect.signature(maker.forward).parameters  # type: ignore[attr-defined]
    and not kind.startswith(("mlp", "text"))  # for points and for lines
]


def build(kind: str) -> Any:
    def made(section: str, **shape: Any) -> torch.nn.Module:
        if section == "generator":
            return DCGANGenerator(size=SIZE, latent=12, filters=4, **shape)
        if section == "codes":
            return CodeHead(hidden=8, **shape)
        maker = NETWORKS[kind]
        given = {key: value for key, value in SHAPES.items() if key in arguments(maker)}
        asked = {k: v for k, v in SMALL[kind].items() if k in keywords(maker) and k != "attention"}
        return maker(**shape, **given, **asked)

    return made


def check_a_step(kind: str, codes: dict[str, Any], **arguments: Any) -> None:
    """All terms are finite, and each network's every weight that should move has moved."""
    torch.manual_seed(0)
    method = GAN(Handicap(), Information(**codes), **arguments)
    nets = method.networks(build(kind), {"image": 3})
    before = [p.detach().clone() for p in nets["Q"].parameters()]
    optimizers = {
        update.name: torch.optim.Adam(trainable(update, nets), lr=1e-3) for update in method.updates
    }
    trainer = Trainer(method, nets, optimizers, 10, lambda step, steps: 1.0)
    real = torch.rand(BATCH, 3, SIZE, SIZE) * 2 - 1
    logs = trainer.step(iter([{"image": real}]))
    assert trainer.counts["redone"] == trainer.counts["skipped"] == 0
    assert logs.keys() >= {"category D", "category G", "continuous D", "continuous G"}
    for p, start in zip(nets["Q"].parameters(), before, strict=True):
        assert (p - start).abs().max() > 0


CODES = {"categories": (3,), "continuous": 2}


def test_discriminators_are_found() -> None:
    assert {"dcgan-discriminator", "biggan-discriminator", "patch", "pixel"} <= set(JUDGES)
    assert "progressive-discriminator" in JUDGES


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", JUDGES)
def test_any_discriminator_and_loss(kind: str, loss: Any) -> None:
    penalty: Any = "quadratic" if LOSSES[loss].needs_bound else "none"
    check_a_step(kind, CODES, loss=loss, penalty=penalty)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("kind", JUDGES)
def test_any_discriminator_and_penalty(kind: str, penalty: Any) -> None:
    check_a_step(kind, CODES, loss="hinge", penalty=penalty, lambda_feature=0.1)


@pytest.mark.parametrize("kind", [kind for kind in JUDGES if kind not in ("patch", "pixel")])
def test_any_discriminator_that_halves_has_scales(kind: str) -> None:
    check_a_step(kind, CODES | {"code_scales": (8,)})
