"""What the experiments share."""

import json
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import torch

from translate.data.image import find, read, resize, with_channels, write


def translate(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "translate", *map(str, words)], check=True)


def load(paths: Sequence[Path], size: int, channels: int) -> np.ndarray:
    """Pictures as float32 [N, size, size, C] in [0, 1]."""
    images = [resize(with_channels(read(path), channels), size, size) for path in paths]
    return np.stack(images).astype(np.float32) / np.iinfo(images[0].dtype).max


def shrink(folder: Path, target: Path, size: int) -> Path:
    for path in find(folder):
        write(target / path.relative_to(folder), resize(read(path), size, size))
    return target


def nearest(of: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Index of the nearest of ``among`` (Euclidean) for each of ``of``."""
    a, b = (torch.from_numpy(x.reshape(len(x), -1)).double() for x in (of, among))
    return torch.cdist(a, b).argmin(1).numpy()


def report(work: Path, figures: dict[str, object]) -> None:
    figures |= {"date": str(date.today()), "torch": torch.__version__}
    text = json.dumps(figures, indent=2)
    (work / "figures.json").write_text(text + "\n", encoding="utf-8")
    print(text)
