"""The adversary: every loss x penalty x feature matching, its terms, values and gradients."""

from dataclasses import FrozenInstanceError
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from gan_core import sampling
from gan_core.adversary import Adversary
from gan_core.losses.adversarial import LOSSES
from gan_core.losses.features import mean_feature_matching, paired_feature_matching
from gan_core.losses.penalties import PENALTIES

COMBINATIONS = [
    (loss, penalty, feature)
    for loss, penalty, feature in product(LOSSES, ("none", *PENALTIES), (0.0, 10.0))
    if (loss, penalty) != ("wgan", "none")
]


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
        net.layers[2].weight *= 30  # a slope above 1, where every penalty has something to say
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


def all_move(found: list[Tensor | None]) -> bool:
    return all(g is not None and g.isfinite().all() and g.abs().max() > 0 for g in found)


@pytest.mark.parametrize(("loss", "penalty", "feature"), COMBINATIONS)
def test_discriminator(
    loss: str, penalty: str, feature: float, critic: Critic, generator: nn.Module
) -> None:
    adversary = Adversary(loss, penalty, 4.0, feature)
    real, fake = pictures(1), generator(pictures(2))
    sampling.seed(5)
    terms = adversary.discriminator("D_X", critic, real, fake, weight=0.5)
    expected = {"D_X": 0.5 * LOSSES[loss].discriminator(critic(real), critic(fake))}
    if penalty != "none":
        sampling.seed(5)
        raw = PENALTIES[penalty](critic, real, fake, sampling.uniform(3, like=real))
        expected["penalty D_X"] = 0.5 * 4.0 * raw
    assert list(terms) == list(expected)
    for name, term in terms.items():
        assert term.shape == ()
        assert term.item() == pytest.approx(expected[name].item(), rel=1e-12)
        assert all_move(gradients(term, critic)), name
    if penalty != "none":
        assert gradients(terms["penalty D_X"], generator) == [None], "D's penalty is not for G"


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
    raw = PENALTIES["two-sided"](critic, real, fake, sampling.uniform(3, like=real))
    assert terms["penalty D"].item() == pytest.approx(10 * raw.item(), rel=1e-12)
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "wasserstein"}, "loss 'wasserstein': choose vanilla, lsgan, hinge, wgan"),
        ({"penalty": "gp"}, "penalty 'gp': choose none, two-sided, one-sided, r1"),
        ({"lambda_penalty": -1.0}, "lambda_penalty must be 0 or more, not -1.0"),
        ({"lambda_feature": -0.5}, "lambda_feature must be 0 or more, not -0.5"),
        ({"lambda_feature": float("nan")}, "lambda_feature must be 0 or more, not nan"),
        *(
            (
                {"loss": "wgan", **unbounded},
                "loss = 'wgan' needs a bounded critic: set penalty = 'two-sided' and "
                "lambda_penalty above 0",
            )
            for unbounded in ({}, {"penalty": "two-sided", "lambda_penalty": 0.0})
        ),
    ],
)
def test_mistakes_are_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Adversary(**({"loss": "lsgan"} | arguments))  # type: ignore[arg-type]
    assert str(error.value) == message


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
    if tied and penalty != "none":
        with pytest.raises(ValueError, match="norm = 'instance'") as error:
            Adversary("hinge", penalty).check(net)
        assert repr(penalty) in str(error.value)
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
