"""Pictures in classes: {"image": [B, C, H, W] in [-1, 1], "label": [B] int64}."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from translate.data.dataset import Entry, Seed, Stream
from translate.data.domains import FIGURES, Channels, blank
from translate.data.folders import pictures
from translate.data.preparation import Preparation
from translate.errors import UserError, nearest
from translate.pictures import sheet


class Labelled:
    """images: a folder with a sub-folder of pictures for each class, whose name is the class's.

    classes: the sub-folders to train on, in the order of their labels; all, where none is named.
    channels: 1 grey, 3 colour, 4 colour and alpha; pictures are converted.
    balance: each class is shown as often as the largest one; otherwise as often as it has pictures.
    validation: a folder of the same classes to judge by.
    """

    wanted: ClassVar = "the folder of pictures, with a sub-folder for each class: --images DIR"
    figures: ClassVar = {"swd": FIGURES["swd"]}

    def __init__(
        self,
        prepare: Preparation,
        *,
        images: str = "",
        classes: tuple[str, ...] = (),
        channels: Channels = 3,
        balance: bool = True,
        validation: tuple[str] | tuple[()] = (),
    ) -> None:
        if not images:
            raise UserError(f"give {self.wanted}")
        self.prepare = prepare
        self.keeps_sizes, self.squares = prepare.keeps_sizes, prepare.squares
        self.classes = classes or _classes(Path(images))
        self.title: tuple[str, ...] = (Path(images).resolve().name,)
        self.names = {"image": self.title[0]}
        self.channels = {"image": channels, "label": len(self.classes)}
        self.found: dict[str, Any] = {"classes": self.classes}
        self.streams = [self._stream(images, self.classes, balance)]
        self.held_out = [
            self._stream(folder, _classes(Path(folder)), False) for folder in validation
        ]

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        """Without looking at the folder: as if there were two classes."""
        return {"image": values["channels"], "label": 2}

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        label = torch.zeros(2, dtype=torch.long)
        return {**blank({"image": values["channels"]}, values), "label": label}

    def _stream(self, folder: str, names: Sequence[str], balance: bool) -> Stream:
        entries = []
        for name in names:
            if name not in self.classes:
                raise UserError(
                    f"{folder} has a class {name!r} that is not trained on"
                    f"{nearest(name, self.classes)}"
                )
            label = self.classes.index(name)
            entries += [Entry((path,), label) for path in pictures(Path(folder) / name)]
        return Stream(self.title[0], entries, self._load, balance)

    def _load(self, entry: Entry, seed: Seed) -> dict[str, Tensor]:
        image = self.prepare.load(entry.files[0], self.channels["image"], seed)
        return {"image": image, "label": torch.tensor(entry.label)}

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return {"classes": list(self.classes), "channels": self.channels["image"]}

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return made

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        return sheet(rows)


def _classes(folder: Path) -> tuple[str, ...]:
    """Names of the sub-folders, sorted; UserError unless there are two or more."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        raise UserError(
            f"{folder} has {len(names)} sub-folders: classes are told apart by sub-folders, "
            "two or more, each with its pictures"
        )
    return tuple(names)
