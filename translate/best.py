"""The state before a collapse: the model that judged best so far is kept beside the last one."""

import math
from collections.abc import Iterable, Mapping
from typing import Any


class Best:
    """The lowest value of a figure so far, from the lines of a run's log and what comes after.

    worse: as many times the lowest value as make a person want to know.
    """

    WORSE = 1.5

    def __init__(self, log: Iterable[Mapping[str, Any]], figure: str) -> None:
        self.figure, self.value, self.step, self.last = figure, math.inf, 0, math.inf
        for line in log:
            if figure in line:
                self.take(line[figure], line["step"])

    def take(self, value: float, step: int) -> bool:
        """Whether no value before was as low."""
        self.last = value
        if not value < self.value:
            return False
        self.value, self.step = value, step
        return True

    @property
    def sentence(self) -> str:
        """What to say at the end of a run; empty where its last model is about its best."""
        if self.value == math.inf or self.last <= self.WORSE * self.value:
            return ""
        return (
            f"{self.figure} was {self.value:.4g} at step {self.step} and is {self.last:.4g} now: "
            "the model of then is best.safetensors in the run folder"
        )
