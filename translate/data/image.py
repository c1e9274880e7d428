"""Pictures on disk and as arrays: reading, writing, finding, channels, size.

A picture is an array [H, W, C] of uint8 or uint16 that uses the whole range of its type: C = 1 is
grey, 3 is RGB, 4 is RGB with straight (not premultiplied) alpha. Colour profiles are ignored.

Reading asks more of a file than OpenCV does, which leaves EXIF orientation to the caller as soon as
alpha is kept, and decodes damaged files: ``translate.data.header`` looks at them first.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from gan_core.files import write_whole
from translate.data.header import BrokenImage, read_header, tags

MAX_PIXELS = 2**28
"""Pictures with more pixels than this (16384 x 16384) are refused before they are decoded."""


# ---------------------------------------------------------------------------------------- reading


def read(path: Path) -> np.ndarray:
    """The picture in a file: [H, W, C], see ``decode``. The content decides, not the suffix.

    Raises BrokenImage, naming the file, when it is missing, cannot be read or does not decode.
    """
    try:
        return decode(path.read_bytes())
    except OSError as error:
        raise BrokenImage(f"{path}: {error.strerror}") from error
    except BrokenImage as error:
        raise BrokenImage(f"{path}: {error}") from error


def decode(data: bytes) -> np.ndarray:
    """The picture in ``data``, upright: [H, W, C] of uint8 or uint16, grey, RGB or RGBA.

    Grey stays grey; grey or a palette with transparency becomes RGBA. Of several pages or frames
    the first is taken. Floating-point TIFF becomes uint16, 0 to 1 being the whole range.
    Raises BrokenImage for data that is empty, of no known format, cut short, damaged, larger than
    MAX_PIXELS, or holds samples that are neither of these types nor between 0 and 1.
    """
    try:
        header = read_header(data)
    except struct.error as error:
        raise BrokenImage("cut short") from error
    if not 0 < header.height * header.width <= MAX_PIXELS:
        raise BrokenImage(
            f"{header.width} x {header.height}, but 1 to {MAX_PIXELS} pixels are possible"
        )
    try:
        image, kinds, blocks = cv2.imdecodeWithMetadata(
            np.frombuffer(data, np.uint8), flags=cv2.IMREAD_UNCHANGED
        )
    except cv2.error as error:
        raise BrokenImage(f"does not decode: {error.err}") from error
    if image is None:
        raise BrokenImage("does not decode: damaged, or of a rare kind")
    image = header.mend(_unsigned(image))
    image = image[..., None] if image.ndim == 2 else image
    if image.shape[2] not in (1, 3, 4):
        raise BrokenImage(f"{image.shape[2]} channels, but 1, 3 and 4 are possible")
    exif = dict(zip(kinds, blocks, strict=True)).get(cv2.IMAGE_METADATA_EXIF)
    return _upright(_swapped(image), 1 if exif is None else _orientation(exif.tobytes()))


def _unsigned(image: np.ndarray) -> np.ndarray:
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype.kind != "f":
        raise BrokenImage(f"{image.dtype} samples, but 8 and 16 bits without sign are possible")
    if not (image.min() >= 0 and image.max() <= 1):  # written so that NaN fails too
        raise BrokenImage(
            f"floating-point samples from {image.min():g} to {image.max():g}, not within 0 and 1"
        )
    return np.rint(image * 65535).astype(np.uint16)


def _swapped(image: np.ndarray) -> np.ndarray:
    """BGR(A) <-> RGB(A); grey as it is."""
    if image.shape[2] == 1:
        return image
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _orientation(exif: bytes) -> int:
    """1 to 8 as in EXIF; 1, upright, when the block is damaged or does not say."""
    try:
        return tags(exif.removeprefix(b"Exif\0\0")).get(0x112, 1)
    except struct.error:
        return 1


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


# ---------------------------------------------------------------------------------------- writing


class _Format(NamedTuple):
    encoder: str
    channels: tuple[int, ...]
    deep: bool  # keeps 16 bits
    options: tuple[int, ...] = ()


_JPEG = _Format(".jpg", (1, 3), False, (cv2.IMWRITE_JPEG_QUALITY, 95))
_TIFF = _Format(".tiff", (1, 3, 4), True)
_FORMATS = {
    ".png": _Format(".png", (1, 3, 4), True),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".webp": _Format(".webp", (3, 4), False, (cv2.IMWRITE_WEBP_QUALITY, 95)),
    ".bmp": _Format(".bmp", (1, 3, 4), False),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".pgm": _Format(".pgm", (1,), True),
    ".ppm": _Format(".ppm", (3,), True),
    ".pnm": _Format(".pnm", (1, 3), True),
}

SUFFIXES = tuple(_FORMATS)
"""Suffixes, in lower case, of the formats that are both read and written."""


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture in the format of the path's suffix, see ``encode``: whole, or not at all.

    Missing folders are made. Raises ValueError as ``encode`` does, OSError when the disk refuses.
    """
    data = encode(image, path.suffix)
    write_whole(path, lambda file: file.write(data))


def encode(image: np.ndarray, suffix: str) -> bytes:
    """The file for a picture [H, W, C], C in {1, 3, 4}, of uint8 or uint16.

    JPEG and WebP have quality 95, the others are lossless. What a format cannot hold is converted:
    alpha is composited on white, grey becomes RGB, 16 bits become 8. Raises ValueError for another
    array or suffix, for colour in a grey format, and for sizes beyond a format's limit.
    """
    form = _FORMATS.get(suffix.lower())
    if form is None:
        raise ValueError(f"cannot write {suffix!r} pictures; possible are {', '.join(SUFFIXES)}")
    depths = (np.uint8, np.uint16)
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.dtype not in depths:
        raise ValueError(
            f"a picture is [H, W, 1, 3 or 4] of uint8 or uint16, not {image.shape} of {image.dtype}"
        )
    if image.shape[2] not in form.channels:
        if 3 not in form.channels:
            raise ValueError(f"{suffix} pictures are grey: write colour as .png or .ppm")
        image = with_channels(image, 3)
    if image.dtype == np.uint16 and not form.deep:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    try:
        done, data = cv2.imencode(form.encoder, _swapped(image), form.options)
    except cv2.error as error:
        raise ValueError(f"cannot write {image.shape} as {suffix}: {error.err}") from error
    if not done:
        raise ValueError(f"cannot write {image.shape} as {suffix}: too large, or without pixels")
    return data.tobytes()


# ---------------------------------------------------------------------------------------- finding


def find(folder: Path) -> list[Path]:
    """All files below ``folder`` with one of SUFFIXES, in any case, by relative POSIX path.

    Hidden files and folders are left out. Linked folders are entered, except one that leads back
    to a folder it lies in. Raises OSError when ``folder`` is no folder.
    """
    names = sorted(_names(folder, "", frozenset()))
    return [folder / name for name in names]


def _names(folder: Path, prefix: str, above: frozenset[Path]) -> Iterator[str]:
    real = folder.resolve()
    if real in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not os.path.exists(entry.path):
                continue  # leads nowhere, or to itself
            if entry.is_dir():
                yield from _names(Path(entry.path), f"{prefix}{entry.name}/", above | {real})
            elif entry.is_file() and os.path.splitext(entry.name)[1].lower() in _FORMATS:
                yield prefix + entry.name


# ---------------------------------------------------------------------------------------- changing


_CONVERSIONS = {
    (1, 3): cv2.COLOR_GRAY2RGB,
    (1, 4): cv2.COLOR_GRAY2RGBA,
    (3, 1): cv2.COLOR_RGB2GRAY,
    (3, 4): cv2.COLOR_RGB2RGBA,
}


def with_channels(image: np.ndarray, channels: int, background: int = 255) -> np.ndarray:
    """[H, W, C] -> [H, W, channels], of 1 (grey, Rec. 601), 3 (RGB) or 4 (RGBA) each; same type.

    Alpha that is dropped is composited over grey of ``background`` (0 to 255, whatever the type);
    alpha that is added is opaque. Raises ValueError for another number of channels.
    """
    if channels not in (1, 3, 4):
        raise ValueError(f"a picture has 1, 3 or 4 channels, not {channels}")
    if image.shape[2] == 4 and channels != 4:
        image = _composite(image, background)
    if image.shape[2] == channels:
        return image
    code = _CONVERSIONS[image.shape[2], channels]
    return cv2.cvtColor(image, code).reshape(*image.shape[:2], channels)


def _composite(image: np.ndarray, background: int) -> np.ndarray:
    """c a + b (1 - a), rounded; the 16-bit products just fit into 32 bits."""
    top = int(np.iinfo(image.dtype).max)
    alpha = image[..., 3:].astype(np.uint32)
    below = np.uint32(background * (top // 255))
    colour = (image[..., :3] * alpha + below * (top - alpha) + top // 2) // top
    return colour.astype(image.dtype)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[H, W, C] -> [height, width, C] without aliasing, C up to 4; the same array when it fits.

    An axis that shrinks is averaged over the area of each new pixel, one that grows is
    interpolated by cubics, clipped to the range of the type; one that stays is left alone.
    Of four channels the last is alpha, and colours count as much as they are opaque: hidden ones
    do not bleed out.
    """
    if image.shape[2] < 4 or image.shape[:2] == (height, width):
        return _resized(image, height, width)
    alpha = image[..., 3:].astype(np.float32)
    weighted = _resized(np.dstack([image[..., :3] * alpha, alpha]), height, width)
    colour = weighted[..., :3] / np.maximum(weighted[..., 3:], 1)  # 0 where nothing is opaque
    limit = np.iinfo(image.dtype).max
    return np.rint(np.dstack([colour, weighted[..., 3:]]).clip(0, limit)).astype(image.dtype)


def _resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = image.shape[:2]
    shrunk = (min(width, columns), min(height, rows))
    if shrunk != (columns, rows):
        image = _averaged(image, shrunk)
    if shrunk != (width, height):
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
    return image if image.ndim == 3 else image[..., None]  # OpenCV drops a single channel


def _averaged(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Integers by way of float32: to the same result, in two thirds of OpenCV's time at 512 pixels.

    But for whole factors, which it has special code for, and large pictures, where the copy costs
    more than it brings: 54 ms against 41 for one of 12 megapixels.
    """
    whole = image.shape[1] % size[0] == 0 and image.shape[0] % size[1] == 0
    if whole or image.size > 2**20 or image.dtype.kind == "f":
        return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    wide = cv2.resize(image.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return np.rint(wide).astype(image.dtype)
