"""Feature matching: numbers by hand, independent formulas, targets, gradients, formats."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.losses.features import mean_feature_matching, paired_feature_matching

Match = Callable[[list[Tensor], list[Tensor]], Tensor]
MATCHES = [paired_feature_matching, mean_feature_matching]
SHAPES = [(3, 4, 5, 2), (3, 2, 1, 3), (3, 6)]


def layers(seed: int, dtype: torch.dtype = torch.float64, batch: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, *shape[1:], generator=generator, dtype=torch.float64).to(dtype)
        for shape in SHAPES
    ]


def by_definition(match: Match, real: list[Tensor], fake: list[Tensor]) -> float:
    total = 0.0
    for layer in zip(real, fake, strict=True):
        r, f = (x.double().numpy() for x in layer)
        if match is paired_feature_matching:
            total += np.abs(r - f).sum() / r.size
        else:
            means = [np.array([x[:, c].mean() for c in range(x.shape[1])]) for x in (r, f)]
            total += ((means[0] - means[1]) ** 2).sum() / r.shape[1]
    return total


def test_numbers_by_hand() -> None:
    """Two samples of one place and two channels, then one layer of one channel."""
    real = [torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[[5.0, 7.0]], [[0.0, 0.0]]])]
    fake = [torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[[5.0, 3.0]], [[0.0, 8.0]]])]
    assert paired_feature_matching(real, fake).item() == (2 + 2 + 2 + 4) / 4 + (4 + 8) / 4
    # channel means 2, 3 against 2, 0; then 3 against 4
    assert mean_feature_matching(real, fake).item() == (0 + 9) / 2 + 1


@pytest.mark.parametrize("match", MATCHES)
def test_equals_the_definition(match: Match) -> None:
    real, fake = layers(1), layers(2)
    value = match(real, fake)
    assert value.shape == ()
    assert value.item() == pytest.approx(by_definition(match, real, fake), rel=1e-12)
    assert match(fake, real).item() == pytest.approx(value.item(), rel=1e-12)
    assert match(real, real).item() == 0


def test_only_pairs_mind_who_is_who() -> None:
    """The same pictures in another order, and moved to other places, have the same means."""
    real = layers(1)
    turned = [x.flip(0).flatten(2).flip(2).reshape(x.shape) for x in real[:2]]
    assert mean_feature_matching(real[:2], turned).item() == pytest.approx(0, abs=1e-28)
    assert paired_feature_matching(real[:2], turned).item() > 1


def test_means_do_not_ask_for_equal_batches() -> None:
    real, fake = layers(1, batch=5), layers(2, batch=2)
    expected = by_definition(mean_feature_matching, real, fake)
    assert mean_feature_matching(real, fake).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("match", MATCHES)
def test_lists_of_different_depth_are_refused(match: Match) -> None:
    with pytest.raises(ValueError, match="shorter"):
        match(layers(1), layers(2)[:2])


@pytest.mark.parametrize("match", MATCHES)
def test_the_real_side_is_a_target(match: Match) -> None:
    real, fake = layers(1), layers(2)
    for x in (*real, *fake):
        x.requires_grad_()
    match(real, fake).backward()
    assert all(x.grad is None for x in real)
    assert all(x.grad is not None and x.grad.abs().max() > 0 for x in fake)


@pytest.mark.parametrize("match", MATCHES)
def test_descent_nears_the_target(match: Match) -> None:
    real, fake = layers(1), [x.requires_grad_() for x in layers(2)]
    before = match(real, fake)
    gradients = torch.autograd.grad(before, fake)
    after = match(real, [f - 1e-3 * g for f, g in zip(fake, gradients, strict=True)])
    assert after < before


@pytest.mark.parametrize("match", MATCHES)
def test_gradients(match: Match) -> None:
    real, fake = layers(1), [x.requires_grad_() for x in layers(2)]
    assert torch.autograd.gradcheck(lambda *fake: match(real, fake), fake)
    if match is mean_feature_matching:  # |x| has no second derivative to check
        assert torch.autograd.gradgradcheck(lambda *fake: match(real, fake), fake)


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(match: Match, dtype: torch.dtype) -> None:
    real, fake = layers(1, dtype), layers(2, dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = match(real, fake)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(by_definition(match, real, fake), rel=1e-5)
    assert match(layers(1), layers(2)).dtype == torch.float64


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_finite_at_extremes(match: Match, dtype: torch.dtype) -> None:
    """6e4 and its like are finite in float16; their differences and squares are not."""
    real = [torch.full((2, 3, 8, 8), 6e4, dtype=dtype)]
    fake = [torch.full((2, 3, 8, 8), -6e4, dtype=dtype, requires_grad=True)]
    value = match(real, fake)
    distance = 2 * real[0][0, 0, 0, 0].item()
    expected = distance if match is paired_feature_matching else distance**2
    assert value.item() == pytest.approx(expected, rel=1e-6)
    value.backward()
    assert fake[0].grad is not None
    assert fake[0].grad.isfinite().all()
