from itertools import product

import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks import convolution
from gan_core.blocks.convolution import Conv2d, ConvTranspose2d

PAIRS = [(Conv2d, nn.Conv2d), (ConvTranspose2d, nn.ConvTranspose2d)]
SHAPES = [(1, 2, 2), (2, 3, 4), (3, 2, 3)]


def counted(monkeypatch: pytest.MonkeyPatch, kind: type[nn.Module]) -> list[Tensor]:
    """Inputs of torch's own convolution from now on."""
    seen: list[Tensor] = []
    own = kind.forward

    def forward(self: nn.Module, x: Tensor, *more: object) -> Tensor:
        seen.append(x)
        return own(self, x, *more)

    monkeypatch.setattr(kind, "forward", forward)
    return seen


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch_s_own(
    pair: tuple[type[nn.Module], type[nn.Module]],
    bias: bool,
    shape: tuple[int, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The value and the gradients by everything, at each size of kernel, stride and padding."""
    (ours, theirs), (batch, height, width) = pair, shape
    seen = counted(monkeypatch, theirs)
    for kernel, stride, padding in product((1, 3, 4), (1, 2), (0, 1)):
        if height + 2 * padding < kernel:
            continue
        layer = ours(5, 7, kernel, stride, padding, bias=bias).double()
        x = torch.randn(batch, 5, height, width, dtype=torch.float64, requires_grad=True)
        inputs = [x, *layer.parameters()]
        try:
            wanted = theirs.forward(layer, x)
        except RuntimeError:  # no output at all
            continue
        seen.clear()
        y = layer(x)
        assert not seen, "by a matrix product"
        torch.testing.assert_close(y, wanted, rtol=1e-12, atol=1e-12)
        g = torch.randn_like(y)
        found, expected = (torch.autograd.grad(out, inputs, g) for out in (y, wanted))
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pair", PAIRS)
def test_larger_maps_are_torch_s(
    pair: tuple[type[nn.Module], type[nn.Module]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the places of the smaller map, of all samples together."""
    ours, theirs = pair
    seen = counted(monkeypatch, theirs)
    small = 8 if theirs is nn.ConvTranspose2d else 16
    layer = ours(2, 3, 4, 2, 1)
    layer(torch.zeros(1, 2, small, small))
    assert not seen
    layer(torch.zeros(2, 2, small, small))
    layer(torch.zeros(1, 2, small, small + 2))
    assert len(seen) == 2
    layer(torch.zeros(1, 2, small, small, device="cpu"))
    layer.to("meta")(torch.zeros(1, 2, small, small, device="meta"))
    assert len(seen) == 3
    assert convolution.PLACES == 64


@pytest.mark.parametrize("pair", PAIRS)
def test_a_sample_without_a_batch(pair: tuple[type[nn.Module], type[nn.Module]]) -> None:
    ours, theirs = pair
    layer, x = ours(2, 3, 4, 2, 1), torch.randn(2, 4, 4)
    assert torch.equal(layer(x), theirs.forward(layer, x))


@pytest.mark.parametrize("pair", PAIRS)
def test_under_autocast(pair: tuple[type[nn.Module], type[nn.Module]]) -> None:
    ours, theirs = pair
    torch.manual_seed(0)
    layer, x = ours(64, 32, 4, 2, 1), torch.randn(2, 64, 4, 4)
    exact = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, wanted = layer(x), theirs.forward(layer, x)
    assert y.dtype == wanted.dtype == torch.bfloat16
    near = (wanted - exact).abs().max()
    assert (y - exact).abs().max() < 2 * near
