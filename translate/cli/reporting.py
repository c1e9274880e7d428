"""How commands that go over folders end."""

import sys
from pathlib import Path

import typer

from translate.report import Report, write_failures


def conclude(done: str, report: Report, folder: Path) -> None:
    """Say what came of it; list failures in the folder, and then exit with 1."""
    listed = write_failures(folder, report.failures)
    words = [f"{report.converted} {done}"]
    if report.already:
        words.append(f"{report.already} were there already (--overwrite does them again)")
    if listed:
        words.append(f"{len(report.failures)} failed: see {listed}")
    typer.echo(", ".join(words))
    if listed:
        sys.exit(1)
