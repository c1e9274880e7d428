"""Tiny pictures, a tiny trained model, and the command run inside this process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from starts import kind_of, table_of

from translate.cli import main
from translate.data.image import write
from translate.data.sets import LAYOUTS


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def call(*words: object) -> int:
    """``translate WORDS...`` in this process; its exit code. A traceback is the caller's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["translate", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            main()
    code = left.value.code
    return code if isinstance(code, int) else 0


def draw_pictures(
    folder: Path, count: int, *, size: int = 20, channels: int = 3, suffix: str = ".png"
) -> Path:
    """``count`` pictures of noise, the same ones for the same folder name."""
    rng = np.random.default_rng([count, *folder.name.encode()])
    for number in range(count):
        image = rng.integers(0, 256, (size, size, channels), dtype=np.uint8)
        write(folder / f"{number:02}{suffix}", image)
    return folder


TINY = (
    *("--size", 16, "--batch-size", 2, "--device", "cpu", "--precision", "fp32", "--workers", 0),
    *("--set", "networks.generator.filters=4", "--set", "networks.generator.blocks=1"),
    *("--set", "networks.discriminator.filters=4", "--set", "networks.discriminator.layers=1"),
    *("--set", "method.pool_size=3", "--set", "run.log_every=1", "--set", "run.samples=2"),
)


@pytest.fixture(scope="session")
def tiny() -> tuple[object, ...]:
    """Options of a training that takes a moment."""
    return TINY


@pytest.fixture(scope="session")
def draw() -> Callable[..., Path]:
    return draw_pictures


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, a test's own: the default run folder lies in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def domains(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders of pictures, of 5 and 4."""
    return draw_pictures(tmp_path / "drawings", 5), draw_pictures(tmp_path / "paintings", 4)


def _unpaired(base: Path) -> tuple[object, ...]:
    return "--domains", draw_pictures(base / "drawings", 5), draw_pictures(base / "paintings", 4)


def _paired(base: Path) -> tuple[object, ...]:
    return "--domains", draw_pictures(base / "drawings", 5), draw_pictures(base / "paintings", 5)


def _labelled(base: Path) -> tuple[object, ...]:
    draw_pictures(base / "classes" / "cats", 4)
    draw_pictures(base / "classes" / "dogs", 2)
    return "--images", base / "classes"


def _unlabelled(base: Path) -> tuple[object, ...]:
    return "--images", draw_pictures(base / "pictures", 5)


def _points(base: Path) -> tuple[object, ...]:
    return ()


def _text(base: Path) -> tuple[object, ...]:
    base.mkdir(parents=True, exist_ok=True)
    (base / "lines.txt").write_text("the cat sat\non the mat\n\nby a hat\n", encoding="utf-8")
    return "--text", base / "lines.txt"


DATA = {
    "unpaired": _unpaired,
    "paired": _paired,
    "labelled": _labelled,
    "unlabelled": _unlabelled,
    "points": _points,
    "text": _text,
}
assert DATA.keys() == LAYOUTS.keys(), "say in DATA how a command is given data of a new layout"


@pytest.fixture(scope="session")
def data_of() -> Callable[[str, Path], tuple[object, ...]]:
    """Options that give a recipe data of its kind, drawn below a folder."""

    def options(name: str, base: Path) -> tuple[object, ...]:
        derived = table_of(name).get("data", {}).get("derive")
        return DATA["unlabelled" if derived else kind_of(name)](base)

    return options


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs ``translate`` with these words; what libraries write to stderr counts too."""

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        code = call(*words)
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture
def mistake(command: Callable[..., Outcome]) -> Callable[..., str]:
    """Runs ``translate`` expecting one line on stderr that says all of ``says``, and code 2."""

    def run(*words: object, says: tuple[str, ...]) -> str:
        code, out, err = command(*words)
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        for words_of_it in says:
            assert words_of_it in err
        assert out == ""
        assert code == 2
        return err

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of two steps: drawings (3 channels) and paintings (3). Copy it to change it."""
    base = tmp_path_factory.mktemp("model")
    drawings = draw_pictures(base / "drawings", 4)
    paintings = draw_pictures(base / "paintings", 4)
    code = call(
        *("train", "cyclegan", "--domains", drawings, paintings, "--out", base / "run"),
        *TINY,
        *("--steps", 2),
    )
    assert code == 0
    return base / "run"


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, bytes]]:
    """All files below a folder, hidden ones too, by relative name."""

    def read(folder: Path) -> dict[str, bytes]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
