"""Batches that are a pure function of (seed, position), whatever the layout of the samples."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gan_core import distributed
from gan_core.growth import Growth
from translate.data.header import BrokenImage

Seed = tuple[int, ...] | None


class Entry(NamedTuple):
    """The files of one sample, and its class where there are classes.

    Where there are no files, ``label`` says which sample it is.
    """

    files: tuple[Path, ...]
    label: int = 0

    @property
    def name(self) -> str:
        return " and ".join(map(str, self.files))


@dataclass(frozen=True)
class Stream:
    """Samples that are shuffled together.

    load: the tensors of an entry by batch key; augmentation as the seed says, none for None.
        Raises BrokenImage where a file cannot be read.
    balanced: in each epoch every class comes as often as the largest one.
    """

    name: str
    entries: Sequence[Entry]
    load: Callable[[Entry, Seed], dict[str, Tensor]]
    balanced: bool = False

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the entries that make up an epoch, before they are shuffled.

        Which pictures of a small class come once more than the others goes round by epochs.
        """
        if not self.balanced:
            return np.arange(len(self.entries))
        labels = np.array([entry.label for entry in self.entries])
        classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        largest = max(map(len, classes))
        return np.concatenate(
            [np.resize(np.roll(m, -epoch * (largest % len(m))), largest) for m in classes]
        )


class Layout(Protocol):
    """Where samples come from, what a batch of them holds, and how they are shown and judged.

    Its class has keyword-only recipe keys, after the ``Preparation`` if it reads pictures.
    """

    wanted: ClassVar[str]  # what a person must give, in words
    names: dict[str, str]  # batch key -> what people call its samples
    title: tuple[str, ...]  # of a run, after its method
    found: dict[str, Any]  # recipe keys as the folders settle them: what a resumed run must find
    channels: dict[str, int]
    streams: list[Stream]
    held_out: list[Stream]  # to judge by; may be empty
    keeps_sizes: bool  # pictures come in sizes of their own
    squares: bool  # a sample shows all of a picture, as a square

    @property
    def figures(self) -> Mapping[str, Callable[[Tensor, Tensor], float]]:
        """What samples are judged by: name -> (held out, made) -> number."""

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        """Batch key -> channels of its pictures, coordinates of its points, characters of its
        text, or the number of classes, from the recipe's values where those say it.
        """

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        """A batch of two samples without content, on the default device, from the same values."""

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        """What a model file says of the samples."""

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Tensors under a key of a batch, or made by a method, as they are looked at and judged:
        pictures in [-1, 1], for instance.
        """

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray | str:
        """One picture of all rows, [H, W, C] uint8, or one text; those that ``picture`` gave, by
        batch key, and "made <key>" for what was made.
        """


@dataclass(frozen=True)
class Item:
    """A batch, and the entries that could not be read on the way to it: name -> reason."""

    batch: dict[str, Tensor]
    broken: dict[str, str] = field(default_factory=dict)

    def pin_memory(self) -> "Item":
        """In memory that a GPU can fetch from by itself; called by torch's loader."""
        return Item({key: x.pin_memory() for key, x in self.batch.items()}, self.broken)


class DataSet(Dataset[Item]):
    """Item ``position``: the batch at that place of the run.

    batch_size: samples per batch, of all processes together; each makes its own share.
    validation_share: of each stream is held out to judge by, where no validation folder is named.
    max_broken: largest share of unreadable files in a stream that training goes on with.

    Each stream is shuffled anew in each of its own epochs. A sample's augmentation is seeded by
    (seed, stream, epoch, place in the order), so that neither the number of workers or processes
    nor a resumed run changes it. An unreadable sample's place is taken by the next readable one.
    With growth, batches are of its sizes and pictures of its resolutions.
    """

    def __init__(
        self,
        layout: Layout,
        seed: int,
        growth: Growth | None = None,
        *,
        batch_size: int = 1,
        validation_share: float = 0.0,
        max_broken: float = 0.1,
    ) -> None:
        self.rank, self.world = distributed.rank(), distributed.world()
        sized = growth is not None and growth.sized
        self._key = "growth.batch_sizes" if sized else "data.batch_size"  # what sets them
        for size in growth.batch_sizes if growth else [batch_size]:
            if size < 1 or size % self.world:
                many = (
                    f"a multiple of the {self.world} processes" if self.world > 1 else "1 or more"
                )
                raise ValueError(f"{self._key.removeprefix('data.')} must be {many}, not {size}")
        if layout.keeps_sizes and (growth or batch_size > 1):
            raise ValueError(
                "preprocess = 'none' leaves sizes as they are: batch_size must be 1, without growth"
            )
        if not 0 <= validation_share < 1 or not 0 <= max_broken <= 1:
            raise ValueError("validation_share and max_broken are shares, from 0 to 1")
        self.layout, self.seed, self.growth = layout, seed, growth
        self.batch_size = max(growth.batch_sizes) if growth else batch_size
        self.max_broken = max_broken
        self.streams, self.held_out = layout.streams, layout.held_out
        if not self.held_out:
            parts = [_hold_out(stream, validation_share) for stream in layout.streams]
            self.streams, self.held_out = [p[0] for p in parts], [p[1] for p in parts]
        for name, count in self.counts().items():
            if count == 1 < self.batch_size:
                raise ValueError(
                    f"{name} has one picture for batches of {self.batch_size}: give more, or set "
                    f"{self._key} to 1"
                )
        self._orders = [(0, stream.order(0)) for stream in self.streams]

    def batches_per_epoch(self) -> int:
        """Batches until the longest stream has been seen once."""
        return -(-max(len(order) for _, order in self._orders) // self.batch_size)

    def __getitem__(self, position: int) -> Item:
        seen, size = position * self.batch_size, self.batch_size
        if self.growth:
            seen, size = self.growth.batch(position)
        share = size // self.world
        first = seen + self.rank * share
        batch: dict[str, Tensor] = {}
        broken: dict[str, str] = {}
        for stream in range(len(self.streams)):
            samples = [self._sample(stream, first + i, broken) for i in range(share)]
            readable = [sample for sample in samples if sample is not None]
            if len(readable) == share:
                batch |= _collated(readable)
        return Item(self.growth.shown(batch, seen) if self.growth and batch else batch, broken)

    def _sample(self, number: int, n: int, broken: dict[str, str]) -> dict[str, Tensor] | None:
        stream, (known, order) = self.streams[number], self._orders[number]
        epoch, place = divmod(n, len(order))
        if epoch != known:
            order = stream.order(epoch)
            self._orders[number] = (epoch, order)
        slot = int(_shuffled(self.seed, number, epoch, len(order))[place])
        for offset in range(len(stream.entries)):
            entry = stream.entries[(order[slot] + offset) % len(stream.entries)]
            try:
                return stream.load(entry, (self.seed, number, epoch, slot))
            except BrokenImage as error:
                broken[entry.name] = str(error)
        return None

    def first(self, count: int, size: int) -> Iterator[dict[str, Tensor]]:
        """The run's first ``count`` samples in batches of ``size``, the same in every process.

        Of pictures whose sizes were left as they are, those of a batch's first shape.
        """
        for start in range(0, count, size):
            batch: dict[str, Tensor] = {}
            for stream in range(len(self.streams)):
                drawn = (self._sample(stream, n, {}) for n in range(start, start + size))
                batch |= _collated([sample for sample in drawn if sample is not None])
            yield batch

    def held_out_batch(self, count: int) -> dict[str, Tensor]:
        """Up to ``count`` samples of each stream to judge by: held out, or else trained on."""
        batch: dict[str, Tensor] = {}
        for held_out, stream in zip(self.held_out, self.streams, strict=True):
            source = held_out if held_out.entries else stream
            samples: list[dict[str, Tensor]] = []
            for index in _spread(len(source.entries), count):
                if len(samples) == count:
                    break
                try:
                    samples.append(source.load(source.entries[index], None))
                except BrokenImage:
                    continue  # counted where it is trained on
            if not samples:
                raise ValueError(f"none of the pictures to judge {stream.name} can be read")
            batch |= _collated(samples)
        return batch

    @property
    def judges(self) -> bool:
        """Whether pictures were held out."""
        return all(stream.entries for stream in self.held_out)

    def counts(self) -> dict[str, int]:
        """How many samples each stream has to train on."""
        return {stream.name: len(stream.entries) for stream in self.streams}

    def thin(self) -> list[str]:
        """What a person should know before training: of which streams a batch repeats samples."""
        return [
            f"{count} of {name} for batches of {self.batch_size}: some come several times in one "
            f"batch, and a discriminator will know them by heart: lower {self._key}, or give "
            "more pictures"
            for name, count in self.counts().items()
            if count < self.batch_size
        ]

    def count_broken(self, broken: Mapping[str, str]) -> Mapping[str, tuple[int, int]]:
        """Of each stream: how many of its entries are among ``broken``, and how many there are."""
        return {
            stream.name: (sum(e.name in broken for e in stream.entries), len(stream.entries))
            for stream in self.streams
        }


@lru_cache(maxsize=8)
def _shuffled(seed: int, stream: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, epoch]).permutation(count)


def _hold_out(stream: Stream, share: float) -> tuple[Stream, Stream]:
    """Every so-manieth sample of a class is held out, of none all; no sample is in both parts."""
    entries, passed = stream.entries, 0
    held: set[int] = set()
    classes: dict[int, list[int]] = defaultdict(list)
    for i, entry in enumerate(entries):
        classes[entry.label if entry.files else 0].append(i)
    for members in classes.values():
        passed += len(members)
        count = min(round(share * passed) - len(held), len(members) - 1)
        held |= {members[i * len(members) // count] for i in range(count)}
    if round(share * len(entries)) >= len(entries):
        raise ValueError(f"validation_share = {share} leaves none to train on")
    parts = [
        [e for i, e in enumerate(entries) if (i in held) == wanted] for wanted in (False, True)
    ]
    kept, out = (Stream(stream.name, part, stream.load, stream.balanced) for part in parts)
    return kept, out


def _spread(total: int, count: int) -> list[int]:
    """All indices, such that the first ``count`` are spread evenly over them."""
    first = [i * total // count for i in range(count)] if count < total else []
    return [*first, *sorted({*range(total)} - {*first})]


def _collated(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stacked by key; of pictures whose sizes were left as they are, those of the first's shape."""
    shapes = [{key: value.shape for key, value in sample.items()} for sample in samples]
    columns: dict[str, list[Tensor]] = defaultdict(list)
    for sample, shape in zip(samples, shapes, strict=True):
        if shape == shapes[0]:
            for key, value in sample.items():
                columns[key].append(value)
    return {key: torch.stack(values) for key, values in columns.items()}
