"""Lines of text: which characters are told apart, what a sample holds, and how lines are shown."""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gan_core.metrics import ngram_divergence
from translate.data.dataset import DataSet
from translate.data.text import END, UNKNOWN, Text, spelled
from translate.errors import UserError
from translate.schema import keywords

FACES = "\N{GRINNING FACE}"


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "song.txt") -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def samples(layout: Text) -> Tensor:
    """[N, V, L], in the file's order."""
    (stream,) = layout.streams
    return torch.stack([stream.load(entry, None)["image"] for entry in stream.entries])


def lines_of(layout: Text) -> list[str]:
    ids = layout.picture("image", samples(layout), {})
    return spelled(ids, layout.alphabet)


# ------------------------------------------------------------------------------------- what is read


def test_a_sample_is_a_line_cut_or_filled(written: Any) -> None:
    """One-hot; the end's sign has the first channel, other characters' sign the second."""
    layout = Text(text=written("abba\nacabacus\n\nb\n"), length=5)
    assert layout.alphabet == END + UNKNOWN + "abc"
    expected = ["abba\n", "acaba", "b\n\n\n\n"]
    made = samples(layout)
    assert made.shape == (3, 5, 5)
    assert made.dtype == torch.float32
    for sample, line in zip(made, expected, strict=True):
        by_hand = np.zeros((5, 5))
        for place, character in enumerate(line):
            by_hand[layout.alphabet.index(character), place] = 1
        np.testing.assert_array_equal(sample.numpy(), by_hand)
    assert lines_of(layout) == ["abba", "acaba", "b"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\N{LINE SEPARATOR}", "\x0c"])
def test_lines_end_in_many_ways(written: Any, end: str) -> None:
    """Blank lines are none, spaces at the beginning are the line's, and a mark of the order of
    bytes is no character.
    """
    text = "\N{ZERO WIDTH NO-BREAK SPACE}" + end.join(["ab", "", "   ", "  ba", "b"])
    layout = Text(text=written(text), length=6)
    assert lines_of(layout) == ["ab", "  ba", "b"]
    assert sorted(layout.alphabet[2:]) == [" ", "a", "b"]


def test_the_commonest_characters_are_told_apart(written: Any) -> None:
    """Of what samples hold: what is cut off a line does not count."""
    text = f"cccc{FACES}{FACES}{FACES}zzzzzz\nbb{FACES}{UNKNOWN}{UNKNOWN}{UNKNOWN}{UNKNOWN}\nbda\n"
    layout = Text(text=written(text), length=7, vocabulary=3)
    assert layout.alphabet == END + UNKNOWN + f"c{FACES}b"
    assert lines_of(layout) == [
        f"cccc{FACES}{FACES}{FACES}",
        f"bb{FACES}{UNKNOWN * 4}",
        f"b{UNKNOWN * 2}",
    ]
    assert Text(text=written(text), length=7).alphabet[2:] == f"c{FACES}bda"


def test_characters_that_are_said(written: Any) -> None:
    """As the recipe of a run that is gone on with says them: the text may have changed since."""
    layout = Text(text=written("abz\nzza\n"), length=4, characters="ba")
    assert layout.alphabet == END + UNKNOWN + "ba"
    assert lines_of(layout) == [f"ab{UNKNOWN}", f"{UNKNOWN * 2}a"]
    assert layout.found == {"characters": "ba"}


def test_what_training_wants(written: Any) -> None:
    layout = Text(text=written("abc\nbcc\ncaa\nbbb\n"), length=8)
    data = DataSet(layout, 0, batch_size=2)
    batch = data[0].batch
    assert batch.keys() == {"image"}
    assert batch["image"].shape == (2, 5, 8)
    assert data.counts() == {"song": 4}
    assert data.batches_per_epoch() == 2
    epoch = torch.cat([data[at].batch["image"] for at in range(2)])
    assert sorted(epoch.tolist()) == sorted(samples(layout).tolist())
    assert torch.equal(pickle.loads(pickle.dumps(data))[1].batch["image"], data[1].batch["image"])
    assert layout.channels == {"image": 5}
    assert (layout.names, layout.title) == ({"image": "song"}, ("song",))
    assert layout.header({}) == {"characters": layout.alphabet}
    assert set(layout.found["characters"]) == set("abc")
    assert keywords(Text).keys() == {"text", "length", "vocabulary", "characters"}
    assert not layout.keeps_sizes
    assert not layout.squares


def test_shapes_before_the_text_is_read(written: Any) -> None:
    values = {"length": 8, "vocabulary": 40, "characters": ""}
    assert Text.channels_of(values) == {"image": 42}
    assert Text.blank(values)["image"].shape == (2, 42, 8)
    layout = Text(text=written("abc\nbcc\n"), length=8)
    read = values | layout.found
    assert Text.channels_of(read) == layout.channels
    assert Text.blank(read)["image"].shape[1:] == samples(layout).shape[1:]


def test_lines_held_out_are_not_trained_on(written: Any) -> None:
    lines = [f"line {number}" for number in range(20)]
    layout = Text(text=written("\n".join(lines)), length=8)
    data = DataSet(layout, 0, batch_size=2, validation_share=0.25)
    assert data.judges
    assert data.counts() == {"song": 15}
    held = spelled(layout.picture("image", data.held_out_batch(9)["image"], {}), layout.alphabet)
    seen = torch.cat([data[at].batch["image"] for at in range(15)])
    trained = set(spelled(layout.picture("image", seen, {}), layout.alphabet))
    assert len(held) == 5
    assert trained.isdisjoint(held)
    assert trained | set(held) == set(lines)


# ----------------------------------------------------------------------------------- what is shown


def test_the_likeliest_character_of_every_place(written: Any) -> None:
    layout = Text(text=written("ab\nba\n"), length=4)
    made = torch.zeros(1, 4, 4)
    for place, channel in enumerate((3, 2, 1, 0)):
        made[0, channel, place] = 0.4
        made[0, (channel + 1) % 4, place] = 0.3
    ids = layout.picture("image", made, {})
    assert ids.tolist() == [[3, 2, 1, 0]]
    assert spelled(ids, END + UNKNOWN + "ab") == [f"ba{UNKNOWN}"]


def test_a_line_stops_at_its_end() -> None:
    ids = torch.tensor([[2, 3, 0, 2], [0, 0, 0, 0], [0, 2, 3, 2], [3, 3, 3, 3]])
    assert spelled(ids, END + UNKNOWN + "ab") == ["ab", "", "", "bbbb"]


def test_a_sheet_has_a_part_for_each_row(written: Any) -> None:
    layout = Text(text=written("ab\nba\n"), length=4)
    real = layout.picture("image", samples(layout), {})
    made = torch.tensor([[2, 2, 2, 0]])
    expected = "[song]\nab\nba\n\n[made song]\naaa\n"
    assert layout.sheet({"image": real, "made image": made}) == expected


def test_figures_are_divergences_of_what_is_shown(written: Any) -> None:
    """The longest n-grams first, by which the best model is kept."""
    layout = Text(text=written("abab\nbaba\n"), length=6)
    real = layout.picture("image", samples(layout), {})
    made = real.flip(1)
    found = {name: figure(real, made) for name, figure in layout.figures.items()}
    assert list(found) == ["jsd-4", "jsd-3", "jsd-2", "jsd-1"]
    for name, value in found.items():
        assert value == ngram_divergence(real, made, int(name[-1]))
    assert found["jsd-1"] == 0.0
    assert found["jsd-4"] > found["jsd-2"] > 0


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "has 0 lines that are not blank: a sample is a line of some 32 characters"),
        ("\n \n\t\n", "has 0 lines that are not blank"),
        ("one line alone", "has 1 lines that are not blank: .* two or more are needed"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode("latin-1"), "byte 3 is not of it"),
        ("ab\nba\n".encode("utf-16"), "is no text in UTF-8: byte 0"),
        ("aaa\naa\n", "has one character, 'a': there is nothing to learn"),
    ],
)
def test_texts_that_are_none(written: Any, content: str | bytes, says: str) -> None:
    path = written(content)
    with pytest.raises(UserError, match=f"^{re.escape(path)} .*{says}") as told:
        Text(text=path)
    assert "\n" not in str(told.value)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(UserError, match=f"there is no file {re.escape(str(path))}"):
            Text(text=str(path))
    with pytest.raises(UserError, match="give the text, a file in UTF-8: --text FILE"):
        Text()


@pytest.mark.parametrize(
    ("key", "least"),
    [("length", 4), ("vocabulary", 2)],
)
def test_numbers_that_are_too_small(written: Any, key: str, least: int) -> None:
    path = written("abcd\nbcda\n")
    Text(text=path, **{key: least})
    for number in (least - 1, -5):
        message = f"{key} must be {least} or more, not {number}"
        with pytest.raises(ValueError, match=message):
            Text(text=path, **{key: number})
