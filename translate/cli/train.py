"""``translate train``."""

import shlex
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from translate.run_folder import RunFolder
    from translate.training import Run

METHOD = typer.Argument(
    metavar="METHOD", help="The system to train: cyclegan, pix2pix, cgan or gan."
)
DOMAINS = typer.Option(metavar="FOLDER FOLDER", help="Two folders of pictures (cyclegan, pix2pix).")
ALIGNED = typer.Option(
    metavar="FOLDER", help="Pictures with input on the left, target on the right (pix2pix)."
)
IMAGES = typer.Option(
    metavar="FOLDER", help="Pictures (gan), in a sub-folder per class (cgan), or to make pairs of."
)
DATASET = typer.Option(
    metavar="FOLDER", help="A folder with trainA and trainB, or with aligned pictures in train."
)
TEXT = typer.Option(metavar="FILE", help="A text in UTF-8; a sample is a line (gan).")
NAMES = typer.Option(metavar="NAME NAME", help="The domains' names [default: the folders'].")
RECIPE = typer.Option(metavar="NAME|FILE", help="A recipe to start from [default: METHOD's own].")
SET = typer.Option("--set", metavar="KEY=VALUE", help="Any recipe key: --set data.flip=false.")
COMPILE = typer.Option("--compile", help="auto, on or off: networks by torch.compile.")
DRY_RUN = typer.Option("--dry-run", help="Only say what would run, where, and what it would cost.")


def train(
    method: Annotated[str, METHOD],
    domains: Annotated[tuple[str, str] | None, DOMAINS] = None,
    aligned: Annotated[str | None, ALIGNED] = None,
    images: Annotated[str | None, IMAGES] = None,
    dataset: Annotated[str | None, DATASET] = None,
    text: Annotated[str | None, TEXT] = None,
    names: Annotated[tuple[str, str] | None, NAMES] = None,
    out: Annotated[
        Path | None, typer.Option(help="Run folder [default: runs/METHOD-NAMES].")
    ] = None,
    recipe: Annotated[str | None, RECIPE] = None,
    set_: Annotated[list[str] | None, SET] = None,
    size: Annotated[int | None, typer.Option(help="Training picture size in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures per step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the run in steps.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Length of the run in epochs.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same run.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    compile_: Annotated[str | None, COMPILE] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read pictures.")] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on where this run stopped.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder --out.")
    ] = False,
    dry_run: Annotated[bool, DRY_RUN] = False,
) -> None:
    """Train a system on folders of pictures: translate train cyclegan --domains sketches photos"""
    overrides: dict[str, Any] = {
        "data.names": names and list(names),
        "data.size": size,
        "data.batch_size": batch_size,
        "run.seed": seed,
        "run.device": device,
        "run.precision": precision,
        "run.compile": compile_,
        "data.workers": workers,
    }
    if steps is not None or epochs is not None:  # instead of the recipe's length, however given
        overrides |= {"schedule.steps": steps or 0, "schedule.epochs": epochs or 0}

    from gan_core import distributed
    from translate.cli.progress import say
    from translate.device import find_device, tune
    from translate.errors import UserError
    from translate.expectation import expect
    from translate.recipe import pictures_of, resolve
    from translate.recipe_file import default_recipe, parse_override, read
    from translate.schema import blaming
    from translate.training import begin, build, folder_of, open_run, restore, stretch

    pictures = pictures_of(
        method,
        domains=domains and list(domains),
        aligned=aligned,
        images=images,
        dataset=dataset,
        text=text,
    )
    given = list(pictures.items())
    given += [(key, value) for key, value in overrides.items() if value is not None]
    given += [parse_override(text) for text in set_ or []]
    if resume is not None:
        if out is not None or recipe is not None or overwrite:
            raise UserError(
                "--resume goes on in its own folder, without --out, --recipe, --overwrite"
            )
        chosen = open_run(resume, given, method)
    else:
        document = read(recipe) if recipe else default_recipe(method)
        chosen = resolve(document, given, method)
        if steps:
            stretch(chosen, steps)
    with ExitStack() as stack:
        with blaming("run"):
            named = find_device(chosen.values["run"]["device"])
            place = stack.enter_context(distributed.start(named))
        tune(place)
        first = distributed.rank() == 0  # of several processes one speaks and writes
        tell = say if first else lambda sentence: None
        run = build(chosen, place, tell)
        path = resume or out or Path("runs") / "-".join([method, *run.data.layout.title])
        folder = folder_of(run, path)
        if dry_run:
            expected = expect(run)
            if first:
                _print_expectation(expected)
            return
        if resume is None:
            begin(run, folder, overwrite)
        with folder.held() if first else nullcontext():
            if resume is not None:
                restore(run, folder, tell)
            finished, signal_number = _watch(run, folder)
    if not first:
        return
    if finished:
        typer.echo(f"{folder.model}")
        return
    say(
        f"stopped at step {run.trainer.counts['step']} of {run.trainer.steps}, all saved; go on "
        f"with: translate train {method} --resume {shlex.quote(str(path))}"
    )
    sys.exit(128 + signal_number)


def _watch(run: "Run", folder: "RunFolder") -> tuple[bool, int]:
    """Train behind a progress bar; whether the end was reached, and else the signal that came."""
    from gan_core.distributed import rank
    from translate.cli.progress import bar, losses_line
    from translate.interrupt import stop_requested
    from translate.training import train as train_run

    trainer = run.trainer
    seen = trainer.counts["images"]
    with (
        bar("training", trainer.steps, trainer.counts["step"], hidden=rank() > 0) as shown,
        stop_requested(shown.say) as stop,
    ):

        def show(logs: dict[str, float]) -> None:
            nonlocal seen
            images, seen = trainer.counts["images"] - seen, trainer.counts["images"]
            shown.advance(1, images, losses_line(logs))

        finished = train_run(run, folder, stop=lambda: stop() != 0, show=show, say=shown.say)
        return finished, stop()


def _print_expectation(expected: dict[str, Any]) -> None:
    networks = ", ".join(f"{name} {count:,}" for name, count in expected["parameters"].items())
    lines = {
        "method": expected["method"],
        "data": ", ".join(f"{count} of {name}" for name, count in expected["data"].items()),
        "device": f"{expected['device']}, {expected['precision']}",
        "parameters": networks,
        "length": f"{expected['steps']:,} steps of {expected['seconds_per_step']:.3g} s: "
        f"about {_duration(expected['seconds_per_step'] * expected['steps'])}",
        "memory": f"{expected['memory_bytes'] / 2**30:.2f} GiB in the steps tried",
        "disk": f"{expected['disk_bytes'] / 2**30:.2f} GiB of checkpoints",
    }
    for name, text in lines.items():
        typer.echo(f"{name:11}{text}")


def _duration(seconds: float) -> str:
    for unit, length in {"days": 86400, "hours": 3600, "minutes": 60}.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
