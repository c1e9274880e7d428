"""Drawn shapes with known factors, and which of a model's codes stand for which, in one command.

    python tests/bench/shapes.py WORK [--recipe faces-infogan-small] [--steps N] [--set KEY=VALUE]

WORK is a new folder that everything is written to. A model is trained on 2,000 drawn pictures; of
those that it then draws with known codes each factor is measured: position and size of the box
around what is not dark, hue, and kind by the share of the box that is filled (a triangle half of
it, a disc 0.79, a square all).

    correlation   |Pearson's r| of each continuous code with each factor; of a category the root of
                  the share of the factor's variance that lies between its ways (eta)
    drawn         the same of the drawn pictures' true factors: about what can be had
    found         factors that some code stands for, at 0.8 or more
    moved         what changes as all codes of one scale (or without scales: one code) are drawn
                  anew: of each factor the mean change over its deviation, about 1.1 where nothing
                  is kept; and the shares of the squared change in bands of 32, 16, 8 and 4 px
"""

import argparse
import csv
import math
from pathlib import Path

import cv2
import numpy as np
import torch
from common import report, translate

from gan_core.blocks.resampling import down, up
from translate.data.image import find, read, write
from translate.data.tensors import to_image
from translate.sampler import Sampler

SIDE, FINE = 32, 8  # pixels, and how many times as fine shapes are drawn before they are reduced
FACTORS = ("x", "size", "hue", "kind")


def draw(count: int, folder: Path, seed: int = 0) -> np.ndarray:
    """``count`` shapes as 32 px PNGs and factors.csv; returns the factors [count, 4].

    x: centre, as a share of the side; size: half the side of the bounding box, likewise; hue: from
    red (0) to blue (2/3), no circle, which no one number could stand for; kind: 0 triangle, 1 disc,
    2 square. All independent and uniform; on black. All have the same height: a turn of two
    coordinates would tell as much as they do.
    """
    rng = np.random.default_rng(seed)
    factors = rng.uniform((0.25, 0.12, 0, 0), (0.75, 0.25, 2 / 3, 3), (count, 4))
    factors[:, 3] = factors[:, 3].astype(int)
    y = 0.5
    for number, (x, size, hue, kind) in enumerate(factors):
        colour = cv2.cvtColor(np.uint8([[[hue * 180, 200, 255]]]), cv2.COLOR_HSV2RGB)[0, 0].tolist()
        whole = SIDE * FINE
        left, right, top, bottom = (
            round(v * whole) for v in (x - size, x + size, y - size, y + size)
        )
        picture = np.zeros((whole, whole, 3), np.uint8)
        if kind == 1:
            centre = ((left + right) // 2, (top + bottom) // 2)
            cv2.circle(picture, centre, (right - left) // 2, colour, -1)
        else:
            middle = [(left + right) // 2] if kind == 0 else [right, left]
            corners = [(left, bottom), (right, bottom), *((m, top) for m in middle)]
            cv2.fillPoly(picture, [np.array(corners, np.int32)], colour)
        write(
            folder / f"{number:05}.png",
            cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA),
        )
    with (folder / "factors.csv").open("w", newline="") as file:
        rows = [(f"{number:05}.png", *row) for number, row in enumerate(factors.tolist())]
        csv.writer(file).writerows([("file", *FACTORS), *rows])
    return factors


def measure(picture: np.ndarray) -> list[float]:
    """x, size, hue and kind of a picture [H, W, 3] uint8."""
    light = picture.max(2) / 255.0
    solid = np.argwhere(light > 0.5)
    if len(solid) == 0:
        return [0.0] * len(FACTORS)
    (top, left), (bottom, right) = solid.min(0), solid.max(0)
    box = (bottom + 1 - top) * (right + 1 - left)
    hue = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)[:, :, 0] * (math.pi / 90)
    turn = np.angle((np.exp(1j * hue) * light).sum()) % (2 * math.pi)
    # what is a little beyond red is red
    turn = turn if turn < 5 else turn - 2 * math.pi
    return [(left + right) / 2, math.sqrt(box), turn, light.sum() / box]


def related(code: np.ndarray, measured: np.ndarray, ways: int) -> dict[str, float]:
    """How much of each factor the code [N] stands for: |r|, or eta for a category's ways."""

    def share(values: np.ndarray) -> float:
        if values.std() < 1e-9 or code.std() < 1e-9:
            return 0.0
        if not ways:
            return abs(float(np.corrcoef(code, values)[0, 1]))
        means = {way: values[code == way].mean() for way in np.unique(code)}
        return float(np.std([means[way] for way in code]) / values.std())

    return dict(zip(FACTORS, map(share, measured.T), strict=True))


def drawn_with_codes(run: Path, count: int) -> tuple[dict[str, tuple[np.ndarray, int]], np.ndarray]:
    """Of so many of a model's pictures the codes, by name with their ways, and what is measured."""
    sampler = Sampler(run, torch.device("cpu"))
    method = sampler.model.method
    normals = torch.cat(list(sampler.normals(0, count, 0)))
    pictures = torch.cat([sampler.made(part, 0) for part in normals.split(100)])
    codes = method.information.fed(normals, method.prior)[:, -method.information.numbers :].numpy()
    known = {}
    for code in method.codes:
        its = codes[:, code.start : code.start + max(code.ways, 1)]
        known[code.name] = (its.argmax(1) if code.ways else its[:, 0], code.ways)
    return known, np.array([measure(to_image(picture)) for picture in pictures])


def moved(run: Path, count: int) -> dict[str, dict[str, list[float]]]:
    """By group of codes, and for the noise beside them: what it changes, see above."""
    sampler = Sampler(run, torch.device("cpu"))
    method = sampler.model.method
    before, other = (torch.cat(list(sampler.normals(0, count, seed))) for seed in (0, 1))
    first = before.shape[1] - method.information.numbers
    groups: dict[str, list[int]] = {"noise": list(range(first))}
    for code in method.codes:
        columns = range(first + code.start, first + code.start + max(code.ways, 1))
        groups.setdefault(str(code.scale or code.name), []).extend(columns)
    pictures = sampler.made(before, 0)
    factors = np.array([measure(to_image(picture)) for picture in pictures])
    table = {}
    for name, columns in groups.items():
        changed = before.clone()
        changed[:, columns] = other[:, columns]
        again = sampler.made(changed, 0)
        anew = np.array([measure(to_image(picture)) for picture in again])
        table[name] = {
            "factors": (np.abs(anew - factors).mean(0) / factors.std(0)).tolist(),
            "bands": bands(again - pictures),
        }
    return table


def bands(change: torch.Tensor) -> list[float]:
    """Shares of the squared change [N, C, 32, 32] in bands of 32, 16, 8 and 4 px."""
    energies = []
    while change.shape[2] > 4:
        coarse = down(change, 2)
        energies.append((change - up(coarse, 2)).square().mean().item())
        change = coarse
    energies.append(change.square().mean().item())
    return [energy / sum(energies) for energy in energies]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", default="faces-infogan-small")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    shapes, run = asked.work / "shapes", asked.work / "run"
    truth = draw(2000, shapes)
    changes = [word for change in asked.set for word in ("--set", change)]
    length = ("--steps", asked.steps) if asked.steps else ()
    translate(
        *("train", "gan", "--recipe", asked.recipe, "--images", shapes, "--out", run, *length),
        *("--seed", asked.seed, *changes),
    )
    seen = np.array([measure(read(path)) for path in find(shapes)])
    codes, measured = drawn_with_codes(run, asked.count)
    table = {name: related(code, measured, ways) for name, (code, ways) in codes.items()}
    best = {factor: max(row[factor] for row in table.values()) for factor in FACTORS}
    print(f"{'':16}", *(f"{factor:>5}" for factor in FACTORS))
    for name, row in table.items():
        print(f"{name:16}", *(f"{value:5.2f}" for value in row.values()))
    report(
        asked.work,
        {
            "recipe": asked.recipe,
            "changes": asked.set,
            "seed": asked.seed,
            "correlation": table,
            "drawn": {f: related(i, seen, 0)[f] for f, i in zip(FACTORS, truth.T, strict=True)},
            "moved": moved(run, min(asked.count, 200)),
            "found": [factor for factor, value in best.items() if value >= 0.8],
        },
    )


if __name__ == "__main__":
    main()
