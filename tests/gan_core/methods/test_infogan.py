"""The GAN with codes: trainings and routing tables by hand, and any judge, loss and penalty."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from unconditional import (
    BATCH,
    Networks,
    adam,
    asked,
    check_resumed_is_straight,
    check_trained_alike,
    furthest,
    networks,
    pictures,
    points,
    routes,
    step_seeds,
    table,
    train,
    trainer,
)

from gan_core import sampling
from gan_core.handicap import Handicap
from gan_core.information import Information
from gan_core.methods.gan import GAN
from gan_core.networks.codes import CodeHead
from gan_core.networks.mlp import PointDiscriminator, PointGenerator
from gan_core.routing import Step
from gan_core.trainer import Trainer

LATENT = 8  # 1 of noise, categories of 3 and 2, two continuous codes
CODES: dict[str, Any] = {"categories": (3, 2), "continuous": 2}
BUILD: dict[str, Callable[..., nn.Module]] = {
    "generator": partial(PointGenerator, latent=LATENT, filters=8, layers=1),
    "discriminator": partial(PointDiscriminator, filters=8, layers=2),
    "codes": partial(CodeHead, hidden=6),
}


def infogan(codes: dict[str, Any] | None = None, **arguments: Any) -> GAN:
    handicap = Handicap(**arguments.pop("handicap", {}))
    return GAN(handicap, Information(**(CODES | (codes or {}))), **arguments)


# ---- a training by hand ------------------------------------------------------------------------


def fed_by_hand(normal: Tensor) -> Tensor:
    rows = []
    for n in normal:
        first, second = torch.zeros(3).double(), torch.zeros(2).double()
        first[n[1:4].argmax()] = 1
        second[n[4:6].argmax()] = 1
        values = 2 * torch.distributions.Normal(0.0, 1.0).cdf(n[6:]) - 1
        rows.append(torch.cat([n[:1], first, second, values]))
    return torch.stack(rows)


def guesses(nets: Networks, fake: Tensor) -> Tensor:
    """Chen et al.'s Q: a hidden layer with batch norm on D's last hidden one."""
    h = fake
    for stage in nets["D"].stages:
        h = stage(h)
    _, first, norm, _, last = nets["Q"].groups[0]
    h = h @ first.weight.T
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
    return torch.where(h > 0, h, 0.1 * h) @ last.weight.T + last.bias


def unlikely(nets: Networks, fake: Tensor, z: Tensor) -> Tensor:
    """0.7 and 0.3 times -log Q of the categories and of the rest, means over samples."""
    told = guesses(nets, fake)
    kinds = 0.0
    for start, end in ((0, 3), (3, 5)):
        shares = torch.softmax(told[:, start:end], 1)
        kinds = kinds - (shares * z[:, 1 + start : 1 + end]).sum(1).log().mean()
    normal = torch.distributions.Normal(told[:, 5:], torch.ones(BATCH, 2).double())
    return 0.7 * kinds - 0.3 * normal.log_prob(z[:, 6:]).sum(1).mean()


def test_the_original_infogan(monkeypatch: pytest.MonkeyPatch) -> None:
    """D and Q take one step, then G; each with both of the codes' terms."""
    method = infogan({"lambda_category": 0.7, "lambda_continuous": 0.3})
    ours, theirs, start = (networks(method, BUILD, 2) for _ in range(3))
    seeds = step_seeds(monkeypatch)
    train(trainer(method, ours), points(), 4)
    G, D, Q, data = theirs["G"], theirs["D"], theirs["Q"], points()
    of_D, of_G = adam([*D.parameters(), *Q.parameters()]), adam(G.parameters())
    assert len(seeds) == 4
    for seed in seeds:
        real = next(data)["image"]
        sampling.seed(seed)
        z = fed_by_hand(sampling.normal(BATCH, LATENT, like=real))
        fake = G(z)
        of_D.zero_grad()
        p_real, p_fake = torch.sigmoid(D(real)), torch.sigmoid(D(fake.detach()))
        judged = -p_real.log().mean() - (1 - p_fake).log().mean()
        (judged + unlikely(theirs, fake.detach(), z)).backward()
        of_D.step()
        of_G.zero_grad()
        deceived = -torch.sigmoid(D(fake)).log().mean()
        (deceived + unlikely(theirs, fake, z)).backward()
        of_G.step()
    check_trained_alike(ours, theirs, start)


# ---- routes ------------------------------------------------------------------------------------

JUDGE, DECEIVE = "D | . T .", "adversarial G | T > ."
OF_D = ["category D | . T T", "continuous D | . T T"]
OF_G = ["category G | T > >", "continuous G | T > >"]


@pytest.mark.parametrize(
    ("arguments", "of_D", "of_G"),
    [
        ({}, OF_D, OF_G),
        ({"codes": {"continuous": 0}}, OF_D[:1], OF_G[:1]),
        ({"loss": "wgan", "penalty": "two-sided"}, ["penalty D | . T .", *OF_D], OF_G),
        ({"lambda_drift": 0.1}, ["drift D | . T .", *OF_D], OF_G),
        (
            {"lambda_feature": 1.0, "lambda_orthogonal": 1e-4},
            OF_D,
            ["feature G | T > .", "orthogonal G | T . .", *OF_G],
        ),
        ({"handicap": {"balance": 0.9, "noise": 0.1}}, OF_D, OF_G),
    ],
    ids=str,
)
def test_routes(arguments: dict[str, Any], of_D: list[str], of_G: list[str]) -> None:
    method = infogan(**arguments)
    assert routes(method, networks(method, BUILD, 2), next(points())) == {
        "discriminator": table("G D Q", JUDGE, *of_D),
        "generator": table("G D Q", DECEIVE, *of_G),
    }


def test_q_moves_with_d_alone() -> None:
    for number, expected in enumerate(({"D", "Q"}, {"G"})):
        method = infogan()
        nets, before = networks(method, BUILD, 2), networks(method, BUILD, 2)
        plan = (Step((method.updates[number],)),)
        method.schedule = lambda progress, plan=plan: plan  # type: ignore[method-assign]
        train(trainer(method, nets), points(), 1)
        assert {name for name in nets if furthest(nets[name], before[name]) > 0} == expected


# ---- beside all else ---------------------------------------------------------------------------


def terms_of(method: GAN, nets: Networks, number: int) -> dict[str, float]:
    sampling.seed(0)
    scene = method.scene(nets, next(points()))
    found = method.losses(method.updates[number], nets, scene)
    return {name: term.item() for name, term in found.items()}


def test_codes_are_guessed_from_fakes_and_leave_the_other_terms_alone() -> None:
    """Whatever else D is asked, in either turn."""
    plain = infogan()
    nets = networks(plain, BUILD, 2)
    every: dict[str, Any] = {"lambda_feature": 1.0, "penalty": "quadratic", "lambda_drift": 0.1}
    for number, name in enumerate("DG"):
        expected, found = terms_of(plain, nets, number), terms_of(infogan(**every), nets, number)
        for kind in ("category", "continuous", "information"):
            assert found[f"{kind} {name}"] == expected[f"{kind} {name}"]
    sampling.seed(0)
    scene = plain.scene(nets, batch := next(points()))
    sampling.seed(0)
    z = fed_by_hand(sampling.normal(BATCH, LATENT, like=batch["image"]))
    torch.testing.assert_close(scene["z"], z)
    for number in (0, 1):
        without = GAN(Handicap(), **every).losses(plain.updates[number], nets, scene)
        with_codes = infogan(**every).losses(plain.updates[number], nets, scene)
        assert without.keys() < with_codes.keys()
        assert all(with_codes[name].item() == term.item() for name, term in without.items())


def test_one_power_iteration_to_a_step_all_the_same() -> None:
    judge = partial(PointDiscriminator, filters=8, layers=2, weights="spectral")
    states = []
    for method in (infogan(), GAN(Handicap())):
        nets = networks(method, BUILD | {"discriminator": judge}, 2)
        scene = infogan().scene(nets, next(points()))
        method.losses(method.updates[0], nets, scene)
        states.append(dict(nets["D"].named_buffers()))
    for name, u in states[0].items():
        assert torch.equal(u, states[1][name]), name


def test_without_codes_nothing_is_different() -> None:
    """The default part is no part: the same networks, numbers and terms."""
    plain, told = GAN(Handicap()), GAN(Handicap(), Information(lambda_category=3.0))
    ours, theirs = networks(plain, BUILD, 2), networks(told, BUILD, 2)
    assert set(ours) == {"G", "D"}
    assert plain.updates == told.updates
    logs = [
        train(trainer(method, nets), points(), 3)
        for method, nets in ((plain, ours), (told, theirs))
    ]
    assert logs[0] == logs[1]
    assert plain.codes == ()


# ---- levels ------------------------------------------------------------------------------------


class Levels(nn.Module):
    """A generator of 2 x 2 and 4 x 4 pictures that need not agree."""

    grows: ClassVar[bool] = True

    def __init__(self, out_channels: int) -> None:
        super().__init__()
        self.latent = 4
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(4, out_channels * n * n), nn.Unflatten(1, (out_channels, n, n)))
            for n in (2, 4)
        )

    def forward(self, z: Tensor, levels: bool = False) -> Any:
        made = [layer(z) for layer in self.layers]
        return made if levels else made[-1]


class Flat(nn.Module):
    """Scores of pictures, from their numbers."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(in_channels * 16, 1)

    def forward(self, x: Tensor, features: bool = False) -> Any:
        seen = [2 * x, self.score(x.flatten(1))]
        return seen if features else seen[-1]


LEVELS = {"generator": Levels, "discriminator": Flat, "codes": BUILD["codes"]}


@pytest.mark.parametrize("continuous", [2, 0])
def test_levels_of_a_picture_are_to_agree(continuous: int) -> None:
    codes = {"categories": (), "continuous": continuous, "lambda_consistency": 300.0}
    method = infogan(codes)
    nets, batch = networks(method, LEVELS, 1), next(pictures())
    names, dot, route = ("G D Q", " .", ["continuous G | T > >"]) if continuous else ("G D", "", [])
    term = f"consistency G | T .{dot}"
    found = routes(method, networks(method, LEVELS, 1), batch)
    assert found["generator"] == table(names, f"adversarial G | T >{dot}", term, *route)
    assert not any(name.startswith("consistency") for name in found["discriminator"])
    scene = method.scene(nets, batch)
    coarse, fine = (layer(scene["z"]) for layer in nets["G"].layers)
    assert torch.equal(scene["fake"], fine)
    blocks = fine.reshape(BATCH, 1, 2, 2, 2, 2).mean((3, 5))
    terms = method.losses(method.updates[1], nets, scene)
    expected = 300 * ((blocks - coarse) ** 2).mean().item()
    assert terms["consistency G"].item() == pytest.approx(expected, rel=1e-10)


# ---- what is built and made --------------------------------------------------------------------


def test_q_is_built_for_what_d_sees() -> None:
    told = asked(infogan({"continuous": 3}), BUILD, 3)
    shape = {"activations": ((8,), (8,)), "outputs": (8,), "scales": ()}
    assert told["codes"] == shape
    codes = {"categories": (), "continuous": 1, "code_scales": (4,)}
    told = asked(infogan(codes), LEVELS, 1)
    assert told["codes"] == {"activations": ((1, 4, 4),), "outputs": (1,), "scales": (4,)}


def test_looking_at_what_d_sees_changes_neither_network() -> None:
    """Spectral norms' iterations and batch norms' statistics are as they were built."""
    judge = partial(PointDiscriminator, filters=8, layers=2, weights="spectral")
    build = BUILD | {"discriminator": judge}
    nets, plain = networks(infogan(), build, 2), networks(GAN(Handicap()), build, 2)
    for name in "GD":
        ours, theirs = nets[name].state_dict(), plain[name].state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
        assert all(value.device.type == "cpu" for value in ours.values())


def test_samples_are_drawn_with_codes() -> None:
    method = infogan(prior="uniform")
    nets = networks(method, BUILD, 2)
    normal = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1)).double()
    z = fed_by_hand(normal)
    z[:, :1] = torch.erf(normal[:, :1] / 2**0.5)
    torch.testing.assert_close(method.generate(nets, normal), nets["G"](z), rtol=1e-6, atol=1e-7)
    assert [code.name for code in method.codes] == [
        "category 1",
        "category 2",
        "code 1",
        "code 2",
    ]


def test_resumed_training_is_the_same_training() -> None:
    def make(seed: int) -> Trainer:
        method = infogan(handicap={"noise": 0.2}, discriminator_steps=2)
        return trainer(method, networks(method, BUILD, 2, seed), steps=30, ema_half_life=20.0)

    check_resumed_is_straight(make, points)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("constraint", ["clip", "norm-clip"])
def test_a_constraint_would_hold_q_too(constraint: Any) -> None:
    with pytest.raises(ValueError, match=f"constraint = '{constraint}' would hold the weights of"):
        infogan(constraint=constraint)
    infogan(constraint="decay")
    GAN(Handicap(), constraint=constraint)


def test_a_latent_without_room_is_refused() -> None:
    small = BUILD | {"generator": partial(PointGenerator, latent=6, filters=8)}
    with pytest.raises(ValueError, match="latent must be 7 or more, as so many numbers are codes"):
        networks(infogan(), small, 2)
    networks(infogan(), BUILD | {"generator": partial(PointGenerator, latent=7, filters=8)}, 2)


def test_consistency_needs_levels() -> None:
    with pytest.raises(ValueError, match="a generator that grows: choose"):
        networks(infogan({"lambda_consistency": 1.0}), BUILD, 2)


# ---- it learns ---------------------------------------------------------------------------------


def test_codes_are_found_again_in_points() -> None:
    """The bound rises from nothing known to most of what there is; without its weight it stays."""

    def known(weight: float) -> float:
        codes = {"categories": (4,), "continuous": 0, "lambda_category": weight}
        method = infogan(codes)
        build = BUILD | {"generator": partial(PointGenerator, latent=6, filters=16, layers=1)}
        nets = networks(method, build, 2)
        maker = partial(torch.optim.Adam, lr=1e-2, betas=(0.5, 0.9))
        logs = train(trainer(method, nets, maker), points(), 200)
        return sum(log["information G"] for log in logs[-20:]) / 20

    assert 0.9 < known(1.0) < 1.39, "of log 4, 1.39 nats"
    assert abs(known(0.0)) < 0.2
