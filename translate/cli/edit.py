"""``translate edit``."""

import math
from pathlib import Path
from typing import Annotated

import typer

OUT = typer.Option(
    help="A folder; or a picture file: a row for each picture, itself and then by strength."
)
PLUS = typer.Option(metavar="PATH", help="Pictures, a folder or one, that have what is added.")
MINUS = typer.Option(metavar="PATH", help="Pictures that are like them but for that.")
STRENGTH = typer.Option(
    help="How much of the difference is added, negative too; may be repeated where a picture file "
    "is written [default: 1]."
)


def edit(
    model: Annotated[Path, typer.Argument(help="A run folder or a model file.")],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A picture or a folder of them.")],
    plus: Annotated[Path, PLUS],
    minus: Annotated[Path, MINUS],
    out: Annotated[Path, OUT],
    strength: Annotated[list[float] | None, STRENGTH] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
) -> None:
    """Add what tells two sets of pictures apart: code + S (mean code of PLUS - that of MINUS)."""
    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.codes import Coder, Edit, carry_out, mean_code, plan, sources
    from translate.device import find_device
    from translate.errors import UserError

    strengths = strength or [1.0]
    if not all(map(math.isfinite, strengths)):
        raise UserError(f"--strength must be a number, not {' or '.join(map(str, strengths))}")
    todo = plan(source, out, overwrite)
    if len(strengths) > 1 and not todo.sheet:
        raise UserError(f"{out}: several strengths make a sheet: name a picture file as --out")
    ends = sources(plus), sources(minus)
    coder = Coder(model, find_device(device), precision)
    with bar("encoding", sum(map(len, ends))) as shown:
        (added, broken), (taken, more) = (mean_code(coder, e, shown.advance) for e in ends)
    with bar("editing", len(todo.jobs)) as shown:
        redraw = Edit(coder, added - taken, strengths)
        report = carry_out(todo, coder, redraw, shown.advance, overwrite)
    report.failures |= broken | more
    conclude("edited", report, todo.folder)
