"""A method that another package brings: found by its entry point, and treated like those here.

The package is a module and the metadata of its distribution, on the search path of the processes
that the test starts.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from gan_core.checkpoint import load_model
from translate.errors import UserError
from translate.methods import find_method

MODULE = '''
"""One generator draws the pictures of both domains anew, one discriminator of real and drawn ones
is shown, as drawn, what the step before made, and fooling it counts the less the better it is.
"""

import torch

from gan_core.routing import Step, Update


class Doubt:
    """A part of the method, whose keys are keys of the method."""

    def __init__(self, *, forget: float = 0.5) -> None:
        self.forget, self.now = forget, 1.0


class Redrawing:
    data = ("unpaired",)
    family = "redrawing"
    translations = {"G": ("x", "y")}
    grid = ("x", "made y", "y")
    updates = (Update("drawing", trains=("G",)), Update("judging", trains=("D",)))
    averaged = ("G",)

    def __init__(self, doubt: Doubt, *, lambda_same: float = 3.0) -> None:
        self.doubt, self.lambda_same = doubt, lambda_same
        self.shown = None

    def networks(self, build, channels):
        return {
            "G": build("generator", in_channels=channels["x"], out_channels=channels["y"]),
            "D": build("discriminator", in_channels=channels["y"]),
        }

    def schedule(self, progress):
        return (Step(self.updates[1:], repeats=progress.step % 2), Step(self.updates))

    def scene(self, nets, batch):
        both = torch.cat([batch["x"], batch["y"]])
        return {"both": both, "drawn": nets["G"](both)}

    def losses(self, update, nets, scene):
        if update.name == "drawing":
            return {
                "same": self.lambda_same * (scene["drawn"].float() - scene["both"]).square().mean(),
                "fool": -self.doubt.now * nets["D"](scene["drawn"]).float().mean(),
            }
        before = scene["drawn"] if self.shown is None else self.shown
        self.shown = scene["drawn"].detach()
        return {
            "real": (1 - nets["D"](scene["both"]).float()).relu().mean(),
            "drawn before": (1 + nets["D"](before).float()).relu().mean(),
        }

    def made(self, nets, batch, generator):
        return {"y": nets["G"](batch["x"])}

    def observe(self, logs):
        forget = self.doubt.forget
        self.doubt.now = forget * self.doubt.now + (1 - forget) * logs["real"]

    def state_dict(self):
        return {"shown": self.shown, "doubt": self.doubt.now}

    def load_state_dict(self, state):
        self.shown, self.doubt.now = state["shown"], state["doubt"]
'''

STEPS = 40
RECIPE = f"""
[method]
name = "redrawing"
forget = 0.75

[data]
size = 16

[networks.generator]
kind = "resnet"
blocks = 1
filters = 4

[networks.discriminator]
kind = "patch"
layers = 1
filters = 4

[schedule]
steps = {STEPS}

[run]
device = "cpu"
checkpoint_every = 5
log_every = 1
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    information = folder / "redrawing_gan-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "redrawing_gan.py").write_text(MODULE)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: redrawing-gan\n")
    (information / "entry_points.txt").write_text(
        "[translate.methods]\nredrawing = redrawing_gan:Redrawing\n"
    )
    (tmp_path / "redrawing.toml").write_text(RECIPE)
    return folder


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "translate", *map(str, arguments)]


def surroundings(package: Path | None) -> dict[str, str]:
    """Variables of a process that finds the package, or where there is none."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(package or "")}


def call(package: Path | None, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        env=surroundings(package),
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=240,
    )


def draw(folder: Path, count: int, side: int = 20) -> Path:
    rng = np.random.default_rng(count)
    folder.mkdir()
    for i in range(count):
        picture = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


def test_found_by_its_entry_point(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no method is called 'redrawing'; choose .*cyclegan"):
        find_method("redrawing")
    monkeypatch.syspath_prepend(str(package))
    found = find_method("redrawing")
    assert (found.__module__, found.__name__) == ("redrawing_gan", "Redrawing")
    with pytest.raises(UserError, match="called 'redraw'; did you mean 'redrawing'"):
        find_method("redraw")


def test_explain_measures_its_routes(package: Path, tmp_path: Path) -> None:
    done = call(package, "explain", "redrawing", "--recipe", tmp_path / "redrawing.toml", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {
        "drawing": {
            "same": {"G": "trains", "D": "not touched"},
            "fool": {"G": "trains", "D": "passes through"},
        },
        "judging": {
            "real": {"G": "not touched", "D": "trains"},
            "drawn before": {"G": "not touched", "D": "trains"},
        },
    }


@pytest.mark.slow
def test_mistakes_are_one_line(package: Path, tmp_path: Path) -> None:
    """No recipe: the method's own has none of its name; a wrong key: its signature is the truth."""
    given = ["--domains", draw(tmp_path / "a", 2), draw(tmp_path / "b", 2)]
    given += ["--out", tmp_path / "run"]
    done = call(package, "train", "redrawing", *given)
    said = "error: recipe: method 'redrawing' needs [networks.generator]\n"
    assert (done.returncode, done.stderr) == (2, said)

    recipe = ["--recipe", tmp_path / "redrawing.toml", "--set", "method.forgot=0.5"]
    done = call(package, "train", "redrawing", *given, *recipe)
    said = "error: recipe: [method] has no key 'forgot'; did you mean 'forget'?\n"
    assert (done.returncode, done.stderr) == (2, said)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_trains_stops_goes_on_and_converts(package: Path, tmp_path: Path) -> None:
    given = ["--domains", draw(tmp_path / "sketches", 5), draw(tmp_path / "photos", 3)]
    given += ["--recipe", tmp_path / "redrawing.toml"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    done = call(package, "train", "redrawing", *given, "--out", whole)
    assert (done.returncode, done.stderr) == (0, "")

    log = parts / "log.jsonl"
    with (
        open(tmp_path / "said", "wb") as said,
        subprocess.Popen(
            command("train", "redrawing", *given, "--out", parts),
            env=surroundings(package),
            stdout=said,
            stderr=said,
        ) as process,
    ):
        deadline = time.monotonic() + 240
        while not log.exists() or log.read_text().count("\n") < 6:
            assert process.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert log.read_text().count("\n") < STEPS

    done = call(None, "train", "redrawing", "--resume", parts)  # its package is not there
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no method is called 'redrawing'; ")
    done = call(package, "train", "redrawing", "--resume", parts)
    assert (done.returncode, done.stderr) == (0, "")
    assert (parts / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert losses(parts) == losses(whole)

    tensors, header = load_model(whole / "model.safetensors")
    assert header["method"] == "redrawing"
    assert header["recipe"]["method"] == {"name": "redrawing", "forget": 0.75, "lambda_same": 3.0}
    assert header["translations"] == [{"network": "G", "from": "sketches", "to": "photos"}]
    assert {name.split(".")[0] for name in tensors} == {"G"}

    # A model file needs the networks' kinds alone.
    source, target = draw(tmp_path / "source", 2, side=27), tmp_path / "converted"
    done = call(None, "convert", whole, source, target, "--device", "cpu", "--precision", "fp32")
    assert (done.returncode, done.stderr) == (0, "")
    for path in source.iterdir():
        before, after = cv2.imread(str(path)), cv2.imread(str(target / path.name))
        assert after.shape == before.shape
        assert np.ptp(after) > 0


def losses(out: Path) -> list[dict[str, float]]:
    """The log without what a second run measures anew."""
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    beside = ("images_per_second", "memory_mb")
    return [{k: v for k, v in line.items() if k not in beside} for line in lines]
