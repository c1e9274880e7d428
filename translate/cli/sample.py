"""``translate sample``."""

from pathlib import Path
from typing import Annotated

import typer

OUT = typer.Option(
    help="A picture file: a grid, a row for each class; else a folder of pictures. "
    "Of a model of points: a scatter, or their numbers as .csv. Of text: a .txt; "
    "without it, lines are printed."
)
COUNT = typer.Option(min=1, help="Pictures, of each class if there are classes, or lines of text.")
TRUNCATION = typer.Option(help="Draw nearer to the usual: less variety, fewer failures.")
KIND = typer.Option(
    help="resample: draws beyond the truncation are drawn again; scale: all are multiplied by it; "
    "mean: so is their distance to the mean, behind a mapping network "
    "[default: resample]."
)
AT = typer.Option(
    help="Of a model that grew: draw at this resolution, whose colours are as they were when "
    "training left it [default: the last]."
)


def sample(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    out: Annotated[Path | None, OUT] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A class; may be repeated [default: all].")
    ] = None,
    count: Annotated[int, COUNT] = 8,
    truncation: Annotated[float | None, TRUNCATION] = None,
    truncation_kind: Annotated[str | None, KIND] = None,
    at: Annotated[int | None, AT] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write into what is there already.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pictures.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Draw pictures from noise: translate sample runs/gan-faces --out grid.png"""
    from translate.cli.progress import bar
    from translate.device import find_device
    from translate.errors import UserError
    from translate.outputs import check_free
    from translate.sampler import Sampler, save

    if out is not None:
        check_free(out, overwrite)
    if truncation_kind and truncation is None:
        raise UserError("--truncation-kind says how to truncate: say how much too, by --truncation")
    kind = truncation_kind or "resample"
    sampler = Sampler(model, find_device(device), precision, truncation, kind, at)
    labels = sampler.labels_of(label or [])
    if out is None:
        for line in sampler.lines(count, seed):
            typer.echo(line)
        return
    with bar("drawing", len(labels) * count) as shown:
        made = save(sampler, out, labels, count, seed, shown.advance)
    typer.echo(f"{made}: {out}")
