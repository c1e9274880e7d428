"""Pictures that move: GIF, which every page shows, and MP4, which is smaller and keeps colours."""

from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from gan_core.files import write_whole
from translate.data.image import with_channels
from translate.errors import UserError


def write(path: Path, frames: Iterable[np.ndarray], fps: int) -> None:
    """Write pictures [H, W, C] uint8 of one size as the path's suffix says: whole, or not at all.

    fps: pictures per second, 1 to 60. A GIF's are shown for whole hundredths of a second, and it
        goes on for ever; each has 256 colours of its own. MP4 is MPEG-4 part 2, the one codec that
        OpenCV's wheels encode; an odd side is made even by repeating its last pixels.
    Grey becomes RGB; alpha is composited on white.
    """
    shown = (_bgr(frame) for frame in frames)
    data = _ENCODERS[path.suffix.lower()](shown, fps)
    write_whole(path, lambda file: file.write(data))


def _bgr(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(with_channels(frame, 3), cv2.COLOR_RGB2BGR)


def _gif(frames: Iterable[np.ndarray], fps: int) -> bytes:
    animation = cv2.Animation()
    animation.frames = list(frames)
    animation.durations = [10 * round(100 / fps)] * len(animation.frames)  # milliseconds
    # By default all frames share one table of 256 fixed colours, dithered: faces lose their greys.
    options = (cv2.IMWRITE_GIF_DITHER, 3, cv2.IMWRITE_GIF_COLORTABLE, 1)
    done, data = cv2.imencodeanimation(".gif", animation, options)
    if not done:
        raise UserError(f"OpenCV encodes no GIF of {len(animation.frames)} such pictures")
    return data.tobytes()


def _mp4(frames: Iterable[np.ndarray], fps: int) -> bytes:
    frames = iter(frames)
    first = next(frames)
    height, width = (side + side % 2 for side in first.shape[:2])
    with TemporaryDirectory() as folder:  # OpenCV writes to a path alone, of this suffix
        path = Path(folder) / "video.mp4"
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(path), codec, fps, (width, height))
        if not writer.isOpened():
            raise UserError("this machine's OpenCV encodes no MP4: name a .gif")
        for frame in chain([first], frames):
            below, right = height - frame.shape[0], width - frame.shape[1]
            writer.write(cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE))
        writer.release()
        return path.read_bytes()


_ENCODERS: dict[str, Callable[[Iterable[np.ndarray], int], bytes]] = {".gif": _gif, ".mp4": _mp4}

SUFFIXES = tuple(_ENCODERS)
