"""Patch discriminators against their paper and the layout of the authors' weights."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks.normalisation import InstanceNorm2d
from translate.networks.patch import PatchDiscriminator, PixelDiscriminator

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


def seen_by_one_score(net: nn.Module, side: int) -> Tensor:
    """Which pixels the score in the middle depends on, by its gradient under weights of 1."""
    net.double()
    for p in net.parameters():
        nn.init.ones_(p)
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    scores = net(x)
    middle = scores.shape[-1] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], x)
    return gradient[0, 0] > 0


@pytest.mark.parametrize(("layers", "field"), FIELDS.items())
def test_receptive_field(layers: int, field: int) -> None:
    side = 2 * FIELDS[layers] + 64
    seen = seen_by_one_score(
        PatchDiscriminator(1, side, filters=1, layers=layers, norm="none"), side
    )
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == field
    assert seen.sum() == field**2
    assert rows.min() > 0, "not cut off by the border"
    assert rows.max() < side - 1


def test_receptive_field_of_one_pixel() -> None:
    seen = seen_by_one_score(PixelDiscriminator(1, filters=2, norm="none"), 9)
    assert seen.nonzero().tolist() == [[4, 4]]


def test_keys_of_the_authors_weights() -> None:
    keys = [f"model.{n}.{part}" for n in (0, 2, 5, 8, 11) for part in ("weight", "bias")]
    assert list(shape_only(3, 256).state_dict()) == keys
    batch = set(shape_only(3, 256, norm="batch").state_dict())
    assert {"model.0.bias", "model.11.bias", "model.3.bias", "model.3.running_mean"} <= batch
    assert not {"model.2.bias", "model.5.bias", "model.8.bias"} & batch


def test_layers() -> None:
    net = shape_only(3, 256)
    inner = [nn.Conv2d, InstanceNorm2d, nn.LeakyReLU]
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
        ({"norm": "film"}, "choose instance, batch, layer, none"),
        ({"init": "zeros"}, "choose normal, xavier, kaiming, orthogonal"),
    ],
)
def test_wrong_arguments_are_named(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_only(3, 64, **keywords)


def test_wrong_arguments_of_the_pixel_discriminator_are_named() -> None:
    with pytest.raises(ValueError, match="filters must be 1 or more, not 0"):
        PixelDiscriminator(3, filters=0)
    with pytest.raises(ValueError, match="choose instance, batch, layer, none"):
        PixelDiscriminator(3, norm="film")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("norm", "parameters", "places"),
    [
        # 6 * 64 + 64, 64 * 128, 128 + 128, 128
        ("batch", 9_024, {"0.weight", "0.bias", "2.weight", "3.weight", "3.bias", "5.weight"}),
        # 6 * 64 + 64, 64 * 128 + 128, 128 + 1
        ("instance", 8_897, {f"{n}.{part}" for n in (0, 2, 5) for part in ("weight", "bias")}),
    ],
)
def test_pixel_discriminator(norm: str, parameters: int, places: set[str]) -> None:
    with torch.device("meta"):
        net = PixelDiscriminator(6, norm=norm)  # type: ignore[arg-type]
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert {name for name, _ in net.named_parameters()} == {f"net.{place}" for place in places}
    assert net(torch.empty(2, 6, 7, 5, device="meta")).shape == (2, 1, 7, 5)


def test_pixels_are_judged_alone() -> None:
    """Shuffled pixels get the same scores, shuffled."""
    torch.manual_seed(0)
    net = PixelDiscriminator(3, filters=4, norm="none", init_gain=1.0).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    order = torch.randperm(16)
    mixed = x.flatten(2)[:, :, order].reshape(x.shape)
    assert torch.allclose(net(mixed).flatten(), net(x).flatten()[order], rtol=1e-12, atol=1e-12)
    assert net(x).std() > 0.1


Build = Callable[..., nn.Module]


def patch(**keywords: object) -> nn.Module:
    return PatchDiscriminator(3, 24, filters=2, init_gain=0.5, **keywords)  # type: ignore[arg-type]


def pixel(**keywords: object) -> nn.Module:
    return PixelDiscriminator(3, filters=2, init_gain=0.5, **keywords)  # type: ignore[arg-type]


both = pytest.mark.parametrize("build", [patch, pixel])


@both
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("weights", ["spectral", "free"])
def test_features_are_what_each_activation_made(build: Build, norm: str, weights: str) -> None:
    torch.manual_seed(0)
    net = build(norm=norm, weights=weights).double().eval()
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    before = x.clone()
    made = net(x, features=True)
    assert isinstance(made, list)
    assert torch.equal(made[-1], net(x))
    assert torch.equal(x, before)
    layers = next(net.children())
    wanted = [
        layers[: place + 1](x)  # computed alone, so that no later layer can have touched it
        for place, layer in enumerate(layers)
        if isinstance(layer, nn.LeakyReLU)
    ]
    assert len(wanted) == {patch: 4, pixel: 2}[build]
    assert len(made) == len(wanted) + 1
    for got, expected in zip(made, wanted, strict=False):
        assert torch.equal(got, expected)
        assert (got < 0).any()
        assert got.requires_grad


def test_widths_of_the_features() -> None:
    made = shape_only(3, 256)(torch.empty(1, 3, 256, 256, device="meta"), features=True)
    shapes = [tuple(m.shape[1:]) for m in made]
    assert shapes == [
        (64, 128, 128),
        (128, 64, 64),
        (256, 32, 32),
        (512, 31, 31),
        (1, 30, 30),
    ]


@both
def test_feature_gradients_reach_the_picture(build: Build) -> None:
    """Each feature can be differentiated by itself, and twice."""
    torch.manual_seed(0)
    net = build(norm="instance").double()
    x = torch.randn(1, 3, 24, 24, dtype=torch.float64, requires_grad=True)
    for feature in net(x, features=True):
        weights = torch.randn(feature.shape, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(
            (feature * weights).sum(), x, create_graph=True, retain_graph=True
        )
        assert gradient.abs().max() > 0
        gradient.pow(2).sum().backward(retain_graph=True)
    assert x.grad is not None
    assert x.grad.isfinite().all()


@both
def test_spectral_norm_of_every_convolution(build: Build) -> None:
    torch.manual_seed(0)
    net = build(weights="spectral").double()
    x = torch.randn(1, 3, 24, 24, dtype=torch.float64)
    for _ in range(300):
        net(x)
    net.eval()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == {patch: 5, pixel: 3}[build]
    for layer in convolutions:
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=1e-6)


@both
def test_spectral_norm_stands_still_in_eval_and_copies(build: Build) -> None:
    torch.manual_seed(0)
    net = build(weights="spectral")
    x = torch.randn(1, 3, 24, 24)
    net.eval()
    before = copy.deepcopy(net.state_dict())
    scores = net(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    other = build(weights="spectral").eval()
    assert not torch.equal(other(x), scores)
    other.load_state_dict(before)
    assert torch.equal(other(x), scores)
    assert torch.equal(copy.deepcopy(net)(x), scores)


@both
def test_second_derivatives_with_spectral_norm(build: Build) -> None:
    """As a gradient penalty asks of it: against differences of the penalty."""
    torch.manual_seed(0)
    net = build(weights="spectral", norm="none").double().eval()
    x = torch.randn(1, 3, 24, 24, dtype=torch.float64, requires_grad=True)

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(100 * net(x).pow(2).sum(), x, create_graph=True)
        return gradient.pow(2).sum()

    weights = list(net.parameters())
    exact = torch.autograd.grad(penalty(), weights)
    steps = [torch.randn_like(w) for w in weights]
    expected = sum(float((e * s).sum()) for e, s in zip(exact, steps, strict=True))

    def moved(by: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(weights, steps, alpha=by)
        value = penalty().item()
        with torch.no_grad():
            torch._foreach_sub_(weights, steps, alpha=by)
        return value

    assert expected == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-6)
    assert abs(expected) > 0.1
