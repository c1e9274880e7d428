"""Files are made byte by byte where an encoder would hide what is tested."""

import os
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import translate.data.image as module
from translate.data.image import (
    SUFFIXES,
    BrokenImage,
    decode,
    encode,
    find,
    read,
    resize,
    with_channels,
    write,
)

# EXIF's eight orientations: what brings the stored picture upright.
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: np.flipud(np.rot90(x)),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.fliplr(np.rot90(x)),
    8: np.rot90,
}


def smooth(height: int, width: int, channels: int, dtype: type = np.uint8) -> np.ndarray:
    """A picture without symmetry that lossy formats keep nearly as it is."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    planes = [x, y, (x + 2 * y) / 3, 0.25 + (3 * x + y) / 6][:channels]
    return np.rint(np.dstack(planes) * np.iinfo(dtype).max).astype(dtype)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """Rows begin with a filter byte, 0; extra chunks stand before the data."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def exif(orientation: int, order: str = "<") -> bytes:
    entry = struct.pack(order + "HHIHH", 0x112, 3, 1, orientation, 0)
    start = b"II" if order == "<" else b"MM"
    return start + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def jpeg(image: np.ndarray, *options: int, app1: bytes = b"") -> bytes:
    data = cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()
    if not app1:
        return data
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(app1) + 2) + app1 + data[2:]


def tiff(image: np.ndarray, extra_samples: int = 0, orientation: int = 1) -> bytes:
    """Uncompressed, little-endian, the directory last."""
    height, width, channels = image.shape
    pixels = image.tobytes()
    kind = {"u": 1, "i": 2, "f": 3}[image.dtype.kind]
    lists = struct.pack("<4H", *[8 * image.itemsize] * 4) + struct.pack("<4H", *[kind] * 4)
    bits, kinds = 8 + len(pixels), 16 + len(pixels)
    if channels < 3:  # fits into the entry
        bits, kinds = 8 * image.itemsize * 0x10001, kind * 0x10001
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits),
        (259, 3, 1, 1),
        (262, 3, 1, 1 if channels < 3 else 2),
        (273, 4, 1, 8),
        (274, 3, 1, orientation),
        (277, 3, 1, channels),
        (278, 4, 1, height),
        (279, 4, 1, len(pixels)),
        *([(338, 3, 1, extra_samples)] if extra_samples else []),
        (339, 3, channels, kinds),
    ]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 24 + len(pixels)) + pixels + lists + directory


JPEG = jpeg(smooth(40, 60, 3))


# ---------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_suffix_is_written_and_read(
    tmp_path: Path, suffix: str, channels: int, dtype: type
) -> None:
    image = smooth(21, 34, channels, dtype)
    path = tmp_path / f"Bild ä 画{suffix.upper()}"
    if suffix == ".pgm" and channels > 1:
        with pytest.raises(ValueError, match=r"\.ppm"):
            write(path, image)
        return
    write(path, image)
    result = read(path)
    expected = image
    if channels == 4 and suffix not in (".png", ".webp", ".bmp", ".tif", ".tiff"):
        expected = with_channels(image, 3)
    if channels == 1 and suffix in (".webp", ".ppm"):
        expected = with_channels(image, 3)
    if dtype == np.uint16 and suffix not in (".png", ".tif", ".tiff", ".pgm", ".ppm", ".pnm"):
        expected = np.rint(expected / 257).astype(np.uint8)
    assert result.shape == expected.shape
    assert result.dtype == expected.dtype
    lossy = suffix in (".jpg", ".jpeg", ".jpe", ".jfif", ".webp")
    error = np.abs(result.astype(int) - expected)
    assert error.max() <= (12 if lossy else 0)
    assert error.mean() <= (2 if lossy else 0)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png(2, 1, 8, 0, b"\0\x10\x20"), [[16], [32]]),
        (png(2, 1, 1, 0, b"\0\x40"), [[0], [255]]),
        (png(2, 1, 8, 2, b"\0\1\2\3\4\5\6"), [[1, 2, 3], [4, 5, 6]]),
        (png(2, 1, 8, 4, b"\0\x10\x80\x20\xff"), [[16, 16, 16, 128], [32, 32, 32, 255]]),
        (
            png(2, 1, 8, 3, b"\0\0\1", chunk(b"PLTE", bytes(range(6)))),
            [[0, 1, 2], [3, 4, 5]],
        ),
        (
            png(2, 1, 2, 3, b"\0\x10", chunk(b"PLTE", bytes(range(6))), chunk(b"tRNS", b"\x80")),
            [[0, 1, 2, 128], [3, 4, 5, 255]],
        ),
        (
            png(2, 1, 8, 2, b"\0\1\2\3\4\5\6", chunk(b"tRNS", b"\0\1\0\2\0\3")),
            [[1, 2, 3, 0], [4, 5, 6, 255]],
        ),
        (
            png(2, 1, 8, 0, b"\0\x10\x20", chunk(b"tRNS", b"\0\x20")),
            [[16, 16, 16, 255], [32, 32, 32, 0]],
        ),
        (
            png(2, 1, 1, 0, b"\0\x40", chunk(b"tRNS", b"\0\1")),
            [[0, 0, 0, 255], [255, 255, 255, 0]],
        ),
        (
            png(2, 1, 16, 0, b"\0\1\2\3\4", chunk(b"tRNS", b"\1\2")),
            [[258, 258, 258, 0], [772, 772, 772, 65535]],
        ),
        (png(1, 1, 16, 2, b"\0\1\2\3\4\5\6"), [[258, 772, 1286]]),
        (png(1, 1, 16, 4, b"\0\1\2\3\4"), [[258, 258, 258, 772]]),
        (b"P5 2 1 255 \x00\x80", [[0], [128]]),
        (b"P5 2 # white is 100\n1 100\n\x32\x64", [[128], [255]]),
        (b"P5 2 1 1000\n\x01\xf4\x03\xe8", [[32768], [65535]]),
        (b"P2 2 1 100\n50 100\n", [[128], [255]]),
        (b"P3 1 1 1000\n0 500 1000\n", [[0, 32768, 65535]]),
        (b"P6 1 1 100\n\x00\x32\xc8", [[0, 128, 255]]),
    ],
)
def test_kinds_of_pixels(data: bytes, expected: list[list[int]]) -> None:
    image = decode(data)
    assert image.shape == (1, len(expected), len(expected[0]))
    assert image.dtype == (np.uint16 if max(map(max, expected)) > 255 else np.uint8)
    np.testing.assert_allclose(image[0], expected, atol=int(data.startswith(b"P2")), rtol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_alpha_becomes_straight(dtype: type) -> None:
    top = np.iinfo(dtype).max
    straight = (
        np.array([[[200, 100, 50, 128], [10, 20, 30, 255], [9, 9, 9, 0]]]) * (top // 255)
    ).astype(dtype)
    alpha = straight[..., 3:] / top
    premultiplied = np.dstack([straight[..., :3] * alpha, straight[..., 3]]).round().astype(dtype)
    for image, kind in ((straight, 2), (premultiplied, 1)):
        result = decode(tiff(image, extra_samples=kind))
        visible = straight[..., 3] > 0
        assert np.abs(result[visible].astype(int) - straight[visible]).max() <= 1
        assert result[0, 2, 3] == 0


def test_floating_point_tiff_is_scaled_or_refused() -> None:
    image = np.array([[[0.0], [0.5], [1.0]]], np.float32)
    np.testing.assert_array_equal(decode(tiff(image))[0, :, 0], [0, 32768, 65535])
    for value in (1.5, -0.1, np.nan):
        image[0, 0] = value
        with pytest.raises(BrokenImage, match="floating-point samples"):
            decode(tiff(image))


def test_tiffs_of_other_samples_are_refused() -> None:
    with pytest.raises(BrokenImage, match="int16 samples"):
        decode(tiff(np.zeros((2, 2, 1), np.int16)))
    with pytest.raises(BrokenImage, match="grey TIFF with alpha"):
        decode(tiff(np.zeros((2, 2, 2), np.uint8), extra_samples=2))


# ---------------------------------------------------------------------------------------- upright


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_orientation(tmp_path: Path, orientation: int, channels: int) -> None:
    stored = smooth(24, 40, channels)
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(stored, app1=b"Exif\0\0" + exif(orientation, "<>"[orientation % 2])))
    image = read(path)
    expected = UPRIGHT[orientation](stored)
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 12
    theirs = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB if channels == 3 else cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(image.squeeze(), theirs)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_orientation_of_pictures_with_alpha(orientation: int) -> None:
    stored = smooth(5, 9, 4)
    rows = b"".join(b"\0" + row.tobytes() for row in stored)
    image = decode(png(9, 5, 8, 6, rows, chunk(b"eXIf", exif(orientation))))
    np.testing.assert_array_equal(image, UPRIGHT[orientation](stored))
    assert image.flags.c_contiguous
    for prefix in (b"", b"Exif\0\0"):  # both are met in WebP files
        block = np.frombuffer(prefix + exif(orientation), np.uint8)
        _, data = cv2.imencodeWithMetadata(".webp", stored, [cv2.IMAGE_METADATA_EXIF], [block])
        image = decode(data.tobytes())
        np.testing.assert_array_equal(image[..., 3], UPRIGHT[orientation](stored)[..., 3])


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_orientation_is_applied_once(orientation: int, channels: int) -> None:
    stored = smooth(5, 9, channels, np.uint16)
    image = decode(tiff(stored, extra_samples=2 * (channels == 4), orientation=orientation))
    np.testing.assert_array_equal(image, UPRIGHT[orientation](stored))


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0II*\0", b"Exif\0\0" + exif(6)[:-8], b"?"])
def test_damaged_exif_is_ignored(block: bytes) -> None:
    np.testing.assert_array_equal(decode(jpeg(smooth(40, 60, 3), app1=block)), decode(JPEG))


# ---------------------------------------------------------------------------------------- broken


def whole(suffix: str) -> bytes:
    return encode(smooth(40, 60, 1 if suffix == ".pgm" else 3), suffix)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.95, 0.9999])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".ppm", ".pgm"])
def test_cut_short(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, share: float
) -> None:
    data = whole(suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: max(12, int(len(data) * share))])
    with pytest.raises(BrokenImage, match="cut short") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.95, 0.9999])
def test_tiff_cut_short(share: float) -> None:
    data = whole(".tif")
    with pytest.raises(BrokenImage, match=r"cut short|does not decode"):
        decode(data[: max(12, int(len(data) * share))])


@pytest.mark.parametrize("missing", range(1, 13))
def test_png_wants_all_of_its_end(missing: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BrokenImage, match="cut short"):
        decode(whole(".png")[:-missing])
    assert capfd.readouterr().err == ""


def test_a_thumbnail_does_not_hide_that_the_picture_is_cut_short() -> None:
    data = jpeg(smooth(40, 60, 3), app1=b"Exif\0\0" + exif(1) + JPEG)
    assert decode(data).shape == (40, 60, 3)
    with pytest.raises(BrokenImage, match="end-of-image"):
        decode(data[:-2])


def test_data_after_the_picture_is_ignored() -> None:
    expected = decode(JPEG)
    for after in (b"MotionPhoto\0" + bytes(range(256)) * 9, JPEG[:-2], b"\xff\xd9"):
        np.testing.assert_array_equal(decode(JPEG + after), expected)


def test_jpeg_with_fill_bytes_and_several_scans() -> None:
    padded = JPEG[:2] + b"\xff\xff" + JPEG[2:]
    np.testing.assert_array_equal(decode(padded), decode(JPEG))
    progressive = jpeg(smooth(40, 60, 3), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert progressive.count(b"\xff\xda") > 1
    assert decode(progressive).shape == (40, 60, 3)
    with pytest.raises(BrokenImage, match="end-of-image"):
        decode(progressive[: progressive.rfind(b"\xff\xda") + 20])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"only text, whatever the suffix says\n" * 9, "not a PNG, JPEG"),
        (b"P6 is how this text begins\n", "damaged header"),
        (b"P5 2 1 0\n\0\0", "damaged header"),
        (b"P5 2 1 65536\n\0\0", "damaged header"),
        (b"P5 " + b"9" * 5000 + b" 1 255\n", "damaged header"),
        (b"P5 2 1 65535\n\0\0\0", "cut short"),
        (b"GIF89a" + bytes(99), "not a PNG, JPEG"),
        (bytes(99), "not a PNG, JPEG"),
        (b"\xff\xd8\xff", "cut short"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (b"BM", "cut short"),
        (b"II*\0", "cut short"),
        (b"RIFF\x04\0\0\0WEBP", "does not decode"),
        (JPEG[:2] + b"\xff\xd9" + bytes(9), "end-of-image"),
        (png(0, 5, 8, 0, b""), "0 x 5"),
    ],
)
def test_not_a_picture(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], data: bytes, why: str
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(BrokenImage, match=why) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert capfd.readouterr().err == ""


def test_damage_inside_is_found() -> None:
    data = bytearray(png(2, 1, 8, 0, b"\0\x10\x20"))
    data[45] ^= 255
    with pytest.raises(BrokenImage, match="does not decode"):
        decode(bytes(data))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(BrokenImage, match=f"^{path}: "):
            read(path)


def bombs() -> dict[str, bytes]:
    side = 40_000
    head = JPEG.index(b"\xff\xc0") + 5
    vp8x = b"VP8X" + struct.pack("<II", 10, 0) + (side - 1).to_bytes(3, "little") * 2
    return {
        "png": png(side, side, 8, 2, b"\0"),
        "jpeg": JPEG[:head] + struct.pack(">HH", side, side) + JPEG[head + 4 :],
        "webp": b"RIFF" + struct.pack("<I", 4 + len(vp8x)) + b"WEBP" + vp8x,
        "bmp": b"BM" + struct.pack("<IIIIiiHHI", 0, 0, 54, 40, side, -side, 1, 8, 1) + bytes(20),
        "tiff": tiff(np.zeros((1, 1, 1), np.uint8)).replace(
            struct.pack("<HHII", 256, 4, 1, 1) + struct.pack("<HHII", 257, 4, 1, 1),
            struct.pack("<HHII", 256, 4, 1, side) + struct.pack("<HHII", 257, 4, 1, side),
        ),
        "ppm": f"P3 {side} {side} 255\n0 ".encode(),
    }


@pytest.mark.parametrize("kind", bombs())
def test_bombs_are_refused_before_decoding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "imdecodeWithMetadata")
    with pytest.raises(BrokenImage, match="40000 x 40000"):
        decode(bombs()[kind])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".ppm"])
def test_the_limit_is_exact(monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    data = whole(suffix)
    monkeypatch.setattr(module, "MAX_PIXELS", 40 * 60)
    assert decode(data).shape == (40, 60, 3)
    monkeypatch.setattr(module, "MAX_PIXELS", 40 * 60 - 1)
    with pytest.raises(BrokenImage, match="60 x 40"):
        decode(data)


@pytest.mark.parametrize(
    ("quality", "channels", "kind"), [(95, 3, b"VP8 "), (101, 3, b"VP8L"), (95, 4, b"VP8X")]
)
def test_size_in_every_kind_of_webp(
    monkeypatch: pytest.MonkeyPatch, quality: int, channels: int, kind: bytes
) -> None:
    image = smooth(37, 61, channels)
    data = cv2.imencode(".webp", image, (cv2.IMWRITE_WEBP_QUALITY, quality))[1].tobytes()
    assert data[12:16] == kind
    monkeypatch.setattr(module, "MAX_PIXELS", 1)
    with pytest.raises(BrokenImage, match="61 x 37"):
        decode(data)


# ---------------------------------------------------------------------------------------- writing


def test_write_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.png"
    write(path, smooth(4, 4, 3))
    write(path, smooth(8, 8, 3))
    assert read(path).shape == (8, 8, 3)
    assert list(path.parent.iterdir()) == [path]
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    write(path, smooth(4, 4, 3))
    before = path.read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    for owner, name in ((os, "replace"), (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, full)
            with pytest.raises(OSError, match="No space"):
                write(path, smooth(8, 8, 3))
        assert path.read_bytes() == before
        assert list(tmp_path.iterdir()) == [path]


def test_write_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'\.gif'.*\.png, \.jpg"):
        write(tmp_path / "a.gif", smooth(4, 4, 3))
    for image in (smooth(4, 4, 3)[..., 0], smooth(4, 4, 3)[..., :2], np.zeros((4, 4, 3))):
        with pytest.raises(ValueError, match="uint8 or uint16"):
            write(tmp_path / "a.png", image)
    with pytest.raises(ValueError, match="too large"):
        write(tmp_path / "a.webp", np.zeros((1, 20_000, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_alpha_is_composited_on_white_where_it_cannot_be_kept() -> None:
    image = np.zeros((16, 16, 4), np.uint8)
    image[..., 3] = 51
    assert np.abs(decode(encode(image, ".jpg")).astype(int) - 204).max() <= 2


# ---------------------------------------------------------------------------------------- finding


def test_find(tmp_path: Path) -> None:
    names = ["b.png", "a/z.JPG", "a/b/c.Tiff", "a.png", "B.webp", "Ü.pgm", "a-b/x.png"]
    others = [
        ".hidden.png",
        ".cache/a.png",
        "a/notes.txt",
        "png",
        "a/.x.jpg.tmp",
        "model.safetensors",
    ]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")  # reading it would never end
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "self.png").symlink_to("self.png")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "c").symlink_to("a-b")
    (tmp_path / "link.png").symlink_to("b.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find(tmp_path)]
    assert found == sorted([*names, "c/x.png", "link.png"])
    with pytest.raises(OSError, match="none"):
        find(tmp_path / "none")


# ---------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("background", [0, 100, 255])
def test_alpha_is_composited(dtype: type, background: int) -> None:
    rng = np.random.default_rng(0)
    top = np.iinfo(dtype).max
    image = rng.integers(0, top, (64, 64, 4), dtype, endpoint=True)
    image[0], image[1, :, 3], image[2, :, 3] = top, 0, top
    alpha = image[..., 3:] / top
    expected = image[..., :3] * alpha + background / 255 * top * (1 - alpha)
    result = with_channels(image, 3, background)
    assert result.dtype == dtype
    assert np.abs(result - expected).max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(result[2], image[2, :, :3])
    np.testing.assert_array_equal(with_channels(image, 1, background), with_channels(result, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_channels(dtype: type) -> None:
    top = np.iinfo(dtype).max
    for have in (1, 3, 4):
        for want in (1, 3, 4):
            image = smooth(5, 7, have, dtype)
            result = with_channels(image, want)
            assert result.shape == (5, 7, want)
            assert result.dtype == dtype
            if have < want:
                np.testing.assert_array_equal(with_channels(result, have), image)
            if have < 4 and want == 4:
                assert (result[..., 3] == top).all()
            if have == want:
                assert result is image
    grey = with_channels(smooth(5, 7, 3, dtype), 1)[..., 0]
    rec601 = smooth(5, 7, 3, dtype) @ [0.299, 0.587, 0.114]
    assert np.abs(grey - rec601).max() <= 0.5 + 1e-4 * top
    with pytest.raises(ValueError, match="not 2"):
        with_channels(smooth(5, 7, 3), 2)


# ---------------------------------------------------------------------------------------- size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(10, 10), (90, 130), (10, 130), (90, 10), (40, 10), (40, 90)])
def test_resize_keeps_the_picture(size: tuple[int, int], channels: int, dtype: type) -> None:
    """A ramp stays a ramp: also tells that nothing is shifted by half a pixel."""
    image = smooth(40, 60, channels, dtype)
    result = resize(image, *size)
    assert result.shape == (*size, channels)
    assert result.dtype == dtype
    inner = result[2:-2, 2:-2, 0] / np.iinfo(dtype).max
    x = (np.arange(size[1]) + 0.5) * 60 / size[1] - 0.5
    expected = np.broadcast_to(x / 59, size)[2:-2, 2:-2]
    assert np.abs(inner - expected).max() <= 0.01


def test_resize_to_the_same_size_is_the_same_array() -> None:
    image = smooth(4, 5, 3)
    assert resize(image, 4, 5) is image


@pytest.mark.parametrize("size", [(100, 100), (128, 128), (97, 51), (100, 256), (100, 400)])
def test_resize_does_not_alias(size: tuple[int, int]) -> None:
    lines = np.zeros((256, 256, 3), np.uint8)
    lines[::2] = 255
    board = lines ^ lines.transpose(1, 0, 2)
    for image in (board, lines):
        error = np.abs(resize(image, *size)[3:-3, 3:-3] - 127.5).max()
        assert 0.4 <= error <= 51  # a box of 2.56 pixels leaves up to 1/5 of the contrast
    aliased = cv2.resize(board, (100, 100), interpolation=cv2.INTER_CUBIC)
    assert np.abs(aliased - 127.5).max() > 100  # the bound above tells the two apart


def test_resize_clips_what_cubics_overshoot() -> None:
    image = np.zeros((8, 8, 1), np.uint8)
    image[:, 4:] = 255
    result = resize(image, 8, 64)
    assert (result[:, :20] == 0).all()
    assert (result[:, -20:] == 255).all()
    assert (np.diff(result[0, 26:38, 0].astype(int)) >= 0).all()


def test_hidden_colours_do_not_bleed_when_resized() -> None:
    """An opaque red square on transparent black: every visible pixel stays red."""
    for kind in (np.uint8, np.uint16):
        image = np.zeros((16, 16, 4), kind)
        image[5:11, 5:11] = (np.iinfo(kind).max, 0, 0, np.iinfo(kind).max)
        for size in (8, 4, 37):
            small = resize(image, size, size)
            seen = small[..., 3] > np.iinfo(kind).max // 8
            assert seen.any()
            assert (small[seen][:, 0] > 0.98 * np.iinfo(kind).max).all()
            assert (small[..., 1:3] == 0).all()
