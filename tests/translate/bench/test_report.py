"""A measurement as tables, as a file and as a picture."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from translate.bench import plot
from translate.bench.report import tables, write
from translate.errors import UserError


def side(rate: float, **facts: Any) -> dict[str, Any]:
    around = {"median": rate, "low": 0.9 * rate, "high": 1.2 * rate}
    step = {"median": 2 / rate, "low": 2 / rate, "high": 2 / rate}
    return {"images_per_second": around, "step": step, "peak_memory": 2**30, "facts": facts}


def row(value: int = 128) -> dict[str, Any]:
    return {
        "what": "cyclegan",
        "title": "cyclegan, a training step at 128 pixels",
        "swept": "size",
        "value": value,
        "sides": {
            "ours": side(16, batch=2, run={"precision": "bf16"}, averages=3 * 2**20),
            "plain": side(8),
        },
        "faster": {"plain": {"median": 2.0, "low": 1.9, "high": 2.25}},
        "limit": {"what": "convolution", "share": {"ours": {"median": 0.61}}},
    }


def result(*rows: dict[str, Any]) -> dict[str, Any]:
    versions = {"python": "3.11", "torch": "2.13"}
    kernel = {
        "operation": "norm",
        "pass": "backward",
        "format": "bf16",
        "bytes": 64_000_000,
        "seconds": {"ours": [2e-5, 4e-5], "eager": [9e-5, 1.1e-4], "copy": [2.4e-5]},
        "failed": {"compiled": "ValueError: not here"},
    }
    return {
        "machine": {"device": "A processor", "cores": 2, "threads": 2, "versions": versions},
        "rounds": 5,
        "comparisons": list(rows),
        "kernels": [kernel],
        "notes": ["load: left out"],
    }


def test_tables_fit_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(highlight=False, width=80)
    for part in tables(result(row())):
        console.print(part)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80

    def cells(start: str) -> list[str]:
        (line,) = (
            line for line in lines if line.split()[:1] == start.split()[:1] and "MiB" in line
        )
        return line.split()

    assert any("at 128 pixels, batch 2" in line for line in lines)
    assert cells("ours") == ["ours", "bf16", "125", "ms", "16", "1,024", "MiB", "61%"]
    assert cells("plain") == ["plain", "250", "ms", "8", "2.00", "(1.90-2.25)", "1,024", "MiB"]
    (kernel,) = (line.split() for line in lines if "norm" in line and "failed" not in line)
    assert kernel == ["norm", "bf16", "64", "30", "us", "100", "us", "-", "80%"]
    assert any(
        line == "norm bf16 backward, compiled failed: ValueError: not here" for line in lines
    )
    assert lines[-1] == "load: left out"
    assert "which the plain way has not: cyclegan 3 MiB." in " ".join(" ".join(lines).split())


def test_the_file_holds_everything(tmp_path: Path) -> None:
    measured = result(row())
    write(measured, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == measured


def test_without_matplotlib_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plot, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'translate-gan\[bench\]'"):
        plot.check(Path("cost.png"))


def test_a_plot_of_another_format_is_refused() -> None:
    with pytest.raises(UserError, match=r"name it \.png, \.svg or \.pdf"):
        plot.check(Path("cost.jpx"))


def test_a_plot_has_a_panel_for_each_axis(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    workers = {**row(0), "swept": "workers", "what": "load", "of": 64, "relative": "their size"}
    plot.plot(result(row(64), row(128), workers), tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text.count('id="axes_') == 2
