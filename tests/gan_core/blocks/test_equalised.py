"""Weights of N(0, 1), scaled where they are used, by He et al.'s constant; biases as they are."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedConv2d, EqualisedLinear


def layers(gain: float) -> list[tuple[nn.Conv2d | nn.Linear, Tensor, int]]:
    """Wide ones, an input for each of N(0, 1) and their fan-in."""
    torch.manual_seed(0)
    return [
        (EqualisedConv2d(64, 96, 3, padding=1, gain=gain), torch.randn(4, 64, 12, 12), 64 * 9),
        (EqualisedConv2d(64, 96, 1, gain=gain), torch.randn(4, 64, 12, 12), 64),
        (EqualisedLinear(256, 512, gain=gain), torch.randn(64, 256), 256),
    ]


@pytest.mark.parametrize("gain", [1.0, 3.0])
def test_outputs_have_the_gain_as_deviation(gain: float) -> None:
    for layer, x, _ in layers(gain):
        assert 0.98 < layer.weight.std() < 1.02
        assert layer.bias is not None
        assert layer.bias.abs().max() == 0
        inner = layer(x)[..., 1:-1, 1:-1] if x.ndim == 4 else layer(x)
        assert inner.std().item() == pytest.approx(gain, rel=0.05)


def test_the_gain_is_a_relus_unless_told() -> None:
    x = torch.randn(2, 8, 4, 4)
    conv = EqualisedConv2d(8, 5, 3)
    expected = F.conv2d(x, conv.weight * math.sqrt(2 / 72))
    assert torch.allclose(conv(x), expected, atol=1e-6)
    linear = EqualisedLinear(8, 5, bias=False)
    expected = x[:, :, 0, 0] @ linear.weight.T * math.sqrt(2 / 8)
    assert torch.allclose(linear(x[:, :, 0, 0]), expected, atol=1e-6)


def test_gradients_of_weights_are_scaled_and_those_of_biases_are_not() -> None:
    for layer, x, fan_in in layers(2.0):
        scale = 2 / math.sqrt(fan_in)
        layer, x = layer.double(), x.double()
        weight = (scale * layer.weight).detach().requires_grad_()
        bias = layer.bias.detach().clone().requires_grad_()
        if isinstance(layer, nn.Conv2d):
            expected = F.conv2d(x, weight, bias, padding=layer.padding)
        else:
            expected = F.linear(x, weight, bias)
        got = layer(x)
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10)
        of_weight, of_bias = torch.autograd.grad(expected.square().sum(), [weight, bias])
        found = torch.autograd.grad(got.square().sum(), [layer.weight, layer.bias])
        assert torch.allclose(found[0], scale * of_weight, rtol=1e-9, atol=1e-9)
        assert torch.allclose(found[1], of_bias, rtol=1e-9, atol=1e-9)


def test_the_state_holds_the_raw_weight() -> None:
    assert {k: v.shape for k, v in EqualisedConv2d(2, 4, 3).state_dict().items()} == {
        "weight": (4, 2, 3, 3),
        "bias": (4,),
    }
    assert list(EqualisedLinear(2, 4, bias=False).state_dict()) == ["weight"]
