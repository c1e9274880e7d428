"""The encoder against the discriminator that lends it its stages, and hand counts."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.networks.dcgan import DCGANDiscriminator
from gan_core.networks.encoder import DCGANEncoder


def encoder(*arguments: Any, **keywords: Any) -> DCGANEncoder:
    return DCGANEncoder(*arguments, **{"filters": 2, "init_gain": 0.3, **keywords})


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("kernel", [4, 5])
@pytest.mark.parametrize("aspect", [(1, 1), [2, 3]])
@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512])
@pytest.mark.parametrize("channels", [1, 4])
def test_shapes_without_numbers(
    channels: int, size: int, aspect: tuple[int, int], kernel: int
) -> None:
    rows, columns = aspect
    with torch.device("meta"):
        E = encoder(channels, size, 7, aspect, kernel=kernel)
        assert E(torch.empty(3, channels, size * rows, size * columns)).shape == (3, 7)


def test_parameters_by_hand() -> None:
    """2, 4 and 8 channels at 16, 8 and 4 pixels; batch norm, and no bias before it, from 4 on."""
    stages = (3 * 2 * 25 + 2) + (2 * 4 * 25 + 2 * 4) + (4 * 8 * 25 + 2 * 8)
    assert parameters(encoder(3, 32, 5, kernel=5)) == stages + (16 * 8 + 1) * 5
    assert parameters(encoder(3, 32, 5, (2, 3), kernel=5)) == stages + (96 * 8 + 1) * 5
    held = encoder(3, 32, 5, kernel=5, weights="normalised")
    assert parameters(held) == stages + (16 * 8 + 1) * 5
    assert "layers.4.parametrizations.weight.original" in held.state_dict()


def test_stages_are_the_discriminators_and_the_end_is_linear() -> None:
    torch.manual_seed(0)
    E = encoder(3, 32, 5, (1, 2)).eval()
    D = DCGANDiscriminator(3, 32, aspect=(1, 2), filters=2, norm="batch").eval()
    assert isinstance(E.layers[1][1], nn.BatchNorm2d)
    D.stages.load_state_dict(E.layers[:3].state_dict())
    x = torch.randn(2, 3, 32, 64)
    h = D(x, features=True)[-2]
    assert h.shape == (2, 8, 4, 8)
    expected = F.linear(h.flatten(1), E.layers[-1].weight, E.layers[-1].bias)
    assert torch.allclose(E(x), expected, rtol=1e-6, atol=1e-7)


def test_codes_are_unbounded() -> None:
    E = encoder(1, 16, 2).eval()
    with torch.no_grad():
        E.layers[-1].bias.copy_(torch.tensor([-50.0, 50.0]))
    assert E(torch.zeros(1, 1, 16, 16))[0].tolist() == pytest.approx([-50, 50], abs=1)


def test_first_weights() -> None:
    torch.manual_seed(0)
    E = DCGANEncoder(3, 32, 64)
    for name, p in E.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        elif p.ndim > 1:
            assert p.std().item() == pytest.approx(0.02, rel=3.6 / p.numel() ** 0.5), name


def test_numbers_in_16_bits() -> None:
    torch.manual_seed(0)
    E, x = encoder(1, 16, 5), torch.randn(4, 1, 16, 16)
    exact = E(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (E(x) - exact).abs().max() < 0.03 * exact.abs().max()


@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
def test_second_derivatives(weights: str) -> None:
    torch.manual_seed(0)
    E = encoder(1, 16, 3, norm="layer", weights=weights).double().eval()
    x = torch.randn(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)

    def average(x: Tensor) -> Tensor:
        return E(x).mean()

    assert torch.autograd.gradgradcheck(average, (x,), fast_mode=True)
    (slope,) = torch.autograd.grad(average(x), x, create_graph=True)
    slope.square().sum().backward()
    for name, p in E.named_parameters():
        if p.ndim > 1:  # some biases only move what is flat between its kinks
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((3, 24, 5), {}, "size must be a power of two from 16 to 512, not 24"),
        ((3, 16, 0), {}, "outputs must be 1 or more, not 0"),
        ((3, 16, 5, (1, 0)), {}, "aspect must be rows and columns"),
        ((3, 16, 5), {"filters": 0}, "filters must be 1 or more, not 0"),
        ((3, 16, 5), {"kernel": -1}, "kernel must be 1 or more, not -1"),
        ((3, 16, 5), {"weights": "clipped"}, "choose free, spectral, normalised"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: tuple[Any, ...], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        encoder(*arguments, **keywords)
