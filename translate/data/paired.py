"""Pictures in pairs: {"x": [B, C, H, W], "y": ...} in [-1, 1], row by row the same scene."""

import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from translate.data.dataset import Entry, Seed, Stream
from translate.data.derived import DERIVED
from translate.data.domains import FIGURES, Channels, blank, name_domains, translations_header
from translate.data.folders import pictures
from translate.data.header import BrokenImage, read_header
from translate.data.image import read, with_channels
from translate.data.matching import match
from translate.data.preparation import Preparation
from translate.data.tensors import to_tensor
from translate.errors import UserError
from translate.pictures import sheet


class Paired:
    """Pairs come from one of

    domains: two folders, whose pictures belong together by name (sub-folder and stem);
    aligned: a folder of pictures whose left half is the input and whose right half the target, or,
        with direction = "right-to-left", the other way round (the middle column of an odd width
        belongs to neither);
    images: a folder of pictures of which ``derive`` makes the inputs: "colour" (grey to colour, in
        L*a*b*) or "fill" (holes to be filled).

    names: of input and target; channels: 1 grey, 3 colour, 4 colour and alpha; derived pairs have
    their own. validation: to judge by, given as the training pictures are: two folders or one.
    """

    wanted: ClassVar = (
        "the pairs: --domains labels photos (equal names belong together), or --aligned DIR "
        "(left and right half)"
    )
    figures: ClassVar = FIGURES

    def __init__(
        self,
        prepare: Preparation,
        *,
        domains: tuple[str, str] | tuple[()] = (),
        aligned: str = "",
        images: str = "",
        derive: Literal["", "colour", "fill"] = "",
        direction: Literal["left-to-right", "right-to-left"] = "left-to-right",
        names: tuple[str, str] | tuple[()] = (),
        channels: tuple[Channels, Channels] = (3, 3),
        validation: tuple[str, ...] = (),
    ) -> None:
        if derive and (domains or aligned or not images):
            raise UserError(
                f"derive = {derive!r} makes pairs of one folder's pictures: --images DIR"
            )
        if sum(map(bool, (domains, aligned, images))) != 1:
            raise UserError(f"give {self.wanted}")
        if images and not derive:
            raise UserError(
                "say what is to be learned from --images: --recipe colourise, or --recipe inpaint"
            )
        if direction != "left-to-right" and not aligned:
            raise UserError(
                f"direction = {direction!r} is for --aligned; turn the folders' order round instead"
            )
        if derive and channels != (3, 3):
            raise UserError(f"derive = {derive!r} has channels of its own: leave data.channels out")
        if len(validation) not in (0, len(domains) or 1):
            raise ValueError("validation must name as many folders as there are to train on")
        self.prepare, self.forward = prepare, direction == "left-to-right"
        self.keeps_sizes, self.squares = prepare.keeps_sizes, prepare.squares
        self.derive, self.derived = derive, DERIVED.get(derive)
        self.channels = self.channels_of({"channels": channels, "derive": derive})
        if domains:
            self.names, load = name_domains(names, domains), self._load_two
        elif aligned:
            sides = ("left", "right") if self.forward else ("right", "left")
            self.names, load = name_domains(names or sides, ()), self._load_halves
        else:
            assert self.derived
            self.names, load = name_domains(names or self.derived.names, ()), self._load_derived
        self.found: dict[str, Any] = {"names": tuple(self.names.values())}
        # the domains' names, or else of which folder they are the halves
        self.title = tuple(self.names.values()) if domains else (_last(aligned or images),)

        def stream(folders: Sequence[str]) -> list[Stream]:
            return [Stream(" and ".join(self.names.values()), entries_of(folders), load)]

        self.streams = stream(domains or (aligned or images,))
        self.held_out = stream(validation) if validation else []

    @staticmethod
    def channels_of(values: Mapping[str, Any]) -> dict[str, int]:
        derived = DERIVED.get(values["derive"])
        channels = derived.channels if derived else values["channels"]
        return dict(zip(("x", "y"), channels, strict=True))

    @classmethod
    def blank(cls, values: Mapping[str, Any]) -> dict[str, Tensor]:
        return blank(cls.channels_of(values), values)

    def _load_two(self, entry: Entry, seed: Seed) -> dict[str, Tensor]:
        x, y = map(read, entry.files)
        if x.shape[:2] != y.shape[:2]:  # as stored they agree: one is turned by its EXIF data
            raise BrokenImage(_mismatch(entry, x.shape[:2], y.shape[:2]))
        return self._prepared(x, y, seed)

    def _load_halves(self, entry: Entry, seed: Seed) -> dict[str, Tensor]:
        image = read(entry.files[0])
        half = image.shape[1] // 2
        if half == 0:
            raise BrokenImage(f"{entry.files[0]}: 1 pixel wide, which has no halves")
        halves = image[:, :half], image[:, -half:]
        x, y = halves if self.forward else halves[::-1]
        return self._prepared(x, y, seed)

    def _prepared(self, x: np.ndarray, y: np.ndarray, seed: Seed) -> dict[str, Tensor]:
        """Equal seeds give both the same geometry; colours are changed in the input alone."""
        return {
            "x": to_tensor(self.prepare(with_channels(x, self.channels["x"]), seed)),
            "y": to_tensor(self.prepare(with_channels(y, self.channels["y"]), seed, colours=False)),
        }

    def _load_derived(self, entry: Entry, seed: Seed) -> dict[str, Tensor]:
        assert self.derived
        rng = None if seed is None else np.random.default_rng([*seed, 1])
        image = with_channels(read(entry.files[0]), 3)
        x, y = self.derived.pair(self.prepare(image, seed), rng)
        return {"x": x, "y": y}

    def header(self, translations: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
        described = translations_header(translations, self.names, self.channels)
        return described | ({"derived": self.derive} if self.derive else {})

    def picture(self, key: str, made: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        if self.derived and key == "y":
            return self.derived.picture(made, batch["x"])
        return made

    def sheet(self, rows: Mapping[str, Tensor]) -> np.ndarray:
        return sheet(rows)


def _last(folder: str) -> str:
    """Of facades/train, facades."""
    path = Path(folder).resolve()
    return path.parent.name if path.name == "train" else path.name


def entries_of(folders: Sequence[str]) -> list[Entry]:
    """The samples of one folder or, matched by name and compared in size, of two."""
    if len(folders) == 1:
        return [Entry((path,)) for path in pictures(Path(folders[0]))]
    entries = [Entry(pair) for pair in match(Path(folders[0]), Path(folders[1]))]
    with ThreadPoolExecutor() as readers:
        sizes = list(readers.map(_sizes, entries))
    wrong = [
        _mismatch(entry, *size)
        for entry, size in zip(entries, sizes, strict=True)
        if size and size[0] != size[1]
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"{len(wrong)} of {len(entries)} pairs differ in size: {'; '.join(wrong[:3])}{more}. "
            "Bring the two pictures of a pair to one size"
        )
    return entries


def _sizes(entry: Entry) -> tuple[tuple[int, ...], ...] | None:
    """Height and width of both pictures; None where one cannot be read.

    As their headers say; two that differ are decoded, since EXIF data may turn them.
    """
    try:
        sizes = tuple(map(_stored_size, entry.files))
        return sizes if sizes[0] == sizes[1] else tuple(read(f).shape[:2] for f in entry.files)
    except (OSError, ValueError, struct.error):
        return None  # counted where it is trained on


def _stored_size(path: Path) -> tuple[int, int]:
    """Without reading the whole file, where its format allows it."""
    with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        header = read_header(data)  # type: ignore[arg-type]
    return header.height, header.width


def _mismatch(entry: Entry, a: tuple[int, ...], b: tuple[int, ...]) -> str:
    return " but ".join(
        f"{file} is {width} x {height}"
        for file, (height, width) in zip(entry.files, (a, b), strict=True)
    )
