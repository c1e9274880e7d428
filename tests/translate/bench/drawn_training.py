"""A small training that ``translate bench`` might measure, inside the test's process."""

from pathlib import Path
from typing import Any

from translate.bench.drawn import draw
from translate.bench.training import Training

SIZE = 32
SMALL = {
    "run.precision": "fp32",
    "data.size": SIZE,
    "data.batch_size": 2,
    "networks.generator.filters": 4,
    "networks.discriminator.filters": 4,
    "networks.discriminator.layers": 2,
}


def small(folder: Path, method: str, **more: Any) -> Training:
    """``more``: recipe keys with "__" for the dot."""
    if not (folder / "x").exists():
        for name in "xy":
            draw(folder / name, 4, SIZE, ".png")
    given = SMALL | {key.replace("__", "."): value for key, value in more.items()}
    return Training(method, None, tuple(given.items()), folder, "cpu")
