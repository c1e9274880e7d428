"""Sizes of pictures and counts of anything."""

import pytest

from gan_core.blocks.shapes import check_counts, first_grid


def test_pictures_and_their_smallest_maps() -> None:
    assert first_grid(16, (1, 1)) == (4, 4)
    assert first_grid(512, (2, 3)) == (8, 12)
    for size in (8, 48, 1024):
        with pytest.raises(ValueError, match=f"power of two from 16 to 512, not {size}"):
            first_grid(size, (1, 1))
    assert first_grid(4, (1, 2), 4, 1024) == first_grid(1024, (1, 2), 4, 1024) == (4, 8)
    for size in (0, 2, 12, 2048):
        with pytest.raises(ValueError, match=f"power of two from 4 to 1024, not {size}"):
            first_grid(size, (1, 1), 4, 1024)
    with pytest.raises(ValueError, match=r"rows and columns, each 1 or more, not \(1, 0\)"):
        first_grid(32, (1, 0))


def test_counts() -> None:
    check_counts(filters=1)
    with pytest.raises(ValueError, match="filters must be 1 or more, not 0"):
        check_counts(latent=1, filters=0)
