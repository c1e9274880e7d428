"""Layouts of training pictures by the name that a method gives for what it trains on."""

from typing import Any

from translate.data.labelled import Labelled
from translate.data.paired import Paired
from translate.data.unpaired import Unpaired

LAYOUTS: dict[str, type[Any]] = {"unpaired": Unpaired, "paired": Paired, "labelled": Labelled}
