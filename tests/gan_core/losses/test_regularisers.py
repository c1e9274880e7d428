"""Orthogonality and drift: by hand, by definition, which weights count, gradients, formats."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gan_core.blocks.conditional import ClassConditionalNorm
from gan_core.blocks.weights import hold_weights
from gan_core.losses.regularisers import drift, orthogonality, overlap


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def by_definition(w: np.ndarray) -> float:
    """||W W^T o (1 - I)||_F^2 of [outputs, ...]."""
    w = w.reshape(len(w), -1)
    return float((((w @ w.T) * (1 - np.eye(len(w)))) ** 2).sum())


def weight(layer: nn.Module) -> np.ndarray:
    assert isinstance(layer.weight, Tensor)
    return layer.weight.detach().numpy()


def test_by_hand() -> None:
    """Rows (1, 2), (3, 4): 1 3 + 2 4 = 11, twice, whatever the bias."""
    layer = nn.Linear(2, 2)
    layer.weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert orthogonality(layer).item() == 2 * 11**2
    layer.weight.data = torch.tensor([[0.0, 7.0], [-9.0, 0.0]])
    assert orthogonality(layer).item() == 0, "lengths are free"


@pytest.mark.parametrize("rows", [1, 3, 4, 5, 40])
def test_fewer_and_more_outputs_than_inputs(rows: int) -> None:
    w = draw(1, rows, 4)
    expected = by_definition(w.numpy())
    assert overlap(w).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_every_weight_is_read_by_its_outputs() -> None:
    torch.manual_seed(0)
    plain = [nn.Linear(3, 5), nn.Conv2d(2, 4, 3)]
    transposed = [nn.ConvTranspose2d(3, 4, 2)]
    expected = [by_definition(weight(layer)) for layer in plain]
    expected += [by_definition(np.swapaxes(weight(layer), 0, 1)) for layer in transposed]
    for layer, value in zip(plain + transposed, expected, strict=True):
        assert orthogonality(layer).item() == pytest.approx(value, rel=1e-5)
    by_class = ClassConditionalNorm(nn.BatchNorm2d(4, affine=False), 7, 4)  # gains, no weights
    others = [nn.BatchNorm2d(4), nn.Embedding(7, 3), by_class, nn.ReLU()]
    net = nn.Sequential(*others, *plain, nn.Sequential(*transposed))
    assert orthogonality(net).item() == pytest.approx(sum(expected), rel=1e-5)


def test_a_weight_in_two_places_counts_once() -> None:
    layer = nn.Linear(3, 3)
    assert orthogonality(nn.Sequential(layer, layer)).item() == orthogonality(layer).item()


@pytest.mark.parametrize("weights", ["spectral", "normalised"])
def test_the_raw_weight_counts_where_it_is_reparametrised(weights: str) -> None:
    torch.manual_seed(0)
    for layer in (nn.Conv2d(2, 4, 3), nn.ConvTranspose2d(2, 4, 3)):
        expected = orthogonality(layer).item()
        hold_weights(layer, weights)  # type: ignore[arg-type]
        assert orthogonality(layer).item() == expected > 0


def test_gradients() -> None:
    for shape in ((2, 3), (4, 2)):
        w = draw(1, *shape).requires_grad_()
        assert torch.autograd.gradcheck(overlap, w)
        assert torch.autograd.gradgradcheck(overlap, w)
        (gradient,) = torch.autograd.grad(overlap(w), w)
        products = (w @ w.T).detach()
        np.testing.assert_allclose(gradient, 4 * (products - products.diag().diag()) @ w.detach())


def test_descent_makes_outputs_orthogonal() -> None:
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 4, 3).double()
    before = (weight(layer) ** 2).sum(axis=(0, 2, 3))
    optimizer = torch.optim.SGD(layer.parameters(), 0.3)
    for _ in range(200):
        optimizer.zero_grad()
        orthogonality(layer).backward()
        optimizer.step()
    assert 0 <= orthogonality(layer).item() < 1e-9
    after = (weight(layer) ** 2).sum(axis=(0, 2, 3))
    assert (after > before / 4).all(), "not by vanishing"


def test_computes_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    for layer in (nn.Linear(64, 8), nn.Linear(8, 64)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = orthogonality(layer)
        assert value.dtype == torch.float32
        exact = by_definition(weight(layer).astype(float))
        assert value.item() == pytest.approx(exact, rel=1e-5)
    wide = draw(1, 2, 3, dtype=torch.float16) + 300  # whose squared products are 7e10
    assert overlap(wide).item() == pytest.approx(by_definition(wide.double().numpy()), rel=1e-5)


def test_shapes_alone() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.ConvTranspose2d(2, 4, 3), nn.Linear(3, 9))
    orthogonality(net).backward()
    assert all(p.grad is not None for p in (net[0].weight, net[1].weight))


def test_a_generator_of_many_outputs_is_no_burden() -> None:
    """2000 outputs of 8 inputs: the products of the inputs, not of the outputs, are taken."""
    w = draw(1, 2000, 8, dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        value = overlap(w).item()
    assert counter.get_total_flops() == 2 * 2000 * 8 * 8
    assert value == pytest.approx(by_definition(w.double().numpy()), rel=1e-4)


def test_a_small_overlap_of_long_vectors_is_seen() -> None:
    """Rows of length 100 whose product is 0.1, which is nothing beside 100^4."""
    w = torch.tensor([[100.0, 0.0, 0.0], [0.001, 100.0, 0.0]])
    assert overlap(w).item() == pytest.approx(2 * 0.1**2, rel=1e-5)


# Drift.


def test_drift_is_the_mean_square() -> None:
    scores = torch.tensor([[[3.0, -1.0]], [[0.0, 2.0]]], dtype=torch.float16)
    assert drift(scores).item() == (9 + 1 + 0 + 4) / 4
    assert drift(scores).dtype == torch.float32
    assert drift(1000 * scores).item() == pytest.approx(3.5e6)
    x = draw(1, 5).requires_grad_()
    assert torch.autograd.gradcheck(drift, x)
    assert torch.autograd.gradgradcheck(drift, x)
