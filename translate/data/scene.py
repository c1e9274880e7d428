"""A small world drawn by itself: fruit, pumpkins and mugs on a table.

Each kind of
object and each kind of table has its own colours, so a line drawing tells how to colour it; the
light always comes from the upper left. Everything is drawn with numpy and cv2.

A scene is computed on a grid of points (x to the right, y down, z to the viewer; the picture
spans -1..1 both ways) at twice the picture's side and then averaged, which smooths the edges.
Colours are linear light until `photo` encodes them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

Array = np.ndarray

_OVERSAMPLING = 2
_LIGHT = np.array([-0.50, -0.62, 0.60], np.float32)  # towards the light: left, up, to the viewer
_HALFWAY = np.array([-0.28, -0.35, 0.895], np.float32)  # between the light and the viewer


@dataclass(frozen=True)
class _Part:
    """Something solid: where it is, which way it faces, its own colour and how it shines."""

    cover: Array  # [n,n], 0..1
    normal: Array  # [n,n,3], any length
    colour: Array  # [n,n,3] or [3]
    gloss: float  # strength of the highlight


@dataclass(frozen=True)
class _Ball:
    """A swollen outline: a sphere deformed so that its outline is a given curve."""

    cover: Array  # [n,n]
    point: Array  # [n,n,3], the point on the undeformed unit sphere
    normal: Array  # [n,n,3]


def _rgb(code: str) -> Array:
    """'#rrggbb' -> linear light, float32 [3]."""
    values = np.frombuffer(bytes.fromhex(code[1:]), np.uint8).astype(np.float32)
    return (values / 255) ** 2.2


def _mix(first: Array, second: Array, share: Array) -> Array:
    """Blend two colours (each [3] or [n,n,3]) by a map [n,n] in 0..1."""
    return first + (second - first) * share[..., None]


def _ramp(values: Array, low: float, high: float) -> Array:
    """0 at `low`, 1 at `high`, smooth in between and flat beyond; low may exceed high."""
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _inside(distance: Array) -> Array:
    """Coverage in 0..1, [n,n], from the distance to an edge, positive inside."""
    return np.clip(0.5 + distance * (distance.shape[0] / 2), 0, 1)


def _noise(rng: np.random.Generator, n: int, cells: int, rows: int | None = None) -> Array:
    """Smooth noise [n,n] around 0.5; the draws do not depend on n, so neither does the scene."""
    values = rng.random((rows or cells, cells), np.float32)
    return cv2.resize(values, (n, n), interpolation=cv2.INTER_CUBIC)


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _ball(x: Array, y: Array, outline: Callable[[Array, Array], Array]) -> _Ball:
    """Swell an outline; `outline(cos, sin)` gives its distance from the origin in a direction."""
    distance = np.hypot(x, y) + 1e-6
    radius = outline(x / distance, y / distance)
    share = distance / radius
    square = share * share
    z = np.sqrt(np.clip(1 - square, 1e-4, 1))
    # The surface is square(x, y) + z^2 = 1, z in units of the mean radius; its normal is the
    # gradient of the left side, halved. The operator gives a difference over two grid steps.
    scale = float(radius.mean()) / (4 * float(x[0, 1] - x[0, 0]))
    dx = cv2.Sobel(square, cv2.CV_32F, 1, 0, ksize=1, scale=scale)
    dy = cv2.Sobel(square, cv2.CV_32F, 0, 1, ksize=1, scale=scale)
    reach = radius * np.maximum(share, 1)
    point = np.dstack([x / reach, y / reach, z])
    return _Ball(_inside(radius - distance), point, np.dstack([dx, dy, z]))


def _pole(ball: _Ball, tilt: float, lean: float) -> tuple[Array, Array, Array]:
    """Geography of a ball whose pole is tilted to the viewer: (axis [3], height, longitude).

    Height [n,n] is the cosine of the angle to the pole; longitude [n,n] is in radians.
    """
    axis = _unit(np.array([lean, -np.cos(tilt), np.sin(tilt)], np.float32))
    east = _unit(np.cross(axis, np.array([0, 0, 1], np.float32)))
    front = np.cross(axis, east)
    return axis, ball.point @ axis, np.arctan2(ball.point @ east, ball.point @ front)


def _stem(
    x: Array, y: Array, foot: tuple[float, float], length: float, width: float, bend: float
) -> _Part:
    """A bent stalk that rises from `foot` and widens at its end."""
    rise = (foot[1] - y) / length
    across = (x - foot[0] - bend * rise * np.abs(rise)) / (width * (1 + 0.5 * rise * rise))
    cover = _inside((1 - np.abs(across)) * width) * _inside((0.5 - np.abs(rise - 0.5)) * length)
    side = np.clip(across, -1, 1)
    normal = np.dstack([side, np.full_like(side, -0.3), np.sqrt(1.05 - side * side)])
    return _Part(cover, normal, _rgb("#6b4a2b"), 0.05)


def _leaf(x: Array, y: Array, foot: tuple[float, float], length: float, angle: float) -> _Part:
    """A leaf, folded along its midrib, that grows from `foot` at an angle (radians, 0 = right)."""
    right, up = float(np.cos(angle)), float(np.sin(angle))
    along = ((x - foot[0]) * right - (y - foot[1]) * up) / length
    across = ((x - foot[0]) * up + (y - foot[1]) * right) / length
    span = np.clip(along, 0, 1)
    half = 1.1 * span * (1 - span) * (1.25 - 0.5 * span)
    cover = _inside((half - np.abs(across)) * length) * (along > 0) * (along < 1)
    fold = 0.5 * np.sign(across)
    normal = np.dstack([0.2 + fold * up, -0.3 + fold * right, np.full_like(x, 0.9)])
    veins = _ramp(np.abs(across), 0.03, 0.0)
    return _Part(cover, normal, _mix(_rgb("#4c9a35"), _rgb("#a9d36b"), veins), 0.15)


def _apple(rng: np.random.Generator, x: Array, y: Array) -> list[_Part]:
    """Red with yellow streaks that run from the dimple, where the stalk is."""
    size, wave, turn = rng.uniform(0.46, 0.58), rng.uniform(0, 0.035), rng.uniform(0, 6.3)

    def outline(cos: Array, sin: Array) -> Array:
        top, bottom = (np.exp(-cos * cos / 0.12) * (way * sin > 0) for way in (-1, 1))
        lumps = wave * np.sin(3 * np.arctan2(sin, cos) + turn)
        return size * (1 - 0.07 * sin + 0.04 * cos * cos - 0.09 * top - 0.04 * bottom + lumps)

    ball = _ball(x, y, outline)
    axis, height, longitude = _pole(ball, rng.uniform(0.5, 0.85), rng.uniform(-0.3, 0.3))
    dimple = _ramp(height, 0.72, 0.97)
    normal = _unit(ball.normal) + (1.5 * dimple)[..., None] * (
        axis - ball.point * height[..., None]
    )
    streaks = np.interp(longitude, np.linspace(-np.pi, np.pi, 64), rng.random(64))
    streaks = streaks.astype(np.float32)
    blush = streaks * 0.55 + _noise(rng, len(x), 5) * 0.9 + height * 0.35
    skin = _mix(_rgb("#b3101f"), _rgb("#d9322b"), _noise(rng, len(x), 4))
    skin = _mix(skin, _rgb("#f2c14e"), 0.85 * _ramp(blush, 0.75, 1.35))
    skin = _mix(skin, _rgb("#a8b545"), 0.8 * _ramp(height, 0.84, 0.99))
    skin = skin * (1 - 0.45 * _ramp(height, 0.93, 1.0))[..., None]
    foot = (float(axis[0]) * size * 0.86, float(axis[1]) * size * 0.86)
    parts = [_Part(ball.cover, normal, skin, 0.55)]
    parts.append(_stem(x, y, foot, rng.uniform(0.2, 0.3), 0.022, rng.uniform(-0.1, 0.1)))
    if rng.random() < 0.5:
        parts.append(
            _leaf(x, y, (foot[0], foot[1] - 0.12), rng.uniform(0.3, 0.4), rng.uniform(0.1, 0.6))
        )
    return parts


def _pear(rng: np.random.Generator, x: Array, y: Array) -> list[_Part]:
    """Green, yellower on the side of the light, freckled."""
    size, neck, bend = rng.uniform(0.4, 0.46), rng.uniform(0.55, 0.75), rng.uniform(-0.12, 0.12)
    y = y - 0.16
    x = x - bend * np.clip(-y, 0, 1) ** 2

    def outline(cos: Array, sin: Array) -> Array:
        return size * (1.02 + neck * np.exp(-cos * cos / 0.13) * (sin < 0) - 0.05 * sin**3)

    ball = _ball(x, y, outline)
    skin = _mix(_rgb("#6f9f2e"), _rgb("#d5c645"), _ramp(_noise(rng, len(x), 4) - x, 0.0, 1.1))
    skin = _mix(skin, _rgb("#7a5c28"), 0.75 * _ramp(_noise(rng, len(x), 48), 0.84, 0.94))
    foot = (0.0, -size * (0.98 + neck))
    stem = _stem(x, y, foot, rng.uniform(0.16, 0.24), 0.024, rng.uniform(-0.1, 0.1))
    parts = [stem, _Part(ball.cover, ball.normal, skin, 0.4)]
    if rng.random() < 0.5:
        parts.append(
            _leaf(x, y, (foot[0], foot[1] - 0.06), rng.uniform(0.3, 0.4), rng.uniform(0.0, 0.5))
        )
    return parts


def _pumpkin(rng: np.random.Generator, x: Array, y: Array) -> list[_Part]:
    """Orange and ribbed, with a thick green stalk."""
    size, ribs = rng.uniform(0.6, 0.7), int(rng.integers(9, 14))
    ball = _ball(x, 1.32 * (y - 0.06), lambda cos, sin: np.full_like(cos, size))
    axis, height, longitude = _pole(ball, rng.uniform(0.55, 0.8), rng.uniform(-0.2, 0.2))
    rib = np.mod(longitude * (ribs / (2 * np.pi)) + rng.random(), 1) * 2 - 1
    east = _unit(np.cross(axis, ball.point) + 1e-6)
    dip = _ramp(height, 0.75, 1.0)[..., None] * (axis - ball.point * height[..., None])
    normal = _unit(ball.normal) - (0.75 * rib * np.abs(rib))[..., None] * east + 1.2 * dip
    skin = _mix(_rgb("#e8741a"), _rgb("#f6a52c"), _noise(rng, len(x), 5))
    groove = rib**8 * _ramp(height, 1.0, 0.9) + 0.6 * _ramp(height, 0.9, 1.0)
    skin = _mix(skin, _rgb("#7c2f0c"), 0.75 * groove)
    foot = (float(axis[0]) * size, float(axis[1]) * size * 0.62 + 0.06)
    stem = _stem(x, y, foot, rng.uniform(0.2, 0.28), 0.055, rng.uniform(-0.16, 0.16))
    green = _Part(stem.cover, stem.normal, _rgb("#5d7d33"), 0.05)
    return [_Part(ball.cover, normal, skin, 0.3), green]


def _mug(rng: np.random.Generator, x: Array, y: Array) -> list[_Part]:
    """Blue glaze with pale bands, coffee inside, the handle to the right."""
    width, height = rng.uniform(0.38, 0.46), rng.uniform(0.38, 0.48)
    flat, taper = rng.uniform(0.26, 0.36), rng.uniform(0.0, 0.16)
    x = x + 0.1
    glaze, pale = (
        _mix(_rgb("#1d4fa3"), _rgb("#1b83b8"), rng.random((1, 1), np.float32))[0, 0],
        _rgb("#dfeaf2"),
    )

    radius = width * (1 - taper * np.clip((y + height) / (2 * height), 0, 1))
    side = np.clip(x / radius, -1, 1)
    front = np.sqrt(1 - side * side)
    level = (y - flat * radius * front) / height  # -1 at the rim, 1 at the foot
    cover = _inside(radius - np.abs(x)) * _inside((1 - level) * height) * _inside(y + height)
    band = _ramp(np.abs(level - rng.uniform(-0.3, 0.3)), 0.19, 0.17)
    band = band + _ramp(np.abs(level - 0.8), 0.07, 0.05)
    wall = _Part(cover, np.dstack([side, 0 * side - 0.08, front]), _mix(glaze, pale, band), 0.7)

    reach = np.hypot((x - width * 0.95) / 0.9, y - 0.02)
    tube = np.clip((reach - height * 0.6) / 0.075, -1, 1)
    way_x, way_y = (x - width * 0.95) / (reach + 1e-6), (y - 0.02) / (reach + 1e-6)
    normal = np.dstack([tube * way_x, tube * way_y, np.sqrt(1.02 - tube * tube)])
    handle = _Part(_inside(0.075 - np.abs(reach - height * 0.6)), normal, glaze, 0.7)

    def ellipse(share: float, drop: float) -> Array:
        return _inside((share - np.hypot(x / width, (y + height - drop) / (width * flat))) * width)

    up = np.broadcast_to(np.array([0, -1, 0.35], np.float32), normal.shape)
    inner = ellipse(0.88, 0.0)
    rim = _Part(ellipse(1.0, 0.0), up, 0.65 * glaze + 0.35 * pale, 0.2)
    hollow = np.dstack([-side, 0 * side + 0.3, 0 * side + 0.4])
    coffee = _Part(inner * ellipse(0.86, 0.1), up, _rgb("#4a2812"), 0.1)
    return [handle, wall, rim, _Part(inner, hollow, pale * 0.8, 0.1), coffee]


def _planks(rng: np.random.Generator, x: Array, z: Array) -> Array:
    """Warm brown boards that run away from the viewer."""
    lane = x * 2.2 + rng.random()
    tone = rng.random(64, np.float32)[np.floor(lane).astype(int) % 64]
    grain = _noise(rng, len(x), 90, rows=7)
    wood = _mix(_rgb("#8a5530"), _rgb("#c48a52"), 0.75 * tone + 0.5 * (grain - 0.3))
    gap = _ramp(np.abs(lane - np.rint(lane)), 0.045, 0.02)
    return wood * (1 - 0.75 * gap)[..., None]


def _tiles(rng: np.random.Generator, x: Array, z: Array) -> Array:
    """A chequerboard of cream and sea-green tiles with pale grout."""
    across, deep = x * 1.7 + rng.random(), z * 1.7 + rng.random()
    odd = (np.floor(across) + np.floor(deep)) % 2
    tile = _mix(_rgb("#efe3c8"), _rgb("#6fae9f"), odd)
    edge = np.minimum(np.abs(across - np.rint(across)), np.abs(deep - np.rint(deep)))
    tile = tile * (0.85 + 0.3 * _noise(rng, len(x), 6))[..., None]
    return _mix(tile, _rgb("#b9ab95"), _ramp(edge, 0.05, 0.03))


def _cloth(rng: np.random.Generator, x: Array, z: Array) -> Array:
    """A gingham cloth, lilac on white."""
    across, deep = x * 2.0 + rng.random(), z * 2.0 + rng.random()
    stripes = sum((_ramp(np.abs(np.mod(v, 1) - 0.5), 0.27, 0.23) for v in (across, deep)), 0 * x)
    weave = 0.92 + 0.16 * _noise(rng, len(x), 80)
    return _mix(_rgb("#f4f0f6"), _rgb("#8d6bb5"), 0.5 * stripes) * weave[..., None]


OBJECTS = {"apple": _apple, "pear": _pear, "pumpkin": _pumpkin, "mug": _mug}
# A table's pattern, seen in perspective, and the colour of the wall behind it.
GROUNDS = {
    "planks": (_planks, _rgb("#8fb8b4")),
    "tiles": (_tiles, _rgb("#f0c987")),
    "cloth": (_cloth, _rgb("#bcd8a8")),
}


def _table(rng: np.random.Generator, x: Array, y: Array) -> Array:
    """A patterned table before a plain wall, lit from the upper left: [n,n,3]."""
    pattern, paint = GROUNDS[str(rng.choice(list(GROUNDS)))]
    edge = rng.uniform(-0.42, -0.22)
    depth = 1 / (np.maximum(y - edge, 0) + 0.55)
    table = pattern(rng, x * depth, 2.2 * depth)
    wall = paint * (0.95 + 0.1 * _noise(rng, len(x), 3))[..., None]
    scene = _mix(wall, table, _inside(y - edge))
    scene = scene * (1 - 0.35 * _ramp(np.abs(y - edge), 0.02, 0.0) * (y > edge))[..., None]
    return scene * (0.98 - 0.22 * x - 0.12 * y * (y < edge))[..., None]


def _shadow(x: Array, y: Array, foot: float, width: float) -> Array:
    """Light that reaches the table beside an object standing at height `foot`: [n,n] in 0..1."""
    cast = np.hypot((x - 0.42 * width) / (1.45 * width), (y - foot + 0.1 + 0.15 * x) / 0.24)
    touch = np.hypot(x / (0.95 * width), (y - foot + 0.06) / 0.12)
    return (1 - 0.65 * _ramp(cast, 1.15, 0.45)) * (1 - 0.5 * _ramp(touch, 1.15, 0.5))


def _lit(part: _Part, bounce: Array) -> Array:
    """Colour of a part under the light, the sky and what the table throws back: [n,n,3]."""
    normal = _unit(part.normal)
    up, front = -normal[..., 1], np.clip(normal[..., 2], 0, 1)
    shine = np.clip(normal @ _HALFWAY, 0, 1)
    for _ in range(5):  # to the 32nd power
        shine = shine * shine
    light = (0.95 * np.clip(normal @ _LIGHT, 0, 1) + 0.34 + 0.16 * up)[..., None]
    light = light + 0.35 * np.clip(-up, 0, 1)[..., None] * bounce
    return part.colour * light + (part.gloss * (shine + 0.12 * (1 - front) ** 3))[..., None]


def _box(present: Array) -> tuple[slice, slice]:
    """The smallest rectangle (rows, columns) that holds all true points of [n,n]; empty if none."""
    rows, columns = np.nonzero(present)
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def photo(rng: np.random.Generator, size: int) -> Array:
    """One picture of an object on a table, uint8 [size,size,3] RGB; all chance comes from `rng`."""
    n = size * _OVERSAMPLING
    line = (np.arange(n, dtype=np.float32) + 0.5) * (2 / n) - 1
    x, y = np.meshgrid(line, line)
    scene = _table(rng, x, y)
    shift_x, shift_y, zoom = rng.uniform(-0.1, 0.1), rng.uniform(0.04, 0.16), rng.uniform(1.0, 1.2)
    here_x, here_y = (x - shift_x) / zoom, (y - shift_y) / zoom
    parts = OBJECTS[str(rng.choice(list(OBJECTS)))](rng, here_x, here_y)

    box = _box(np.stack([part.cover for part in parts]).max(axis=0) > 0.5)
    foot, width = here_y[box].max(), np.ptp(here_x[box])
    scene = scene * _shadow(here_x, here_y, foot, width / 2)[..., None]
    bounce = scene[-n // 8 :].mean(axis=(0, 1))
    for part in parts:
        box = _box(part.cover > 0)  # most parts are small: shade only where they are
        colour = part.colour[box] if part.colour.ndim == 3 else part.colour
        cut = _Part(part.cover[box], part.normal[box], colour, part.gloss)
        scene[box] = _mix(scene[box], _lit(cut, bounce), cut.cover)
    small = cv2.resize(scene, (size, size), interpolation=cv2.INTER_AREA)
    return np.rint(255 * np.clip(small, 0, 1) ** (1 / 2.2)).astype(np.uint8)
