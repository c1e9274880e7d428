"""cGAN on real faces by person, from data to judgement, in one command.

    python tests/bench/faces.py DATA WORK [--condition projection]

DATA holds the ORL faces, s<person>_<number>.pgm. WORK is a new folder that everything is written
to. The model is trained on all of them; ten samples of each person are then drawn.

    right     share of samples whose nearest training face (Euclidean) is of the person asked for
    chance    one by the number of persons
    spread    mean distance between samples of one person, as a share of that between real faces
              of one person: 0 where all samples are one picture
    copied    mean distance of a sample to the nearest training face, as a share of that of a real
              face to the nearest other: near 0 where samples are copies
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from common import report, translate

from translate.data.image import find, read, with_channels
from translate.data.preparation import Preparation

SIZE = 32


def load(folder: Path, as_trained: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [N, SIZE * SIZE] in 0..1, and the number of each one's sub-folder."""
    prepare = Preparation(size=SIZE, load_ratio=1.125)
    paths = find(folder)
    names = sorted({path.parent.name for path in paths})
    images = [with_channels(read(path), 1) for path in paths]
    if as_trained:
        images = [prepare(image, None) for image in images]
    labels = [names.index(path.parent.name) for path in paths]
    return np.stack(images).reshape(len(paths), -1) / 255.0, np.array(labels)


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def within(images: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance between different pictures of one class."""
    apart, same = distances(images, images), labels[:, None] == labels[None]
    return float(apart[same & ~np.eye(len(images), dtype=bool)].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--condition", default="projection")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    faces = asked.work / "faces"
    for path in find(asked.data):
        person = faces / path.name.split("_")[0]
        person.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, person)
    run, drawn = asked.work / "run", asked.work / "drawn"
    translate(
        *("train", "cgan", "--recipe", "cgan-small", "--images", faces, "--out", run),
        *("--steps", asked.steps, "--seed", asked.seed, "--set", "data.channels=1"),
        *("--set", f"method.condition={asked.condition}"),
    )
    translate("sample", run, "--out", drawn, "--count", 10)
    translate("sample", run, "--out", asked.work / "grid.png", "--count", 10)
    (real, persons), (made, wanted) = load(faces, True), load(drawn, False)
    apart, others = distances(made, real), distances(real, real)
    np.fill_diagonal(others, np.inf)
    report(
        asked.work,
        {
            "condition": asked.condition,
            "steps": asked.steps,
            "seed": asked.seed,
            "right": float((persons[apart.argmin(1)] == wanted).mean()),
            "chance": 1 / len(set(persons)),
            "spread": within(made, wanted) / within(real, persons),
            "copied": float(apart.min(1).mean() / others.min(1).mean()),
        },
    )


if __name__ == "__main__":
    main()
