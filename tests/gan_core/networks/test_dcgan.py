"""The networks with and without labels, against their papers' formulas and hand counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.blocks.conditional import ClassConditionalNorm
from gan_core.blocks.normalisation import InstanceNorm2d
from gan_core.networks.dcgan import DCGANDiscriminator, DCGANGenerator

CONDITIONS = ["concat", "projection", "auxiliary"]
SMALL = {"filters": 2, "embedding": 3}


def generator(*arguments: Any, **keywords: Any) -> DCGANGenerator:
    return DCGANGenerator(*arguments, **{"latent": 5, **SMALL, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> DCGANDiscriminator:
    return DCGANDiscriminator(*arguments, **{**SMALL, **keywords})


def shake(net: nn.Module) -> nn.Module:
    """Every parameter of size 1 or so: biases, gains and classes that all differ."""
    for p in net.parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return net


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


# What goes in and comes out.


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_shapes(condition: str, size: int, channels: int) -> None:
    labels = torch.tensor([0, 6])
    x = generator(channels, size, 7, condition)(torch.randn(2, 5), labels)
    assert x.shape == (2, channels, size, size)
    scores = discriminator(channels, size, 7, condition)(x, labels)
    assert scores.shape == (2, 8 if condition == "auxiliary" else 1)


@pytest.mark.parametrize("kernel", [3, 4, 5, 6])
@pytest.mark.parametrize("aspect", [(1, 1), (2, 3), [3, 1]])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_rectangles_and_kernels(condition: str, aspect: tuple[int, int], kernel: int) -> None:
    """Rows come first; a list will do for a tuple, as a file has it."""
    rows, columns = aspect
    labels = torch.tensor([0, 6])
    x = generator(3, 32, 7, condition, aspect, kernel=kernel)(torch.randn(2, 5), labels)
    assert x.shape == (2, 3, 32 * rows, 32 * columns)
    D = discriminator(3, 32, 7, condition, aspect, kernel=kernel)
    maps = D(x, labels, features=True)
    assert [m.shape[2:] for m in maps[:3]] == [(n * rows, n * columns) for n in (16, 8, 4)]
    assert maps[-1].shape == (2, 8 if condition == "auxiliary" else 1)


@pytest.mark.parametrize("kernel", [4, 5])
def test_each_pixel_lies_under_the_kernels_of_its_surroundings(kernel: int) -> None:
    """The middle of place i of a map is that of pixels 2i and 2i + 1, or pixel 2i, in both nets."""
    down = discriminator(1, 16, kernel=kernel).stages[0][0]
    up = generator(1, 16, kernel=kernel).layers[-2]
    for layer in (down, up):
        nn.init.constant_(layer.weight, 1.0)
        nn.init.zeros_(layer.bias)
    seen = slice(3, 7) if kernel == 4 else slice(2, 7)
    x = torch.zeros(1, 1, 16, 16)
    x[..., seen, seen] = 1
    assert down(x)[0, 0, 2, 2] == kernel**2
    h = torch.zeros(1, 2, 8, 8)
    h[:, 0, 2, 2] = 1
    assert torch.equal(up(h), x)


@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
def test_numbers_in_16_bits(norm: str) -> None:
    torch.manual_seed(0)
    G, D = shake(generator(3, 16, 3, "projection", norm=norm)), discriminator(3, 16, norm=norm)
    z, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 1])
    x = G(z, labels)
    scores = D(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert (G(z, labels) - x).abs().mean() < 0.05 * x.abs().mean()
        assert (D(x) - scores).abs().max() < 0.05 * scores.abs().max()


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512])
def test_full_size_without_numbers(size: int, condition: str) -> None:
    """On the meta device, with the channels that each map is expected to have."""
    with torch.device("meta"):
        G = DCGANGenerator(3, size, 10, condition)
        D = DCGANDiscriminator(3, size, 10, condition, weights="spectral" if size == 64 else "free")
        x = G(torch.empty(2, G.latent), torch.zeros(2, dtype=torch.int64))
        *maps, _ = D(x, torch.zeros(2, dtype=torch.int64), features=True)
    widths = [64, 128, 256, 512, 512, 512, 512][: size.bit_length() - 3]
    sides = [size // 2 ** (n + 1) for n in range(len(widths))]
    assert sides[-1] == 4
    expected = list(zip(widths, sides, strict=True))
    mixed = expected[-1:] if condition == "concat" else []
    assert [(m.shape[1], m.shape[2]) for m in maps] == expected + mixed
    ups = [layer for layer in G.layers if isinstance(layer, nn.ConvTranspose2d)]
    assert [up.out_channels for up in ups] == [*reversed(widths), 3]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_float64_is_the_same_network_to_more_digits(condition: str) -> None:
    torch.manual_seed(0)
    G, D = generator(1, 16, 3, condition), discriminator(1, 16, 3, condition, weights="spectral")
    z, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 1])
    shake(G).eval()
    D.eval()
    x = G(z, labels)
    scores = D(x, labels)
    exact = G.double()(z.double(), labels)
    assert exact.dtype == torch.float64
    assert torch.allclose(exact.float(), x, rtol=1e-4, atol=1e-6)
    expected = D.double()(exact, labels)
    assert expected.dtype == torch.float64
    assert torch.allclose(expected.float(), scores, rtol=1e-4, atol=1e-5)


def test_layers() -> None:
    norms = {
        "batch": nn.BatchNorm2d,
        "instance": InstanceNorm2d,
        "layer": nn.GroupNorm,
        "none": nn.Identity,
    }
    for name, norm in norms.items():
        G, D = generator(3, 32, norm=name), discriminator(3, 32, norm=name)
        inner = [nn.ConvTranspose2d, norm, nn.ReLU]
        assert [type(m) for m in G.layers] == [*inner * 3, nn.ConvTranspose2d, nn.Tanh]
        biases = [m.bias is not None for m in G.layers if isinstance(m, nn.ConvTranspose2d)]
        assert biases == [name != "batch"] * 3 + [True], "none before batch norm"
        assert [type(stage[1]) for stage in D.stages] == [nn.Identity, norm, norm]
        assert [stage[0].bias is not None for stage in D.stages] == [True] + [name != "batch"] * 2
        assert all(stage[2].negative_slope == 0.2 for stage in D.stages)


def test_conditional_norms_have_no_second_affine() -> None:
    for name in ("batch", "instance", "layer", "none"):
        G = generator(3, 16, 4, "projection", norm=name)
        norms = [m for m in G.layers if isinstance(m, ClassConditionalNorm)]
        assert [m.gain.shape for m in norms] == [(4, 4), (4, 2)]
        assert all(not list(m.norm.parameters()) for m in norms)


# Hand counts: size 16, 2 filters, 3 classes, embedding 3, latent 5, pictures of 1 channel.
# Maps: 4 channels of 4x4, 2 channels of 8x8.

UPS = (4 * 2 * 16) + (2 * 1 * 16 + 1)  # to 8x8 without bias, to 16x16 with bias
AFFINE = 2 * 4 + 2 * 2  # batch norm at 4x4 and 8x8
DOWNS = (1 * 2 * 16 + 2) + (2 * 4 * 16 + 4)


@pytest.mark.parametrize(
    ("classes", "condition", "expected"),
    [
        (0, "concat", 5 * 4 * 16 + UPS + AFFINE),
        (3, "concat", 3 * 3 + (5 + 3) * 4 * 16 + UPS + AFFINE),
        (3, "auxiliary", 3 * 3 + (5 + 3) * 4 * 16 + UPS + AFFINE),
        (3, "projection", 5 * 4 * 16 + UPS + 3 * AFFINE),
    ],
)
def test_parameters_of_the_generator(classes: int, condition: str, expected: int) -> None:
    assert parameters(generator(1, 16, classes, condition)) == expected


def test_parameters_of_rectangles() -> None:
    """2 x 3 first grids: only what touches a grid as a whole grows."""
    G = generator(1, 16, 0, "concat", (2, 3))
    assert parameters(G) == 5 * 4 * 16 * 6 + UPS + AFFINE
    heads = {"concat": 4 * 96 + 1, "auxiliary": (1 + 3) * (4 * 96 + 1), "projection": 4 + 1 + 3 * 4}
    for condition, expected in heads.items():
        head = discriminator(1, 16, 3, condition, (2, 3)).head
        mix = 3 * 3 + ((4 + 3) * 4 * 9 + 4) if condition == "concat" else 0
        assert parameters(head) == expected + mix
    assert parameters(discriminator(1, 16, aspect=(2, 3))) == DOWNS + 4 * 96 + 1


def test_parameters_of_a_larger_kernel() -> None:
    G, D = generator(1, 16, kernel=5), discriminator(1, 16, kernel=5)
    assert parameters(G) == 5 * 4 * 16 + (4 * 2 * 25) + (2 * 1 * 25 + 1) + AFFINE
    assert parameters(D) == (1 * 2 * 25 + 2) + (2 * 4 * 25 + 4) + 4 * 16 + 1


@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
@pytest.mark.parametrize(
    ("classes", "condition", "expected"),
    [
        (0, "concat", DOWNS + (4 * 16 + 1)),
        (3, "concat", DOWNS + 3 * 3 + ((4 + 3) * 4 * 9 + 4) + (4 * 16 + 1)),
        (3, "projection", DOWNS + (4 + 1) + 3 * 4),
        (3, "auxiliary", DOWNS + (1 + 3) * (4 * 16 + 1)),
    ],
)
def test_parameters_of_the_discriminator(
    classes: int, condition: str, expected: int, weights: str
) -> None:
    assert parameters(discriminator(1, 16, classes, condition, weights=weights)) == expected


# Labels.


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_label_changes_the_picture(condition: str) -> None:
    torch.manual_seed(0)
    G = shake(generator(3, 16, 4, condition)).eval()
    z = torch.randn(1, 5).expand(5, 5)
    x = G(z, torch.tensor([0, 1, 2, 3, 0]))
    assert torch.equal(x[0], x[4])
    for a in range(4):
        for b in range(a):
            assert (x[a] - x[b]).abs().max() > 1e-2
    assert (G(z[:1] + 1, torch.tensor([0])) - x[:1]).abs().max() > 1e-2, "and so does z"


def test_first_pictures_of_the_projection_generator_have_no_class() -> None:
    """Gains start at 1, biases at 0."""
    G = generator(3, 16, 4, "projection").eval()
    x = G(torch.randn(1, 5).expand(4, 5), torch.arange(4))
    assert x.std() > 0
    assert torch.equal(x, x[:1].expand_as(x))


@pytest.mark.parametrize("condition", ["concat", "projection"])
def test_the_label_changes_the_score(condition: str) -> None:
    torch.manual_seed(0)
    D = shake(discriminator(3, 16, 4, condition))
    scores = D(torch.randn(1, 3, 16, 16).expand(5, -1, -1, -1), torch.tensor([0, 1, 2, 3, 0]))
    assert scores[0].item() == pytest.approx(scores[4].item(), rel=1e-5)
    assert (scores[:4] - scores[:4].T).abs().add(torch.eye(4)).min() > 1e-2


@pytest.mark.parametrize("condition", CONDITIONS)
def test_without_classes_labels_are_ignored(condition: str) -> None:
    torch.manual_seed(0)
    G, D = generator(1, 16, 0, condition).eval(), discriminator(1, 16, 0, condition)
    z = torch.randn(3, 5)
    x = G(z)
    assert torch.equal(G(z, torch.tensor([0, 1, 99])), x)
    assert D(x).shape == (3, 1)
    assert torch.equal(D(x, torch.tensor([0, 1, 99])), D(x))


@pytest.mark.parametrize("condition", ["concat", "projection"])
def test_missing_labels_are_named(condition: str) -> None:
    with pytest.raises(ValueError, match="labels are missing"):
        generator(1, 16, 2, condition)(torch.randn(2, 5))
    with pytest.raises(ValueError, match="labels are missing"):
        discriminator(1, 16, 2, condition)(torch.randn(2, 1, 16, 16))


# Heads against their papers.


def run_head(condition: str, classes: int = 3) -> tuple[dict[str, Tensor], list[Tensor], Tensor]:
    """A discriminator's weights, the list that it gives in float64, and the labels."""
    torch.manual_seed(0)
    D = shake(discriminator(1, 16, classes, condition).double())
    labels = torch.tensor([2, 0, 1, 2])
    out = D(torch.randn(4, 1, 16, 16, dtype=torch.float64), labels, features=True)
    return {k.removeprefix("head."): v for k, v in D.state_dict().items()}, out, labels


def test_projection_is_equation_3() -> None:
    weights, (_, h, scores), labels = run_head("projection")
    for b, label in enumerate(labels):
        phi = torch.stack([h[b, c].sum() for c in range(4)])
        psi = weights["score.weight"][0] @ phi + weights["score.bias"][0]
        expected = weights["project.weight"][label] @ phi + psi
        assert scores[b, 0].item() == pytest.approx(expected.item(), rel=1e-12)


def test_auxiliary_gives_the_score_and_then_the_logits() -> None:
    weights, (_, h, out), _ = run_head("auxiliary")
    assert out.shape == (4, 4)
    flat = h.reshape(4, 64)
    score = flat @ weights["score.weight"][0] + weights["score.bias"]
    assert torch.allclose(out[:, 0], score, rtol=1e-12, atol=1e-12)
    for label in range(3):
        logit = flat @ weights["logits.weight"][label] + weights["logits.bias"][label]
        assert torch.allclose(out[:, 1 + label], logit, rtol=1e-12, atol=1e-12)


def test_concat_joins_the_label_at_each_place_and_mixes() -> None:
    weights, (_, h, mixed, scores), labels = run_head("concat")
    label = weights["embed.weight"][labels].reshape(4, 3, 1, 1).repeat(1, 1, 4, 4)
    joined = F.conv2d(
        torch.cat([h, label], 1), weights["mix.0.weight"], weights["mix.0.bias"], padding=1
    )
    assert torch.allclose(mixed, joined.where(joined > 0, 0.2 * joined), rtol=1e-12, atol=1e-12)
    expected = mixed.reshape(4, 64) @ weights["score.weight"].T + weights["score.bias"]
    assert torch.allclose(scores, expected, rtol=1e-12, atol=1e-12)


def test_without_classes_the_score_is_linear_in_the_last_map() -> None:
    weights, (_, h, scores), _ = run_head("concat", classes=0)
    expected = h.reshape(4, 64) @ weights["score.weight"].T + weights["score.bias"]
    assert torch.allclose(scores, expected, rtol=1e-12, atol=1e-12)


def test_features_are_the_maps_after_each_slope() -> None:
    torch.manual_seed(0)
    D = shake(discriminator(3, 32, norm="instance"))
    x = torch.randn(2, 3, 32, 32)
    *maps, scores = D(x, features=True)
    assert torch.equal(scores, D(x))
    y = x
    for stage, seen in zip(D.stages, maps, strict=True):
        y = F.leaky_relu(stage[1](stage[0](y)), 0.2)
        assert torch.equal(seen, y)


# First weights and ranges.


def test_first_weights() -> None:
    torch.manual_seed(0)
    G = DCGANGenerator(3, 32, 5, latent=64, filters=32)
    assert G.embed is not None
    assert 0.85 < G.embed.weight.std() < 1.15, "N(0, 1), as z is"
    for name, p in (*G.layers.named_parameters(), *DCGANDiscriminator(3, 32).named_parameters()):
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        elif p.ndim > 1 and p.numel() > 1000:  # five standard errors
            assert p.std().item() == pytest.approx(0.02, rel=3.6 / p.numel() ** 0.5), name


def test_first_class_vectors_of_the_projection_are_as_small_as_its_weights() -> None:
    """Sums over places are large: vectors of N(0, 1) would drown the score's other part."""
    torch.manual_seed(0)
    head = DCGANDiscriminator(3, 32, 40, "projection").head
    n = head.project.weight.numel()
    assert head.project.weight.std().item() == pytest.approx(0.02, rel=3.6 / n**0.5)


def test_pictures_are_bounded_and_scores_are_not() -> None:
    torch.manual_seed(0)
    G, D = shake(generator(3, 16)), discriminator(3, 16)
    x = G(100 * torch.randn(8, 5))
    assert 0.9 < x.abs().max() <= 1
    for bias in (50.0, -50.0):
        nn.init.constant_(D.head.score.bias, bias)
        assert D(x).mean().item() == pytest.approx(bias, abs=5)


# Spectral norm.


@pytest.mark.parametrize("condition", CONDITIONS)
def test_spectral_norm(condition: str) -> None:
    """After enough power iterations every weight's largest singular value is 1."""
    torch.manual_seed(0)
    D = shake(discriminator(3, 16, 4, condition, weights="spectral").double())
    x, labels = torch.randn(2, 3, 16, 16, dtype=torch.float64), torch.tensor([0, 3])
    for _ in range(300):
        D(x, labels)
    layers = [m for m in D.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == {"concat": 4, "projection": 4, "auxiliary": 4}[condition]
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(
            1, abs=1e-9
        )
    raw = D.head.score.parametrizations.weight.original
    assert not torch.allclose(raw, D.head.score.weight, rtol=0.01)


def test_weights_are_free_unless_asked_for() -> None:
    assert not [name for name in discriminator(3, 16, 2).state_dict() if "parametri" in name]


# Gradients.


@pytest.mark.parametrize("condition", CONDITIONS)
def test_gradients_reach_every_parameter(condition: str) -> None:
    torch.manual_seed(0)
    G = shake(generator(3, 16, 3, condition))
    D = shake(discriminator(3, 16, 3, condition))
    labels = torch.tensor([0, 2, 2, 0])
    D(G(torch.randn(4, 5), labels), labels).square().sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name
    tables = [G.embed.weight] if G.embed else [m.gain for m in G.layers if hasattr(m, "gain")]
    tables += [D.head.embed.weight] if condition == "concat" else []
    tables += [D.head.project.weight] if condition == "projection" else []
    for table in tables:
        assert (table.grad != 0).any(1).tolist() == [True, False, True], "class 1 is not there"


@pytest.mark.parametrize("weights", ["free", "spectral", "normalised"])
@pytest.mark.parametrize("norm", ["none", "instance", "layer"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_gradient_penalty(condition: str, norm: str, weights: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = discriminator(1, 16, 3, condition, norm=norm, weights=weights).double()
    shake(D).eval()  # spectral norm's vectors stand still
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2])

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x, labels).sum(), x, create_graph=True)
        return slope.square().sum()

    held = "parametrizations.weight.original"
    weight = D.get_parameter(f"stages.0.0.{'weight' if weights == 'free' else held}")
    assert_gradient(penalty, weight)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_penalty_while_spectral_vectors_move(condition: str) -> None:
    """In training mode, with two forwards before the one backward, as a critic's step has it."""
    torch.manual_seed(0)
    D = discriminator(1, 16, 3, condition, weights="spectral").train()
    x = torch.randn(2, 1, 16, 16, requires_grad=True)
    labels = torch.tensor([0, 2])
    fake = D(x.detach(), labels)
    (slope,) = torch.autograd.grad(D(x, labels).sum(), x, create_graph=True)
    (fake.mean() + slope.square().sum()).backward()
    weight = D.stages[0][0].parametrizations.weight.original
    assert 0 < weight.grad.abs().max() < float("inf")


# Mistakes.

MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 8), {}, "size must be a power of two from 16 to 512, not 8"),
    ((3, 48), {}, "size must be a power of two from 16 to 512, not 48"),
    ((3, 1024), {}, "size must be a power of two from 16 to 512, not 1024"),
    ((3, 16, 2, "film"), {}, "condition 'film': choose concat, projection, auxiliary"),
    ((3, 16), {"filters": 0}, "filters must be 1 or more, not 0"),
    ((3, 16), {"embedding": 0}, "embedding must be 1 or more, not 0"),
    ((3, 16), {"kernel": 0}, "kernel must be 1 or more, not 0"),
    ((3, 16), {"aspect": (0, 1)}, r"aspect must be rows and columns, each 1 or more, not \(0, 1\)"),
    ((3, 16), {"aspect": (1, -2)}, "each 1 or more"),
    ((3, 16), {"aspect": (2,)}, "must be rows and columns"),
    ((3, 16), {"norm": "film"}, "choose instance, batch, layer, none"),
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
