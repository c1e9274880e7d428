"""pix2pix against a training loop and a routing table written by hand from the paper."""

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from by_hand import (
    DISCRIMINATOR,
    GENERATOR,
    PaperPool,
    activations,
    distance,
    furthest,
    slope_penalty,
    step_seeds,
    table,
)
from torch import Tensor, nn

from gan_core import sampling
from gan_core.routing import route_matrix, trainable
from gan_core.trainer import Trainer
from translate.methods.pix2pix import Pix2Pix
from translate.networks.patch import PatchDiscriminator
from translate.networks.unet import UNetGenerator

Pair = dict[str, Tensor]
SIZE, BATCH, STEPS = 64, 2, 5  # of 64 pixels a U-Net makes six halvings, the first with dropout
LR = 2e-3


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
    """Biases before an instance norm have no gradient but rounding: eps keeps that small."""
    return torch.optim.Adam(parameters, lr=LR, betas=(0.5, 0.999), eps=1e-6)


def networks() -> nn.ModuleDict:
    """The paper's networks, very small; wide weights, so that every gradient is felt."""
    torch.manual_seed(0)
    G = UNetGenerator(3, 3, SIZE, filters=2, norm="instance", init_gain=0.2)
    D = PatchDiscriminator(6, SIZE, filters=4, layers=1, init_gain=0.2)
    assert any(isinstance(module, nn.Dropout) for module in G.modules())
    return nn.ModuleDict({"G": G, "D": D}).double()


def batches() -> Iterator[Pair]:
    generator = torch.Generator().manual_seed(1)
    while True:
        shape = (2, BATCH, 3, SIZE, SIZE)
        x, y = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1
        yield {"x": x, "y": y}


def trainer(nets: nn.ModuleDict, **arguments: Any) -> Trainer:
    method = Pix2Pix(**arguments)
    optimizers = {u.name: adam(trainable(u, nets)) for u in method.updates}
    return Trainer(method, nets, optimizers, 100, lambda step, steps: 1.0)


# ---- the paper's training, by hand -------------------------------------------------------------


def train_by_hand(
    nets: nn.ModuleDict,
    data: Iterator[Pair],
    seeds: list[int],
    loss: str = "vanilla",
    lambda_feature: float = 0.0,
    penalty: str = "none",
    pool_size: int = 0,
) -> int:
    """Equation 4 with lambda = 100, trained as in section 3.3; returns the history's swaps."""
    G, D = nets["G"], nets["D"]
    of_G, of_D = adam(G.parameters()), adam(D.parameters())
    history = PaperPool(pool_size)
    for seed in seeds:
        sampling.seed(seed)
        pair = next(data)
        x, y = pair["x"], pair["y"]
        made = G(x)
        real, fake = torch.cat((x, y), 1), torch.cat((x, made), 1)
        of_D.zero_grad()  # what the generator's losses left there
        shown = history.show(fake)
        objective = DISCRIMINATOR[loss](D(real), D(shown))
        if penalty == "two-sided":
            mixes = sampling.uniform(BATCH, like=x)
            objective = objective + 10 * slope_penalty(lambda p, i: D(p), real, shown, mixes)
        (objective / 2).backward()
        of_D.step()
        of_G.zero_grad()
        objective = GENERATOR[loss](D(fake)) + 100 * distance(made, y)
        if lambda_feature:  # Wang et al. 2018, equation 4
            layers = zip(activations(D.model, real), activations(D.model, fake), strict=True)
            objective = objective + lambda_feature * sum(distance(r, f) for r, f in layers)
        objective.backward()
        of_G.step()
    return history.swaps


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"pool_size": 3},
        {"loss": "lsgan"},
        {"lambda_feature": 10.0},
        {"loss": "wgan", "penalty": "two-sided", "pool_size": 3},
    ],
    ids=str,
)
def test_training_equals_the_paper_by_hand(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, start = networks(), networks(), networks()
    seeds = step_seeds(monkeypatch)
    training, data = trainer(ours, **arguments), batches()
    for _ in range(STEPS):
        training.step(data)
    assert len(seeds) == len(set(seeds)) == STEPS
    swaps = train_by_hand(theirs, batches(), seeds, **arguments)
    if "pool_size" in arguments:
        assert 2 <= swaps <= STEPS * BATCH - 3  # the history took part
    for name in ours:
        assert furthest(start[name], ours[name]) > LR, "it must have moved"
        assert furthest(ours[name], theirs[name]) < 1e-10, name


def test_every_step_has_noise_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.2.1: noise is dropout. With other seeds by hand G is another one."""
    ours, theirs = networks(), networks()
    seeds = step_seeds(monkeypatch)
    training, data = trainer(ours), batches()
    for _ in range(STEPS):
        training.step(data)
    train_by_hand(theirs, batches(), [seed + 1 for seed in seeds])
    assert furthest(ours["G"], theirs["G"]) > LR / 10


def test_made_is_the_generators_and_the_same_every_time_in_evaluation() -> None:
    nets, batch = networks().eval(), next(batches())
    method, x = Pix2Pix(), batch["x"]

    def made(seed: int) -> Tensor:
        torch.manual_seed(seed)
        pictures = method.made(nets, batch, torch.Generator().manual_seed(seed))
        assert list(pictures) == ["y"]
        return pictures["y"]

    assert torch.equal(made(1), made(2))
    assert torch.equal(made(1), nets["G"](x))
    nets.train()
    assert not torch.equal(made(1), made(2)), "dropout is at work in training"


# ---- routes ------------------------------------------------------------------------------------


def test_routes_are_the_papers() -> None:
    """Equation 1: D is trained to tell pairs apart, G to deceive it. Equation 3: |y - G(x)|."""
    assert route_matrix(Pix2Pix(), networks(), next(batches())) == {
        "discriminator": table("G D", "D | . T"),
        "generator": table(
            "G D",
            """
            adversarial G | T >
            l1            | T .
            """,
        ),
    }


def test_routes_of_what_the_paper_has_not() -> None:
    """The penalty is D's own; features ask G for what D's layers see."""
    method = Pix2Pix(penalty="r1", lambda_feature=10.0, lambda_l1=0.0, pool_size=3)
    assert route_matrix(method, networks(), next(batches())) == {
        "discriminator": table(
            "G D",
            """
            D         | . T
            penalty D | . T
            """,
        ),
        "generator": table(
            "G D",
            """
            adversarial G | T >
            feature G     | T >
            """,
        ),
    }


# ---- what it asks of networks and arguments ----------------------------------------------------


def test_d_judges_the_input_beside_the_picture() -> None:
    """Section 3.1: "both the generator and discriminator observe the input"."""
    asked: dict[str, dict[str, int]] = {}

    def build(section: str, **shape: int) -> nn.Module:
        asked[section] = shape
        return nn.Identity()

    assert set(Pix2Pix().networks(build, {"x": 1, "y": 3})) == {"G", "D"}
    assert asked == {
        "generator": {"in_channels": 1, "out_channels": 3},
        "discriminator": {"in_channels": 1 + 3},
    }


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="lambda_l1 must be 0 or more, not -1"):
        Pix2Pix(lambda_l1=-1.0)
