"""Operations by hand, and rates that can be believed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from drawn_training import small
from torch import nn

from translate.bench.limits import limit, operations, training_operations
from translate.networks.patch import PatchDiscriminator
from translate.networks.resnet import ResnetGenerator


def test_of_a_convolution() -> None:
    """2 for each of 3 x 3 x 5 products, at 7 channels of 16 x 8 places in 2 pictures. Backward by
    the weights as many, and by the picture as many, where it is asked for.
    """
    net, x = nn.Conv2d(5, 7, 3, padding=1), torch.randn(2, 5, 16, 8)
    forward = 2 * 3 * 3 * 5 * 7 * 16 * 8 * 2
    assert operations(lambda: net(x)) == forward
    assert operations(lambda: net(x).sum().backward()) == 2 * forward
    x.requires_grad_()
    assert operations(lambda: net(x).sum().backward()) == 3 * forward
    net.requires_grad_(False)
    assert operations(lambda: net(x).sum().backward()) == 2 * forward


def test_of_a_cyclegan_step(tmp_path: Path) -> None:
    """Six passes of generators forward and back, of which four need no gradient by their picture.
    Two of discriminators forward and back without their weights, and four with them but without
    the picture.
    """
    size, of_picture = 32, torch.randn(1, 3, 32, 32)
    G = ResnetGenerator(3, 3, size, filters=4, blocks=2)
    D = PatchDiscriminator(3, size, filters=4, layers=2)
    g, d = operations(lambda: G(of_picture)), operations(lambda: D(of_picture))
    g_first = 2 * 7 * 7 * 3 * 4 * size * size
    d_first = 2 * 4 * 4 * 3 * 4 * (size // 2) ** 2
    generators = 6 * g + 6 * g + 6 * g - 4 * g_first
    discriminators = 2 * d + 2 * d + 4 * d + 4 * d + 4 * d - 4 * d_first
    needed = training_operations(small(tmp_path, "cyclegan", networks__generator__blocks=2))
    assert needed == generators + discriminators


def test_pictures_are_counted_where_several_batches_make_a_step(tmp_path: Path) -> None:
    """A critic's step alone costs less than that of both, so three batches less than one each."""
    gan = {
        "networks__generator__kind": "dcgan",
        "networks__generator__latent": 8,
        "networks__discriminator__kind": "dcgan-discriminator",
    }

    def needed(steps: int) -> float:
        training = small(tmp_path, "gan", method__discriminator_steps=steps, **gan)
        kept = tuple(pair for pair in training.overrides if not pair[0].endswith(".layers"))
        return training_operations(replace(training, source="faces-dcgan-small", overrides=kept))

    one, three = needed(1), needed(3)
    assert 0.5 * one < three < one


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_rate_of_this_processor(precision: str) -> None:
    work = limit("cpu", precision, size=32, batch=2)
    assert work.facts["operations"] == 2 * 9 * 256 * 256 * 8 * 8 * 2
    assert work.facts["what"].startswith("convolution 3x3 of [2, 256, 8, 8] to 256, ")
    assert 1e6 < work.facts["operations"] * 3 / work.turn(3) < 1e14
