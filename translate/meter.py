"""What a run's log says of the steps since its last line."""

import time
from collections import defaultdict
from typing import Any

from gan_core.trainer import Logs, Trainer
from translate.device import peak_memory


class Meter:
    """Means of the losses, and rates, since the last report."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._restart()

    def _restart(self) -> None:
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.since, self.images = time.perf_counter(), self.trainer.counts["images"]

    def take(self, logs: Logs) -> None:
        for name, value in logs.items():
            self.sums[name].append(value)

    def report(self) -> dict[str, Any]:
        counts = self.trainer.counts
        seconds = time.perf_counter() - self.since
        line = {
            "step": counts["step"],
            "images": counts["images"],
            **{name: sum(values) / len(values) for name, values in self.sums.items()},
            "images_per_second": (counts["images"] - self.images) / seconds,
            "memory_mb": peak_memory(self.trainer.device) / 2**20,
            "redone": counts["redone"],
            "skipped": counts["skipped"],
        }
        self._restart()
        return line
