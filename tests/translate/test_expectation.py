"""What a run would cost, against what it then costs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from starts import SYSTEMS

from translate.expectation import expect, parameters
from translate.meter import Meter
from translate.recipe import resolve
from translate.recipe_file import read
from translate.training import Run, begin, build, folder_of, train

(TOY,) = [system for system in SYSTEMS if str(system) == "gan-points"]


def small(**changes: Any) -> Run:
    settings: dict[str, Any] = {
        "networks.generator.filters": 64,
        "networks.discriminator.filters": 64,
        "data.points": 100,
        "data.batch_size": 10,
        "schedule.steps": 4,
        "run.device": "cpu",
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return build(resolve(read(TOY.recipe), list(settings.items())), torch.device("cpu"), print)


def test_the_cost_of_a_run_before_it_and_after(tmp_path: Path) -> None:
    expected = expect(small(schedule__steps=1000), steps=2)
    assert expected.keys() == {
        *("method", "data", "device", "precision", "parameters", "steps", "seconds_per_step"),
        *("memory_bytes", "disk_bytes"),
    }
    assert expected["method"] == "gan"
    assert expected["data"] == {"8gaussians": 100}
    assert (expected["device"], expected["precision"]) == ("cpu", "fp32")
    layers = 2 * 64 + 64 + 2 * (64 * 64 + 64)
    assert expected["parameters"] == {"G": layers + 64 * 2 + 2, "D": layers + 64 + 1}
    assert expected["steps"] == 1000
    assert 1e-4 < expected["seconds_per_step"] < 60
    assert expected["memory_bytes"] > 10_000_000, "torch alone takes more"

    made = small(run__checkpoint_every=1)
    folder = folder_of(made, tmp_path / "run")
    begin(made, folder, overwrite=False)
    train(made, folder, stop=lambda: False, show=lambda logs: None, say=print)
    written = [path.stat().st_size for path in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(written) == 2  # run.keep
    assert 0.8 * sum(written) < expected["disk_bytes"] < sum(written)


def test_parameters_are_counted_once() -> None:
    shared = torch.nn.Linear(3, 2)
    assert parameters(torch.nn.Sequential(shared, torch.nn.ReLU(), shared)) == 8


def test_a_line_of_the_log_is_of_the_steps_since_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of what was logged; a figure that some steps lack is the mean of the others."""
    made = small()
    now = iter([0.0, 2.0, 2.0, 3.0, 3.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    meter, counts = Meter(made.trainer), made.trainer.counts
    for loss, figure in ((1.0, {"penalty D": 4.0}), (2.0, {}), (6.0, {"penalty D": 2.0})):
        meter.take({"D": loss, **figure})
        counts["step"] += 1
        counts["images"] += 10
    line = meter.report()
    assert (line["D"], line["penalty D"]) == (3.0, 3.0)
    assert (line["step"], line["images"], line["images_per_second"]) == (3, 30, 15.0)
    assert (line["redone"], line["skipped"]) == (0, 0)
    meter.take({"D": 7.0})
    counts["images"] += 10
    line = meter.report()
    assert (line["D"], line["images_per_second"]) == (7.0, 10.0)
    assert "penalty D" not in line
