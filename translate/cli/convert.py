"""``translate convert``."""

from pathlib import Path
from typing import Annotated

import typer

STOCHASTIC = typer.Option(
    "--stochastic", help="With pix2pix's noise: dropout on, each picture's own statistics."
)


def convert(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A picture or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Where the results go.")],
    to: Annotated[
        str | None, typer.Option(help="The domain to translate to [default: the second].")
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Translate at this shorter side in pixels, then scale back; 0: as they are "
            "[default: 0, or the square that a U-Net was trained on].",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures of one shape at a time.")] = 8,
    stochastic: Annotated[bool, STOCHASTIC] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of --stochastic's noise.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Convert also what is there already.")
    ] = False,
) -> None:
    """Convert a picture or a folder: sub-folders, names, formats and sizes stay as they are."""
    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.convert.folder import convert as convert_jobs
    from translate.convert.folder import plan
    from translate.convert.translator import open_translator
    from translate.device import find_device

    noise = seed if stochastic else None
    translator, chosen = open_translator(model, to, find_device(device), precision, at, noise)
    jobs, folder = plan(source, target, colour=translator.makes > 1)
    title = f"{chosen['from']} to {chosen['to']}"
    with bar(title, len(jobs)) as shown:
        report = convert_jobs(
            translator, jobs, batch_size=batch_size, overwrite=overwrite, done=shown.advance
        )
    conclude(f"converted from {title}", report, folder)
