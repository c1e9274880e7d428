"""Residual blocks against their formulas, in the order of operations that the papers' code has."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gan_core.blocks.attention import SelfAttention
from gan_core.blocks.normalisation import norm_layer
from gan_core.blocks.residual import (
    BottleneckBlock,
    DownBlock,
    UpBlock,
    check_attention,
    down_stages,
    initialise_residual,
)

BLOCKS: list[Callable[[], nn.Module]] = [
    lambda: UpBlock(4, 6, lambda channels: nn.Identity()),
    lambda: DownBlock(4, 6),
    lambda: DownBlock(4, 4, halve=False),
    lambda: DownBlock(4, 6, first=True),
    lambda: BottleneckBlock(4, 6, "none", "up"),
    lambda: BottleneckBlock(4, 6, "none", "down"),
    lambda: BottleneckBlock(4, 4, "none"),
]


def shake(net: nn.Module) -> dict[str, Tensor]:
    """Weights that all differ, in float64, by name."""
    torch.manual_seed(0)
    for p in net.double().parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return dict(net.named_parameters())


def maps(channels: int = 4, sides: tuple[int, int] = (4, 6)) -> Tensor:
    return torch.randn(3, channels, *sides, dtype=torch.float64)


def repeated(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, 2).repeat_interleave(2, 3)


def pooled(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def normed(x: Tensor, gain: Tensor, bias: Tensor, over: tuple[int, ...]) -> Tensor:
    mean, variance = x.mean(over, keepdim=True), x.var(over, correction=0, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * gain[:, None, None] + bias[:, None, None]


def close(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-10, atol=1e-10)


def conv(x: Tensor, weights: dict[str, Tensor], name: str, **keywords: Any) -> Tensor:
    return F.conv2d(x, weights[f"{name}.weight"], weights.get(f"{name}.bias"), **keywords)


def test_up() -> None:
    block = UpBlock(4, 6, partial(norm_layer, "batch"))
    w, x = shake(block), maps()
    h = normed(x, w["norms.0.weight"], w["norms.0.bias"], (0, 2, 3))
    h = conv(repeated(h.clamp(min=0)), w, "branch.0", padding=1)
    h = normed(h, w["norms.1.weight"], w["norms.1.bias"], (0, 2, 3))
    h = conv(h.clamp(min=0), w, "branch.1", padding=1)
    assert close(block(x), h + conv(repeated(x), w, "shortcut"))


def test_up_hands_on_what_steers_its_norms() -> None:
    class Shift(nn.Module):
        def forward(self, x: Tensor, c: Tensor) -> Tensor:
            return x + c

    block = UpBlock(4, 6, lambda channels: Shift())
    w, x, c = shake(block), maps(), torch.tensor(0.7, dtype=torch.float64)
    h = conv(repeated((x + c).clamp(min=0)), w, "branch.0", padding=1)
    h = conv((h + c).clamp(min=0), w, "branch.1", padding=1)
    assert close(block(x, c), h + conv(repeated(x), w, "shortcut"))


@pytest.mark.parametrize(("outputs", "halve"), [(6, True), (6, False), (4, True), (4, False)])
def test_down(outputs: int, halve: bool) -> None:
    block = DownBlock(4, outputs, "layer", halve=halve)
    w, x = shake(block), maps()
    h = normed(x, w["branch.0.weight"], w["branch.0.bias"], (1, 2, 3))
    h = conv(h.clamp(min=0), w, "branch.2", padding=1)
    h = normed(h, w["branch.3.weight"], w["branch.3.bias"], (1, 2, 3))
    h = conv(h.clamp(min=0), w, "branch.5", padding=1)
    shortcut = x if outputs == 4 and not halve else conv(x, w, f"shortcut.{int(halve)}")
    assert close(block(x), pooled(h + shortcut) if halve else h + shortcut)


def test_down_from_the_picture() -> None:
    """Neither norm nor ReLU before the first convolution; no norm in it."""
    block = DownBlock(4, 6, "layer", first=True)
    w, x = shake(block), maps()
    assert set(w) == {
        f"{name}.{p}" for name in ("branch.0", "branch.3", "shortcut.1") for p in ("weight", "bias")
    }
    h = conv(conv(x, w, "branch.0", padding=1).clamp(min=0), w, "branch.3", padding=1)
    assert close(block(x), pooled(h) + conv(pooled(x), w, "shortcut.1"))


def bottleneck(x: Tensor, w: dict[str, Tensor], middle: Callable[[Tensor], Tensor]) -> Tensor:
    h = conv(x.clamp(min=0), w, "branch.1")
    h = conv(middle(h.clamp(min=0)).clamp(min=0), w, "branch.5")
    return 0.3 * normed(h, w["branch.6.weight"], w["branch.6.bias"], (1, 2, 3))


def test_bottleneck() -> None:
    block = BottleneckBlock(4, 4, "layer")
    w, x = shake(block), maps()
    assert w["branch.1.weight"].shape[:2] == (2, 4)
    assert "branch.5.bias" not in w, "a norm follows"
    h = bottleneck(x, w, lambda h: conv(h, w, "branch.3", padding=1))
    assert close(block(x), x + h)


def test_bottleneck_down() -> None:
    block = BottleneckBlock(4, 6, "layer", "down")
    w, x = shake(block), maps()
    h = bottleneck(x, w, lambda h: conv(h, w, "branch.3", padding=1, stride=2))
    assert close(block(x), conv(x[:, :, ::2, ::2], w, "shortcut") + h)


def test_bottleneck_up() -> None:
    block = BottleneckBlock(6, 4, "layer", "up")
    w, x = shake(block), maps(6)

    def spread(h: Tensor) -> Tensor:
        """Each place at every other one of a map of zeros, then a convolution with the mirror."""
        wide = h.new_zeros(3, 3, 8, 12)
        wide[:, :, ::2, ::2] = h
        mirror = w["branch.3.weight"].transpose(0, 1).flip(2, 3)
        return F.conv2d(wide, mirror, w["branch.3.bias"], padding=1)

    corners = conv(x, w, "shortcut.0").reshape(3, 4, 2, 2, 4, 6)
    shortcut = x.new_zeros(3, 4, 8, 12)
    for i in range(2):
        for j in range(2):
            shortcut[:, :, i::2, j::2] = corners[:, :, i, j]
    assert close(block(x), shortcut + bottleneck(x, w, spread))


@pytest.mark.parametrize("make", BLOCKS)
def test_maps_are_not_written_over(make: Callable[[], nn.Module]) -> None:
    x = torch.randn(2, 4, 4, 4)
    before = x.clone()
    make()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("make", BLOCKS[1:])
def test_second_gradients(make: Callable[[], nn.Module]) -> None:
    block = make()
    shake(block)
    x = maps(sides=(2, 2))[:1].requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x: block(x).square(), x)


def test_stages_and_where_attention_stands() -> None:
    stages = down_stages(3, [4, 6, 6, 8], 2, 32, 8, "layer")
    x, sides = torch.randn(1, 3, 32, 32), []
    for stage in stages:
        x = stage(x)
        sides.append(tuple(x.shape[1:]))
    assert sides == [(4, 16, 16), (6, 8, 8), (6, 8, 8), (8, 8, 8)]
    attended = [any(isinstance(m, SelfAttention) for m in stage) for stage in stages]
    assert attended == [False, True, False, False]
    norms = [sum(isinstance(m, nn.GroupNorm) for m in stage.modules()) for stage in stages]
    assert norms == [0, 2, 2, 2], "none where the picture comes in"


def test_first_weights() -> None:
    """Normal, of variance 2 / (fan in + fan out), and twice that after a ReLU."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(60, 60),
        UpBlock(48, 48, partial(norm_layer, "batch")),
        DownBlock(48, 48, "batch"),
        BottleneckBlock(96, 96, "batch", "up"),
    )
    initialise_residual(net, "xavier", 1.0)
    seen = {False: 0, True: 0}
    for name, p in net.named_parameters():
        if p.ndim == 1:
            norm = name.endswith("weight")
            assert torch.equal(p, torch.full_like(p, float(norm))), name
            continue
        after_relu = "branch" in name
        seen[after_relu] += 1
        places = p[0, 0].numel()
        variance = 2 / (places * (p.shape[0] + p.shape[1])) * (2 if after_relu else 1)
        # five standard errors
        assert p.std().item() == pytest.approx(variance**0.5, rel=3.6 / p.numel() ** 0.5), name
    assert seen == {False: 4, True: 7}
    initialise_residual(net, "normal", 0.02)
    assert net[0].weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert net[1].branch[0].weight.std().item() == pytest.approx(0.02 * 2**0.5, rel=0.05)
    assert torch.equal(net[1].norms[0].weight, torch.ones(48))


def test_attention_stands_where_there_are_maps() -> None:
    for side in (0, 8, 16, 32):
        check_attention(side, 64)
    for side in (4, 24, 64):
        with pytest.raises(
            ValueError, match=f"power of two from 8 to 32, or 0 for none, not {side}"
        ):
            check_attention(side, 64)
