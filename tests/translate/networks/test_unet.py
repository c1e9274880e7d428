"""The U-Net against its paper, the layout of the authors' weights and a second, flat writing."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import pad

from gan_core.blocks.convolution import Conv2d, ConvTranspose2d
from translate.networks.unet import Level, UNetGenerator


def shape_only(*arguments: int, **keywords: object) -> UNetGenerator:
    """Full-size networks without numbers."""
    with torch.device("meta"):
        return UNetGenerator(*arguments, **keywords)  # type: ignore[arg-type]


def levels(net: UNetGenerator) -> list[nn.Sequential]:
    """The layers of every resolution, the finest first."""
    return [module.model for module in net.modules() if isinstance(module, Level)]


def convolutions(net: UNetGenerator, kind: type[nn.Module]) -> list[Any]:
    return [module for module in net.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(
    ("size", "norm", "parameters", "keys"),
    [
        (256, "batch", 54_413_955, 82),
        (256, "instance", 54_409_603, 32),
        (128, "batch", 41_828_995, 70),
    ],
)
def test_parameters(size: int, norm: str, parameters: int, keys: int) -> None:
    net = shape_only(3, 3, size, norm=norm)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert len(net.state_dict()) == keys


BATCH = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def authors_keys(depth: int, norm: str) -> list[str]:
    """In the authors' order: down to the bottleneck, then back up.

    Places in a level: 1 LeakyReLU'd convolution, 2 norm, 3 next level, 5 transposed one, 6 norm;
    the innermost has 3 for its transposed convolution and 4 for the norm.
    """
    parts = ("weight",) if norm == "batch" else ("weight", "bias")
    after = BATCH if norm == "batch" else ()
    inside = ["model.model.1" + ".model.3" * level for level in range(depth - 1)]
    keys = [f"model.model.0.{part}" for part in parts]
    for prefix in inside[:-1]:
        keys += [f"{prefix}.model.1.{part}" for part in parts]
        keys += [f"{prefix}.model.2.{part}" for part in after]
    keys += [f"{inside[-1]}.model.{place}.{part}" for place in (1, 3) for part in parts]
    keys += [f"{inside[-1]}.model.4.{part}" for part in after]
    for prefix in reversed(inside[:-1]):
        keys += [f"{prefix}.model.5.{part}" for part in parts]
        keys += [f"{prefix}.model.6.{part}" for part in after]
    return [*keys, "model.model.3.weight", "model.model.3.bias"]


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize(
    ("size", "depth", "norm"),
    [(256, 8, "batch"), (256, 8, "instance"), (128, 7, "batch"), (32, 5, "batch"), (4, 2, "none")],
)
def test_keys_of_the_authors_weights(size: int, depth: int, norm: str, dropout: bool) -> None:
    net = shape_only(3, 3, size, norm=norm, dropout=dropout)
    assert list(net.state_dict()) == authors_keys(depth, norm)


def test_some_keys_spelled_out() -> None:
    keys = list(shape_only(3, 3, 256).state_dict())
    assert keys[:3] == [
        "model.model.0.weight",
        "model.model.1.model.1.weight",
        "model.model.1.model.2.weight",
    ]
    assert keys[-8:-2] == [
        "model.model.1.model.5.weight",
        *(f"model.model.1.model.6.{part}" for part in BATCH),
    ]


@pytest.mark.parametrize(
    ("size", "depth"), [(4, 2), (7, 2), (8, 3), (128, 7), (256, 8), (360, 8), (511, 8), (512, 9)]
)
def test_depth_by_size(size: int, depth: int) -> None:
    """Halvings until a side of one pixel is left, of the largest power of 2 in the size."""
    net = shape_only(3, 3, size, filters=2)
    assert len(convolutions(net, nn.Conv2d)) == depth
    assert len(convolutions(net, nn.ConvTranspose2d)) == depth


def test_layers() -> None:
    net = shape_only(3, 5, 256)
    outermost, *middle, innermost = levels(net)
    down, up = Conv2d, ConvTranspose2d
    assert [type(m) for m in outermost] == [down, Level, nn.ReLU, up, nn.Tanh]
    inside = [nn.LeakyReLU, down, nn.BatchNorm2d, Level, nn.ReLU, up, nn.BatchNorm2d]
    assert [[type(m) for m in level] for level in middle] == [
        *[inside] * 3,
        *[[*inside, nn.Dropout]] * 3,
    ]
    assert [type(m) for m in innermost] == [nn.LeakyReLU, down, nn.ReLU, up, nn.BatchNorm2d]
    assert {m.negative_slope for m in net.modules() if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_widths() -> None:
    """Appendix 6.1.1: C64-C128-C256-C512-C512-C512-C512-C512, and back with the skips."""
    net = shape_only(3, 5, 256)
    encoder, decoder = convolutions(net, nn.Conv2d), convolutions(net, nn.ConvTranspose2d)
    assert [c.out_channels for c in encoder] == [64, 128, 256, 512, 512, 512, 512, 512]
    assert [c.in_channels for c in encoder] == [3, 64, 128, 256, 512, 512, 512, 512]
    assert [c.in_channels for c in decoder] == [512, 1024, 1024, 1024, 1024, 512, 256, 128]
    assert [c.out_channels for c in decoder] == [512, 512, 512, 512, 256, 128, 64, 5]
    taps = {(c.kernel_size, c.stride, c.padding) for c in (*encoder, *decoder)}
    assert taps == {((4, 4), (2, 2), (1, 1))}


@pytest.mark.parametrize(("size", "count"), [(512, 4), (256, 3), (128, 2), (64, 1), (32, 0)])
def test_dropout_between_the_widest_maps(size: int, count: int) -> None:
    """Directly after the norm of the decoder's widest levels but the innermost."""
    net = shape_only(3, 3, size, filters=4)
    places = [level for level, layers in enumerate(levels(net)) if type(layers[-1]) is nn.Dropout]
    assert places == list(range(4, 4 + count))
    dropouts = [module for module in net.modules() if isinstance(module, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.5] * count
    without = shape_only(3, 3, size, filters=4, dropout=False)
    assert not any(isinstance(module, nn.Dropout) for module in without.modules())


def test_dropout_is_random_only_in_training() -> None:
    torch.manual_seed(0)
    net = UNetGenerator(3, 3, 64, filters=2, norm="none", init_gain=0.5)
    x = torch.randn(1, 3, 64, 64)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))
    net = UNetGenerator(3, 3, 64, filters=2, norm="none", init_gain=0.5, dropout=False)
    assert torch.equal(net(x), net(x))


def flat(net: UNetGenerator, x: Tensor) -> Tensor:
    """An encoder list and a decoder that concatenates, as the paper draws it; batch statistics.

    Encoder: convolution, norm (not the first, not the last), LeakyReLU; ReLU at the bottleneck.
    Decoder: transposed convolution, norm, concatenation, ReLU; tanh at the end.
    """
    encoder, decoder = convolutions(net, nn.Conv2d), convolutions(net, nn.ConvTranspose2d)
    norms: list[Any] = convolutions(net, nn.BatchNorm2d)
    middle = len(encoder) - 2
    into, back = norms[:middle], norms[middle:]

    def normalise(h: Tensor, norm: nn.BatchNorm2d) -> Tensor:
        mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), correction=0, keepdim=True)
        h = (h - mean) / (var + 1e-5).sqrt()
        return h * norm.weight[:, None, None] + norm.bias[:, None, None]

    stages = []
    for n, layer in enumerate(encoder):
        x = F.conv2d(x, layer.weight, layer.bias, stride=2, padding=1)
        if 0 < n < len(encoder) - 1:
            x = normalise(x, into[n - 1])
        stages.append(x)
        x = torch.where(x > 0, x, 0.2 * x)
    x = stages.pop()
    for n, layer in enumerate(decoder):
        x = F.conv_transpose2d(x.clamp(min=0), layer.weight, layer.bias, stride=2, padding=1)
        if stages:
            x = torch.cat([stages.pop(), normalise(x, back[n])], 1)
    return x.tanh()


@pytest.mark.parametrize("depth", [2, 3, 5, 6])
def test_equals_a_flat_writing(depth: int) -> None:
    """Output and gradients; the flat one carries what no LeakyReLU has touched on its skips."""
    torch.manual_seed(depth)
    net = UNetGenerator(3, 2, 2**depth, filters=2, dropout=False, init_gain=0.3).double()
    for p in net.parameters():  # biases too
        nn.init.normal_(p, 0.1, 0.3)
    x = torch.randn(2, 3, 2**depth, 2 ** (depth + 1), dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, 2, *x.shape[2:], dtype=torch.float64)
    wanted, made = flat(net, x), net(x)
    assert wanted.std() > 0.1, "not saturated, not dead"
    assert (made - wanted).abs().max() < 1e-12
    given = [x, *net.parameters()]
    mine = torch.autograd.grad((made * towards).sum(), given)
    theirs = torch.autograd.grad((wanted * towards).sum(), given)
    for a, b in zip(mine, theirs, strict=True):
        assert (a - b).abs().max() <= 1e-12 * b.abs().max().clamp(min=1)
        assert b.abs().max() > 0


def test_input_is_not_changed() -> None:
    net = UNetGenerator(3, 3, 8, filters=2)
    x = torch.randn(2, 3, 8, 8)
    before = x.clone()
    net(x)
    assert torch.equal(x, before)


def test_what_is_next_to_the_input_skips_the_bottleneck() -> None:
    """With the inner levels silenced the finest skip alone still carries detail."""
    torch.manual_seed(0)
    net = UNetGenerator(1, 1, 16, filters=4, norm="none", init_gain=1.0)
    inner = levels(net)[1]
    for p in inner.parameters():
        nn.init.zeros_(p)
    x = torch.randn(1, 1, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x)[0, 0, 8, 8], x)
    rows, columns = (gradient[0, 0] != 0).nonzero(as_tuple=True)
    assert 0 < rows.max() - rows.min() < 8
    assert 0 < columns.max() - columns.min() < 8


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("depth", range(2, 7))
def test_output_is_a_picture_of_the_same_size(depth: int, norm: str) -> None:
    torch.manual_seed(0)
    step = 2**depth
    net = UNetGenerator(1, 3, step, filters=2, depth=depth, norm=norm, init_gain=1.0)  # type: ignore
    for height, width in [(step, step), (2 * step, step), (step, 3 * step)]:
        made = net(torch.randn(2, 1, height, width))
        assert made.shape == (2, 3, height, width)
        assert -1 <= made.min() < -0.2
        assert 0.2 < made.max() <= 1


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_one_picture_of_the_training_size(norm: str) -> None:
    """No norm meets the single pixel at the bottleneck, of which there is no variance."""
    net = UNetGenerator(3, 3, 16, filters=2, norm=norm)  # type: ignore[arg-type]
    assert net(torch.randn(1, 3, 16, 16)).isfinite().all()


@pytest.mark.parametrize("depth", range(2, 10))
def test_shape_without_numbers(depth: int) -> None:
    net = shape_only(3, 1, 512, depth=depth)
    assert net(torch.empty(2, 3, 512, 1024, device="meta")).shape == (2, 1, 512, 1024)


def test_first_weights() -> None:
    torch.manual_seed(0)
    net = UNetGenerator(3, 3, 32, filters=32, norm="instance")
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        else:  # five standard errors
            assert (
                0.02 * (1 - 3.6 / p.numel() ** 0.5) < p.std() < 0.02 * (1 + 3.6 / p.numel() ** 0.5)
            )


def test_batch_norm_carries_the_bias() -> None:
    net = shape_only(3, 3, 256)
    layers = [*convolutions(net, nn.Conv2d), *convolutions(net, nn.ConvTranspose2d)]
    assert [layer.bias is not None for layer in layers] == [False] * 15 + [True]


@pytest.mark.parametrize(("height", "width"), [(8, 12), (12, 8), (4, 8), (9, 8), (1, 1)])
def test_sides_that_do_not_halve_are_extended_by_mirroring(height: int, width: int) -> None:
    net = UNetGenerator(3, 3, 12, filters=2, norm="instance", dropout=False).double()
    x = torch.randn(2, 3, height, width, dtype=torch.float64)
    sides = [-(-side // 8) * 8 for side in (height, width)]
    mode = "reflect" if sides[0] < 2 * height and sides[1] < 2 * width else "replicate"
    larger = pad(x, (0, sides[1] - width, 0, sides[0] - height), mode=mode)
    assert torch.equal(net(x), net(larger)[:, :, :height, :width])


@pytest.mark.parametrize(
    ("size", "keywords", "message"),
    [
        (64, {"filters": 0}, "filters must be 1 or more, not 0"),
        (3, {}, "pictures of 4 pixels or more, not 3"),
        (0, {}, "pictures of 4 pixels or more, not 0"),
        (64, {"depth": 1}, "depth must be 2 or more, not 1"),
        (64, {"depth": -1}, "depth must be 2 or more, not -1"),
        (255, {"depth": 8}, "depth = 8 needs pictures of 256 pixels or more, not 255"),
        (64, {"norm": "film"}, "choose instance, batch, layer, none"),
        (64, {"init": "zeros"}, "choose normal, xavier, kaiming, orthogonal"),
    ],
)
def test_wrong_arguments_are_named(size: int, keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_only(3, 3, size, **keywords)
