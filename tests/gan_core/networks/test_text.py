"""The networks of lines against their formulas and hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.networks.text import TextDiscriminator, TextGenerator

SMALL = {"filters": 6, "blocks": 2}


def generator(*arguments: Any, **keywords: Any) -> TextGenerator:
    return TextGenerator(*arguments, **{"latent": 4, **SMALL, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> TextDiscriminator:
    return TextDiscriminator(*arguments, **{**SMALL, **keywords})


every = pytest.mark.parametrize("make", [generator, discriminator])


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def shake(net: nn.Module) -> Any:
    """Biases too, so that none could be missing."""
    for p in net.parameters():
        nn.init.normal_(p, 0, 0.3)
    return net


def blocks_by_hand(x: Tensor, values: list[Tensor]) -> list[Tensor]:
    """What x + 0.3 conv(relu(conv(relu(x)))) gives, block after block; four values for each."""
    seen = []
    for w1, b1, w2, b2 in zip(*(values[i::4] for i in range(4)), strict=True):
        h = F.conv1d(x.clamp(min=0), w1, b1, padding=2)
        x = x + 0.3 * F.conv1d(h.clamp(min=0), w2, b2, padding=2)
        seen.append(x)
    return seen


def test_a_generator_by_hand() -> None:
    torch.manual_seed(0)
    G = shake(generator(5, 7)).double()
    z = torch.randn(3, 4, dtype=torch.float64)
    first, bias, *inner, last, last_bias = G.parameters()
    x = (z @ first.T + bias).reshape(3, 6, 7)
    x = blocks_by_hand(x, inner)[-1]
    logits = torch.einsum("vf,bfl->bvl", last[:, :, 0], x) + last_bias[:, None]
    expected = logits.exp() / logits.exp().sum(1, keepdim=True)
    made = G(z)
    assert G.latent == 4
    assert made.shape == (3, 5, 7)
    assert torch.allclose(made, expected, rtol=1e-10, atol=1e-12)
    assert torch.equal(G(z, torch.zeros(3, dtype=torch.int64)), made)


def test_a_discriminator_by_hand() -> None:
    torch.manual_seed(0)
    D = shake(discriminator(5, 7)).double()
    x = torch.rand(3, 5, 7, dtype=torch.float64)
    first, bias, *inner, last, last_bias = D.parameters()
    seen = blocks_by_hand(torch.einsum("fv,bvl->bfl", first[:, :, 0], x) + bias[:, None], inner)
    scores = seen[-1].flatten(1) @ last.T + last_bias
    assert scores.shape == (3, 1)
    assert torch.allclose(D(x), scores, rtol=1e-10, atol=1e-12)
    *found, told = D(x, features=True)
    assert torch.equal(told, D(x))
    assert len(found) == 2
    for mine, its in zip(seen, found, strict=True):
        assert torch.allclose(its, mine, rtol=1e-10, atol=1e-12)
    assert torch.equal(D(x, torch.zeros(3, dtype=torch.int64)), D(x))


def test_parameters_of_the_language_script() -> None:
    """Dimension 512, five blocks, 32 characters of 102."""
    blocks = 5 * 2 * (512 * 512 * 5 + 512)
    with torch.device("meta"):
        G, D = TextGenerator(102, 32), TextDiscriminator(102, 32)
    assert parameters(G) == (128 + 1) * 512 * 32 + blocks + (512 + 1) * 102 == 15_278_182
    assert parameters(D) == (102 + 1) * 512 + blocks + 512 * 32 + 1 == 13_181_441


def test_places_are_distributions() -> None:
    """However sure the generator is."""
    torch.manual_seed(0)
    G = generator(9, 16)
    made = G(1000 * torch.randn(20, 4))
    assert (made >= 0).all()
    torch.testing.assert_close(made.sum(1), torch.ones(20, 16))
    assert made.amax(1).mean() > 0.9


@every
def test_first_weights(make: Callable[..., nn.Module]) -> None:
    """Uniform with a variance of 4 / (in + out) in convolutions, of 2 / (in + out) elsewhere."""
    torch.manual_seed(0)
    net = make(50, 16, filters=64)
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
            continue
        places = p.shape[2] if p.ndim == 3 else 1
        variance = (4 if p.ndim == 3 else 2) / (places * (p.shape[0] + p.shape[1]))
        assert p.std().item() == pytest.approx(variance**0.5, rel=3.6 / p.numel() ** 0.5), name
        bound = (3 * variance) ** 0.5
        assert bound * (1 - 20 / p.numel()) < p.abs().max().item() <= bound * (1 + 1e-6), name


@every
def test_shapes_without_numbers_and_numbers_in_16_bits(make: Callable[..., nn.Module]) -> None:
    shape = (6, 4) if make is generator else (6, 9, 8)
    with torch.device("meta"):
        out = make(9, 8)(torch.empty(shape))
    torch.manual_seed(0)
    net, x = make(9, 8), torch.rand(shape)
    exact = net(x)
    assert exact.shape == out.shape
    with torch.autocast("cpu", torch.bfloat16):
        near = net(x)
    assert 0 < (near - exact).abs().max() < 0.05 * exact.abs().max()
    if make is generator:
        assert near.dtype == torch.float32
        torch.testing.assert_close(near.sum(1), torch.ones(6, 8))


@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
def test_gradient_penalty(weights: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = shake(discriminator(5, 7, weights=weights)).double().eval()
    x = torch.rand(4, 5, 7, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return slope.square().sum()

    held = "parametrizations.weight.original"
    weight = D.get_parameter(f"blocks.1.residual.1.{'weight' if weights == 'free' else held}")
    assert_gradient(penalty, weight)


def test_weights_that_are_held() -> None:
    """Of every layer: the length of each output's weights is 1, or the largest singular value."""
    torch.manual_seed(0)
    D = discriminator(5, 7, weights="normalised")
    layers = [m for m in D.modules() if isinstance(m, nn.Conv1d | nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        length = layer.weight.flatten(1).norm(dim=1)
        torch.testing.assert_close(length, torch.ones_like(length))
    D, x = discriminator(5, 7, weights="spectral").double(), torch.rand(2, 5, 7).double()
    for _ in range(200):
        D(x)
    for layer in (m for m in D.modules() if isinstance(m, nn.Conv1d | nn.Linear)):
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item()
        assert largest == pytest.approx(1, abs=1e-4)


def test_gradients_reach_every_parameter_through_the_softmax() -> None:
    torch.manual_seed(0)
    G, D = shake(generator(5, 7)), shake(discriminator(5, 7))
    D(G(torch.randn(8, 4))).sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


@every
@pytest.mark.parametrize("name", ["filters", "blocks", "length"])
def test_wrong_arguments_are_named(make: Callable[..., nn.Module], name: str) -> None:
    length = 0 if name == "length" else 8
    with pytest.raises(ValueError, match=f"{name} must be 1 or more, not 0"):
        make(5, length, **({} if name == "length" else {name: 0}))


def test_other_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="latent must be 1 or more, not 0"):
        generator(5, 8, latent=0)
    with pytest.raises(ValueError, match="weights 'clipped': choose free, spectral, normalised"):
        discriminator(5, 8, weights="clipped")
