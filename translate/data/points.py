"""Points in the plane: {"image": [B, 2]}. The toys on which a critic's shape can be seen.

Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", figure 1, with the constants of the
authors' ``gan_toy.py``, whose divisors 1.414 and 2.828 bring the spread to about 1. A deviation:
each Gaussian of a mixture has as many points as the others ("8gaussians" are drawn at random there,
and anew for every batch, as is the roll).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from gan_core.metrics import sliced_distance
from translate.data.dataset import Entry, Seed, Stream

SIDE, LIMIT = 512, 2.5  # a scatter's side in pixels, and the coordinate at its edge
GREY = (170, 170, 170)
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))


@dataclass(frozen=True)
class Distribution:
    """draw: (count, generator) -> [count, 2]; figures: name -> (held out, made) -> number."""

    draw: Callable[[int, np.random.Generator], np.ndarray]
    figures: Mapping[str, Callable[[Tensor, Tensor], float]]


def swiss_roll(count: int, rng: np.random.Generator) -> np.ndarray:
    """(t cos t, t sin t) with t uniform in [1.5 pi, 4.5 pi), plus N(0, .25^2), over 7.5.

    Two of the three coordinates of the usual Swiss roll.
    """
    t = rng.uniform(1.5 * np.pi, 4.5 * np.pi, count)
    roll = t * np.stack([np.cos(t), np.sin(t)])
    return (roll.T + 0.25 * rng.standard_normal((count, 2))) / 7.5


def mixture(centres: np.ndarray, sigma: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Normal clouds around ``centres`` [M, 2], in random order, of equal sizes up to one point."""
    which = rng.permutation(count) % len(centres)
    return centres[which] + sigma * rng.standard_normal((count, 2))


def modes(centres: np.ndarray, sigma: float, real: Tensor, made: Tensor) -> float:
    """How many centres have, within 3 sigma, a tenth of an equal share of the made points."""
    share = _near(centres, sigma, made).mean(0)
    return float((share >= 0.1 / len(centres)).sum())


def quality(centres: np.ndarray, sigma: float, real: Tensor, made: Tensor) -> float:
    """Share of the made points within 3 sigma of a centre; 1 - exp(-4.5) = 0.989 of the real."""
    return float(_near(centres, sigma, made).amax(1).mean())


def _near(centres: np.ndarray, sigma: float, points: Tensor) -> Tensor:
    """[N, M]: 1 where point n lies within 3 sigma of centre m, else 0."""
    away = points[:, None].double() - torch.from_numpy(centres)
    return (away.norm(dim=2) <= 3 * sigma).double()


def wasserstein(real: Tensor, made: Tensor) -> float:
    """Sliced Wasserstein-1 distance, in the points' unit: mean over 64 evenly spaced directions.

    Of as many points as the fewer.
    """
    count = min(len(real), len(made))
    angles = torch.arange(64) * (torch.pi / 64)
    directions = torch.stack([angles.cos(), angles.sin()], 1)
    return sliced_distance(real[:count], made[:count], directions)


def _gaussians(centres: np.ndarray, sigma: float) -> Distribution:
    figures = {"modes": partial(modes, centres, sigma), "quality": partial(quality, centres, sigma)}
    return Distribution(partial(mixture, centres, sigma), {"wasserstein": wasserstein, **figures})


_TURNS = np.arange(8) * np.pi / 4
_RING = 2 * np.stack([np.cos(_TURNS), np.sin(_TURNS)], 1)
_GRID = 2.0 * np.mgrid[-2:3, -2:3].reshape(2, 25).T

DISTRIBUTIONS = {
    "8gaussians": _gaussians(_RING / 1.414, 0.02 / 1.414),
    "25gaussians": _gaussians(_GRID / 2.828, 0.05 / 2.828),
    "swissroll": Distribution(swiss_roll, {"wasserstein": wasserstein}),
}


class Points:
    """distribution: eight Gaussians on a circle, 25 on a grid, or a spiral with noise.

    points: how many are drawn to train on, and again to judge by: the same ones in every run.
    """

    wanted: ClassVar = "no folder: the points are drawn as data.distribution says"

    keeps_sizes, squares = False, False

    def __init__(
        self,
        *,
        distribution: Literal["8gaussians", "25gaussians", "swissroll"] = "8gaussians",
        points: int = 100_000,
    ) -> None:
        if points < 1:
            raise ValueError(f"points must be 1 or more, not {points}")
        chosen = DISTRIBUTIONS[distribution]
        self.figures = chosen.figures
        self.title: tuple[str, ...] = (distribution,)
        self.names: dict[str, str] = {"image": distribution}
        self.channels = self.channels_of({})
        self.found: dict[str, Any] = {}
        entries = [Entry((), number) for number in range(points)]
        self.streams, self.held_out = (
            [Stream(distribution, entries, partial(_row, _drawn(chosen, points, seed)))]
            for seed in (0, 1)
        )

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        return {"image": 2}

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"image": torch.empty(2, 2)}

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return {"distribution": self.title[0]}

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return made

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        """All rows in one scatter: those of the batch grey, those made each in a colour."""
        picture, colours = np.full((SIDE, SIDE, 3), 255, np.uint8), cycle(COLOURS)
        for row, points in rows.items():
            scatter(picture, points, GREY if row in self.names else next(colours))
        return picture


def scatter(picture: np.ndarray, points: Tensor, colour: tuple[int, int, int]) -> None:
    """Draw points [N, 2] as dots: x to the right, y up; those beyond LIMIT lie on the edge."""
    unit = SIDE / (2 * LIMIT)  # pixels
    places = (points.clamp(-LIMIT, LIMIT) * torch.tensor([1.0, -1.0]) + LIMIT) * unit - 0.5
    for x, y in (places * 16).round().int().tolist():  # 4 binary places
        cv2.circle(picture, (x, y), 28, colour, cv2.FILLED, cv2.LINE_AA, shift=4)


def _drawn(chosen: Distribution, count: int, seed: int) -> Tensor:
    return torch.from_numpy(chosen.draw(count, np.random.default_rng(seed))).float()


def _row(points: Tensor, entry: Entry, seed: Seed) -> dict[str, Tensor]:
    return {"image": points[entry.label]}
