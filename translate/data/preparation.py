"""How a picture becomes a training sample."""

from typing import Any, Literal

import numpy as np

from translate.data.transforms import PREPROCESS, augmenter, flip_half


class Preparation:
    """The [data] keys that say what happens to a picture between the file and the network.

    size: of the training pictures, in pixels; load_ratio: "resize_crop" and "scale_width" resize to
        round(size x load_ratio) before they crop (286 to 256 in pix2pix and CycleGAN).
    preprocess: see ``translate.data.transforms.PREPROCESS``.
    flip: mirror half of the pictures; augment: albumentations transforms as tables, such as
        {transform = "ColorJitter", p = 0.5}.
    """

    def __init__(
        self,
        *,
        size: int = 256,
        load_ratio: float = 286 / 256,
        preprocess: Literal["resize_crop", "crop", "scale_width", "pad", "none"] = "resize_crop",
        flip: bool = True,
        augment: tuple[dict[str, Any], ...] = (),
    ) -> None:
        if size < 4 or size % 4:
            raise ValueError(f"size must be a multiple of 4, not {size}")
        if load_ratio < 1:
            raise ValueError(f"load_ratio must be 1 or more, not {load_ratio}")
        self.size, self.load_size = size, round(size * load_ratio)
        self.preprocess, self.flip = PREPROCESS[preprocess], flip
        self.augment = augmenter(list(augment)) if augment else None
        self.keeps_sizes = preprocess == "none"
        self.squares = preprocess == "resize_crop"  # shows all of a picture, as a square

    def __call__(
        self, image: np.ndarray, seed: tuple[int, ...] | None, colours: bool = True
    ) -> np.ndarray:
        """The sample [H, W, C] that ``seed`` names, or, with None, the one to judge by: unchanged
        but for size. Pictures of one size under one seed get one geometry, so that a pair stays
        one; ``colours`` = False leaves out augmentation that changes pixels in their places.
        """
        rng = None if seed is None else np.random.default_rng(seed)
        image = self.preprocess(image, self.size, self.load_size, rng)
        if rng is not None:
            if self.augment:
                image = self.augment(image, rng, colours)
            if self.flip:
                image = flip_half(image, rng)
        return image
