"""``translate traverse``."""

import math
from pathlib import Path
from typing import Annotated

import typer

OUT = typer.Option(
    help="A folder: a sheet, traverse.png, and an animation for each code; or a picture file: the "
    "sheet; or a .gif or .mp4: the codes one after the other."
)
CODE = typer.Option(help="A code by its name, such as 'code 2'; may be repeated [default: all].")
COUNT = typer.Option(min=1, help="Draws that codes are changed in: rows of each code.")
STEPS = typer.Option(min=2, help="Pictures of a row; of a category, its ways.")
REACH = typer.Option(
    help="How far from 0 rows begin and end [default: 1 for uniform codes, 1.25 for normal ones]."
)
AT = typer.Option(
    help="Of a model that grew: draw at this resolution, whose colours are as they were when "
    "training left it [default: the last]."
)


def traverse(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    out: Annotated[Path, OUT],
    code: Annotated[list[str] | None, CODE] = None,
    count: Annotated[int, COUNT] = 1,
    steps: Annotated[int, STEPS] = 9,
    reach: Annotated[float | None, REACH] = None,
    at: Annotated[int | None, AT] = None,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Pictures per second.")] = 8,
    mp4: Annotated[bool, typer.Option("--mp4", help="A folder's animations as .mp4.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into what is there already.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws of sample's first pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Show what each code changes, everything else held: translate traverse MODEL --out DIR"""
    from translate.cli.progress import bar
    from translate.device import find_device
    from translate.errors import UserError
    from translate.outputs import check_free, names_file
    from translate.sampler import Sampler
    from translate.traversal import KINDS, Traversal, save

    if reach is not None and not (reach > 0 and math.isfinite(reach)):
        raise UserError(f"--reach must be above 0, not {reach}")
    names_file(out, KINDS)
    check_free(out, overwrite)
    sampler = Sampler(model, find_device(device), precision, at=at)
    traversal = Traversal(model, sampler, count, seed)
    codes = traversal.chosen(code or [])
    with bar("drawing", len(codes), unit="codes") as shown:
        suffix = ".mp4" if mp4 else ".gif"
        made = save(out, traversal, codes, steps, reach, fps, suffix, shown.advance)
    typer.echo(f"{made} pictures, by {', '.join(code.name for code in codes)}: {out}")
