import importlib.metadata
import re
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from translate.doctor import CV2_WHEELS, PACKAGES, examine

Command = Callable[..., Any]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> dict[str, str | None]:
    """Versions to pretend, by package; None: not installed. Others are as they are."""
    pretended: dict[str, str | None] = dict.fromkeys(CV2_WHEELS, "4.14.0.94")
    real = importlib.metadata.version

    def version(name: str) -> str:
        found = pretended[name] if name in pretended else real(name)
        if found is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return found

    monkeypatch.setattr("translate.doctor.version", version)
    return pretended


@pytest.fixture
def cv2(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cv2 that says it is the one without windows."""
    module: Any = types.ModuleType("cv2")
    module.__version__ = "4.14.0"
    module.getBuildInformation = lambda: "  GUI:                           NONE\n"
    monkeypatch.setitem(sys.modules, "cv2", module)
    return module


def test_a_sound_machine(versions: dict[str, str | None], cv2: Any, command: Command) -> None:
    facts, complaints = examine()
    assert complaints == []
    assert set(PACKAGES) | set(CV2_WHEELS) <= facts.keys()
    assert facts["torch"] == torch.__version__
    assert facts["cv2"] == "4.14.0 from opencv-python-headless"
    assert facts["device cpu"].startswith("cpu, auto precision is ")
    assert facts["free disk here"].endswith(" GiB")
    outcome = command("doctor")
    assert outcome.code == 0
    assert "to mend" not in outcome.out
    for name in facts:
        assert name in outcome.out


def test_this_machine(command: Command) -> None:
    outcome = command("doctor")
    assert outcome.code == (1 if "to mend: " in outcome.out else 0)
    assert outcome.err == ""


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "typer"])
def test_a_missing_package(
    versions: dict[str, str | None], cv2: Any, command: Command, name: str
) -> None:
    versions[name] = None
    facts, complaints = examine()
    assert facts[name] == "missing"
    assert complaints == [f"{name} is not installed: pip install -c constraints.txt {name}"]
    assert ("device cpu" in facts) == (name != "torch")
    outcome = command("doctor")
    assert outcome.code == 1
    assert f"to mend: {complaints[0]}\n" in outcome.out


def test_every_package_that_is_imported_is_looked_for() -> None:
    """Those that pyproject.toml asks for, except the two wheels, which are looked at closely."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    names = {re.split("[<>=]", entry)[0] for entry in project["dependencies"]}
    assert names == {*PACKAGES, *CV2_WHEELS}


def test_wheels_that_differ(versions: dict[str, str | None], cv2: Any) -> None:
    versions["opencv-python-headless"] = "5.0.0.93"
    _, complaints = examine()
    (complaint,) = complaints
    assert "differ in version" in complaint
    assert "4.14.0.94" in complaint
    assert "5.0.0.93" in complaint
    assert "--force-reinstall" in complaint


@pytest.mark.parametrize("missing", CV2_WHEELS)
def test_one_wheel_is_enough(versions: dict[str, str | None], cv2: Any, missing: str) -> None:
    versions[missing] = None
    facts, complaints = examine()
    assert facts[missing] == "missing"
    assert complaints == []


def test_the_wheel_with_windows(versions: dict[str, str | None], cv2: Any) -> None:
    cv2.getBuildInformation = lambda: "General:\n  GUI:              QT5\n    QT:  YES\n"
    facts, _ = examine()
    assert facts["cv2"] == "4.14.0 from opencv-python, with windows"


def test_a_cv2_that_does_not_import(
    versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    facts, complaints = examine()
    assert facts["cv2"] == "does not import"
    (complaint,) = complaints
    assert "apt-get install libgl1" in complaint
    assert "opencv-python-headless" in complaint


def test_a_gutted_cv2(versions: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", types.ModuleType("cv2"))
    facts, complaints = examine()
    assert facts["cv2"] == "is gutted"
    (complaint,) = complaints
    assert "--force-reinstall" in complaint
