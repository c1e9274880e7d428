"""The growing generator: the paper's parameters, formulas by hand, fades, codes, shapes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.networks.progressive import ProgressiveGenerator, modules_at

LEVELS = [4, 8, 16, 32]


def generator(*arguments: Any, **keywords: Any) -> ProgressiveGenerator:
    torch.manual_seed(0)
    small = {"latent": 6, "base": 32, "most": 8, **keywords}
    return ProgressiveGenerator(*(arguments or (3, 32)), **small)


def exact(net: nn.Module) -> Any:
    """In float64, with biases and gains that all differ."""
    for name, p in net.double().named_parameters():
        if not name.endswith("weight") or p.ndim == 1:
            nn.init.normal_(p, 0.5, 0.5)
    return net.eval()


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# Sizes.


# By hand: 512 z to 512 maps of 4 x 4 with a bias for each map, 3x3 convolutions (two of a level,
# one at 4), colours.
PARAMETERS = {
    4: 6_556_163,
    8: 11_275_779,
    16: 13_044_995,
    32: 13_487_235,
    64: 13_597_763,
    128: 13_625_379,
}


@pytest.mark.parametrize("resolution", PARAMETERS)
def test_parameters_at_each_resolution(resolution: int) -> None:
    with torch.device("meta"):
        G = ProgressiveGenerator(3, 128, base=2048, most=512, latent=512)
    counts = [p.numel() for module in modules_at(G, resolution) for p in module.parameters()]
    assert sum(counts) == PARAMETERS[resolution]


def test_all_parameters_belong_to_some_resolution() -> None:
    """And those of colours to one each."""
    G = generator(injected=1)
    seen = {id(p) for level in LEVELS for m in modules_at(G, level) for p in m.parameters()}
    assert seen == {id(p) for p in G.parameters()}
    assert len(modules_at(G, 32)) == 5
    assert {"blocks.8.first.weight", "rgb.8.bias", "blocks.4.bias"} <= G.state_dict().keys()


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64, 128, 256, 512, 1024])
def test_full_size_without_numbers(size: int) -> None:
    with torch.device("meta"):
        G = ProgressiveGenerator(3, size)
        assert G(torch.empty(2, 512)).shape == (2, 3, size, size)
    widths = [512, 512, 512, 512, 256, 128, 64, 32, 16][: size.bit_length() - 2]
    assert [rgb.in_channels for rgb in G.rgb.values()] == widths


@pytest.mark.parametrize("aspect", [(1, 1), (2, 3), [3, 1]])
@pytest.mark.parametrize("injected", [0, 1])
def test_levels_and_rectangles(aspect: tuple[int, int], injected: int) -> None:
    G = generator(2, 32, aspect, injected=injected)
    rows, columns = aspect
    z = torch.randn(3, 6)
    for n, resolution in enumerate(LEVELS):
        made = G(z, resolution=resolution, levels=True)
        sides = [(level * rows, level * columns) for level in LEVELS[: n + 1]]
        assert [x.shape for x in made] == [(3, 2, *side) for side in sides]
        assert torch.equal(made[-1], G(z, resolution=resolution))
    assert torch.equal(G(z), made[-1])


# Formulas.


def pixel(x: Tensor) -> Tensor:
    x = x.where(x > 0, 0.2 * x)
    return x / ((x**2).mean(1, keepdim=True) + 1e-8).sqrt()


def conv(w: dict[str, Tensor], name: str, x: Tensor, gain: float = 2**0.5) -> Tensor:
    weight = w[f"{name}.weight"]
    scale = gain / weight[0].numel() ** 0.5
    return F.conv2d(x, weight * scale, w[f"{name}.bias"], padding=weight.shape[2] // 2)


def added(w: dict[str, Tensor], name: str, x: Tensor, c: Tensor) -> Tensor:
    """x and what codes add to it, where there are any."""
    if c.shape[1] == 0:
        return x
    weight = w[f"{name}.map.weight"] / c.shape[1] ** 0.5
    return x + (c @ weight.T + w[f"{name}.map.bias"]).reshape(x.shape)


@pytest.mark.parametrize("codes", [0, 2])
def test_by_formula(codes: int) -> None:
    """To 8 x 8 and back to colours, with the scale of every layer."""
    G = exact(generator(3, 8, latent=5 + 2 * codes, injected=codes))
    z = draw(4, 5 + 2 * codes)
    w, noise, c4, c8 = G.state_dict(), z[:, :5], z[:, 5 : 5 + codes], z[:, 5 + codes :]
    x = noise / ((noise**2).mean(1, keepdim=True) + 1e-8).sqrt()
    x = added(w, "blocks.4.into_first", x, c4)
    x = x @ w["blocks.4.first.weight"].T * (2**0.5 / 4 / 5**0.5)
    x = pixel(x.reshape(4, 8, 4, 4) + w["blocks.4.bias"])
    x = pixel(conv(w, "blocks.4.second", added(w, "blocks.4.into_second", x, c4)))
    small = conv(w, "rgb.4", x, 1.0)
    x = added(w, "blocks.8.into_block", x, c8)
    x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = pixel(conv(w, "blocks.8.first", added(w, "blocks.8.into_first", x, c8)))
    x = pixel(conv(w, "blocks.8.second", added(w, "blocks.8.into_second", x, c8)))
    made = G(z, levels=True)
    for got, expected in zip(made, (small, conv(w, "rgb.8", x, 1.0)), strict=True):
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10)
    squashed = exact(generator(3, 8, latent=5 + 2 * codes, injected=codes, output="tanh"))
    squashed.load_state_dict(w)
    assert all(
        torch.equal(a, b.tanh()) for a, b in zip(squashed(z, levels=True), made, strict=True)
    )


@pytest.mark.parametrize("norm", ["pixel", "batch", "none"])
def test_norms(norm: str) -> None:
    G = exact(generator(norm=norm)).train()
    z = draw(4, 6)
    assert torch.allclose(G(3 * z), G(z), atol=1e-6) == (norm == "pixel")
    alone = torch.allclose(G(z[:1].repeat(4, 1) + draw(4, 6) * 1e-3)[:1], G(z)[:1], atol=0.1)
    assert alone == (norm != "batch"), "samples see each other"
    norms = [m for m in G.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == (8 if norm == "batch" else 0)
    if norm == "batch":
        block = G.blocks["8"]
        assert [type(m) for m in block.after_first] == [nn.BatchNorm2d, nn.LeakyReLU]


# Growth.


@pytest.mark.parametrize("norm", ["pixel", "batch"])
@pytest.mark.parametrize("resolution", [8, 32])
def test_a_doubling_begins_with_the_picture_that_was(resolution: int, norm: str) -> None:
    G, z = exact(generator(norm=norm)), draw(3, 6)
    old, new = G(z, resolution=resolution // 2), G(z, resolution=resolution)
    grown = old.repeat_interleave(2, 2).repeat_interleave(2, 3)
    for nothing in (torch.zeros(1), torch.zeros(3)):
        assert torch.equal(G(z, None, resolution, nothing), grown)
    assert torch.equal(G(z, None, resolution, torch.ones(1)), new)
    shares = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    *coarser, faded = G(z, None, resolution, shares, levels=True)
    for b in range(3):
        expected = (1 - shares[b]) * grown[b] + shares[b] * new[b]
        assert torch.allclose(faded[b], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(coarser[-1], old), "only the last is faded"
    assert torch.equal(faded, G(z, None, resolution, shares))


def test_gradients_reach_what_is_present_and_nothing_else() -> None:
    for alpha, colours in ((None, {"16"}), (torch.full((1,), 0.5), {"8", "16"})):
        G = generator()
        G(torch.randn(4, 6), resolution=16, alpha=alpha).square().sum().backward()
        for name, p in G.named_parameters():
            part, level = name.split(".")[:2]
            present = level in colours if part == "rgb" else int(level) <= 16
            assert (p.grad is not None and p.grad.abs().max() > 0) == present, name


# Codes.


def test_a_levels_codes_leave_coarser_pictures_alone() -> None:
    G = exact(generator(injected=2, latent=4 + 2 * 4))
    z = draw(1, 12)
    before = G(z, levels=True)
    for group in range(4):
        moved = z.clone()
        moved[:, 4 + 2 * group + 1] += 1
        changed = [
            not torch.equal(a, b) for a, b in zip(before, G(moved, levels=True), strict=True)
        ]
        assert changed == [level >= group for level in range(4)]
    assert not torch.equal(G(z + torch.eye(12)[:1], resolution=4), before[0]), "noise comes first"


def test_fine_levels_may_be_without_codes() -> None:
    G = exact(generator(injected=3, injected_to=8, latent=7))
    names = {name.split(".")[1] for name in G.state_dict() if ".map." in name}
    assert names == {"4", "8"}
    assert G.parts == [1, 3, 3, 0, 0]
    assert G(draw(2, 7)).shape == (2, 3, 32, 32)


def test_codes_weigh_as_much_as_what_they_are_added_to() -> None:
    """At first, for codes of N(0, 1)."""
    G = generator(3, 8, latent=36, injected=16, base=256, most=32)
    into = G.blocks["8"].into_second
    x, c = torch.zeros(500, 32, 8, 8), torch.randn(500, 16)
    assert into(x, c).std().item() == pytest.approx(1, abs=0.05)


# Formats and mistakes.


@pytest.mark.parametrize("norm", ["pixel", "batch", "none"])
def test_numbers_in_16_bits(norm: str) -> None:
    G, z = generator(norm=norm, injected=1), torch.randn(4, 6)
    alpha = torch.full((1,), 0.5)
    x, faded = G(z), G(z, alpha=alpha)
    with torch.autocast("cpu", torch.bfloat16):
        assert (G(z) - x).abs().mean() < 0.05 * x.abs().mean()
        close = G(z, alpha=alpha)
        assert (close - faded).abs().mean() < 0.05 * faded.abs().mean()
        assert close.dtype == torch.float32
        close.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in G.parameters() if p.grad is not None)


def test_labels_are_ignored() -> None:
    G, z = generator(), torch.randn(2, 6)
    assert torch.equal(G(z, torch.tensor([0, 99])), G(z))


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 2), {}, "size must be a power of two from 4 to 1024, not 2"),
    ((3, 2048), {}, "not 2048"),
    ((3, 48), {}, "not 48"),
    ((3, 16, (0, 1)), {}, "aspect must be rows and columns"),
    ((3, 16), {"latent": 0}, "latent must be 1 or more, not 0"),
    ((3, 16), {"most": 0}, "most must be 1 or more, not 0"),
    ((3, 128), {"base": 63}, "base must be 64 or more at a size of 128, not 63"),
    ((3, 16), {"norm": "layer"}, "norm 'layer', .*choose pixel, batch, none"),
    ((3, 16), {"output": "sine"}, "output 'sine': choose .* linear, tanh"),
    ((3, 16), {"injected": -1}, "injected must be 0 or more, not -1"),
    ((3, 16), {"injected": 2}, "latent must be above 6, its codes, not 6"),
]


@pytest.mark.parametrize(("arguments", "keywords", "message"), MISTAKES)
def test_wrong_arguments_are_named(
    arguments: tuple[Any, ...], keywords: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        generator(*arguments, **keywords)


def test_wrong_resolutions_are_named() -> None:
    G, z = generator(), torch.randn(1, 6)
    for resolution in (2, 12, 64):
        with pytest.raises(ValueError, match=f"one of 4, 8, 16, 32, not {resolution}"):
            G(z, resolution=resolution)
    with pytest.raises(ValueError, match="alpha must be None at a resolution of 4"):
        G(z, resolution=4, alpha=torch.ones(1))
