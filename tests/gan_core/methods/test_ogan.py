"""O-GAN against the author's training in one step and routing tables written by hand."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from unconditional import (
    BATCH,
    SIDE,
    Networks,
    PictureGenerator,
    adam,
    asked,
    at,
    check_noise_falls,
    check_resumed_is_straight,
    check_trained_alike,
    furthest,
    networks,
    pictures,
    rmsprop,
    routes,
    same,
    step_seeds,
    table,
    train,
    trainer,
)

from gan_core import sampling
from gan_core.handicap import Handicap
from gan_core.methods.ogan import OGAN
from gan_core.networks.mlp import Mapping, PointDiscriminator
from gan_core.routing import Step
from gan_core.trainer import Trainer

LATENT, STEPS = 4, 8
CODES = ["correlation", "matrix", "mapping", "squared-code", "squared-picture", "none"]


def encoder(in_channels: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), Mapping(in_channels * SIDE * SIDE, outputs, filters=8, layers=1)
    )


BUILD: dict[str, Callable[..., nn.Module]] = {
    "generator": PictureGenerator,
    "encoder": encoder,
    "head": partial(PointDiscriminator, filters=6, layers=1),
    "code": partial(Mapping, filters=6, layers=1),
}
MATRIX = BUILD | {"code": partial(Mapping, layers=0)}


def ogan(handicap: dict[str, Any] | None = None, **arguments: Any) -> OGAN:
    return OGAN(Handicap(**(handicap or {})), **arguments)


# ---- the author's training, by hand ------------------------------------------------------------


def rho(z: Tensor, code: Tensor) -> Tensor:
    """[B]: sum (z - avg z)(c - avg c) / (n std z std c), deviations over n."""
    a, b = (x - x.mean(1, keepdim=True) for x in (z, code))
    deviations = (a**2).mean(1).sqrt() * (b**2).mean(1).sqrt()
    return (a * b).sum(1) / (z.shape[1] * deviations)


def standardised(code: Tensor) -> Tensor:
    """(c - avg c) / std c, the deviation over n."""
    return (code - code.mean(1, keepdim=True)) / code.std(1, unbiased=False, keepdim=True)


def compare(
    method: OGAN,
    loop: Callable[[Networks, list[int], list[Tensor]], None],
    monkeypatch: pytest.MonkeyPatch,
    build: Any = BUILD,
    maker: Any = rmsprop,
) -> None:
    """``loop`` trains networks on these pictures, each step with the random numbers of a seed."""
    ours, theirs, start, in_turn = (networks(method, build, 1) for _ in range(4))
    seeds = step_seeds(monkeypatch)
    train(trainer(method, ours, maker), pictures(), STEPS)
    used, data = list(seeds), pictures()
    loop(theirs, used, [next(data)["image"] for _ in used])
    check_trained_alike(ours, theirs, start)
    one_by_one = trainer(method, in_turn, maker)
    method.schedule = lambda progress: (Step(method.updates),)  # type: ignore[method-assign]
    train(one_by_one, pictures(), STEPS)
    assert furthest(ours["G"], in_turn["G"]) > 1e-6, "E's step first is another thing"


def test_the_authors_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Low = real there, and one optimiser takes one step for both networks, of one sum of losses.

    What E is to minimise looks at fakes without gradient; in what G is to minimise, E's part is
    taken out by subtracting the same again with G's gradient stopped.
    """

    def loop(nets: Networks, seeds: list[int], reals: list[Tensor]) -> None:
        G, E = nets["G"], nets["E"]
        both = rmsprop([*E.parameters(), *G.parameters()])
        for seed, real in zip(seeds, reals, strict=True):
            sampling.seed(seed)
            z = sampling.normal(BATCH, LATENT, like=real)
            fake = G(z)
            stopped = fake.detach()
            low_real, low_fake, low_stopped = (-E(x).mean(1) for x in (real, fake, stopped))
            t1, t2 = low_real - low_stopped, low_fake - low_stopped
            potential = 0.25 * t1**2 / ((real - stopped) ** 2).mean((1, 2, 3))
            loss = (t1 + t2 - 0.5 * rho(z, E(fake))).mean() + potential.mean()
            both.zero_grad()
            loss.backward()
            both.step()

    compare(ogan(), loop, monkeypatch)


def test_hinge_with_a_network_above_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 3.2, D = T(E(x)), with a gradient penalty; both gradients before either step."""

    def loop(nets: Networks, seeds: list[int], reals: list[Tensor]) -> None:
        G, E, T = nets["G"], nets["E"], nets["T"]
        of_D, of_G = [*E.parameters(), *T.parameters()], list(G.parameters())
        steps = [adam(of_D), adam(of_G)]
        for seed, real in zip(seeds, reals, strict=True):
            sampling.seed(seed)
            z = sampling.normal(BATCH, LATENT, like=real)
            mix = sampling.uniform(BATCH, like=real)[:, None, None, None]
            fake = G(z)
            costs = []
            for place in (mix * real + (1 - mix) * fake).detach():
                x = place[None].requires_grad_()
                (slope,) = torch.autograd.grad(T(E(x)).sum(), x, create_graph=True)
                costs.append(((slope**2).sum().sqrt() - 1) ** 2)
            alike = 0.7 * rho(z, E(fake)).mean()
            judged = (1 - T(E(real))).clamp(min=0).mean() + (1 + T(E(fake))).clamp(min=0).mean()
            judged = judged + 3 * torch.stack(costs).mean() - alike
            deceived = -T(E(fake)).mean() - alike
            found = [
                torch.autograd.grad(judged, of_D, retain_graph=True),
                torch.autograd.grad(deceived, of_G),
            ]
            for parameters, gradients in zip((of_D, of_G), found, strict=True):
                for p, gradient in zip(parameters, gradients, strict=True):
                    p.grad = gradient
            for step in steps:
                step.step()

    method = ogan(
        loss="hinge", penalty="two-sided", lambda_penalty=3.0, head="network", lambda_code=0.7
    )
    compare(method, loop, monkeypatch, maker=adam)


@pytest.mark.parametrize("code", CODES)
def test_ways_to_find_the_code(code: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the original GAN, from z in [-1, 1]; W is E's to train, or G's where G is fed by it."""

    def loop(nets: Networks, seeds: list[int], reals: list[Tensor]) -> None:
        G, E = nets["G"], nets["E"]
        of_D, of_G = list(E.parameters()), list(G.parameters())
        if code in ("matrix", "mapping"):
            W = nets["W"]
            (of_D if code == "matrix" else of_G).extend(W.parameters())
        steps = [adam(of_D), adam(of_G)]
        for seed, real in zip(seeds, reals, strict=True):
            sampling.seed(seed)
            z = sampling.normal(BATCH, LATENT, like=real)
            z = 2 * torch.distributions.Normal(torch.zeros_like(z), 1.0).cdf(z) - 1
            fed = standardised(W(z)) if code == "mapping" else z
            fake = G(fed)
            found = {
                "correlation": lambda z=z, fake=fake: -rho(z, E(fake)),
                "mapping": lambda fed=fed, fake=fake: -rho(fed, E(fake)),
                "matrix": lambda z=z, fake=fake: ((z - E(fake) @ W.layers[0].weight.T) ** 2).sum(1),
                "squared-code": lambda z=z, fake=fake: ((z - E(fake)) ** 2).sum(1),
                "squared-picture": lambda real=real: ((G(E(real)) - real) ** 2).mean((1, 2, 3)),
                "none": lambda: torch.zeros(1, dtype=torch.float64),
            }[code]()
            price = 0.8 * found.mean()
            p_real, p_fake = (torch.sigmoid(E(x).mean(1)) for x in (real, fake))
            judged = -p_real.log().mean() - (1 - p_fake).log().mean() + price
            deceived = -p_fake.log().mean() + price
            gradients = [
                *torch.autograd.grad(judged, of_D, retain_graph=True),
                *torch.autograd.grad(deceived, of_G),
            ]
            for p, gradient in zip([*of_D, *of_G], gradients, strict=True):
                p.grad = gradient
            for step in steps:
                step.step()

    method = ogan(loss="vanilla", penalty="none", code=code, lambda_code=0.8, prior="uniform")
    build = MATRIX if code == "matrix" else BUILD
    compare(method, loop, monkeypatch, build, adam)


def test_terms_and_their_weights() -> None:
    """E and G are given the same term of the code, and lambda weighs it alone."""
    method, weightless = ogan(lambda_code=0.5), ogan(lambda_code=0.0)
    nets, batch = networks(method, BUILD, 1), next(pictures())

    def terms(method: OGAN) -> dict[str, float]:
        sampling.seed(0)
        scene = method.scene(nets, batch)
        losses = [method.losses(update, nets, scene) for update in method.updates]
        return {name: term.item() for of in losses for name, term in of.items()}

    found, without = terms(method), terms(weightless)
    assert found.keys() == {
        "E",
        "penalty E",
        "correlation E",
        "adversarial G",
        "correlation G",
    }
    sampling.seed(0)
    z = sampling.normal(BATCH, LATENT, like=batch["image"])
    expected = -0.5 * rho(z, nets["E"](nets["G"](z))).mean().item()
    assert found["correlation E"] == found["correlation G"] == pytest.approx(expected, rel=1e-12)
    assert without["correlation E"] == without["correlation G"] == 0
    for name in ("E", "penalty E", "adversarial G"):
        assert found[name] == without[name]


def test_fakes_are_shown_with_noise_to_both() -> None:
    """The code is found in what E was shown."""
    method = ogan({"noise": 0.4}, penalty="none", loss="hinge")
    nets, batch = networks(method, BUILD, 1), next(pictures())
    z = torch.randn(BATCH, LATENT, dtype=torch.float64)
    scene = {"real": batch["image"], "code": z, "fake": nets["G"](z)}
    sampling.seed(3)
    found = [method.losses(update, nets, scene) for update in method.updates]
    sampling.seed(3)
    _, of_E, of_G = (0.4 * sampling.normal(*scene["fake"].shape, like=z) for _ in range(3))
    for terms, name, noise in zip(found, "EG", (of_E, of_G), strict=True):
        expected = -0.5 * rho(z, nets["E"](scene["fake"] + noise)).mean().item()
        assert terms[f"correlation {name}"].item() == pytest.approx(expected, rel=1e-12)


# ---- routes ------------------------------------------------------------------------------------

JUDGE, DECEIVE, PENALTY = "E | . T", "adversarial G | T >", "penalty E | . T"


@pytest.mark.parametrize(
    ("arguments", "names", "of_E", "of_G"),
    [
        ({}, "G E", [PENALTY, "correlation E | . T"], ["correlation G | T >"]),
        (
            {"loss": "hinge", "penalty": "r1", "code": "squared-code"},
            "G E",
            [PENALTY, "squared-code E | . T"],
            ["squared-code G | T >"],
        ),
        # D's reconstruction passes through G; in G's turn E's code of a real picture is an input
        (
            {"code": "squared-picture"},
            "G E",
            [PENALTY, "squared-picture E | > T"],
            ["squared-picture G | T ."],
        ),
        ({"code": "none"}, "G E", [PENALTY], []),
        (
            {"head": "network"},
            "G E T",
            [PENALTY + " T", "correlation E | . T ."],
            ["correlation G | T > ."],
        ),
        (
            {"code": "matrix"},
            "G E W",
            [PENALTY + " .", "matrix E | . T T"],
            ["matrix G | T > >"],
        ),
        # W feeds G, and is asked to feed what E can find again
        (
            {"code": "mapping"},
            "G E W",
            [PENALTY + " .", "mapping E | . T ."],
            ["mapping G | T > T"],
        ),
        (
            {"code": "matrix", "head": "network"},
            "G E T W",
            [PENALTY + " T .", "matrix E | . T . T"],
            ["matrix G | T > . >"],
        ),
    ],
    ids=str,
)
def test_routes(arguments: dict[str, Any], names: str, of_E: list[str], of_G: list[str]) -> None:
    method = ogan(**arguments)
    judged, deceived = JUDGE, DECEIVE
    for name in names.split()[2:]:
        judged += " T" if name == "T" else " ."
        deceived += " >" if name == "T" else " T" if arguments["code"] == "mapping" else " ."
    build = MATRIX if arguments.get("code") == "matrix" else BUILD
    nets = networks(method, build, 1)
    assert " ".join(nets) == names
    assert routes(method, nets, next(pictures())) == {
        "encoder": table(names, judged, *of_E),
        "generator": table(names, deceived, *of_G),
    }


# ---- what is trained together ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "judges", "makers", "averaged"),
    [
        ({}, ("E",), ("G",), ("G", "E")),
        ({"head": "network"}, ("E", "T"), ("G",), ("G", "E")),
        ({"code": "matrix"}, ("E", "W"), ("G",), ("G", "E", "W")),
        ({"code": "mapping"}, ("E",), ("G", "W"), ("G", "E", "W")),
    ],
    ids=str,
)
def test_both_step_at_once(
    arguments: dict[str, Any], judges: Any, makers: Any, averaged: tuple[str, ...]
) -> None:
    method = ogan(**arguments)
    (plan,) = method.schedule(at(3))
    check_noise_falls(ogan({"noise": 0.4}, **arguments))
    assert plan.joint
    assert plan.repeats == 1
    assert [u.trains for u in plan.updates] == [judges, makers]
    assert plan.updates == method.updates
    assert tuple(method.averaged) == averaged


def test_networks_are_built_for_the_pictures_and_the_code() -> None:
    sides = {
        "generator": {"out_channels": 3},
        "encoder": {"in_channels": 3, "outputs": LATENT},
    }
    head, code = {"in_channels": LATENT}, {"in_channels": LATENT, "outputs": LATENT}
    assert asked(ogan(), BUILD, 3) == sides
    assert asked(ogan(head="network"), BUILD, 3) == sides | {"head": head}
    assert asked(ogan(code="mapping"), BUILD, 3) == sides | {"code": code}
    both = asked(ogan(head="network", code="matrix"), BUILD, 3)
    assert both == sides | {"head": head, "code": code}


# ---- what it makes -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
def test_what_it_makes(code: Any) -> None:
    method = ogan(code=code, prior="sphere")
    nets, batch = networks(method, BUILD, 1), next(pictures())
    G, E, real = nets["G"], nets["E"], batch["image"]
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    z = z * 2 / (z**2).sum(1, keepdim=True).sqrt()
    fed = standardised(nets["W"](z)) if code == "mapping" else z
    torch.testing.assert_close(method.generate(nets, z), G(fed))
    found = method.encode(nets, real)
    if code == "matrix":
        assert torch.equal(found, nets["W"](E(real)))
    elif code.startswith("squared"):
        assert torch.equal(found, E(real))
    else:  # section 3.3: what correlation leaves open is set as that of z
        torch.testing.assert_close(found.mean(1), torch.zeros(BATCH).double())
        torch.testing.assert_close(found.std(1, unbiased=False), torch.ones(BATCH).double())
        torch.testing.assert_close(rho(found, E(real)), torch.ones(BATCH).double())
    assert torch.equal(method.decode(nets, found), G(found))
    made = method.made(nets, batch, torch.Generator().manual_seed(1))
    assert set(method.grid) == {"image", *(f"made {name}" for name in made)}
    torch.testing.assert_close(made["image"], G(fed))
    assert torch.equal(made["reconstruction"], G(found))


def test_statistics_settle_as_they_are_used() -> None:
    """G's of pictures of fresh z, E's of real ones, each once."""
    method = ogan(code="mapping", prior="uniform")
    nets, batch = networks(method, BUILD, 1), next(pictures())
    seen: dict[str, list[Tensor]] = {"G": [], "E": []}
    for name, inputs in seen.items():
        nets[name].register_forward_pre_hook(lambda net, x, inputs=inputs: inputs.append(x[0]))
    method.settling(nets, batch, torch.Generator().manual_seed(1))
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    (fed,), (real,) = seen["G"], seen["E"]
    torch.testing.assert_close(fed, standardised(nets["W"](torch.erf(z / 2**0.5))))
    assert torch.equal(real, batch["image"])


# ---- state -------------------------------------------------------------------------------------


def test_resumed_training_is_the_same_training() -> None:
    def make(seed: int) -> Trainer:
        method = ogan(
            {"balance": 0.55, "balance_window": 3, "noise": 0.1},
            loss="hinge",
            penalty="two-sided",
            head="network",
            code="matrix",
        )
        nets = networks(method, MATRIX, 1, seed)
        return trainer(method, nets, rmsprop, steps=10, ema_half_life=20.0)

    state = check_resumed_is_straight(make, pictures)
    assert 0 < state["accuracy real"] < 1


def test_the_state_is_the_handicaps() -> None:
    handicap = {"balance": 0.8, "balance_window": 4}
    told, other = ogan(handicap, loss="hinge"), ogan(handicap, loss="hinge")
    told.observe({"accuracy real": 1.0, "accuracy fake": 0.5})
    assert told.handicap.means["accuracy real"] == 0.25
    other.load_state_dict(told.state_dict())
    assert same(other.state_dict(), told.state_dict())


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lambda_code": -0.5}, "lambda_code must be 0 or more, not -0.5"),
        ({"lambda_penalty": -0.5}, "lambda_penalty must be 0 or more, not -0.5"),
        ({"handicap": {"balance": 0.9}}, "balance count scores on the right side"),
    ],
    ids=str,
)
def test_arguments_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ogan(**arguments)
    assert message in str(error.value)
    ogan({"balance": 0.9}, loss="hinge")


@pytest.mark.parametrize("latent", [1, 2])
def test_a_code_too_short_to_correlate_is_refused(latent: int) -> None:
    """Of two numbers, centred and scaled, only a sign is left."""
    short = BUILD | {"generator": partial(PictureGenerator, latent=latent)}
    with pytest.raises(ValueError, match=f"latent must be 3 or more, not {latent}"):
        networks(ogan(), short, 1)
    networks(ogan(), BUILD | {"generator": partial(PictureGenerator, latent=3)}, 1)


@pytest.mark.parametrize("tied", ["encoder", "head"])
def test_batch_norm_goes_with_the_potential_alone(tied: str) -> None:
    """The author's encoder has it; a slope sample by sample has no use for it, in T either."""

    def normed(**shape: Any) -> nn.Module:
        net = BUILD[tied](**shape)
        return nn.Sequential(net, nn.BatchNorm1d(shape.get("outputs", 1)))

    build = BUILD | {tied: normed}
    networks(ogan(head="network"), build, 1)
    for penalty in ("two-sided", "one-sided", "r1"):
        method = ogan(loss="hinge", penalty=penalty, head="network")
        with pytest.raises(ValueError, match="ties the samples of a batch together"):
            networks(method, build, 1)
        networks(method, BUILD, 1)


def test_an_unbounded_critic_is_refused() -> None:
    for arguments in ({"penalty": "none"}, {"lambda_penalty": 0.0}):
        with pytest.raises(ValueError, match="needs a bounded critic"):
            networks(ogan(**arguments), BUILD, 1)
        networks(ogan(loss="hinge", **arguments), BUILD, 1)


# ---- it learns ---------------------------------------------------------------------------------


def test_codes_are_found_again() -> None:
    """E's code of a picture that G made comes to correlate with z, where at first it did not."""
    method = ogan()
    nets, before = networks(method, BUILD, 1), networks(method, BUILD, 1)
    train(trainer(method, nets, partial(torch.optim.Adam, lr=5e-3)), pictures(), 150)
    z = torch.randn(200, LATENT, generator=torch.Generator().manual_seed(1)).double()
    found = [rho(z, n["E"](n["G"](z))).mean().item() for n in (before, nets)]
    assert abs(found[0]) < 0.5
    assert found[1] > 0.8
