"""A folder of pictures through a translator: reading, translating and writing overlap."""

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gan_core.checkpoint import write_whole
from translate.data.folders import pictures
from translate.data.image import SUFFIXES, BrokenImage, read, write
from translate.errors import UserError

Job = tuple[Path, Path]


@dataclass
class Report:
    """What a conversion came to; ``failures`` are pictures that could not be read, and why."""

    converted: int = 0
    already: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def plan(source: Path, target: Path) -> tuple[list[Job], Path]:
    """Pairs of input and output files, and the folder that the outputs lie in.

    A folder keeps its sub-folders and names. A file goes to the file ``target`` if that has a
    picture's suffix, else into the folder ``target`` under its own name.
    """
    if not source.exists():
        raise UserError(f"there is no file or folder {source}")
    if source.is_file():
        if source.suffix.lower() not in SUFFIXES:
            raise UserError(f"{source} is no picture: its suffix is none of {', '.join(SUFFIXES)}")
        output = target if target.suffix.lower() in SUFFIXES else target / source.name
        if output.resolve() == source.resolve():
            raise UserError(f"{output} would overwrite its own source; choose another target")
        return [(source, output)], output.parent
    inside, outside = target.resolve(), source.resolve()
    if inside == outside or outside in inside.parents:
        raise UserError(f"{target} lies in {source}: results would become sources; choose another")
    if target.is_file():
        raise UserError(f"{target} is a file; a folder is needed for the pictures of {source}")
    return [(path, target / path.relative_to(source)) for path in pictures(source)], target


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
        writing: list[Future[None]] = []

        def flush(shape: tuple[object, ...]) -> None:
            group = waiting.pop(shape)
            made = translate([image for _, image in group])
            while len(writing) > ahead:
                writing.pop(0).result()
            for ((_, output), _), image in zip(group, made, strict=True):
                writing.append(writers.submit(write, output, image))
            report.converted += len(group)
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
        for future in writing:
            future.result()
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


def write_failures(folder: Path, failures: dict[str, str]) -> Path | None:
    """List the failures of this call in ``failures.jsonl``; without any, an old list goes."""
    path = folder / "failures.jsonl"
    if not failures:
        path.unlink(missing_ok=True)
        return None
    lines = [json.dumps({"file": file, "reason": why}) for file, why in failures.items()]
    write_whole(path, lambda file: file.write("".join(line + "\n" for line in lines).encode()))
    return path
