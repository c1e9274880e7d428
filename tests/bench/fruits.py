"""CycleGAN on real fruit, from data to judgement, in one command.

    python tests/bench/fruits.py sketches DATA WORK      sketches of apples to apples
    python tests/bench/fruits.py tomatoes DATA WORK      apples to tomatoes

DATA holds train/ and test/, each with apples/ and tomatoes/ (photos of Fruits-360). WORK is a new
folder that everything is written to. The training apples are split in two, every second file: the
sketches are drawn from one half, the photos are the other. Judged on the test folder at the
training size:

    share     sliced Wasserstein distance of the translations to the real test photos, as a share
              of the distance that the untranslated pictures have
    floor     the same for as many other real photos (training ones that the run did not judge by)
    mean      the same for the mean training photo, repeated
    kept      share of pictures that, drawn again, are nearer to their own sketch (mean squared
              difference) than to any other test sketch
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from common import report, translate

from gan_core.metrics import sliced_wasserstein
from translate.data.image import find, read, resize, with_channels
from translate.data.sketch import drawing
from translate.data.tensors import to_tensor

SIZE = 64


def halves(folder: Path, first: Path, second: Path) -> None:
    for position, path in enumerate(find(folder)):
        target = first if position % 2 else second
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target / path.name)


def load(folder: Path, limit: int = 100) -> np.ndarray:
    """Up to ``limit`` pictures, evenly spaced over the folder's order: uint8 [N, SIZE, SIZE, 3]."""
    paths = find(folder)
    paths = paths[:: max(1, len(paths) // limit)][:limit]
    return np.stack([resize(with_channels(read(path), 3), SIZE, SIZE) for path in paths])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    stack_a, stack_b = (torch.stack([to_tensor(image) for image in images]) for images in (a, b))
    return sliced_wasserstein(stack_a, stack_b).mean


def shares(real: np.ndarray, sources: np.ndarray, made: np.ndarray, train: Path) -> dict:
    others = load(train)
    mean = np.rint(load(train, 1000).mean(axis=0)).astype(np.uint8)
    own = distance(real, sources)
    return {
        "own distance": own,
        "share": distance(real, made) / own,
        "floor": distance(real, others) / own,
        "mean": distance(real, np.repeat(mean[None], len(real), axis=0)) / own,
    }


def kept(sketches: np.ndarray, made: np.ndarray, style: str) -> float:
    again = np.stack([drawing(image, style)[..., 0] for image in made]).astype(np.float32)
    given = sketches[..., 0].astype(np.float32)
    apart = np.square(again[:, None] - given[None]).mean(axis=(2, 3))
    return float((apart.argmin(axis=1) == np.arange(len(made))).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=["sketches", "tomatoes"])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--style", default="pencil")
    parser.add_argument("--recipe", default="cyclegan-small")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    work, data = asked.work, asked.data
    source, target = work / "train" / "sources", data / "train" / "tomatoes"
    test, real = work / "test", data / "test" / "tomatoes"
    if asked.task == "sketches":
        target, real = work / "train" / "photos", data / "test" / "apples"
        halves(data / "train" / "apples", work / "train" / "drawn-from", target)
        translate("data", "sketch", work / "train" / "drawn-from", source, "--style", asked.style)
        translate("data", "sketch", data / "test" / "apples", test, "--style", asked.style)
    else:
        shutil.copytree(data / "train" / "apples", source)
        shutil.copytree(data / "test" / "apples", test)
    common = ["--recipe", asked.recipe, "--seed", asked.seed]
    translate("train", "cyclegan", "--domains", source, target, "--out", work / "run", *common)
    translate("convert", work / "run", test, work / "made")
    sources, made = load(test), load(work / "made")
    figures = {"task": asked.task, "recipe": asked.recipe, "seed": asked.seed}
    figures |= shares(load(real), sources, made, target)
    if asked.task == "sketches":
        figures |= {"style": asked.style, "kept": kept(sources, made, asked.style)}
    report(work, figures)


if __name__ == "__main__":
    main()
