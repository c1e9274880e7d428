"""Help answers at once: nothing heavy is imported before work begins."""

import os
import subprocess
import sys
from collections.abc import Iterator
from statistics import median
from typing import Any

import pytest
import typer.main

from translate.cli import app

BARE = """
import typer
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
@app.command()
def one(n: int = 1): ...
@app.command()
def two(n: int = 1): ...
app()
"""
LIMIT = 1.4  # times as long as that: 0.3 seconds on a machine where Python and Typer take 0.2
HEAVY = ("torch", "cv2", "numpy", "pydantic", "tomlkit", "rich", "albumentations", "safetensors")


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """Every command and group, as the words that call it."""
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, *path, name)


COMMANDS = list(commands(typer.main.get_command(app)))


def processor_seconds(*words: str) -> tuple[float, str]:
    """User and system time of ``python WORDS`` as a process of its own, and what it prints."""
    before = os.times()
    process = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    after = os.times()
    assert process.stderr == ""
    spent = after.children_user - before.children_user
    return spent + after.children_system - before.children_system, process.stdout


def test_the_contracts_commands_are_there() -> None:
    names = {words[0] for words in COMMANDS if words}
    assert {"train", "convert", "sample", "interpolate", "reconstruct", "edit"} <= names
    assert {"explain", "recipes", "data", "bench", "doctor"} <= names
    assert {words[1] for words in COMMANDS if len(words) == 2} >= {"demo", "sketch", "check"}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_takes_hardly_longer_than_typers_own(words: tuple[str, ...]) -> None:
    """Processor time, against that of the process before it: the median of some pairs."""
    ratios: list[float] = []
    while len(ratios) < 3 or (median(ratios) >= LIMIT and len(ratios) < 15):
        bare, _ = processor_seconds("-c", BARE, "one", "--help")
        ours, text = processor_seconds("-m", "translate", *words, "--help")
        ratios.append(ours / bare)
    assert 0.2 < median(ratios) < LIMIT
    assert text.startswith("Usage: ")
    assert " ".join(words) in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_something_of_every_argument(words: tuple[str, ...]) -> None:
    command: Any = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name


def test_the_commands_import_nothing_heavy() -> None:
    code = "import sys, translate.cli; print(*sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = set(process.stdout.split())
    assert "translate.cli.train" in loaded
    assert not loaded & set(HEAVY)
    ours = {name for name in loaded if name.split(".")[0] in ("translate", "gan_core")}
    assert all(
        name.startswith("translate.cli") for name in ours - {"translate", "translate.errors"}
    )
