"""What holds weights: singular values by a full decomposition, lengths by hand."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.weights import Weights, hold_weights

HELD: list[Weights] = ["spectral", "normalised"]
every = pytest.mark.parametrize("weights", HELD)


def network(weights: Weights = "spectral") -> nn.Sequential:
    """One layer of each kind, with weights whose singular values are far from 1 and apart."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.Sequential(nn.ConvTranspose2d(4, 2, 2, stride=2), nn.LeakyReLU(0.2)),
        nn.Flatten(),
        nn.Linear(128, 5),
    )
    hold_weights(net, weights)
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


# Spectral norm.


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
    hold_weights(net, "spectral")
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


# Weight vectors of length 1.


def test_every_outputs_vector_has_length_one_and_its_direction() -> None:
    free, net = network("free"), network("normalised")
    for raw, held in zip(matrices(free), matrices(net), strict=True):
        assert len(held) in (4, 2, 5), "as many as outputs"
        for v, w in zip(raw, held, strict=True):
            expected = v / math.sqrt(sum(number**2 for number in v.tolist()))
            assert torch.allclose(w, expected, rtol=1e-12, atol=0)


def test_a_vectors_length_does_not_count() -> None:
    net = network("normalised").eval()
    before = net(pictures())
    with torch.no_grad():
        net[0].parametrizations.weight.original.mul_(
            torch.tensor([3, 0.1, 20, 7])[:, None, None, None]
        )
        net[2][0].parametrizations.weight.original.mul_(torch.tensor([5, 0.2])[None, :, None, None])
        net[4].parametrizations.weight.original.mul_(torch.tensor([2, 3, 4, 5, 6])[:, None])
    assert torch.allclose(net(pictures()), before, rtol=1e-12, atol=1e-14)


def test_a_gradient_step_turns_the_vectors() -> None:
    """The gradient is orthogonal to v, so that a step of it leaves v's length to second order."""
    net = network("normalised")
    net(pictures()).square().sum().backward()
    for layer, outputs in ((net[0], 0), (net[2][0], 1), (net[4], 0)):
        v = layer.parametrizations.weight.original
        along = (v * v.grad).transpose(0, outputs).flatten(1)
        size = (v * v.grad).abs().transpose(0, outputs).flatten(1)
        assert size.sum(1).min() > 1e-3
        assert (along.sum(1).abs() < 1e-12 * size.sum(1)).all()


def test_the_slope_of_normalised_layers_is_bounded() -> None:
    """sqrt(n) for a linear layer, and it can be reached; sqrt(n) ceil(k / s) for convolutions."""
    equal = nn.Linear(3, 6, bias=False)
    nn.init.constant_(equal.weight, 0.7)
    hold_weights(equal, "normalised")
    assert torch.linalg.matrix_norm(equal.weight, 2).item() == pytest.approx(math.sqrt(6), rel=1e-6)

    def slope(layer: nn.Module, outputs: int) -> float:
        nn.init.constant_(layer.weight, 1.0)
        hold_weights(layer, "normalised")
        torch.manual_seed(0)
        x = torch.randn(1, 2, 12, 12)
        for _ in range(30):  # to the largest singular vector
            x = torch.autograd.functional.vjp(layer, x, layer(x))[1]
            x = x / x.norm()
        return layer(x).norm().item() / math.sqrt(outputs)

    assert 1.8 < slope(nn.Conv2d(2, 3, 4, 2, 1, bias=False), 3) <= 2
    assert 1.8 < slope(nn.ConvTranspose2d(2, 3, 4, 2, 1, bias=False), 3) <= 2
    assert 2.6 < slope(nn.Conv2d(2, 5, 3, 1, 1, bias=False), 5) <= 3


# Both.


@every
def test_every_weight_and_nothing_else(weights: Weights) -> None:
    free = set(network("free").state_dict())
    parts = {"spectral": ("original", "0._u", "0._v"), "normalised": ("original",)}[weights]
    layers = ("0", "2.0", "4")
    expected = free - {f"{layer}.weight" for layer in layers}
    expected |= {f"{layer}.parametrizations.weight.{part}" for layer in layers for part in parts}
    assert set(network(weights).state_dict()) == expected
    assert "1.weight" in expected, "batch norm is left alone"


@every
@pytest.mark.parametrize("how", ["deepcopy", "state", "assigned"])
def test_copies_compute_the_same_and_live_alone(how: str, weights: Weights) -> None:
    net = network(weights)
    net(pictures())
    if how == "deepcopy":
        other = copy.deepcopy(net)
    else:
        other = network(weights)
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


@every
def test_gradients_of_both_orders(weights: Weights) -> None:
    """Also towards the weights, through sigma, with u and v held."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Softplus(), nn.ConvTranspose2d(2, 1, 2))
    hold_weights(net, weights)
    net.double().eval()
    names = [name for name, _ in net.named_parameters()]

    def scores(x: Tensor, *values: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(net, dict(zip(names, values, strict=True)), (x,))
        return out

    x = torch.randn(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(scores, (x, *values))
    assert torch.autograd.gradgradcheck(scores, (x, *values))


@every
def test_gradient_of_two_uses_in_training(weights: Weights) -> None:
    """D(real) and D(fake) before one backward pass, though the vectors move in between."""
    net = network(weights)
    (net(pictures()).mean() - net(pictures() + 1).mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@every
def test_weights_are_held_to_32_bits_in_16(weights: Weights) -> None:
    net = network(weights).float().eval()
    exact = net(pictures().float())
    with torch.autocast("cpu", torch.bfloat16):
        assert net[4].weight.dtype == torch.float32
        assert torch.allclose(net(pictures().float()).float(), exact, rtol=0.1, atol=0.1)


@every
def test_shape_without_numbers(weights: Weights) -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3))
        hold_weights(net, weights)
        assert net(torch.empty(1, 3, 8, 8)).shape == (1, 4, 6, 6)


def test_free_weights_are_left_alone() -> None:
    net = network("free")
    assert not [name for name in net.state_dict() if "parametri" in name]
    assert torch.equal(
        net[0](pictures()), F.conv2d(pictures(), net[0].weight, net[0].bias, padding=1)
    )


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="weights 'clipped': choose free, spectral, normalised"):
        hold_weights(nn.Linear(1, 1), "clipped")  # type: ignore[arg-type]
