"""What each code of a model changes in its pictures, everything else held."""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.growth import At
from gan_core.information import Code
from gan_core.sampling import latent_of
from translate import animation
from translate.data.image import SUFFIXES
from translate.data.tensors import to_image
from translate.errors import UserError, nearest
from translate.outputs import names_file, write_grid
from translate.pictures import grid
from translate.recipe_file import read, recipe_names
from translate.sampler import Sampler

Row = list[np.ndarray]
KINDS = (*SUFFIXES, *animation.SUFFIXES)


class Traversal:
    """The codes of a model, and pictures of a draw with one of them set.

    Draws are those of the first pictures that ``sample`` makes of the seed. UserError for a model
    without codes.
    """

    def __init__(self, path: Path, sampler: Sampler, count: int, seed: int) -> None:
        self.codes: tuple[Code, ...] = getattr(sampler.model.method, "codes", ())
        if not self.codes:
            raise UserError(
                f"{path} is a model without codes: train one with them "
                f"(translate train gan --recipe {' or '.join(_recipes_with_codes())})"
            )
        if sampler.makes != "pictures":
            raise UserError(f"the model makes {sampler.makes}, not pictures: use translate sample")
        self.sampler = sampler
        self.normals = list(sampler.normals(0, count, seed))
        numbers = sum(max(code.ways, 1) for code in self.codes)
        G = sampler.model.nets["G"]
        self.first = latent_of(G) - numbers
        if isinstance(G, At):  # codes of finer scales change nothing
            self.codes = tuple(code for code in self.codes if code.scale <= G.resolution)

    def chosen(self, names: Sequence[str]) -> list[Code]:
        """Codes by name; of none: all there are."""
        known = {code.name: code for code in self.codes}
        for name in names:
            if name not in known:
                raise UserError(f"the model has no code {name!r}{nearest(name, known)}")
        return [known[name] for name in names] or list(self.codes)

    def values(self, code: Code, steps: int, reach: float | None) -> list[Tensor]:
        """What a code is set to, one after the other: every way, or numbers in equal steps.

        reach: how far from 0 they begin and end; None: 1 for uniform codes, which lie within, and
            1.25 for normal ones, as far as ProInfoGAN's author goes.
        """
        if code.ways:
            return list(torch.eye(code.ways))
        far = reach or (1.0 if code.uniform else 1.25)
        return list(torch.linspace(-far, far, steps)[:, None])

    def row(self, normal: Tensor, code: Code, values: Sequence[Tensor]) -> Row:
        """Pictures of a draw [1, latent] with the code at each value."""
        nets = self.sampler.model.nets
        G, start = nets["G"], self.first + code.start
        try:
            pictures = []
            for value in values:
                nets["G"] = _Set(G, start, value.to(self.sampler.model.device))
                pictures.append(to_image(self.sampler.made(normal, 0)[0]))
            return pictures
        finally:
            nets["G"] = G


class _Set(nn.Module):
    """G, fed some numbers, from ``start`` on, whatever it would be fed there."""

    def __init__(self, G: nn.Module, start: int, value: Tensor) -> None:
        super().__init__()
        self.G, self.start, self.value, self.latent = G, start, value, G.latent

    def forward(self, w: Tensor, labels: Tensor | None = None) -> Tensor:
        value = self.value.to(w).expand(len(w), -1)
        after = w[:, self.start + value.shape[1] :]
        return self.G(torch.cat([w[:, : self.start], value, after], 1))


def save(
    out: Path,
    traversal: Traversal,
    codes: Sequence[Code],
    steps: int,
    reach: float | None,
    fps: int,
    suffix: str,
    done: Callable[[int], None] = lambda count: None,
) -> int:
    """Draw every code's rows, one for each draw, into a sheet, an animation, or a folder of both.

    A picture file: all rows, code by code. A .gif or .mp4: the codes one after the other, draws
    side by side. A folder: ``traverse.png`` and an animation, of this suffix, for each code.
    Returns how many pictures were made.
    """
    single = names_file(out, KINDS)
    rows: dict[Code, list[Row]] = {}
    for code in codes:
        values = traversal.values(code, steps, reach)
        rows[code] = [traversal.row(normal, code, values) for normal in traversal.normals]
        done(1)
    if single and out.suffix.lower() in animation.SUFFIXES:
        animation.write(out, chain.from_iterable(_frames(c, r) for c, r in rows.items()), fps)
    else:
        write_grid(out if single else out / "traverse.png", list(chain(*rows.values())))
    if not single:
        for code, its in rows.items():
            animation.write(out / f"{_stem(code)}{suffix}", _frames(code, its), fps)
    return sum(len(row) for its in rows.values() for row in its)


def _frames(code: Code, rows: list[Row]) -> Row:
    """Rows side by side, column by column; there and back again, but round a category's ways."""
    frames = [grid([list(column)]) for column in zip(*rows, strict=True)]
    return frames if code.ways else [*frames, *frames[-2:0:-1]]


def _stem(code: Code) -> str:
    """A file's name: some systems know no colons."""
    return code.name.replace(":", "").replace(" ", "-")


def _recipes_with_codes() -> list[str]:
    return [
        name
        for name in recipe_names()
        if {"categories", "continuous"} & read(name).unwrap()["method"].keys()
    ]
