"""The growing discriminator: the paper's parameters, formulas by hand, fades, statistics."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.losses.penalties import gradient_penalty
from gan_core.networks.progressive import ProgressiveGenerator, modules_at
from gan_core.networks.progressive_discriminator import ProgressiveDiscriminator

STATISTICS = ["deviation", "discrimination", "none"]
LEVELS = [4, 8, 16, 32]


def discriminator(*arguments: Any, **keywords: Any) -> ProgressiveDiscriminator:
    torch.manual_seed(0)
    small = {"base": 32, "most": 8, "kernels": 5, **keywords}
    return ProgressiveDiscriminator(*(arguments or (3, 32)), **small)


def exact(net: nn.Module) -> Any:
    """In float64, with biases that all differ."""
    for name, p in net.double().named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(p, 0.0, 0.5)
    return net


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# Sizes.


PARAMETERS = {
    4: 6_561_793,
    8: 11_281_409,
    16: 13_050_625,
    32: 13_492_865,
    64: 13_603_393,
    128: 13_631_009,
}


@pytest.mark.parametrize("resolution", PARAMETERS)
def test_parameters_at_each_resolution(resolution: int) -> None:
    def count(net: nn.Module) -> int:
        return sum(p.numel() for m in modules_at(net, resolution) for p in m.parameters())

    with torch.device("meta"):
        D = ProgressiveDiscriminator(3, 128, base=2048, most=512)
        G = ProgressiveGenerator(3, 128, base=2048, most=512, latent=512)
    assert count(D) == PARAMETERS[resolution]
    assert count(D) - count(G) == 5630


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64, 128, 256, 512, 1024])
def test_full_size_without_numbers(size: int) -> None:
    """With the penalty's second derivative, whose shapes the measuring of routes needs."""
    statistics = STATISTICS[size.bit_length() % 3]
    with torch.device("meta"):
        D = ProgressiveDiscriminator(3, size, statistics=statistics)
        x = torch.empty(2, 3, size, size, requires_grad=True)
        scores = D(x)
        assert scores.shape == (2, 1)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
        slope.square().sum().backward()
    widths = [512, 512, 512, 512, 256, 128, 64, 32, 16][: size.bit_length() - 2]
    assert [rgb.out_channels for rgb in D.rgb.values()] == widths


@pytest.mark.parametrize("aspect", [(1, 1), (2, 3), [3, 1]])
@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("resolution", LEVELS)
def test_features_and_rectangles(resolution: int, statistics: str, aspect: tuple[int, int]) -> None:
    rows, columns = aspect
    D = discriminator(2, 32, aspect, statistics=statistics)
    x = torch.randn(4, 2, resolution * rows, resolution * columns)
    *maps, dense, scores = D(x, features=True, resolution=resolution)
    widths = {32: 4, 16: 8, 8: 8, 4: 8}
    assert [m.shape for m in maps] == [
        (4, width, level * rows, level * columns)
        for level, width in widths.items()
        if level <= resolution
    ]
    assert dense.shape == (4, 8)
    assert scores.shape == (4, 1)
    assert torch.equal(scores, D(x, resolution=resolution))


# Formulas.


def slope(x: Tensor) -> Tensor:
    return x.where(x > 0, 0.2 * x)


def conv(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    weight = w[f"{name}.weight"]
    scale = (2 / weight[0].numel()) ** 0.5
    return slope(F.conv2d(x, weight * scale, w[f"{name}.bias"], padding=weight.shape[2] // 2))


def halved(x: Tensor) -> Tensor:
    return x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))


def closeness(m: Tensor) -> Tensor:
    distances = (m[:, None] - m).abs().sum(-1)
    return (-distances).exp().sum(1) - 1


@pytest.mark.parametrize("statistics", STATISTICS)
def test_by_formula(statistics: str) -> None:
    """From 8 x 8 down, with the scale of every layer; of 6 samples two groups of three."""
    D = exact(discriminator(3, 8, statistics=statistics, groups=3))
    x, w = draw(6, 3, 8, 8), D.state_dict()
    h8 = conv(w, "blocks.8.second", conv(w, "blocks.8.first", conv(w, "rgb.8", x)))
    h4 = halved(h8)
    h = h4
    if statistics == "deviation":
        alike = [(h4[m::2].var(0, correction=0) + 1e-8).sqrt().mean() for m in (0, 1)]
        h = torch.cat([h4, torch.stack(3 * alike)[:, None, None, None].expand(6, 1, 4, 4)], 1)
    dense = conv(w, "blocks.4.first", h).flatten(1) @ w["blocks.4.second.weight"].T
    dense = slope(dense * (2 / 128) ** 0.5 + w["blocks.4.second.bias"])
    told = dense
    if statistics == "discrimination":
        m = dense @ w["blocks.4.discrimination.project.weight"].T / 8**0.5
        told = torch.cat([dense, closeness(m.unflatten(1, (5, 5)))], 1)
    scores = told @ w["blocks.4.score.weight"].T / told.shape[1] ** 0.5 + w["blocks.4.score.bias"]
    for got, expected in zip(D(x, features=True), (h8, h4, dense, scores), strict=True):
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_who_sees_the_batch() -> None:
    """Maps are a sample's own, whatever the statistics; scores are so without."""
    x = draw(4, 3, 16, 16)
    for statistics in STATISTICS:
        D = exact(discriminator(3, 16, statistics=statistics))
        together, alone = D(x, features=True), D(x[:1], features=True)
        for n, (a, b) in enumerate(zip(together[:3], alone[:3], strict=True)):
            assert torch.allclose(a[:1], b, rtol=1e-10, atol=1e-12), n
        same = torch.allclose(together[-1][:1], alone[-1], rtol=1e-10)
        assert same == (statistics == "none")


# Growth.


@pytest.mark.parametrize("resolution", [8, 32])
def test_a_doubling_begins_with_the_smaller_picture(resolution: int) -> None:
    D, x = exact(discriminator()), draw(4, 3, resolution, resolution)
    coarser = {"resolution": resolution // 2, "features": True}
    faded = D(x, None, True, resolution, torch.zeros(1))
    for a, b in zip(faded[1:], D(halved(x), **coarser), strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)
    new = D(x, None, True, resolution)
    for a, b in zip(D(x, None, True, resolution, torch.ones(4)), new, strict=True):
        assert torch.equal(a, b)


def test_a_fade_mixes_maps_by_each_samples_share() -> None:
    D, x = exact(discriminator(3, 8)), draw(3, 3, 8, 8)
    shares = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    h8, h4, _, scores = D(x, None, True, 8, shares)
    old = conv(D.state_dict(), "rgb.4", halved(x))
    mix = shares[:, None, None, None]
    assert torch.allclose(h4, (1 - mix) * old + mix * halved(h8), rtol=1e-12, atol=1e-12)
    assert torch.equal(scores, D(x, alpha=shares))


def test_gradients_reach_what_is_present_and_nothing_else() -> None:
    for alpha, colours in ((None, {"16"}), (torch.full((1,), 0.5), {"8", "16"})):
        D = discriminator()
        D(torch.randn(4, 3, 16, 16), None, False, 16, alpha).square().sum().backward()
        for name, p in D.named_parameters():
            part, level = name.split(".")[:2]
            present = level in colours if part == "rgb" else int(level) <= 16
            assert (p.grad is not None and p.grad.abs().max() > 0) == present, name


# Penalties, formats, mistakes.


@pytest.mark.parametrize("statistics", STATISTICS)
def test_gradient_penalty(statistics: str) -> None:
    """Its gradient with respect to a weight equals its difference quotient."""
    D = exact(discriminator(1, 16, statistics=statistics))
    real, fake = draw(2, 4, 1, 16, 16)
    mix, alpha = torch.linspace(0, 1, 4).double(), torch.full((4,), 0.3).double()

    def penalty() -> Tensor:
        return gradient_penalty(lambda x: D(x, alpha=alpha), real, fake, mix)

    weight = D.get_parameter("blocks.16.first.weight")
    assert_gradient(penalty, weight)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_numbers_in_16_bits(statistics: str) -> None:
    D, x = discriminator(statistics=statistics), torch.randn(4, 3, 32, 32)
    alpha = torch.full((1,), 0.5)
    scores, faded = D(x), D(x, alpha=alpha)
    with torch.autocast("cpu", torch.bfloat16):
        assert (D(x) - scores).abs().max() < 0.05 * scores.abs().max()
        close = D(x, alpha=alpha)
        assert (close - faded).abs().max() < 0.05 * faded.abs().max()
        close.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in D.parameters() if p.grad is not None)


def test_labels_are_ignored() -> None:
    D, x = discriminator(), torch.randn(2, 3, 32, 32)
    assert torch.equal(D(x, torch.tensor([0, 99])), D(x))


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 2), {}, "size must be a power of two from 4 to 1024, not 2"),
    ((3, 16, (0, 1)), {}, "aspect must be rows and columns"),
    ((3, 16), {"most": 0}, "most must be 1 or more, not 0"),
    ((3, 16), {"groups": 0}, "groups must be 1 or more, not 0"),
    ((3, 16), {"kernels": 0}, "kernels must be 1 or more, not 0"),
    ((3, 128), {"base": 63}, "base must be 64 or more at a size of 128, not 63"),
    ((3, 16), {"statistics": "mean"}, "'mean': choose deviation, discrimination, none"),
]


@pytest.mark.parametrize(("arguments", "keywords", "message"), MISTAKES)
def test_wrong_arguments_are_named(
    arguments: tuple[Any, ...], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        discriminator(*arguments, **keywords)


def test_wrong_resolutions_are_named() -> None:
    D = discriminator()
    with pytest.raises(ValueError, match="one of 4, 8, 16, 32, not 64"):
        D(torch.randn(1, 3, 64, 64), resolution=64)
    with pytest.raises(ValueError, match="alpha must be None at a resolution of 4"):
        D(torch.randn(1, 3, 4, 4), resolution=4, alpha=torch.ones(1))
