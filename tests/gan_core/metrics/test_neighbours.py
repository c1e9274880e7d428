"""Nearest neighbours against NumPy; copies, near copies, chunks, formats, mistakes."""

import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.metrics import nearest_distances


def pictures(n: int, seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, *shape, generator=generator, dtype=torch.float64) * 2 - 1


def test_numbers_by_hand() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    pool = torch.tensor([[3.0, 4.0], [1.0, 0.0], [1.0, 1.0]])
    distance, index = nearest_distances(x, pool)
    assert distance.tolist() == pytest.approx([0.5**0.5, 0.0])
    assert index.tolist() == [1, 2]
    white, black = torch.ones(1, 3, 8, 8), -torch.ones(1, 3, 8, 8)
    assert nearest_distances(white, black)[0].item() == pytest.approx(2)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 5, 7)])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 30), (30, 1), (7, 13)])
def test_equals_the_definition(shape: tuple[int, ...], sizes: tuple[int, int]) -> None:
    x, pool = pictures(sizes[0], 1, *shape), pictures(sizes[1], 2, *shape)
    apart = (x.numpy()[:, None] - pool.numpy()[None]).reshape(*sizes, -1)
    table = np.sqrt((apart**2).mean(-1))
    distance, index = nearest_distances(x, pool)
    assert distance.shape == index.shape == (sizes[0],)
    np.testing.assert_allclose(distance, table.min(1), rtol=1e-12)
    assert index.tolist() == table.argmin(1).tolist()


def test_a_copy_is_found_exactly_and_a_near_copy_told_from_it() -> None:
    """A pixel that is off by 1e-5 would drown in the rounding of float32 products."""
    pool = pictures(50, 1, 1, 32, 32).float()
    distance, index = nearest_distances(pool[[7, 31]], pool)
    assert distance.eq(0).all()
    assert index.tolist() == [7, 31]
    near = pool[[7]].clone()
    near[0, 0, 3, 3] = 0.0
    off = near.clone()
    off[0, 0, 3, 3] = 1e-5
    distance, index = nearest_distances(off, torch.cat([pool[:7], near, pool[8:]]))
    assert index.item() == 7
    assert distance.item() == pytest.approx(1e-5 / 32, rel=1e-4)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, pool = pictures(9, 1, 1, 4, 4), pictures(20, 2, 1, 4, 4)
    expected = nearest_distances(x, pool)
    module = sys.modules["gan_core.metrics.neighbours"]
    for chunk in (1, 40, 10_000):
        monkeypatch.setattr(module, "CHUNK", chunk)
        assert all(map(torch.equal, nearest_distances(x, pool), expected))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_computes_in_float32(dtype: torch.dtype) -> None:
    x, pool = pictures(5, 1, 3, 8, 8).to(dtype), pictures(9, 2, 3, 8, 8).to(dtype)
    distance, index = nearest_distances(x, pool)
    assert distance.dtype == torch.float32
    expected = nearest_distances(x.double(), pool.double())
    np.testing.assert_allclose(distance, expected[0], rtol=1e-5)
    assert index.equal(expected[1])


def test_mistakes_are_named() -> None:
    x = pictures(2, 1, 1, 4, 4)
    with pytest.raises(ValueError, match=r"x \[2, 1, 4, 4\], pool \[2, 1, 4, 5\]"):
        nearest_distances(x, pictures(2, 1, 1, 4, 5))
    with pytest.raises(ValueError, match=r"pool \[0, 1, 4, 4\]"):
        nearest_distances(x, x[:0])
