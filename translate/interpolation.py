"""A way through a model's codes: between draws of its noise, or between pictures by its encoder."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from gan_core.latents import linear, spherical
from translate import animation
from translate.codes import Coder
from translate.data.header import BrokenImage
from translate.data.image import SUFFIXES, read
from translate.data.tensors import to_image
from translate.errors import UserError, nearest
from translate.outputs import names_file, write_grid
from translate.sampler import Sampler

ALONG: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "linear": linear,
    "spherical": spherical,
}


class Stops(NamedTuple):
    """codes [N, n] to go through, and how: along what, and what picture a code [1, n] makes."""

    codes: Tensor
    along: str
    picture: Callable[[Tensor], np.ndarray]


def among_draws(sampler: Sampler, count: int, label: str | None, seed: int) -> Stops:
    """The draws of the first pictures that ``sample`` makes of the seed and class.

    Normal draws lie near a sphere, and so does an arc between them; a prior comes after.
    """
    if sampler.makes != "pictures":
        raise UserError(f"the model makes {sampler.makes}, not pictures: use translate sample")
    if sampler.classes and label is None:
        raise UserError(f"say of which class by --label: {', '.join(sampler.classes)}")
    (chosen,) = sampler.labels_of([label] if label is not None else [])
    codes = torch.cat(list(sampler.normals(chosen, count, seed)))
    return Stops(codes, "spherical", lambda code: to_image(sampler.made(code, chosen)[0]))


def among_pictures(coder: Coder, paths: Sequence[Path]) -> Stops:
    """The codes of pictures: straight lines, since most encoders choose a code's length freely.

    O-GAN's have one length, which an arc keeps.
    """
    if len(paths) < 2:
        raise UserError(f"{paths[0]} alone leads nowhere: give two pictures or more")
    try:
        codes = [coder.code(read(path)) for path in paths]
    except BrokenImage as error:
        raise UserError(str(error)) from None
    return Stops(torch.cat(codes), "linear", coder.picture)


def moves(out: Path) -> bool:
    """Whether a file shows pictures one after the other; UserError if it is of no known kind."""
    if not names_file(out, (*SUFFIXES, *animation.SUFFIXES)):
        raise UserError(f"{out}: name a picture file for a strip, or a .gif or .mp4")
    return out.suffix.lower() in animation.SUFFIXES


def rows_of(stops: Stops, steps: int, along: str | None, loop: bool, moving: bool) -> list[Tensor]:
    """Codes in equal steps from each stop to the next; with ``loop``, then to the first.

    A row [steps + 1, n] for each way, both ends in it; moving: all in one, each stop once, and with
    ``loop`` without the last, which is the first.
    """
    along = along or stops.along
    if along not in ALONG:
        raise UserError(f"no way is called {along!r}{nearest(along, ALONG)}")
    t = torch.linspace(0, 1, steps + 1)
    codes = torch.cat([stops.codes, stops.codes[:1]]) if loop else stops.codes
    ways = [ALONG[along](start, end, t) for start, end in pairwise(codes)]
    if not moving:
        return ways
    return [torch.cat([way[:-1] for way in ways] + ([] if loop else [codes[-1:]]))]


def save(
    out: Path,
    rows: Sequence[Tensor],
    picture: Callable[[Tensor], np.ndarray],
    fps: int,
    done: Callable[[int], None] = lambda count: None,
) -> None:
    """Write the rows' pictures as a strip, or one after the other at ``fps`` a second."""

    def drawn(code: Tensor) -> np.ndarray:
        done(1)
        return picture(code[None])

    if moves(out):
        animation.write(out, (drawn(code) for row in rows for code in row), fps)
    else:
        write_grid(out, [[drawn(code) for code in row] for row in rows])
