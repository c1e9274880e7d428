"""An unconditional system on real pictures, from data to judgement, in one command.

    python tests/bench/systems.py DATA WORK --recipe faces-dcgan-small [--channels 1] [--steps N]

DATA is a folder of pictures. WORK is a new folder that everything is written to. As many pictures
are drawn as were trained on, and held against them as training shows them, cropped and mirrored:
faces lit from one side are another distribution than with their mirror images (SWD 73 on ORL).

    swd        sliced Wasserstein distance x 1e3 to the pictures, of each of "drawn", "mean" (the
               mean picture, repeated), "gaussian" (a normal distribution of all pixels with the
               pictures' mean and covariance), and "again" (the same pictures, cropped and mirrored
               another time: about what can be had)
    ms_ssim    mean MS-SSIM of pairs of drawn pictures, and of real ones: near 1 where all are one
    copied     mean distance of a drawn picture to the nearest real one or its mirror image, as a
               share of that of a real one to the nearest other: near 0 where pictures are copies
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import report, translate
from torch import Tensor

from gan_core.metrics import diversity, nearest_distances, sliced_wasserstein
from translate.data.image import find, read, with_channels
from translate.data.preparation import Preparation
from translate.data.tensors import to_tensor
from translate.recipe import resolve
from translate.recipe_file import read as read_recipe


def load(paths: list[Path], channels: int) -> list[np.ndarray]:
    return [with_channels(read(path), channels) for path in paths]


def shown(images: list[np.ndarray], prepare: Preparation, time: int) -> Tensor:
    """The pictures as training might show them, each cropped and mirrored by chance."""
    return torch.stack([to_tensor(prepare(x, (time, i))) for i, x in enumerate(images)])


def gaussian(real: Tensor) -> Tensor:
    """As many draws of a normal distribution with the pictures' mean and covariance."""
    flat = real.flatten(1)
    centred = flat - flat.mean(0)
    mix = torch.randn(len(real), len(real), generator=torch.Generator().manual_seed(0))
    drawn = flat.mean(0) + mix @ centred / np.sqrt(len(real) - 1)
    return drawn.clamp(-1, 1).reshape(real.shape)


def swd(real: Tensor, made: Tensor) -> float:
    count = min(len(real), len(made))
    return sliced_wasserstein(real[:count], made[:count], smallest=16).mean


def to_another(images: Tensor) -> float:
    """Mean distance of a picture to the nearest other, as ``nearest_distances`` measures it."""
    flat = images.flatten(1)
    apart = torch.cdist(flat, flat).fill_diagonal_(torch.inf).amin(1)
    return float(apart.mean() / flat.shape[1] ** 0.5)


def pairs(images: Tensor) -> float:
    return diversity(images, 1000, torch.Generator().manual_seed(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[])
    asked = parser.parse_args()
    run, drawn = asked.work / "run", asked.work / "drawn"
    changes = [word for change in asked.set for word in ("--set", change)]
    length = ("--steps", asked.steps) if asked.steps else ()
    translate(
        *("train", "gan", "--recipe", asked.recipe, "--images", asked.data, "--out", run),
        *(*length, "--seed", asked.seed, "--set", f"data.channels={asked.channels}", *changes),
    )
    recipe = resolve(read_recipe(str(run / "recipe.toml")), [])
    prepare = Preparation(**recipe.keywords("data", Preparation))
    pictures = load(find(asked.data), asked.channels)
    real = shown(pictures, prepare, 0)
    translate("sample", run, "--out", drawn, "--count", len(real))
    translate("sample", run, "--out", asked.work / "grid.png", "--count", 64)
    made = torch.stack([to_tensor(image) for image in load(find(drawn), asked.channels)])
    plain = torch.stack([to_tensor(prepare(image, None)) for image in pictures])
    known = torch.cat([plain, plain.flip(3)])
    report(
        asked.work,
        {
            "recipe": asked.recipe,
            "steps": json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"],
            "seed": asked.seed,
            "changes": asked.set,
            "swd": {
                "drawn": swd(real, made),
                "mean": swd(real, real.mean(0, keepdim=True).expand_as(real)),
                "gaussian": swd(real, gaussian(real)),
                "again": swd(real, shown(pictures, prepare, 1)),
            },
            "ms_ssim": {"drawn": pairs(made), "real": pairs(real)},
            "copied": float(nearest_distances(made, known)[0].mean()) / to_another(plain),
        },
    )


if __name__ == "__main__":
    main()
