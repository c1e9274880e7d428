"""What a person watches while work goes on; silent where nobody watches."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import typer


class Bar:
    """A progress bar with figures beside it, or nothing where stderr is not a terminal."""

    def __init__(self, title: str, total: int, done: int, unit: str, hidden: bool) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=16, table_column=Column(min_width=16)),
            MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=11)),
            TextColumn("{task.fields[rate]}", table_column=Column(no_wrap=True, min_width=15)),
            TimeRemainingColumn(table_column=Column(no_wrap=True, min_width=7)),
            # Losses take what room is left; on a narrow terminal the rest comes first.
            TextColumn(
                "{task.fields[figures]}",
                style="dim",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            expand=True,
            console=console,
            disable=hidden or not console.is_terminal,
        )
        self.unit = unit
        self.task = self.progress.add_task(title, total=total, completed=done, rate="", figures="")

    def advance(self, count: int, units: float | None = None, figures: str = "") -> None:
        """``count`` more done, at ``units`` (default: count) of what the rate counts."""
        task = self.progress.tasks[self.task]
        per_item = 1.0 if units is None else units / count
        rate = f"{task.speed * per_item:.2f} {self.unit}/s" if task.speed else ""
        self.progress.update(self.task, advance=count, rate=rate, figures=figures)

    def say(self, sentence: str) -> None:
        if self.progress.disable:
            typer.echo(sentence, err=True)
        else:
            self.progress.console.print(sentence, markup=False, highlight=False)


@contextmanager
def bar(
    title: str, total: int, done: int = 0, unit: str = "images", hidden: bool = False
) -> Iterator[Bar]:
    shown = Bar(title, total, done, unit, hidden)
    with shown.progress:
        yield shown


def losses_line(logs: Mapping[str, float]) -> str:
    """Loss terms, short: rates and gradient norms are for the log."""
    return "  ".join(
        f"{name} {value:.3f}"
        for name, value in logs.items()
        if not name.startswith(("lr ", "gradient "))
    )


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
