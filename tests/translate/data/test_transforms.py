import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from translate.data.image import resize
from translate.data.transforms import PREPROCESS, augmenter, flip_half
from translate.errors import UserError

SIZES = [(32, 32), (48, 96), (96, 48), (20, 100), (100, 20), (7, 9), (33, 31)]


def places(height: int, width: int) -> np.ndarray:
    """Each pixel holds its row and column."""
    grid = np.mgrid[:height, :width].transpose(1, 2, 0)
    return np.dstack([grid, np.zeros((height, width))]).astype(np.uint16)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", [name for name in PREPROCESS if name != "none"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("sides", [(32, 32), (32, 64), (60, 20)])
def test_sizes(name: str, shape: tuple[int, int], channels: int, sides: tuple[int, int]) -> None:
    image = np.full((*shape, channels), 77, np.uint8)
    for rng in (None, np.random.default_rng(0)):
        result = PREPROCESS[name](image, sides, (sides[0] + 4, sides[1] + 7), rng)
        assert result.shape == (*sides, channels)
        assert result.dtype == np.uint8
        assert (result == 77).all()


RECTANGLES = [
    ("resize_crop", (64, 64), (16, 32), (20, 40), (20, 40), np.s_[2:18, 4:36]),
    ("crop", (60, 100), (32, 48), (99, 99), (60, 100), np.s_[14:46, 26:74]),  # at its own scale
    ("crop", (20, 100), (32, 48), (99, 99), (32, 160), np.s_[:, 56:104]),  # the height was short
    ("crop", (100, 20), (32, 48), (99, 99), (240, 48), np.s_[104:136]),  # the width was
    ("scale_width", (100, 50), (32, 48), (36, 60), (120, 60), np.s_[44:76, 6:54]),
    ("scale_width", (50, 200), (32, 48), (36, 60), (32, 60), np.s_[:, 6:54]),
]


@pytest.mark.parametrize(("name", "shape", "sides", "load_sides", "resized", "part"), RECTANGLES)
def test_rectangles(
    name: str,
    shape: tuple[int, int],
    sides: tuple[int, int],
    load_sides: tuple[int, int],
    resized: tuple[int, int],
    part: Any,
) -> None:
    image = places(*shape)
    np.testing.assert_array_equal(
        PREPROCESS[name](image, sides, load_sides, None), resize(image, *resized)[part]
    )


@pytest.mark.parametrize(
    ("shape", "inner", "top", "left"),
    [((16, 64), (24, 96), 4, 0), ((16, 16), (32, 32), 0, 32), ((64, 16), (32, 8), 0, 44)],
)
def test_pad_fits_a_picture_into_a_rectangle(
    shape: tuple[int, int], inner: tuple[int, int], top: int, left: int
) -> None:
    image = places(*shape)
    result = PREPROCESS["pad"](image, (32, 96), (36, 99), None)
    assert result.shape == (32, 96, 3)
    part = result[top : top + inner[0], left : left + inner[1]]
    np.testing.assert_array_equal(part, resize(image, *inner))
    np.testing.assert_array_equal(result[:top], np.broadcast_to(result[top], (top, 96, 3)))
    aside = np.broadcast_to(result[:, left : left + 1], (32, left, 3))
    np.testing.assert_array_equal(result[:, :left], aside)


@pytest.mark.parametrize("name", ["resize_crop", "crop", "scale_width"])
def test_a_rectangles_crops_reach_from_edge_to_edge(name: str) -> None:
    rng = np.random.default_rng(0)
    image = places(40, 60)
    starts = np.array(
        [PREPROCESS[name](image, (36, 40), (40, 60), rng)[0, 0, :2] for _ in range(600)]
    )
    assert (starts.min(axis=0) == 0).all()
    assert (starts.max(axis=0) == (4, 20)).all()


@pytest.mark.parametrize("name", ["resize_crop", "crop", "scale_width"])
def test_crops_reach_every_place_alike(name: str) -> None:
    image = places(40, 40)
    rng = np.random.default_rng(0)
    starts = np.array(
        [PREPROCESS[name](image, (32, 32), (40, 40), rng)[0, 0, :2] for _ in range(3600)]
    )
    counts = np.zeros((9, 9))
    np.add.at(counts, tuple(starts.T), 1)
    chi2 = ((counts - 3600 / 81) ** 2 / (3600 / 81)).sum()
    assert 45 <= chi2 <= 125  # 80 degrees of freedom: 80 +- 12.6
    assert -0.05 <= np.corrcoef(starts.T)[0, 1] <= 0.05


@pytest.mark.parametrize("name", ["resize_crop", "crop", "scale_width"])
def test_without_rng_the_centre_is_taken(name: str) -> None:
    result = PREPROCESS[name](places(40, 40), (32, 32), (40, 40), None)
    np.testing.assert_array_equal(result, places(40, 40)[4:36, 4:36])


@pytest.mark.parametrize("name", PREPROCESS)
def test_equal_seeds_give_equal_geometry(name: str) -> None:
    image = places(50, 70)
    pair = (image, image[..., :1])
    one, other = (PREPROCESS[name](x, (32, 32), (40, 40), np.random.default_rng(5)) for x in pair)
    np.testing.assert_array_equal(one[..., :1], other)


def test_resize_crop_ignores_proportions() -> None:
    image = places(64, 16)
    np.testing.assert_array_equal(
        PREPROCESS["resize_crop"](image, (32, 32), (36, 36), None),
        resize(image, 36, 36)[2:34, 2:34],
    )


def test_crop_keeps_the_scale_and_enlarges_only_what_is_too_small() -> None:
    crop = PREPROCESS["crop"]
    wide = crop(places(40, 90), (32, 32), (36, 36), np.random.default_rng(1))
    assert (np.diff(wide[..., 0], axis=0) == 1).all()
    assert (np.diff(wide[..., 1], axis=1) == 1).all()
    small = places(16, 40)
    np.testing.assert_array_equal(
        crop(small, (32, 32), (36, 36), None), resize(small, 32, 80)[:, 24:56]
    )


def test_scale_width_keeps_proportions_down_to_size() -> None:
    scale_width = PREPROCESS["scale_width"]
    high, flat = places(120, 60), places(20, 100)
    np.testing.assert_array_equal(
        scale_width(high, (32, 32), (40, 40), None), resize(high, 80, 40)[24:56, 4:36]
    )
    np.testing.assert_array_equal(
        scale_width(flat, (32, 32), (40, 40), None), resize(flat, 32, 40)[:, 4:36]
    )


def test_pad_shows_everything_and_repeats_the_border() -> None:
    image = places(16, 64)
    result = PREPROCESS["pad"](image, (32, 32), (36, 36), None)
    np.testing.assert_array_equal(result[12:20], resize(image, 8, 32))
    np.testing.assert_array_equal(result[:12], np.broadcast_to(result[12], (12, 32, 3)))
    np.testing.assert_array_equal(result[20:], np.broadcast_to(result[19], (12, 32, 3)))
    assert PREPROCESS["pad"](places(1, 900), (32, 32), (36, 36), None).shape == (32, 32, 3)


@pytest.mark.parametrize("shape", [*SIZES, (4, 4), (256, 255)])
def test_none_trims_to_multiples_of_four(shape: tuple[int, int]) -> None:
    image = places(*shape)
    result = PREPROCESS["none"](image, (32, 32), (36, 36), np.random.default_rng(0))
    height, width = result.shape[:2]
    top, left = (shape[0] - height) // 2, (shape[1] - width) // 2
    assert (height, width) == (shape[0] // 4 * 4, shape[1] // 4 * 4)
    np.testing.assert_array_equal(result, image[top : top + height, left : left + width])


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (9, 2)])
def test_none_enlarges_what_is_smaller_than_four(shape: tuple[int, int]) -> None:
    result = PREPROCESS["none"](places(*shape), (32, 32), (36, 36), None)
    assert min(result.shape[:2]) == 4
    assert max(result.shape[:2]) % 4 == 0


@pytest.mark.parametrize("name", ["resize_crop", "scale_width"])
@pytest.mark.parametrize("seeded", [True, False])
def test_load_sides_below_sides_are_refused(name: str, seeded: bool) -> None:
    rng = np.random.default_rng(0) if seeded else None
    with pytest.raises(ValueError, match="32 x 32 crop fits: load_sides must be at least sides"):
        PREPROCESS[name](places(40, 40), (32, 32), (31, 31), rng)


def test_half_are_flipped() -> None:
    image = places(3, 5)
    rng = np.random.default_rng(0)
    flipped = 0
    for _ in range(1000):
        result = flip_half(image, rng)
        flipped += int(result[0, 0, 1])
        assert np.array_equal(result, image) or np.array_equal(result, np.fliplr(image))
    assert 4 * 450 <= flipped <= 4 * 550


# ------------------------------------------------------------------------------------ augmentation


def jitter(**more: Any) -> list[dict[str, Any]]:
    return [{"transform": "ColorJitter", "brightness": [0.5, 1.5], "p": 1.0, **more}]


def test_flips_do_not_go_together() -> None:
    augment = augmenter(
        [{"transform": "HorizontalFlip", "p": 0.5}, {"transform": "VerticalFlip", "p": 0.5}]
    )
    image = places(2, 2)
    draws = np.array([augment(image, np.random.default_rng([3, i]))[0, 0, :2] for i in range(1000)])
    assert (draws.sum(axis=0) >= 450).all()
    assert (draws.sum(axis=0) <= 550).all()
    assert -0.1 <= np.corrcoef(draws.T)[0, 1] <= 0.1
    neighbours = np.corrcoef(draws[1:, 0], draws[:-1, 0])[0, 1]
    assert -0.1 <= neighbours <= 0.1


def test_a_sample_depends_on_its_seed_alone() -> None:
    steps = [*jitter(), {"transform": "GaussNoise", "p": 0.5}, {"transform": "Affine", "p": 0.5}]
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    before = image.copy()
    one, other = augmenter(steps), pickle.loads(pickle.dumps(augmenter(steps)))
    first = [one(image, np.random.default_rng([0, i])) for i in range(8)]
    second = [other(image, np.random.default_rng([0, i])) for i in reversed(range(8))][::-1]
    np.testing.assert_array_equal(first, second)
    assert len({x.tobytes() for x in first}) == 8
    np.testing.assert_array_equal(image, before)


def test_without_colours_only_geometry_is_changed() -> None:
    """What is left draws what it draws among the others: the pairs of a data set rely on it."""
    steps = [
        {"transform": "InvertImg", "p": 1.0},
        {"transform": "HorizontalFlip", "p": 0.5},
        {"transform": "RandomRotate90", "p": 0.5},
    ]
    augment, image = augmenter(steps), places(3, 3).astype(np.uint8)
    for at in range(20):
        one, other = (augment(image, np.random.default_rng(at), c) for c in (True, False))
        np.testing.assert_array_equal(other, 255 - one)


def test_depth_and_channels_do_not_change_geometry() -> None:
    augment = augmenter([{"transform": "D4", "p": 1.0}, {"transform": "CoarseDropout", "p": 0.5}])
    image = places(8, 8)
    for at in range(20):
        deep = augment(image * 257, np.random.default_rng(at), False)
        grey = augment(image[..., 1:2].astype(np.uint8), np.random.default_rng(at), True)
        np.testing.assert_array_equal(deep[..., 1:2], grey.astype(np.uint16) * 257)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_size_and_type_are_kept(dtype: type, channels: int) -> None:
    image = np.full((8, 12, channels), np.iinfo(dtype).max // 2, dtype)
    augment = augmenter([*jitter(), {"transform": "Affine", "rotate": [-20, 20], "p": 1.0}])
    result = augment(image, np.random.default_rng(0))
    assert result.shape == image.shape
    assert result.dtype == dtype
    assert not np.array_equal(result, image)


def test_sixteen_bits_survive() -> None:
    image = np.random.default_rng(0).integers(0, 65536, (8, 8, 3), np.uint16)
    result = augmenter([{"transform": "HorizontalFlip", "p": 1.0}])(image, np.random.default_rng(0))
    np.testing.assert_array_equal(result, image[:, ::-1])


@pytest.mark.parametrize("step", [{"height": 4, "width": 4}, None])
def test_a_changed_size_or_type_is_refused(step: dict[str, Any] | None) -> None:
    steps = [{"transform": "CenterCrop", **step}] if step else [{"transform": "ToFloat"}]
    augment = augmenter([{"p": 1.0, **steps[0]}])
    with pytest.raises(ValueError, match=r"keep size and type, but (CenterCrop|ToFloat) made"):
        augment(np.zeros((8, 8, 3), np.uint8), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"transform": "ColourJitter"}, "'ColourJitter'; did you mean 'ColorJitter'"),
        ({"transform": "BasicTransform"}, "no albumentations transform 'BasicTransform'"),
        ({"transform": "Compose"}, "no albumentations transform 'Compose'"),
        ({"transform": ["Blur"]}, "no albumentations transform"),
        ({"p": 0.5}, "no albumentations transform ''"),
        (jitter(brightnes=0.2)[0], "ColorJitter has no argument 'brightnes'.*'brightness'"),
        (jitter(always_apply=True)[0], "ColorJitter has no argument 'always_apply'"),
        (jitter(strict=True)[0], "ColorJitter has no argument 'strict'"),
        (jitter(brightness=[3, -1])[0], "^ColorJitter: brightness .*within"),
        (jitter(brightness="x")[0], "^ColorJitter: brightness "),
        (jitter(p=2)[0], "^ColorJitter: p .*less than or equal to 1"),
        ({"transform": "RandomCrop", "height": 4}, "^RandomCrop: width Field required"),
    ],
)
def test_mistakes_are_named(step: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        augmenter([step])
    assert "\n" not in str(caught.value)


def test_augmentation_never_asks_the_network() -> None:
    augmenter([])
    assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"


def test_albumentations_is_imported_only_when_it_is_used() -> None:
    code = "import sys, translate.data.transforms; sys.exit('albumentations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_transform_that_refuses_a_picture_is_named() -> None:
    augment = augmenter([{"transform": "ColorJitter", "p": 1.0}])
    with pytest.raises(UserError, match=r"^ColorJitter: "):
        augment(np.zeros((4, 4, 4), np.uint8), np.random.default_rng(0), True)
