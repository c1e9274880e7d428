"""Statistics of batches: by hand, against NumPy, gradients, formats."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.blocks.minibatch import MinibatchDiscrimination
from gan_core.kernels.deviation import deviation


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# Standard deviation.


def test_strided_groups_by_hand() -> None:
    """8 samples in groups of 4: even ones are alike, odd ones are 0, 2, 4, 6 and their opposites.

    Variances over 4: 0 and 20 / 4 = 5. Consecutive groups would have means of roots of 3.25 or so.
    """
    x = torch.zeros(8, 2, 1, 2, dtype=torch.float64)
    x[::2] = 7
    x[1::2, 0] = torch.tensor([0.0, 2.0, 4.0, 6.0], dtype=torch.float64)[:, None, None]
    x[1::2, 1] = -x[1::2, 0]
    alike = deviation(x, 4)
    assert alike.shape == (8, 1, 1, 2)
    assert torch.allclose(alike[::2], torch.tensor(1e-4, dtype=torch.float64), rtol=1e-9)
    assert torch.allclose(alike[1::2], torch.tensor(5.0, dtype=torch.float64).sqrt(), rtol=1e-8)


SIZES = [(8, 4, 4), (12, 4, 4), (4, 4, 4), (16, 16, 16), (8, 1, 1)]  # a batch's, G, G
UNEVEN = [(3, 4, 3), (2, 4, 2), (1, 4, 1), (6, 4, 3), (9, 4, 3), (10, 4, 2), (7, 4, 1)]


@pytest.mark.parametrize(("batch", "groups", "together"), [*SIZES, *UNEVEN])
def test_by_formula(batch: int, groups: int, together: int) -> None:
    x = draw(batch, 3, 2, 5)
    apart = batch // together
    got = deviation(x, groups)
    for b in range(batch):
        group = x.numpy()[b % apart :: apart]
        assert len(group) == together
        variance = (group**2).mean(0) - group.mean(0) ** 2
        expected = np.sqrt(variance.clip(0) + 1e-8).mean()
        np.testing.assert_allclose(got[b], expected, rtol=1e-6)


def test_a_collapsed_batch_is_seen() -> None:
    x = draw(8, 3, 4, 4)
    assert deviation(x, 4).min() > 0.5
    assert deviation(x[:1].expand(8, -1, -1, -1), 4).max().item() == pytest.approx(1e-4)


def test_gradients_of_the_deviation() -> None:
    x = draw(4, 2, 1, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: deviation(x, 2), x)
    assert torch.autograd.gradgradcheck(lambda x: deviation(x, 2), x)
    same = torch.ones(4, 2, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(deviation(same, 4).sum(), same, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), same)
    assert slope.isfinite().all()
    assert second.isfinite().all()


def test_the_deviation_in_16_bits() -> None:
    x = 300 * draw(8, 3, 4, 4).half()  # whose squares overflow
    got = deviation(x, 4)
    assert got.dtype == torch.float16
    assert torch.allclose(got.double(), deviation(x.double(), 4), rtol=1e-3)


# Discrimination.


def by_definition(layer: MinibatchDiscrimination, x: Tensor, dims: int) -> np.ndarray:
    t = layer.project.weight.detach().numpy().T / np.sqrt(x.shape[1])
    m = (x.numpy() @ t).reshape(len(x), -1, dims)
    out = np.zeros(m.shape[:2])
    for i in range(len(x)):
        for j in range(len(x)):
            if i != j:
                out[i] += np.exp(-np.abs(m[i] - m[j]).sum(-1))
    return out


@pytest.mark.parametrize("chunk", [1, 100, 150, 1 << 24])
def test_discrimination_by_definition_however_it_is_cut(chunk: int) -> None:
    """7 samples, 4 kernels, 3 dimensions: 84 differences for each sample."""
    torch.manual_seed(0)
    layer, x = MinibatchDiscrimination(5, 4, 3, chunk).double(), draw(7, 5)
    got = layer(x)
    assert got.shape == (7, 4)
    np.testing.assert_allclose(got.detach(), by_definition(layer, x, 3), rtol=1e-10, atol=1e-12)
    assert got.std() > 0.01


def test_two_alike_and_one_alone() -> None:
    layer = MinibatchDiscrimination(5, 4)
    x = draw(1, 5).float().expand(3, -1).clone()
    x[2] += 1000
    assert torch.allclose(layer(x), torch.tensor([[1.0], [1.0], [0.0]]).expand(3, 4), atol=1e-5)
    assert torch.equal(layer(x[:1]), torch.zeros(1, 4)), "there is no other"


@pytest.mark.parametrize("chunk", [1, 1 << 24])
def test_gradients_of_discrimination(chunk: int) -> None:
    torch.manual_seed(0)
    layer, x = MinibatchDiscrimination(3, 2, 2, chunk).double(), draw(4, 3).requires_grad_()
    assert torch.autograd.gradcheck(layer, x)
    assert torch.autograd.gradgradcheck(layer, x)
    layer(x).square().sum().backward()
    assert layer.project.weight.grad is not None
    assert layer.project.weight.grad.abs().min() > 0


def test_no_more_than_a_chunk_is_held() -> None:
    """What the graph keeps for the way back is far below the differences' number."""
    layer, x = MinibatchDiscrimination(8, 10, 5, chunk=20_000), draw(100, 8).float()
    kept: set[tuple[int, int]] = set()

    def keep(saved: Tensor) -> Tensor:
        kept.add((saved.untyped_storage().data_ptr(), saved.untyped_storage().nbytes() // 4))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        y = layer(x.requires_grad_())
    y.sum().backward()
    assert 0 < sum(numbers for _, numbers in kept) < 100 * 100 * 10 * 5 / 20


def test_shapes_alone() -> None:
    with torch.device("meta"):
        layer, x = MinibatchDiscrimination(6), torch.empty(4, 6, requires_grad=True)
        y = layer(x)
        assert y.shape == (4, 100)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        slope.square().sum().backward()
        assert deviation(torch.empty(6, 3, 4, 8), 4).shape == (6, 1, 4, 8)
    assert layer.project.weight.grad is not None
