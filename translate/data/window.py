"""A turned rectangle of a picture, cut out to a square of pixels.

Places are (x, y) in pixels from the upper left corner of a picture, so that the centre of its first
pixel is (0.5, 0.5).
"""

import math
from typing import NamedTuple

import cv2
import numpy as np


class Window(NamedTuple):
    """What is to become the upper left corner of a picture, its upper and its left edge, [2] each;
    the edges stand at right angles."""

    corner: np.ndarray
    across: np.ndarray
    down: np.ndarray

    def corners(self) -> np.ndarray:
        """[4, 2], going round."""
        corner, across, down = self
        return np.array([corner, corner + across, corner + across + down, corner + down])

    def side(self) -> float:
        """The longer one's length in pixels."""
        return float(max(np.linalg.norm(self.across), np.linalg.norm(self.down)))

    def share_beyond(self, height: int, width: int) -> float:
        """How much of the window lies outside of a picture of this size, 0 to 1."""
        picture = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        inside, _ = cv2.intersectConvexConvex(self.corners().astype(np.float32), picture)
        return 1 - inside / float(np.linalg.norm(self.across) * np.linalg.norm(self.down))


def cut(picture: np.ndarray, window: Window, size: int) -> np.ndarray:
    """What the window shows: [H, W, C] -> [size, size, C] of the same type.

    The picture is sampled by cubics, no coarser than it is, and the samples are averaged over the
    area of each new pixel, which keeps fine patterns from aliasing. Beyond its edges it is
    mirrored; some of the window must lie inside.
    """
    # Mirrored pixels lie within a side of the window. The rest goes: OpenCV warps from no picture
    # longer than 32766 pixels.
    corners, reach = window.corners(), window.side()
    left, top = np.maximum(corners.min(axis=0) - reach, 0).astype(int)
    right, bottom = (corners.max(axis=0) + reach).astype(int) + 1
    near = window._replace(corner=window.corner - [left, top])
    picture = picture[top:bottom, left:right]
    if picture.shape[2] < 4:
        return _cut(picture, near, size)
    # As ``translate.data.image.resize`` does: colours count as much as they are opaque.
    alpha = picture[..., 3:].astype(np.float32)
    weighted = _cut(np.dstack([picture[..., :3] * alpha, alpha]), near, size)
    colour = weighted[..., :3] / np.maximum(weighted[..., 3:], 1)
    limit = np.iinfo(picture.dtype).max
    return np.rint(np.dstack([colour, weighted[..., 3:]]).clip(0, limit)).astype(picture.dtype)


def _cut(picture: np.ndarray, window: Window, size: int) -> np.ndarray:
    side = size * max(1, math.ceil(window.side() / size))
    to_picture = np.column_stack([window.across / side, window.down / side, window.corner])
    to_picture[:, 2] += to_picture[:, :2].sum(axis=1) / 2 - 0.5  # OpenCV counts from pixel centres
    fine = cv2.warpAffine(
        picture,
        to_picture,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT,
    )
    return cv2.resize(fine, (size, size), interpolation=cv2.INTER_AREA).reshape(size, size, -1)
