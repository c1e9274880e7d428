"""Data sets by the name that a method gives for what it trains on."""

from translate.data.unpaired import Unpaired

DATA_SETS: dict[str, type[Unpaired]] = {"unpaired": Unpaired}
