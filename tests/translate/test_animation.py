"""Moving pictures: what a player sees is what was drawn, at the pace that was asked for."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from translate import animation

WIDTH, HEIGHT = 48, 32


def moving(count: int = 6, height: int = HEIGHT, width: int = WIDTH) -> list[np.ndarray]:
    """Smooth RGB pictures, each in another shade: red grows from frame to frame."""
    y, x = np.mgrid[:height, :width]
    made = []
    for number in range(count):
        red = np.full_like(x, 60 + 30 * number)
        made.append(np.stack([red, y * 200 // height, x * 100 // width], 2).astype(np.uint8))
    return made


def played(path: Path) -> tuple[list[np.ndarray], float]:
    """Frames as RGB, and frames per second, as a video player reads them."""
    video, frames = cv2.VideoCapture(str(path)), []
    rate = video.get(cv2.CAP_PROP_FPS)
    while True:
        more, frame = video.read()
        if not more:
            return frames, rate
        frames.append(frame[:, :, ::-1])


def error(seen: np.ndarray, drawn: np.ndarray) -> float:
    return float(np.abs(seen.astype(int) - drawn).mean())


@pytest.mark.parametrize(("name", "bound"), [("a.gif", 3.0), ("new/b.MP4", 3.0)])
def test_a_player_shows_the_frames_in_order(tmp_path: Path, name: str, bound: float) -> None:
    """With their own colours: the next frame is ten shades off, swapped channels far more."""
    frames = moving()
    animation.write(tmp_path / name, iter(frames), 10)
    seen, rate = played(tmp_path / name)
    assert rate == pytest.approx(10, rel=0.01)
    assert len(seen) == len(frames)
    for shown, drawn in zip(seen, frames, strict=True):
        assert shown.shape == drawn.shape
        assert error(shown, drawn) < bound
    assert error(frames[0], frames[1]) == 10


def test_a_gif_keeps_every_grey(tmp_path: Path) -> None:
    """A ramp of 250 shades is no staircase of eight, nor dots."""
    ramp = np.tile(np.arange(250, dtype=np.uint8), (20, 1))[:, :, None]
    animation.write(tmp_path / "ramp.gif", [ramp, ramp[:, ::-1]], 5)
    seen, _ = played(tmp_path / "ramp.gif")
    assert error(seen[0], np.repeat(ramp, 3, 2)) < 1
    assert error(seen[1], np.repeat(ramp[:, ::-1], 3, 2)) < 1


@pytest.mark.parametrize(("fps", "hundredths"), [(1, 100), (8, 12), (16, 6), (30, 3), (60, 2)])
def test_a_gif_shows_each_frame_for_whole_hundredths(
    tmp_path: Path, fps: int, hundredths: int
) -> None:
    """For ever, and never for the 0 or 1 hundredths that browsers slow down to ten."""
    animation.write(tmp_path / "a.gif", moving(4), fps)
    data = (tmp_path / "a.gif").read_bytes()
    _, read = cv2.imdecodeanimation(np.frombuffer(data, np.uint8))
    assert [*read.durations] == [10 * hundredths] * 4
    again = data.index(b"NETSCAPE2.0") + len(b"NETSCAPE2.0")
    assert data[again : again + 5] == b"\x03\x01\x00\x00\x00"


@pytest.mark.parametrize("fps", [1, 24, 60])
def test_an_mp4_keeps_its_pace(tmp_path: Path, fps: int) -> None:
    animation.write(tmp_path / "a.mp4", moving(5), fps)
    assert played(tmp_path / "a.mp4")[1] == pytest.approx(fps)


@pytest.mark.parametrize("suffix", animation.SUFFIXES)
def test_one_frame_is_enough(tmp_path: Path, suffix: str) -> None:
    animation.write(tmp_path / f"a{suffix}", moving(1), 10)
    assert len(played(tmp_path / f"a{suffix}")[0]) == 1


def test_an_odd_mp4_loses_no_pixels(tmp_path: Path) -> None:
    frames = moving(3, 31, 47)
    animation.write(tmp_path / "a.mp4", frames, 10)
    for shown, drawn in zip(played(tmp_path / "a.mp4")[0], frames, strict=True):
        assert shown.shape == (32, 48, 3)
        assert error(shown[:31, :47], drawn) < 3
        assert error(shown[31], shown[30]) < 3
        assert error(shown[:, 47], shown[:, 46]) < 3


@pytest.mark.parametrize("suffix", animation.SUFFIXES)
def test_what_is_transparent_is_white(tmp_path: Path, suffix: str) -> None:
    frame = np.zeros((16, 16, 4), np.uint8)
    frame[:, 8:, 3] = 255
    animation.write(tmp_path / f"a{suffix}", [frame, frame], 10)
    for shown in played(tmp_path / f"a{suffix}")[0]:
        assert shown.shape == (16, 16, 3)
        assert shown[:, :6].min() > 240
        assert shown[:, 10:].max() < 15


@pytest.mark.parametrize("suffix", animation.SUFFIXES)
def test_a_file_is_whole_or_as_it_was(tmp_path: Path, suffix: str) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from moving(3)
        raise RuntimeError("drawing broke off")

    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(RuntimeError, match="drawing broke off"):
        animation.write(path, failing(), 10)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]
