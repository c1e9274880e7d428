"""The direction of dependencies, and who may touch gradients."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from starts import System, every_system

from translate.explain import routes
from translate.methods import METHODS
from translate.recipe import resolve
from translate.recipe_file import read

ROOT = Path(__file__).parents[1]

# What torch itself cannot do without, by what it says of itself; NumPy is not among them.
WITH_TORCH_ALONE = """
import importlib, importlib.abc, pkgutil, re, sys, warnings
from importlib.metadata import requires
warnings.simplefilter("ignore")  # torch says that there is no NumPy
needed = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in requires("torch") if "extra" not in line}
allowed = {"torch", "torchgen", "functorch", "gan_core", "mpmath", "markupsafe"}
allowed |= {name.replace("-", "_").lower() for name in needed} | set(sys.stdlib_module_names)
allowed -= {"triton", "setuptools"}
blocked = set()
class Block(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            blocked.add(name.partition(".")[0])
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
for name in ("numpy", "safetensors", "kornia", "triton", "cv2", "typer", "pydantic", "translate"):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        pass
    else:
        sys.exit(f"{name} was not blocked")
import gan_core
names = ["gan_core"] + [m.name for m in pkgutil.walk_packages(gan_core.__path__, "gan_core.")]
for name in names:
    importlib.import_module(name)
print(*names)
"""


def modules(package: str) -> Iterator[tuple[str, ast.Module]]:
    """Path from the root, and syntax tree, of every file of a package."""
    for path in sorted((ROOT / package).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Top-level packages that a file imports anywhere, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports say the whole path"
            yield str(node.module).partition(".")[0]
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).rpartition(".")[2] in ("import_module", "__import__")
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).partition(".")[0]


def called(tree: ast.Module) -> set[str]:
    """Names of the attributes that a file uses, as in ``x.name``."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_gan_core_imports_with_torch_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITH_TORCH_ALONE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = {path for path, _ in modules("gan_core")}
    expected = {p.removesuffix("/__init__.py").removesuffix(".py").replace("/", ".") for p in files}
    assert set(done.stdout.split()) == expected, "every module was imported"


def test_gan_core_knows_nothing_of_translate() -> None:
    above = {
        "translate",
        "typer",
        "click",
        "rich",
        "pydantic",
        "tomlkit",
        "tests",
        "albumentations",
    }
    found = {path: above & set(imported(tree)) for path, tree in modules("gan_core")}
    assert len(found) > 10
    assert {path: names for path, names in found.items() if names} == {}


def test_the_command_line_stays_in_its_room() -> None:
    found = {path: set(imported(tree)) for path, tree in modules("translate")}
    users = {path for path, names in found.items() if "typer" in names}
    assert users, "someone must use it"
    assert all(path.startswith("translate/cli/") for path in users), users
    cli = {path for path, tree in modules("translate") if uses(tree, "translate.cli")}
    outside = {path for path in cli if not path.startswith("translate/cli/")}
    assert outside == {"translate/__main__.py"}


def uses(tree: ast.Module, package: str) -> bool:
    names = [
        *(str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)),
        *(a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names),
    ]
    return any(f"{name}.".startswith(f"{package}.") for name in names)


@pytest.mark.parametrize("package", ["gan_core", "translate"])
def test_nothing_imports_tests(package: str) -> None:
    forbidden = {"tests", "conftest", "pytest"}
    assert not [path for path, tree in modules(package) if forbidden & set(imported(tree))]


def users_of(attribute: str) -> set[str]:
    trees = [*modules("gan_core"), *modules("translate")]
    return {path for path, tree in trees if attribute in called(tree)}


def test_who_may_touch_requires_grad() -> None:
    """Routing, the making of averages, inference, and slopes by a picture."""
    assert users_of("requires_grad_") == {
        "gan_core/routing.py",
        "gan_core/ema.py",
        "gan_core/losses/penalties.py",
        "translate/convert/translator.py",
        "translate/bench/plain.py",
    }


def test_only_the_trainer_walks_backward() -> None:
    """And the benchmark's plain way, which is what a user would write without it."""
    plain = "translate/bench/plain.py"
    assert users_of("backward") - {plain} == {"gan_core/trainer.py"}
    assert users_of("zero_grad") - {plain} == {"gan_core/trainer.py"}


def test_nobody_sets_requires_grad() -> None:
    assigned = [
        path
        for path, tree in [*modules("gan_core"), *modules("translate")]
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr == "requires_grad"
        and isinstance(node.ctx, ast.Store)
    ]
    assert assigned == []


# ---- every method, found by itself -------------------------------------------------------------


@every_system()
def test_routes_of_every_method(system: System) -> None:
    """Measured on the networks of a recipe, whose settings may decide what is trained together."""
    matrix = routes(read(system.recipe), [], system.method)
    method = resolve(read(system.recipe), []).make_method()
    assert list(matrix) == [update.name for update in method.updates]
    networks: set[str] = set()
    for update in method.updates:
        terms = matrix[update.name]
        assert terms, "an update has something to minimise"
        trained = set()
        for term, cells in terms.items():
            networks |= set(cells)
            trains = {network for network, route in cells.items() if route == "trains"}
            assert trains, f"{term} trains nothing"
            assert trains <= set(update.trains)
            trained |= trains
        assert trained == set(update.trains), "each of its networks is trained by some term"
    owned = [network for update in method.updates for network in update.trains]
    assert set(owned) == networks, "every network is trained by some update"
    assert set(method.averaged) <= networks
    assert set(method.translations) <= set(method.averaged), "what a model file holds"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_held_against_a_table_written_by_hand(name: str) -> None:
    """In the tests of the package that it is defined in."""
    package = METHODS[name].__module__.partition(".")[0]
    file = ROOT / "tests" / package / "methods" / f"test_{name}.py"
    assert file.is_file(), f"add {file.relative_to(ROOT)} with the route matrix of its paper"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names & {"route_matrix", "routes"}  # itself, or what the tests beside it share
