"""Squares, their means, and fades that are exact at their ends."""

import numpy as np
import pytest
import torch

from gan_core.blocks.resampling import down, fade, up


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_up_makes_squares_and_down_takes_their_means(factor: int) -> None:
    x = torch.randn(2, 3, 8, 16, dtype=torch.float64)
    np.testing.assert_array_equal(up(x, factor), np.kron(x, np.ones((1, 1, factor, factor))))
    blocks = x.numpy().reshape(2, 3, 8 // factor, factor, 16 // factor, factor)
    np.testing.assert_allclose(down(x, factor), blocks.mean((3, 5)), rtol=1e-12, atol=1e-15)
    assert torch.allclose(down(up(x, factor), factor), x, rtol=1e-12, atol=0)


def test_halvings_follow_each_other() -> None:
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    assert torch.allclose(down(down(x, 2), 4), down(x, 8), rtol=1e-12, atol=1e-15)
    assert torch.equal(up(up(x, 2), 4), up(x, 8))


def test_fade() -> None:
    old, new = torch.randn(2, 4, 3, 2, 2)
    assert torch.equal(fade(old, new, torch.tensor([0.0])), old)
    assert torch.equal(fade(old, new, torch.ones(4)), new)
    shares = torch.tensor([0.0, 0.25, 0.9, 1.0], dtype=torch.float64)
    mixed = fade(old, new, shares)
    assert mixed.dtype == torch.float32
    for b, share in enumerate(shares.tolist()):
        assert torch.allclose(mixed[b], (1 - share) * old[b] + share * new[b], atol=1e-6)


def test_a_fade_of_16_bits_keeps_its_share() -> None:
    old, new = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    share = torch.tensor([0.999])
    assert fade(old.bfloat16(), new.bfloat16(), share).item() == pytest.approx(0.999, abs=1e-6)
