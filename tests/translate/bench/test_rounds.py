"""Whose turn it is, and figures of known times."""

import pytest

from translate.bench.rounds import (
    Spread,
    alternate,
    faster,
    share,
    spread,
    steps_for,
    warm_up,
)


def test_turns_alternate() -> None:
    calls: list[tuple[str, int]] = []

    def turn(name: str, seconds: float):  # type: ignore[no-untyped-def]
        def take(steps: int) -> float:
            calls.append((name, steps))
            return seconds * steps + len(calls)

        return take

    rounds_done = []
    seconds = alternate(
        {"a": turn("a", 10), "b": turn("b", 20), "c": turn("c", 30)},
        {"a": 1, "b": 2, "c": 5},
        rounds=3,
        done=lambda: rounds_done.append(len(calls)),
    )
    assert calls == [("a", 1), ("b", 2), ("c", 5)] * 3
    assert rounds_done == [3, 6, 9]
    assert seconds == {  # of a step, in the order of the rounds
        "a": [11, 14, 17],
        "b": [21, 22.5, 24],
        "c": [30.6, 31.2, 31.8],
    }


def test_how_much_faster_is_taken_round_by_round() -> None:
    """A neighbour that slows a whole round by three makes nothing faster or slower."""
    ours, other = [1.0, 3.0, 1.0], [2.0, 6.0, 1.5]
    assert faster(ours, other) == Spread(2.0, 1.5, 2.0)
    assert faster(other, ours) == Spread(0.5, 0.5, 1 / 1.5)
    with pytest.raises(ValueError, match="zip"):
        faster(ours, other[:2])


def test_the_middle_and_the_ends() -> None:
    assert spread([5, 1, 2, 9]) == Spread(3.5, 1, 9)
    assert spread([4]) == Spread(4, 4, 4)


def test_share_of_a_limit() -> None:
    """100 operations at 50 a second take 2 seconds at the least; 4 were taken: half of it."""
    assert share(100, [4, 5, 1], [50, 25, 200]) == Spread(0.5, 0.5, 0.8)


@pytest.mark.parametrize(
    ("each", "seconds", "turns"),
    [
        (1.0, 1.0, [1, 1, 1]),
        (0.1, 1.2, [1, 1, 1, 2, 4, 8]),
        (0.25, 1.0, [1, 1, 1, 2]),
        (10.0, 1.0, [1, 1]),
        (30.0, 1.0, [1]),
    ],
)
def test_warming_up_takes_steps_and_time(each: float, seconds: float, turns: list[int]) -> None:
    taken: list[int] = []

    def turn(steps: int) -> float:
        taken.append(steps)
        return each * steps

    assert warm_up(turn, 3, seconds) == pytest.approx(each)
    assert taken == turns


def test_steps_that_fill_a_turn() -> None:
    assert steps_for(3.0, 0.7) == 5
    assert steps_for(3.0, 10.0) == 1
    assert steps_for(3.0, 1.5) == 2
