"""One folder of pictures: {"image": [B, C, H, W] in [-1, 1]}."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from translate.data.domains import FIGURES, Channels, blank, domain
from translate.data.preparation import Preparation
from translate.errors import UserError
from translate.pictures import sheet


class Unlabelled:
    """images: a folder of pictures, sub-folders included.

    channels: 1 grey, 3 colour, 4 colour and alpha; pictures are converted.
    validation: a folder to judge by.
    """

    wanted: ClassVar = "the folder of pictures: --images DIR"
    figures: ClassVar = {"swd": FIGURES["swd"]}

    def __init__(
        self,
        prepare: Preparation,
        *,
        images: str = "",
        channels: Channels = 3,
        validation: tuple[str] | tuple[()] = (),
    ) -> None:
        if not images:
            raise UserError(f"give {self.wanted}")
        self.keeps_sizes, self.squares = prepare.keeps_sizes, prepare.squares
        name = Path(images).resolve().name
        self.title: tuple[str, ...] = (name,)
        self.names = {"image": name}
        self.channels = self.channels_of({"channels": channels})
        self.found: dict[str, Any] = {}
        self.streams, self.held_out = (
            [domain(name, folder, prepare, "image", channels) for folder in folders]
            for folders in ((images,), validation)
        )

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        return {"image": values["channels"]}

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        return blank(cls.channels_of(values), values)

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return {"channels": self.channels["image"]}

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return made

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        return sheet(rows)
