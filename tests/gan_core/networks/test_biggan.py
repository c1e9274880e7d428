"""BigGAN against its published counts and tables, and what labels and parts of z reach."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from differences import assert_gradient
from torch import Tensor, nn

from gan_core.blocks.attention import SelfAttention
from gan_core.networks.biggan import (
    BigGANDiscriminator,
    BigGANGenerator,
    ConditionalBatchNorm,
)

# Channels of the discriminator's maps, in filters: halvings down to 4x4, and 4x4 again.
WIDTHS = {
    16: [4, 4, 4],
    32: [4, 4, 4, 4],
    64: [1, 2, 4, 8, 16],
    128: [1, 2, 4, 8, 16, 16],
    256: [1, 2, 4, 8, 8, 16, 16],
    512: [1, 1, 2, 4, 8, 8, 16, 16],
}


def generator(*arguments: Any, **keywords: Any) -> BigGANGenerator:
    return BigGANGenerator(*arguments, **{"latent": 9, "embedding": 3, "filters": 2, **keywords})


def discriminator(*arguments: Any, **keywords: Any) -> BigGANDiscriminator:
    return BigGANDiscriminator(*arguments, **{"filters": 2, **keywords})


def shake(net: nn.Module) -> nn.Module:
    """Every parameter of size 1 or so: biases, gains, gates and classes that all differ."""
    for p in net.parameters():
        nn.init.normal_(p, 0.0, 0.5)
    return net


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def watched(modules: nn.ModuleList, run: Callable[[], object]) -> list[Tensor]:
    """What each of the modules gives during ``run``."""
    seen: list[Tensor] = []
    hooks = [m.register_forward_hook(lambda m, i, out: seen.append(out)) for m in modules]
    run()
    for hook in hooks:
        hook.remove()
    return seen


# Published counts, tables, shapes.


def test_parameters_for_imagenet() -> None:
    """128 pixels, 1000 classes: the numbers that compare_gan's test of the paper's network has."""
    with torch.device("meta"):
        G = BigGANGenerator(3, 128, 1000, weights="free")
        D = BigGANDiscriminator(3, 128, 1000, weights="free")
    assert parameters(G) == 70_433_988
    assert parameters(D) == 87_982_370


@pytest.mark.parametrize("size", WIDTHS)
def test_channels_without_numbers(size: int) -> None:
    with torch.device("meta"):
        G = generator(3, size, 5, aspect=(2, 1), weights="free")  # which is built sooner
        D = discriminator(3, size, 5, aspect=(2, 1), weights="free")
        labels = torch.zeros(2, dtype=torch.int64)
        made = watched(G.blocks, lambda: G(torch.empty(2, 9), labels))
        x = G(torch.empty(2, 9), labels)
        *seen, scores = D(x, labels, features=True)
    assert scores.shape == (2, 1)
    assert x.shape == (2, 3, 2 * size, size)
    widths = [2 * w for w in WIDTHS[size]]
    sides = [size >> n for n in range(8) if size >> n >= 4]
    downs = [(w, 2 * s, s) for w, s in zip(widths, [*sides[1:], 4], strict=True)]
    assert [tuple(m.shape[1:]) for m in seen] == downs
    ups = [(w, 2 * s, s) for w, s in zip(widths, sides, strict=True)]
    assert [tuple(m.shape[1:]) for m in made] == ups[-2::-1]


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shapes_and_ranges(channels: int, classes: int) -> None:
    torch.manual_seed(0)
    G = generator(channels, 16, classes, weights="free")
    D = discriminator(channels, 16, classes)
    labels = torch.arange(4) % max(classes, 1)
    x = shake(G)(100 * torch.randn(4, 9), labels)
    assert x.shape == (4, channels, 16, 16)
    assert 0.9 < x.abs().max() <= 1
    for bias in (50.0, -50.0):
        nn.init.constant_(D.score.bias, bias)
        assert D(x, labels).mean().item() == pytest.approx(bias, abs=20)


@pytest.mark.parametrize(
    ("size", "attention", "expected"),
    [(16, "auto", 8), (64, "auto", 32), (128, "auto", 64), (256, "auto", 64), (64, 16, 16)],
)
def test_where_attention_stands(size: int, attention: Any, expected: int) -> None:
    with torch.device("meta"):
        for net, x in (
            (generator(1, size, attention=attention, weights="free"), torch.empty(1, 9)),
            (
                discriminator(1, size, attention=attention, weights="free"),
                torch.empty(1, 1, size, size),
            ),
        ):
            layers = [m for m in net.modules() if isinstance(m, SelfAttention)]
            (seen,) = watched(nn.ModuleList(layers), lambda net=net, x=x: net(x))
            assert seen.shape[2:] == (expected, expected)
    for net in (generator(1, 16, attention=0), discriminator(1, 16, attention=0)):
        assert not [m for m in net.modules() if isinstance(m, SelfAttention)]


# Labels and parts of z.


def test_conditional_norm_by_hand() -> None:
    """(1 + gain) * norm + bias, in evaluation with the first statistics: the norm is x itself."""
    layer = ConditionalBatchNorm(1, 2).double().eval()
    layer.norm.eps = 0.0
    layer.gain.weight.data = torch.tensor([[2.0, 0.5]]).double()
    layer.bias.weight.data = torch.tensor([[10.0, -3.0]]).double()
    x = torch.tensor([-1.0, 1.0]).double().expand(3, 1, 1, 2)
    c = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]).double()
    expected = [[-1.0, 1.0], [10 - 3, 10 + 3], [-6 - 2, -6 + 2]]
    assert torch.allclose(layer(x, c).flatten(1), torch.tensor(expected).double())
    assert [p.shape for p in layer.parameters()] == [(1, 2), (1, 2)]


@pytest.mark.parametrize(("size", "parts"), [(16, [3, 3, 3]), (32, [3, 2, 2, 2])])
def test_each_part_of_z_enters_at_its_block(size: int, parts: list[int]) -> None:
    torch.manual_seed(0)
    G = shake(generator(3, size, 4, weights="free")).eval()
    z, label, number = torch.randn(1, 9), torch.tensor([1]), 0
    before = watched(G.blocks, lambda: G(z, label))
    for part, length in enumerate(parts):
        for _ in range(length):
            other = z.clone()
            other[0, number] += 1
            after = watched(G.blocks, lambda other=other: G(other, label))
            same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
            first = max(part - 1, 0)
            assert same == [block < first for block in range(len(G.blocks))]
            number += 1
    assert number == 9


def test_the_label_steers_every_block_and_nothing_else() -> None:
    torch.manual_seed(0)
    G = shake(generator(3, 16, 4)).eval()
    z = torch.randn(1, 9).expand(5, 9)
    x = G(z, torch.tensor([0, 1, 2, 3, 0]))
    assert torch.allclose(x[0], x[4], atol=1e-6)
    for a in range(4):
        for b in range(a):
            assert (x[a] - x[b]).abs().max() > 1e-2
    with torch.no_grad():  # columns of the label's vector in every block's norms
        for module in G.modules():
            if isinstance(module, ConditionalBatchNorm):
                for layer in (module.gain, module.bias):
                    layer.parametrizations.weight.original[:, :3] = 0
    x = G(z, torch.tensor([0, 1, 2, 3, 0]))
    assert torch.allclose(x, x[:1].expand_as(x), atol=1e-6)


def test_projection() -> None:
    """score = linear(s) + <v_label, s>, s the sum over places of what ReLU leaves."""
    torch.manual_seed(0)
    D = shake(discriminator(1, 16, 3).double()).eval()
    labels = torch.tensor([2, 0, 1, 2])
    x = torch.randn(4, 1, 16, 16, dtype=torch.float64)
    *seen, scores = D(x, labels, features=True)
    assert len(seen) == 3
    for before, stage, after in zip([x, *seen], D.stages, seen, strict=False):
        assert torch.equal(stage(before), after)
    for b, label in enumerate(labels):
        s = torch.stack([seen[-1][b, c].clamp(min=0).sum() for c in range(8)])
        expected = (D.score.weight[0] + D.project.weight[label]) @ s + D.score.bias[0]
        assert scores[b, 0].item() == pytest.approx(expected.item(), rel=1e-10)
    assert torch.equal(D(x, labels), scores)


def test_without_classes_labels_are_ignored_and_z_steers() -> None:
    torch.manual_seed(0)
    G, D = shake(generator(1, 16)).eval(), shake(discriminator(1, 16)).eval()
    z = torch.randn(3, 9)
    x = G(z)
    assert torch.equal(G(z, torch.tensor([0, 1, 99])), x)
    assert torch.equal(D(x, torch.tensor([0, 1, 99])), D(x))
    z[:, 3:] += 1
    assert (G(z) - x).abs().max() > 1e-2
    # any word for the condition will do where there are no labels
    assert parameters(generator(1, 16, 0, "concat")) == parameters(G)


def test_missing_labels_are_named() -> None:
    with pytest.raises(ValueError, match="labels are missing"):
        generator(1, 16, 2)(torch.randn(2, 9))
    with pytest.raises(ValueError, match="labels are missing"):
        discriminator(1, 16, 2)(torch.randn(2, 1, 16, 16))


# First weights, spectral norm, gradients, formats.


def test_first_weights() -> None:
    torch.manual_seed(0)
    G = generator(3, 32, 5, embedding=16, filters=8, weights="free")
    D = discriminator(3, 32, 5, filters=8, weights="free")
    for net in (G, D):
        for name, p in net.named_parameters():
            if name.endswith("gamma") or name.endswith("bias"):
                assert p.abs().max() == 0, name
            elif name == "end.0.weight":
                assert torch.equal(p, torch.ones_like(p)), "a norm's"
            else:
                gain = 2**0.5 if "branch" in name else 1.0
                values = torch.linalg.svdvals(p.flatten(1))
                assert torch.allclose(values, torch.full_like(values, gain), atol=1e-4), name


@pytest.mark.parametrize("make", [generator, discriminator])
def test_spectral_norm_holds_all_but_the_labels_vectors(make: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    net = shake(make(1, 16, 3))
    labels = torch.tensor([0, 2])
    x = torch.randn(2, 9) if make is generator else torch.randn(2, 1, 16, 16)
    held = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]

    def vectors() -> dict[str, Tensor]:
        return {k: v.clone() for k, v in net.state_dict().items() if k.endswith(("_u", "_v"))}

    before = vectors()
    assert len(before) == 2 * len(held)
    assert not [name for name in before if "embed" in name]
    once, again = net.eval()(x, labels), net(x, labels)
    assert torch.equal(once, again)
    assert all(torch.equal(v, before[k]) for k, v in vectors().items())
    net.train()
    for _ in range(100):
        net(x, labels)
    net.eval()
    for layer in held:
        assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("classes", [0, 3])
def test_gradients_reach_every_parameter(classes: int) -> None:
    torch.manual_seed(0)
    G, D = shake(generator(3, 16, classes)), shake(discriminator(3, 16, classes))
    labels = torch.tensor([0, 2, 2, 0])
    D(G(torch.randn(4, 9), labels), labels).square().sum().backward()
    for net in (G, D):
        for name, p in net.named_parameters():
            assert p.grad is not None, name
            assert p.grad.abs().max() > 0, name
    if classes:
        assert (G.embed.weight.grad != 0).any(1).tolist() == [True, False, True]


@pytest.mark.parametrize("weights", ["free", "spectral"])
def test_gradient_penalty(weights: str) -> None:
    """The gradient of |dD/dx|^2 with respect to a weight equals its difference quotient."""
    torch.manual_seed(0)
    D = shake(discriminator(1, 16, 3, weights=weights).double()).eval()
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2])

    def penalty() -> Tensor:
        (slope,) = torch.autograd.grad(D(x, labels).sum(), x, create_graph=True)
        return slope.square().sum()

    parametrised = "parametrizations.weight.original" if weights == "spectral" else "weight"
    weight = dict(D.named_parameters())[f"stages.0.0.branch.0.{parametrised}"]
    assert_gradient(penalty, weight)


def test_16_bits() -> None:
    torch.manual_seed(0)
    G, D = generator(1, 32, 3), discriminator(1, 32, 3).eval()
    z, labels = torch.randn(8, 9), torch.arange(8) % 3
    for _ in range(20):
        G(z, labels)
    exact = G.eval()(z, labels)
    with torch.autocast("cpu", torch.bfloat16):
        x = G(z, labels)
        scores = D(x, labels)
    assert x.dtype == scores.dtype == torch.bfloat16
    assert (x.float() - exact).abs().max() < 0.1
    assert (scores.float() - D(exact, labels)).abs().max() < 0.1 * D(exact, labels).abs().max()


MISTAKES: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((3, 8), {}, "size must be a power of two from 16 to 512, not 8"),
    ((3, 16), {"aspect": (0, 1)}, r"each 1 or more, not \(0, 1\)"),
    ((3, 16, 2, "concat"), {}, "by condition = 'projection', not 'concat'"),
    ((3, 16), {"filters": 0}, "filters must be 1 or more, not 0"),
    ((3, 64), {"attention": 64}, "from 8 to 32, or 0 for none, not 64"),
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


def test_too_short_latents_are_refused() -> None:
    generator(3, 64, latent=5)
    with pytest.raises(ValueError, match="latent must be 5 or more, for the first layer and 4 bl"):
        generator(3, 64, latent=4)
    with pytest.raises(ValueError, match="embedding must be 1 or more, not 0"):
        generator(3, 16, 2, embedding=0)
