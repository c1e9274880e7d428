"""The adversary: every loss x penalty x feature matching, its terms, values and gradients; what it
shows through a handicap, what it refuses, and how often spectral norms move."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gan_core import sampling
from gan_core.adversary import Adversary
from gan_core.blocks.weights import hold_weights
from gan_core.constraints import CONSTRAINTS
from gan_core.handicap import Handicap
from gan_core.losses.adversarial import LOSSES
from gan_core.losses.features import mean_feature_matching, paired_feature_matching
from gan_core.losses.penalties import PENALTIES, Asked
from gan_core.losses.regularisers import drift
from gan_core.networks.mlp import PointDiscriminator
from gan_core.routing import Progress

COMBINATIONS = list(product(LOSSES, ("none", *PENALTIES), (0.0, 10.0)))


class Critic(nn.Module):
    """Two hidden layers and a score map; it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            [nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3), nn.Conv2d(3, 1, 2)]
        )
        self.calls: list[tuple[int, bool]] = []  # batch size, gradient recorded

    def forward(self, x: Tensor, features: bool = False) -> Tensor | list[Tensor]:
        self.calls.append((len(x), torch.is_grad_enabled()))
        seen = []
        for layer in self.layers:
            x = layer(x if not seen else x.tanh())
            seen.append(x)
        return seen if features else x


@pytest.fixture
def critic() -> Critic:
    net = Critic().double()
    with torch.no_grad():
        net.layers[2].weight *= 15  # a slope above 1, where every penalty has something to say
    return net


@pytest.fixture
def generator() -> nn.Module:
    torch.manual_seed(1)
    return nn.Conv2d(2, 2, 1).double()


def pictures(seed: int, batch: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 2, 6, 5, generator=generator, dtype=torch.float64)


def gradients(term: Tensor, net: nn.Module) -> list[Tensor | None]:
    wanted = [p for p in net.parameters() if p.ndim > 1]  # a penalty has no use for the last bias
    return list(torch.autograd.grad(term, wanted, retain_graph=True, allow_unused=True))


def measured(
    penalty: str, critic: Callable[..., Any], real: Tensor, fake: Tensor, target: float = 1.0
) -> Tensor:
    """The penalty alone, where the step's next numbers say."""
    mix = sampling.uniform(len(real), like=real)
    asked = Asked(real, fake, critic(real), critic(fake), mix)
    return PENALTIES[penalty].measure(critic, asked, target)


def all_move(found: list[Tensor | None]) -> bool:
    return all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in found)


@pytest.mark.parametrize(("loss", "penalty", "feature"), COMBINATIONS)
def test_discriminator(
    loss: str, penalty: str, feature: float, critic: Critic, generator: nn.Module
) -> None:
    adversary = Adversary(loss, penalty, 4.0, feature, penalty_target=0.25, lambda_drift=0.125)
    real, fake = pictures(1), generator(pictures(2))
    sampling.seed(5)
    terms = adversary.discriminator("D_X", critic, real, fake, weight=0.5)
    expected = {"D_X": 0.5 * LOSSES[loss].discriminator(critic(real), critic(fake))}
    if penalty != "none":
        sampling.seed(5)
        expected["penalty D_X"] = 0.5 * 4.0 * measured(penalty, critic, real, fake, target=0.25)
    expected["drift D_X"] = 0.5 * 0.125 * (critic(real) ** 2).mean()
    assert list(terms) == list(expected)
    for name, term in terms.items():
        assert term.shape == ()
        assert term.item() == pytest.approx(expected[name].item(), rel=1e-12)
        assert all_move(gradients(term, critic)), name
    if penalty != "none" and PENALTIES[penalty].by_sample:
        assert gradients(terms["penalty D_X"], generator) == [None], "D's penalty is not for G"
    assert gradients(terms["drift D_X"], generator) == [None], "of reals alone"


@pytest.mark.parametrize(("loss", "penalty", "feature"), COMBINATIONS)
def test_generator(
    loss: str, penalty: str, feature: float, critic: Critic, generator: nn.Module
) -> None:
    adversary = Adversary(loss, penalty, 4.0, feature)
    real, fake = pictures(1), generator(pictures(2))
    terms = adversary.generator("G", critic, real, fake)
    expected = {"adversarial G": LOSSES[loss].generator(critic(fake))}
    if feature:
        distance = paired_feature_matching(
            critic(real, features=True)[:-1], critic(fake, features=True)[:-1]
        )
        expected["feature G"] = 10.0 * distance
    assert list(terms) == list(expected)
    for name, term in terms.items():
        assert term.shape == ()
        assert term.item() == pytest.approx(expected[name].item(), rel=1e-12)
        assert all_move(gradients(term, generator)), name
    if feature:
        *_, last = gradients(terms["feature G"], critic)
        assert last is None, "scores are not among the features"


def test_weights_default_to_the_papers(critic: Critic) -> None:
    """lambda 10 (Gulrajani et al. 2017), no features; an update of weight 1."""
    real, fake = pictures(1), pictures(2)
    sampling.seed(5)
    terms = Adversary("wgan", "two-sided").discriminator("D", critic, real, fake)
    sampling.seed(5)
    raw = measured("two-sided", critic, real, fake)
    assert terms["penalty D"].item() == pytest.approx(10 * raw.item(), rel=1e-12)
    assert list(terms) == ["D", "penalty D"]
    scores = LOSSES["wgan"].discriminator(critic(real), critic(fake))
    assert terms["D"].item() == pytest.approx(scores.item(), rel=1e-12)
    assert list(Adversary("lsgan").generator("G", critic, real, fake)) == ["adversarial G"]


def test_features_cost_one_call_for_each_side(critic: Critic) -> None:
    """The fake call gives scores and features; the real one, told apart by size, keeps no graph."""
    real, fake = pictures(1, batch=2), pictures(2, batch=3)
    adversary = Adversary("hinge", lambda_feature=1.0, match=mean_feature_matching)
    terms = adversary.generator("G", critic, real, fake)
    assert critic.calls == [(3, True), (2, False)]
    hidden = [critic(x, features=True)[:-1] for x in (real, fake)]
    expected = mean_feature_matching(*hidden).item()
    assert terms["feature G"].item() == pytest.approx(expected, rel=1e-12)
    critic.calls.clear()
    Adversary("hinge").generator("G", critic, real, fake)
    assert critic.calls == [(3, True)], "without features the real pictures are not looked at"


def test_each_sample_and_each_draw_has_a_mix_of_its_own() -> None:
    """Reals are 1 and fakes 0, so that the critic sees the mix itself."""
    asked: list[Tensor] = []

    def judge(x: Tensor) -> Tensor:
        asked.append(x.detach().flatten(1))
        return x.square().flatten(1).sum(1)

    real, fake = torch.ones(64, 2, 3, 3), torch.zeros(64, 2, 3, 3)
    adversary = Adversary("wgan", "two-sided")
    torch.manual_seed(0)
    for _ in range(2):
        adversary.discriminator("D", judge, real, fake)
    first, second = asked[2], asked[5]
    assert first.equal(first[:, :1].expand_as(first)), "one number for a whole sample"
    mixes = torch.stack([first[:, 0], second[:, 0]])
    assert mixes.unique().numel() == 128
    assert 0 <= mixes.min() < 0.1
    assert 0.9 < mixes.max() <= 1


def test_a_judge_may_add_a_condition(critic: Critic) -> None:
    """The condition stays with its sample: only the picture is mixed, and its slope measured."""
    condition, real, fake = (pictures(seed)[:, :1] for seed in (1, 2, 3))

    def judge(x: Tensor) -> Tensor:
        scores = critic(torch.cat([condition, x], 1))
        assert isinstance(scores, Tensor)
        return scores

    sampling.seed(5)
    terms = Adversary("lsgan", "two-sided", 1.0).discriminator("D", judge, real, fake)
    sampling.seed(5)
    mix = sampling.uniform(3, like=real).reshape(3, 1, 1, 1)
    x = (mix * real + (1 - mix) * fake).requires_grad_()
    slopes = [torch.autograd.grad(judge(x)[i].mean(), x)[0][i].norm().item() for i in range(3)]
    expected = sum((slope - 1) ** 2 for slope in slopes) / 3
    assert terms["penalty D"].item() == pytest.approx(expected, rel=1e-12)


def test_no_penalty_takes_batches_of_different_size_and_no_random_number(critic: Critic) -> None:
    state = torch.get_rng_state()
    terms = Adversary("hinge").discriminator("D", critic, pictures(1, 2), pictures(2, 5))
    expected = LOSSES["hinge"].discriminator(critic(pictures(1, 2)), critic(pictures(2, 5)))
    assert terms["D"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert torch.get_rng_state().equal(state)


def test_a_lazy_penalty_is_left_out_or_stronger(critic: Critic) -> None:
    """``penalise`` is of the penalty alone, beside the weight of all."""
    adversary = Adversary("hinge", "r1", 4.0, lambda_drift=0.5)
    real, fake = pictures(1), pictures(2)
    usual = adversary.discriminator("D", critic, real, fake)
    strong = adversary.discriminator("D", critic, real, fake, weight=3.0, penalise=8.0)
    assert strong["penalty D"].item() == pytest.approx(24 * usual["penalty D"].item(), rel=1e-12)
    for name in ("D", "drift D"):
        assert strong[name].item() == pytest.approx(3 * usual[name].item(), rel=1e-12)
    critic.calls.clear()
    assert list(adversary.discriminator("D", critic, real, fake, penalise=0)) == ["D", "drift D"]
    assert len(critic.calls) == 2, "nor is its slope computed"


# ---- spectral norms ----------------------------------------------------------------------------


def spectral() -> PointDiscriminator:
    """Its u and v are far from where the power iteration leads."""
    torch.manual_seed(0)
    net = PointDiscriminator(3, filters=6, layers=2, weights="spectral").double()
    for vector in net.buffers():
        vector.copy_(torch.nn.functional.normalize(torch.randn_like(vector), dim=0))
    return net


def held(net: nn.Module) -> list[tuple[Tensor, Tensor, Tensor]]:
    """W [out, in], u and v of every layer."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    found = [layer.parametrizations["weight"] for layer in layers]  # type: ignore[index]
    return [(p.original.detach(), p[0]._u.clone(), p[0]._v.clone()) for p in found]


@pytest.mark.parametrize("penalty", ["none", *PENALTIES])
def test_spectral_vectors_take_one_step_with_d(penalty: str) -> None:
    """u <- W v / ||W v||, v <- W^T u / ||W^T u|| once, for reals, fakes and slopes together."""
    net, adversary = spectral(), Adversary("hinge", penalty, lambda_drift=1.0)
    real, fake = pictures(1).flatten(1)[:, :3], pictures(2).flatten(1)[:, :3]
    for step in range(3):
        before = held(net)
        terms = adversary.discriminator("D", net, real, fake)
        sum(terms.values()).backward()
        for (w, u, v), (_, next_u, next_v) in zip(before, held(net), strict=True):
            by_hand = w @ v / (w @ v).norm()
            torch.testing.assert_close(next_u, by_hand, rtol=0, atol=1e-14)
            by_hand = w.T @ by_hand / (w.T @ by_hand).norm()
            torch.testing.assert_close(next_v, by_hand, rtol=0, atol=1e-14)
            if step == 0 and len(w) > 1:
                assert (next_u - u).abs().max() > 0.1
                twice = w @ next_v / (w @ next_v).norm()
                assert (twice - next_u).abs().max() > 1e-3, "a second one would show"


def test_both_turns_of_a_step_see_the_same_weights() -> None:
    """Those after the iteration, which are the weights in evaluation too; gradients as well."""
    net, adversary = spectral(), Adversary("hinge", "two-sided", 2.0)
    real, fake = pictures(1).flatten(1)[:, :3], pictures(2).flatten(1)[:, :3]
    found = []
    for mode in (True, False):
        sampling.seed(3)  # where slopes are measured
        net.train(mode).zero_grad()
        terms = adversary.discriminator("D", net, real, fake)
        sum(terms.values()).backward()
        gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
        found.append(([term.detach() for term in terms.values()], gradient))
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)
    assert found[0][1].abs().max() > 0


def test_spectral_vectors_rest_in_evaluation() -> None:
    net, adversary = spectral().eval(), Adversary("hinge", "two-sided", lambda_feature=1.0)
    real, fake = pictures(1).flatten(1)[:, :3], pictures(2).flatten(1)[:, :3]
    before = held(net)
    adversary.discriminator("D", net, real, fake)
    adversary.generator("G", net, real, fake)
    assert all(
        a.equal(b)
        for old, new in zip(before, held(net), strict=True)
        for a, b in zip(old, new, strict=True)
    )


def test_what_one_step_cached_the_next_does_not_see() -> None:
    net, adversary = spectral(), Adversary("hinge")
    real, fake = pictures(1).flatten(1)[:, :3], pictures(2).flatten(1)[:, :3]
    first = adversary.discriminator("D", net, real, fake)["D"].item()
    net.eval()
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                layer.bias += 0.5
                layer.parametrizations.weight.original *= -1  # type: ignore[union-attr]
    second = adversary.discriminator("D", net, real, fake)["D"].item()
    expected = LOSSES["hinge"].discriminator(net(real), net(fake)).item()
    assert second == pytest.approx(expected, rel=1e-12)
    assert abs(second - first) > 1e-3


# ---- what is shown, and what counts ------------------------------------------------------------


@pytest.mark.parametrize("penalty", ["none", *PENALTIES])
def test_d_is_shown_noisy_pictures(penalty: str, critic: Critic) -> None:
    """Reals' noise is drawn first, then fakes', then where slopes are measured: between those."""
    adversary = Adversary("hinge", penalty, 2.0, lambda_drift=1.0, handicap=Handicap(noise=0.5))
    real, fake = pictures(1), pictures(2)
    sampling.seed(5)
    terms = adversary.discriminator("D", critic, real, fake)
    sampling.seed(5)
    real = real + 0.5 * sampling.normal(*real.shape, like=real)
    fake = fake + 0.5 * sampling.normal(*fake.shape, like=fake)
    scores = critic(real), critic(fake)
    assert terms["D"].item() == pytest.approx(LOSSES["hinge"].discriminator(*scores).item(), 1e-12)
    assert terms["drift D"].item() == pytest.approx(drift(scores[0]).item(), rel=1e-12)
    if penalty != "none":
        raw = measured(penalty, critic, real, fake)
        assert terms["penalty D"].item() == pytest.approx(2 * raw.item(), rel=1e-12)


def test_g_is_judged_by_noisy_pictures(critic: Critic, generator: nn.Module) -> None:
    adversary, z = Adversary("hinge", handicap=Handicap(noise=0.5)), pictures(2)
    sampling.seed(5)
    term = adversary.generator("G", critic, pictures(1), generator(z))["adversarial G"]
    sampling.seed(5)
    expected = -critic(generator(z) + 0.5 * sampling.normal(*z.shape, like=z)).mean()
    assert term.item() == pytest.approx(expected.item(), rel=1e-12)
    assert all_move(gradients(term, generator)), "noise is added, and G feels what it made"


def test_features_are_of_what_d_is_shown(critic: Critic) -> None:
    """Reals as noisy as fakes, or G would be asked to make up for the noise."""
    noisy = Adversary(
        "hinge", lambda_feature=2.0, match=mean_feature_matching, handicap=Handicap(noise=0.5)
    )
    real, fake = pictures(1), pictures(2)
    sampling.seed(5)
    terms = noisy.generator("G", critic, real, fake)
    sampling.seed(5)
    shown = [x + 0.5 * sampling.normal(*x.shape, like=x) for x in (real, fake)]
    expected = 2 * mean_feature_matching(*(critic(x, features=True)[:-1] for x in shown))
    assert terms["feature G"].item() == pytest.approx(expected.item(), rel=1e-12)
    assert terms["adversarial G"].item() == pytest.approx(-critic(shown[1]).mean().item(), 1e-12)


def gate(**means: float) -> Handicap:
    handicap = Handicap(balance=0.8)
    handicap.load_state_dict(
        handicap.state_dict() | {f"accuracy {name}": value for name, value in means.items()}
    )
    return handicap


@pytest.mark.parametrize(
    ("means", "on_real", "on_fake"),
    [
        ({"real": 0.79, "fake": 0.79}, 1, 1),
        ({"real": 0.8, "fake": 0.79}, 0, 1),
        ({"real": 0.5, "fake": 0.9}, 1, 0),
        ({"real": 1.0, "fake": 1.0}, 0, 0),
    ],
)
def test_a_class_that_d_knows_is_not_trained_on(
    means: dict[str, float], on_real: int, on_fake: int, critic: Critic
) -> None:
    adversary = Adversary("vanilla", "r1", 2.0, handicap=gate(**means))
    real, fake = pictures(1, 4), pictures(2, 4)
    terms = adversary.discriminator("D", critic, real, fake, weight=0.5)
    losses, of_real, of_fake = LOSSES["vanilla"], critic(real), critic(fake)
    expected = 0.5 * (on_real * losses.real(of_real) + on_fake * losses.fake(of_fake))
    assert terms["D"].item() == pytest.approx(expected.item(), rel=1e-12)
    same = zip(gradients(terms["D"], critic), gradients(expected, critic), strict=True)
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in same if a is not None and b is not None)
    assert all_move(gradients(terms["penalty D"], critic)), "a penalty is never left out"
    figures = {name: term.item() for name, term in terms.items() if not term.requires_grad}
    assert figures == {
        "accuracy real": (of_real > 0).double().mean().item(),
        "accuracy fake": (of_fake < 0).double().mean().item(),
        "skipped real": 1 - on_real,
        "skipped fake": 1 - on_fake,
    }


def test_figures_count_from_the_loss_boundary() -> None:
    """Least squares draws the line at 1/2."""
    x = torch.tensor([[0.1], [0.3], [0.6], [0.9]])
    handicap = Handicap(balance=0.9)
    handicap.begin(Progress(0, 10, 0))
    for loss, real, fake in [("lsgan", 0.5, 0.5), ("hinge", 1.0, 0.0)]:
        terms = Adversary(loss, handicap=handicap).discriminator("D", lambda x: x, x, x.clone())
        assert (terms["accuracy real"].item(), terms["accuracy fake"].item()) == (real, fake)


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wasserstein"}, f"loss 'wasserstein': choose {', '.join(LOSSES)}"),
        ({"penalty": "gp"}, f"penalty 'gp': choose none, {', '.join(PENALTIES)}"),
        ({"constraint": "tight"}, f"constraint 'tight': choose none, {', '.join(CONSTRAINTS)}"),
        ({"lambda_penalty": -1.0}, "lambda_penalty must be 0 or more, not -1.0"),
        ({"lambda_feature": -0.5}, "lambda_feature must be 0 or more, not -0.5"),
        ({"lambda_feature": float("nan")}, "lambda_feature must be 0 or more, not nan"),
        ({"lambda_drift": -0.001}, "lambda_drift must be 0 or more, not -0.001"),
        ({"penalty_target": 0.0}, "penalty_target must be above 0, not 0.0"),
        ({"penalty_target": float("nan")}, "penalty_target must be above 0, not nan"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Adversary(**({"loss": "lsgan"} | arguments))  # type: ignore[arg-type]
    assert str(error.value) == message


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "handicap",
    [Handicap(balance=0.9), Handicap(augment=("colour",), augment_target=0.6)],
    ids=["balance", "augment_target"],
)
def test_accuracy_needs_a_boundary(loss: str, handicap: Handicap) -> None:
    if loss == "wgan":
        with pytest.raises(ValueError, match="this system's scores have none"):
            Adversary(loss, "two-sided", handicap=handicap)
    else:
        Adversary(loss, handicap=handicap)
    Adversary(loss, "two-sided", handicap=Handicap(noise=0.1, augment=("colour",)))


@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
@pytest.mark.parametrize(
    ("held_by", "bound"),
    [
        ({}, False),
        ({"penalty": "two-sided", "lambda_penalty": 0.0}, False),
        ({"lambda_drift": 1.0, "lambda_feature": 1.0}, False),
        *(({"penalty": penalty}, True) for penalty in PENALTIES),
        *(({"constraint": constraint}, True) for constraint in CONSTRAINTS),
    ],
    ids=str,
)
def test_a_critic_without_bound_is_refused(
    held_by: dict[str, Any], bound: bool, weights: Any
) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 1)))
    hold_weights(net, weights)
    for loss in LOSSES:
        adversary = Adversary(loss, **held_by)
        if loss == "wgan" and weights == "free" and not bound:
            with pytest.raises(ValueError, match="loss = 'wgan' needs a bounded critic") as told:
                adversary.check(net)
            assert "set penalty = 'two-sided' and lambda_penalty above 0" in str(told.value)
        else:
            adversary.check(net)


def test_frozen() -> None:
    adversary = Adversary("lsgan")
    with pytest.raises(FrozenInstanceError):
        adversary.penalty = "r1"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("norm", "tied"),
    [
        (nn.BatchNorm2d(4), True),
        (nn.SyncBatchNorm(4), True),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), False),
        (nn.GroupNorm(1, 4), False),
        (nn.LayerNorm(4), False),
    ],
)
@pytest.mark.parametrize("penalty", ["none", *PENALTIES])
def test_batch_normalisation_excludes_a_penalty(norm: nn.Module, tied: bool, penalty: str) -> None:
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Sequential(norm), nn.Conv2d(4, 1, 3))
    if tied and penalty not in ("none", "quadratic"):
        with pytest.raises(ValueError, match="set norm = 'layer' or 'instance'") as error:
            Adversary("hinge", penalty).check(net)
        assert f"penalty = {penalty!r}" in str(error.value)
    else:
        Adversary("hinge", penalty).check(net)


def test_a_penalty_bounds_the_wasserstein_critic() -> None:
    """f(x) = w x on reals at 1 and fakes at 0: -w + lambda (|w| - 1)^2 rests at 1 + 1/(2 lambda).

    Without the penalty w would grow for ever, with the wrong sign it would end at the negative.
    """
    w = torch.tensor([[0.1]], dtype=torch.float64, requires_grad=True)
    real, fake = torch.ones(4, 1, dtype=torch.float64), torch.zeros(4, 1, dtype=torch.float64)
    adversary = Adversary("wgan", "two-sided", lambda_penalty=10.0)
    optimizer = torch.optim.SGD([w], lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        sum(adversary.discriminator("D", lambda x: x @ w, real, fake).values()).backward()
        optimizer.step()
    assert w.item() == pytest.approx(1.05, abs=1e-9)
