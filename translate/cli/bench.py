"""``translate bench``."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

WHAT = typer.Argument(
    metavar="[WHAT]...",
    help="cyclegan, pix2pix or gan (a training step), convert, load, kernels "
    "[default: all but gan; kernels on a CUDA device].",
    show_default=False,
)
RECIPE = typer.Option(metavar="NAME|FILE", help="A recipe to measure [default: WHAT's own].")
SIZE = typer.Option(min=4, help="Picture size in pixels [default: the recipe's].")
BATCH = typer.Option(min=1, help="Pictures per step [default: the recipe's; convert: 8].")
WORKERS = typer.Option(
    min=0, help="Processes that read pictures, for load [default: the recipe's]."
)
STEPS = typer.Option(min=1, help="Steps of a turn, instead of as many as --seconds take.")
PICTURES = typer.Option(min=1, help="Pictures that are drawn, to be converted and loaded.")
SET = typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key, as in train.")
SWEEP = typer.Option(
    metavar="AXIS=VALUES", help="Measure at each: size=64,128,256, batch=1,2,4 or workers=0,1,2."
)
JSON = typer.Option("--json", metavar="FILE", help="Write everything measured there.")
PLOT = typer.Option(metavar="FILE", help="Draw what --sweep found: .png, .svg or .pdf.")


def bench(
    what: Annotated[list[str] | None, WHAT] = None,
    recipe: Annotated[str | None, RECIPE] = None,
    size: Annotated[int | None, SIZE] = None,
    batch_size: Annotated[int | None, BATCH] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="Ours: auto, fp32, bf16 or fp16; the plain way's is fp32.")
    ] = "auto",
    workers: Annotated[int | None, WORKERS] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.01, help="About how long a turn takes.")] = 3.0,
    steps: Annotated[int | None, STEPS] = None,
    pictures: Annotated[int, PICTURES] = 32,
    set_: Annotated[list[str] | None, SET] = None,
    sweep: Annotated[list[str] | None, SWEEP] = None,
    json_: Annotated[Path | None, JSON] = None,
    plot: Annotated[Path | None, PLOT] = None,
) -> None:
    """Measure the toolkit against the plain way of doing the same, side by side, on this machine.

    Data are drawn, nothing is downloaded. The plain way is the papers' loop in eager float32,
    contiguous, one picture after the other; where ours works in bf16 it is measured under autocast
    as well.
    """
    from rich.console import Console

    from translate.bench import plot as plotting
    from translate.bench.compare import Effort
    from translate.bench.report import tables, write
    from translate.bench.run import Request, bench, sweep_of
    from translate.device import find_device
    from translate.errors import UserError
    from translate.recipe_file import parse_override

    sweeps = dict(map(sweep_of, sweep or []))
    if len(sweeps) < len(sweep or []):
        raise UserError("--sweep names an axis twice: give all its values at once, size=64,128")
    if plot is not None:
        if not sweeps:
            raise UserError("--plot draws what changes: say with --sweep size=64,128,256")
        plotting.check(plot)
    for path in (json_, plot):  # told before hours are spent
        if path is not None:
            _check_writable(path)
    request = Request(
        str(find_device(device)),
        recipe,
        size,
        batch_size,
        precision,
        workers,
        tuple(map(parse_override, set_ or [])),
        pictures,
    )
    with _stoppable() as stopped:
        result = bench(what or [], request, Effort(rounds, seconds, steps), sweeps, _watch)
    console = Console(highlight=False, markup=False)  # sections of recipes stand in brackets
    for part in tables(result):
        console.print(part)
    if json_ is not None:
        write(result, json_)
    if plot is not None and result["comparisons"]:
        plotting.plot(result, plot)
    if stopped:
        sys.exit(128 + stopped[0])


def _check_writable(path: Path) -> None:
    from translate.errors import UserError

    if not path.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {path.parent}")
    new = not path.exists()
    try:
        path.open("a").close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from None
    if new:
        path.unlink()


@contextmanager
def _stoppable() -> Iterator[list[int]]:
    """Inside, Ctrl-C and SIGTERM raise KeyboardInterrupt; yields a list for the signal's number."""
    stopped: list[int] = []

    def stop(number: int, _: object) -> None:
        stopped.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _watch(title: str, rounds: int) -> Iterator[Callable[[], None]]:
    from translate.cli.progress import bar

    with bar(title, rounds, unit="rounds") as shown:
        yield lambda: shown.advance(1)
