import numpy as np
import pytest

from translate.data.window import Window, cut


def window(
    corner: tuple[float, float], side: float, angle: float = 0.0, ratio: float = 1.0
) -> Window:
    """``ratio``: height by width; ``angle`` in degrees, clockwise."""
    turn = np.radians(angle)
    across = side * np.array([np.cos(turn), np.sin(turn)])
    down = ratio * side * np.array([-np.sin(turn), np.cos(turn)])
    return Window(np.array(corner, float), across, down)


def noise(height: int, width: int, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng([height, width, channels])
    image = rng.integers(0, np.iinfo(kind).max, (height, width, channels), kind, endpoint=True)
    if channels == 4:
        image[..., 3] = np.iinfo(kind).max
    return image


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whole_pixels_are_copied(channels: int, kind: type) -> None:
    picture = noise(40, 50, channels, kind)
    made = cut(picture, window((5, 7), 20), 20)
    assert made.dtype == kind
    np.testing.assert_array_equal(made, picture[7:27, 5:25])


def test_a_quarter_turn() -> None:
    """Turned clockwise, the window's upper edge runs down the right side of what it covers."""
    picture = noise(40, 50)
    made = cut(picture, window((25, 7), 20, angle=90), 20)
    np.testing.assert_array_equal(made, np.rot90(picture[7:27, 5:25]))


@pytest.mark.parametrize(("shrink", "wide"), [(2, 1), (5, 1), (1, 0.5)])
def test_areas_are_averaged(shrink: int, wide: float) -> None:
    """Also where only one side shrinks."""
    side, picture = 8 * shrink, noise(60, 60)
    made = cut(picture, window((3, 9), side, ratio=wide), 8)
    block = picture[9 : 9 + int(side * wide), 3 : 3 + side].astype(float)
    if wide == 1:
        expected = block.reshape(8, shrink, 8, shrink, 3).mean(axis=(1, 3))
        assert np.abs(made - expected).max() <= 0.51
    else:
        assert np.abs(made.mean(axis=(0, 1)) - block.mean(axis=(0, 1))).max() < 6


def test_a_fine_pattern_does_not_alias() -> None:
    picture = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    made = cut(picture, window((120, 60), 190, angle=17), 16).astype(float)
    assert np.abs(made - 127.5).max() < 8


@pytest.mark.parametrize("angle", [0, 17, -140])
@pytest.mark.parametrize("size", [16, 37, 64])
def test_places_are_exact(angle: float, size: int) -> None:
    """In a picture whose value is a plane, each pixel shows the value at its own centre."""
    rows, columns = np.indices((300, 400)) + 0.5
    picture = np.rint(100 * columns + 30 * rows)[..., None].astype(np.uint16)
    place = window((190, 150), 50, angle)
    down, across = (np.indices((size, size)) + 0.5) / size
    x, y = (place.corner + across[..., None] * place.across + down[..., None] * place.down).T
    made = cut(picture, place, size)[..., 0].T.astype(float)
    off = made - (100 * x + 30 * y)
    assert abs(off.mean()) < 0.02 * 130  # OpenCV rounds places to 1/32 of a pixel, and rounds again
    assert np.abs(off).max() < 0.1 * 130


def test_beyond_its_edges_a_picture_is_mirrored() -> None:
    picture = noise(30, 40)
    mirrored = np.pad(picture, ((14, 14), (14, 14), (0, 0)), mode="symmetric")
    for left, top in ((-13, -4), (34, 24)):
        made = cut(picture, window((left, top), 19), 19)
        at = slice(top + 14, top + 33), slice(left + 14, left + 33)
        np.testing.assert_array_equal(made, mirrored[at])


def test_hidden_colours_do_not_show() -> None:
    picture = np.zeros((20, 20, 4), np.uint8)
    picture[:, :10] = [255, 0, 0, 0]  # red, but transparent
    picture[:, 10:] = [0, 0, 200, 255]
    made = cut(picture, window((2.5, 3.5), 12, angle=10), 12)
    shown = made[made[..., 3] > 20]
    assert len(shown) > 40
    assert np.abs(shown[:, :3].astype(int) - [0, 0, 200]).max() <= 1
    assert {0, 255} <= set(made[..., 3].ravel())


def test_a_picture_longer_than_opencv_warps() -> None:
    picture = np.zeros((8, 40000, 1), np.uint8)
    picture[:, 39990:] = 200
    assert (cut(picture, window((39991, 1), 6), 6) == 200).all()


@pytest.mark.parametrize(
    ("place", "share"),
    [
        (window((0, 0), 20), 0),
        (window((-5, 0), 20), 0.25),
        (window((30, 20), 20), 0.75),
        (window((-20, 10), 20, ratio=0.5), 1),
        (window((20, -10), np.sqrt(200), angle=45), 0.5),
        (window((-100, -100), 400), 1 - 40 * 30 / 400**2),
    ],
)
def test_the_share_beyond(place: Window, share: float) -> None:
    """Of a picture 40 wide and 30 high."""
    assert place.share_beyond(30, 40) == pytest.approx(share, abs=1e-5)
