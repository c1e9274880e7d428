"""``translate reconstruct``."""

from pathlib import Path
from typing import Annotated

import typer

OUT = typer.Option(
    help="A folder of reconstructions; or a picture file: each picture and its own side by side."
)


def reconstruct(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A picture or a folder of them.")],
    out: Annotated[Path, OUT],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Encode pictures and make them of their codes again; also says how far from them that is."""
    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.codes import Coder, Reconstruction, carry_out, plan
    from translate.device import find_device

    todo = plan(source, out, overwrite)
    coder = Coder(model, find_device(device), precision)
    redraw = Reconstruction(coder)
    with bar("reconstructing", len(todo.jobs)) as shown:
        report = carry_out(todo, coder, redraw, shown.advance, overwrite)
    conclude(redraw.sentence, report, todo.folder)
