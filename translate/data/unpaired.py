"""Two folders without pairs, as batches that are a pure function of (seed, position)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from translate.data.folders import domain_names, pictures
from translate.data.header import BrokenImage
from translate.data.image import read, with_channels
from translate.data.tensors import to_tensor
from translate.data.transforms import PREPROCESS, augmenter, flip_half

Channels = Literal[1, 3, 4]


@dataclass(frozen=True)
class Item:
    """A batch, and the files that could not be read on the way to it, with the reason."""

    batch: dict[str, Tensor]
    broken: dict[str, str] = field(default_factory=dict)


class Unpaired(Dataset[Item]):
    """Item ``position``: {"x": [B, C, H, W], "y": ...} in [-1, 1], float32.

    domains: two folders, sub-folders included; names: what to call them (the folders' last names).
    size: of the training pictures, in pixels; load_ratio: "resize_crop" and "scale_width" resize to
        round(size x load_ratio) before they crop (286 to 256 in the paper).
    preprocess: see ``translate.data.transforms.PREPROCESS``.
    flip: mirror half of the pictures; augment: albumentations transforms as tables, such as
        {transform = "ColorJitter", p = 0.5}.
    channels: of each domain: 1 grey, 3 colour, 4 colour and alpha; pictures are converted.
    validation: two folders to judge by, or else validation_share of each domain is held out.
    max_broken: largest share of unreadable files in a domain that training goes on with.

    Each domain is shuffled anew in each of its own epochs. A picture's augmentation is seeded by
    (seed, domain, epoch, index), so that neither the number of workers nor a resumed run changes
    it. An unreadable file's place is taken by the next readable one of the folder's order.
    """

    def __init__(
        self,
        seed: int,
        *,
        domains: tuple[str, str],
        names: tuple[str, str] | tuple[()] = (),
        size: int = 256,
        load_ratio: float = 286 / 256,
        preprocess: Literal["resize_crop", "crop", "scale_width", "pad", "none"] = "resize_crop",
        flip: bool = True,
        augment: tuple[dict[str, Any], ...] = (),
        channels: tuple[Channels, Channels] = (3, 3),
        batch_size: int = 1,
        validation: tuple[str, str] | tuple[()] = (),
        validation_share: float = 0.0,
        max_broken: float = 0.1,
    ) -> None:
        if size < 4 or size % 4:
            raise ValueError(f"size must be a multiple of 4, not {size}")
        if load_ratio < 1:
            raise ValueError(f"load_ratio must be 1 or more, not {load_ratio}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, not {batch_size}")
        if preprocess == "none" and batch_size > 1:
            raise ValueError("preprocess = 'none' leaves sizes as they are: batch_size must be 1")
        if not 0 <= validation_share < 1 or not 0 <= max_broken <= 1:
            raise ValueError("validation_share and max_broken are shares, from 0 to 1")
        folders = (Path(domains[0]), Path(domains[1]))
        self.names: tuple[str, str] = names or domain_names(folders)
        for name in self.names:
            if not name or "/" in name or "\\" in name or name.startswith("."):
                raise ValueError(f"names must be usable in file names, which {name!r} is not")
        if self.names[0] == self.names[1]:
            raise ValueError(f"names must differ, not both be {self.names[0]!r}")
        self.size, self.load_size = size, round(size * load_ratio)
        self.preprocess, self.flip, self.channels = PREPROCESS[preprocess], flip, channels
        self.augment = augmenter(list(augment)) if augment else None
        self.batch_size, self.max_broken, self.seed = batch_size, max_broken, seed
        found = [pictures(folder) for folder in folders]
        if validation:
            self.held_out = [pictures(Path(folder)) for folder in validation]
            self.files = found
        else:
            splits = [_hold_out(files, validation_share) for files in found]
            self.files, self.held_out = [s[0] for s in splits], [s[1] for s in splits]
            if not all(self.files):
                raise ValueError(f"validation_share = {validation_share} leaves none to train on")

    def batches_per_epoch(self) -> int:
        """Batches until the larger domain has been seen once."""
        return -(-max(map(len, self.files)) // self.batch_size)

    def channels_of(self) -> dict[str, int]:
        return dict(zip(("x", "y"), self.channels, strict=True))

    def __getitem__(self, position: int) -> Item:
        first = position * self.batch_size
        batch: dict[str, Tensor] = {}
        broken: dict[str, str] = {}
        for domain, key in enumerate(("x", "y")):
            images = [self._sample(domain, first + i, broken) for i in range(self.batch_size)]
            readable = [image for image in images if image is not None]
            if len(readable) == len(images):
                batch[key] = torch.stack(readable)
        return Item(batch, broken)

    def _sample(self, domain: int, n: int, broken: dict[str, str]) -> Tensor | None:
        files = self.files[domain]
        epoch, place = divmod(n, len(files))
        index = int(_shuffled(self.seed, domain, epoch, len(files))[place])
        rng = np.random.default_rng([self.seed, domain, epoch, index])
        for offset in range(len(files)):
            path = files[(index + offset) % len(files)]
            try:
                return self._prepare(read(path), domain, rng)
            except BrokenImage as error:
                broken[str(path)] = str(error)
        return None

    def _prepare(self, image: np.ndarray, domain: int, rng: np.random.Generator | None) -> Tensor:
        """With rng None: the deterministic form, for validation."""
        image = with_channels(image, self.channels[domain])
        image = self.preprocess(image, self.size, self.load_size, rng)
        if rng is not None:
            if self.augment:
                image = self.augment(image, rng)
            if self.flip:
                image = flip_half(image, rng)
        return to_tensor(image)

    def held_out_batch(self, count: int) -> dict[str, Tensor]:
        """Up to ``count`` pictures of each domain to judge by: held out, or else trained on."""
        batch: dict[str, Tensor] = {}
        for domain, key in enumerate(("x", "y")):
            images: list[Tensor] = []
            for path in self.held_out[domain] or self.files[domain]:
                if len(images) == count:
                    break
                try:
                    images.append(self._prepare(read(path), domain, None))
                except BrokenImage:
                    continue  # counted where it is trained on
            if not images:
                raise ValueError(f"none of the pictures to judge {self.names[domain]} can be read")
            batch[key] = _stack_equal(images)
        return batch

    def count_broken(self, broken: Mapping[str, str]) -> Mapping[str, tuple[int, int]]:
        """Of each domain: how many of its files are among ``broken``, and how many it has."""
        return {
            name: (sum(str(path) in broken for path in files), len(files))
            for name, files in zip(self.names, self.files, strict=True)
        }


@lru_cache(maxsize=8)
def _shuffled(seed: int, domain: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, domain, epoch]).permutation(count)


def _hold_out(files: list[Path], share: float) -> tuple[list[Path], list[Path]]:
    """Every so-manieth file is held out; training and judging never share one."""
    count = round(share * len(files))
    held = {i * len(files) // count for i in range(count)}
    kept = [path for i, path in enumerate(files) if i not in held]
    return kept, [files[i] for i in sorted(held)]


def _stack_equal(images: list[Tensor]) -> Tensor:
    """The pictures of the first one's shape, stacked: "none" leaves shapes that differ."""
    return torch.stack([image for image in images if image.shape == images[0].shape])
