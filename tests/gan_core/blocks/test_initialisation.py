"""First weights by name."""

import math

import pytest
import torch
from torch import nn

from gan_core.blocks.initialisation import initialise


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(32, 64, 3),
        nn.BatchNorm2d(4096),
        nn.Sequential(nn.ConvTranspose2d(64, 32, 3)),
        nn.Linear(128, 96),
    )


def filled(init: str, gain: float) -> nn.Sequential:
    net = layers()
    for p in net.parameters():
        nn.init.constant_(p, 7.0)
    initialise(net, init, gain)  # type: ignore[arg-type]
    return net.requires_grad_(False)


# fan in and out of the three: a transposed convolution's weight is [in, out, k, k], and torch
# counts its second axis as what comes in.
FANS = [(32 * 9, 64 * 9), (32 * 9, 64 * 9), (128, 96)]


@pytest.mark.parametrize("gain", [0.02, 0.5])
@pytest.mark.parametrize("init", ["normal", "xavier", "kaiming"])
def test_spread(init: str, gain: float) -> None:
    net = filled(init, gain)
    for layer, (into, out) in zip((net[0], net[2][0], net[3]), FANS, strict=True):
        expected = {
            "normal": gain,
            "xavier": gain * math.sqrt(2 / (into + out)),
            "kaiming": math.sqrt(2 / into),
        }[init]
        weight, n = layer.weight, layer.weight.numel()
        assert abs(weight.mean()) < 5 * expected / math.sqrt(n)
        assert weight.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
        kurtosis = (weight**4).mean() / (weight**2).mean() ** 2
        assert 2.7 < kurtosis < 3.3, "a Gaussian"


@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_orthogonal(gain: float) -> None:
    net = filled("orthogonal", gain)
    for layer in (net[0], net[2][0], net[3]):
        rows = layer.weight.flatten(1)
        gram = rows @ rows.T / gain**2
        assert (gram - torch.eye(len(rows))).abs().max() < 1e-5


@pytest.mark.parametrize("init", ["normal", "xavier", "kaiming", "orthogonal"])
def test_biases_and_batch_norm(init: str) -> None:
    net = filled(init, 0.02)
    assert all(layer.bias.abs().max() == 0 for layer in (net[0], net[1], net[2][0], net[3]))
    assert net[1].weight.mean() == pytest.approx(1, abs=5 * 0.02 / 64)
    assert net[1].weight.std() == pytest.approx(0.02, rel=5 / math.sqrt(2 * 4096))


def test_layers_without_bias_or_weight() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False), nn.ReLU())
    before = net[0].weight.clone()
    initialise(net, "normal", 0.02)
    assert net[0].bias is None
    assert not torch.equal(net[0].weight, before)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="init 'zeros': choose normal, xavier, kaiming, orthogon"):
        initialise(layers(), "zeros", 0.02)  # type: ignore[arg-type]
