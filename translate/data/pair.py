"""Pairs of pictures: matched by name, laid side by side in one file, and cut apart again."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from translate.data.header import BrokenImage
from translate.data.image import read, with_channels, write
from translate.data.matching import by_name, few, match_some
from translate.errors import UserError
from translate.report import Report


class Pair(NamedTuple):
    """The relative path of what is written, without suffix, and the one or two files read."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Pairing:
    """What is read and what becomes of it.

    parts: the pictures in a file; those of all files of a pair are two.
    lay: (name, those two) -> what is written, by relative path.
    left_out: a sentence about pictures without a partner; "" if there are none.
    """

    pairs: list[Pair]
    parts: Callable[[Path], list[np.ndarray]]
    lay: Callable[[str, Sequence[np.ndarray]], dict[str, np.ndarray]]
    left_out: str = ""


def joining(a: Path, b: Path, skip_unmatched: bool = False) -> Pairing:
    """Two folders, see ``match``, become NAME.png: the left half from ``a``, the right from ``b``.

    Both halves get the larger number of channels, and 16 bits if one of them has.
    """
    pairs, left_out = match_some(a, b, skip_unmatched)
    return Pairing(
        [Pair(path.relative_to(a).with_suffix("").as_posix(), (path, to)) for path, to in pairs],
        lambda path: [read(path)],
        lambda name, images: {f"{name}.png": _beside(*images)},
        left_out,
    )


def cutting(folder: Path, names: tuple[str, str] = ("left", "right")) -> Pairing:
    """Each picture's halves become names[0]/NAME.png and names[1]/NAME.png, pixels unchanged."""
    if names[0] == names[1] or any(n.startswith(".") or n != Path(n).name for n in names):
        raise UserError(
            f"{names[0]!r} and {names[1]!r} must be two names of folders, without a path: "
            "for example --names left right"
        )
    return Pairing(
        [Pair(name, (path,)) for name, path in by_name(folder).items()],
        _halves,
        lambda name, images: {
            f"{half}/{name}.png": image for half, image in zip(names, images, strict=True)
        },
    )


def _halves(path: Path) -> list[np.ndarray]:
    image = read(path)
    middle, odd = divmod(image.shape[1], 2)
    if odd:
        raise BrokenImage(f"{path}: {image.shape[1]} pixels wide, an odd number: no two halves")
    return [image[:, :middle], image[:, middle:]]


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    channels = max(left.shape[2], right.shape[2])
    kind = np.result_type(left, right)
    return np.hstack([_converted(image, channels, kind) for image in (left, right)])


def _converted(image: np.ndarray, channels: int, kind: np.dtype) -> np.ndarray:
    """8 bits become 16 exactly, 255 to 65535: the upper byte of a sample is the old one."""
    image = with_channels(image, channels)
    return image if image.dtype == kind else image.astype(np.uint16) * 257


class Survey(NamedTuple):
    """The pairs that can be read, with a digest of either picture; other files, with the reason."""

    digests: dict[Pair, tuple[bytes, bytes]]
    failures: dict[str, str]


def survey(pairing: Pairing, step: Callable[[int], None] = lambda count: None) -> Survey:
    """Decode every picture once; ``step(1)`` after each pair.

    Raises UserError when the pictures of a pair differ in size, upright as EXIF says.
    """
    found, differ = Survey({}, {}), []
    with ThreadPoolExecutor() as pool:
        looks = pool.map(lambda pair: _look(pairing, pair), pairing.pairs)
        for pair, (sizes, digests, broken) in zip(pairing.pairs, looks, strict=True):
            step(1)
            found.failures.update(broken)
            if broken:
                continue
            if sizes[0] != sizes[1]:
                differ.append(f"{pair.files[0]} is {sizes[0]}, {pair.files[1]} {sizes[1]}")
            found.digests[pair] = (digests[0], digests[1])
    if differ:
        raise UserError(
            f"{len(differ)} of {len(pairing.pairs)} pairs differ in size ({few(differ, '; ')}): "
            "bring both pictures of a pair to one size"
        )
    return found


def _look(pairing: Pairing, pair: Pair) -> tuple[list[str], list[bytes], dict[str, str]]:
    sizes, digests, broken = [], [], {}
    for path in pair.files:
        try:
            for image in pairing.parts(path):
                sizes.append(f"{image.shape[1]} x {image.shape[0]}")
                digests.append(_digest(image))
        except BrokenImage as error:
            broken[str(path)] = str(error)
    return sizes, digests, broken


def _digest(image: np.ndarray) -> bytes:
    """Of the pixels as RGBA of 16 bits: grey stored as colour is the same picture."""
    image = _converted(image, 4, np.dtype(np.uint16))
    return hashlib.sha256(image.tobytes() + repr(image.shape).encode()).digest()


WHOLE = {"": 1.0}
"""Shares that leave everything in one folder."""


def shares_of(
    train: float | None = None, validation: float | None = None, test: float | None = None
) -> dict[str, float]:
    """Folder -> its share, for what is above 0: train, val and test; WHOLE if none is given.

    ``train`` is by default what the others leave. Raises UserError unless the sum is 1.
    """
    if train is validation is test is None:
        return WHOLE
    held_out = {"val": validation or 0.0, "test": test or 0.0}
    rest = 1 - sum(held_out.values())
    shares = {"train": rest if train is None else train, **held_out}
    if shares["train"] < -1e-6 or not abs(sum(shares.values()) - 1) < 1e-6:  # nan fails too
        given = ", ".join(f"{name} {share:.6g}" for name, share in shares.items())
        raise UserError(
            f"shares must be 0 or more and sum to 1, not {given}; "
            "without --train, the rest is to train on"
        )
    return {folder: share for folder, share in shares.items() if share > 1e-6}


class Division(NamedTuple):
    """Pair -> its folder; and how many pairs show a picture that another pair shows too."""

    places: dict[Pair, str]
    tied: int


def divide(
    digests: Mapping[Pair, tuple[bytes, bytes]], shares: Mapping[str, float], seed: int = 0
) -> Division:
    """Deal the pairs out so that no picture, on either side, is in two folders.

    Pairs that share a picture, directly or through others, are a group. Groups are shuffled, then
    dealt from the largest down, each to the folder that lacks most: single pairs meet the shares
    to the nearest pair. A function of the set of pairs and the seed, of no order.
    """
    groups = _groups(digests)
    shuffled = [groups[i] for i in np.random.default_rng(seed).permutation(len(groups))]
    lacking = {folder: share * len(digests) for folder, share in shares.items()}
    places: dict[Pair, str] = {}
    for group in sorted(shuffled, key=len, reverse=True):
        folder = max(lacking, key=lacking.__getitem__)
        lacking[folder] -= len(group)
        places.update(dict.fromkeys(group, folder))
    return Division(places, sum(len(group) for group in groups if len(group) > 1))


def _groups(digests: Mapping[Pair, tuple[bytes, bytes]]) -> list[list[Pair]]:
    """Components of the graph whose nodes are pictures and whose edges are pairs."""
    parent: dict[bytes, bytes] = {}

    def root(node: bytes) -> bytes:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for left, right in digests.values():
        parent[root(left)] = root(right)
    groups: defaultdict[bytes, list[Pair]] = defaultdict(list)
    for pair in sorted(digests):
        groups[root(digests[pair][0])].append(pair)
    return list(groups.values())


def check_new(target: Path, sources: Sequence[Path]) -> None:
    """UserError unless ``target`` is new or empty, and outside the sources."""
    resolved = target.resolve()
    for source in sources:
        if source.resolve() in (resolved, *resolved.parents):
            raise UserError(f"{target} lies in {source}: name a new folder outside of it")
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(
            f"{target} is there and not an empty folder: the last path is a new folder to write to"
        )


def make(
    pairing: Pairing,
    places: Mapping[Pair, str],
    target: Path,
    step: Callable[[int], None] = lambda count: None,
) -> Report:
    """Write every pair below its folder in ``target``; ``step(1)`` after each."""
    report = Report()

    def put(pair: Pair) -> str | None:
        try:
            images = [image for path in pair.files for image in pairing.parts(path)]
            for name, image in pairing.lay(pair.name, images).items():
                write(target / places[pair] / name, image)
        except ValueError as error:  # changed since the survey, or beyond what a PNG can hold
            return f"{pair.name} is not written: {error}"
        return None

    with ThreadPoolExecutor() as pool:
        for pair, reason in zip(places, pool.map(put, places), strict=True):
            step(1)
            if reason is None:
                report.converted += 1
            else:
                report.failures[str(pair.files[0])] = reason
    return report
