"""The residual generator against its paper and the layout of the authors' weights."""

import pytest
import torch
from torch import nn

from gan_core.blocks.normalisation import InstanceNorm2d
from gan_core.blocks.padding import ReflectionPad2d
from translate.networks.fit import fit
from translate.networks.resnet import ResnetGenerator


def shape_only(*arguments: int, **keywords: object) -> ResnetGenerator:
    """Full-size networks without numbers."""
    with torch.device("meta"):
        return ResnetGenerator(*arguments, **keywords)  # type: ignore[arg-type]


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("size", "keywords", "parameters"),
    [
        (256, {}, 11_378_179),
        (256, {"blocks": 9}, 11_378_179),
        (128, {}, 7_837_699),
        (256, {"blocks": 6}, 7_837_699),
        (256, {"norm": "batch"}, 11_383_427),
    ],
)
def test_parameters(size: int, keywords: dict[str, object], parameters: int) -> None:
    assert count(shape_only(3, 3, size, **keywords)) == parameters


@pytest.mark.parametrize(("size", "blocks"), [(64, 6), (128, 6), (256, 9), (512, 9)])
def test_blocks_by_size(size: int, blocks: int) -> None:
    """Section 7.2: 6 blocks for 128 x 128, 9 for 256 x 256 and more."""
    layers = shape_only(3, 3, size).model
    assert sum(hasattr(layer, "conv_block") for layer in layers) == blocks


@pytest.mark.parametrize(("blocks", "ups", "last"), [(9, (19, 22), 26), (6, (16, 19), 23)])
def test_keys_of_the_authors_weights(blocks: int, ups: tuple[int, int], last: int) -> None:
    weighted = ["model.1", "model.4", "model.7"]
    for place in range(10, 10 + blocks):
        weighted += [f"model.{place}.conv_block.1", f"model.{place}.conv_block.5"]
    weighted += [f"model.{place}" for place in (*ups, last)]
    keys = [f"{name}.{part}" for name in weighted for part in ("weight", "bias")]
    assert list(shape_only(3, 3, 256, blocks=blocks).state_dict()) == keys
    assert len(keys) == {9: 48, 6: 36}[blocks]


def test_dropout_moves_the_second_convolution() -> None:
    keys = set(shape_only(3, 3, 256, dropout=True).state_dict())
    assert "model.10.conv_block.6.weight" in keys
    assert "model.10.conv_block.5.weight" not in keys
    assert len(keys) == 48


def test_batch_norm_carries_the_bias() -> None:
    keys = set(shape_only(3, 3, 256, norm="batch").state_dict())
    assert "model.1.bias" not in keys
    assert {"model.2.weight", "model.2.bias", "model.2.running_mean"} <= keys
    assert "model.26.bias" in keys, "no norm follows the last convolution"


def test_layers() -> None:
    net = shape_only(3, 5, 256, blocks=1)
    down = [ReflectionPad2d, nn.Conv2d] + [InstanceNorm2d, nn.ReLU, nn.Conv2d] * 2
    up = [nn.ConvTranspose2d, InstanceNorm2d, nn.ReLU] * 2
    end = [ReflectionPad2d, nn.Conv2d, nn.Tanh]
    kinds = [type(layer) for layer in net.model]
    assert kinds == [*down, InstanceNorm2d, nn.ReLU, kinds[10], *up, *end]
    half = [ReflectionPad2d, nn.Conv2d, InstanceNorm2d]
    assert [type(layer) for layer in net.model[10].conv_block] == [*half, nn.ReLU, *half]
    weights = [tuple(net.model[place].weight.shape) for place in (1, 4, 7, 11, 14, 18)]
    assert weights == [  # transposed convolutions name what they take first
        (64, 3, 7, 7),
        (128, 64, 3, 3),
        (256, 128, 3, 3),
        (256, 128, 3, 3),
        (128, 64, 3, 3),
        (5, 64, 7, 7),
    ]
    assert not any(layer.affine for layer in net.modules() if isinstance(layer, InstanceNorm2d))


def test_first_weights() -> None:
    """Section 7.1: Gaussian, mean 0, standard deviation 0.02; biases 0."""
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 256, filters=32, blocks=1)
    for name, p in net.named_parameters():
        if name.endswith("bias"):
            assert p.abs().max() == 0, name
        else:  # five standard errors
            assert (
                0.02 * (1 - 3.6 / p.numel() ** 0.5) < p.std() < 0.02 * (1 + 3.6 / p.numel() ** 0.5)
            )
            assert -0.1 < p.mean() * p.numel() ** 0.5 < 0.1


def test_block_adds_to_its_input() -> None:
    """No activation after the sum: a block whose last weights are 0 is the identity."""
    net = ResnetGenerator(3, 3, 8, filters=4, blocks=1, norm="none")
    block = net.model[10]
    nn.init.zeros_(block.conv_block[5].weight)
    x = torch.randn(2, 16, 4, 4)
    assert torch.equal(block(x), x)
    assert (x < 0).any()


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_output_is_a_picture_of_the_same_size(norm: str) -> None:
    torch.manual_seed(0)
    net = ResnetGenerator(1, 3, 16, filters=4, blocks=1, norm=norm, init_gain=1.0)  # type: ignore
    for height, width in [(8, 8), (16, 12), (20, 32)]:
        made = net(torch.randn(2, 1, height, width))
        assert made.shape == (2, 3, height, width)
        assert -1 <= made.min() < -0.2
        assert 0.2 < made.max() <= 1


def test_dropout_is_random_only_in_training() -> None:
    torch.manual_seed(0)
    net = ResnetGenerator(3, 3, 8, filters=4, blocks=2, dropout=True, init_gain=0.2)
    x = torch.randn(1, 3, 8, 8)
    assert not torch.equal(net(x), net(x))
    net.eval()
    assert torch.equal(net(x), net(x))


def test_pictures_of_any_size_come_back_at_their_size() -> None:
    net = ResnetGenerator(3, 3, 8, filters=4, blocks=1).double()
    for height, width in ((1, 1), (4, 8), (8, 8), (9, 15), (255, 257)):
        x = torch.randn(1, 3, height, width, dtype=torch.float64)
        larger = fit(x, 4, smallest=8)
        assert all(side >= 8 and side % 4 == 0 for side in larger.shape[2:])
        assert torch.equal(net(x), net(larger)[:, :, :height, :width])
    mirrored = fit(torch.arange(10.0).expand(1, 1, 10, 10), 4, smallest=8)
    assert mirrored[0, 0, 0].tolist() == [*range(10), 8, 7], "no stripes for instance norm to see"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"filters": 0}, "filters must be 1 or more, not 0"),
        ({"blocks": -1}, "blocks must be 0 or more, not -1"),
        ({"norm": "film"}, "choose instance, batch, layer, none"),
        ({"init": "zeros"}, "choose normal, xavier, kaiming, orthogonal"),
    ],
)
def test_wrong_arguments_are_named(keywords: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shape_only(3, 3, 64, **keywords)


def held(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, int]:
    """The output, and numbers that are held for the way back."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: sizes.append(t.numel()) or t, lambda t: t
    ):
        return net(x), sum(sizes)


def test_recompute_holds_less_and_changes_nothing() -> None:
    """With dropout, which is to be drawn alike on the way back."""
    plain = ResnetGenerator(3, 3, 32, filters=4, blocks=4, dropout=True)
    again = ResnetGenerator(3, 3, 32, filters=4, blocks=4, dropout=True, recompute=True)
    again.load_state_dict(plain.state_dict())
    x, grads, memory = torch.randn(2, 3, 32, 32), [], []
    for net in (plain, again):
        torch.manual_seed(5)
        y, numbers = held(net, x)
        memory.append(numbers)
        grads.append(torch.autograd.grad(y.square().mean(), net.parameters()))
    torch.testing.assert_close(*grads, rtol=1e-6, atol=1e-9)
    assert memory[1] < 0.7 * memory[0]
    with pytest.raises(ValueError, match="recompute"):
        ResnetGenerator(3, 3, 32, norm="batch", recompute=True)
