"""What a training run would meet in a folder of pictures."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from translate.data.header import BrokenImage
from translate.data.image import read

KINDS = {1: "grey", 3: "colour", 4: "colour with alpha"}


@dataclass
class Findings:
    """Counts over one folder; ``broken`` and ``twins`` name files."""

    total: int
    size: int
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The report, a fact a line."""
        yield f"{self.total} pictures, {len(self.broken)} of them cannot be read"
        yield from (f"broken: {reason}" for reason in self.broken.values())
        if not self.sizes:
            return
        yield ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        (common, count), *others = self.sizes.most_common()
        heights, widths = zip(*self.sizes, strict=True)
        yield f"{count} of {common[1]} x {common[0]} pixels" + (
            f", {len(others)} other sizes from {min(widths)} x {min(heights)} to "
            f"{max(widths)} x {max(heights)}"
            if others
            else ""
        )
        small = sum(n for (h, w), n in self.sizes.items() if min(h, w) < self.size)
        if small:
            yield f"{small} are smaller than {self.size} pixels and would be enlarged"
        yield from (f"the same pixels twice: {one} and {two}" for one, two in self.twins.items())
        yield from (f"one colour only: {name}" for name in self.blank)


def inspect(paths: Sequence[Path], size: int, step: Callable[[], None] = lambda: None) -> Findings:
    """Decode every picture; ``step`` is called after each."""
    found = Findings(len(paths), size)
    seen: dict[bytes, str] = {}
    for path in paths:
        try:
            _take_in(found, seen, path, read(path))
        except BrokenImage as error:
            found.broken[str(path)] = str(error)
        step()
    return found


def _take_in(found: Findings, seen: dict[bytes, str], path: Path, image: np.ndarray) -> None:
    found.kinds[f"{KINDS[image.shape[2]]}, {image.dtype.itemsize * 8} bits"] += 1
    found.sizes[(image.shape[0], image.shape[1])] += 1
    digest = hashlib.sha256(image.tobytes() + repr(image.shape).encode()).digest()
    if digest in seen:
        found.twins[str(path)] = seen[digest]
    seen.setdefault(digest, str(path))
    if (image == image[0, 0]).all():
        found.blank.append(str(path))
