"""The history of generated pictures."""

import pytest
import torch
from torch import Tensor

from translate.methods.pool import HistoryPool


def numbered(*numbers: int) -> Tensor:
    """Pictures that are known by their value."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def numbers(pictures: Tensor | list[Tensor]) -> list[int]:
    return [int(picture.mean()) for picture in pictures]


def test_size_zero_returns_what_is_given() -> None:
    pool = HistoryPool(0)
    for start in range(0, 20, 2):
        assert numbers(pool.query(numbered(start, start + 1))) == [start, start + 1]
    assert pool.images == []


def test_fills_first_and_returns_what_is_given_meanwhile() -> None:
    pool = HistoryPool(5)
    assert numbers(pool.query(numbered(0, 1))) == [0, 1]
    assert numbers(pool.query(numbered(2, 3))) == [2, 3]
    assert numbers(pool.images) == [0, 1, 2, 3]


def test_a_full_pool_swaps_half_of_the_time_and_uniformly() -> None:
    torch.manual_seed(0)
    pool, size, draws = HistoryPool(4), 4, 4000
    pool.query(numbered(*range(size)))
    swapped, places = 0, [0] * size
    for new in range(size, size + draws):
        held = numbers(pool.images)
        shown = numbers(pool.query(numbered(new)))[0]
        if shown == new:
            assert numbers(pool.images) == held, "kept as it was"
            continue
        swapped += 1
        place = held.index(shown)
        places[place] += 1
        assert numbers(pool.images) == [*held[:place], new, *held[place + 1 :]]
    assert 0.46 * draws < swapped < 0.54 * draws  # five standard deviations
    for count in places:
        assert 0.20 * swapped < count < 0.30 * swapped


def test_pictures_of_one_batch_are_treated_one_by_one() -> None:
    """With a pool of 1 every swap returns the picture before it, also within a batch."""
    torch.manual_seed(0)
    pool = HistoryPool(1)
    shown = numbers(pool.query(numbered(*range(200))))
    held = 0
    for new, got in enumerate(shown):
        assert got in (new, held)
        if new and got == held:
            held = new
    assert 60 < sum(got != new for new, got in enumerate(shown)) < 140
    assert numbers(pool.images) == [held]


def test_shape_type_and_gradient() -> None:
    torch.manual_seed(0)
    pool = HistoryPool(2)
    for _ in range(4):
        images = torch.randn(3, 1, 4, 5, dtype=torch.float64, requires_grad=True)
        shown = pool.query(images)
        assert (shown.shape, shown.dtype) == (images.shape, images.dtype)
        assert not shown.requires_grad
    assert not any(image.requires_grad for image in pool.images)
    assert not HistoryPool(0).query(images).requires_grad


def test_keeps_copies() -> None:
    pool, images = HistoryPool(2), numbered(1, 2)
    pool.query(images)
    images.zero_()
    assert numbers(pool.images) == [1, 2]


def test_state_goes_back() -> None:
    """The trainer takes the state before a step and gives it back if the step failed."""
    torch.manual_seed(0)
    pool = HistoryPool(2)
    pool.query(numbered(0, 1))
    state = pool.state_dict()
    for new in range(2, 12):
        pool.query(numbered(new))
    assert numbers(pool.images) != [0, 1]
    pool.load_state_dict(state)
    assert numbers(pool.images) == [0, 1]
    other = HistoryPool(2)
    other.load_state_dict(state)
    for seed in range(5):  # both go on alike, and neither through the other's list
        torch.manual_seed(seed)
        mine = numbers(pool.query(numbered(seed + 20)))
        torch.manual_seed(seed)
        assert numbers(other.query(numbered(seed + 20))) == mine
    assert numbers(state["images"]) == [0, 1]


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="pool_size must be 0 or more pictures, not -1"):
        HistoryPool(-1)
