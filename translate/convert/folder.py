"""A folder of pictures through a translator: reading, translating and writing overlap."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from translate.data.folders import pictures
from translate.data.header import BrokenImage
from translate.data.image import SUFFIXES, read, write
from translate.errors import TooLargeError, UserError
from translate.report import Report

Job = tuple[Path, Path]


def plan(source: Path, target: Path, colour: bool = False) -> tuple[list[Job], Path]:
    """Pairs of input and output files, and the folder that the outputs lie in.

    A folder keeps its sub-folders and names. A file goes to the file ``target`` if that has a
    picture's suffix, else into the folder ``target`` under its own name.
    colour: of the outputs. Grey formats hold none, so that .pgm becomes .ppm.
    """
    if not source.exists():
        raise UserError(f"there is no file or folder {source}")
    if source.is_file():
        if source.suffix.lower() not in SUFFIXES:
            raise UserError(f"{source} is no picture: its suffix is none of {', '.join(SUFFIXES)}")
        if target.suffix.lower() in SUFFIXES and not target.is_dir():
            output = target
            if colour and output.suffix.lower() == ".pgm":
                raise UserError(f"{output} would hold no colour: name it {output.stem}.ppm or .png")
        else:
            (output,) = _names([Path(source.name)], target, colour)
        if output.resolve() == source.resolve():
            raise UserError(f"{output} would overwrite its own source; choose another target")
        return [(source, output)], output.parent
    inside, outside = target.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UserError(f"{target} lies in {source}: results would become sources; choose another")
    if target.is_file():
        raise UserError(f"{target} is a file; a folder is needed for the pictures of {source}")
    found = pictures(source)
    outputs = _names([path.relative_to(source) for path in found], target, colour)
    return list(zip(found, outputs, strict=True)), target


def _names(names: Sequence[Path], target: Path, colour: bool) -> list[Path]:
    """The names below ``target``, no two equal: a.pgm is a.ppm or, beside one, a-pgm.ppm."""
    taken, outputs = set(names), []
    for name in names:
        if colour and name.suffix.lower() == ".pgm":
            name = name.with_suffix(".ppm")
            while name in taken:
                name = name.with_name(f"{name.stem}-pgm.ppm")
            taken.add(name)
        outputs.append(target / name)
    return outputs


def convert(
    translate: Callable[[Sequence[np.ndarray]], list[np.ndarray]],
    jobs: Sequence[Job],
    *,
    batch_size: int = 8,
    overwrite: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> Report:
    """Translate every job whose output is not there yet.

    Pictures of one shape go through the network together. Up to ``4 x batch_size`` pictures are
    read ahead, and as many wait for others of their shape before a smaller batch is made of the
    oldest. Each output is written whole or not at all, so that a second call goes on where a first
    one was cut off.
    """
    report, ahead = Report(), 4 * batch_size
    open_jobs = [job for job in jobs if overwrite or not job[1].exists()]
    report.already = len(jobs) - len(open_jobs)
    waiting: OrderedDict[tuple[object, ...], list[tuple[Job, np.ndarray]]] = OrderedDict()
    with ThreadPoolExecutor() as readers, ThreadPoolExecutor() as writers:
        writing: list[tuple[Path, Future[None]]] = []

        def wait_for_all_but(count: int) -> None:
            while len(writing) > count:
                source, future = writing.pop(0)
                try:
                    future.result()
                    report.converted += 1
                except ValueError as error:  # nothing that the output's format can hold
                    report.failures[str(source)] = f"{source}: {error}"

        def flush(shape: tuple[object, ...]) -> None:
            finish(waiting.pop(shape))

        def finish(group: list[tuple[Job, np.ndarray]]) -> None:
            try:
                made = translate([image for _, image in group])
            except TooLargeError as error:
                if len(group) > 1:  # together; each may fit alone
                    for one in group:
                        finish([one])
                    return
                failed = str(group[0][0][0])
                report.failures[failed], made = f"{failed}: {error}", []
            wait_for_all_but(ahead)
            for ((source, output), _), image in zip(group, made, strict=False):
                writing.append((source, writers.submit(write, output, image)))
            done(len(group))

        for job, image in _read_ahead(readers, open_jobs, ahead):
            if isinstance(image, BrokenImage):
                report.failures[str(job[0])] = str(image)
                done(1)
                continue
            shape = (*image.shape, image.dtype.str)
            waiting.setdefault(shape, []).append((job, image))
            if len(waiting[shape]) == batch_size:
                flush(shape)
            elif sum(map(len, waiting.values())) >= ahead:
                flush(next(iter(waiting)))
        while waiting:
            flush(next(iter(waiting)))
        wait_for_all_but(0)
    return report


def _read_ahead(
    readers: ThreadPoolExecutor, jobs: Sequence[Job], ahead: int
) -> Iterator[tuple[Job, np.ndarray | BrokenImage]]:
    """Decoded pictures in the order of the jobs; OpenCV decodes without holding Python's lock."""
    futures = [readers.submit(_try_read, job[0]) for job in jobs[:ahead]]
    for position, job in enumerate(jobs):
        result = futures.pop(0).result()
        if position + ahead < len(jobs):
            futures.append(readers.submit(_try_read, jobs[position + ahead][0]))
        yield job, result


def _try_read(path: Path) -> np.ndarray | BrokenImage:
    try:
        return read(path)
    except BrokenImage as error:
        return error
