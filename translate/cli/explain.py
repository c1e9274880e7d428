"""``translate explain``."""

from typing import Annotated

import typer

RECIPE = typer.Option(metavar="NAME|FILE", help="A recipe to start from [default: METHOD's own].")
SET = typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key, as in train.")


def explain(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method, such as cyclegan.")],
    recipe: Annotated[str | None, RECIPE] = None,
    set_: Annotated[list[str] | None, SET] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The table as JSON.")] = False,
) -> None:
    """Which loss term trains which network, measured by autograd on the networks themselves."""
    import json

    from translate.explain import routes
    from translate.recipe_file import default_recipe, parse_override, read

    document = read(recipe) if recipe else default_recipe(method)
    matrix = routes(document, [parse_override(text) for text in set_ or []], method)
    if as_json:
        typer.echo(json.dumps(matrix, indent=2))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    short = {"trains": "trains", "passes through": "passes", "not touched": "-"}
    networks = list(next(iter(next(iter(matrix.values())).values())))
    table = Table("update", "loss term", *networks, box=box.SIMPLE_HEAD)
    for update, terms in matrix.items():
        for position, (term, cells) in enumerate(terms.items()):
            table.add_row("" if position else update, term, *(short[c] for c in cells.values()))
        table.add_section()
    console = Console(highlight=False)
    console.print(table)
    console.print("trains: its weights move   passes: gradient goes through   -: not reached")
