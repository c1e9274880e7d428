"""``translate data``: making, drawing and checking folders of pictures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, draw or check folders of pictures.", no_args_is_help=True)

STYLE = typer.Option(help="How the lines are drawn: ink or pencil.")


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder.")],
    count: Annotated[int, typer.Option(min=1, help="Training pictures in each domain.")] = 200,
    test: Annotated[int, typer.Option(min=1, help="Test pictures in each domain.")] = 20,
    size: Annotated[int, typer.Option(min=16, help="Side of the pictures in pixels.")] = 128,
    style: Annotated[str, STYLE] = "ink",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pixels.")] = 0,
) -> None:
    """Draw an unpaired data set of sketches and photos, from nothing."""
    from translate.data.demo import draw

    draw(directory, count=count, test=test, size=size, style=style, seed=seed)
    typer.echo(f"{directory}: {count} sketches and {count} photos to train on, {test} to test")


@app.command()
def sketch(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A photo or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Where the drawings go.")],
    style: Annotated[str, STYLE] = "ink",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Draw also what is there already.")
    ] = False,
) -> None:
    """Make line drawings of photos: sub-folders, names, formats and sizes stay as they are."""
    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.convert.folder import convert, plan
    from translate.data.sketch import check_style, drawing

    check_style(style)
    jobs, folder = plan(source, target)
    with bar("drawing", len(jobs)) as shown:
        report = convert(
            lambda images: [drawing(image, style) for image in images],
            jobs,
            overwrite=overwrite,
            done=shown.advance,
        )
    conclude("drawn", report, folder)


@app.command()
def check(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, one per domain.")],
    size: Annotated[int, typer.Option(min=4, help="The size to train at.")] = 256,
) -> None:
    """Read every picture as training would and report what it would meet."""
    from translate.cli.progress import bar
    from translate.data.check import inspect
    from translate.data.folders import pictures

    broken = 0
    for folder in folders:
        paths = pictures(folder)
        with bar(f"checking {folder.name}", len(paths)) as shown:
            found = inspect(paths, size, lambda: shown.advance(1))
        for line in found.lines():
            typer.echo(f"{folder}: {line}")
        broken += len(found.broken)
    if broken:
        sys.exit(1)
