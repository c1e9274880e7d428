"""Pictures, points or lines of text, drawn from noise by a model."""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gan_core.ema import restate_statistics
from gan_core.files import write_whole
from gan_core.latents import resampled, scaled, towards_mean
from gan_core.sampling import latent_of
from translate.data.image import SUFFIXES, write
from translate.data.points import COLOURS, SIDE, scatter
from translate.data.tensors import to_image
from translate.data.text import spelled
from translate.errors import UserError, nearest
from translate.model import Model, describing
from translate.outputs import names_file, write_grid

Narrow = Callable[[Tensor, torch.Generator], Tensor]


class Sampler:
    """A generator from a model file.

    classes: their names, in the order of their labels; none where the model knows none, and all is
        of the label 0 then. Picture ``number`` of a class depends on (seed, class, number) alone,
        not on which others are drawn with it.
    truncation, kind: how far from the usual the draws may be, see ``TRUNCATIONS``. Batch norms'
        statistics are estimated anew under it (Brock et al. 2019, "standing statistics").
    at: of a model that grew, the resolution to draw at, see ``translate.model``.
    """

    def __init__(
        self,
        path: Path,
        device: torch.device,
        precision: str = "auto",
        truncation: float | None = None,
        kind: str = "resample",
        at: int | None = None,
    ) -> None:
        self.model = Model(path, "generate", device, precision, at)
        header = self.model.header
        with describing(path):
            self.classes = list(header.get("classes", ()))
            shape = header["networks"]["G"]["arguments"]
            _check(self.classes, shape.get("classes", 0))
            data = header["recipe"]["data"]["kind"]
            self.makes = data if data in LISTED else "pictures"
            self.characters = header.get("characters", "")
            if self.makes == "text":
                _check_characters(self.characters, shape["out_channels"])
            self.latent = latent_of(self.model.nets["G"])
        self.narrow: Narrow = lambda normal, generator: normal
        if truncation is not None:
            if not truncation > 0:
                raise UserError(f"a truncation must be above 0, not {truncation}")
            if kind not in TRUNCATIONS:
                raise UserError(f"no truncation is called {kind!r}{nearest(kind, TRUNCATIONS)}")
            self.narrow = TRUNCATIONS[kind](self.model, truncation)
            self._settle()

    def label_of(self, name: str) -> int:
        if not self.classes:
            raise UserError(f"the model was trained without classes: there is no {name!r}")
        if name not in self.classes:
            raise UserError(f"the model knows no class {name!r}{nearest(name, self.classes)}")
        return self.classes.index(name)

    def labels_of(self, names: Sequence[str]) -> list[int]:
        """Of these classes; of none: all there are."""
        return [self.label_of(name) for name in names or self.classes] or [0]

    def normals(self, label: int, count: int, seed: int) -> Iterator[Tensor]:
        """[1, latent]: what each picture of a class is made of; without truncation from N(0, 1)."""
        # What is drawn again comes from elsewhere, so that truncation leaves alone what is within.
        first, again = (_generator(seed, label, *more) for more in ((), (1,)))
        for _ in range(count):
            yield self.narrow(torch.randn(1, self.latent, generator=first), again)

    def made(self, normal: Tensor, label: int) -> Tensor:
        """What the generator makes of numbers [B, latent]: [B, C, H, W], points [B, 2], or
        distributions over characters [B, V, L].
        """
        labels = torch.full((len(normal),), label) if self.classes else None
        return self.model.generate(normal, labels)

    def draw(self, label: int, count: int, seed: int) -> Iterator[np.ndarray]:
        """``count`` pictures [H, W, C] of a class."""
        for normal in self.normals(label, count, seed):
            yield to_image(self.made(normal, label)[0])

    def lines(self, count: int, seed: int) -> Iterator[str]:
        """``count`` lines of text; UserError where the model makes none."""
        if self.makes != "text":
            raise UserError(f"the model makes {self.makes}, not text: say where to, by --out")
        for normal in self.normals(0, count, seed):
            yield from spelled(self.made(normal, 0).argmax(1), self.characters)

    def _settle(self) -> None:
        """On as many draws as training settles on, of all classes alike."""
        generator = _generator(0, 0, 2)

        def forward(start: int) -> None:
            normal = self.narrow(torch.randn(16, self.latent, generator=generator), generator)
            labels = torch.arange(start, start + 16) % max(len(self.classes), 1)
            self.model.generate(normal, labels if self.classes else None)

        passes = (partial(forward, start) for start in range(0, 128, 16))
        restate_statistics({"G": self.model.nets["G"]}, passes)


# -------------------------------------------------------------------------------------- truncation


def _resample(model: Model, threshold: float) -> Narrow:
    return lambda normal, generator: resampled(normal, threshold, generator)


def _scale(model: Model, sigma: float) -> Narrow:
    if model.header["recipe"]["method"].get("prior") == "sphere":
        raise UserError("the model draws from a sphere, which undoes any scale: truncate by mean")
    return lambda normal, generator: scaled(normal, sigma)


def _towards_mean(model: Model, psi: float) -> Narrow:
    if model.header["recipe"]["method"].get("categories"):
        raise UserError("the model's categories have no mean: truncate by resample or scale")
    G, mean = model.nets["G"], _mean_latent(model).to(model.device)
    model.nets["G"] = _Narrowed(G, mean, psi)
    return lambda normal, generator: normal


TRUNCATIONS: dict[str, Callable[[Model, float], Narrow]] = {
    "resample": _resample,
    "scale": _scale,
    "mean": _towards_mean,
}
"""See ``gan_core.latents``: BigGAN's paper's, its published code's, and StyleGAN's, which is done
to what the generator is fed, after a prior and a mapping network. The smaller the number, the
narrower.
"""


class _Narrowed(nn.Module):
    """G, fed what lies psi times as far from the mean."""

    def __init__(self, G: nn.Module, mean: Tensor, psi: float) -> None:
        super().__init__()
        self.G, self.mean, self.psi, self.latent = G, mean, psi, G.latent

    def forward(self, w: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.G(towards_mean(w, self.mean, self.psi), labels)


class _Fed(nn.Module):
    """In place of G: what G would be fed."""

    def forward(self, w: Tensor, labels: Tensor | None = None) -> Tensor:
        return w


def _mean_latent(model: Model) -> Tensor:
    """The mean [n] of what G is fed; 0 under every prior, whose draws come with their opposites."""
    normal = torch.randn(4096, latent_of(model.nets["G"]), generator=_generator(0, 0, 3))
    G, model.nets["G"] = model.nets["G"], _Fed()
    mean = model.generate(torch.cat([normal, -normal])).mean(0)
    model.nets["G"] = G
    return mean


# ------------------------------------------------------------------------------------------- files


def save(
    sampler: Sampler,
    out: Path,
    labels: Sequence[int],
    count: int,
    seed: int,
    done: Callable[[int], None] = lambda count: None,
) -> str:
    """Draw ``count`` of each label: into a picture file, a row of them for each class or, without
    classes, in near a square; else into a folder. Points go into a scatter, or a list as .csv,
    lines of text into a .txt.

    Returns how much of what was made, in words.
    """
    if sampler.makes in LISTED:
        LISTED[sampler.makes](sampler, out, count, seed, done)
        return f"{count} {'lines' if sampler.makes == 'text' else 'points'}"
    as_grid, rows = names_file(out, SUFFIXES), []
    for label in labels:
        row = []
        folder = out / sampler.classes[label] if sampler.classes else out
        for number, image in enumerate(sampler.draw(label, count, seed)):
            if as_grid:
                row.append(image)
            else:
                write(folder / f"{number:05}.png", image)
            done(1)
        rows.append(row)
    if as_grid:
        write_grid(out, rows if sampler.classes else _square(rows[0]))
    of = f" of {len(labels)} classes" if sampler.classes else ""
    return f"{len(labels) * count} pictures{of}"


def _square(row: list[np.ndarray]) -> list[list[np.ndarray]]:
    side = math.isqrt(len(row) - 1) + 1
    return [row[start : start + side] for start in range(0, len(row), side)]


def _save_points(
    sampler: Sampler, out: Path, count: int, seed: int, done: Callable[[int], None]
) -> None:
    if not names_file(out, (*SUFFIXES, ".csv")):
        raise UserError(f"{out}: the model makes points: name a picture to show them, or a .csv")
    made = []
    for normal in sampler.normals(0, count, seed):
        made.append(sampler.made(normal, 0))
        done(1)
    points = torch.cat(made)
    if out.suffix.lower() == ".csv":
        text = io.StringIO()
        np.savetxt(text, points.numpy(), fmt="%.6g", delimiter=",", header="x,y", comments="")
        write_whole(out, lambda file: file.write(text.getvalue().encode()))
        return
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    scatter(picture, points, COLOURS[0])
    write_grid(out, [[picture]])


def _save_lines(
    sampler: Sampler, out: Path, count: int, seed: int, done: Callable[[int], None]
) -> None:
    if not names_file(out, (".txt",)):
        raise UserError(f"{out}: the model makes text: name a .txt")
    made = []
    for line in sampler.lines(count, seed):
        made.append(line + "\n")
        done(1)
    write_whole(out, lambda file: file.write("".join(made).encode()))


LISTED = {"points": _save_points, "text": _save_lines}
"""What is made besides pictures: the layout's kind -> how it is saved, all into one file."""


def _check(classes: list[str], known: int) -> None:
    """A model may come from anywhere, and pictures go to folders of these names."""
    if len(classes) != known:
        raise ValueError(f"{len(classes)} classes are named, the network knows {known}")
    for name in classes:
        if Path(name).name != name or not name or name.startswith("."):
            raise ValueError(f"class {name!r} is no folder's name")


def _check_characters(characters: str, known: int) -> None:
    if len(characters) != known:
        raise ValueError(f"{len(characters)} characters are named, the network knows {known}")


def _generator(*numbers: int) -> torch.Generator:
    state = np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> 1))
