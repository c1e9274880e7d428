"""What is installed, from a wheel and in development, each in an environment of its own."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ("gan_core", "translate", "recipes", "pyproject.toml", "README.md", "LICENSE")
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.toml"))

pytestmark = pytest.mark.slow


class Environment:
    """A virtual environment that sees this one's packages, but not how this one sees the source.

    This environment's folder is added by a .pth file, whose own .pth files Python does not follow.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        venv.create(folder, symlinks=True)
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        here = sysconfig.get_path("purelib")
        places = {"base": str(folder), "platbase": str(folder)}
        site = Path(sysconfig.get_path("purelib", "venv", vars=places))
        (site / "0-tools.pth").write_text(here + "\n")

    def install(self, *what: str | Path) -> None:
        alone = ["--ignore-installed", "--no-deps", "--no-index", "--no-build-isolation"]
        pip = [sys.executable, "-m", "pip", "--python", str(self.bin / "python")]
        call([*pip, "--quiet", "install", *alone, *map(str, what)], self.folder)

    def python(self, code: str) -> str:
        return call([self.bin / "python", "-c", code], self.folder)

    def recipes(self) -> list[str]:
        """Names that the installed command lists, called from elsewhere."""
        listed = call([self.bin / "translate", "recipes"], self.folder)
        return [line.split()[0] for line in listed.splitlines()]

    def files(self) -> set[str]:
        """What the installation wrote, as pip recorded it."""
        return set(json.loads(self.python(FILES)))

    def importable(self, module: str) -> bool:
        found = self.python(f"import importlib.util as u; print(u.find_spec({module!r}))")
        return found.strip() != "None"


FILES = """
import json
from importlib.metadata import files
print(json.dumps([path.as_posix() for path in files("translate-gan")]))
"""


def call(command: Sequence[str | Path], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr.strip(), done.stderr
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what an installation needs: a test may add to it."""
    folder = tmp_path / "source"
    folder.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def top_levels(files: set[str]) -> set[str]:
    """Of what lies in site-packages, without bytecode."""
    return {f.split("/")[0] for f in files if not f.startswith("../")} - {"__pycache__"}


def test_a_wheel_carries_the_recipes_inside_the_package(source: Path, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-index", "--no-deps"]
    call([*build, "--no-build-isolation", "-w", tmp_path / "wheels", source], tmp_path)
    (wheel,) = (tmp_path / "wheels").iterdir()
    environment = Environment(tmp_path / "environment")
    environment.install(wheel)
    shutil.rmtree(source)

    assert environment.recipes() == RECIPES
    assert not environment.importable("recipes")
    files = environment.files()
    (information,) = {name for name in top_levels(files) if name.endswith(".dist-info")}
    assert top_levels(files) == {"gan_core", "translate", information}
    assert {f for f in files if f.endswith(".toml")} == {
        f"translate/recipes/{name}.toml" for name in RECIPES
    }
    assert {"gan_core/py.typed", "translate/py.typed"} <= files
    assert environment.python("import translate; print(translate.__file__)").startswith(
        str(environment.folder)
    )


def test_an_editable_install_reads_the_source_and_nothing_beside_it(
    source: Path, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "environment")
    environment.install("--editable", source)

    assert environment.recipes() == RECIPES
    shutil.copy(source / "recipes/demo.toml", source / "recipes/another.toml")
    assert environment.recipes() == sorted([*RECIPES, "another"])  # without installing again
    for module in ("gan_core", "translate"):
        place = environment.python(f"import {module}; print({module}.__file__)").strip()
        assert place == str(source / module / "__init__.py")
    for module in ("recipes", "pyproject"):
        assert not environment.importable(module)
    assert not {f for f in environment.files() if f.endswith(".toml")}
