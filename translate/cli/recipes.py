"""``translate recipes``."""

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one, to copy and change.")] = None,
) -> None:
    """List the recipes, or print one."""
    from translate.recipe_file import read, recipe_names, summary

    if name is not None:
        typer.echo(read(name).as_string(), nl=False)
        return
    names = recipe_names()
    for each in names:
        typer.echo(f"{each:{max(map(len, names))}}  {summary(each)}")
