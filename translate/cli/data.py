"""``translate data``: making, drawing and checking folders of pictures."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, draw, pair or check folders of pictures.", no_args_is_help=True)

STYLE = typer.Option(help="How the lines are drawn: ink or pencil.")
LEFT_RIGHT = ("left", "right")


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
def pair(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="A folder; without DST, of aligned pictures.")
    ],
    second: Annotated[
        Path, typer.Argument(metavar="B", help="A folder of partners; without DST, the new folder.")
    ],
    third: Annotated[
        Path | None, typer.Argument(metavar="DST", help="A new folder, for aligned pictures.")
    ] = None,
    names: Annotated[
        tuple[str, str], typer.Option(help="When cutting: folders for the halves.")
    ] = LEFT_RIGHT,
    skip_unmatched: Annotated[
        bool, typer.Option("--skip-unmatched", help="Leave out pictures without a partner.")
    ] = False,
    train: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share for train/ [default: the rest].")
    ] = None,
    validation: Annotated[float | None, typer.Option(min=0, max=1, help="Share for val/.")] = None,
    test: Annotated[float | None, typer.Option(min=0, max=1, help="Share for test/.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same split.")] = 0,
) -> None:
    """Join pictures of A and B side by side, as A | B; or, of two paths, cut those of A into B.

    Pictures are paired by their paths below A and B without suffixes. Shares, which must sum to 1,
    make folders train, val and test, and no picture is in two of them. Results are PNG.
    """
    from collections import Counter

    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.data.pair import check_new, cutting, divide, joining, make, shares_of, survey

    *sources, target = filter(None, (first, second, third))
    shares = shares_of(train, validation, test)
    check_new(target, sources)
    pairing = joining(first, second, skip_unmatched) if third else cutting(first, names)
    with bar("reading", len(pairing.pairs)) as shown:
        found = survey(pairing, shown.advance)
    if pairing.left_out:
        typer.echo(f"left out: {pairing.left_out}")
    places, tied = divide(found.digests, shares, seed)
    with bar("writing", len(places)) as shown:
        report = make(pairing, places, target, shown.advance)
    report.failures = found.failures | report.failures
    if "" not in shares:
        counts = Counter(places.values())
        typer.echo(", ".join(f"{folder} {counts[folder]}" for folder in shares))
        if tied:
            typer.echo(f"{tied} pairs share a picture with another pair and stay with it")
    conclude("pairs written", report, target)


@app.command()
def faces(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A picture or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder for the faces.")],
    size: Annotated[int, typer.Option(min=16, help="Side of the results in pixels.")] = 128,
    eyes: Annotated[
        float, typer.Option(min=0.1, max=0.5, help="Distance of the eyes; more is closer.")
    ] = 0.25,
    smallest: Annotated[
        int | None, typer.Option(min=1, help="Least side in the picture [default: size / 2].")
    ] = None,
    beyond: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="What may lie outside of a picture; it is mirrored."),
    ] = 0.1,
    largest: Annotated[
        bool, typer.Option("--largest", help="Only the largest face of each picture.")
    ] = False,
    detector: Annotated[
        Path | None,
        typer.Option(help="A cascade (.xml) or YuNet (.onnx) [default: OpenCV's cascades]."),
    ] = None,
) -> None:
    """Find faces, turn them level, cut them out: squares with the eyes at the same two places.

    Sub-folders stay; a.jpg gives a.png and, of more faces, a-2.png, a-3.png: the largest first.
    --eyes and --beyond are shares of the square, of its side and area. DST/left-out.jsonl lists
    what was left out, and why.
    """
    from collections import Counter

    from translate.cli.progress import bar
    from translate.cli.reporting import conclude
    from translate.convert.folder import plan
    from translate.data.face_detectors import open_detector
    from translate.data.faces import AT_EDGE, crop_faces, first_faces
    from translate.errors import UserError

    jobs, folder = plan(source, target)
    if folder != target:
        raise UserError(f"{target} names a picture: a folder is needed, since there may be more")
    found_by = open_detector(detector)
    with bar("finding faces", len(jobs)) as shown:
        report = crop_faces(
            first_faces(jobs),
            folder,
            found_by,
            size=size,
            eyes=eyes,
            smallest=size // 2 if smallest is None else smallest,
            beyond=beyond,
            largest=largest,
            done=shown.advance,
        )
    if report.already:
        typer.echo(
            f"{report.already} of {len(jobs)} pictures were done already and stay as they are: "
            "other settings want another folder"
        )
    if report.left_out:
        counts = Counter(row.reason for row in report.left_out).most_common()
        listed = ", ".join(f"{count} {reason}" for reason, count in counts)
        typer.echo(f"left out: {listed}: see {folder / 'left-out.jsonl'}")
        if any(reason == AT_EDGE for reason, _ in counts):
            typer.echo(f"{AT_EDGE}: --eyes 0.4 --beyond 0.25 keeps more of pictures cut close")
    report.already = 0
    conclude(f"faces written, {report.seen} of them level by their eyes", report, folder)


@app.command()
def check(
    folders: Annotated[list[Path], typer.Argument(help="Folders of pictures, one per domain.")],
    size: Annotated[int, typer.Option(min=4, help="The size to train at.")] = 256,
    paired: Annotated[
        bool, typer.Option("--paired", help="Two folders of pairs: names and sizes must agree.")
    ] = False,
) -> None:
    """Read every picture as training would and report what it would meet."""
    from translate.cli.progress import bar
    from translate.data.check import inspect
    from translate.data.folders import pictures
    from translate.data.paired import entries_of
    from translate.errors import UserError

    if paired:
        if len(folders) != 2:
            raise UserError(f"--paired takes two folders, not {len(folders)}")
        typer.echo(f"{len(entries_of([str(folder) for folder in folders]))} pairs")
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
