"""Where the eyes of the faces in a picture are, by the detectors of OpenCV.

Left and right are those of who looks at the picture; places as in ``translate.data.window``.

References
[1] Viola, Jones, "Rapid object detection using a boosted cascade of simple features", CVPR 2001.
[2] Wu, Peng, Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence Research 20,
    2023.
[3] Karras, Aila, Laine, Lehtinen, "Progressive growing of GANs for improved quality, stability, and
    variation", ICLR 2018, appendix C.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from translate.data.image import resize, with_channels
from translate.data.window import Window, cut
from translate.errors import UserError


class Face(NamedTuple):
    """The centres of the eyes, [2] each; not ``seen``: where a face like this mostly has them."""

    left: np.ndarray
    right: np.ndarray
    seen: bool


Detector = Callable[[np.ndarray], list[Face]]
"""From a picture, uint8 [H, W, 3] RGB, to its faces; called by several threads at once."""

# Numbers were chosen on the 400 close-ups of the ORL Database of Faces (AT&T Laboratories
# Cambridge), and on 190 microscopy pictures without a face.
_FACES, _EYES = "haarcascade_frontalface_alt2.xml", "haarcascade_eye_tree_eyeglasses.xml"
_LONGEST = 1000  # pixels; faces are sought in a copy no longer than this: time goes by the area
_LEAST = 1 / 32  # of the longer side; smaller faces are few pixels there, and mostly mistakes
_STEP = 1.1  # from one size sought to the next
_AGREEING = 4  # neighbouring hits that make a face; with 3, half as many mistakes more
_MARGIN = 0.2  # of the shorter side, repeated around: without it a tenth of the close-ups is missed
_VIEW = 300  # pixels that a face is brought to when its eyes are sought; 200 lose 7 % of the pairs
_EYE_SIZES = (0.15, 0.4)  # of the face's box, least and largest
_EYES_AGREEING = 3
_PLACES = np.array([[0.305, 0.39], [0.695, 0.39]])  # of the eyes in a face's box, by their medians
_ASTRAY = 0.12  # of the box: what is further from an eye's place is a brow, a nostril or a mouth


def _shrunk(picture: np.ndarray, longest: int) -> tuple[np.ndarray, np.ndarray]:
    """At most ``longest`` pixels long; and the old pixels in a new one, (x, y)."""
    height, width = picture.shape[:2]
    scale = max(1.0, max(height, width) / longest)
    small = resize(picture, max(1, round(height / scale)), max(1, round(width / scale)))
    return small, np.array([width / small.shape[1], height / small.shape[0]])


class Cascades(threading.local):
    """Faces by a cascade of Haar features [1], by default OpenCV's, and eyes in them by another.

    Threads may share an object: each has cascades of its own, which OpenCV's need.
    """

    def __init__(self, file: Path | None = None) -> None:
        shipped = Path(cv2.data.haarcascades)  # type: ignore[attr-defined]  # stubs lack cv2.data
        self.faces, self.eyes = cv2.CascadeClassifier(), cv2.CascadeClassifier()
        self.faces.load(str(file or shipped / _FACES))
        self.eyes.load(str(shipped / _EYES))

    def __call__(self, picture: np.ndarray) -> list[Face]:
        grey = with_channels(picture, 1)
        small, per = _shrunk(grey, _LONGEST)
        height, width = small.shape[:2]
        m = int(_MARGIN * min(height, width))
        around = cv2.copyMakeBorder(small, m, m, m, m, cv2.BORDER_REPLICATE)
        least = int(_LEAST * max(height, width))
        hits = self.faces.detectMultiScale(around, _STEP, _AGREEING, minSize=(least, least))
        boxes = np.reshape(hits, (-1, 2, 2)) - [[m, m], [0, 0]]
        return [self._face(grey, *(box * per)) for box in _outermost(boxes, height, width)]

    def _face(self, grey: np.ndarray, corner: np.ndarray, sides: np.ndarray) -> Face:
        view = cut(grey, Window(corner, sides * [1, 0], sides * [0, 1]), _VIEW)
        least, most = (int(share * _VIEW) for share in _EYE_SIZES)
        hits = self.eyes.detectMultiScale(
            view, _STEP, _EYES_AGREEING, minSize=(least, least), maxSize=(most, most)
        )
        boxes = np.reshape(hits, (-1, 2, 2)) / _VIEW
        centres = boxes[:, 0] + boxes[:, 1] / 2
        away = np.linalg.norm(centres - _PLACES[:, None], axis=2)  # [eye, hit]
        seen = bool((away < _ASTRAY).any(axis=1).all())
        left, right = corner + sides * (centres[away.argmin(axis=1)] if seen else _PLACES)
        return Face(left, right, seen)


def _outermost(boxes: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Boxes (corner, sides) with their centre in the picture and in no larger box."""
    kept: list[np.ndarray] = []
    for box in sorted(boxes, key=lambda box: -box[1].prod()):
        centre = box[0] + box[1] / 2
        around = [((corner < centre) & (centre < corner + sides)).all() for corner, sides in kept]
        if ((centre >= 0) & (centre < [width, height])).all() and not any(around):
            kept.append(box)
    return kept


_LONGEST_YUNET = 500  # pixels; the network was trained on faces of about 10 to 300 pixels


class YuNet(threading.local):
    """Faces by the network of [2], which OpenCV runs but does not bring; shared as ``Cascades``."""

    def __init__(self, file: Path) -> None:
        self.net = cv2.FaceDetectorYN.create(str(file), "", (320, 320))
        self(np.zeros((320, 320, 3), np.uint8))  # a network of another kind fails here

    def __call__(self, picture: np.ndarray) -> list[Face]:
        small, per = _shrunk(picture, _LONGEST_YUNET)
        self.net.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self.net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        return [_frontal(row[4:14].reshape(5, 2) * per) for row in (() if rows is None else rows)]


def _frontal(marks: np.ndarray) -> Face:
    """Of eyes, nose and corners of the mouth, [5, 2]: the eyes as they would be seen from in front.

    As in [3]: a face turned aside shows its eyes too close to each other, so that they count as at
    least 3.6 / 4.0 as far apart as they are from the mouth; and the way to the mouth helps to say
    what is level.
    """
    middle, across = marks[:2].mean(axis=0), marks[1] - marks[0]
    down = marks[3:].mean(axis=0) - middle
    level = across + down[::-1] * [1, -1]
    apart = max(np.linalg.norm(across), 0.9 * np.linalg.norm(down))
    half = level / np.linalg.norm(level) * apart / 2
    return Face(middle - half, middle + half, seen=True)


def open_detector(file: Path | None = None) -> Detector:
    """OpenCV's own cascades, or what is in ``file``: a cascade (.xml) or YuNet (.onnx)."""
    if file is None:
        return Cascades()
    kinds: dict[str, Callable[[Path], Detector]] = {".xml": Cascades, ".onnx": YuNet}
    kind = kinds.get(file.suffix.lower())
    if kind is None or not file.is_file():
        raise UserError(f"{file} is no detector: name a file, a cascade (.xml) or YuNet (.onnx)")
    try:
        return kind(file)
    except cv2.error as error:
        raise UserError(
            f"{file} is no detector that OpenCV can use ({' '.join(error.err.split())}): "
            "name a cascade for OpenCV 4 (.xml) or a YuNet network (.onnx)"
        ) from None
