"""``translate interpolate``."""

from pathlib import Path
from typing import Annotated

import typer

PICTURES = typer.Argument(
    metavar="PICTURE", help="Two or more, to go from one to the next [default: random codes]."
)
BETWEEN = typer.Option(min=2, help="Random codes to go through [default: 2].")
OUT = typer.Option(help="A picture file: a strip, a row for each pair; or a .gif or .mp4.")
STEPS = typer.Option(min=1, help="From one picture to the next.")
ALONG = typer.Option(help="linear or spherical [default: linear by pictures, else spherical].")
FPS = typer.Option(min=1, max=60, help="Pictures per second of a .gif or .mp4.")


def interpolate(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    out: Annotated[Path, OUT],
    pictures: Annotated[list[Path] | None, PICTURES] = None,
    between: Annotated[int | None, BETWEEN] = None,
    steps: Annotated[int, STEPS] = 16,
    along: Annotated[str | None, ALONG] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Go back to the first at the end.")] = False,
    fps: Annotated[int, FPS] = 16,
    label: Annotated[str | None, typer.Option(help="The class, where there are classes.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Codes of sample's first pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Change one picture into another by steps, between random codes or real pictures' codes."""
    from translate.cli.progress import bar
    from translate.codes import Coder
    from translate.device import find_device
    from translate.errors import UserError
    from translate.interpolation import among_draws, among_pictures, moves, rows_of, save
    from translate.outputs import check_free
    from translate.sampler import Sampler

    if pictures and (between is not None or label is not None):
        raise UserError(
            "--between and --label are for random codes: leave them or the pictures out"
        )
    moving = moves(out)
    check_free(out, overwrite)
    place = find_device(device), precision
    if pictures:
        stops = among_pictures(Coder(model, *place), pictures)
    else:
        stops = among_draws(Sampler(model, *place), between or 2, label, seed)
    rows = rows_of(stops, steps, along, loop, moving)
    count = sum(map(len, rows))
    with bar("drawing", count) as shown:
        save(out, rows, stops.picture, fps, shown.advance)
    typer.echo(f"{count} pictures: {out}")
