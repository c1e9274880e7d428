from pathlib import Path

import cv2
import numpy as np
import pytest

from translate.data.sketch import STYLES, sketch

APPLES = Path(__file__).parents[4] / "shared/data/fruits/test/apples"


def disc(size: int) -> np.ndarray:
    """A black disc, half as wide as the white picture, antialiased: uint8 [size,size]."""
    place = (np.arange(size) + 0.5) / size - 0.5
    distance = (np.hypot(*np.meshgrid(place, place)) - 0.25) * size
    return np.rint(255 * np.clip(distance + 0.5, 0, 1)).astype(np.uint8)


def texture(size: int) -> np.ndarray:
    """Smooth coloured blobs, uint8 [size,size,3]; the same picture at every size."""
    blobs = np.random.default_rng(0).random((9, 9, 3), np.float32)
    picture = cv2.resize(blobs, (512, 512), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    return np.rint(255 * small).astype(np.uint8)


@pytest.mark.parametrize("size", [64, 96, 256])
@pytest.mark.parametrize("style", STYLES)
def test_a_disc_becomes_a_ring(style: str, size: int) -> None:
    drawing = sketch(disc(size), style)
    place = (np.arange(size) + 0.5) / size - 0.5
    distance = np.hypot(*np.meshgrid(place, place))
    assert (drawing.dtype, drawing.shape) == (np.uint8, (size, size))
    assert (drawing[distance > 0.35] == 255).all()  # paper around it
    assert (drawing[distance < 0.05] > 200).all()  # and in its middle
    # Dark along the whole border: in every direction, some pixel just inside it.
    border = np.abs(distance - 0.235) < 0.02
    angle = np.arctan2(*np.meshgrid(place, place))
    sector = np.floor((angle + np.pi) / (2 * np.pi) * 12).astype(int) % 12
    assert all(drawing[border & (sector == k)].min() < 110 for k in range(12))


def test_ink_ring_is_thin() -> None:
    drawing = sketch(disc(128), "ink")
    row = drawing[64, :64]
    assert row.min() < 30
    assert 1 <= (row < 128).sum() <= 5


@pytest.mark.parametrize("value", [0, 1, 90, 255])
@pytest.mark.parametrize("style", STYLES)
def test_one_colour_gives_blank_paper(style: str, value: int) -> None:
    picture = np.full((40, 56, 3), (value, 255 - value, 30), np.uint8)
    assert (sketch(picture, style) == 255).all()


@pytest.mark.parametrize("style", STYLES)
def test_grey_in_any_layout_gives_the_same_drawing(style: str) -> None:
    grey = texture(80)[..., 0]
    drawing = sketch(grey, style)
    np.testing.assert_array_equal(drawing, sketch(grey[..., None], style))
    np.testing.assert_array_equal(drawing, sketch(np.dstack([grey, grey, grey]), style))


@pytest.mark.parametrize("style", STYLES)
def test_same_picture_same_drawing_and_input_untouched(style: str) -> None:
    picture = texture(72)
    before = picture.copy()
    np.testing.assert_array_equal(sketch(picture, style), sketch(picture, style))
    np.testing.assert_array_equal(picture, before)


def test_styles_differ() -> None:
    drawings = [sketch(texture(96), style).astype(float) for style in STYLES]
    for i, first in enumerate(drawings):
        for second in drawings[:i]:
            assert np.abs(first - second).mean() > 5


def test_ink_outlines_what_differs_in_hue_alone() -> None:
    picture = np.full((64, 64, 3), (0, 128, 0), np.uint8)
    picture[:, 32:] = (251, 0, 0)  # the same luma
    assert sketch(picture, "ink")[:, 28:36].min() < 60


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two drawings after a blur that forgives a shift of a pixel."""
    return float(
        np.corrcoef(
            *(cv2.GaussianBlur(d.astype(float), (0, 0), 1).ravel() for d in (first, second))
        )[0, 1]
    )


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("style", STYLES)
def test_lines_look_alike_at_every_size(style: str, size: int) -> None:
    small = sketch(texture(64), style)
    large = cv2.resize(sketch(texture(size), style), (64, 64), interpolation=cv2.INTER_AREA)
    assert agreement(small, large) > 0.9
    ink_small, ink_large = (255 - d.astype(float).mean() for d in (small, large))
    assert ink_large == pytest.approx(ink_small, rel=0.25)


def test_unknown_style_names_the_nearest_and_all() -> None:
    with pytest.raises(ValueError, match="did you mean 'pencil'"):
        sketch(texture(16), "pencl")
    with pytest.raises(ValueError, match="choose ink, pencil"):
        sketch(texture(16), "watercolour")


@pytest.mark.parametrize(
    "picture",
    [np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros(8, np.uint8)],
    ids=["alpha", "float", "flat"],
)
def test_other_pictures_are_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        sketch(picture, "ink")


def jpeg(picture: np.ndarray) -> np.ndarray:
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 75])[1]
    return cv2.imdecode(encoded, cv2.IMREAD_COLOR)


CHANGES = {
    "jpeg": jpeg,
    "brighter": lambda picture: cv2.add(picture, (5, 5, 5, 0)),
    "darker": lambda picture: cv2.subtract(picture, (5, 5, 5, 0)),
    "blurred": lambda picture: cv2.GaussianBlur(picture, (0, 0), 0.5),
}


@pytest.mark.skipif(not APPLES.is_dir(), reason=f"no real photos at {APPLES}")
@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_a_drawing_identifies_its_photo(style: str) -> None:
    photos = [cv2.imread(str(path))[..., ::-1] for path in sorted(APPLES.iterdir())]
    photos = [np.ascontiguousarray(photo) for photo in photos]

    def drawings(pictures: list[np.ndarray]) -> np.ndarray:
        return np.stack([sketch(picture, style).ravel() for picture in pictures]).astype(float)

    def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Root mean square difference in grey levels of each with each."""
        return np.stack([np.sqrt(((second - row) ** 2).mean(axis=1)) for row in first])

    drawn = drawings(photos)
    apart = distances(drawn, drawn)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 8  # measured: ink 18, pencil 11
    for change in CHANGES.values():
        nearest = distances(drawings([change(photo) for photo in photos]), drawn).argmin(axis=1)
        assert (nearest == np.arange(len(photos))).mean() >= 0.95  # measured: 1.0 in each
