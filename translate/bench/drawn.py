"""Pictures to measure with, drawn by the toolkit itself."""

from pathlib import Path

import cv2
import numpy as np

from translate.data.image import resize
from translate.data.scene import photo

SCENES = 4  # drawn; the other pictures are these, mirrored and shifted
LARGEST = 512  # side that a scene is drawn at; larger pictures are enlarged
GRAIN = 4.0  # standard deviation of the noise of a camera, of 255: a clean drawing decodes too fast


def draw(folder: Path, count: int, side: int, suffix: str) -> list[Path]:
    """``count`` pictures of side x side pixels in a new folder, the same ones every time."""
    folder.mkdir(parents=True)
    drawn = min(side, LARGEST)
    scenes = [photo(np.random.default_rng(n), drawn) for n in range(min(count, SCENES))]
    paths = []
    for number in range(count):
        rng = np.random.default_rng([number, side])
        scene = np.roll(scenes[number % len(scenes)], int(rng.integers(drawn)), axis=1)
        scene = scene[:, :: 1 if rng.random() < 0.5 else -1]
        picture = resize(np.ascontiguousarray(scene), side, side)
        picture = picture + rng.normal(0, GRAIN, picture.shape).astype(np.float32)
        picture = np.rint(picture.clip(0, 255)).astype(np.uint8)
        paths.append(folder / f"{number:04d}{suffix}")
        if not cv2.imwrite(str(paths[-1]), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
            raise OSError(f"{paths[-1]} could not be written")
    return paths
