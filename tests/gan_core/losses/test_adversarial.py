"""Adversarial losses: numbers by hand, independent formulas, signs, gradients and extremes."""

import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.adversarial import (
    LOSSES,
    AdversarialLoss,
    bounded_fake,
    bounded_generator,
    bounded_real,
    find_loss,
    hinge_fake,
    hinge_real,
    least_squares_fake,
    least_squares_real,
    linear_fake,
    linear_generator,
    linear_real,
    saturating_generator,
    shrunken_fake,
    shrunken_real,
    vanilla_fake,
    vanilla_generator,
    vanilla_real,
    zeroed_fake,
    zeroed_real,
)

Array = np.ndarray
NAMES = sorted(LOSSES)
WEIGHT = 0.5  # of tvgan-l1


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def squash(x: Array) -> Array:
    """tanh."""
    return (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x))


# What the papers write, in NumPy's float64: D maximises E real(x) + E fake(G(z)), and G minimises
# E deceive(G(z)).
BY_DEFINITION: dict[str, tuple[Callable[[Array], Array], ...]] = {
    # Goodfellow et al. 2014, equation 1; non-saturating G
    "vanilla": (
        lambda r: np.log(sigmoid(r)),
        lambda f: np.log(1 - sigmoid(f)),
        lambda f: -np.log(sigmoid(f)),
    ),
    "saturating": (
        lambda r: np.log(sigmoid(r)),
        lambda f: np.log(1 - sigmoid(f)),
        lambda f: np.log(1 - sigmoid(f)),
    ),
    # Mao et al. 2017, a = 0, b = c = 1
    "lsgan": (lambda r: -((r - 1) ** 2), lambda f: -(f**2), lambda f: (f - 1) ** 2),
    # Miyato et al. 2018, equations 16 and 17
    "hinge": (lambda r: np.minimum(0, r - 1), lambda f: np.minimum(0, -f - 1), lambda f: -f),
    # Arjovsky et al. 2017
    "wgan": (lambda r: r, lambda f: -f, lambda f: -f),
    # E D(x) - E D(G(z)) with |D| <= 1; with a price on |D|; with no gain beyond 1 and -1
    "tvgan-tanh": (squash, lambda f: -squash(f), lambda f: -squash(f)),
    "tvgan-l1": (
        lambda r: r - WEIGHT * np.sqrt(r**2),
        lambda f: -f - WEIGHT * np.sqrt(f**2),
        lambda f: -f,
    ),
    "tvgan-zero": (lambda r: np.minimum(1, r), lambda f: -np.maximum(-1, f), lambda f: -f),
}
BY_DEFINITION["logistic"] = BY_DEFINITION["vanilla"]


def by_definition(name: str, real: Array, fake: Array) -> tuple[float, float]:
    """(discriminator's, generator's) loss."""
    gain_real, gain_fake, deceive = BY_DEFINITION[name]
    return -gain_real(real).mean() - gain_fake(fake).mean(), deceive(fake).mean()


def scores(seed: int, shape: tuple[int, ...] = (4, 1, 3, 5)) -> Tensor:
    """Of both signs, never near the corners of losses at -1, 0 and 1."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    x = torch.where((x.abs() - 1).abs() < 0.05, x * 1.2, x)
    return torch.where(x.abs() < 0.05, x + 0.2, x)


def test_numbers_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0, 3.0, 0.0])
    assert hinge_real(real).item() == 0.5
    assert hinge_fake(fake).item() == (0 + 2 + 4 + 1) / 4
    assert least_squares_real(real).item() == 1
    assert least_squares_fake(fake).item() == (4 + 1 + 9 + 0) / 4
    assert least_squares_real(fake).item() == (9 + 0 + 4 + 1) / 4
    assert linear_real(real).item() == -1.0
    assert linear_fake(fake).item() == 0.5
    assert linear_generator(fake).item() == -0.5
    assert zeroed_real(real).item() == -(1 + 0) / 2
    assert zeroed_fake(fake).item() == (-1 + 1 + 3 + 0) / 4
    assert shrunken_real(real, 0.25).item() == (0.5 - 2) / 2
    assert shrunken_fake(fake, 0.25).item() == 0.25 * 6 / 4 + 0.5
    assert shrunken_real(real).item() == (1 - 2) / 2
    assert shrunken_fake(fake).item() == 0.5 * 6 / 4 + 0.5
    log2 = math.log(2)
    zero, e = torch.zeros(3), torch.tensor([math.log(3.0)])  # sigmoid: 1/2 and 3/4
    for found, at_zero, at_e in [
        (vanilla_real, log2, math.log(4 / 3)),
        (vanilla_fake, log2, math.log(4)),
        (vanilla_generator, log2, math.log(4 / 3)),
        (saturating_generator, -log2, -math.log(4)),
        (bounded_real, 0.0, -0.8),  # tanh log 3 = (3 - 1/3) / (3 + 1/3)
        (bounded_fake, 0.0, 0.8),
        (bounded_generator, 0.0, -0.8),
    ]:
        assert found(zero).item() == pytest.approx(at_zero, abs=1e-6), found
        assert found(e).item() == pytest.approx(at_e, abs=1e-6), found


def test_the_names() -> None:
    """Every loss is in the papers' list above; an unknown one is told which there are."""
    assert sorted(BY_DEFINITION) == NAMES
    assert LOSSES["logistic"] is LOSSES["vanilla"]
    assert all(find_loss(name) is LOSSES[name] for name in NAMES)
    with pytest.raises(ValueError, match="loss 'wasserstein': choose vanilla, logistic, ") as error:
        find_loss("wasserstein")
    assert all(name in str(error.value) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6,), (4, 1), (4, 1, 3, 5)])
def test_equals_the_definition(name: str, shape: tuple[int, ...]) -> None:
    real, fake = scores(1, shape), scores(2, shape)
    judge, generator = by_definition(name, real.numpy(), fake.numpy())
    loss = LOSSES[name]
    assert loss.discriminator(real, fake).item() == pytest.approx(judge, rel=1e-12)
    assert loss.generator(fake).item() == pytest.approx(generator, rel=1e-12)
    gain_real, gain_fake, _ = BY_DEFINITION[name]
    assert loss.real(real).item() == pytest.approx(-gain_real(real.numpy()).mean(), rel=1e-12)
    assert loss.fake(fake).item() == pytest.approx(-gain_fake(fake.numpy()).mean(), rel=1e-12)
    for found in (loss.generator(fake), loss.discriminator(real, fake), loss.real(real)):
        assert found.shape == ()


@pytest.mark.parametrize("name", NAMES)
def test_more_fakes_than_reals(name: str) -> None:
    """Each side is a mean of its own."""
    real, fake = scores(1, (2, 1)), scores(2, (6, 1))
    judge, _ = by_definition(name, real.numpy(), fake.numpy())
    assert LOSSES[name].discriminator(real, fake).item() == pytest.approx(judge, rel=1e-12)


def gradients(name: str, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """dL_D/dreal, dL_D/dfake, dL_G/dfake for each score, others left out of the mean's way."""
    real, fake = points.clone().requires_grad_(), points.clone().requires_grad_()
    d_real, d_fake = torch.autograd.grad(LOSSES[name].discriminator(real, fake), (real, fake))
    (g_fake,) = torch.autograd.grad(LOSSES[name].generator(fake), fake)
    return d_real, d_fake, g_fake


# How far from 0 the losses say which way: least squares pulls scores to its targets at 1 and 0, and
# tanh is flat in float64 beyond 19.
REACH = {"lsgan": 0.99, "tvgan-tanh": 15.0}


@pytest.mark.parametrize("name", NAMES)
def test_signs(name: str) -> None:
    """High score = real."""
    reach = REACH.get(name, 20.0)
    points = torch.linspace(-reach, reach, 41, dtype=torch.float64)
    d_real, d_fake, g_fake = gradients(name, points)
    if name == "lsgan":
        _, d_fake, _ = gradients(name, points.abs())
    assert (d_real <= 0).all()
    assert (d_fake >= 0).all()
    assert (g_fake <= 0).all()
    assert d_real.min() < 0 < d_fake.max()
    assert g_fake.max() < 0, "a generator always has somewhere to go"


@pytest.mark.parametrize("name", NAMES)
def test_real_and_fake_mirror_each_other_at_the_boundary(name: str) -> None:
    """Where D is as sure of the one as of the other; between distances a critic has none."""
    loss = LOSSES[name]
    away = torch.linspace(-3, 3, 13, dtype=torch.float64)
    centre = 0.0 if loss.boundary is None else loss.boundary
    for t in away:
        assert loss.real(centre + t).item() == pytest.approx(loss.fake(centre - t).item(), 1e-12)
    here = torch.tensor([centre], dtype=torch.float64)
    d_real, d_fake, _ = gradients(name, here)
    assert -d_real.item() == pytest.approx(d_fake.item(), 1e-12)
    if name == "wgan":
        assert loss.boundary is None
        shifted = [loss.discriminator(away + by, away + by).item() for by in (0.0, 7.0)]
        assert shifted == pytest.approx([0.0, 0.0], abs=1e-14), "whatever is added to the scores"
    else:
        assert loss.boundary == (0.5 if name == "lsgan" else 0.0)


def test_least_squares_rests_at_its_targets() -> None:
    one, nought = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert LOSSES["lsgan"].discriminator(one, nought) == 0
    assert LOSSES["lsgan"].generator(one) == 0
    d_real, _, g_fake = gradients("lsgan", one)
    _, d_fake, _ = gradients("lsgan", nought)
    assert d_real.abs().max() == d_fake.abs().max() == g_fake.abs().max() == 0


def test_generators_that_starve() -> None:
    """Of a fake that D is sure of: sigmoid(-10) and 1 - tanh(-10)^2, where others have slope 1."""
    sure = torch.tensor([-10.0], dtype=torch.float64)
    slopes = {name: -gradients(name, sure)[2].item() for name in NAMES}
    assert slopes.pop("saturating") == pytest.approx(1 / (1 + math.exp(10)), rel=1e-12)
    assert slopes.pop("tvgan-tanh") == pytest.approx(4 / (math.exp(10) + math.exp(-10)) ** 2, 1e-6)
    assert slopes.pop("lsgan") == 22
    assert slopes.pop("vanilla") == slopes.pop("logistic") == pytest.approx(1, abs=1e-4)
    assert slopes.pop("hinge") == slopes.pop("wgan") == 1
    assert slopes == {"tvgan-l1": 1, "tvgan-zero": 1}


@pytest.mark.parametrize("name", ["hinge", "tvgan-zero"])
def test_what_is_beyond_the_margin_is_left_alone(name: str) -> None:
    """At the margin too."""
    points = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.5])
    d_real, d_fake, g_fake = gradients(name, points)
    assert d_real.tolist() == pytest.approx([-1 / 5, -1 / 5, -1 / 5, 0, 0])
    assert d_fake.tolist() == pytest.approx([0, 0, 1 / 5, 1 / 5, 1 / 5])
    assert g_fake.tolist() == pytest.approx([-1 / 5] * 5), "the generator's is never clipped"
    inside = torch.nextafter(points, torch.zeros(()))
    d_real, d_fake, _ = gradients(name, inside)
    assert (d_real != 0).tolist() == [True, True, True, True, False]
    assert (d_fake != 0).tolist() == [False, True, True, True, True]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeroed_gradients_are_those_of_hinge(dtype: torch.dtype) -> None:
    """min(1, D) = 1 - relu(1 - D) and max(-1, D) = relu(1 + D) - 1: bit for bit, ties included."""
    ties = torch.tensor([1.0, -1.0, 0.0, -0.0, 1e30, -1e30], dtype=dtype)
    for seed, count in enumerate([1, 7, 64, 1001]):
        points = torch.cat([scores(seed, (count,)).to(dtype), ties])
        ours, hinge = gradients("tvgan-zero", points), gradients("hinge", points)
        assert all(map(torch.equal, ours, hinge))
        near = points[points.abs() < 100]
        apart = LOSSES["hinge"].discriminator(near, near).item() - 2
        assert LOSSES["tvgan-zero"].discriminator(near, near).item() == pytest.approx(apart, 1e-5)
    tie = torch.tensor([1.0], dtype=dtype)
    assert gradients("tvgan-zero", tie)[0].item() == 0
    assert gradients("tvgan-zero", -tie)[1].item() == 0


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.99, 1.0, 2.0])
def test_a_price_on_d_kills_it_or_leaves_it_unbounded(weight: float) -> None:
    """Where reals have density p and fakes q, D(x) = d costs p real(d) + q fake(d).

    0 is the best d where |p - q| <= weight (p + q), so everywhere from a weight of 1 on; elsewhere
    the farther the better, in the direction of p - q.
    """
    dead = 0
    for p, q in [(1.0, 0.0), (0.0, 1.0), (0.8, 0.2), (0.3, 0.7), (0.6, 0.4), (0.5, 0.5)]:

        def cost(d: float, p: float = p, q: float = q) -> float:
            at = torch.tensor([d], dtype=torch.float64)
            return (p * shrunken_real(at, weight) + q * shrunken_fake(at, weight)).item()

        for d in (-9.0, -1.0, 1.0, 9.0):  # linear on both sides of 0, where it is nothing
            assert cost(d) == pytest.approx(abs(d) * cost(math.copysign(1, d)), abs=1e-12)
        if abs(p - q) <= weight * (p + q) + 1e-12:
            dead += 1
            assert min(cost(-1.0), cost(1.0)) >= -1e-12
        else:
            best = math.copysign(1.0, p - q)
            assert cost(best) == pytest.approx(weight - abs(p - q))
            assert cost(best) < 0 < cost(-best)
    assert dead == {0.0: 1, 0.3: 2, 0.5: 3, 0.99: 4, 1.0: 6, 2.0: 6}[weight]


def test_wasserstein_has_no_floor() -> None:
    """Scores drift apart for ever unless something holds the slope, and it says so."""
    points = torch.linspace(-20, 20, 5, dtype=torch.float64)
    d_real, d_fake, g_fake = gradients("wgan", points)
    for gradient, sign in [(d_real, -1), (d_fake, 1), (g_fake, -1)]:
        assert gradient.tolist() == pytest.approx([sign / 5] * 5, rel=1e-15)
    assert {name for name in NAMES if LOSSES[name].needs_bound} == {"wgan"}
    far = torch.full((2,), 1e6)
    sinking = {name for name in NAMES if LOSSES[name].discriminator(far, -far) < -2}
    assert sinking == {"wgan", "tvgan-l1"}, "the latter is the demonstration of it"


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    real, fake = scores(3, (3, 2)).requires_grad_(), scores(4, (3, 2)).requires_grad_()
    loss = LOSSES[name]
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
    assert torch.autograd.gradgradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradgradcheck(loss.generator, (fake,))


@pytest.mark.parametrize("name", NAMES)
def test_a_score_that_is_no_number_shows(name: str) -> None:
    """What the trainer goes by when it does a step again or skips a batch."""
    spoiled, loss = torch.tensor([0.5, math.nan]), LOSSES[name]
    assert all(part(spoiled).isnan() for part in (loss.real, loss.fake, loss.generator))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_at_extremes(name: str, dtype: torch.dtype) -> None:
    for a, b in [(1e4, 1e4), (1e4, -1e4), (-1e4, 1e4), (-1e4, -1e4)]:
        real = torch.full((3,), a, dtype=dtype, requires_grad=True)
        fake = torch.full((3,), b, dtype=dtype, requires_grad=True)
        loss = LOSSES[name].discriminator(real, fake) + LOSSES[name].generator(fake)
        assert loss.isfinite()
        loss.backward()
        assert real.grad is not None
        assert fake.grad is not None
        assert real.grad.isfinite().all()
        assert fake.grad.isfinite().all()


def test_confident_mistakes_cost_their_distance() -> None:
    """Where -log sigmoid in float32 would be infinite, softplus is the distance itself."""
    far = torch.tensor([1e4])
    assert vanilla_real(-far).item() == pytest.approx(1e4, rel=1e-6)
    assert vanilla_fake(far).item() == pytest.approx(1e4, rel=1e-6)
    assert vanilla_generator(-far).item() == pytest.approx(1e4, rel=1e-6)
    assert saturating_generator(far).item() == pytest.approx(-1e4, rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(name: str, dtype: torch.dtype) -> None:
    """16-bit scores in, a float32 loss out, also within autocast; float64 stays float64."""
    real, fake = scores(5, (64,)).to(dtype), scores(6, (64,)).to(dtype)
    judge, generator = by_definition(name, real.double().numpy(), fake.double().numpy())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = LOSSES[name].discriminator(real, fake), LOSSES[name].generator(fake)
    for loss, expected in zip(losses, (judge, generator), strict=True):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected, rel=1e-5)  # 16 bits would miss by 1e-3
    loss = LOSSES[name]
    for part in (loss.real, loss.fake, loss.generator):
        assert part(fake).dtype == torch.float32
        assert part(fake.double()).dtype == torch.float64


def test_a_loss_cannot_be_changed_in_place() -> None:
    with pytest.raises(FrozenInstanceError):
        LOSSES["wgan"].needs_bound = False  # type: ignore[misc]
    bare = AdversarialLoss(linear_real, linear_fake, linear_generator)
    assert (bare.boundary, bare.needs_bound) == (0.0, False)
