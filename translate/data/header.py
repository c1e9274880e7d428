"""What the header of a picture file tells: format, size, whether it is whole, what is left to mend.

OpenCV decodes some damaged files into half-empty pictures, and hands out premultiplied, unscaled or
key-less pixels for some TIFF, PNM and PNG files; so headers are read here before it is asked.
"""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class BrokenImage(ValueError):  # noqa: N818 - says what is broken, as the message does
    """A file that is not a whole picture of a known format; the message says which, and why."""


_Mend = Callable[[np.ndarray], np.ndarray]


def _as_it_is(image: np.ndarray) -> np.ndarray:
    return image


class Header(NamedTuple):
    height: int
    width: int
    mend: _Mend = _as_it_is  # what OpenCV leaves to do


def _png(data: bytes) -> Header:
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    mend: _Mend = _as_it_is
    at = 8
    while data[at + 4 : at + 8] != b"IEND":
        if data[at + 4 : at + 8] == b"tRNS" and colour == 0:
            (key,) = struct.unpack_from(">H", data, at + 8)
            mend = _key_to_alpha(key, data[24])
        at += 12 + struct.unpack_from(">I", data, at)[0]
    struct.unpack_from(">I", data, at + 8)  # the last checksum: libpng wants it too
    return Header(height, width, mend)


def _jpeg(data: bytes) -> Header:
    height = width = 0
    at = 2
    while (at := data.find(b"\xff", at)) >= 0:
        marker, length = struct.unpack_from(">BH", data, at + 1)
        if marker == 0xDA:  # start of scan; inside it, 0xFF 0xD9 can only be the end of the image
            if data.find(b"\xff\xd9", at + 2 + length) < 0:
                break
            return Header(height, width)
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            height, width = struct.unpack_from(">HH", data, at + 5)
        at += 1 if marker == 0xFF else 2 + length  # a marker may be preceded by fill bytes
    raise BrokenImage("cut short: it has no end-of-image marker")


def _webp(data: bytes) -> Header:
    if len(data) < 8 + struct.unpack_from("<I", data, 4)[0]:
        raise BrokenImage("cut short")
    if data[12:16] == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
        return Header(height, width)
    if data[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return Header((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    return Header(height, width)


def _bmp(data: bytes) -> Header:
    start, header = struct.unpack_from("<II", data, 10)
    layout = "<HHHH" if header == 12 else "<iiHHI"
    width, height, _, bits, *compression = struct.unpack_from(layout, data, 18)
    height = abs(height)  # negative: stored from the top down
    row = (width * bits + 31) // 32 * 4
    if compression in ([], [0], [3]) and len(data) < start + height * row:
        raise BrokenImage("cut short")
    return Header(height, width)


def _tiff(data: bytes) -> Header:
    found = tags(data)
    if found.get(277) == 2:  # samples per pixel
        raise BrokenImage("a grey TIFF with alpha, which OpenCV drops: save it as PNG")
    mend = _straight(found[338]) if found.get(338) in (1, 2) else _as_it_is  # extra samples
    return Header(found.get(257, 0), found.get(256, 0), mend)


def _pnm(data: bytes) -> Header:
    header = re.match(rb"P([2356])" + rb"(?:\s|#[^\n]*\n)+(\d{1,9})" * 3 + rb"\s", data)
    kind, width, height, top = map(int, header.groups()) if header else (0, 0, 0, 0)
    if header is None or not 0 < top < 65536:
        raise BrokenImage("damaged header")
    samples = width * height * (1 if kind in (2, 5) else 3)
    if kind > 3 and len(data) < header.end() + samples * (1 if top < 256 else 2):
        raise BrokenImage("cut short")
    # OpenCV scales 8-bit text files to the whole range, and no others.
    whole = top in (255, 65535) or (kind < 4 and top < 256)
    return Header(height, width) if whole else Header(height, width, _scaled(top))


_READERS = {
    rb"\x89PNG\r\n\x1a\n": _png,
    rb"\xff\xd8\xff": _jpeg,
    rb"RIFF....WEBP": _webp,
    rb"BM": _bmp,
    rb"II\*\0|MM\0\*": _tiff,
    rb"P[2356]\s": _pnm,
}


def read_header(data: bytes) -> Header:
    for signature, reader in _READERS.items():
        if re.match(signature, data, re.DOTALL):
            return reader(data)
    raise BrokenImage("not a PNG, JPEG, WebP, BMP, TIFF, PGM or PPM picture" if data else "empty")


def tags(data: bytes) -> dict[int, int]:
    """Number -> first value of the entries of the first directory of a TIFF file or EXIF block.

    Only numbers that fit into their entry are right; longer lists give their offset.
    """
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    found = {}
    for entry in range(at + 2, at + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        (found[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return found


def _key_to_alpha(key: int, depth: int) -> _Mend:
    """Grey PNG that declares one value transparent: OpenCV drops that; -> RGBA."""

    def mend(image: np.ndarray) -> np.ndarray:
        top = np.iinfo(image.dtype).max
        alpha = np.where(image == key * (top // (2**depth - 1)), 0, top).astype(image.dtype)
        return np.dstack([image, image, image, alpha])

    return mend


def _straight(alpha_kind: int) -> _Mend:
    """TIFF alpha, 1 = premultiplied, 2 = straight, except that OpenCV premultiplies 8-bit ones."""

    def mend(image: np.ndarray) -> np.ndarray:
        if image.shape[-1] != 4 or (alpha_kind == 2 and image.dtype == np.uint16):
            return image
        top = np.iinfo(image.dtype).max
        alpha = image[..., 3:].astype(np.uint32)
        colour = (image[..., :3] * np.uint32(top) + alpha // 2) // np.maximum(alpha, 1)
        return np.dstack([np.minimum(colour, top).astype(image.dtype), image[..., 3]])

    return mend


def _scaled(top: int) -> _Mend:
    """PNM whose white is ``top``: scale to the whole range of the type."""

    def mend(image: np.ndarray) -> np.ndarray:
        limit = np.iinfo(image.dtype).max
        scaled = (image * np.uint32(limit) + top // 2) // np.uint32(top)
        return np.minimum(scaled, limit).astype(image.dtype)

    return mend
