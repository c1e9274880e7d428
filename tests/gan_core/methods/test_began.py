"""BEGAN against trainings and routing tables written by hand from the paper."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from unconditional import (
    BATCH,
    Networks,
    PictureGenerator,
    adam,
    asked,
    at,
    autoencoder,
    check_noise_falls,
    check_resumed_is_straight,
    check_trained_alike,
    networks,
    pictures,
    routes,
    step_seeds,
    table,
    train,
    trainer,
)

from gan_core import sampling
from gan_core.handicap import Handicap
from gan_core.methods.began import BEGAN
from gan_core.trainer import Trainer

LATENT = 4
BUILD: dict[str, Callable[..., nn.Module]] = {
    "generator": PictureGenerator,
    "discriminator": autoencoder,
}


def began(handicap: dict[str, Any] | None = None, **arguments: Any) -> BEGAN:
    return BEGAN(Handicap(**(handicap or {})), **arguments)


def pale(method: BEGAN, seed: int = 0) -> Networks:
    """G begins with nearly grey pictures, which D rebuilds better than real ones: k rises first."""
    nets = networks(method, BUILD, 1, seed)
    with torch.no_grad():
        for p in nets["G"].parameters():
            p *= 0.1
    return nets


# ---- the paper's training, by hand -------------------------------------------------------------


def error(D: nn.Module, x: Tensor) -> Tensor:
    """L(x) = |x - D(x)|, the mean over numbers and samples (section 3.1, eta = 1)."""
    return (x - D(x)).abs().mean()


@pytest.mark.parametrize(
    ("gamma", "lambda_k", "seen"),
    [(0.5, 0.001, {"between"}), (0.8, 8.0, {"nought", "between", "one"})],
)
@pytest.mark.parametrize("prior", ["uniform", "normal"])
def test_training_equals_the_papers_by_hand(
    gamma: float, lambda_k: float, seen: set[str], prior: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Section 3.3 with one draw of z: k, within [0, 1], follows what D saw; 3.4.1's measure."""
    method = began(gamma=gamma, lambda_k=lambda_k, prior=prior)
    ours, theirs, start = (pale(method) for _ in range(3))
    seeds = step_seeds(monkeypatch)
    logs = train(trainer(method, ours), pictures(), 40)

    G, D, data, k, ks = theirs["G"], theirs["D"], pictures(), 0.0, []
    of_G, of_D = adam(G.parameters()), adam(D.parameters())
    for seed, log in zip(seeds, logs, strict=True):
        real = next(data)["image"]
        sampling.seed(seed)
        z = sampling.normal(BATCH, LATENT, like=real)
        if prior == "uniform":
            z = 2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1
        fake = G(z)
        of_D.zero_grad()
        of_real, of_fake = error(D, real), error(D, fake.detach())
        (of_real - k * of_fake).backward()
        of_D.step()
        of_G.zero_grad()
        error(D, fake).backward()
        of_G.step()
        balance = gamma * of_real.item() - of_fake.item()
        assert log["k"] == pytest.approx(k, rel=1e-9, abs=1e-9)
        assert log["energy D"] == pytest.approx(of_real.item(), rel=1e-9)
        assert log["energy fake D"] == pytest.approx(-k * of_fake.item(), rel=1e-9, abs=1e-12)
        assert log["balance"] == pytest.approx(balance, rel=1e-6, abs=1e-9)
        assert log["measure"] == pytest.approx(of_real.item() + abs(balance), rel=1e-9)
        k = max(0.0, min(1.0, k + lambda_k * balance))
        ks.append("nought" if k == 0 else "one" if k == 1 else "between")
    assert method.k == pytest.approx(k, rel=1e-9, abs=1e-9)
    check_trained_alike(ours, theirs, start)
    assert seen <= set(ks), ks


def test_k_by_hand() -> None:
    method = began(lambda_k=0.1)
    found = []
    for balance in (2.0, 3.0, -1.0, -9.0, 1.0, 30.0, 0.0):
        method.observe({"balance": balance, "energy D": 7.0})
        found.append(method.k)
    assert found == pytest.approx([0.2, 0.5, 0.4, 0.0, 0.1, 1.0, 1.0])
    method.observe({"lr discriminator": 1e-4})
    assert method.k == 1.0, "a step that was skipped says nothing"


def test_the_weight_of_fakes_is_k() -> None:
    method = began()
    nets = networks(method, BUILD, 1)
    scene = {"real": next(pictures(1))["image"], "fake": next(pictures(2))["image"]}
    for k in (0.0, 0.25, 1.0):
        method.k = k
        terms = method.losses(method.updates[0], nets, scene)
        of_fake = error(nets["D"], scene["fake"]).item()
        assert terms["energy fake D"].item() == pytest.approx(-k * of_fake, rel=1e-12)
        figures = {name for name, term in terms.items() if not term.requires_grad}
        assert figures == {"k", "balance", "measure"}
        assert terms["k"].item() == k


# ---- routes and schedule -----------------------------------------------------------------------


@pytest.mark.parametrize("k", [0.0, 0.5])
def test_routes(k: float) -> None:
    method = began()
    method.k = k
    assert routes(method, networks(method, BUILD, 1), next(pictures())) == {
        "discriminator": table("G D", "energy D | . T", "energy fake D | . T"),
        "generator": table("G D", "energy G | T >"),
    }


def test_d_then_g_on_one_batch() -> None:
    (plan,) = began().schedule(at(3))
    check_noise_falls(began({"noise": 0.4}))
    assert [u.trains for u in plan.updates] == [("D",), ("G",)]
    assert not plan.joint
    assert plan.repeats == 1


# ---- what it makes -----------------------------------------------------------------------------


def test_both_networks_are_built_for_the_pictures() -> None:
    assert asked(began(), BUILD, 3) == {
        "generator": {"out_channels": 3},
        "discriminator": {"channels": 3},
    }


def test_what_it_makes() -> None:
    method = began()
    nets, batch = networks(method, BUILD, 1), next(pictures())
    real, D = batch["image"], nets["D"]
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    expected = nets["G"](2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1)
    torch.testing.assert_close(method.generate(nets, z), expected, rtol=1e-6, atol=1e-7)
    code = method.encode(nets, real)
    assert torch.equal(code, D.encode(real))
    assert torch.equal(method.decode(nets, code), D(real))
    made = method.made(nets, batch, torch.Generator().manual_seed(1))
    assert set(method.grid) == {"image", *(f"made {name}" for name in made)}
    assert torch.equal(made["image"], method.generate(nets, z))
    assert torch.equal(made["reconstruction"], D(real))


# ---- state -------------------------------------------------------------------------------------


def test_resumed_training_is_the_same_training() -> None:
    """k is part of it."""

    def make(seed: int) -> Trainer:
        method = began({"noise": 0.1}, gamma=1.0, lambda_k=0.3)
        return trainer(method, pale(method, seed), steps=10, ema_half_life=20.0)

    state = check_resumed_is_straight(make, pictures)
    assert 0 < state["k"] < 1


def test_a_step_done_again_begins_with_its_k() -> None:
    """A batch whose losses are no numbers leaves k where it was."""
    method = began(gamma=1.0, lambda_k=0.3)
    training = trainer(method, pale(method))
    data = pictures()
    train(training, data, 2)
    k = method.k
    assert 0 < k < 1
    broken = {"image": next(data)["image"] * torch.nan}
    training.step(iter([broken]))
    assert training.counts["skipped"] == 1
    assert method.k == k
    train(training, data, 1)
    assert method.k != k


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma must be above 0 and at most 1, lambda_k above 0, not 0.0, 0.001"),
        ({"gamma": 1.1}, "at most 1, lambda_k above 0, not 1.1, 0.001"),
        ({"lambda_k": 0.0}, "lambda_k above 0, not 0.5, 0.0"),
        ({"handicap": {"balance": 0.9}}, "balance count scores on the right side"),
        (
            {"handicap": {"augment": ("colour",), "augment_target": 0.6}},
            "augment_target count scores on the right side",
        ),
    ],
    ids=str,
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        began(**arguments)
    assert message in str(error.value)
    began(gamma=1.0)


# ---- it learns ---------------------------------------------------------------------------------


def test_the_ratio_is_kept() -> None:
    """L(G(z)) comes to gamma L(x), whatever k that takes, and the measure falls."""
    method = began(gamma=0.7, lambda_k=0.5)
    nets = networks(method, BUILD, 1)
    maker = partial(torch.optim.Adam, lr=5e-3, betas=(0.5, 0.9))
    logs = train(trainer(method, nets, maker), pictures(), 100)

    def ratio(logs: list[dict[str, float]]) -> float:
        of_real = [log["energy D"] for log in logs]
        of_fake = [0.7 * log["energy D"] - log["balance"] for log in logs]
        return sum(of_fake) / sum(of_real)

    assert ratio(logs[:10]) > 1
    assert ratio(logs[-50:]) == pytest.approx(0.7, abs=0.1)
    assert logs[-1]["measure"] < 0.8 * logs[0]["measure"]
