"""The command ``translate``. Files here parse, call and print; heavy imports wait for the work."""

import sys

import typer

from translate.cli.bench import bench
from translate.cli.convert import convert
from translate.cli.data import app as data
from translate.cli.doctor import doctor
from translate.cli.edit import edit
from translate.cli.explain import explain
from translate.cli.interpolate import interpolate
from translate.cli.recipes import recipes
from translate.cli.reconstruct import reconstruct
from translate.cli.sample import sample
from translate.cli.train import train
from translate.cli.traverse import traverse
from translate.errors import UserError

app = typer.Typer(
    name="translate",
    help="Turn pictures into pictures: train on two folders, then convert a third.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    train,
    convert,
    sample,
    interpolate,
    traverse,
    reconstruct,
    edit,
    explain,
    recipes,
    bench,
    doctor,
):
    app.command()(command)
app.add_typer(data, name="data")


def main() -> None:
    """Run a command; what a person did wrong, or a disk, is one line and exit code 2."""
    try:
        app()
    except (UserError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
