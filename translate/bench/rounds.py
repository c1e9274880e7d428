"""Taking turns, and what the times of several turns say."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Turn = Callable[[int], float]  # steps -> seconds
LONG = 20  # times the seconds of warming up


@dataclass(frozen=True)
class Spread:
    """The median, and the smallest and largest, of a few measurements."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def warm_up(turn: Turn, steps: int = 3, seconds: float = 1.0) -> float:
    """Do at least so many steps for at least so long; seconds of a step in the last turn.

    First steps allocate, choose algorithms, compile and capture. Turns double after them. Steps
    that are LONG, against which a beginning counts for little, are not done that often.
    """
    taken: list[float] = []
    while len(taken) < steps and sum(taken) < LONG * seconds:
        taken.append(turn(1))
    count, last = 1, taken[-1]
    while sum(taken) < seconds:
        count *= 2
        taken.append(turn(count))
        last = taken[-1] / count
    return last


def steps_for(seconds: float, of_one: float) -> int:
    """How many steps fill a turn of so many seconds."""
    return max(1, math.ceil(seconds / max(of_one, 1e-9)))


def alternate(
    turns: Mapping[str, Turn],
    steps: Mapping[str, int],
    rounds: int,
    done: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
    """Seconds per step by name and round; in each round every one has its turn: A B A B ...

    What slows a machine for a while, heat or a neighbour, then slows all alike, and a round's
    quotients stay what they are.
    """
    seconds: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            seconds[name].append(turn(steps[name]) / steps[name])
        done()
    return seconds


def faster(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """How many times as fast ours is: the other's time by ours, round by round."""
    return spread([theirs / mine for mine, theirs in zip(ours, other, strict=True)])


def share(work: float, seconds: Sequence[float], rates: Sequence[float]) -> Spread:
    """Part of a limit that was reached: the least time that ``work`` (operations or bytes of a
    step) can take at the rate measured in a round, by the time that the round's steps took.
    """
    return spread([work / rate / taken for taken, rate in zip(seconds, rates, strict=True)])
