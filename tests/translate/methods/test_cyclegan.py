"""CycleGAN against training loops and a routing table written by hand from the paper."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from by_hand import (
    THROUGH,
    TRAINS,
    PaperPool,
    activations,
    distance,
    furthest,
    slope_penalty,
    step_seeds,
    table,
)
from torch import Tensor, nn
from torch.func import functional_call

from gan_core import sampling
from gan_core.blocks.normalisation import Norm
from gan_core.routing import Progress, Step, Update, only_trains, route_matrix, trainable
from gan_core.trainer import Trainer
from translate.methods.cyclegan import DISCRIMINATORS, GENERATORS, CycleGAN
from translate.networks.patch import PatchDiscriminator
from translate.networks.resnet import ResnetGenerator

Pair = dict[str, Tensor]
SIZE, BATCH, STEPS = 8, 2, 5
# A wide eps: biases that a norm takes out again have rounding for a gradient, which Adam enlarges.
LR, ADAM = 2e-3, {"lr": 2e-3, "betas": (0.5, 0.999), "eps": 1e-5}


def networks(
    seed: int = 0, dtype: torch.dtype = torch.float64, gain: float = 0.2, norm: Norm = "instance"
) -> nn.ModuleDict:
    """The paper's networks, very small; wide weights, so that every gradient is felt."""
    torch.manual_seed(seed)
    nets = nn.ModuleDict(
        {
            "G": ResnetGenerator(3, 3, SIZE, filters=4, blocks=1, norm=norm, init_gain=gain),
            "F": ResnetGenerator(3, 3, SIZE, filters=4, blocks=1, norm=norm, init_gain=gain),
            "D_X": PatchDiscriminator(3, SIZE, filters=4, layers=1, init_gain=gain),
            "D_Y": PatchDiscriminator(3, SIZE, filters=4, layers=1, init_gain=gain),
        }
    )
    return nets.to(dtype)


def batches(dtype: torch.dtype = torch.float64) -> Iterator[Pair]:
    generator = torch.Generator().manual_seed(1)
    while True:
        shape = (2, BATCH, 3, SIZE, SIZE)
        x, y = torch.rand(shape, generator=generator, dtype=dtype) * 2 - 1
        yield {"x": x, "y": y}


def optimizers(nets: nn.ModuleDict, updates: tuple[Update, ...]) -> dict[str, Any]:
    return {u.name: torch.optim.Adam(trainable(u, nets), **ADAM) for u in updates}


def trainer(nets: nn.ModuleDict, **arguments: Any) -> Trainer:
    method = CycleGAN(**arguments)
    made = optimizers(nets, method.updates)
    return Trainer(method, nets, made, 100, lambda step, steps: 1.0)


class One(CycleGAN):
    """CycleGAN of which a step does one update only."""

    def __init__(self, update: Update, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.update = update

    def schedule(self, progress: Progress) -> tuple[Step, ...]:
        return (Step((self.update,)),)


# ---- the paper's training, by hand -------------------------------------------------------------


def squared(scores: Tensor, target: float) -> Tensor:
    return ((scores - target) ** 2).mean()


def without_training(net: nn.Module, pictures: Tensor) -> Tensor:
    """The network as a fixed function: gradient reaches the pictures, never the weights."""
    return functional_call(net, {k: p.detach() for k, p in net.named_parameters()}, (pictures,))


def train_by_hand(
    nets: nn.ModuleDict, data: Iterator[Pair], seeds: list[int], cycle_gradient: str
) -> int:
    """The objective of sections 3 and 5.2, trained as in section 4; returns the pools' swaps."""
    G, F, D_X, D_Y = (nets[name] for name in ("G", "F", "D_X", "D_Y"))
    of_generators = torch.optim.Adam([*G.parameters(), *F.parameters()], **ADAM)
    of_judges = torch.optim.Adam([*D_X.parameters(), *D_Y.parameters()], **ADAM)
    pool_x, pool_y = PaperPool(3), PaperPool(3)
    for seed in seeds:
        torch.manual_seed(seed)
        x, y = (lambda batch: (batch["x"], batch["y"]))(next(data))
        fake_y, fake_x = G(x), F(y)
        if cycle_gradient == "both":
            x_again, y_again = F(fake_y), G(fake_x)
        else:
            x_again, y_again = without_training(F, fake_y), without_training(G, fake_x)
        of_generators.zero_grad()
        adversarial = squared(D_Y(fake_y), 1) + squared(D_X(fake_x), 1)
        cycle = distance(x_again, x) + distance(y_again, y)
        identity = distance(G(y), y) + distance(F(x), x)
        (adversarial + 10 * cycle + 0.5 * 10 * identity).backward()
        of_generators.step()
        of_judges.zero_grad()  # what the generators' losses left there
        loss_x = (squared(D_X(x), 1) + squared(D_X(pool_x.show(fake_x)), 0)) / 2
        loss_y = (squared(D_Y(y), 1) + squared(D_Y(pool_y.show(fake_y)), 0)) / 2
        (loss_x + loss_y).backward()
        of_judges.step()
    return pool_x.swaps + pool_y.swaps


@pytest.mark.parametrize("cycle_gradient", ["both", "first"])
def test_training_equals_the_paper_by_hand(
    cycle_gradient: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, start = networks(), networks(), networks()
    seeds = step_seeds(monkeypatch)
    training, data = trainer(ours, cycle_gradient=cycle_gradient, pool_size=3), batches()
    for _ in range(STEPS):
        training.step(data)
    assert len(seeds) == len(set(seeds)) == STEPS
    swaps = train_by_hand(theirs, batches(), seeds, cycle_gradient)
    assert 3 <= swaps <= 2 * (STEPS * BATCH - 3)  # the history took part
    for name in ours:
        assert furthest(start[name], ours[name]) > LR, "it must have moved"
        assert furthest(ours[name], theirs[name]) < 1e-10, name


def test_the_two_cycle_gradients_train_differently() -> None:
    both, first = networks(), networks()
    trainer(both, cycle_gradient="both").step(batches())
    trainer(first, cycle_gradient="first").step(batches())
    assert furthest(both["G"], first["G"]) > LR / 10
    assert furthest(both["F"], first["F"]) > LR / 10
    assert furthest(both["D_X"], first["D_X"]) == 0, "they see the same scene in the first step"


@pytest.mark.parametrize("weight", [0.0, 0.5, 2.0])
def test_identity_is_weighted_relative_to_the_cycle(weight: float) -> None:
    """Section 5.2: weight 0.5 lambda."""
    nets, batch = networks(), next(batches())
    x, y = batch["x"], batch["y"]
    method = CycleGAN(lambda_cycle=4.0, lambda_identity=weight)
    losses = method.losses(GENERATORS, nets, method.scene(nets, batch))
    identity = sum(loss.item() for name, loss in losses.items() if "identity" in name)
    plain = distance(nets["G"](y), y) + distance(nets["F"](x), x)
    assert identity == pytest.approx(4 * weight * plain.item(), abs=1e-12)
    assert ("identity G" in losses) == (weight > 0)


@pytest.mark.parametrize(("norm", "calls"), [("instance", 2), ("batch", 3)])
def test_translation_and_identity_share_a_call_unless_a_norm_ties_them(
    norm: Norm, calls: int
) -> None:
    nets, batch, seen = networks(norm=norm), next(batches()), []
    for name in "GF":
        nets[name].register_forward_pre_hook(lambda net, args: seen.append(len(args[0])))
    scene = CycleGAN().scene(nets, batch)
    assert len(seen) == 2 * calls
    assert sum(seen) == 6 * BATCH
    for made, name, key in (("fake_y", "G", "x"), ("same_y", "G", "y"), ("same_x", "F", "x")):
        torch.testing.assert_close(scene[made], nets[name](batch[key]), rtol=1e-12, atol=1e-12)


def test_terms_that_the_paper_has_not() -> None:
    """The penalty is halved with the rest of D's loss; features are of batches, not of pairs."""
    nets, batch = networks(), next(batches())
    method = CycleGAN(loss="wgan", penalty="two-sided", lambda_penalty=6.0, lambda_feature=3.0)
    scene = method.scene(nets, batch)
    sampling.seed(7)
    judged = method.losses(DISCRIMINATORS, nets, scene)
    asked = method.losses(GENERATORS, nets, scene)
    sampling.seed(7)
    for name, (D, domain, G) in {
        "D_X": (nets["D_X"], "x", "F"),
        "D_Y": (nets["D_Y"], "y", "G"),
    }.items():
        real, fake = batch[domain], scene[f"fake_{domain}"]
        mixes = sampling.uniform(BATCH, like=real)
        cost = slope_penalty(lambda picture, i, D=D: D(picture), real, fake, mixes)
        assert judged[f"penalty {name}"].item() == pytest.approx(3.0 * cost.item(), rel=1e-12)
        means = [[a.mean((0, 2, 3)) for a in activations(D.model, x)] for x in (real, fake)]
        apart = sum(((r - f) ** 2).mean() for r, f in zip(*means, strict=True))
        assert asked[f"feature {G}"].item() == pytest.approx(3.0 * apart.item(), rel=1e-12)


# ---- routes ------------------------------------------------------------------------------------

NAMES = "G F D_X D_Y"

# Section 3: G is to deceive D_Y, F to deceive D_X; both cycles train both generators; each
# discriminator is trained by its own loss alone. Section 5.2: G(y) is to be y, F(x) is to be x.
ADVERSARIAL = """
    adversarial G | T . . >
    adversarial F | . T > .
"""
CYCLE = """
    cycle x       | T T . .
    cycle y       | T T . .
"""
CYCLE_FIRST = """
    cycle x       | T > . .
    cycle y       | > T . .
"""
IDENTITY = """
    identity F    | . T . .
    identity G    | T . . .
"""
JUDGES = """
    D_X           | . . T .
    D_Y           | . . . T
"""


def measured(**arguments: Any) -> dict[str, dict[str, dict[str, str]]]:
    return route_matrix(CycleGAN(**arguments), networks(), next(batches()))  # type: ignore


@pytest.mark.parametrize("identity", [0.5, 0.0])
@pytest.mark.parametrize("cycle_gradient", ["both", "first"])
def test_routes_are_the_papers(cycle_gradient: str, identity: float) -> None:
    cycle = CYCLE if cycle_gradient == "both" else CYCLE_FIRST
    generators = table(NAMES, ADVERSARIAL, cycle)
    if identity:
        generators |= table(NAMES, IDENTITY)
    assert measured(cycle_gradient=cycle_gradient, lambda_identity=identity) == {
        "generator": generators,
        "discriminator": table(NAMES, JUDGES),
    }


def test_routes_of_what_the_paper_has_not() -> None:
    """Penalties are the discriminators' own; features ask a generator for what its judge sees."""
    with_all = measured(penalty="r1", lambda_feature=1.0, lambda_identity=0.0)
    features = """
        feature G     | T . . >
        feature F     | . T > .
    """
    penalties = """
        penalty D_X   | . . T .
        penalty D_Y   | . . . T
    """
    assert with_all == {
        "generator": table(NAMES, ADVERSARIAL, CYCLE, features),
        "discriminator": table(NAMES, JUDGES, penalties),
    }


def test_routings_differ_in_two_cells() -> None:
    both, first = measured(cycle_gradient="both"), measured(cycle_gradient="first")
    differing = {
        (term, name): (both[update][term][name], first[update][term][name])
        for update, terms in both.items()
        for term, cells in terms.items()
        for name in cells
        if both[update][term][name] != first[update][term][name]
    }
    assert differing == {
        ("cycle x", "F"): (TRAINS, THROUGH),
        ("cycle y", "G"): (TRAINS, THROUGH),
    }


def test_measuring_routes_leaves_no_hooks_and_no_freezing() -> None:
    nets = networks()
    route_matrix(CycleGAN(cycle_gradient="first"), nets, next(batches()))
    assert all(p.requires_grad for p in nets.parameters())
    assert not any(net._forward_hooks or net._forward_pre_hooks for net in nets.values())


@pytest.mark.parametrize("cycle_gradient", ["both", "first"])
@pytest.mark.parametrize("update", [GENERATORS, DISCRIMINATORS], ids=lambda update: update.name)
def test_an_update_moves_its_networks_and_no_other(update: Update, cycle_gradient: Any) -> None:
    nets, before = networks(), networks()
    method = One(update, cycle_gradient=cycle_gradient)
    with only_trains([update], nets):
        terms = method.losses(update, nets, method.scene(nets, next(batches())))
        owned = trainable(update, nets)
        reached = torch.autograd.grad(sum(terms.values()), owned, allow_unused=True)
    assert len(owned) == sum(len(list(nets[name].parameters())) for name in update.trains)
    assert all(gradient is not None for gradient in reached)

    made = optimizers(nets, method.updates)
    gradients: dict[str, dict[str, Tensor | None]] = {}
    made[update.name].register_step_pre_hook(
        lambda *_: gradients.update(
            {
                name: {key: p.grad if p.grad is None else p.grad.clone() for key, p in named}
                for name, named in ((n, list(net.named_parameters())) for n, net in nets.items())
            }
        )
    )
    Trainer(method, nets, made, 10, lambda step, steps: 1.0).step(batches())
    for name, net in nets.items():
        if name in update.trains:
            assert all(g is not None for g in gradients[name].values())
            assert any(bool((g != 0).any()) for g in gradients[name].values() if g is not None)
            assert furthest(net, before[name]) > LR / 2
        else:
            assert all(g is None for g in gradients[name].values())
            assert furthest(net, before[name]) == 0
    assert all(p.grad is None for p in nets.parameters()), "nothing is left after a step"


def test_no_buffer_moves() -> None:
    """Instance norm as the paper uses it has no running statistics."""
    assert [name for name, _ in networks().named_buffers()] == []


# ---- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "cycle_gradient", "pool_size"),
    list(itertools.product(["lsgan", "vanilla", "hinge"], ["both", "first"], [0, 3])),
)
def test_every_combination_takes_steps(loss: Any, cycle_gradient: Any, pool_size: int) -> None:
    nets = networks(dtype=torch.float32)
    arguments = {"loss": loss, "cycle_gradient": cycle_gradient, "pool_size": pool_size}
    training = trainer(nets, **arguments)
    data = batches(dtype=torch.float32)
    for _ in range(3):
        logs = training.step(data)
    assert all(math.isfinite(value) for value in logs.values())
    assert all(bool(p.isfinite().all()) for p in nets.parameters())
    assert training.counts["redone"] == training.counts["skipped"] == 0
    for name, net in nets.items():
        assert furthest(net, networks(dtype=torch.float32)[name]) > LR
    assert logs["gradient generator"] > 1e-3
    assert logs["gradient discriminator"] > 1e-3


@pytest.mark.parametrize("key", ["lambda_cycle", "lambda_identity"])
def test_negative_weights_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} = -1"):
        CycleGAN(**{key: -1.0})  # type: ignore[arg-type]


def test_identity_needs_equal_channels() -> None:
    def build(section: str, **shape: int) -> nn.Module:
        made.append((section, shape))
        return nn.Identity()

    made: list[tuple[str, dict[str, int]]] = []
    with pytest.raises(ValueError, match=r"not 1 and 3: set method\.lambda_identity = 0"):
        CycleGAN().networks(build, {"x": 1, "y": 3})
    nets = CycleGAN(lambda_identity=0.0).networks(build, {"x": 1, "y": 3})
    assert list(nets) == ["G", "F", "D_X", "D_Y"]
    assert made == [
        ("generator", {"in_channels": 1, "out_channels": 3}),
        ("generator", {"in_channels": 3, "out_channels": 1}),
        ("discriminator", {"in_channels": 1}),
        ("discriminator", {"in_channels": 3}),
    ]


def test_different_channels_train() -> None:
    nets = networks()
    nets["G"] = ResnetGenerator(1, 3, SIZE, filters=4, blocks=0).double()
    nets["F"] = ResnetGenerator(3, 1, SIZE, filters=4, blocks=0).double()
    nets["D_X"] = PatchDiscriminator(1, SIZE, filters=4, layers=1).double()
    grey = ({"x": b["x"][:, :1], "y": b["y"]} for b in batches())
    logs = trainer(nets, lambda_identity=0.0).step(grey)
    assert all(math.isfinite(value) for value in logs.values())


def test_resumed_training_is_the_same_training() -> None:
    whole, first, second = networks(3), networks(3), networks(4)
    data = batches()
    straight = trainer(whole, pool_size=3)
    for _ in range(4):
        straight.step(data)
    data = batches()
    begun, resumed = trainer(first, pool_size=3), trainer(second, pool_size=3)
    for _ in range(2):
        begun.step(data)
    resumed.load_state_dict(begun.state_dict())
    for _ in range(2):
        resumed.step(data)
    for name in whole:
        assert furthest(whole[name], second[name]) == 0


class Overflowing(CycleGAN):
    """Whose discriminators' losses are not finite in 16 bits in every second step."""

    done = 0

    def observe(self, logs: Any) -> None:
        self.done += 1

    def losses(self, update: Update, nets: Any, scene: Any) -> dict[str, Tensor]:
        terms = super().losses(update, nets, scene)
        if update == DISCRIMINATORS and torch.is_autocast_enabled("cpu") and self.done % 2:
            terms["D_X"] = terms["D_X"] * math.inf
        return terms


def test_a_step_done_again_in_fp32_may_look_into_a_history_of_16_bits() -> None:
    nets, method = networks(dtype=torch.float32), Overflowing(pool_size=1)
    made = optimizers(nets, method.updates)
    training = Trainer(method, nets, made, 100, lambda step, steps: 1.0, precision="bf16")
    one_by_one = ({key: x[:1] for key, x in pair.items()} for pair in batches(torch.float32))
    for _ in range(16):
        training.step(one_by_one)
    assert (training.counts["redone"], training.counts["skipped"]) == (8, 0)
