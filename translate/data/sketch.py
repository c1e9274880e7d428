"""Line drawings of photos: a colour or grey picture in, a grey drawing on white paper out.

"ink" draws crisp dark lines: the flow-guided difference of Gaussians with a soft threshold.
"pencil" draws soft strokes and shading: each pixel divided by its blurred surroundings (dodging).

Both look at contrast relative to the brightness around a pixel, so a dark fruit is drawn like a
pale one and a brighter exposure gives the same drawing. All lengths are shares of the picture's
side, so a picture drawn at 64 and at 1024 pixels shows the same lines.

References
[1] Winnemoeller, Kyprianidis, Olsen, "XDoG: An eXtended difference-of-Gaussians compendium
    including advanced image stylization", Computers & Graphics 36(6), 2012.
[2] Kang, Lee, Chui, "Coherent line drawing", NPAR 2007.
Unlike [1], the difference is divided by the local brightness, the colour channel that differs
most counts (so that a red shape on an equally bright green is outlined), and dark areas are not
filled. Unlike [2], the smoothing along the edges averages the isotropic difference.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np

from translate.data.image import with_channels
from translate.errors import UserError, nearest

# Added to a brightness (0..1) before dividing by it: how dark a place may be before its contrast
# is taken for noise.
_DARK = 0.1
_FINEST = 128  # side in pixels from which ink lines are drawn without enlarging


def _side(image: np.ndarray) -> float:
    """Side in pixels of the square that has the picture's area; lengths are shares of it."""
    return float(np.sqrt(image.shape[0] * image.shape[1]))


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of [H,W], sigma in pixels; a wide one at a smaller size, which is cheaper."""
    height, width = image.shape
    shrink = max(1, int(sigma / 3))
    small = image
    if shrink > 1:
        size = (max(1, width // shrink), max(1, height // shrink))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT)
    return cv2.resize(blurred, (width, height), interpolation=cv2.INTER_CUBIC)


def _darker(image: np.ndarray, fine: float, coarse: float) -> np.ndarray:
    """How much darker a pixel is than its surroundings, relative to them; below 0 where brighter.

    max over c of (G_coarse - G_fine)[c] / (max over c of G_coarse[c] + dark), for [H,W,C]; sigmas
    are shares of the side. The divisor is shared, since a red apple's faint blue is mostly noise.
    Returns float32 [H,W], at most 1.
    """
    side = _side(image)
    channels = [np.ascontiguousarray(image[..., c]) for c in range(image.shape[2])]
    around = [_blur(channel, coarse * side) for channel in channels]
    dips = [wide - _blur(c, fine * side) for wide, c in zip(around, channels, strict=True)]
    return np.max(dips, axis=0) / (np.max(around, axis=0) + _DARK)


def _tangents(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (x, y) along the edges of [H,W,C], each float32 [H,W].

    The direction is the minor eigenvector of the smoothed structure tensor; its sign is arbitrary.
    """
    side = _side(image)
    smooth = _blur(image.mean(axis=2), 0.004 * side)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    xx, xy, yy = (_blur(product, 0.015 * side) for product in (dx * dx, dx * dy, dy * dy))
    across = 0.5 * np.arctan2(2 * xy, xx - yy)
    return -np.sin(across), np.cos(across)


def _along_edges(values: np.ndarray, image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian average of `values` [H,W] along the edges of `image`, sigma a share of the side.

    Walks both ways from every pixel, which joins broken lines and removes dots of noise.
    """
    steps = 4
    sigma *= _side(image)
    stride = 2 * sigma / steps
    tangent = _tangents(image)
    height, width = values.shape
    columns, rows = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    grid: list[np.ndarray] = list(np.meshgrid(columns, rows))

    def at(field: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return cv2.remap(field, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    total, weights = values.copy(), 1.0
    for way in (1.0, -1.0):
        x, y = grid
        ahead_x, ahead_y = way * tangent[0], way * tangent[1]
        for step in range(1, steps + 1):
            x, y = x + stride * ahead_x, y + stride * ahead_y
            weight = float(np.exp(-0.5 * (step * stride / sigma) ** 2))
            total, weights = total + weight * at(values, x, y), weights + weight
            next_x, next_y = at(tangent[0], x, y), at(tangent[1], x, y)
            # Tangents have no sign of their own: keep going the way we came.
            turn = np.where(next_x * ahead_x + next_y * ahead_y < 0, -1, 1).astype(np.float32)
            ahead_x, ahead_y = turn * next_x, turn * next_y
    return total / weights


def _ink(image: np.ndarray) -> np.ndarray:
    """Amount of ink, float32 [H,W] in 0..1; graded by tanh [1], so lines are antialiased."""
    light = image.astype(np.float32) / 255
    # The narrowest lines need sigmas of about a pixel: a small picture is drawn enlarged.
    height, width = image.shape[:2]
    enlarge = max(1, math.ceil(_FINEST / _side(image)))
    if enlarge > 1:
        size = (width * enlarge, height * enlarge)
        light = np.atleast_3d(cv2.resize(light, size, interpolation=cv2.INTER_CUBIC))
    lines = _along_edges(_darker(light, fine=0.006, coarse=0.0096), light, sigma=0.012)
    ink = np.clip(np.tanh(40 * (lines - 0.004)), 0, 1)
    return cv2.resize(ink, (width, height), interpolation=cv2.INTER_AREA) if enlarge > 1 else ink


def _pencil(image: np.ndarray) -> np.ndarray:
    """Amount of graphite, float32 [H,W] in 0..1: fine strokes over broad shading."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.shape[2] == 3 else image[..., 0]
    light = grey.astype(np.float32) / 255
    paper = np.ones_like(light)
    for sigma in (0.015, 0.06):
        around = _blur(light, sigma * _side(image))
        paper *= np.minimum(1, (light + _DARK) / (around + _DARK))
    return 1 - paper


STYLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"ink": _ink, "pencil": _pencil}
"""Style -> function from uint8 [H,W,1 or 3] (RGB) to the amount of ink in 0..1, float32 [H,W]."""


def check_style(style: str) -> None:
    """Raise UserError, naming the nearest, unless `style` is one of ``STYLES``."""
    if style not in STYLES:
        raise UserError(f"no sketch style is called {style!r}{nearest(style, STYLES)}")


def sketch(image: np.ndarray, style: str) -> np.ndarray:
    """Draw a picture in lines.

    image: uint8 [H,W,3] RGB, or [H,W,1] or [H,W] grey. Alpha must be composed on white first.
    style: a key of `STYLES`; any other is a ValueError.
    Returns uint8 [H,W]: 255 is paper, 0 full ink. A picture of one colour gives blank paper; the
    same picture always gives the same drawing.
    """
    check_style(style)
    layered = image[..., None] if image.ndim == 2 else image
    if layered.dtype != np.uint8 or layered.ndim != 3 or layered.shape[2] not in (1, 3):
        raise ValueError(
            f"sketch takes uint8 pictures [H,W,3], [H,W,1] or [H,W], not {image.dtype} "
            f"of shape {list(image.shape)}"
        )
    if (layered == layered[..., :1]).all():
        layered = layered[..., :1]  # a grey picture stored as RGB: the same drawing to the last bit
    return np.rint(255 * (1 - STYLES[style](layered))).astype(np.uint8)


def drawing(image: np.ndarray, style: str) -> np.ndarray:
    """`sketch` for pictures as they are read: [H,W,1, 3 or 4], 8 or 16 bits -> uint8 [H,W,1]."""
    eight = image if image.dtype == np.uint8 else (image // 257).astype(np.uint8)
    return sketch(with_channels(eight, min(eight.shape[2], 3)), style)[..., None]
