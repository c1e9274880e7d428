"""The GAN of two networks against trainings and routing tables written by hand from the papers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from unconditional import (
    BATCH,
    Networks,
    adam,
    asked,
    at,
    check_resumed_is_straight,
    check_trained_alike,
    furthest,
    networks,
    points,
    rmsprop,
    routes,
    step_seeds,
    table,
    train,
    trainer,
)

from gan_core import sampling
from gan_core.handicap import Handicap
from gan_core.methods.gan import GAN
from gan_core.networks.mlp import PointDiscriminator, PointGenerator
from gan_core.trainer import Trainer

LATENT, STEPS = 3, 8
BUILD: dict[str, Callable[..., nn.Module]] = {
    "generator": partial(PointGenerator, latent=LATENT, filters=8, layers=1),
    "discriminator": partial(PointDiscriminator, filters=8, layers=2),
}


def gan(handicap: dict[str, Any] | None = None, **arguments: Any) -> GAN:
    return GAN(Handicap(**(handicap or {})), **arguments)


# ---- the papers' trainings, by hand ------------------------------------------------------------


def scores(D: nn.Module, x: Tensor) -> Tensor:
    """[B]"""
    return D(x)[:, 0]


def slopes(D: nn.Module, places: Tensor) -> Tensor:
    """[B]: ||grad D|| at each place, one after the other."""
    lengths = []
    for place in places.detach():
        x = place.clone().requires_grad_()
        (slope,) = torch.autograd.grad(D(x[None]).sum(), x, create_graph=True)
        lengths.append((slope**2).sum().sqrt())
    return torch.stack(lengths)


@dataclass
class ByHand:
    """Steps of D on batches of their own, then one of G, which looks at the last one's fakes.

    judged, deceived: what D and G minimise, of networks, reals, fakes and the number of the step
    """

    judged: Callable[[Networks, Tensor, Tensor, int], Tensor]
    deceived: Callable[[Networks, Tensor, Tensor, int], Tensor]
    critics: Callable[[int], int] = lambda step: 1
    prior: Callable[[Tensor], Tensor] = lambda z: z
    hold: Callable[[Tensor], Tensor] = lambda w: w
    after: Callable[[], None] = lambda: None

    def train(self, nets: Networks, seeds: list[int], steps: int, maker: Any) -> None:
        G, D, data, left = nets["G"], nets["D"], points(), list(seeds)
        of_G, of_D = maker(G.parameters()), maker(D.parameters())
        for step in range(steps):
            for _ in range(self.critics(step)):
                real = next(data)["image"]
                sampling.seed(left.pop(0))
                fake = G(self.prior(sampling.normal(BATCH, LATENT, like=real)))
                of_D.zero_grad()  # what G's loss left there
                self.judged(nets, real, fake.detach(), step).backward()
                of_D.step()
                for w in D.parameters():
                    w.data = self.hold(w.data)
            of_G.zero_grad()
            self.deceived(nets, real, fake, step).backward()
            of_G.step()
            self.after()
        assert left == []


def compare(
    method: GAN,
    hand: ByHand,
    monkeypatch: pytest.MonkeyPatch,
    steps: int = STEPS,
    maker: Any = adam,
) -> Networks:
    ours, theirs, start = (networks(method, BUILD, 2) for _ in range(3))
    seeds = step_seeds(monkeypatch)
    train(trainer(method, ours, maker, steps=10), points(), steps)
    assert len(seeds) == len(set(seeds)) == sum(map(hand.critics, range(steps)))
    hand.train(theirs, seeds, steps, maker)
    check_trained_alike(ours, theirs, start)
    return ours


def wasserstein(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
    return scores(nets["D"], fake).mean() - scores(nets["D"], real).mean()


def critical(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
    return -scores(nets["D"], fake).mean()


def cross_entropy(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
    """Goodfellow et al. 2014, equation 1."""
    of_real, of_fake = (torch.sigmoid(scores(nets["D"], x)) for x in (real, fake))
    return -of_real.log().mean() - (1 - of_fake).log().mean()


def non_saturating(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
    return -torch.sigmoid(scores(nets["D"], fake)).log().mean()


def test_the_original_gan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm 1 with k = 2, and G's loss of section 3; of equation 1 with loss = "saturating"."""
    hand = ByHand(cross_entropy, non_saturating, critics=lambda step: 2)
    compare(gan(discriminator_steps=2), hand, monkeypatch)

    def equation_1(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        return (1 - torch.sigmoid(scores(nets["D"], fake))).log().mean()

    hand = ByHand(cross_entropy, equation_1)
    compare(gan(loss="saturating"), hand, monkeypatch)


@pytest.mark.parametrize("constraint", ["clip", "norm-clip"])
def test_the_wasserstein_gan(constraint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm 1: RMSprop, weights clipped after each of several critic steps; the code's bursts.

    They end after 25 steps.
    """
    bound = {"clip": 0.05, "norm-clip": 0.8}[constraint]

    def hold(w: Tensor) -> Tensor:
        if constraint == "clip":
            return torch.where(w > bound, bound, torch.where(w < -bound, -bound, w))
        return w * min(1.0, bound / max(w.square().sum().sqrt().item(), 1e-300))

    hand = ByHand(wasserstein, critical, lambda step: 3 if step < 25 else 2, hold=hold)
    method = gan(loss="wgan", constraint=constraint, clip=bound, discriminator_steps=2, burst=3)
    trained = compare(method, hand, monkeypatch, steps=28, maker=rmsprop)
    if constraint == "clip":
        edge = [p.abs().max().item() for p in trained["D"].parameters()]
        assert max(edge) == bound
    else:
        edge = [p.norm().item() for p in trained["D"].parameters()]
        assert max(edge) == pytest.approx(bound, rel=1e-12)
    assert max(p.abs().max().item() for p in trained["G"].parameters()) > bound, "G is free"


@pytest.mark.parametrize("penalty", ["two-sided", "one-sided"])
@pytest.mark.parametrize("target", [1.0, 0.5])
def test_the_wasserstein_gan_with_gradient_penalty(
    penalty: Any, target: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gulrajani et al. 2017, algorithm 1; the mixing weights are drawn after z."""
    steep = []

    def judged(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        mix = sampling.uniform(BATCH, like=real)[:, None]
        excess = slopes(nets["D"], mix * real + (1 - mix) * fake) / target - 1
        steep.extend((excess > 0).tolist())
        if penalty == "one-sided":
            excess = excess.clamp(min=0)
        return wasserstein(nets, real, fake, step) + 7 * (excess**2).mean()

    hand = ByHand(judged, critical, critics=lambda step: 3)
    method = gan(
        loss="wgan",
        penalty=penalty,
        lambda_penalty=7.0,
        penalty_target=target,
        discriminator_steps=3,
    )
    compare(method, hand, monkeypatch)
    assert 0 < sum(steep) < len(steep), "both sides of the target were seen"


def test_hinge_with_a_lazy_penalty_and_drift(monkeypatch: pytest.MonkeyPatch) -> None:
    """r1 at steps 0, 3, 6, three times as strong, in each of D's steps; drift at all of them."""

    def judged(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        of_real, of_fake = scores(nets["D"], real), scores(nets["D"], fake)
        loss = (1 - of_real).clamp(min=0).mean() + (1 + of_fake).clamp(min=0).mean()
        loss = loss + 0.1 * (of_real**2).mean()
        if step in (0, 3, 6):
            loss = loss + 3 * 0.4 * (slopes(nets["D"], real) ** 2).mean() / 2
        return loss

    method = gan(
        loss="hinge",
        penalty="r1",
        lambda_penalty=0.4,
        penalty_every=3,
        lambda_drift=0.1,
        discriminator_steps=2,
    )
    compare(method, ByHand(judged, critical, lambda step: 2), monkeypatch)


def test_least_squares_with_all_that_g_may_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean features and orthogonal weights, from a prior on the sphere."""

    def judged(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        of_real, of_fake = scores(nets["D"], real), scores(nets["D"], fake)
        return ((of_real - 1) ** 2).mean() + (of_fake**2).mean()

    def deceived(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        loss = ((scores(nets["D"], fake) - 1) ** 2).mean()
        seen, made = real, fake
        for stage in nets["D"].stages:
            seen, made = stage(seen), stage(made)
            loss = loss + 2 * ((seen.mean(0) - made.mean(0)) ** 2).mean()
        for layer in nets["G"].modules():
            if isinstance(layer, nn.Linear):
                rows = layer.weight @ layer.weight.T
                apart = (rows * (1 - torch.eye(len(rows)))) ** 2
                loss = loss + 0.05 * apart.sum()
        return loss

    def sphere(z: Tensor) -> Tensor:
        return z * (LATENT / (z**2).sum(1, keepdim=True)).sqrt()

    method = gan(loss="lsgan", lambda_feature=2.0, lambda_orthogonal=0.05, prior="sphere")
    compare(method, ByHand(judged, deceived, prior=sphere), monkeypatch)


@pytest.mark.parametrize("noise_on", ["both", "real"])
def test_instance_noise(noise_on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of deviation 0.5 at first and of none from the sixth of ten steps on; drawn anew for G.

    Beside a potential of the pictures as they were shown.
    """

    def noisy(x: Tensor, step: int) -> Tensor:
        level = 0.5 * (1 - step / 6)
        return x + level * sampling.normal(*x.shape, like=x) if level > 0 else x

    def judged(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        real = noisy(real, step)
        if noise_on == "both":
            fake = noisy(fake, step)
        rise = scores(nets["D"], real) - scores(nets["D"], fake)
        potential = (rise**2 / ((real - fake) ** 2).mean(1)).mean()
        return cross_entropy(nets, real, fake, step) + 0.3 * potential

    def deceived(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        if noise_on == "both":
            # after what judged drew, and the mixing weights, which every penalty is given
            sampling.uniform(BATCH, like=real)
            fake = noisy(fake, step)
        return non_saturating(nets, real, fake, step)

    handicap = {"noise": 0.5, "noise_until": 0.6, "noise_on": noise_on}
    method = gan(handicap, penalty="quadratic", lambda_penalty=0.3)
    compare(method, ByHand(judged, deceived), monkeypatch, steps=10)


def test_a_gate_on_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose mean accuracy, over about 2 steps, is 0.55 or more is not trained on.

    The mean is told of a step's last batch, and D's optimiser takes its step all the same.
    """
    means, fresh, open_for = {"real": 0.0, "fake": 0.0}, {}, []

    def judged(nets: Networks, real: Tensor, fake: Tensor, step: int) -> Tensor:
        of_real, of_fake = scores(nets["D"], real), scores(nets["D"], fake)
        fresh["real"] = (of_real > 0).double().mean().item()
        fresh["fake"] = (of_fake < 0).double().mean().item()
        weights = {name: float(mean < 0.55) for name, mean in means.items()}
        open_for.append(tuple(weights.values()))
        on_real = -torch.sigmoid(of_real).log().mean()
        on_fake = -(1 - torch.sigmoid(of_fake)).log().mean()
        return weights["real"] * on_real + weights["fake"] * on_fake

    def after() -> None:
        for name in means:
            means[name] += (fresh[name] - means[name]) / 2

    hand = ByHand(judged, non_saturating, lambda step: 2, after=after)
    method = gan({"balance": 0.55, "balance_window": 2}, discriminator_steps=2)
    maker = partial(torch.optim.Adam, lr=0.05, betas=(0.5, 0.9))
    compare(method, hand, monkeypatch, steps=30, maker=maker)
    assert {(1, 1), (0, 1), (1, 0)} <= set(open_for), "the gate was seen open and closed for each"


# ---- schedules ---------------------------------------------------------------------------------


def counted(method: GAN, step: int) -> list[str]:
    """Names of the step's updates in order."""
    return [
        update.name
        for plan in method.schedule(at(step))
        for _ in range(plan.repeats)
        for update in plan.updates
    ]


@pytest.mark.parametrize("constraint", ["none", "clip"])
@pytest.mark.parametrize(("burst", "usual"), [(100, 5), (0, 5), (0, 1), (3, 1), (1, 2)])
def test_critic_steps(burst: int, usual: int, constraint: Any) -> None:
    """100 in the first 25 steps and in every 500th, as in Arjovsky et al.'s code, else 5."""
    method = gan(
        loss="wgan",
        penalty="two-sided",
        burst=burst,
        discriminator_steps=usual,
        constraint=constraint,
    )
    for step in (0, 1, 24, 25, 26, 50, 100, 250, 499, 500, 501, 999, 1000, 1001, 99_500):
        often = burst if burst and (step < 25 or step in (500, 1000, 99_500)) else usual
        assert counted(method, step) == ["discriminator"] * often + ["generator"], step


@pytest.mark.parametrize("every", [1, 2, 5])
def test_a_lazy_penalty_keeps_its_mean(every: int) -> None:
    """Once in ``every`` steps, so many times as strong."""
    lazy = gan(penalty="r1", penalty_every=every)
    eager, nets, batch = gan(penalty="r1"), networks(lazy, BUILD, 2), next(points())

    def terms(method: GAN, step: int) -> dict[str, float]:
        method.schedule(at(step))
        sampling.seed(0)
        found = method.losses(method.updates[0], nets, method.scene(nets, batch))
        return {name: term.item() for name, term in found.items()}

    usual = terms(eager, 0)
    for step in range(11):
        found = terms(lazy, step)
        assert found["D"] == usual["D"]
        if step % every == 0:
            assert found["penalty D"] == pytest.approx(every * usual["penalty D"], rel=1e-12)
        else:
            assert list(found) == ["D"]


def test_one_optimiser_for_each_update_whatever_the_schedule() -> None:
    for arguments in ({}, {"constraint": "clip"}, {"burst": 3, "discriminator_steps": 2}):
        method = gan(**arguments)
        assert [u.name for u in method.updates] == ["discriminator", "generator"]
        assert [u.trains for u in method.updates] == [("D",), ("G",)]
        assert {u for plan in method.schedule(at(0)) for u in plan.updates} == set(method.updates)


# ---- routes ------------------------------------------------------------------------------------

JUDGE, DECEIVE = "D | . T", "adversarial G | T >"


@pytest.mark.parametrize(
    ("arguments", "of_D", "of_G"),
    [
        ({}, [JUDGE], [DECEIVE]),
        ({"loss": "wgan", "constraint": "clip", "burst": 100}, [JUDGE], [DECEIVE]),
        ({"loss": "hinge", "penalty": "r1"}, [JUDGE, "penalty D | . T"], [DECEIVE]),
        ({"loss": "wgan", "penalty": "two-sided"}, [JUDGE, "penalty D | . T"], [DECEIVE]),
        ({"loss": "wgan", "penalty": "quadratic"}, [JUDGE, "penalty D | . T"], [DECEIVE]),
        ({"lambda_drift": 0.001}, [JUDGE, "drift D | . T"], [DECEIVE]),
        (
            {"lambda_feature": 1.0, "lambda_orthogonal": 1e-4},
            [JUDGE],
            [DECEIVE, "feature G | T >", "orthogonal G | T ."],
        ),
        ({"handicap": {"balance": 0.9, "noise": 0.1}}, [JUDGE], [DECEIVE]),  # figures are no terms
    ],
    ids=str,
)
def test_routes(arguments: dict[str, Any], of_D: list[str], of_G: list[str]) -> None:
    method = gan(**arguments)
    assert routes(method, networks(method, BUILD, 2), next(points())) == {
        "discriminator": table("G D", *of_D),
        "generator": table("G D", *of_G),
    }


# ---- what it makes -----------------------------------------------------------------------------


def test_both_networks_are_built_for_the_pictures() -> None:
    assert asked(gan(), BUILD, 3) == {
        "generator": {"out_channels": 3},
        "discriminator": {"in_channels": 3},
    }


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_samples_are_drawn_from_the_prior(prior: Any) -> None:
    method = gan(prior=prior)
    nets, batch = networks(method, BUILD, 2), next(points())
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    drawn = {
        "normal": z,
        "uniform": 2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1,
        "sphere": z * math.sqrt(LATENT) / (z**2).sum(1, keepdim=True).sqrt(),
    }[prior]
    expected = nets["G"](drawn)
    torch.testing.assert_close(method.generate(nets, z), expected, rtol=1e-6, atol=1e-7)
    made = method.made(nets, batch, torch.Generator().manual_seed(1))
    assert list(made) == ["image"]
    assert torch.equal(made["image"], method.generate(nets, z))
    assert {f"made {name}" for name in made} < set(method.grid)
    sampling.seed(4)
    fake = method.scene(nets, batch)["fake"]
    sampling.seed(4)
    assert torch.equal(fake, method.generate(nets, sampling.normal(BATCH, LATENT, like=z)))


# ---- state -------------------------------------------------------------------------------------


def test_resumed_training_is_the_same_training() -> None:
    """With all that changes: the gate's means, falling noise, bursts, lazy penalties, u and v."""
    build = BUILD | {
        "discriminator": partial(PointDiscriminator, filters=8, layers=2, weights="spectral")
    }

    def make(seed: int) -> Trainer:
        method = gan(
            {"balance": 0.55, "balance_window": 3, "noise": 0.2},
            penalty="two-sided",
            penalty_every=2,
            discriminator_steps=2,
            burst=3,
        )
        return trainer(method, networks(method, build, 2, seed), steps=30, ema_half_life=20.0)

    state = check_resumed_is_straight(make, points, steps=26)
    assert 0 < state["accuracy real"] < 1


def test_the_state_is_the_handicaps() -> None:
    handicap = {"balance": 0.8, "balance_window": 4}
    told, other = gan(handicap), gan(handicap)
    told.observe({"accuracy real": 1.0, "accuracy fake": 0.5, "D": 3.0})
    assert told.handicap.means["accuracy real"] == 0.25
    other.load_state_dict(told.state_dict())
    assert other.state_dict() == told.state_dict()
    assert other.handicap.means == told.handicap.means


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"penalty_every": 0}, "must be 1 or more and burst 0 or more, not 0, 1, 0"),
        ({"discriminator_steps": 0}, "must be 1 or more and burst 0 or more, not 1, 0, 0"),
        ({"burst": -1}, "must be 1 or more and burst 0 or more, not 1, 1, -1"),
        ({"clip": 0.0}, "clip must be above 0 and lambda_orthogonal 0 or more, not 0.0, 0.0"),
        ({"lambda_orthogonal": -1.0}, "lambda_orthogonal 0 or more, not 0.01, -1.0"),
        ({"lambda_penalty": -1.0}, "lambda_penalty must be 0 or more, not -1.0"),
        (
            {"loss": "wgan", "penalty": "two-sided", "handicap": {"balance": 0.9}},
            "balance count scores on the right side of a boundary, and this system's scores have",
        ),
    ],
    ids=str,
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        gan(**arguments)
    assert message in str(error.value)


def test_networks_that_are_refused() -> None:
    def batch_normed(in_channels: int) -> nn.Module:
        return nn.Sequential(nn.Linear(in_channels, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

    tied = BUILD | {"discriminator": batch_normed}
    networks(gan(), tied, 2)
    with pytest.raises(ValueError, match="set norm = 'layer' or 'instance'"):
        networks(gan(penalty="two-sided"), tied, 2)
    networks(gan(penalty="quadratic"), tied, 2)
    with pytest.raises(ValueError, match="needs a bounded critic: set penalty = 'two-sided'"):
        networks(gan(loss="wgan"), BUILD, 2)
    for weights in ("spectral", "normalised"):
        held = BUILD | {"discriminator": partial(PointDiscriminator, filters=4, weights=weights)}
        networks(gan(loss="wgan"), held, 2)
    for arguments in ({"constraint": "clip"}, {"penalty": "r1"}):
        networks(gan(loss="wgan", **arguments), BUILD, 2)


# ---- it learns ---------------------------------------------------------------------------------


def test_a_point_is_found() -> None:
    """All reals are (1, -1): what G makes of any z ends there."""
    method = gan(loss="wgan", penalty="two-sided", lambda_penalty=1.0)
    nets = networks(method, BUILD, 2)
    real = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(BATCH, 2)
    before = networks(method, BUILD, 2)
    training = trainer(method, nets, partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9)))
    train(training, iter(lambda: {"image": real}, None), 240)
    z = torch.randn(50, LATENT, generator=torch.Generator().manual_seed(1)).double()

    def off(nets: Networks) -> float:
        return (method.generate(nets, z) - real[:1]).norm(dim=1).mean().item()

    assert off(before) > 1
    assert off(nets) < 0.3
    assert furthest(before["D"], nets["D"]) > 0
