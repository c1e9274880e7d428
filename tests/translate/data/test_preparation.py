from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.data.header import BrokenImage
from translate.data.image import resize, write
from translate.data.preparation import Preparation
from translate.data.tensors import to_tensor
from translate.data.transforms import PREPROCESS


def places(height: int, width: int) -> np.ndarray:
    """Each pixel holds its row and column, 16 apart, and a number that no border has."""
    grid = np.mgrid[:height, :width].transpose(1, 2, 0) * 16 + 8
    return np.dstack([grid, np.full((height, width), 200)]).astype(np.uint8)


def swapped(image: np.ndarray) -> np.ndarray:
    """Another picture of the same scene: rows stand where columns did."""
    return image[..., [1, 0, 2]]


def test_a_sample_of_the_papers() -> None:
    """286 x 286, then a crop of 256 x 256."""
    prepare = Preparation(flip=False)
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 1), np.uint8)
    large = resize(image, 286, 286)
    np.testing.assert_array_equal(prepare(image, None), large[15:271, 15:271])
    sample = prepare(image, (1, 2))
    crops = np.lib.stride_tricks.sliding_window_view(large[..., 0], (256, 256))
    tops, lefts = np.nonzero((crops[..., 0, :9] == sample[0, :9, 0]).all(axis=2))
    assert len(tops) == 1
    assert (tops[0], lefts[0]) != (15, 15)  # a chance of 1 in 961
    np.testing.assert_array_equal(crops[tops[0], lefts[0]], sample[..., 0])


@pytest.mark.parametrize("name", [name for name in PREPROCESS if name != "none"])
def test_to_judge_by_only_the_size_is_changed(name: Any) -> None:
    augment = ({"transform": "InvertImg", "p": 1.0}, {"transform": "VerticalFlip", "p": 1.0})
    prepare = Preparation(size=8, load_ratio=1.25, preprocess=name, augment=augment)
    image = places(16, 12)
    np.testing.assert_array_equal(
        prepare(image, None), PREPROCESS[name](image, (8, 8), (10, 10), None)
    )
    assert not np.array_equal(prepare(image, (0,)), prepare(image, None))


def test_a_sample_is_a_function_of_its_seed() -> None:
    augment = ({"transform": "GaussNoise", "p": 1.0}, {"transform": "Affine", "p": 0.5})
    one, two = (Preparation(size=8, load_ratio=2.0, augment=augment) for _ in range(2))
    image = places(16, 16)
    forward = [one(image, (0, at)) for at in range(12)]
    backward = [two(image, (0, at)) for at in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)
    assert len({sample.tobytes() for sample in forward}) == 12


@pytest.mark.parametrize(("flip", "low", "high"), [(True, 70, 130), (False, 0, 0)])
def test_half_of_the_pictures_are_mirrored(flip: bool, low: int, high: int) -> None:
    prepare, image = Preparation(size=8, load_ratio=1.0, flip=flip), places(8, 8)
    mirrored = 0
    for at in range(200):
        sample = prepare(image, (at,))
        assert np.array_equal(sample, image) or np.array_equal(sample, image[:, ::-1])
        mirrored += not np.array_equal(sample, image)
    assert low <= mirrored <= high


GEOMETRY: list[tuple[dict[str, Any], ...]] = [
    (),
    ({"transform": "HorizontalFlip", "p": 0.5}, {"transform": "VerticalFlip", "p": 0.5}),
    ({"transform": "RandomRotate90", "p": 0.7}, {"transform": "Transpose", "p": 0.5}),
    ({"transform": "D4", "p": 0.9},),
    (
        {
            "transform": "Affine",
            "rotate": [-40, 40],
            "scale": [0.8, 1.2],
            "shear": [-9, 9],
            "p": 0.8,
        },
    ),
    ({"transform": "Perspective", "p": 0.7}, {"transform": "ElasticTransform", "p": 0.7}),
    ({"transform": "GridDistortion", "p": 0.9}, {"transform": "CoarseDropout", "p": 0.5}),
]


@pytest.mark.parametrize(
    "augment", GEOMETRY, ids=lambda steps: "-".join(s["transform"] for s in steps)
)
@pytest.mark.parametrize("name", PREPROCESS)
def test_one_seed_gives_one_geometry(name: Any, augment: tuple[dict[str, Any], ...]) -> None:
    """Exactly, and of other channels; colours are left out of one, and there are none."""
    prepare = Preparation(size=8, load_ratio=1.5, preprocess=name, augment=augment)
    image, shapes = places(16, 16), set()
    for at in range(8):
        sample = prepare(image, (0, at))
        other = prepare(swapped(image), (0, at), colours=False)
        np.testing.assert_array_equal(other, swapped(sample))
        np.testing.assert_array_equal(prepare(image[..., 1:2], (0, at)), sample[..., 1:2])
        shapes.add(sample.tobytes())
    assert len(shapes) >= 2


def test_colours_left_out_leave_geometry_as_it_is() -> None:
    """Every kind of change in place, between changes of geometry."""
    augment = (
        {"transform": "RandomRotate90", "p": 0.5},
        {"transform": "GaussNoise", "p": 0.5},
        {"transform": "Affine", "rotate": [-40, 40], "p": 0.5},
        {"transform": "ColorJitter", "p": 0.5},
        {"transform": "GaussianBlur", "p": 0.5},
        {"transform": "VerticalFlip", "p": 0.5},
    )
    in_place = {"GaussNoise", "ColorJitter", "GaussianBlur"}
    still = tuple(a | {"p": 0.0} if a["transform"] in in_place else a for a in augment)
    coloured, plain = (Preparation(size=8, load_ratio=2.0, augment=a) for a in (augment, still))
    image, changed = places(16, 16), 0
    for at in range(40):
        expected = plain(image, (7, at))
        np.testing.assert_array_equal(coloured(image, (7, at), colours=False), expected)
        changed += not np.array_equal(coloured(image, (7, at)), expected)
    assert 29 <= changed <= 39  # 7 in 8 of them: 35 +- 2


def test_what_is_told_to_the_data_set() -> None:
    assert Preparation(preprocess="none").keeps_sizes
    assert not Preparation(preprocess="crop").keeps_sizes
    assert Preparation(size=100, load_ratio=1.126).load_sides == (113, 113)
    assert Preparation().squares
    assert not Preparation(preprocess="crop").squares  # shows a part
    assert not Preparation(aspect=(1, 2)).squares
    assert not Preparation(aspect=(2, 2), preprocess="pad").squares


def test_rectangles_are_multiples_of_squares() -> None:
    prepare = Preparation(size=8, aspect=(2, 3), load_ratio=1.25, flip=False)
    image = places(50, 40)
    large = resize(image, 20, 30)
    np.testing.assert_array_equal(prepare(image, None), large[2:18, 3:27])
    shown = {prepare(image, (at,)).tobytes() for at in range(600)}
    places_of = {
        large[t : t + 16, left : left + 24].tobytes() for t in range(5) for left in range(7)
    }
    assert shown == places_of
    square = Preparation(size=8, aspect=(1, 1), load_ratio=1.25)
    for seed in (None, (3, 4)):
        np.testing.assert_array_equal(
            square(image, seed), Preparation(size=8, load_ratio=1.25)(image, seed)
        )


def test_a_files_sample(tmp_path: Path) -> None:
    """Converted, prepared, and from the whole range of its type to [-1, 1]."""
    image = places(16, 12)
    write(tmp_path / "a.png", image)
    prepare = Preparation(size=8, augment=({"transform": "ColorJitter", "p": 1.0},))
    for seed in (None, (1, 2)):
        sample = prepare.load(tmp_path / "a.png", 3, seed)
        assert torch.equal(sample, to_tensor(prepare(image, seed)))
    with_alpha = prepare.load(tmp_path / "a.png", 4, None)
    assert with_alpha.shape == (4, 8, 8)
    assert (with_alpha[3] == 1).all()
    with pytest.raises(BrokenImage, match=r"b\.png"):
        prepare.load(tmp_path / "b.png", 3, None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"size": 0}, "size must be a multiple of 4, not 0"),
        ({"size": 10}, "size must be a multiple of 4, not 10"),
        ({"size": -4}, "size must be a multiple of 4, not -4"),
        *(
            ({"aspect": a}, rf"aspect must be rows and columns, .* not \({a[0]}, {a[1]}\)")
            for a in ((0, 1), (1, 0), (2, -1))
        ),
        ({"load_ratio": 0.9}, "load_ratio must be 1 or more, not 0.9"),
        ({"augment": ({"transform": "Blurr"},)}, "did you mean 'Blur'"),
    ],
)
def test_what_is_refused(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Preparation(**arguments)
