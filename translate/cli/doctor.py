"""``translate doctor``."""

import sys

import typer


def doctor() -> None:
    """Report versions, devices and number formats, and what to mend."""
    from translate.doctor import examine

    facts, complaints = examine()
    for name, value in facts.items():
        typer.echo(f"{name:24}{value}")
    for complaint in complaints:
        typer.echo(f"to mend: {complaint}")
    if complaints:
        sys.exit(1)
