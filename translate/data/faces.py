"""Faces out of pictures: found, turned level, and cut to squares of one size.

The squares are those of Karras et al. [1], appendix C, drawn from the eyes alone, so that the faces
of every detector lie alike. With e the way from the left eye to the right one,

    side = |e| / eyes,   eyes level, at the height 3/4 - 10/9 eyes from the top,

where [1] has eyes = 1/4; the height is then that of [1] for a face whose eyes are 9/10 as far from
each other as from the mouth. A closer view leaves the mouth where it is.

References
[1] Karras, Aila, Laine, Lehtinen, "Progressive growing of GANs for improved quality, stability, and
    variation", ICLR 2018.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gan_core.files import write_whole
from translate.data.face_detectors import Detector, Face
from translate.data.header import BrokenImage
from translate.data.image import SUFFIXES, read, with_channels, write
from translate.data.window import Window, cut
from translate.report import Report

Job = tuple[Path, Path]

NO_FACE, TOO_SMALL, AT_EDGE = "no face found", "too small", "too near the edge"


class LeftOut(NamedTuple):
    """A picture without a face, or a face that is not written."""

    file: str
    reason: str  # NO_FACE, TOO_SMALL or AT_EDGE
    detail: str = ""


@dataclass
class FacesReport(Report):
    """``converted``: faces written, ``seen`` of them by eyes that were seen; ``already``: pictures
    that were done before."""

    seen: int = 0
    left_out: list[LeftOut] = field(default_factory=list)


def first_faces(jobs: Sequence[Job]) -> list[Job]:
    """Instead of an output named like its source, the file of the picture's first face.

    a.jpg gives a.png, a-2.png, a-3.png, ...; where names would meet, as of a.jpg and a.tif or
    a-2.jpg, the suffix stays: a.tif.png.
    """
    stems = Counter(output.with_suffix("") for _, output in jobs)
    known = stems.keys() | {output for _, output in jobs}

    def first(output: Path) -> Path:
        stem = output.with_suffix("")
        base = stem.with_name(re.sub(r"-\d+$", "", stem.name))
        clear = stems[stem] == 1 and stem.suffix.lower() not in SUFFIXES
        name = stem if clear and (base == stem or base not in known) else output
        return name.with_name(f"{name.name}.png")

    return [(source, first(output)) for source, output in jobs]


def square(face: Face, eyes: float = 0.25) -> Window:
    """Where a face is cut; ``eyes``: their distance as a share of the side."""
    across = (face.right - face.left) / eyes
    down = across[::-1] * [-1, 1]
    middle, height = (face.left + face.right) / 2, 3 / 4 - 10 / 9 * eyes
    return Window(middle - across / 2 - down * height, across, down)


def crop_faces(
    jobs: Sequence[Job],
    folder: Path,
    detector: Detector,
    *,
    size: int,
    eyes: float = 0.25,
    smallest: int = 0,
    beyond: float = 0.1,
    largest: bool = False,
    done: Callable[[int], None] = lambda count: None,
) -> FacesReport:
    """Write the faces of every picture whose first face is not there yet, largest first.

    size: side of what is written, in pixels.
    eyes: their distance as a share of the side, see ``square``.
    smallest: the least side of a square in its picture, in pixels.
    beyond: the largest share of a square that may lie outside of its picture; it is mirrored.
    largest: only the largest face of a picture is wanted.
    What is left out is listed in left-out.jsonl in ``folder``, where lines stay that are about
    pictures not looked at now. The first face's file is written last: where it is, all are.
    """

    def make(source: Path, first: Path) -> FacesReport:
        found = FacesReport()
        try:
            picture = read(source)
        except BrokenImage as error:
            found.failures[str(source)] = str(error)
            return found
        faces = sorted(detector(_for_detectors(picture)), key=_order)[: 1 if largest else None]
        if not faces:
            found.left_out.append(LeftOut(str(source), NO_FACE))
        windows = []
        for face in faces:
            window = square(face, eyes)
            if why := _unfit(window, picture, smallest, beyond):
                found.left_out.append(LeftOut(str(source), *why))
            else:
                windows.append(window)
                found.seen += face.seen
        for number, window in reversed(list(enumerate(windows, 1))):
            path = first if number == 1 else first.with_name(f"{first.stem}-{number}.png")
            if not path.exists():
                write(path, cut(picture, window, size))
            found.converted += 1
        return found

    to_do = [job for job in jobs if not job[1].exists()]
    made: dict[Job, FacesReport] = {}
    try:
        with ThreadPoolExecutor() as pool:
            for _ in pool.map(lambda job: made.update({job: make(*job)}), to_do):
                done(1)
    finally:  # also when it is interrupted: what was made is not looked at again
        report = FacesReport(already=len(jobs) - len(to_do))
        for job in sorted(made):
            report.converted += made[job].converted
            report.seen += made[job].seen
            report.failures |= made[job].failures
            report.left_out += made[job].left_out
        looked_at = {str(source) for source, _ in made}
        _list_left_out(folder / "left-out.jsonl", report.left_out, looked_at)
    return report


def _for_detectors(picture: np.ndarray) -> np.ndarray:
    eight = picture if picture.dtype == np.uint8 else (picture // 257).astype(np.uint8)
    return with_channels(eight, 3)


def _order(face: Face) -> tuple[float, ...]:
    """Larger ones first; the rest so that a second call gives them the same numbers."""
    return (-np.linalg.norm(face.right - face.left), *face.left)


def _unfit(
    window: Window, picture: np.ndarray, smallest: int, beyond: float
) -> tuple[str, str] | None:
    """Why a square is not cut out, and by how much; None if it is."""
    if window.side() < smallest:
        return TOO_SMALL, f"{window.side():.0f} pixels across, under {smallest}"
    outside = window.share_beyond(*picture.shape[:2])
    if outside > beyond:
        return AT_EDGE, f"{outside:.0%} of its square lie beyond the picture, over {beyond:.0%}"
    return None


def _list_left_out(path: Path, left_out: Sequence[LeftOut], looked_at: set[str]) -> None:
    old = path.read_text().splitlines() if path.exists() else []
    lines = [line for line in old if json.loads(line)["file"] not in looked_at]
    lines += [json.dumps(row._asdict()) for row in left_out]
    if lines:
        write_whole(path, lambda file: file.write("".join(line + "\n" for line in lines).encode()))
    else:
        path.unlink(missing_ok=True)
