"""Self-attention against a NumPy loop over places, and what it must do whatever its weights are."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks.attention import SelfAttention


def shaken(channels: int, gamma: float = 0.7) -> SelfAttention:
    torch.manual_seed(0)
    layer = SelfAttention(channels).double()
    for p in layer.parameters():
        nn.init.normal_(p)
    nn.init.constant_(layer.gamma, gamma)
    return layer


def by_hand(layer: SelfAttention, x: Tensor) -> np.ndarray:
    """One sample [C, H, W]: for every place a softmax over the 2x2 cells' largest keys."""
    weight = {k: v.detach().numpy().squeeze() for k, v in layer.named_parameters()}
    maps = x.numpy()
    _, height, width = maps.shape
    cells = [
        (slice(i, i + 2), slice(j, j + 2)) for i in range(0, height, 2) for j in range(0, width, 2)
    ]
    phi, g = (np.tensordot(weight[f"{name}.weight"], maps, 1) for name in ("phi", "g"))
    keys = [phi[:, i, j].max((1, 2)) for i, j in cells]
    values = [g[:, i, j].max((1, 2)) for i, j in cells]
    out = maps.copy()
    for i in range(height):
        for j in range(width):
            query = weight["theta.weight"] @ maps[:, i, j]
            likeness = np.array([query @ key for key in keys])
            share = np.exp(likeness - likeness.max())
            share /= share.sum()
            seen = sum(s * v for s, v in zip(share, values, strict=True))
            out[:, i, j] += weight["gamma"] * (weight["o.weight"] @ seen)
    return out


@pytest.mark.parametrize("sides", [(4, 4), (8, 4), (5, 7), (1, 3), (1, 1)])
def test_formula(sides: tuple[int, int]) -> None:
    layer = shaken(16)
    x = torch.randn(2, 16, *sides, dtype=torch.float64)
    y = layer(x).detach()
    for b in range(2):
        assert np.allclose(y[b], by_hand(layer, x[b]), rtol=1e-12, atol=1e-12)


def test_is_the_identity_at_first() -> None:
    layer = SelfAttention(16)
    x = torch.randn(2, 16, 4, 4)
    y = layer(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert layer.gamma.grad.abs() > 0, "from where it can grow"


def test_shares_of_the_keys_sum_to_one() -> None:
    """Where all values are the same vector, every place sees that vector, wherever it looks."""
    layer = shaken(8)
    with torch.no_grad():
        layer.g.weight[:, 1:] = 0
    x = torch.randn(3, 8, 6, 6, dtype=torch.float64)
    x[:, 0] = 3.0
    value = 3.0 * layer.g.weight[:, 0, 0, 0]
    expected = 0.7 * (layer.o.weight[:, :, 0, 0] @ value)
    added = layer(x) - x
    assert torch.allclose(added, expected[:, None, None].expand_as(added), rtol=1e-12, atol=1e-12)


def test_cells_in_another_order_give_the_same_in_that_order() -> None:
    """Nothing but the 2x2 cells knows of places."""
    layer = shaken(8)
    cells = torch.randn(2, 8, 9, 4, dtype=torch.float64)

    def paved(cells: Tensor) -> Tensor:  # 3 x 3 cells of 2 x 2
        return cells.reshape(2, 8, 3, 3, 2, 2).transpose(3, 4).reshape(2, 8, 6, 6)

    order = torch.randperm(9)
    moved = layer(paved(cells[:, :, order]))
    cut = layer(paved(cells)).reshape(2, 8, 3, 2, 3, 2).transpose(3, 4).reshape(2, 8, 9, 4)
    assert torch.allclose(moved, paved(cut[:, :, order]), rtol=1e-12, atol=1e-12)


def test_samples_do_not_see_each_other() -> None:
    layer = shaken(8)
    x = torch.randn(3, 8, 4, 4, dtype=torch.float64)
    assert torch.allclose(layer(x)[1:2], layer(x[1:2]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(16, 2 * 16 * 2 + 2 * 16 * 8 + 1), (4, 2 * 4 * 1 + 2 * 4 * 2 + 1), (1, 4 + 1)],
)
def test_parameters(channels: int, expected: int) -> None:
    layer = SelfAttention(channels)
    assert sum(p.numel() for p in layer.parameters()) == expected
    assert layer(torch.randn(1, channels, 4, 4)).shape == (1, channels, 4, 4)


@pytest.mark.parametrize("sides", [(2, 2), (3, 2)])
def test_gradients_of_both_orders(sides: tuple[int, int]) -> None:
    """Of the maps and of every weight: a gradient penalty may go through it."""
    layer = shaken(8)
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Tensor, *values: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))
        return out

    x = torch.randn(1, 8, *sides, dtype=torch.float64, requires_grad=True)
    values = [(0.3 * p).detach().requires_grad_() for p in layer.parameters()]
    assert torch.autograd.gradcheck(run, (x, *values))
    assert torch.autograd.gradgradcheck(run, (x, *values))


def test_second_gradients_in_float32() -> None:
    """Whose kernels are not those of float64."""
    layer = shaken(64).float()
    x = torch.randn(2, 64, 8, 8, requires_grad=True)
    (slope,) = torch.autograd.grad(layer(x).square().sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_16_bits_and_no_numbers() -> None:
    layer = shaken(16).float()
    for p in layer.parameters():
        p.data *= 0.3
    x = torch.randn(2, 16, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert (y.float() - layer(x)).abs().max() < 0.05 * layer(x).abs().max()
    assert layer.to("meta")(x.to("meta")).shape == (2, 16, 8, 8)
