"""A data set to try unpaired translation with, before one has pictures of one's own."""

from pathlib import Path

import numpy as np

from translate.data.image import write
from translate.data.scene import photo
from translate.data.sketch import check_style, sketch
from translate.errors import UserError


def draw(
    directory: Path,
    *,
    count: int = 200,
    test: int = 20,
    size: int = 128,
    style: str = "ink",
    seed: int = 0,
) -> None:
    """Write a data set of two domains: line drawings and colour pictures.

    directory: new or empty, else UserError. It receives
        sketches/sketch-0000.png ...  and  photos/photo-0000.png ...: unpaired, since the sketches
            are made from other photos than the ones beside them;
        test/sketches/0000.png ...  and  test/photos/0000.png ...: the drawing and the picture of
            one name belong together, so that a translation can be judged.
    count: pictures in each domain. test: pairs for judging. size: their side in pixels.
    style: how the sketches are drawn, a key of `translate.data.sketch.STYLES`.
    seed: 0 or more. A picture depends on (seed, training or test, domain, its number) and size
        alone: a larger data set begins with the smaller one.
    """
    check_style(style)
    if directory.exists() and not directory.is_dir():
        raise UserError(f"{directory} is a file: name a new folder")
    if directory.is_dir() and any(directory.iterdir()):
        raise UserError(f"{directory} exists and is not empty: name a new folder")
    sketches, photos = directory / "sketches", directory / "photos"
    test_sketches, test_photos = directory / "test" / "sketches", directory / "test" / "photos"
    for index in range(count):
        hidden = photo(np.random.default_rng((seed, 0, 0, index)), size)
        write(sketches / f"sketch-{index:04d}.png", sketch(hidden, style)[..., None])
        shown = photo(np.random.default_rng((seed, 0, 1, index)), size)
        write(photos / f"photo-{index:04d}.png", shown)
    for index in range(test):
        both = photo(np.random.default_rng((seed, 1, 0, index)), size)
        write(test_sketches / f"{index:04d}.png", sketch(both, style)[..., None])
        write(test_photos / f"{index:04d}.png", both)
