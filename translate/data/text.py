"""Lines of text: {"image": [B, V, L] one-hot over V characters}.

Gulrajani et al. 2017, section 5.5, and the authors' ``language_helpers.py``: a sample is a line,
cut at ``length`` characters or filled with a sign for its end.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gan_core.metrics import ngram_divergence
from translate.data.dataset import Entry, Seed, Stream
from translate.errors import UserError

END, UNKNOWN = "\n", "\N{REPLACEMENT CHARACTER}"  # the first two of every model's characters


def _divergence(n: int, real: Tensor, made: Tensor) -> float:
    return ngram_divergence(real, made, n)


class Text:
    """text: a file in UTF-8. A sample is a line that is not blank; what it has beyond ``length`` is
        left out.

    length: characters of a sample; a shorter line is filled with the sign for its end.
    vocabulary: most characters that are told apart, the commonest; one sign stands for all others.
    characters: those to tell apart, in the order of their channels; the text's own, where none is
        named.
    """

    wanted: ClassVar = "the text, a file in UTF-8: --text FILE"
    # the longest first: by it the best model is kept
    figures: ClassVar = {f"jsd-{n}": partial(_divergence, n) for n in (4, 3, 2, 1)}
    keeps_sizes, squares = False, False

    def __init__(
        self,
        *,
        text: str = "",
        length: int = 32,
        vocabulary: int = 100,
        characters: str = "",
    ) -> None:
        if length < 4:
            raise ValueError(f"length must be 4 or more, not {length}")
        if vocabulary < 2:
            raise ValueError(f"vocabulary must be 2 or more, not {vocabulary}")
        if not text:
            raise UserError(f"give {self.wanted}")
        lines = _lines(Path(text), length)
        characters = characters or _commonest(lines, vocabulary)
        if len(characters) < 2:
            raise UserError(f"{text} has one character, {characters!r}: there is nothing to learn")
        name = Path(text).stem
        self.title: tuple[str, ...] = (name,)
        self.names = {"image": name}
        self.found: dict[str, Any] = {"characters": characters}
        self.alphabet = END + UNKNOWN + characters
        self.channels = {"image": len(self.alphabet)}
        numbers = torch.from_numpy(_numbers(lines, length, self.alphabet))
        entries = [Entry((), number) for number in range(len(numbers))]
        load = partial(_row, numbers, len(self.alphabet))
        self.streams = [Stream(name, entries, load)]
        self.held_out: list[Stream] = []

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        """Without looking at the text: as if it had all characters that are told apart."""
        known = len(values["characters"]) or values["vocabulary"]
        return {"image": len(END + UNKNOWN) + known}

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        return {"image": torch.empty(2, cls.channels_of(values)["image"], values["length"])}

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        return {"characters": self.alphabet}

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """[N, L]: the numbers of the likeliest characters."""
        return made.argmax(1)

    def sheet(self, rows: Mapping[str, Tensor]) -> str:
        """The rows' lines, each below the row's name."""
        parts = [
            [f"[{row.replace('image', self.title[0])}]", *spelled(numbers, self.alphabet)]
            for row, numbers in rows.items()
        ]
        return "\n\n".join("\n".join(part) for part in parts) + "\n"


def spelled(numbers: Tensor, alphabet: str) -> list[str]:
    """The lines [N, L] that a model's characters make, each up to the first sign for its end."""
    lines = ("".join(alphabet[number] for number in line) for line in numbers.tolist())
    return [line.partition(END)[0] for line in lines]


def _lines(path: Path, length: int) -> list[str]:
    """The first ``length`` characters of all lines that are not blank."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8: byte {error.start} is not of it") from None
    lines = [line[:length] for line in text.splitlines() if line.strip()]
    if len(lines) < 2:
        raise UserError(
            f"{path} has {len(lines)} lines that are not blank: a sample is a line of some "
            f"{length} characters, and two or more are needed"
        )
    return lines


def _commonest(lines: list[str], most: int) -> str:
    counts = Counter("".join(lines))
    del counts[UNKNOWN]
    return "".join(character for character, _ in counts.most_common(most))


def _numbers(lines: list[str], length: int, alphabet: str) -> np.ndarray:
    """[N, length] int32: each character's place in the alphabet."""
    filled = "".join(line.ljust(length, END) for line in lines)
    codes = np.frombuffer(filled.encode("utf-32-le"), "<u4").reshape(-1, length)
    numbers = np.full(0x110000, alphabet.index(UNKNOWN), np.int32)  # of every character there is
    numbers[[ord(character) for character in alphabet]] = np.arange(len(alphabet))
    return numbers[codes]


def _row(numbers: Tensor, count: int, entry: Entry, seed: Seed) -> dict[str, Tensor]:
    return {"image": F.one_hot(numbers[entry.label].long(), count).T.float()}
