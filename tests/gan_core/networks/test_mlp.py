"""The networks of points against their formulas and hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.networks.mlp import Mapping, PointDiscriminator, PointGenerator

SMALL = {"filters": 7, "layers": 2}


def generator(*arguments: Any, **keywords: Any) -> PointGenerator:
    return PointGenerator(*arguments, **{**SMALL, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> PointDiscriminator:
    return PointDiscriminator(*arguments, **{**SMALL, **keywords})


def mapping(*arguments: Any, **keywords: Any) -> Mapping:
    return Mapping(*arguments, 3, **{**SMALL, **keywords})


every = pytest.mark.parametrize("make", [generator, discriminator, mapping])


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def shake(net: nn.Module) -> Any:
    for p in net.parameters():
        nn.init.normal_(p)
    return net


def by_hand(x: Tensor, net: nn.Module) -> Tensor:
    """Linear, ReLU, linear, ..., linear of the net's weights and biases in turn."""
    values = list(net.parameters())
    for weight, bias in zip(values[:-2:2], values[1:-2:2], strict=True):
        x = (x @ weight.T + bias).clamp(min=0)
    return x @ values[-2].T + values[-1]


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_by_hand(layers: int) -> None:
    torch.manual_seed(0)
    G = shake(generator(3, latent=4, layers=layers)).double()
    D = shake(discriminator(3, layers=layers)).double()
    M = shake(mapping(4, layers=layers)).double()
    z = torch.randn(6, 4, dtype=torch.float64)
    x = G(z)
    assert x.shape == (6, 3)
    assert G.latent == 4
    assert torch.allclose(x, by_hand(z, G), rtol=1e-12, atol=1e-12)
    assert D(x).shape == (6, 1)
    assert torch.allclose(D(x), by_hand(x, D), rtol=1e-12, atol=1e-12)
    assert M(z).shape == (6, 3)
    assert torch.allclose(M(z), by_hand(z, M), rtol=1e-12, atol=1e-12)
    labels = torch.zeros(6, dtype=torch.int64)
    assert torch.equal(G(z, labels), x)
    assert torch.equal(D(x, labels), D(x))


def test_parameters_of_the_toy_script() -> None:
    """Three layers of 512 from and to the plane."""
    hidden = (2 + 1) * 512 + 2 * (512 + 1) * 512
    assert parameters(PointGenerator(2)) == hidden + (512 + 1) * 2
    assert parameters(PointDiscriminator(2)) == hidden + (512 + 1)
    assert parameters(PointDiscriminator(2, norm="layer")) == hidden + (512 + 1) + 3 * 2 * 512
    assert parameters(PointDiscriminator(2, weights="normalised")) == hidden + (512 + 1)
    assert parameters(Mapping(5, 6)) == (5 + 1) * 128 + (128 + 1) * 6


def test_layer_norm() -> None:
    """Over a point's hidden numbers, before each ReLU."""
    torch.manual_seed(0)
    D = shake(discriminator(3, norm="layer"))
    x = torch.randn(5, 3)
    *hidden, scores = D(x, features=True)
    for stage, seen in zip(D.stages, hidden, strict=True):
        linear, norm, _ = stage
        x = torch.relu(F.layer_norm(linear(x), (7,), norm.weight, norm.bias))
        assert torch.allclose(seen, x, rtol=1e-5, atol=1e-5)
    assert torch.allclose(scores, D.score(x), rtol=1e-4, atol=1e-4)


def test_features_are_what_each_relu_gave() -> None:
    torch.manual_seed(0)
    D, x = shake(discriminator(3)), torch.randn(5, 3)
    first, second, scores = D(x, features=True)
    assert torch.equal(scores, D(x))
    assert torch.equal(first, torch.relu(D.stages[0][0](x)))
    assert torch.equal(second, torch.relu(D.stages[1][0](first)))


@every
def test_first_weights(make: Callable[..., nn.Module]) -> None:
    """He's: a variance of 2 / what goes in; the signal keeps its size from layer to layer."""
    torch.manual_seed(0)
    net = make(2, filters=512, layers=3)
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        else:
            expected = (2 / p.shape[1]) ** 0.5
            assert p.std().item() == pytest.approx(expected, rel=3.6 / p.numel() ** 0.5), name


@pytest.mark.parametrize("outputs", [4, 2, 6])
def test_without_hidden_layers_a_mapping_is_a_matrix(outputs: int) -> None:
    """It starts as the identity; what it has not got stays zero."""
    M = Mapping(4, outputs, layers=0)
    assert parameters(M) == 4 * outputs
    x = torch.randn(5, 4)
    shown = min(outputs, 4)
    assert torch.equal(M(x)[:, :shown], x[:, :shown])
    assert torch.equal(M(x)[:, shown:], torch.zeros(5, outputs - shown))
    shake(M)
    assert torch.allclose(M(2 * x), 2 * M(x), rtol=1e-6, atol=1e-6)


@every
def test_shapes_without_numbers_and_numbers_in_16_bits(make: Callable[..., nn.Module]) -> None:
    with torch.device("meta"):
        out = make(2)(torch.empty(6, 2))
    torch.manual_seed(0)
    net, x = make(2), torch.randn(6, 2)
    exact = net(x)
    assert exact.shape == out.shape
    with torch.autocast("cpu", torch.bfloat16):
        assert (net(x) - exact).abs().max() < 0.05 * exact.abs().max()


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
def test_gradient_penalty(weights: str, norm: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = shake(discriminator(2, weights=weights, norm=norm)).double().eval()
    x = torch.randn(5, 2, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return slope.square().sum()

    held = "parametrizations.weight.original"
    weight = D.get_parameter(f"stages.1.0.{'weight' if weights == 'free' else held}")
    assert_gradient(penalty, weight)


@every
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"filters": 0}, "filters must be 1 or more, not 0"),
        ({"layers": -1}, "layers must be [01] or more, not -1"),
    ],
)
def test_wrong_arguments_are_named(
    make: Callable[..., nn.Module], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make(2, **keywords)


def test_other_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="latent must be 1 or more, not 0"):
        generator(2, latent=0)
    with pytest.raises(ValueError, match="layers must be 1 or more, not 0"):
        discriminator(2, layers=0)
    with pytest.raises(ValueError, match="outputs must be 1 or more, not 0"):
        Mapping(2, 0)
    with pytest.raises(ValueError, match="weights 'clipped': choose free, spectral, normalised"):
        discriminator(2, weights="clipped")
