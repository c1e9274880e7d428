"""Penalties: closed forms, numbers by hand, the right axes, gradients, extremes and autocast."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_core.losses.penalties import (
    PENALTIES,
    Asked,
    Critic,
    gradient_penalty,
    quadratic_potential,
    r1,
)

Array = np.ndarray
NAMES = sorted(PENALTIES)
SLOPES = ["one-sided", "r1", "two-sided"]  # of the critic, sample by sample
SHAPE = (3, 2, 4, 5)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mixes(seed: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, generator=generator, dtype=torch.float64)


def of_length(length: float, *shape: int) -> Tensor:
    w = draw(9, *shape)
    return w * (length / w.norm())


def measure(
    name: str, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor, target: float = 1.0
) -> Tensor:
    """As an adversary asks: scores of both are at hand."""
    asked = Asked(real, fake, critic(real), critic(fake), mix)
    return PENALTIES[name].measure(critic, asked, target)


def linear(w: Tensor) -> Critic:
    """f(x) = <w, x>."""
    return lambda x: (x * w).flatten(1).sum(1)


def penalty(name: str, w: Tensor, batch: int = 3, target: float = 1.0) -> float:
    """Of the linear critic."""
    real, fake = draw(1, batch, *w.shape), draw(2, batch, *w.shape)
    return measure(name, linear(w), real, fake, mixes(3, batch), target).item()


def test_the_names() -> None:
    assert sorted([*SLOPES, "quadratic"]) == NAMES
    assert [name for name in NAMES if PENALTIES[name].by_sample] == SLOPES


@pytest.mark.parametrize("shape", [(7,), (2, 4, 5), (3, 1, 1), (1, 6, 2)])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_a_linear_critic_costs_by_the_length_of_its_weights(
    shape: tuple[int, ...], batch: int
) -> None:
    """||grad f|| = ||w|| everywhere, whatever the batch: no other axis, no sum over samples."""
    for length in (0.25, 1.0, 3.0):
        w = of_length(length, *shape)
        assert penalty("two-sided", w, batch) == pytest.approx((length - 1) ** 2, abs=1e-12)
        assert penalty("r1", w, batch) == pytest.approx(length**2 / 2, rel=1e-12)
    assert penalty("one-sided", of_length(3.0, *shape), batch) == pytest.approx(4.0, rel=1e-12)
    assert penalty("one-sided", of_length(0.25, *shape), batch) == 0.0


@pytest.mark.parametrize("target", [0.5, 1.0, 750.0])
def test_the_price_is_of_the_share_of_the_target(target: float) -> None:
    """(||w|| / target - 1)^2, so that a weight of 10 weighs alike for any target."""
    for share in (0.25, 1.0, 3.0):
        w = of_length(share * target, 2, 4, 5)
        assert penalty("two-sided", w, 3, target) == pytest.approx((share - 1) ** 2, abs=1e-12)
        one_sided = max(share - 1, 0) ** 2
        assert penalty("one-sided", w, 3, target) == pytest.approx(one_sided, abs=1e-12)
    for name in ("r1", "quadratic"):
        assert penalty(name, of_length(3.0, 2, 4, 5), 3, target) == penalty(
            name, of_length(3.0, 2, 4, 5)
        ), "there is no target"


def test_norms_that_other_libraries_take_are_others() -> None:
    """The same slopes, of lengths 0.5, 1 and 3, with the axes of published mistakes."""
    lengths = np.array([0.5, 1.0, 3.0])
    w = of_length(1.0, 2, 4, 5)
    slopes = np.stack([length * w.numpy() for length in lengths])

    def critic(x: Tensor) -> Tensor:
        return torch.tensor(lengths) * linear(w)(x)

    real, fake = draw(1, 3, 2, 4, 5), draw(2, 3, 2, 4, 5)
    others = {
        "whole batch": (np.sqrt((slopes**2).sum()) - 1) ** 2,
        "channels alone": ((np.sqrt((slopes**2).sum(1)) - 1) ** 2).mean(),
        "rows alone": ((np.sqrt((slopes**2).sum(2)) - 1) ** 2).mean(),
        "sum over the batch": ((lengths - 1) ** 2).sum(),
        "largest": ((np.abs(slopes).max((1, 2, 3)) - 1) ** 2).mean(),
        "mean square": ((np.sqrt((slopes**2).mean((1, 2, 3))) - 1) ** 2).mean(),
    }
    got = measure("two-sided", critic, real, fake, mixes(3, 3)).item()
    assert got == pytest.approx(((lengths - 1) ** 2).mean(), rel=1e-12)
    assert all(abs(other - got) > 0.1 for other in others.values()), others
    assert measure("r1", critic, real, fake, mixes(3, 3)).item() == pytest.approx(
        (lengths**2).mean() / 2, rel=1e-12
    )


def test_numbers_by_hand() -> None:
    """f(x) = x1^2 / 2 + x2, slope (x1, 1), at x1 = 0.75 4 + 0.25 0 = 3 and 0.5 (2 - 2) = 0."""

    def critic(x: Tensor) -> Tensor:
        return x[:, 0].square() / 2 + x[:, 1]

    real = torch.tensor([[4.0, 7.0], [2.0, 0.0]], dtype=torch.float64)
    fake = torch.tensor([[0.0, 1.0], [-2.0, 5.0]], dtype=torch.float64)
    mix = torch.tensor([0.75, 0.5], dtype=torch.float64)
    lengths = np.sqrt([10.0, 1.0])
    for target in (0.5, 1.0, 2.0):
        two = gradient_penalty(critic, real, fake, mix, target=target)
        assert two.item() == pytest.approx(((lengths / target - 1) ** 2).mean(), rel=1e-12)
        one = gradient_penalty(critic, real, fake, mix, target=target, one_sided=True)
        expected = (np.maximum(lengths / target - 1, 0) ** 2).mean()
        assert one.item() == pytest.approx(expected, rel=1e-12)
    default = gradient_penalty(critic, real, fake, mix)
    assert default.item() == pytest.approx(((lengths - 1) ** 2).mean(), rel=1e-12)


def test_r1_of_a_quadratic_critic() -> None:
    """f(x) = ||x||^2 / 2 has slope x: 1/2 mean(3^2 + 4^2, 1 + 0) = 1/2 (25 + 1) / 2."""
    real = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    assert r1(lambda x: x.square().sum(1) / 2, real).item() == 6.5


def convolution_by_hand(real: Array, fake: Array, mix: Array, w: Array, v: Array) -> Array:
    """[B] lengths of the slope of f(x) = mean over places of v . tanh(W x), W over channels."""
    m = mix[:, None, None, None]
    x = m * real + (1 - m) * fake
    hidden = np.tanh(np.einsum("oc,bchw->bohw", w, x))
    places = x.shape[2] * x.shape[3]
    slope = np.einsum("o,bohw,oc->bchw", v, 1 - hidden**2, w) / places
    return np.sqrt((slope**2).sum(axis=(1, 2, 3)))


def test_equals_the_definition_for_a_score_map() -> None:
    real, fake, mix = draw(1, *SHAPE), draw(2, *SHAPE), mixes(3, SHAPE[0])
    w, v = 6 * draw(4, 3, 2), 4 * draw(5, 3)
    arrays = [t.numpy() for t in (real, fake, mix, w, v)]
    lengths = convolution_by_hand(*arrays)
    assert lengths.min() < 1 < lengths.max(), "both sides of the target are under test"

    def critic(x: Tensor) -> Tensor:
        return torch.einsum("o,bohw->bhw", v, torch.einsum("oc,bchw->bohw", w, x).tanh())

    expected = {
        "two-sided": ((lengths - 1) ** 2).mean(),
        "one-sided": (np.maximum(lengths - 1, 0) ** 2).mean(),
        "r1": (convolution_by_hand(*arrays[:2], np.ones(3), w.numpy(), v.numpy()) ** 2).mean() / 2,
    }
    for name in SLOPES:
        got = measure(name, critic, real, fake, mix).item()
        assert got == pytest.approx(expected[name], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_equal_scores_costs_as_one_score(name: str) -> None:
    w = of_length(3.0, *SHAPE[1:])
    for patches in [(1,), (1, 1, 1), (1, 6, 7)]:

        def critic(x: Tensor, patches: tuple[int, ...] = patches) -> Tensor:
            score = (x * w).flatten(1).sum(1)
            return score.reshape(-1, *(1,) * len(patches)).expand(-1, *patches)

        got = measure(name, critic, draw(1, *SHAPE), draw(2, *SHAPE), mixes(3, 3)).item()
        assert got == pytest.approx(penalty(name, w), rel=1e-12)


def test_each_sample_has_a_mix_of_its_own() -> None:
    """The critic records where it is asked: 1 is the real picture, 0 the fake one."""
    asked = []

    def critic(x: Tensor) -> Tensor:
        asked.append(x.detach())
        return x.flatten(1).sum(1)

    real, fake, mix = torch.full(SHAPE, 8.0), torch.full(SHAPE, 4.0), torch.tensor([1.0, 0.0, 0.25])
    gradient_penalty(critic, real, fake, mix)
    assert asked[0].amin(dim=(1, 2, 3)).tolist() == [8.0, 4.0, 5.0]
    assert asked[0].amax(dim=(1, 2, 3)).tolist() == [8.0, 4.0, 5.0]
    r1(critic, real)
    assert asked[1].equal(real)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_costs_the_mean_of_its_samples(name: str) -> None:
    real, fake, mix, w = draw(1, *SHAPE), draw(2, *SHAPE), mixes(3, 3), draw(4, *SHAPE[1:])

    def critic(x: Tensor) -> Tensor:
        return (x * w).tanh().flatten(1).sum(1)

    whole = measure(name, critic, real, fake, mix).item()
    alone = [
        measure(name, critic, real[i : i + 1], fake[i : i + 1], mix[i : i + 1]).item()
        for i in range(3)
    ]
    assert whole == pytest.approx(sum(alone) / 3, rel=1e-12)
    assert min(alone) < max(alone)


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    """Towards weights and pictures, also those that a caller did not detach; twice over."""
    real, fake = draw(1, 2, 3).requires_grad_(), draw(2, 2, 3).requires_grad_()
    w = draw(4, 3, 3).requires_grad_()
    mix = mixes(3, 2)

    def cost(real: Tensor, fake: Tensor, w: Tensor) -> Tensor:
        return measure(name, lambda x: 5 * (x @ w).tanh(), real, fake, mix)

    assert cost(real, fake, w).item() > 0.1, "not at the rest of the one-sided penalty"
    if name == "r1":
        assert torch.autograd.gradcheck(lambda r, w: cost(r, fake, w), (real, w))
        assert torch.autograd.gradgradcheck(lambda r, w: cost(r, fake, w), (real, w))
    else:
        assert torch.autograd.gradcheck(cost, (real, fake, w))
        assert torch.autograd.gradgradcheck(cost, (real, fake, w))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.LeakyReLU(0.2), nn.Conv2d(4, 1, 3)
    )


@pytest.mark.parametrize("name", NAMES)
def test_trains_the_critic_and_leaves_the_pictures_as_they_were(name: str) -> None:
    critic = network()
    real, fake = 0.1 * draw(1, *SHAPE).float(), 0.1 * draw(2, *SHAPE).float()
    measure(name, critic, real, fake, torch.tensor([0.0, 0.5, 1.0])).backward()
    for layer in (critic[0], critic[3]):
        assert layer.weight.grad.abs().max() > 0
    assert not real.requires_grad
    assert not fake.requires_grad
    assert real.grad is fake.grad is None


@pytest.mark.parametrize("name", SLOPES)
def test_autocast_changes_nothing(name: str) -> None:
    real, fake = 0.1 * draw(1, *SHAPE).float(), 0.1 * draw(2, *SHAPE).float()
    critic, mix = network(), torch.tensor([0.1, 0.5, 0.9])
    seen = []
    critic[0].register_forward_hook(lambda *call: seen.append(call[2].dtype))

    asked = Asked(real, fake, torch.zeros(3), torch.zeros(3), mix)

    def both() -> tuple[Tensor, Tensor]:
        value = PENALTIES[name].measure(critic, asked, 1.0)
        return value.detach(), torch.autograd.grad(value, critic[0].weight)[0]

    value, gradient = both()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(real).dtype == torch.bfloat16, "autocast is on, and has cached its weights"
        value_16, gradient_16 = both()
    assert seen == [torch.float32, torch.bfloat16, torch.float32]
    assert value_16.equal(value)
    assert gradient_16.equal(gradient)


@pytest.mark.parametrize("name", SLOPES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_pictures_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    critic, mix = network(), torch.tensor([0.25, 0.5, 0.75])  # exact in every format
    real, fake = draw(1, *SHAPE).to(dtype), draw(2, *SHAPE).to(dtype)
    nought = torch.zeros(3)
    value = PENALTIES[name].measure(critic, Asked(real, fake, nought, nought, mix.to(dtype)), 1.0)
    assert value.dtype == torch.float32
    assert value.equal(measure(name, critic, real.float(), fake.float(), mix))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_finite_at_extremes(name: str, scale: float) -> None:
    """A dead critic has slope 0, where a square root's own gradient would be infinite."""
    w = (scale * draw(4, 20, 1)).float().requires_grad_()
    real, fake = 1e4 * draw(1, 3, 20).float(), -1e4 * draw(2, 3, 20).float()
    value = measure(name, lambda x: x @ w, real, fake, torch.tensor([0.0, 0.5, 1.0]))
    (gradient,) = torch.autograd.grad(value, w)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if scale == 0:
        assert value.item() == (1.0 if name == "two-sided" else 0.0)


# The quadratic potential, which asks the critic nothing.


def test_a_potential_by_hand() -> None:
    """Pictures (1, 2) and (0, 4) stand 3 and 6 off theirs by mean square, scores 2 and -3."""
    real = torch.tensor([[[1.0], [2.0]], [[0.0], [4.0]]])
    fake = torch.tensor([[[2.0], [2.0 - 5**0.5]], [[12**0.5], [4.0]]])
    real_scores, fake_scores = torch.tensor([[5.0], [0.0]]), torch.tensor([[3.0], [3.0]])
    got = quadratic_potential(real, fake, real_scores, fake_scores)
    assert got.item() == pytest.approx((4 / 3 + 9 / 6) / 2, rel=1e-6)


@pytest.mark.parametrize("places", [(), (1,), (1, 3, 2)])
def test_a_potential_by_definition(places: tuple[int, ...]) -> None:
    real, fake = draw(1, *SHAPE), draw(2, *SHAPE)
    of_real, of_fake = draw(3, 3, *places), draw(4, 3, *places)
    rise = (of_real - of_fake).reshape(3, -1).numpy().mean(1)
    distance = ((real - fake) ** 2).reshape(3, -1).numpy().mean(1)
    expected = (rise**2 / distance).mean()
    got = quadratic_potential(real, fake, of_real, of_fake)
    assert got.shape == ()
    assert got.item() == pytest.approx(expected, rel=1e-12)
    assert quadratic_potential(fake, real, of_fake, of_real).item() == got.item()
    near = quadratic_potential(real, (real + fake) / 2, of_real, of_fake)
    assert near.item() == pytest.approx(4 * expected, rel=1e-12), "half as far, four times as dear"
    low = quadratic_potential(real, fake, of_real / 3 + 5, of_fake / 3 + 5)
    assert low.item() == pytest.approx(expected / 9, rel=1e-12)
    turned = quadratic_potential(real, fake.roll(1, 0), of_real, of_fake.roll(1, 0))
    assert abs(turned.item() - expected) > 0.01, "pairs are by place"


def test_a_potential_is_of_the_mean_over_a_picture() -> None:
    """A picture four times as large, of the same tiles, is as far away as one tile."""
    real, fake, scores = draw(1, 3, 2, 4, 4), draw(2, 3, 2, 4, 4), draw(3, 2, 3, 1)
    small = quadratic_potential(real, fake, *scores)
    large = quadratic_potential(real.repeat(1, 1, 2, 2), fake.repeat(1, 1, 2, 2), *scores)
    assert large.item() == pytest.approx(small.item(), rel=1e-12)


def test_a_potential_has_its_scores_already() -> None:
    def critic(x: Tensor) -> Tensor:
        raise AssertionError("is not asked again")

    asked = Asked(draw(1, *SHAPE), draw(2, *SHAPE), draw(3, 3, 1), draw(4, 3, 1), mixes(5, 3))
    got = PENALTIES["quadratic"].measure(critic, asked, 1.0)
    expected = quadratic_potential(asked.real, asked.fake, asked.real_scores, asked.fake_scores)
    assert got.equal(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_potential_in_16_bits_is_computed_in_float32(dtype: torch.dtype) -> None:
    """Squares of scores in the hundreds do not fit into float16."""
    pictures = draw(1, *SHAPE).to(dtype), draw(2, *SHAPE).to(dtype)
    scores = (300 * draw(3, 3, 1)).to(dtype), (300 * draw(4, 3, 1)).to(dtype)
    got = quadratic_potential(*pictures, *scores)
    assert got.dtype == torch.float32
    assert got.equal(quadratic_potential(*(x.float() for x in (*pictures, *scores))))
    assert got.isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_without_numbers(name: str) -> None:
    """Routes are measured on the meta device, within the training's autocast too."""
    critic = network().to("meta")
    real, fake, mix = (torch.empty(*shape, device="meta") for shape in (SHAPE, SHAPE, (3,)))
    value = measure(name, critic, real, fake, mix)
    assert (value.shape, value.is_meta) == ((), True)
    assert all(g is not None for g in torch.autograd.grad(value, [critic[0].weight]))
