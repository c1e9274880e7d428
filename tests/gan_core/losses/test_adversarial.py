"""Adversarial losses: numbers by hand, independent formulas, signs, gradients and extremes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.adversarial import (
    LOSSES,
    hinge_discriminator,
    hinge_generator,
    least_squares_discriminator,
    least_squares_generator,
    vanilla_discriminator,
    vanilla_generator,
    wasserstein_discriminator,
    wasserstein_generator,
)

Array = np.ndarray
NAMES = sorted(LOSSES)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def by_definition(name: str, real: Array, fake: Array) -> tuple[float, float]:
    """(discriminator's, generator's) loss as the papers write it, in NumPy's float64."""
    if name == "vanilla":  # Goodfellow et al. 2014: D(x) = sigmoid(score), non-saturating G
        judge = -np.log(sigmoid(real)).mean() - np.log(1 - sigmoid(fake)).mean()
        return judge, -np.log(sigmoid(fake)).mean()
    if name == "lsgan":  # Mao et al. 2017, a = 0, b = c = 1
        return ((real - 1) ** 2).mean() + (fake**2).mean(), ((fake - 1) ** 2).mean()
    if name == "wgan":  # Arjovsky et al. 2017
        return fake.mean() - real.mean(), -fake.mean()
    assert name == "hinge", f"write the formula of {name} here"
    judge = -np.minimum(0, real - 1).mean() - np.minimum(0, -fake - 1).mean()
    return judge, -fake.mean()


def scores(seed: int, shape: tuple[int, ...] = (4, 1, 3, 5)) -> Tensor:
    """Real scores, never near the hinge's corners at -1 and 1."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    return torch.where((x.abs() - 1).abs() < 0.05, x * 1.2, x)


def test_numbers_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0, 3.0, 0.0])
    assert hinge_discriminator(real, fake).item() == 0.5 + (0 + 2 + 4 + 1) / 4
    assert hinge_generator(fake).item() == -0.5
    assert least_squares_discriminator(real, fake).item() == 1 + (4 + 1 + 9 + 0) / 4
    assert least_squares_generator(fake).item() == (9 + 0 + 4 + 1) / 4
    assert wasserstein_discriminator(real, fake).item() == 0.5 - 1.0
    assert wasserstein_generator(fake).item() == -0.5
    zero = torch.zeros(3)
    assert vanilla_discriminator(zero, zero).item() == pytest.approx(2 * math.log(2), abs=1e-6)
    assert vanilla_generator(zero).item() == pytest.approx(math.log(2), abs=1e-6)
    e = torch.tensor([math.log(3.0)])  # sigmoid: 3/4
    assert vanilla_discriminator(e, e).item() == pytest.approx(
        math.log(4 / 3) + math.log(4), abs=1e-6
    )
    assert vanilla_generator(e).item() == pytest.approx(math.log(4 / 3), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(6,), (4, 1), (4, 1, 3, 5)])
def test_equals_the_definition(name: str, shape: tuple[int, ...]) -> None:
    real, fake = scores(1, shape), scores(2, shape)
    judge, generator = by_definition(name, real.numpy(), fake.numpy())
    loss = LOSSES[name]
    assert loss.discriminator(real, fake).item() == pytest.approx(judge, rel=1e-12)
    assert loss.generator(fake).item() == pytest.approx(generator, rel=1e-12)
    assert loss.generator(fake).shape == loss.discriminator(real, fake).shape == ()


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


@pytest.mark.parametrize("name", NAMES)
def test_signs(name: str) -> None:
    """High score = real. Least squares pulls scores to its targets, so only up to those."""
    reach = 0.99 if name == "lsgan" else 20.0
    points = torch.linspace(-reach, reach, 41, dtype=torch.float64)
    if name == "lsgan":
        d_real, _, g_fake = gradients(name, points)
        _, d_fake, _ = gradients(name, points.abs())
    else:
        d_real, d_fake, g_fake = gradients(name, points)
    assert (d_real <= 0).all()
    assert (d_fake >= 0).all()
    assert (g_fake <= 0).all()
    assert d_real.min() < 0 < d_fake.max()
    assert g_fake.max() < 0, "a generator always has somewhere to go"


def test_least_squares_rests_at_its_targets() -> None:
    one, nought = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    assert least_squares_discriminator(one, nought) == 0
    assert least_squares_generator(one) == 0
    d_real, _, g_fake = gradients("lsgan", one)
    _, d_fake, _ = gradients("lsgan", nought)
    assert d_real.abs().max() == d_fake.abs().max() == g_fake.abs().max() == 0


def test_hinge_leaves_alone_what_is_beyond_the_margin() -> None:
    d_real, d_fake, g_fake = gradients("hinge", torch.tensor([-1.5, 0.0, 1.5]))
    assert (d_real != 0).tolist() == [True, True, False]
    assert (d_fake != 0).tolist() == [False, True, True]
    assert g_fake.tolist() == pytest.approx([-1 / 3] * 3), "the generator's is never clipped"


def test_wasserstein_has_no_floor() -> None:
    """It alone says so: scores drift apart for ever unless a penalty holds the slope."""
    points = torch.linspace(-20, 20, 5, dtype=torch.float64)
    d_real, d_fake, g_fake = gradients("wgan", points)
    for gradient, sign in [(d_real, -1), (d_fake, 1), (g_fake, -1)]:
        assert gradient.tolist() == pytest.approx([sign / 5] * 5, rel=1e-15)
    far = torch.full((2,), 1e6)
    sinking = {name for name in NAMES if LOSSES[name].discriminator(far, -far) < 0}
    assert sinking == {name for name in NAMES if LOSSES[name].needs_penalty} == {"wgan"}


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: str) -> None:
    real, fake = scores(3, (3, 2)).requires_grad_(), scores(4, (3, 2)).requires_grad_()
    loss = LOSSES[name]
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))
    assert torch.autograd.gradgradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradgradcheck(loss.generator, (fake,))


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
    assert vanilla_discriminator(-far, far).item() == pytest.approx(2e4, rel=1e-6)
    assert vanilla_generator(-far).item() == pytest.approx(1e4, rel=1e-6)


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
    assert LOSSES[name].generator(fake.double()).dtype == torch.float64
