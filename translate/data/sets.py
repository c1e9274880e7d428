"""Layouts of training samples by the name that a method gives for what it trains on."""

from translate.data.dataset import Layout
from translate.data.labelled import Labelled
from translate.data.paired import Paired
from translate.data.points import Points
from translate.data.text import Text
from translate.data.unlabelled import Unlabelled
from translate.data.unpaired import Unpaired

LAYOUTS: dict[str, type[Layout]] = {
    "unpaired": Unpaired,
    "paired": Paired,
    "labelled": Labelled,
    "unlabelled": Unlabelled,
    "points": Points,
    "text": Text,
}
