"""``translate bench`` from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
TINY = [
    *("--device", "cpu", "--size", 32, "--rounds", 1, "--steps", 1, "--seconds", 0.05),
    *("--pictures", 2, "--set", "networks.generator.filters=4"),
]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["cyclegan", "convert"])
def test_it_measures_and_writes_everything_down(
    what: str, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "measured.json"
    outcome = command("bench", what, *TINY, "--precision", "bf16", "--json", file)
    assert outcome.code == 0
    for word in ("ours bf16", "plain", "plain bf16", "images/s", "ours is faster", "of limit"):
        assert word in outcome.out
    measured = json.loads(file.read_text(encoding="utf-8"))
    assert set(measured) == {"machine", "rounds", "comparisons", "kernels", "notes"}
    assert {"date", "device", "cores", "threads", "versions"} <= measured["machine"].keys()
    (row,) = measured["comparisons"]
    assert {"what", "title", "size", "recipe", "sides", "faster", "limit"} <= row.keys()
    assert list(row["sides"]) == ["ours", "plain", "plain bf16"]
    images = {"cyclegan": 1, "convert": 2}[what]
    for name, side in row["sides"].items():
        (seconds,) = side["seconds_per_step"]
        assert 0 < seconds < 60
        assert side["images_per_step"] == images
        assert side["steps_per_round"] == 1
        assert side["images_per_second"]["median"] == pytest.approx(images / seconds)
        assert 2**27 < side["memory_before"] <= side["peak_memory"] < 2**33
        share = row["limit"]["share"][name]["median"]
        (rate,) = row["limit"]["operations_per_second"]
        needed = row["limit"]["operations_per_image"] * images
        assert share == pytest.approx(needed / rate / seconds)
    ours, plain = (row["sides"][name]["seconds_per_step"][0] for name in ("ours", "plain"))
    assert row["faster"]["plain"]["median"] == pytest.approx(plain / ours)
    text = file.read_text(encoding="utf-8")
    assert str(tmp_path) not in text
    assert "/tmp" not in text


@pytest.mark.slow
def test_told_to_end_it_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "translate", "bench", "cyclegan", "--device", "cpu", "--size", "32"],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    while not list(tmp_path.glob("*/8-of-32/y/*")):
        assert time.monotonic() - began < 60
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped before all was measured" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_loading_beside_pillow(command: Command) -> None:
    pytest.importorskip("PIL")
    outcome = command("bench", "load", *TINY, "--workers", 1, "--batch-size", 2)
    assert outcome.code == 0
    assert "load samples of 32 pixels from pictures of 64, 1 workers" in outcome.out


def test_kernels_are_left_out_without_a_gpu(command: Command) -> None:
    outcome = command("bench", "kernels", "--device", "cpu")
    assert outcome.code == 0
    assert "kernels: left out, they run on CUDA devices, not on cpu" in outcome.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["cyclegen"], "nothing called 'cyclegen' is measured; did you mean 'cyclegan'?"),
        (["cyclegan", "--sweep", "size=big"], "--sweep size=big: give whole numbers"),
        (["cyclegan", "--json", "."], ". cannot be written: Is a directory"),
        (["cyclegan", "--json", "no/a.json"], "no/a.json cannot be written: there is no folder no"),
        (["cyclegan", "--plot", "a.png"], "--plot draws what changes: say with --sweep"),
        (["gan"], "choose what to train, with --recipe"),
        (["cyclegan", "--set", "method.loss=hinge", "--size", "32"], "no method.loss = 'hinge'"),
        (["cyclegan", "--recipe", "cgan-small"], "--recipe cgan-small is for cgan"),
        (["cyclegan", "--device", "abacus"], "there is no device 'abacus'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_measured_is_one_line(words: list[str], said: str, command: Command) -> None:
    outcome = command("bench", "--device", "cpu", *words)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("error: ")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1
