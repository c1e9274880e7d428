"""Spectral normalisation: singular values by a full decomposition."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks.spectral import normalise_spectrally


def network() -> nn.Sequential:
    """One layer of each kind, with weights whose singular values are far from 1 and apart."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.ConvTranspose2d(4, 2, 2, stride=2), nn.LeakyReLU(0.2)),
        nn.Flatten(),
        nn.Linear(128, 5),
    )
    normalise_spectrally(net)
    return net.double()


def matrices(net: nn.Sequential) -> list[Tensor]:
    """Effective weights as [out, rest]; a transposed convolution keeps its outputs second."""
    return [
        net[0].weight.flatten(1),
        net[2][0].weight.transpose(0, 1).flatten(1),
        net[4].weight,
    ]


def state(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def pictures() -> Tensor:
    return torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_largest_singular_value_becomes_one() -> None:
    net = network()
    for _ in range(200):
        net(pictures())
    net.eval()
    for matrix in matrices(net):
        assert torch.linalg.svdvals(matrix)[0].item() == pytest.approx(1, abs=1e-9)
    original = net[4].parametrizations.weight.original
    expected = original / torch.linalg.svdvals(original)[0]
    assert torch.allclose(net[4].weight, expected, rtol=1e-9, atol=0)


def test_one_power_iteration_by_hand() -> None:
    """W = diag(3, 1), v = (1, 1)/sqrt 2: u = (3, 1)/sqrt 10, v = (9, 1)/sqrt 82,
    sigma = u^T W v = (3 * 3 * 9 + 1) / sqrt 820 = 2.864, on its way to 3.
    """
    net = nn.Sequential(nn.Linear(2, 2, bias=False))
    normalise_spectrally(net)
    net.double()
    inner = net[0].parametrizations.weight
    with torch.no_grad():
        inner.original.copy_(torch.tensor([[3.0, 0.0], [0.0, 1.0]]))
        inner[0]._v.fill_(math.sqrt(0.5))
    x = torch.tensor([[5.0, 7.0]], dtype=torch.float64)
    sigma = 82 / math.sqrt(820)
    expected = torch.tensor([[15 / sigma, 7 / sigma]], dtype=torch.float64)
    assert torch.allclose(net(x), expected, rtol=1e-14, atol=0)
    assert torch.allclose(inner[0]._u, torch.tensor([3.0, 1.0]).double() / math.sqrt(10))
    assert torch.allclose(inner[0]._v, torch.tensor([9.0, 1.0]).double() / math.sqrt(82))


def test_every_weight_and_nothing_else() -> None:
    names = set(network().state_dict())
    for layer in ("0", "2.0", "4"):
        assert f"{layer}.weight" not in names
        for part in ("original", "0._u", "0._v"):
            assert f"{layer}.parametrizations.weight.{part}" in names
    assert "1.weight" in names, "batch norm is left alone"


def test_vectors_move_in_training_only() -> None:
    net = network().eval()
    before = state(net)
    once, again = net(pictures()), net(pictures())
    assert torch.equal(once, again)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():  # a step away from where u and v had settled
        for p in net.parameters():
            p.add_(torch.randn_like(p))
    before = state(net)
    net.train()(pictures())
    moved = {name for name, v in net.state_dict().items() if not torch.equal(v, before[name])}
    vectors = {name for name in before if name.endswith(("_u", "_v"))}
    assert moved == vectors | {name for name in before if name.startswith("1.") and "_" in name}
    assert len(vectors) == 6


@pytest.mark.parametrize("how", ["deepcopy", "state", "assigned"])
def test_copies_compute_the_same_and_live_alone(how: str) -> None:
    net = network()
    net(pictures())
    if how == "deepcopy":
        other = copy.deepcopy(net)
    else:
        other = network()
        with torch.no_grad():
            for p in other.parameters():
                p.zero_()
        other.load_state_dict(state(net), assign=how == "assigned")
    before = state(net)
    assert torch.equal(other.eval()(pictures()), net.eval()(pictures()))
    other.train()(pictures())
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not torch.allclose(other.eval()(pictures()), net(pictures()))


def test_gradients_of_both_orders() -> None:
    """Also towards the weights, through sigma, with u and v held."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus(), nn.Conv2d(2, 1, 2))
    normalise_spectrally(net)
    net.double().eval()
    names = [name for name, _ in net.named_parameters()]

    def scores(x: Tensor, *values: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))
        return out

    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(scores, (x, *values))
    assert torch.autograd.gradgradcheck(scores, (x, *values))


def test_gradient_of_two_uses_in_training() -> None:
    """D(real) and D(fake) before one backward pass, though the vectors move in between."""
    net = network()
    (net(pictures()).mean() - net(pictures() + 1).mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_shape_without_numbers() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3))
        normalise_spectrally(net)
        assert net(torch.empty(1, 3, 8, 8)).shape == (1, 4, 6, 6)
