"""The 101-layer networks: their count of layers, shapes and ends."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.blocks.residual import BottleneckBlock
from gan_core.networks.bottleneck import BottleneckDiscriminator, BottleneckGenerator


def generator(*arguments: Any, **keywords: Any) -> BottleneckGenerator:
    return BottleneckGenerator(*arguments, **{"latent": 5, "filters": 4, "blocks": 1, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> BottleneckDiscriminator:
    return BottleneckDiscriminator(*arguments, **{"filters": 4, "blocks": 1, **keywords})


def shake(net: nn.Module) -> nn.Module:
    for p in net.parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return net


def layers(net: nn.Module) -> int:
    """Convolutions and linear layers that pictures pass one after the other: no shortcuts."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    return sum(
        isinstance(module, kinds) and "shortcut" not in name for name, module in net.named_modules()
    )


def test_101_layers() -> None:
    with torch.device("meta"):
        G, D = BottleneckGenerator(3, 64), BottleneckDiscriminator(3, 64)
    assert layers(G) == layers(D) == 101
    for net, norm in ((G, nn.BatchNorm2d), (D, nn.GroupNorm)):
        blocks = [m for m in net.modules() if isinstance(m, BottleneckBlock)]
        assert len(blocks) == 33
        assert all(isinstance(block.branch[-1], norm) for block in blocks)
    assert [len(stage) for stage in G.stages] == [6, 7, 7, 7, 6]
    assert [len(stage) for stage in D.stages] == [5, 7, 7, 7, 7]


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512])
def test_channels_without_numbers(size: int) -> None:
    with torch.device("meta"):
        G = BottleneckGenerator(3, size, (1, 2), blocks=2)
        D = BottleneckDiscriminator(3, size, (1, 2), blocks=2)
        made: list[tuple[int, ...]] = []
        for stage in G.stages:
            stage.register_forward_hook(lambda m, i, out: made.append(tuple(out.shape[1:])))
        x = G(torch.empty(2, 128))
        *seen, scores = D(x, features=True)
    assert x.shape == (2, 3, size, 2 * size)
    assert scores.shape == (2, 1)
    widths = [32, 64, 128, 256, 512, 512, 512, 512]
    sides = [size >> n for n in range(8) if size >> n >= 4]
    expected = [(c, s, 2 * s) for c, s in zip(widths, sides, strict=False)]
    assert [tuple(x.shape[1:]) for x in seen] == expected
    assert made[::-1] == expected


def test_parameters_by_hand() -> None:
    """16 pixels, 4 filters, 1 block: maps of 16 channels at 4x4, 8 at 8x8, 4 at 16x16, where one
    block less leaves none.
    """

    def block(c: int) -> int:
        half = c // 2
        return (c * half + half) + (half * half * 9 + half) + half * c + 2 * c

    def resampling(a: int, b: int) -> int:
        return (a * a // 2 + a // 2) + (a // 2 * b // 2 * 9 + b // 2) + b // 2 * b + 2 * b

    up = resampling(16, 8) + (16 * 32 + 32) + resampling(8, 4) + (8 * 16 + 16)
    down = resampling(8, 16) + (8 * 16 + 16) + resampling(4, 8) + (4 * 8 + 8)
    G, D = generator(3, 16), discriminator(3, 16)
    assert sum(p.numel() for p in G.parameters()) == (
        (5 * 256 + 256) + block(16) + block(8) + up + (4 * 3 + 3)
    )
    assert sum(p.numel() for p in D.parameters()) == (
        (3 * 4 + 4) + block(16) + block(8) + down + (16 * 16 + 1)
    )


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_ends(channels: int) -> None:
    """tanh of a fifth; a fifth of what is linear in the last maps."""
    torch.manual_seed(0)
    G = shake(generator(channels, 16, (2, 1))).double().eval()
    D = shake(discriminator(channels, 16, (2, 1))).double()
    z = torch.randn(3, 5, dtype=torch.float64)
    h = (z @ G.start.weight.T + G.start.bias).reshape(3, 16, 8, 4)
    for stage in G.stages:
        h = stage(h)
    x = G(z)
    colours = torch.einsum("oc,bchw->bohw", G.end.weight[:, :, 0, 0], h)
    colours = colours + G.end.bias[:, None, None]
    assert torch.allclose(x.atanh() * 5, colours, rtol=1e-8, atol=1e-8)
    *seen, scores = D(x, features=True)
    assert torch.equal(D(x), scores)
    linear = seen[-1].reshape(3, -1) @ D.score.weight.T + D.score.bias
    assert torch.allclose(5 * scores, linear, rtol=1e-10, atol=1e-10)
    first = torch.einsum("oc,bchw->bohw", D.start.weight[:, :, 0, 0], x)
    assert torch.allclose(seen[0], first + D.start.bias[:, None, None], rtol=1e-10, atol=1e-10)
    for stage, before, after in zip(list(D.stages)[1:], seen, seen[1:], strict=False):
        assert torch.equal(stage(before), after)


def test_first_pictures_and_scores_are_of_size_1_or_so() -> None:
    """At the depth of the paper, where 33 blocks of variance 1 + 0.3^2 multiply."""
    torch.manual_seed(0)
    G = BottleneckGenerator(1, 64, filters=4)
    D = BottleneckDiscriminator(1, 64, filters=4)
    x = G(torch.randn(4, 128))
    assert 0.02 < x.std() < 0.8
    scores = D(x)
    assert 1e-3 < scores.abs().max() < 10


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    G = shake(generator(3, 16, blocks=2, filters=16))  # so wide that no ReLU shuts a branch
    D = shake(discriminator(3, 16, blocks=2, filters=16))
    D(G(torch.randn(4, 5))).square().sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name


@pytest.mark.parametrize("norm", ["layer", "instance", "none"])
def test_gradient_penalty(norm: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = shake(discriminator(1, 16, norm=norm)).double()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x).sum(), x, create_graph=True)
        return slope.square().sum()

    weight = D.start.weight
    assert_gradient(penalty, weight)


def test_formats_and_labels() -> None:
    torch.manual_seed(0)
    G, D = generator(1, 16, weights="spectral"), discriminator(1, 16, weights="spectral")
    z, labels = torch.randn(4, 5), torch.tensor([9, 9, 9, 9])
    G(z)
    exact = G.eval()(z)
    assert torch.equal(G(z, labels), exact)
    scores = D.eval()(exact)
    assert torch.equal(D(exact, labels), scores)
    with torch.autocast("cpu", torch.bfloat16):
        x = G(z)
        rough = D(x)
    assert x.dtype == rough.dtype == torch.bfloat16
    assert (x.float() - exact).abs().max() < 0.05
    assert (rough.float() - scores).abs().max() < 0.05 * max(1.0, scores.abs().max().item())


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 48), {}, "size must be a power of two from 16 to 512, not 48"),
    ((3, 16, (1, 0)), {}, r"each 1 or more, not \(1, 0\)"),
    ((3, 16), {"filters": 1}, "filters must be 2 or more, since blocks halve them, not 1"),
    ((3, 16), {"blocks": 0}, "blocks must be 1 or more, not 0"),
    ((3, 16), {"weights": "clipped"}, "choose free, spectral, normalised"),
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
