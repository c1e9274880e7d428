"""How a picture becomes a training sample."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from translate.data.image import read, with_channels
from translate.data.tensors import to_tensor
from translate.data.transforms import PREPROCESS, augmenter, flip_half


class Preparation:
    """The [data] keys that say what happens to a picture between the file and the network.

    size, aspect: training pictures are size x rows high and size x columns wide, in pixels, with
        aspect = (rows, columns); (1, 1) are squares.
    load_ratio: "resize_crop" and "scale_width" resize to round(load_ratio x side) before they crop
        (286 to 256 in pix2pix and CycleGAN).
    preprocess: see ``translate.data.transforms.PREPROCESS``.
    flip: mirror half of the pictures; augment: albumentations transforms as tables, such as
        {transform = "ColorJitter", p = 0.5}.
    """

    def __init__(
        self,
        *,
        size: int = 256,
        aspect: tuple[int, int] = (1, 1),
        load_ratio: float = 286 / 256,
        preprocess: Literal["resize_crop", "crop", "scale_width", "pad", "none"] = "resize_crop",
        flip: bool = True,
        augment: tuple[dict[str, Any], ...] = (),
    ) -> None:
        if size < 4 or size % 4:
            raise ValueError(f"size must be a multiple of 4, not {size}")
        if min(aspect) < 1:
            raise ValueError(f"aspect must be rows and columns, 1 or more of each, not {aspect}")
        if load_ratio < 1:
            raise ValueError(f"load_ratio must be 1 or more, not {load_ratio}")
        self.sides = (size * aspect[0], size * aspect[1])
        self.load_sides = (round(self.sides[0] * load_ratio), round(self.sides[1] * load_ratio))
        self.preprocess, self.flip = PREPROCESS[preprocess], flip
        self.augment = augmenter(list(augment)) if augment else None
        self.keeps_sizes = preprocess == "none"
        # shows all of a picture, as a square
        self.squares = preprocess == "resize_crop" and aspect == (1, 1)

    def __call__(
        self, image: np.ndarray, seed: tuple[int, ...] | None, colours: bool = True
    ) -> np.ndarray:
        """The sample [H, W, C] that ``seed`` names, or, with None, the one to judge by: unchanged
        but for size. Pictures of one size under one seed get one geometry, so that a pair stays
        one; ``colours`` = False leaves out augmentation that changes pixels in their places.
        """
        rng = None if seed is None else np.random.default_rng(seed)
        image = self.preprocess(image, self.sides, self.load_sides, rng)
        if rng is not None:
            if self.augment:
                image = self.augment(image, rng, colours)
            if self.flip:
                image = flip_half(image, rng)
        return image

    def load(self, path: Path, channels: int, seed: tuple[int, ...] | None) -> Tensor:
        """A file's sample, [channels, H, W] in [-1, 1]; raises BrokenImage as ``read`` does."""
        return to_tensor(self(with_channels(read(path), channels), seed))
