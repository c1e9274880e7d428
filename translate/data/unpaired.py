"""Two folders without pairs: {"x": [B, C, H, W], "y": ...} in [-1, 1]."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from translate.data.dataset import Stream
from translate.data.domains import (
    FIGURES,
    Channels,
    blank,
    domain,
    name_domains,
    translations_header,
)
from translate.data.preparation import Preparation
from translate.errors import UserError
from translate.pictures import sheet


class Unpaired:
    """domains: two folders, sub-folders included; names: what to call them (their last names).

    channels: of each domain: 1 grey, 3 colour, 4 colour and alpha; pictures are converted.
    validation: two folders to judge by.
    """

    wanted: ClassVar = "the two folders of pictures: --domains sketches photos"
    figures: ClassVar = {"swd": FIGURES["swd"]}

    def __init__(
        self,
        prepare: Preparation,
        *,
        domains: tuple[str, str] | tuple[()] = (),
        names: tuple[str, str] | tuple[()] = (),
        channels: tuple[Channels, Channels] = (3, 3),
        validation: tuple[str, str] | tuple[()] = (),
    ) -> None:
        if not domains:
            raise UserError(f"give {self.wanted}")
        self.prepare = prepare
        self.keeps_sizes, self.squares = prepare.keeps_sizes, prepare.squares
        self.names = name_domains(names, domains)
        self.found: dict[str, Any] = {"names": tuple(self.names.values())}
        self.title = tuple(self.names.values())
        self.channels = self.channels_of({"channels": channels})
        self.streams = self._streams(domains)
        self.held_out = self._streams(validation) if validation else []

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        return dict(zip(("x", "y"), values["channels"], strict=True))

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        return blank(cls.channels_of(values), values)

    def _streams(self, folders: tuple[str, str]) -> list[Stream]:
        return [
            domain(name, folder, self.prepare, key, self.channels[key])
            for folder, (key, name) in zip(folders, self.names.items(), strict=True)
        ]

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return translations_header(translations, self.names, self.channels)

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return made

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        return sheet(rows)
