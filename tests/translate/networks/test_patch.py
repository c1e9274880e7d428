"""Patch discriminators against their paper and the layout of the authors' weights."""

import pytest
import torch
from torch import nn

from translate.networks.patch import PatchDiscriminator

FIELDS = {1: 16, 2: 34, 3: 70, 4: 142, 5: 286}


def shape_only(*arguments: int, **keywords: object) -> PatchDiscriminator:
    """Full-size networks without numbers."""
    with torch.device("meta"):
        return PatchDiscriminator(*arguments, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("channels", "norm", "parameters"), [(3, "instance", 2_764_737), (6, "batch", 2_768_705)]
)
def test_parameters(channels: int, norm: str, parameters: int) -> None:
    net = shape_only(channels, 256, norm=norm)
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize(("layers", "side"), [(1, 126), (2, 62), (3, 30), (4, 14), (5, 6)])
def test_scores_of_a_picture_of_256(layers: int, side: int) -> None:
    net = shape_only(3, 256, layers=layers)
    assert net(torch.empty(2, 3, 256, 256, device="meta")).shape == (2, 1, side, side)


@pytest.mark.parametrize(("layers", "field"), FIELDS.items())
def test_receptive_field(layers: int, field: int) -> None:
    """The pixels that one score in the middle depends on, by its gradient."""
    side = 2 * FIELDS[layers] + 64
    net = PatchDiscriminator(1, side, filters=1, layers=layers, norm="none").double()
    for p in net.parameters():
        nn.init.ones_(p)
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    scores = net(x)
    middle = scores.shape[-1] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], x)
    seen = gradient[0, 0] > 0
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == field
    assert seen.sum() == field**2
    assert rows.min() > 0, "not cut off by the border"
    assert rows.max() < side - 1


def test_keys_of_the_authors_weights() -> None:
    keys = [f"model.{n}.{part}" for n in (0, 2, 5, 8, 11) for part in ("weight", "bias")]
    assert list(shape_only(3, 256).state_dict()) == keys
    batch = set(shape_only(3, 256, norm="batch").state_dict())
    assert {"model.0.bias", "model.11.bias", "model.3.bias", "model.3.running_mean"} <= batch
    assert not {"model.2.bias", "model.5.bias", "model.8.bias"} & batch


def test_layers() -> None:
    net = shape_only(3, 256)
    inner = [nn.Conv2d, nn.InstanceNorm2d, nn.LeakyReLU]
    assert [type(m) for m in net.model] == [nn.Conv2d, nn.LeakyReLU, *inner * 3, nn.Conv2d]
    convolutions = [m for m in net.model if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 1]
    assert [c.stride[0] for c in convolutions] == [2, 2, 2, 1, 1]
    assert {(c.kernel_size, c.padding) for c in convolutions} == {((4, 4), (1, 1))}
    assert {m.negative_slope for m in net.model if isinstance(m, nn.LeakyReLU)} == {0.2}


def test_width_stops_at_eight_times_the_first() -> None:
    convolutions = [m for m in shape_only(3, 256, layers=5).model if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 128, 256, 512, 512, 512, 1]


def test_first_weights() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(3, 256, filters=32)
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        else:  # five standard errors
            assert (
                0.02 * (1 - 3.6 / p.numel() ** 0.5) < p.std() < 0.02 * (1 + 3.6 / p.numel() ** 0.5)
            )


def test_scores_are_not_bounded() -> None:
    """No sigmoid at the end."""
    net = PatchDiscriminator(3, 16, filters=4, layers=2)
    nn.init.constant_(net.model[-1].bias, 50.0)
    assert net(torch.randn(1, 3, 16, 16)).min() > 40
    nn.init.constant_(net.model[-1].bias, -50.0)
    assert net(torch.randn(1, 3, 16, 16)).max() < -40


@pytest.mark.parametrize("layers", FIELDS)
def test_smallest_picture(layers: int) -> None:
    """The constructor refuses exactly the sizes on which the network would fail."""
    smallest = 3 * 2**layers
    net = PatchDiscriminator(3, smallest, filters=2, layers=layers)
    assert net(torch.randn(1, 3, smallest, smallest)).shape[2:] == (1, 1)
    with pytest.raises((ValueError, RuntimeError)):
        net(torch.randn(1, 3, smallest - 1, smallest - 1))
    with pytest.raises(ValueError, match=f"pictures of {smallest} pixels or more, not"):
        PatchDiscriminator(3, smallest - 1, filters=2, layers=layers)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"layers": 0}, "layers must be 1 or more, not 0"),
        ({"filters": 0}, "filters must be 1 or more, not 0"),
        ({"norm": "layer"}, "choose instance, batch, none"),
        ({"init": "zeros"}, "choose normal, xavier, kaiming, orthogonal"),
    ],
)
def test_wrong_arguments_are_named(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_only(3, 64, **keywords)
