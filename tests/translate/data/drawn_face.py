"""A face drawn from blurred ellipses: cascades find it, and where its eyes are is known."""

import numpy as np

EYES = np.array([[-0.195, -0.11], [0.195, -0.11]])
"""Their centres from that of the face, as shares of its breadth."""


def eyes_of(centre: tuple[float, float], breadth: float, angle: float = 0.0) -> np.ndarray:
    """[left or right, x or y] in pixels; the face is turned by ``angle`` degrees, clockwise."""
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.array(centre) + breadth * EYES @ rotation.T


def draw_face(
    height: int,
    width: int,
    *faces: tuple[tuple[float, float], float, float],
    glasses: bool = False,
) -> np.ndarray:
    """uint8 [height, width] in grey; each face is (centre, breadth, angle), as for ``eyes_of``."""
    picture = np.full((height, width), 0.45)
    for centre, breadth, angle in faces:
        _add_face(picture, centre, breadth, np.radians(angle), glasses)
    return np.rint(255 * picture.clip(0, 1)).astype(np.uint8)


def _add_face(
    picture: np.ndarray, centre: tuple[float, float], breadth: float, turn: float, glasses: bool
) -> None:
    left, top = (max(0, int(place - 1.5 * breadth)) for place in centre)
    right, bottom = (int(place + 1.5 * breadth) for place in centre)
    picture = picture[top:bottom, left:right]
    rows, columns = np.indices(picture.shape) + 0.5
    across = (columns + left - centre[0]) / breadth
    down = (rows + top - centre[1]) / breadth
    x = across * np.cos(turn) + down * np.sin(turn)
    y = down * np.cos(turn) - across * np.sin(turn)

    def disc(cx: float, cy: float, rx: float, ry: float, soft: float) -> np.ndarray:
        steps = (np.hypot((x - cx) / rx, (y - cy) / ry) - 1) / soft
        return 1 / (1 + np.exp(2 * steps.clip(-50, 50)))

    def paint(value: float | np.ndarray, where: np.ndarray) -> None:
        picture[:] = picture * (1 - where) + value * where

    def shade(value: float, cx: float, cy: float, sx: float, sy: float) -> None:
        picture[:] += value * np.exp(-(((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2) / 2)

    paint(0.15, disc(0, -0.15, 0.55, 0.6, 0.1))  # hair
    paint(0.8 - (2 * x.clip(-0.5, 0.5)) ** 2 / 4, disc(0, 0.05, 0.42, 0.55, 0.1))
    for eye_x, eye_y in EYES:
        shade(-0.28, eye_x, eye_y - 0.01, 0.11, 0.06)
        paint(0.2, 0.8 * disc(eye_x, eye_y - 0.12, 0.12, 0.025, 0.5))  # brow
        paint(0.85, 0.8 * disc(eye_x, eye_y, 0.075, 0.032, 0.3))
        paint(0.1, disc(eye_x, eye_y, 0.032, 0.032, 0.2))  # iris
        paint(0.15, 0.7 * disc(eye_x, eye_y - 0.03, 0.085, 0.012, 0.5))  # lid
        shade(-0.3, 0.3 * eye_x, 0.13, 0.025, 0.02)  # nostril
        shade(0.08, eye_x, 0.1, 0.1, 0.1)  # cheek
        if glasses:
            paint(0.3, disc(eye_x, eye_y, 0.16, 0.12, 0.05))
    shade(0.12, 0, 0, 0.04, 0.15)  # nose
    shade(-0.15, 0, 0.17, 0.08, 0.03)
    paint(0.3, 0.8 * disc(0, 0.29, 0.15, 0.03, 0.4))  # mouth
    shade(-0.1, 0, 0.37, 0.1, 0.02)
