"""From a picture of any size to a training sample: geometry, and augmentation by albumentations.

Pictures are arrays [H, W, C] as in ``translate.data.image``. Every choice is drawn from the
generator that is handed in, so that a sample is a function of its seed; two pictures of one size
that are handed equally seeded generators get one geometry.
"""

import inspect
import os
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from translate.data.image import resize
from translate.errors import UserError, nearest

Rng = np.random.Generator | None  # None: the deterministic form, whatever is cropped is centred
Sides = tuple[int, int]  # height and width


def _crop(image: np.ndarray, sides: Sides, rng: Rng) -> np.ndarray:
    height, width = sides
    free = (image.shape[0] - height, image.shape[1] - width)
    if min(free) < 0:
        raise ValueError(f"no {width} x {height} crop fits: load_sides must be at least sides")
    top, left = (side // 2 if rng is None else int(rng.integers(side + 1)) for side in free)
    return image[top : top + height, left : left + width]


def _cover(image: np.ndarray, sides: Sides) -> np.ndarray:
    """Enlarged in proportion until both sides have their pixels; as it is where they have."""
    height, width = image.shape[:2]
    scale = max(1.0, sides[0] / height, sides[1] / width)
    return resize(image, round(height * scale), round(width * scale))


def resize_crop(image: np.ndarray, sides: Sides, load_sides: Sides, rng: Rng) -> np.ndarray:
    """The CycleGAN paper's: to load_sides, out of proportion, then a crop."""
    return _crop(resize(image, *load_sides), sides, rng)


def crop(image: np.ndarray, sides: Sides, load_sides: Sides, rng: Rng) -> np.ndarray:
    """A crop at the picture's own scale; a smaller picture is enlarged first."""
    return _crop(_cover(image, sides), sides, rng)


def scale_width(image: np.ndarray, sides: Sides, load_sides: Sides, rng: Rng) -> np.ndarray:
    """As wide as load_sides, in proportion but at least as high as ``sides``, then a crop."""
    width = load_sides[1]
    height = max(sides[0], round(width * image.shape[0] / image.shape[1]))
    return _crop(resize(image, height, width), sides, rng)


def pad(image: np.ndarray, sides: Sides, load_sides: Sides, rng: Rng) -> np.ndarray:
    """All of the picture, in proportion, centred; its border pixels go on to the edges.

    They suit any ground, a drawing's white too, which a reflection would fill with strokes.
    """
    scale = min(sides[0] / image.shape[0], sides[1] / image.shape[1])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    top, left = (sides[0] - height) // 2, (sides[1] - width) // 2
    margins = ((top, sides[0] - height - top), (left, sides[1] - width - left), (0, 0))
    return np.pad(resize(image, height, width), margins, mode="edge")


def none(image: np.ndarray, sides: Sides, load_sides: Sides, rng: Rng) -> np.ndarray:
    """The picture at its own size, trimmed around the centre to sides that 4 divides."""
    image = _cover(image, (4, 4))
    return _crop(image, (image.shape[0] // 4 * 4, image.shape[1] // 4 * 4), None)


PREPROCESS: dict[str, Callable[[np.ndarray, Sides, Sides, Rng], np.ndarray]] = {
    "resize_crop": resize_crop,
    "crop": crop,
    "scale_width": scale_width,
    "pad": pad,
    "none": none,
}
"""name -> (image, sides, load_sides, rng) -> [*sides, C], except "none"; load_sides >= sides.

With rng None the crop is the centre's, the form to judge by.
"""


def flip_half(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirrored left to right with probability 1/2."""
    return image[:, ::-1] if rng.random() < 0.5 else image


def augmenter(
    steps: list[dict[str, Any]],
) -> Callable[[np.ndarray, np.random.Generator, bool], np.ndarray]:
    """albumentations transforms, in order, as (image, rng, colours) -> image of one size and type.

    Pictures of one size under equally seeded generators get one geometry; with ``colours`` False
    the transforms that change pixels in their places, as noise and blur do, are left out.

    steps: tables like {"transform": "ColorJitter", "brightness": [0.8, 1.2], "p": 0.5}: the name of
        a transform and its arguments. 16-bit pictures go through them as float32 in [0, 1].
    Raises ValueError for an unknown transform or argument, with the nearest, and for a value that
    the transform refuses; the result raises it when a picture's size or type changes.
    """
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would ask the network for news
    return partial(_augment, [_transform(step) for step in steps])


def _transform(step: dict[str, Any]) -> Any:
    import albumentations

    known = {
        name: cls
        for name, cls in inspect.getmembers(albumentations, inspect.isclass)
        if issubclass(cls, albumentations.BasicTransform) and ".core." not in cls.__module__
    }
    arguments = dict(step)
    name = str(arguments.pop("transform", ""))
    if name not in known:
        raise ValueError(f"no albumentations transform {name!r}{nearest(name, known)}")
    possible = inspect.signature(known[name]).parameters
    for argument in arguments:  # albumentations only warns, and goes on with its defaults
        if argument not in possible:
            raise ValueError(f"{name} has no argument {argument!r}{nearest(argument, possible)}")
    try:
        return known[name](**arguments)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {_first_reason(error)}") from error


def _first_reason(error: Exception) -> str:
    """One line for pydantic's many: the argument, and what is wrong with it."""
    from pydantic import ValidationError

    if not isinstance(error.__cause__, ValidationError):
        return str(error)
    reason = error.__cause__.errors()[0]
    return " ".join([*map(str, reason["loc"][:1]), reason["msg"]])


def _augment(
    transforms: list[Any], image: np.ndarray, rng: np.random.Generator, colours: bool = True
) -> np.ndarray:
    import albumentations

    # A Compose seeded once gives each of its transforms the same stream, and each worker the same
    # streams again: transforms and samples would be copies of each other. So each is seeded by
    # sample and place, which also keeps geometry the same when others are left out.
    base = int(rng.integers(2**63))
    deep = image.dtype == np.uint16
    result = image / np.float32(65535) if deep else np.ascontiguousarray(image)
    for place, transform in enumerate(transforms):
        if colours or not isinstance(transform, albumentations.ImageOnlyTransform):
            seeded = np.random.default_rng([base, place])
            transform.set_random_state(seeded, random.Random(int(seeded.integers(2**63))))
            try:
                result = transform(image=result)["image"]
            except (TypeError, ValueError) as error:  # some take colour only
                raise UserError(f"{type(transform).__name__}: {error}") from error
    if deep:
        result = np.rint(result.clip(0, 1) * 65535).astype(np.uint16)
    if result.shape != image.shape or result.dtype != image.dtype:
        names = ", ".join(type(transform).__name__ for transform in transforms)
        raise ValueError(
            f"augmentation must keep size and type, but {names} made {result.shape} of "
            f"{result.dtype} out of {image.shape} of {image.dtype}"
        )
    return result
