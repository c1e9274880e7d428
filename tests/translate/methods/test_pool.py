"""The history of generated pictures."""

import pytest
import torch
from by_hand import PaperPool
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


# ---- classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [None, 0, 7])
def test_pictures_of_one_class_are_drawn_as_those_of_none(of: int | None) -> None:
    """The same draws from torch's generator, one after the other, as by hand."""
    pool, by_hand = HistoryPool(3), PaperPool(3)
    for start in range(0, 80, 2):
        batch = numbered(start, start + 1)
        torch.manual_seed(start)
        shown = pool.query(batch, None if of is None else [of, of])
        drawn = torch.rand(())
        torch.manual_seed(start)
        assert numbers(by_hand.show(batch)) == numbers(shown)
        assert torch.equal(torch.rand(()), drawn), "as many draws"
    assert 25 < by_hand.swaps < 55


def test_an_older_picture_is_of_the_same_class() -> None:
    """Pictures are numbered 10, 20, ... + class; places keep the class that they began with."""
    torch.manual_seed(0)
    pool, size, swapped = HistoryPool(6), 6, [0, 0, 0]
    pool.query(numbered(10, 21, 32, 40, 51, 60), [0, 1, 2, 0, 1, 0])
    for tens in range(7, 1207):
        of = tens % 3
        held = numbers(pool.images)
        (shown,) = numbers(pool.query(numbered(10 * tens + of), [of]))
        assert shown % 10 == of
        if shown == 10 * tens + of:
            assert numbers(pool.images) == held
        else:
            swapped[of] += 1
            place = held.index(shown)
            assert numbers(pool.images) == [*held[:place], 10 * tens + of, *held[place + 1 :]]
    assert [n % 10 for n in numbers(pool.images)] == pool.classes == [0, 1, 2, 0, 1, 0]
    assert len(pool.images) == size
    assert all(150 < times < 250 for times in swapped)  # half of 400; five standard deviations


def test_every_place_of_a_class_is_drawn_alike() -> None:
    torch.manual_seed(0)
    pool, places = HistoryPool(4), [0, 0, 0, 0]
    pool.query(numbered(0, 1, 2, 3), [5, 4, 5, 5])
    for number in range(4, 1204):
        held = numbers(pool.images)
        (shown,) = numbers(pool.query(numbered(number), [5]))
        if shown != number:
            places[held.index(shown)] += 1
    assert places[1] == 0
    assert all(135 < places[place] < 265 for place in (0, 2, 3))  # 200; five standard deviations


def test_a_class_without_a_history_is_shown_as_it_is() -> None:
    pool = HistoryPool(2)
    pool.query(numbered(0, 1), [0, 0])
    for number in range(2, 60):
        assert numbers(pool.query(numbered(number), [1])) == [number]
    assert numbers(pool.images) == [0, 1]
    assert pool.classes == [0, 0]


def test_classes_go_back_with_the_pictures() -> None:
    torch.manual_seed(0)
    pool, other = HistoryPool(4), HistoryPool(4)
    pool.query(numbered(0, 1, 2, 3), [0, 1, 1, 0])
    state = pool.state_dict()
    other.load_state_dict(state)
    assert other.classes == [0, 1, 1, 0]
    for seed in range(20):
        new, of = numbered(seed + 20), [seed % 2]
        torch.manual_seed(seed)
        mine = numbers(pool.query(new, of))
        torch.manual_seed(seed)
        assert numbers(other.query(new, of)) == mine
    assert state["classes"] == [0, 1, 1, 0]
    assert numbers(state["images"]) == [0, 1, 2, 3]
    half = HistoryPool(3)  # one that is still being filled
    half.query(numbered(0), [2])
    state = half.state_dict()
    other.load_state_dict(state)
    half.query(numbered(1), [0])
    assert (half.classes, other.classes, state["classes"]) == ([2, 0], [2], [2])


def test_a_class_for_every_picture() -> None:
    with pytest.raises(ValueError, match="zip"):
        HistoryPool(2).query(numbered(0, 1), [0])


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="pool_size must be 0 or more pictures, not -1"):
        HistoryPool(-1)


def test_what_was_made_in_16_bits_is_shown_in_32() -> None:
    """A step done again in fp32 meets pictures of the steps before it, without autocast."""
    pool = HistoryPool(1)
    pool.query(torch.ones(1, 1, 2, 2, dtype=torch.bfloat16))
    assert pool.images[0].dtype == torch.float32
    shown = [pool.query(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16)) for _ in range(9)]
    assert {picture.dtype for picture in shown} == {torch.float32}
