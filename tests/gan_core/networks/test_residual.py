"""The residual networks against the paper's shapes and hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.blocks.attention import SelfAttention
from gan_core.networks.residual import ResidualDiscriminator, ResidualGenerator

SIZES = [16, 32, 64, 128, 256, 512]


def generator(*arguments: Any, **keywords: Any) -> ResidualGenerator:
    return ResidualGenerator(*arguments, **{"latent": 5, "filters": 4, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> ResidualDiscriminator:
    return ResidualDiscriminator(*arguments, **{"filters": 4, **keywords})


def shake(net: nn.Module) -> nn.Module:
    """Every parameter of size 1 or so: biases, gains and gates that all differ."""
    for p in net.parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return net


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def sides_attended(net: nn.Module, x: Tensor) -> list[tuple[int, ...]]:
    """Heights and widths of the maps that pass through self-attention."""
    seen: list[tuple[int, ...]] = []
    for module in net.modules():
        if isinstance(module, SelfAttention):
            module.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[2:])))
    net(x)
    return seen


# What goes in and comes out.


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("aspect", [(1, 1), (2, 3)])
def test_shapes(aspect: tuple[int, int], channels: int) -> None:
    x = generator(channels, 16, aspect)(torch.randn(2, 5))
    assert x.shape == (2, channels, 16 * aspect[0], 16 * aspect[1])
    assert discriminator(channels, 16, aspect)(x).shape == (2, 1)


@pytest.mark.parametrize("widths", ["constant", "falling"])
@pytest.mark.parametrize("size", SIZES)
def test_channels_without_numbers(size: int, widths: str) -> None:
    with torch.device("meta"):
        G = ResidualGenerator(3, size, (1, 2), filters=16, widths=widths)
        D = ResidualDiscriminator(3, size, (1, 2), filters=16, widths=widths)
        made: list[tuple[int, ...]] = []
        for block in G.blocks:
            block.register_forward_hook(lambda m, i, out: made.append(tuple(out.shape[1:])))
        *seen, scores = D(G(torch.empty(2, 128)), features=True)
    assert scores.shape == (2, 1)
    falling = [16, 32, 64, 128, 128, 128, 128, 128]
    expected = falling if widths == "falling" else [16] * 8
    sides = [size >> n for n in range(8) if size >> n > 4]
    assert made[::-1] == [(c, s, 2 * s) for c, s in zip(expected, sides, strict=False)]
    halved = [(c, s, 2 * s) for c, s in zip(expected, sides[1:], strict=False)]
    assert [tuple(x.shape[1:]) for x in seen] == [*halved, halved[-1], halved[-1]]


@pytest.mark.parametrize("size", [16, 64])
def test_attention_stands_where_it_is_asked_for(size: int) -> None:
    for side in (8, size // 2):
        aspect = (1, 2)
        G, D = (
            generator(1, size, aspect, attention=side),
            discriminator(1, size, aspect, attention=side),
        )
        assert sides_attended(G, torch.randn(1, 5)) == [(side, 2 * side)]
        assert sides_attended(D, torch.randn(1, 1, size, 2 * size)) == [(side, 2 * side)]
    for net in (generator(1, size), discriminator(1, size)):
        assert not [m for m in net.modules() if isinstance(m, SelfAttention)]


def test_pictures_are_bounded_and_scores_are_not() -> None:
    torch.manual_seed(0)
    G, D = shake(generator(3, 16)), discriminator(3, 16)
    x = G(100 * torch.randn(8, 5))
    assert 0.9 < x.abs().max() <= 1
    for bias in (50.0, -50.0):
        nn.init.constant_(D.score.bias, bias)
        assert D(x).mean().item() == pytest.approx(bias, abs=5)


def test_labels_are_ignored() -> None:
    G, D = generator(1, 16).eval(), discriminator(1, 16)
    z, labels = torch.randn(2, 5), torch.tensor([0, 99])
    assert torch.equal(G(z, labels), G(z))
    assert torch.equal(D(G(z), labels), D(G(z)))


def test_score_is_linear_in_the_mean_of_what_relu_leaves() -> None:
    torch.manual_seed(0)
    D = shake(discriminator(3, 32, norm="layer", attention=8).double())
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    *seen, scores = D(x, features=True)
    assert len(seen) == 4
    for before, stage, after in zip([x, *seen], D.stages, seen, strict=False):
        assert torch.equal(stage(before), after)
    left = seen[-1].where(seen[-1] > 0, 0.0)
    means = torch.stack([left[:, c].sum((1, 2)) / 64 for c in range(4)], 1)
    assert torch.allclose(scores, means @ D.score.weight.T + D.score.bias, rtol=1e-10, atol=1e-10)
    assert torch.equal(D(x), scores)


def test_generator_step_by_step() -> None:
    torch.manual_seed(0)
    G = shake(generator(3, 16, (1, 2))).double().eval()
    z = torch.randn(2, 5, dtype=torch.float64)
    x = (z @ G.start.weight.T + G.start.bias).reshape(2, 4, 4, 8)
    norm, conv = G.end[0], G.end[2]
    for block in G.blocks:
        x = block(x)
    x = nn.functional.conv2d(norm(x).clamp(min=0), conv.weight, conv.bias, padding=1)
    assert torch.allclose(G(z), x.tanh(), rtol=1e-10, atol=1e-10)


# Hand counts: the networks for CIFAR-10, whose blocks have 128 channels everywhere.

CONV, SHORTCUT, BATCH_NORM = 128 * 128 * 9 + 128, 128 * 128 + 128, 2 * 128


def test_parameters_at_the_paper_s_setting() -> None:
    up = 2 * CONV + SHORTCUT + 2 * BATCH_NORM
    out = BATCH_NORM + 128 * 3 * 9 + 3
    with torch.device("meta"):
        G, D = ResidualGenerator(3, 32), ResidualDiscriminator(3, 32)
        normed = ResidualDiscriminator(3, 32, norm="layer")
        attended = ResidualDiscriminator(3, 32, attention=16)
    assert parameters(G) == (128 * 16 * 128 + 16 * 128) + 3 * up + out == 1_204_483
    first = (3 * 128 * 9 + 128) + CONV + (3 * 128 + 128)
    assert parameters(D) == first + (2 * CONV + SHORTCUT) + 2 * (2 * CONV) + 129 == 1_053_825
    assert parameters(normed) == 1_053_825 + 6 * 2 * 128, "two in each block but the first"
    assert parameters(attended) == 1_053_825 + 2 * 128 * 16 + 2 * 128 * 64 + 1


def test_norms_and_free_weights_are_the_defaults() -> None:
    G, D = generator(3, 32), discriminator(3, 32)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in G.modules()) == 2 * 3 + 1
    assert not [m for m in D.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    for net in (G, D):
        assert not [name for name in net.state_dict() if "parametri" in name]
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        assert all(torch.equal(m.weight, torch.ones_like(m.weight)) for m in norms)


# Gradients, formats, held weights.


@pytest.mark.parametrize("size", [16, 32])
def test_gradients_reach_every_parameter(size: int) -> None:
    torch.manual_seed(0)
    G = shake(generator(3, size, attention=8))
    D = shake(discriminator(3, size, attention=8, norm="layer"))
    D(G(torch.randn(4, 5))).square().sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("weights", ["free", "spectral"])
@pytest.mark.parametrize("norm", ["none", "instance", "layer"])
def test_gradient_penalty(norm: str, weights: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = discriminator(1, 16, norm=norm, weights=weights, attention=8)
    shake(D.double()).eval()  # spectral norm's vectors stand still
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return slope.square().sum()

    parametrised = ".parametrizations.weight.original" if weights == "spectral" else ".weight"
    weight = dict(D.named_parameters())[f"stages.0.0.branch.0{parametrised}"]
    assert_gradient(penalty, weight)


@pytest.mark.parametrize("make", [generator, discriminator])
def test_spectral_vectors_move_in_training_alone(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    net = shake(make(1, 16, weights="spectral", attention=8))
    x = torch.randn(2, 5) if make is generator else torch.randn(2, 1, 16, 16)

    def vectors() -> dict[str, Tensor]:
        return {k: v.clone() for k, v in net.state_dict().items() if k.endswith(("_u", "_v"))}

    held = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    before = vectors()
    assert len(before) == 2 * len(held)
    net.eval()(x)
    assert all(torch.equal(v, before[k]) for k, v in vectors().items())
    net.train()(x)
    assert any(not torch.equal(v, before[k]) for k, v in vectors().items())


@pytest.mark.parametrize("norm", ["none", "layer"])
def test_16_bits(norm: str) -> None:
    torch.manual_seed(0)
    G, D = generator(1, 32, attention=16), discriminator(1, 32, attention=16, norm=norm)
    z = torch.randn(8, 5)
    G(z)
    G.eval()
    exact = G(z)
    with torch.autocast("cpu", torch.bfloat16):
        x = G(z)
        scores = D(x)
    assert x.dtype == scores.dtype == torch.bfloat16
    assert (x.float() - exact).abs().max() < 0.1
    assert (scores.float() - D(exact)).abs().max() < 0.1 * D(exact).abs().max()


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 8), {}, "size must be a power of two from 16 to 512, not 8"),
    ((3, 16, (0, 1)), {}, r"each 1 or more, not \(0, 1\)"),
    ((3, 16), {"filters": 0}, "filters must be 1 or more, not 0"),
    ((3, 16), {"widths": "wide"}, "widths 'wide': choose constant, falling"),
    ((3, 16), {"norm": "group"}, "choose instance, batch, layer, none"),
    ((3, 16), {"attention": 16}, "from 8 to 8, or 0 for none, not 16"),
    ((3, 16), {"weights": "clipped"}, "choose free, spectral, normalised"),
    ((3, 16), {"init": "zeros"}, "choose normal, xavier, kaiming, orthogonal"),
]


@pytest.mark.parametrize("make", [generator, discriminator])
@pytest.mark.parametrize(("arguments", "keywords", "message"), MISTAKES)
def test_wrong_arguments_are_named(
    make: Callable[..., nn.Module],
    arguments: tuple[Any, ...],
    keywords: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        make(*arguments, **keywords)


def test_no_latent_is_refused() -> None:
    with pytest.raises(ValueError, match="latent must be 1 or more, not 0"):
        generator(3, 16, latent=0)
