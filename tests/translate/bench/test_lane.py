"""Work in processes of their own."""

import multiprocessing
import os
import time
from functools import partial
from typing import Any

import pytest
import torch

from translate.bench.lane import Lane, Work, timed
from translate.errors import UserError

MEGABYTES = 150

pytestmark = pytest.mark.slow  # each process imports torch


def sleeping(seconds: float, megabytes: int = 0) -> Work:
    held: list[bytearray] = []

    def step() -> None:
        time.sleep(seconds)
        if megabytes:
            held.append(bytearray(b"x") * (megabytes * 2**20))
            held.clear()

    facts: dict[str, Any] = {"process": os.getpid(), "turns": 0}
    facts |= {"threads": torch.get_num_threads(), "start": multiprocessing.get_start_method()}
    timer = timed(step, torch.device("cpu"))

    def turn(steps: int) -> float:
        facts["turns"] += 1
        return timer(steps)

    return Work(turn, images=2.5, facts=facts)


def refused() -> Work:
    raise UserError("no such thing; choose another")


def dying(code: int) -> Work:
    def turn(steps: int) -> float:
        os._exit(code)

    return Work(turn)


def failing() -> Work:
    return Work(lambda steps: 1 / (steps - 1))


def test_two_take_turns_with_memory_of_their_own() -> None:
    """The parent's memory is nobody's, a rival's neither, and what was freed counts."""
    ballast = bytearray(b"x") * (3 * MEGABYTES * 2**20)
    with (
        Lane("little", partial(sleeping, 0.01)) as little,
        Lane("much", partial(sleeping, 0.03, MEGABYTES)) as much,
    ):
        for _ in range(2):
            assert 0.03 <= little.turn(3) < 3
            assert 0.03 <= much.turn(1) < 10
        processes = {little.facts["process"], much.facts["process"], os.getpid()}
        assert len(processes) == 3
        assert little.facts["threads"] == much.facts["threads"] == torch.get_num_threads()
        assert little.facts["start"] == multiprocessing.get_start_method(), "a loader's as ever"
        assert little.facts["turns"] == much.facts["turns"] == 2, "facts are those of the last turn"
        assert little.images == 2.5
        grown = [lane.peak_memory - lane.memory_before for lane in (little, much)]
        assert grown[0] < 20 * 2**20
        assert (MEGABYTES - 20) * 2**20 < grown[1] < (MEGABYTES + 20) * 2**20
        assert little.memory_before < len(ballast) + 50 * 2**20
        assert abs(little.memory_before - much.memory_before) < 20 * 2**20
    assert not multiprocessing.active_children()


def test_what_goes_wrong_there_is_told_here() -> None:
    with pytest.raises(UserError, match="ours: no such thing; choose another"):
        Lane("ours", refused)
    with Lane("plain", failing) as lane:
        assert lane.turn(2) == 1.0
        with pytest.raises(RuntimeError, match=r"(?s)plain failed.*ZeroDivisionError"):
            lane.turn(1)
    died = pytest.raises(UserError, match=r"ours: its process ended with code 7.*--batch-size")
    with Lane("ours", partial(dying, 7)) as lane, died:
        lane.turn(1)
    assert not multiprocessing.active_children()
