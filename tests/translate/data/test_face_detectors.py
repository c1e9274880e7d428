"""OpenCV's cascades on drawn faces; YuNet, which OpenCV does not bring, by what is handed to it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from drawn_face import draw_face, eyes_of

from translate.data.face_detectors import Cascades, Face, YuNet, open_detector
from translate.data.image import read, with_channels
from translate.errors import UserError

REAL = Path(__file__).parents[4] / "shared/data/faces-orl"


def found(picture: np.ndarray, detector: Any = None) -> list[Face]:
    layered = picture[..., None] if picture.ndim == 2 else picture
    return (detector or open_detector())(with_channels(layered, 3))


def assert_eyes(face: Face, eyes: np.ndarray, share: float = 0.04) -> None:
    """Either eye within a share of the eyes' distance."""
    off = np.linalg.norm([face.left, face.right] - eyes, axis=1)
    assert (off < share * np.linalg.norm(eyes[1] - eyes[0])).all(), off


# ---------------------------------------------------------------------------------------- cascades


@pytest.mark.parametrize("angle", [0, 12, -18])
@pytest.mark.parametrize("breadth", [50, 170])
def test_a_face_and_its_eyes_are_found(breadth: float, angle: float) -> None:
    place = (1.1 * breadth, 1.2 * breadth), breadth, angle
    (face,) = found(draw_face(int(2.5 * breadth), int(2.1 * breadth), place))
    assert face.seen
    assert_eyes(face, eyes_of(*place))


def test_faces_in_a_large_picture_are_where_they_are() -> None:
    """It is searched at less than half its size."""
    places = ((520.0, 760.0), 300.0, 10.0), ((1800.0, 500.0), 220.0, -8.0)
    faces = found(draw_face(1100, 2300, *places))
    assert len(faces) == 2
    for face, place in zip(sorted(faces, key=lambda face: face.left[0]), places, strict=True):
        assert face.seen
        assert_eyes(face, eyes_of(*place))


def test_a_face_that_is_wider_than_the_picture() -> None:
    place = (25.0, 30.0), 66.0, 0.0
    (face,) = found(draw_face(66, 50, place))
    assert_eyes(face, eyes_of(*place))


def test_hidden_eyes_are_where_eyes_mostly_are() -> None:
    place = (150.0, 160.0), 130.0, 0.0
    (face,) = found(draw_face(320, 300, place, glasses=True))
    assert not face.seen
    assert face.left[1] == face.right[1]
    assert_eyes(face, eyes_of(*place), share=0.2)


def test_no_face_in_what_shows_none() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    for picture in (noise, np.full((64, 64, 3), 200, np.uint8), noise[:1, :1], noise[:3]):
        assert found(picture) == []


class Boxes:
    """Stands in for a cascade: the same boxes (x, y, width, height) in every picture."""

    def __init__(self, *boxes: tuple[int, ...]) -> None:
        self.boxes = np.array(boxes)

    def detectMultiScale(self, *words: object, **more: object) -> np.ndarray:  # noqa: N802
        return self.boxes


def test_a_box_in_a_face_and_one_beside_the_picture_are_none() -> None:
    """The picture, 100 x 100, has a margin of 20 around it when it is searched."""
    detector: Any = Cascades()
    detector.faces = Boxes((40, 40, 20, 20), (30, 30, 60, 60), (80, 30, 40, 40), (0, 30, 20, 20))
    faces = found(np.full((100, 100), 90, np.uint8), detector)
    middles = [(face.left + face.right)[0] / 2 for face in faces]
    assert middles == pytest.approx([10 + 30, 60 + 20])


def test_the_eyes_are_those_nearest_to_their_places() -> None:
    detector: Any = Cascades()
    detector.faces = Boxes((20, 20, 100, 100))
    picture = np.full((100, 100), 90, np.uint8)
    detector.eyes = Boxes((50, 80, 60, 60), (66, 90, 60, 60), (186, 96, 60, 60), (120, 240, 60, 60))
    (face,) = found(picture, detector)
    np.testing.assert_allclose([face.left, face.right], [[32, 40], [72, 42]])
    assert face.seen
    detector.eyes = Boxes((66, 90, 60, 60), (180, 150, 60, 60))  # the second is too low
    (face,) = found(picture, detector)
    assert not face.seen


def test_threads_share_a_detector() -> None:
    places = [((80.0 + k, 90.0), 70.0, 0.0) for k in range(6)]
    pictures = [draw_face(180, 170, place) for place in places]
    detector = open_detector()
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda picture: found(picture, detector), pictures))
    for faces, place in zip(together, places, strict=True):
        assert_eyes(faces[0], eyes_of(*place))


def test_a_cascade_of_ones_own(tmp_path: Path) -> None:
    shipped = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"  # type: ignore[attr-defined]
    detector = open_detector(Path(shutil.copy(shipped, tmp_path / "mine.XML")))
    place = (90.0, 100.0), 80.0, 0.0
    (face,) = found(draw_face(200, 190, place), detector)
    assert_eyes(face, eyes_of(*place))


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real faces at {REAL}")
def test_real_faces() -> None:
    """Close-ups, some cut by the picture's edge: one face in each, and mostly both eyes."""
    detector, paths = open_detector(), sorted(REAL.glob("*.pgm"))[::5]
    faces = [found(read(path), detector) for path in paths]
    assert [len(some) for some in faces].count(1) >= 0.98 * len(paths)
    assert sum(some[0].seen for some in faces if some) >= 0.8 * len(paths)


# ------------------------------------------------------------------------------------------- YuNet


class FakeNet:
    """Answers as ``cv2.FaceDetectorYN``: box, right eye, left eye, nose, mouth, score per face."""

    def __init__(self, *marks: list[list[float]]) -> None:
        self.marks = marks
        self.sizes: list[tuple[int, int]] = []
        self.pictures: list[np.ndarray] = []

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
        self.sizes.append(size)

    def detect(self, picture: np.ndarray) -> tuple[int, np.ndarray | None]:
        self.pictures.append(picture)
        rows = [[0, 0, 9, 9, *np.ravel(marks), 0.99] for marks in self.marks]
        return 1, np.array(rows, np.float32) if rows else None


@pytest.fixture
def yunet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A detector around a net that is made on the spot."""

    def make(*marks: list[list[float]]) -> tuple[Any, FakeNet]:
        net, made_of = FakeNet(*marks), []

        def create(model: str, config: str, size: tuple[int, int]) -> FakeNet:
            made_of.append(model)
            return net

        monkeypatch.setattr(cv2.FaceDetectorYN, "create", create)
        file = tmp_path / "yunet.onnx"
        file.touch()
        detector = open_detector(file)
        assert isinstance(detector, YuNet)
        assert made_of == [str(file)]
        return detector, net

    return make


FRONTAL = [[40.0, 60.0], [80.0, 60.0], [60.0, 80.0], [44.0, 100.0], [76.0, 100.0]]


def test_yunet_is_given_small_bgr_and_answers_in_the_pictures_pixels(yunet: Any) -> None:
    detector, net = yunet(FRONTAL)
    picture = np.zeros((750, 1000, 3), np.uint8)
    picture[..., 0] = 200  # red
    (face,) = detector(picture)
    assert net.sizes[-1] == (500, 375)
    assert net.pictures[-1].shape == (375, 500, 3)
    assert (net.pictures[-1] == [0, 0, 200]).all()
    np.testing.assert_allclose([face.left, face.right], [[80, 120], [160, 120]])
    assert face.seen


def test_yunet_finds_many_or_none(yunet: Any) -> None:
    picture = np.zeros((100, 120, 3), np.uint8)
    assert yunet()[0](picture) == []
    assert len(yunet(FRONTAL, FRONTAL)[0](picture)) == 2


@pytest.mark.parametrize("angle", [0, 30, -100, 180])
def test_a_tilted_face_is_level_along_its_eyes(yunet: Any, angle: float) -> None:
    turn = np.radians(angle)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    marks = np.array(FRONTAL) @ rotation.T + 200
    (face,) = yunet(marks)[0](np.zeros((400, 400, 3), np.uint8))
    np.testing.assert_allclose([face.left, face.right], marks[:2], rtol=1e-5)


def test_a_face_turned_aside_keeps_its_size(yunet: Any) -> None:
    """Eyes 10 apart, but 40 from the mouth: taken for 0.9 x 40 apart, about the same middle."""
    marks = [[55.0, 60.0], [65.0, 60.0], [70.0, 80.0], [57.0, 100.0], [63.0, 100.0]]
    (face,) = yunet(marks)[0](np.zeros((150, 150, 3), np.uint8))
    np.testing.assert_allclose([face.left, face.right], [[42, 60], [78, 60]], rtol=1e-5)


# ------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("name", ["none.xml", "none.onnx", "text.txt", "bad.xml", "bad.onnx"])
def test_what_is_no_detector(tmp_path: Path, name: str) -> None:
    for there in ("text.txt", "bad.xml", "bad.onnx"):
        (tmp_path / there).write_text("<a>nonsense</a>")
    with pytest.raises(UserError, match=name) as error:
        open_detector(tmp_path / name)
    assert "(.xml)" in str(error.value)
    assert "(.onnx)" in str(error.value)
    assert "\n" not in str(error.value)
