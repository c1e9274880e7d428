from pathlib import Path

import cv2
import numpy as np
import pytest

from translate.data.demo import draw
from translate.data.scene import GROUNDS, OBJECTS, photo
from translate.data.sketch import sketch


def pictures(folder: Path) -> dict[str, np.ndarray]:
    """File name -> uint8 [H,W] grey or [H,W,3] RGB, as stored."""
    stored = {p.name: cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted(folder.iterdir())}
    return {name: p[..., ::-1] if p.ndim == 3 else p for name, p in stored.items()}


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("size", [16, 64, 97])
def test_photo_is_a_full_colour_picture(size: int) -> None:
    for seed in range(8):
        picture = photo(np.random.default_rng(seed), size)
        assert (picture.dtype, picture.shape) == (np.uint8, (size, size, 3))
        light = picture.astype(float)
        assert np.ptp(light.mean(axis=2)) > 100  # light and shade
        assert np.ptp(light, axis=2).max() > 80  # saturated somewhere


def test_photo_depends_on_the_generator_alone() -> None:
    first, again, other = (photo(np.random.default_rng(seed), 48) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first.astype(int) - other).mean() > 5


def test_photo_shows_the_same_scene_at_every_size() -> None:
    for seed in range(8):
        small = photo(np.random.default_rng(seed), 48).astype(float)
        large = photo(np.random.default_rng(seed), 192)
        reduced = cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA)
        assert np.abs(reduced - small).mean() < 5


def test_many_photos_are_all_different_and_none_fails() -> None:
    shown = {photo(np.random.default_rng(seed), 24).tobytes() for seed in range(300)}
    assert len(shown) == 300


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_stay_in_the_picture(kind: str) -> None:
    line = np.linspace(-1, 1, 96, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    for seed in range(20):
        # At the largest zoom and the farthest shifts that `photo` allows.
        for shift_x, shift_y in [(-0.1, 0.04), (0.1, 0.16)]:
            here = (x - shift_x) / 1.2, (y - shift_y) / 1.2
            parts = OBJECTS[kind](np.random.default_rng(seed), *here)
            cover = np.max([part.cover for part in parts], axis=0)
            frame = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
            assert frame.max() < 0.01
            assert 0.1 < cover.mean() < 0.6


def test_colours_tell_the_kinds_apart() -> None:
    """Mean hue of each kind's main part: red, green, orange, blue."""
    line = np.linspace(-1, 1, 64, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    hue: dict[str, list[float]] = {}
    for kind, make in OBJECTS.items():
        for seed in range(10):
            part = max(make(np.random.default_rng(seed), x, y), key=lambda p: p.cover.sum())
            colour = part.colour[part.cover > 0.5].mean(axis=0, dtype=np.float32)
            hsv = cv2.cvtColor(colour.reshape(1, 1, 3) ** (1 / 2.2), cv2.COLOR_RGB2HSV)
            hue.setdefault(kind, []).append((float(hsv[0, 0, 0]) + 60) % 360 - 60)
    assert all(-15 < h < 30 for h in hue["apple"])
    assert all(25 < h < 45 for h in hue["pumpkin"])
    assert all(50 < h < 100 for h in hue["pear"])
    assert all(190 < h < 230 for h in hue["mug"])
    assert len(GROUNDS) == 3


def test_draw_writes_the_layout(tmp_path: Path) -> None:
    draw(tmp_path / "new" / "demo", count=3, test=2, size=32)
    root = tmp_path / "new" / "demo"
    sketches, photos = pictures(root / "sketches"), pictures(root / "photos")
    assert list(sketches) == [f"sketch-{i:04d}.png" for i in range(3)]
    assert list(photos) == [f"photo-{i:04d}.png" for i in range(3)]
    assert all(p.shape == (32, 32) for p in sketches.values())
    assert all(p.shape == (32, 32, 3) for p in photos.values())
    assert len(files(root)) == 3 + 3 + 2 + 2


@pytest.mark.parametrize("style", ["ink", "pencil"])
def test_test_pictures_belong_together(tmp_path: Path, style: str) -> None:
    draw(tmp_path, count=0, test=3, size=32, style=style)
    drawings, photos = pictures(tmp_path / "test/sketches"), pictures(tmp_path / "test/photos")
    assert list(drawings) == list(photos) == ["0000.png", "0001.png", "0002.png"]
    for name, picture in photos.items():
        np.testing.assert_array_equal(drawings[name], sketch(picture, style))


def test_training_pictures_are_truly_unpaired(tmp_path: Path) -> None:
    draw(tmp_path, count=8, test=4, size=32)
    drawings = pictures(tmp_path / "sketches")
    shown = [*pictures(tmp_path / "photos").values(), *pictures(tmp_path / "test/photos").values()]
    of_shown = {sketch(picture, "ink").tobytes() for picture in shown}
    assert len(of_shown) == 12
    assert not of_shown & {drawing.tobytes() for drawing in drawings.values()}


def test_same_seed_same_pixels_other_seed_other_pixels(tmp_path: Path) -> None:
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        draw(tmp_path / name, count=2, test=1, size=24, seed=seed)
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_a_larger_set_begins_with_the_smaller(tmp_path: Path) -> None:
    draw(tmp_path / "small", count=2, test=1, size=24)
    draw(tmp_path / "large", count=4, test=3, size=24)
    small, large = files(tmp_path / "small"), files(tmp_path / "large")
    assert small.items() <= large.items()


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="not empty: name a new folder"):
        draw(tmp_path, count=1, test=0, size=16)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ValueError, match="is a file"):
        draw(tmp_path / "mine.txt", count=1, test=0, size=16)


def test_an_unknown_style_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'ink'"):
        draw(tmp_path / "demo", count=1, style="inc")
    assert not (tmp_path / "demo").exists()
