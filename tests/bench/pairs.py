"""pix2pix on real pairs, from data to judgement, in one command.

    python tests/bench/pairs.py photos DATA WORK     nuclei: label maps to microscopy photos
    python tests/bench/pairs.py labels DATA WORK     nuclei: photos to label maps
    python tests/bench/pairs.py emoji DATA WORK      drawn edges to emoji, with their alpha

DATA is the folder of nuclei (train/ and test/, each with labels/ and photos/) or of emoji (train/
and test/). WORK is a new folder that everything is written to. All are judged on the test folder
at the training size, mean over pictures, values in 0..1:

    made      L1 and SSIM of what the model makes to the true picture
    mean      the same of the mean training target
    nearest   the same of the target whose own input is nearest to the test input (mean square)
    own size  (nuclei) the same of the test pictures at their own sizes, by what --at said; "" is
              the default, the square that was trained on

and label maps by the share of pixels of the right class (nucleus or not, at one half), beside the
share that the more frequent class has. Emoji are compared on white; "alpha" is the intersection
over union of what is opaque.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import load, nearest, report, shrink, translate
from kornia.metrics import ssim

from translate.data.image import find, read, with_channels

Figures = dict[str, Any]


def likeness(real: np.ndarray, made: np.ndarray) -> Figures:
    a, b = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in (real, made))
    return {"l1": float((a - b).abs().mean()), "ssim": float(ssim(a, b, 11).mean())}


def at_own_size(work: Path, test: tuple[Path, Path], name: str, words: tuple[Any, ...]) -> Figures:
    """Mean over pictures, which may differ in size."""
    target = work / f"own-size{name}"
    translate("convert", work / "run", test[0], target, *words)
    found = [
        likeness(*(with_channels(read(p), 3)[None].astype(np.float32) / 255 for p in pair))
        for pair in zip(find(test[1]), find(target), strict=True)
    ]
    return {name: float(np.mean([one[name] for one in found])) for name in ("l1", "ssim")}


def opaque(images: np.ndarray) -> np.ndarray:
    return images[..., 3] >= 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=["photos", "labels", "emoji"])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    work, data, size, options = asked.work, asked.data, 128, []
    if asked.task == "emoji":
        size, options = 64, ["--set", "data.channels=[1, 4]", "--batch-size", 8]
        folders = {}
        for part in ("train", "test"):
            shutil.copytree(data / part, work / part / "emoji")
            translate("data", "sketch", work / part / "emoji", work / part / "edges")
            folders[part] = (work / part / "edges", work / part / "emoji")
    else:
        source = {"photos": "labels", "labels": "photos"}[asked.task]
        folders = {p: (data / p / source, data / p / asked.task) for p in ("train", "test")}
    translate(
        *("train", "pix2pix", "--recipe", "pix2pix-small", "--domains", *folders["train"]),
        *("--out", work / "run", "--size", size, "--steps", asked.steps, "--seed", asked.seed),
        *options,
    )
    inputs = shrink(folders["test"][0], work / "inputs", size)
    translate("convert", work / "run", inputs, work / "made")

    real_paths, input_paths = find(folders["test"][1]), find(inputs)
    train_inputs, train_targets = map(find, folders["train"])
    theirs = nearest(load(input_paths, size, 1), load(train_inputs, size, 1))
    nearby = [train_targets[i] for i in theirs]
    figures: Figures = {"task": asked.task, "steps": asked.steps, "seed": asked.seed}
    real, made = load(real_paths, size, 3), load(find(work / "made"), size, 3)
    mean = load(train_targets, size, 3).mean(axis=0, keepdims=True).repeat(len(real), axis=0)
    figures["made"] = likeness(real, made)
    figures["mean"] = likeness(real, mean)
    figures["nearest"] = likeness(real, load(nearby, size, 3))
    if asked.task != "emoji":
        views: dict[str, tuple[Any, ...]] = {
            "": (),
            f"--at {size}": ("--at", size),
            "--at 0": ("--at", 0),
        }
        figures["own size"] = {
            name: at_own_size(work, folders["test"], name, words) for name, words in views.items()
        }
    if asked.task == "labels":
        inside = real >= 0.5
        figures["right"] = float((inside == (made >= 0.5)).mean())
        figures["majority"] = float(max(inside.mean(), 1 - inside.mean()))
    if asked.task == "emoji":
        a, b = (opaque(load(p, size, 4)) for p in (real_paths, find(work / "made")))
        figures["alpha"] = float((a & b).sum() / (a | b).sum())
    report(work, figures)


if __name__ == "__main__":
    main()
