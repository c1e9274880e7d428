"""The norm with a gain and a bias per class, against its formula."""

import pytest
import torch
from torch import nn

from gan_core.blocks.conditional import ClassConditionalNorm


def test_by_hand() -> None:
    """One channel with values -1 and 1, which are their own instance norm (but for its eps)."""
    layer = ClassConditionalNorm(nn.InstanceNorm2d(1, eps=0.0), 3, 1)
    layer.gain.data = torch.tensor([[1.0], [2.0], [-4.0]])
    layer.bias.data = torch.tensor([[0.0], [10.0], [100.0]])
    x = torch.tensor([-1.0, 1.0]).expand(4, 1, 1, 2)
    y = layer(x, torch.tensor([2, 0, 1, 2]))
    assert y.flatten(1).tolist() == [[104.0, 96.0], [-1.0, 1.0], [8.0, 12.0], [104.0, 96.0]]


@pytest.mark.parametrize(
    "norm", [nn.BatchNorm2d(3, affine=False), nn.InstanceNorm2d(3), nn.Identity()]
)
def test_starts_as_the_plain_norm(norm: nn.Module) -> None:
    x = 5 + 3 * torch.randn(4, 3, 6, 6)
    layer = ClassConditionalNorm(norm, 2, 3)
    assert torch.equal(layer(x, torch.tensor([0, 1, 1, 0])), norm(x))


def test_each_channel_and_class_has_its_own() -> None:
    torch.manual_seed(0)
    x, labels = torch.randn(5, 3, 4, 4, dtype=torch.float64), torch.tensor([0, 3, 1, 3, 2])
    layer = ClassConditionalNorm(nn.BatchNorm2d(3, affine=False), 4, 3).double()
    nn.init.normal_(layer.gain)
    nn.init.normal_(layer.bias)
    y = layer(x, labels)
    for c in range(3):
        mean, variance = x[:, c].mean(), x[:, c].var(correction=0)
        for b, label in enumerate(labels):
            plain = (x[b, c] - mean) / (variance + 1e-5).sqrt()
            expected = layer.gain[label, c] * plain + layer.bias[label, c]
            assert torch.allclose(y[b, c], expected, rtol=1e-12, atol=1e-14)


def test_gradients() -> None:
    """Of the picture, gain and bias, twice; a class that is not in the batch gets none."""
    torch.manual_seed(0)
    layer = ClassConditionalNorm(nn.InstanceNorm2d(2), 3, 2).double()
    x = torch.randn(2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([2, 0])

    def run(x: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"gain": gain, "bias": bias}, (x, labels))

    assert torch.autograd.gradcheck(run, (x, layer.gain, layer.bias))
    assert torch.autograd.gradgradcheck(run, (x, layer.gain, layer.bias))
    layer(x, labels).square().sum().backward()
    for parameter in (layer.gain, layer.bias):
        assert (parameter.grad != 0).any(1).tolist() == [True, False, True]


def test_keeps_the_format_of_16_bit_maps() -> None:
    layer = ClassConditionalNorm(nn.BatchNorm2d(2, affine=False), 2, 2)
    x = torch.randn(2, 2, 4, 4, dtype=torch.bfloat16)
    assert layer(x, torch.tensor([0, 1])).dtype == torch.bfloat16
