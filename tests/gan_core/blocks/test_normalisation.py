"""Norms against means and variances taken over the axes that their names stand for."""

import pytest
import torch
from torch import nn

from gan_core.blocks.normalisation import Norm, norm_layer

AXES: dict[Norm, tuple[int, ...]] = {"instance": (2, 3), "batch": (0, 2, 3), "layer": (1, 2, 3)}


@pytest.mark.parametrize("norm", AXES)
def test_what_is_normalised_together(norm: Norm) -> None:
    torch.manual_seed(0)
    scale = torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)[:, None, None]
    x = scale * (3 + torch.randn(4, 3, 5, 6, dtype=torch.float64))
    mean = x.mean(AXES[norm], keepdim=True)
    variance = (x - mean).square().mean(AXES[norm], keepdim=True)
    layer = norm_layer(norm, 3).double()
    assert torch.allclose(layer(x), (x - mean) / (variance + 1e-5).sqrt(), rtol=1e-10, atol=1e-12)


def test_none_is_nothing() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(norm_layer("none", 3)(x), x)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_gain_and_bias_are_per_channel(norm: Norm) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 3, 5, 6)
    layer, bare = norm_layer(norm, 3), norm_layer(norm, 3, affine=False)
    gain, bias = torch.tensor([2.0, -1.0, 0.5]), torch.tensor([0.0, 1.0, 10.0])
    layer.load_state_dict({"weight": gain, "bias": bias}, strict=False)
    expected = gain[:, None, None] * bare(x) + bias[:, None, None]
    assert torch.allclose(layer(x), expected, atol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_parameters(affine: bool) -> None:
    counts = {"instance": 0, "batch": 6 * affine, "layer": 6 * affine, "none": 0}
    for norm, expected in counts.items():
        layer = norm_layer(norm, 3, affine)  # type: ignore[arg-type]
        assert sum(p.numel() for p in layer.parameters()) == expected, norm


@pytest.mark.parametrize("norm", ["instance", "layer", "none"])
def test_samples_do_not_see_each_other(norm: Norm) -> None:
    torch.manual_seed(0)
    x, layer = torch.randn(4, 3, 5, 6), norm_layer(norm, 3)
    together = layer(x)
    for b in range(4):
        assert torch.allclose(layer(x[b : b + 1]), together[b : b + 1], atol=1e-6)


@pytest.mark.parametrize("norm", ["instance", "layer"])
def test_second_derivatives(norm: Norm) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(norm_layer(norm, 2), nn.Softplus()).double()
    x = torch.randn(2, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(layer, (x,))


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="norm 'film': choose instance, batch, layer, none"):
        norm_layer("film", 3)  # type: ignore[arg-type]
