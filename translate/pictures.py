"""Grids of pictures."""

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from translate.data.image import with_channels
from translate.data.tensors import to_image


def sheet(rows: Mapping[str, Tensor]) -> np.ndarray:
    """The pictures of each row, [N, C, H, W] in [-1, 1], beside each other."""
    return grid([[to_image(picture) for picture in row] for row in rows.values()])


def grid(rows: Sequence[Sequence[np.ndarray]], gap: int = 2) -> np.ndarray:
    """Rows of pictures [H, W, C] uint8 as one picture on white, each cell as large as the largest.

    Pictures of fewer channels than others are converted, so that grey ones stand beside colour.
    """
    flat = [image for row in rows for image in row]
    channels = max(image.shape[2] for image in flat)
    height, width = max(i.shape[0] for i in flat), max(i.shape[1] for i in flat)
    columns = max(map(len, rows))
    sheet = np.full(
        (len(rows) * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8
    )
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            top, left = r * (height + gap), c * (width + gap)
            h, w = image.shape[:2]
            sheet[top : top + h, left : left + w] = with_channels(image, channels)
    return sheet
