"""Divergences of n-grams by hand, by counting words, and by what every divergence is."""

import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from gan_core.metrics import ngram_divergence


def rows(*lines: str) -> Tensor:
    return torch.tensor([[ord(character) for character in line] for line in lines])


def drawn(count: int, length: int, kinds: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(kinds, (count, length), generator=generator)


def by_counting(a: Tensor, b: Tensor, n: int) -> float:
    """Mean of both divergences from the mixture, gram by gram: KL = sum p log2(p / m)."""

    def shares(lines: Tensor) -> dict[tuple[int, ...], float]:
        grams = [
            tuple(line[i : i + n]) for line in lines.tolist() for i in range(len(line) - n + 1)
        ]
        return {gram: count / len(grams) for gram, count in Counter(grams).items()}

    p, q = shares(a), shares(b)
    mixed = {gram: (p.get(gram, 0) + q.get(gram, 0)) / 2 for gram in p.keys() | q.keys()}
    return sum(
        share * math.log2(share / mixed[gram]) / 2 for s in (p, q) for gram, share in s.items()
    )


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_of_themselves_nothing_and_of_strangers_one_bit(n: int) -> None:
    a, b = rows("abcd", "bbca", "abcd"), rows("xyzx", "zzzz")
    assert ngram_divergence(a, a, n) == 0.0
    assert ngram_divergence(a, a[[2, 0, 1]], n) == 0.0
    assert ngram_divergence(a, a.repeat(3, 1), n) == pytest.approx(0, abs=1e-15)
    assert ngram_divergence(a, b, n) == pytest.approx(1, rel=1e-12)


def test_half_of_them_shared_by_hand() -> None:
    """p = (1/2, 1/2, 0), q = (1/2, 0, 1/2): half of each is in one of them only, half a bit."""
    assert ngram_divergence(rows("ab"), rows("ac"), 1) == pytest.approx(0.5, rel=1e-12)
    # p = 1 at a, q = (1/4, 3/4): H(5/8) - H(1/4) / 2
    expected = -(5 / 8) * math.log2(5 / 8) - (3 / 8) * math.log2(3 / 8)
    expected += (math.log2(1 / 4) / 4 + 3 / 4 * math.log2(3 / 4)) / 2
    assert ngram_divergence(rows("aaaa"), rows("abbb"), 1) == pytest.approx(expected, rel=1e-12)


def test_order_counts_from_two_on() -> None:
    a, b = rows("abababab"), rows("aaaabbbb")
    assert ngram_divergence(a, b, 1) == 0.0
    assert ngram_divergence(a, b, 2) > 0.3


def test_no_gram_goes_over_the_end_of_a_row() -> None:
    """Else "bc" were among the first and "cb" among the second."""
    assert ngram_divergence(rows("ab", "cd"), rows("cd", "ab"), 2) == 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_by_counting(n: int) -> None:
    a, b = drawn(30, 9, 3, 0), drawn(50, 9, 4, 1)
    expected = by_counting(a, b, n)
    assert 0.02 < expected < 0.9
    assert ngram_divergence(a, b, n) == pytest.approx(expected, rel=1e-9)
    assert ngram_divergence(b, a, n) == pytest.approx(expected, rel=1e-9)
    assert ngram_divergence(a.int(), b.int(), n) == ngram_divergence(a, b, n)
    swapped = torch.tensor([70_000, 3, 1, 2])  # names mean nothing
    assert ngram_divergence(swapped[a], swapped[b], n) == pytest.approx(expected, rel=1e-9)


def test_of_few_rows_it_is_large() -> None:
    """The more so the longer the n-grams, though both come from one source."""
    few = [ngram_divergence(drawn(20, 8, 4, 0), drawn(20, 8, 4, 1), n) for n in (1, 2, 3, 4)]
    many = [ngram_divergence(drawn(2000, 8, 4, 0), drawn(2000, 8, 4, 1), n) for n in (1, 2, 3, 4)]
    assert few == sorted(few)
    assert few[3] > 0.3
    assert many[3] < 0.02


@pytest.mark.parametrize(
    ("a", "b", "n"),
    [
        (rows("abc"), rows("abc"), 4),
        (rows("abcd"), rows("abc"), 4),
        (rows("abc"), rows("abc"), 0),
        (rows("abc")[:0], rows("abc"), 1),
        (rows("abc"), rows("abc")[:0], 1),
    ],
)
def test_where_there_are_none(a: Tensor, b: Tensor, n: int) -> None:
    with pytest.raises(ValueError, match=rf"no {n}-grams are in rows of shapes \[{len(a)}, "):
        ngram_divergence(a, b, n)
