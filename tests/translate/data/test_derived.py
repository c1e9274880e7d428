"""CIE L*a*b* by the formulas of CIE 15, with the primaries and white of sRGB (IEC 61966-2-1)."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from translate.data.derived import DERIVED
from translate.data.tensors import to_image, to_tensor

COLOUR, FILL = DERIVED["colour"], DERIVED["fill"]


def matrix() -> np.ndarray:
    """Linear RGB -> XYZ over white's: chromaticities, scaled so that RGB (1, 1, 1) is D65."""

    def upright(x: float, y: float) -> list[float]:
        return [x / y, 1, (1 - x - y) / y]

    primaries = np.array([upright(0.64, 0.33), upright(0.30, 0.60), upright(0.15, 0.06)]).T
    white = np.array(upright(0.3127, 0.3290))
    return primaries * np.linalg.solve(primaries, white) / white[:, None]


def lab(rgb: np.ndarray) -> np.ndarray:
    """[..., 3], sRGB in 0 ... 1 -> L*, a*, b*."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ matrix().T
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def every_fifth() -> np.ndarray:
    """All colours of 52 levels a channel, as one picture."""
    levels = np.arange(0, 256, 5, np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), -1).reshape(52, -1, 3)


def channels_last(tensor: Tensor) -> np.ndarray:
    return tensor.double().numpy().transpose(1, 2, 0)


# ------------------------------------------------------------------------------------------ colour


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((0, 0, 0), (0, 0, 0)),
        ((255, 255, 255), (100, 0, 0)),
        ((119, 119, 119), (50.034, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_well_known_colours(rgb: tuple[int, ...], expected: tuple[float, ...]) -> None:
    """Published values; the input holds L / 50 - 1, the target (a, b) / 110."""
    x, y = COLOUR.pair(np.array(rgb, np.uint8).reshape(1, 1, 3), None)
    found = [(x.item() + 1) * 50, *(y.flatten() * 110).tolist()]
    assert found == pytest.approx(expected, abs=0.02)


def test_each_colour_against_the_formula() -> None:
    """The matrix's usual six digits are good for 0.015 of 100."""
    image = every_fifth()
    x, y = COLOUR.pair(image, None)
    assert (x.shape[0], y.shape[0]) == COLOUR.channels
    assert x.dtype == y.dtype == torch.float32
    found = np.dstack([(channels_last(x) + 1) * 50, channels_last(y) * 110])
    assert np.abs(found - lab(image / 255)).max() < 0.02
    assert -1 <= x.min() < -0.99
    assert 0.99 < x.max() < 1 + 1e-6
    assert -1 < y.min() < 0 < y.max() < 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_picture_of_a_pair_is_the_picture(dtype: type) -> None:
    """Within 1e-4 of black to white, a fortieth of a step of 8 bits; of batches too."""
    image = every_fifth().astype(dtype) * (np.iinfo(dtype).max // 255)
    x, y = COLOUR.pair(image, None)
    made = COLOUR.picture(y, x)
    assert made.shape == (3, *image.shape[:2])
    assert (made - to_tensor(image)).abs().max() / 2 < 1e-4
    assert -1 <= made.min() <= made.max() <= 1
    np.testing.assert_array_equal(to_image(made), every_fifth())
    batch = COLOUR.picture(torch.stack([y, 0 * y]), torch.stack([x, x]))
    assert torch.equal(batch[0], made)


def test_lightness_is_kept() -> None:
    """Of whatever colours are made that sRGB has: here, those of another picture's pixels."""
    image = every_fifth()
    rng = np.random.default_rng(0)
    made = torch.from_numpy(rng.uniform(-1, 1, (2, *image.shape[:2])).astype(np.float32)) / 11
    x = torch.linspace(-0.5, 0.5, image.shape[1]).expand(1, *image.shape[:2])
    shown = channels_last(COLOUR.picture(made, x) + 1) / 2
    inside = ((shown > 0) & (shown < 1)).all(axis=2)
    assert inside.mean() > 0.99
    expected = np.dstack([(channels_last(x) + 1) * 50, channels_last(made) * 110])
    assert np.abs(lab(shown) - expected)[inside].max() < 0.02


def test_no_colour_is_grey() -> None:
    x = torch.linspace(-1, 1, 101).reshape(1, 1, -1)
    made = COLOUR.picture(torch.zeros(2, 1, 101), x)
    assert np.ptp(channels_last(made), axis=2).max() < 2e-4
    assert (made.diff(dim=2) > 0).all()
    lightness = lab(channels_last(made + 1)[0] / 2)[:, 0]
    assert np.abs(lightness - np.arange(101)).max() < 0.01


def test_colours_beyond_srgb_are_clipped() -> None:
    for sign in (-1, 1):
        made = COLOUR.picture(
            torch.full((2, 1, 9), float(sign)), torch.linspace(-1, 1, 9)[None, None]
        )
        assert torch.isfinite(made).all()
        assert -1 <= made.min() <= made.max() <= 1


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_alpha_are_converted_to_be_coloured(channels: int) -> None:
    """Alpha lies on white: half of black is grey."""
    image = np.full((2, 2, channels), 128, np.uint8)
    if channels == 4:
        image[..., :3], image[..., 3] = 0, 127
    x = COLOUR.seen(image)
    assert x.shape == (1, 2, 2)
    assert (x + 1) * 50 == pytest.approx(lab(np.full(3, 128 / 255))[0], abs=0.01)
    assert torch.equal(COLOUR.pair(image, None)[0], x)


def test_names_and_what_becomes_of_alpha() -> None:
    assert {name: d.names for name, d in DERIVED.items()} == {
        "colour": ("grey", "colour"),
        "fill": ("holes", "whole"),
    }
    assert {name: d.channels for name, d in DERIVED.items()} == {"colour": (1, 2), "fill": (4, 3)}
    assert not COLOUR.spends_alpha
    assert FILL.spends_alpha


# -------------------------------------------------------------------------------------------- fill


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), np.uint8)


def test_known_pixels_come_back_exactly() -> None:
    """And whatever was made stands in the holes, of one picture and of batches."""
    image = noise(16, 24)
    x, y = FILL.pair(image, np.random.default_rng(1))
    assert (x.shape, y.shape) == ((4, 16, 24), (3, 16, 24))
    assert torch.equal(y, to_tensor(image))
    known = (x[3] == 1).expand(3, 16, 24)
    assert 0 < known.float().mean() < 1
    assert (x[3][~known[0]] == -1).all()
    assert torch.equal(x[:3][known], y[known])
    assert (x[:3][~known] == 0).all()
    made = torch.full_like(y, 0.3)
    shown = FILL.picture(made, x)
    assert torch.equal(shown[known], y[known])
    assert (shown[~known] == torch.tensor(0.3)).all()
    assert torch.equal(FILL.picture(torch.stack([made, y]), torch.stack([x, x]))[0], shown)
    assert torch.equal(FILL.picture(y, x), y)


@pytest.mark.parametrize(("dtype", "half"), [(np.uint8, 127.5), (np.uint16, 32767.5)])
def test_holes_are_where_alpha_is_below_one_half(dtype: type, half: float) -> None:
    top = np.iinfo(dtype).max
    image = noise(1, 4, 4).astype(dtype)
    image[0, :, 3] = 0, np.floor(half), np.ceil(half), top
    x = FILL.seen(image)
    assert x[3].tolist() == [[-1, -1, 1, 1]]
    assert (x[:3, :, :2] == 0).all()
    assert torch.equal(x[:3, :, 2:], to_tensor(image[:, 2:, :3]))  # straight: as it is stored


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_without_alpha_have_no_holes(channels: int) -> None:
    x = FILL.seen(noise(4, 4, channels))
    assert x.shape == (4, 4, 4)
    assert (x[3] == 1).all()


def holes(size: tuple[int, int], rng: np.random.Generator | None) -> np.ndarray:
    return FILL.pair(np.zeros((*size, 3), np.uint8), rng)[0][3].numpy() < 0


def test_holes_are_rectangles_within_the_picture() -> None:
    """One to four, with sides of an eighth to a half of the picture's; where one stands alone, or
    hides the others, all its sides are met and no others, and it reaches the borders."""
    size, alone, apart = (64, 96), set(), set()
    for seed in range(800):
        hole = holes(size, np.random.default_rng(seed))
        apart.add(cv2.connectedComponents(hole.astype(np.uint8), connectivity=4)[0] - 1)
        lines, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
        (top, bottom), (left, right) = ((at[0], at[-1] + 1) for at in (lines, columns))
        if hole[top:bottom, left:right].all():
            alone.add(((top, bottom), (left, right)))
    assert apart == {1, 2, 3, 4}
    assert 164 < len(alone) < 250  # a quarter of 800: 200 +- 12, and a few
    for axis, side in enumerate(size):
        starts, ends = zip(*(place[axis] for place in alone), strict=True)
        sides = {end - start for start, end in zip(starts, ends, strict=True)}
        assert sides == {*range(side // 8, side // 2 + 1)}
        assert min(starts) == 0
        assert max(ends) == side


@pytest.mark.parametrize("size", [(4, 4), (4, 12), (7, 9)])
def test_the_smallest_pictures_have_holes(size: tuple[int, int]) -> None:
    counts = {int(holes(size, np.random.default_rng(seed)).sum()) for seed in range(300)}
    assert min(counts) == 1
    assert max(counts) <= 4 * (size[0] // 2) * (size[1] // 2)


def test_holes_are_a_function_of_the_generator() -> None:
    one, again, other = (holes((32, 32), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize("size", [(16, 24), (10, 7)])
def test_the_hole_to_judge_by_is_the_centre(size: tuple[int, int]) -> None:
    height, width = size
    expected = np.zeros(size, bool)
    expected[height // 4 :, width // 4 :] = True
    expected[height // 4 + height // 2 :] = False
    expected[:, width // 4 + width // 2 :] = False
    np.testing.assert_array_equal(holes(size, None), expected)
