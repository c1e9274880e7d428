"""Q: what it reads of a discriminator, and what it leaves out."""

import pytest
import torch
from torch import Tensor, nn

from gan_core.blocks.equalised import EqualisedLinear
from gan_core.networks.codes import CodeHead

# A discriminator's: maps of 16, 8 and 4 rows (twice), then a layer.
SHAPES = ((2, 16, 16), (3, 8, 8), (4, 4, 4), (5, 4, 4), (6,))


def activations(seed: int = 0, count: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, *shape, generator=generator) for shape in SHAPES]


def test_one_group_is_read_from_the_last_activation() -> None:
    head = CodeHead(SHAPES, (9,), (), hidden=12)
    seen = activations()
    (found,) = head(*seen)
    assert found.shape == (7, 9)
    other = [*activations(1)[:-1], seen[-1]]
    assert torch.equal(head(*other)[0], found)
    assert not torch.equal(head(*seen[:-1], activations(1)[-1])[0], found)


def test_the_hidden_layer_is_infogans() -> None:
    """Linear, batch norm, LeakyReLU 0.1, linear, of all numbers of the activation."""
    head = CodeHead(SHAPES[:3], (2,), (), hidden=12).double()
    assert sum(p.numel() for p in head.parameters()) == 64 * 12 + 2 * 12 + 12 * 2 + 2
    first, norm, _, last = list(head.groups[0])[1:]
    x = activations()[2].double()
    h = x.reshape(7, 64) @ first.weight.T
    h = (h - h.mean(0)) / (h.var(0, unbiased=False) + norm.eps).sqrt()
    h = torch.where(h > 0, h, 0.1 * h)
    torch.testing.assert_close(head(*activations()[:2], x)[0], h @ last.weight.T + last.bias)
    assert first.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_each_group_has_the_last_maps_of_its_scale() -> None:
    head = CodeHead(SHAPES, (3, 1, 2), (4, 8, 16), hidden=0)
    seen = activations()
    found = head(*seen)
    assert [g.shape[1] for g in found] == [3, 1, 2]
    for group, place, answer in zip(head.groups, (3, 1, 0), found, strict=True):
        (linear,) = (layer for layer in group if isinstance(layer, nn.Linear))
        expected = seen[place].flatten(1) @ linear.weight.T + linear.bias
        torch.testing.assert_close(answer, expected)


def test_absent_scales_are_left_out() -> None:
    """A discriminator that grows gives what it has from the finest block on."""
    head = CodeHead(SHAPES, (3, 1, 2), (4, 8, 16), hidden=0)
    seen = activations()
    whole = head(*seen)
    for missing, left in ((1, 2), (2, 1)):
        found = head(*seen[missing:])
        assert len(found) == left
        assert all(map(torch.equal, found, whole))
    assert head(seen[-1]) == []


def test_scales_are_counted_as_pictures_are() -> None:
    """Of pictures twice as high as their size, maps are so too."""
    tall = ((2, 16, 8), (3, 8, 4))
    CodeHead(tall, (1, 1), (4, 8), (2, 1))
    with pytest.raises(ValueError, match="the discriminator has maps of 8, 16"):
        CodeHead(tall, (1, 1), (4, 8))


def test_equalised_layers_are_asked_for() -> None:
    plain, equalised = (CodeHead(SHAPES, (1,), (), equalised=e) for e in (False, True))
    assert not any(isinstance(m, EqualisedLinear) for m in plain.modules())
    assert sum(isinstance(m, EqualisedLinear) for m in equalised.modules()) == 2
    assert equalised.groups[0][1].weight.std().item() == pytest.approx(1, rel=0.1)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="hidden must be 0 or more, not -1"):
        CodeHead(SHAPES, (1,), (), hidden=-1)
    with pytest.raises(ValueError, match=r"code_scales = \(4, 32\): the .* has maps of 4, 8, 16"):
        CodeHead(SHAPES, (1, 1), (4, 32))
    with pytest.raises(ValueError, match="has maps of no scale"):
        CodeHead(SHAPES[-1:], (1,), (4,))
