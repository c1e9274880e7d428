"""How what is measured grows with what was swept, as a picture; by matplotlib, if it is there."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from translate.bench.run import TRAININGS
from translate.errors import UserError


def check(path: Path) -> None:
    """UserError for another format, and where there is no matplotlib."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise UserError(f"--plot {path}: name it .png, .svg or .pdf")
    if find_spec("matplotlib") is None:
        raise UserError("--plot draws with matplotlib: pip install 'translate-gan[bench]'")


def plot(result: Mapping[str, Any], path: Path) -> None:
    """A panel for each thing measured and each axis: images per second of every way, the median
    with the smallest and largest; both axes logarithmic where values are above 0.
    """
    check(path)
    figures: Any = import_module("matplotlib.figure")
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in result["comparisons"]:
        kind = row["what"]
        if "of" in row:
            kind += f" from pictures of {row['relative']}"
        elif kind in TRAININGS:
            kind += ", a training step"
        panels.setdefault((kind, row["swept"]), []).append(row)
    figure = figures.Figure(figsize=(5 * len(panels), 4), layout="constrained")
    for axes, ((kind, swept), rows) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for name in dict.fromkeys(name for row in rows for name in row["sides"]):
            having = [row for row in rows if name in row["sides"]]
            rates = [row["sides"][name]["images_per_second"] for row in having]
            middle = [rate["median"] for rate in rates]
            low = [rate["median"] - rate["low"] for rate in rates]
            high = [rate["high"] - rate["median"] for rate in rates]
            places = [row["value"] for row in having]
            axes.errorbar(places, middle, (low, high), marker="o", capsize=3, label=name)
        if min(row["value"] for row in rows) > 0:
            axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks([row["value"] for row in rows], [str(row["value"]) for row in rows])
        axes.set(title=kind, xlabel=swept, ylabel="images per second")
        axes.legend()
    figure.suptitle(result["machine"]["device"])
    figure.savefig(path)
