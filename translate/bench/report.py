"""A measurement as a table to read, and as a file."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from rich import box
from rich.table import Table

EXPLAINED = """\
Medians of {rounds} rounds and, in brackets, the smallest and largest. Each way works in a process \
of its own, in turns with the others. "ours is faster": the other's time for a picture by ours, \
round by round. Memory: the most that the process held{held}. Of limit: the operations that the \
mathematics needs, at the rate measured in the same rounds, by the time taken; the rate is that of \
the fastest {limit}. On Linux CPUs training keeps the memory that it frees, the plain way does \
not.{averages}"""
AVERAGES = " Of ours, averaged weights, which the plain way has not: {}."
KERNELS = """\
Medians. Of limit: the time of a copy that moves as many bytes as the operation must, by the \
kernel's."""


def write(result: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def tables(result: Mapping[str, Any]) -> Iterator[Table | str]:
    """What is to be printed, in order."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    yield f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads; {versions}"
    for row in result["comparisons"]:
        yield _comparison(row)
    if result["comparisons"]:
        yield _explained(result)
    if result["kernels"]:
        for which in ("forward", "backward"):
            yield _kernels(which, [row for row in result["kernels"] if row["pass"] == which])
        yield KERNELS
    for row in result["kernels"]:
        for way, reason in row["failed"].items():
            yield f"{row['operation']} {row['format']} {row['pass']}, {way} failed: {reason}"
    yield from result["notes"]


def _explained(result: Mapping[str, Any]) -> str:
    cuda = "cuda" in result["machine"]["versions"]
    limits = {row["limit"]["what"]: None for row in result["comparisons"] if "limit" in row}
    kept = {
        row["what"]: row["sides"]["ours"]["facts"]["averages"]
        for row in result["comparisons"]
        if "averages" in row["sides"]["ours"]["facts"]
    }
    averages = ", ".join(f"{name} {_mebibytes(size)}" for name, size in kept.items())
    return EXPLAINED.format(
        averages=AVERAGES.format(averages) if kept else "",
        rounds=result["rounds"],
        held=" on the device, by torch's count" if cuda else ", Python and torch included",
        limit="; ".join(limits) or "way there is",
    )


def _comparison(row: Mapping[str, Any]) -> Table:
    facts = row["sides"]["ours"]["facts"]
    title = row["title"]
    title += f", batch {facts['batch']}" if "batch" in facts else ""
    title += f", {facts['workers']} workers" if "workers" in facts else ""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("", "a step", "images/s", "ours is faster", "memory", "of limit"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, side in row["sides"].items():
        share, faster = row.get("limit", {}).get("share", {}).get(name), row["faster"].get(name)
        table.add_row(
            f"{name} {facts['run']['precision']}" if name == "ours" and "run" in facts else name,
            _time(side["step"]["median"]),
            f"{side['images_per_second']['median']:.3g}",
            f"{faster['median']:.2f} ({faster['low']:.2f}-{faster['high']:.2f})" if faster else "",
            _mebibytes(side["peak_memory"]),
            f"{share['median']:.0%}" if share else "",
        )
    return table


def _kernels(which: str, rows: list[dict[str, Any]]) -> Table:
    table = Table(title=f"{which} passes", title_justify="left", box=box.SIMPLE_HEAD)
    for title in ("operation", "format", "MB", "ours", "eager", "compiled", "of limit"):
        table.add_column(title, justify="left" if title in ("operation", "format") else "right")
    for row in rows:
        times = {way: median(seconds) for way, seconds in row["seconds"].items()}
        cells = [
            _time(times[way]) if way in times else "-" for way in ("ours", "eager", "compiled")
        ]
        reached = (
            f"{times['copy'] / times['ours']:.0%}" if {"copy", "ours"} <= times.keys() else "-"
        )
        table.add_row(row["operation"], row["format"], f"{row['bytes'] / 1e6:.0f}", *cells, reached)
    return table


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:,.0f} MiB"


def _time(seconds: float) -> str:
    for unit, length in {"s": 1.0, "ms": 1e-3}.items():
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"
