"""EBGAN against trainings and routing tables written by hand from the paper."""

from collections.abc import Callable
from itertools import repeat
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from unconditional import (
    BATCH,
    SIDE,
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
from gan_core.methods.ebgan import EBGAN
from gan_core.networks.autoencoder import ConvAutoencoder
from gan_core.trainer import Trainer

LATENT, STEPS = 4, 8
BUILD: dict[str, Callable[..., nn.Module]] = {
    "generator": PictureGenerator,
    "discriminator": autoencoder,
}


def ebgan(handicap: dict[str, Any] | None = None, **arguments: Any) -> EBGAN:
    return EBGAN(Handicap(**(handicap or {})), **({"margin": 2.0} | arguments))


# ---- the paper's training, by hand -------------------------------------------------------------


def energies(kind: str, x: Tensor, rebuilt: Tensor) -> Tensor:
    """[B]: equation 13, and what others take for it."""
    error = (rebuilt - x).reshape(len(x), -1)
    if kind == "norm":
        return (error**2).sum(1) ** 0.5
    return (error**2 if kind == "squared" else error.abs()).sum(1) / error.shape[1]


def pulling(codes: Tensor) -> Tensor:
    """Section 2.4: the mean squared cosine of any two of a batch."""
    pairs = [(a, b) for i, a in enumerate(codes) for j, b in enumerate(codes) if i != j]
    return torch.stack([(a @ b) ** 2 / ((a @ a) * (b @ b)) for a, b in pairs]).mean()


@pytest.mark.parametrize("prior", ["normal", "uniform"])
@pytest.mark.parametrize("pull", [0.0, 0.5])
@pytest.mark.parametrize(
    ("kind", "margin"), [("norm", 2.15), ("squared", 0.27), ("absolute", 0.44)]
)
def test_training_equals_the_papers_by_hand(
    kind: Any, margin: float, pull: float, prior: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equations 1 and 2: D rebuilds reals and not fakes, up to the margin for each; G as D can."""
    method = ebgan(energy=kind, margin=margin, lambda_pull=pull, prior=prior)
    ours, theirs, start = (networks(method, BUILD, 1) for _ in range(3))
    seeds = step_seeds(monkeypatch)
    logs = train(trainer(method, ours), pictures(), STEPS)

    G, D, data, beyond = theirs["G"], theirs["D"], pictures(), []
    of_G, of_D = adam(G.parameters()), adam(D.parameters())
    for seed, log in zip(seeds, logs, strict=True):
        real = next(data)["image"]
        sampling.seed(seed)
        z = sampling.normal(BATCH, LATENT, like=real)
        if prior == "uniform":
            z = 2 * torch.distributions.Normal(0.0, 1.0).cdf(z) - 1
        fake = G(z)
        far = fake.detach()
        of_D.zero_grad()
        of_real, of_fake = energies(kind, real, D(real)), energies(kind, far, D(far))
        beyond += (of_fake > margin).tolist()
        reach = (margin - of_fake).clamp(min=0)
        (of_real.mean() + reach.mean()).backward()
        of_D.step()
        of_G.zero_grad()
        loss = energies(kind, fake, D(fake)).mean()
        if pull:
            apart = pull * pulling(D.encode(fake))
            assert log["pulling away G"] == pytest.approx(apart.item(), rel=1e-9)
            loss = loss + apart
        loss.backward()
        of_G.step()
        assert log["energy D"] == pytest.approx(of_real.mean().item(), rel=1e-9)
        assert log["margin D"] == pytest.approx(reach.mean().item(), rel=1e-9)
        assert ("pulling away G" in log) == (pull > 0)
    check_trained_alike(ours, theirs, start)
    assert 0 < sum(beyond) < len(beyond), "some fakes were beyond the margin, some within"


def test_each_fake_has_a_margin_of_its_own() -> None:
    """One at 3 and one at 1 against 2: half of the second's 1, where their mean would cost 0."""

    class Fixed(nn.Module):
        numbers = 1

        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

    method, nets = ebgan(margin=2.0), {"D": Fixed(), "G": nn.Identity()}
    scene = {"real": torch.zeros(2, 1, 1, 1), "fake": torch.tensor([3.0, 1.0]).reshape(2, 1, 1, 1)}
    terms = method.losses(method.updates[0], nets, scene)
    assert {name: term.item() for name, term in terms.items()} == {"energy D": 0, "margin D": 0.5}


def test_d_is_shown_noise_and_asked_to_rebuild_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The energy is of what D was shown, in its turn and in G's."""
    method = ebgan({"noise": 0.3}, lambda_pull=0.0)
    nets = networks(method, BUILD, 1)
    real, fake = next(pictures(1))["image"], next(pictures(2))["image"]
    sampling.seed(3)
    of_D = method.losses(method.updates[0], nets, {"real": real, "fake": fake})
    of_G = method.losses(method.updates[1], nets, {"real": real, "fake": fake})
    sampling.seed(3)
    shown = [x + 0.3 * sampling.normal(*x.shape, like=x) for x in (real, fake, fake)]
    of_real, of_fake, turn_of_G = (energies("norm", x, nets["D"](x)) for x in shown)
    assert of_D["energy D"].item() == pytest.approx(of_real.mean().item(), rel=1e-12)
    hinge = (2 - of_fake).clamp(min=0).mean().item()
    assert of_D["margin D"].item() == pytest.approx(hinge, rel=1e-12)
    assert of_G["energy G"].item() == pytest.approx(turn_of_G.mean().item(), rel=1e-12)


# ---- routes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pull", [0.0, 0.1])
def test_routes(pull: float) -> None:
    """The pulling-away term is G's alone."""
    method = ebgan(lambda_pull=pull)
    assert routes(method, networks(method, BUILD, 1), next(pictures())) == {
        "discriminator": table("G D", "energy D | . T", "margin D | . T"),
        "generator": table("G D", "energy G | T >", *["pulling away G | T >"] * (pull > 0)),
    }


def test_d_then_g_on_one_batch() -> None:
    (plan,) = ebgan().schedule(at(3))
    check_noise_falls(ebgan({"noise": 0.4}))
    assert [u.trains for u in plan.updates] == [("D",), ("G",)]
    assert not plan.joint
    assert plan.repeats == 1


# ---- what it makes -----------------------------------------------------------------------------


def test_both_networks_are_built_for_the_pictures() -> None:
    assert asked(ebgan(), BUILD, 3) == {
        "generator": {"out_channels": 3},
        "discriminator": {"channels": 3},
    }


def test_what_it_makes() -> None:
    method = ebgan(prior="sphere")
    nets, batch = networks(method, BUILD, 1), next(pictures())
    real, D = batch["image"], nets["D"]
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    expected = nets["G"](z * 2 / (z**2).sum(1, keepdim=True).sqrt())
    torch.testing.assert_close(method.generate(nets, z), expected)
    code = method.encode(nets, real)
    assert torch.equal(code, D.encode(real))
    assert torch.equal(method.decode(nets, code), D(real))
    made = method.made(nets, batch, torch.Generator().manual_seed(1))
    assert set(method.grid) == {"image", *(f"made {name}" for name in made)}
    assert torch.equal(made["image"], method.generate(nets, z))
    assert torch.equal(made["reconstruction"], D(real))


# ---- state -------------------------------------------------------------------------------------


def test_resumed_training_is_the_same_training() -> None:
    def make(seed: int) -> Trainer:
        method = ebgan({"noise": 0.2, "augment": ("translation",)})
        return trainer(method, networks(method, BUILD, 1, seed), steps=10, ema_half_life=20.0)

    check_resumed_is_straight(make, pictures)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 0.0}, "margin must be above 0 and lambda_pull 0 or more, not 0.0, 0.1"),
        ({"margin": -3.0}, "margin must be above 0 and lambda_pull 0 or more, not -3.0, 0.1"),
        ({"lambda_pull": -0.1}, "margin must be above 0 and lambda_pull 0 or more, not 2.0, -0.1"),
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
        ebgan(**arguments)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("kind", "largest"), [("norm", 2 * (3 * SIDE * SIDE) ** 0.5), ("squared", 4), ("absolute", 2)]
)
def test_a_margin_out_of_reach_is_refused(kind: Any, largest: float) -> None:
    """The largest energy is that of white rebuilt as black: 2 in each of a picture's numbers."""
    white = torch.ones(1, 3, SIDE, SIDE, dtype=torch.float64)
    assert energies(kind, white, -white).item() == pytest.approx(largest)
    networks(ebgan(energy=kind, margin=0.999 * largest), BUILD, 3)
    for margin in (largest, 1.5 * largest):
        with pytest.raises(ValueError, match="can never be reached") as error:
            networks(ebgan(energy=kind, margin=margin), BUILD, 3)
        assert f"margin = {margin} " in str(error.value)
        assert repr(kind) in str(error.value)
        assert f"at most {largest:.3g} for pictures of {3 * SIDE * SIDE} numbers" in str(
            error.value
        )


def test_the_margin_is_measured_against_the_real_size() -> None:
    """2 sqrt(3 16 32) = 78.4 for a recipe's network of two squares."""
    build = BUILD | {
        "discriminator": lambda channels: ConvAutoencoder(channels, 16, (1, 2), latent=4, filters=2)
    }
    networks(ebgan(margin=78.0), build, 3)
    with pytest.raises(ValueError, match=r"at most 78\.4 for pictures of 1536 numbers"):
        networks(ebgan(margin=79.0), build, 3)


# ---- it learns ---------------------------------------------------------------------------------


def test_energies_part() -> None:
    """D rebuilds the few pictures that there are far better than at first, and noise as badly."""
    method = ebgan(margin=1.5)
    nets = networks(method, BUILD, 1)
    generator = torch.Generator().manual_seed(1)
    noise = 2 * torch.rand(50, 1, SIDE, SIDE, generator=generator, dtype=torch.float64) - 1
    before = energies("norm", noise, nets["D"](noise)).mean()
    logs = train(trainer(method, nets), repeat(next(pictures())), 150)
    assert logs[-1]["energy D"] < 0.5 * logs[0]["energy D"]
    assert energies("norm", noise, nets["D"](noise)).mean() > 0.9 * before
