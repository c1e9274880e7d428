"""``translate sample``."""

from pathlib import Path
from typing import Annotated

import typer

OUT = typer.Option(help="A picture file: a grid, a row for each class; else a folder of pictures.")


def sample(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    out: Annotated[Path, OUT],
    label: Annotated[
        list[str] | None, typer.Option(help="A class; may be repeated [default: all].")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Pictures of each class.")] = 8,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into what is there already.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Draw pictures of the classes that a cgan model was trained on."""
    from translate.cli.progress import bar
    from translate.data.image import SUFFIXES, write
    from translate.device import find_device
    from translate.errors import UserError
    from translate.pictures import grid
    from translate.sampler import Sampler

    as_grid = out.suffix.lower() in SUFFIXES
    if out.suffix and not as_grid and not out.is_dir():
        raise UserError(f"{out}: a grid is written as {', '.join(SUFFIXES)}")
    if not overwrite and (any(out.iterdir()) if out.is_dir() else out.exists()):
        raise UserError(f"{out} is there already: choose another --out, or give --overwrite")
    sampler = Sampler(model, find_device(device), precision)
    labels = [sampler.label_of(name) for name in label or sampler.classes]
    sheet = []
    with bar("drawing", len(labels) * count) as shown:
        for chosen in labels:
            row = []
            for number, image in enumerate(sampler.draw(chosen, count, seed)):
                if as_grid:
                    row.append(image)
                else:
                    write(out / sampler.classes[chosen] / f"{number:05}.png", image)
                shown.advance(1)
            sheet.append(row)
    if as_grid:
        try:
            write(out, grid(sheet))
        except ValueError as error:  # colour in a grey format, or more than the format holds
            raise UserError(str(error)) from None
    typer.echo(f"{len(labels) * count} pictures of {len(labels)} classes: {out}")
