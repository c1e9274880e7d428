"""Penalties: closed forms, numbers by hand, the right axes, gradients, extremes and autocast."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_core.losses.penalties import PENALTIES, gradient_penalty, r1

Array = np.ndarray
NAMES = sorted(PENALTIES)
SHAPE = (3, 2, 4, 5)


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mixes(seed: int, batch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, generator=generator, dtype=torch.float64)


def of_length(length: float, *shape: int) -> Tensor:
    w = draw(9, *shape)
    return w * (length / w.norm())


def penalty(name: str, w: Tensor, batch: int = 3) -> float:
    """Of the linear critic f(x) = <w, x>."""

    def linear(x: Tensor) -> Tensor:
        return (x * w).flatten(1).sum(1)

    real, fake = draw(1, batch, *w.shape), draw(2, batch, *w.shape)
    return PENALTIES[name](linear, real, fake, mixes(3, batch)).item()


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


def test_numbers_by_hand() -> None:
    """f(x) = x1^2 / 2 + x2, slope (x1, 1), at x1 = 0.75 4 + 0.25 0 = 3 and 0.5 (2 - 2) = 0."""

    def critic(x: Tensor) -> Tensor:
        return x[:, 0].square() / 2 + x[:, 1]

    real = torch.tensor([[4.0, 7.0], [2.0, 0.0]], dtype=torch.float64)
    fake = torch.tensor([[0.0, 1.0], [-2.0, 5.0]], dtype=torch.float64)
    mix = torch.tensor([0.75, 0.5], dtype=torch.float64)
    lengths = np.sqrt([10.0, 1.0])
    for target in (0.0, 1.0, 2.0):
        two = gradient_penalty(critic, real, fake, mix, target=target)
        assert two.item() == pytest.approx(((lengths - target) ** 2).mean(), rel=1e-12)
        one = gradient_penalty(critic, real, fake, mix, target=target, one_sided=True)
        expected = (np.maximum(lengths - target, 0) ** 2).mean()
        assert one.item() == pytest.approx(expected, rel=1e-12)


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
    for name in NAMES:
        got = PENALTIES[name](critic, real, fake, mix).item()
        assert got == pytest.approx(expected[name], rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_map_of_equal_scores_costs_as_one_score(name: str) -> None:
    w = of_length(3.0, *SHAPE[1:])
    for patches in [(1,), (1, 1, 1), (1, 6, 7)]:

        def critic(x: Tensor, patches: tuple[int, ...] = patches) -> Tensor:
            score = (x * w).flatten(1).sum(1)
            return score.reshape(-1, *(1,) * len(patches)).expand(-1, *patches)

        got = PENALTIES[name](critic, draw(1, *SHAPE), draw(2, *SHAPE), mixes(3, 3)).item()
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

    whole = PENALTIES[name](critic, real, fake, mix).item()
    alone = [
        PENALTIES[name](critic, real[i : i + 1], fake[i : i + 1], mix[i : i + 1]).item()
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
        return PENALTIES[name](lambda x: 5 * (x @ w).tanh(), real, fake, mix)

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
    PENALTIES[name](critic, real, fake, torch.tensor([0.0, 0.5, 1.0])).backward()
    for layer in (critic[0], critic[3]):
        assert layer.weight.grad.abs().max() > 0
    assert not real.requires_grad
    assert not fake.requires_grad
    assert real.grad is fake.grad is None


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name: str) -> None:
    real, fake = 0.1 * draw(1, *SHAPE).float(), 0.1 * draw(2, *SHAPE).float()
    critic, mix = network(), torch.tensor([0.1, 0.5, 0.9])
    seen = []
    critic[0].register_forward_hook(lambda *call: seen.append(call[2].dtype))

    def measure() -> tuple[Tensor, Tensor]:
        value = PENALTIES[name](critic, real, fake, mix)
        return value.detach(), torch.autograd.grad(value, critic[0].weight)[0]

    value, gradient = measure()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert critic(real).dtype == torch.bfloat16, "autocast is on, and has cached its weights"
        value_16, gradient_16 = measure()
    assert seen == [torch.float32, torch.bfloat16, torch.float32]
    assert value_16.equal(value)
    assert gradient_16.equal(gradient)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_pictures_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    critic, mix = network(), torch.tensor([0.25, 0.5, 0.75])  # exact in every format
    real, fake = draw(1, *SHAPE).to(dtype), draw(2, *SHAPE).to(dtype)
    value = PENALTIES[name](critic, real, fake, mix.to(dtype))
    assert value.dtype == torch.float32
    assert value.equal(PENALTIES[name](critic, real.float(), fake.float(), mix))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e6])
def test_finite_at_extremes(name: str, scale: float) -> None:
    """A dead critic has slope 0, where a square root's own gradient would be infinite."""
    w = (scale * draw(4, 20, 1)).float().requires_grad_()
    real, fake = 1e4 * draw(1, 3, 20).float(), -1e4 * draw(2, 3, 20).float()
    value = PENALTIES[name](lambda x: x @ w, real, fake, torch.tensor([0.0, 0.5, 1.0]))
    (gradient,) = torch.autograd.grad(value, w)
    assert value.isfinite()
    assert gradient.isfinite().all()
    if scale == 0:
        assert value.item() == (1.0 if name == "two-sided" else 0.0)
