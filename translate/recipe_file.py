"""Recipe files: finding, reading and changing them, comments kept."""

import json
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import tomlkit

from translate.errors import UserError, nearest

SECTIONS = ("method", "data", "networks", "growth", "optimizer", "schedule", "run")
LENGTH = {"schedule.steps", "schedule.epochs"}  # of every run, whatever its schedule's kind


def parse_override(text: str) -> tuple[str, Any]:
    """Split "section.key=value" with the value in TOML; a bare word is a string."""
    dotted, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write section.key=value, as in --set data.size=128")
    try:
        return dotted.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return dotted.strip(), value.strip()


def read(source: str) -> tomlkit.TOMLDocument:
    """A recipe by name (from the packaged ones) or by file."""
    path = Path(source)
    if path.suffix == ".toml":
        if not path.is_file():
            raise UserError(f"there is no recipe file {path}")
    else:
        path = recipes_folder() / f"{source}.toml"
        if not path.is_file():
            raise UserError(f"no recipe is called {source!r}{nearest(source, recipe_names())}")
    try:
        return tomlkit.parse(path.read_text(encoding="utf-8"))
    except (tomlkit.exceptions.TOMLKitError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def recipes_folder() -> Path:
    """The recipes inside an installed package, or those beside the package in its repository."""
    packaged = Path(str(files("translate"))) / "recipes"
    return packaged if packaged.is_dir() else packaged.parents[1] / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def override(document: tomlkit.TOMLDocument, dotted: str, value: Any) -> None:
    """Set "section.key"; a new kind of a section drops the arguments of the old one."""
    *path, key = dotted.split(".")
    if not path:
        raise UserError(f"--set {dotted}=...: name the section too, as in --set data.size=128")
    if path[0] not in SECTIONS:
        raise UserError(f"--set {dotted}: no section [{path[0]}]{nearest(path[0], SECTIONS)}")
    table: Any = document
    for part in path:
        if part not in table:
            table[part] = tomlkit.table()
        table = table[part]
        if not isinstance(table, dict):
            raise UserError(f"--set {dotted}: {part} is a value, not a section")
    # Data of a kind that is not said are of the method's usual kind, which this may be.
    changed = table.get(key) != value and path != ["method"] and (path != ["data"] or key in table)
    if key in ("kind", "name") and changed:
        for other in list(table):  # another kind has other arguments
            if not isinstance(table[other], dict) and f"{path[0]}.{other}" not in LENGTH:
                del table[other]
    table[key] = value


def fill(table: Any, values: Mapping[str, Any]) -> None:
    """Write nested values into a TOML table where they differ from what stands there."""
    for key, value in values.items():
        if isinstance(value, dict) and key in table:
            fill(table[key], value)
        elif isinstance(value, dict):
            table[key] = value
        elif key not in table or table[key] != _plain(value):
            table[key] = _plain(value)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def default_recipe(method: str) -> tomlkit.TOMLDocument:
    """The recipe of the method's own name; a method from elsewhere may come without any.

    UserError where there are several and none has its name.
    """
    if method in recipe_names():
        return read(method)
    fitting = recipes_of(method)
    if fitting:
        raise UserError(f"choose what to train, with --recipe: {', '.join(fitting)}")
    return tomlkit.document()


def recipes_of(method: str) -> list[str]:
    """Names of the packaged recipes that train the method, or one of its family."""
    from translate.methods import METHODS  # torch comes with it, which listing names can do without

    kin = {method} | {name for name, maker in METHODS.items() if maker.family == method}
    return [name for name in recipe_names() if read(name)["method"]["name"] in kin]


def summary(name: str) -> str:
    """The first line of a recipe's opening comment."""
    text = (recipes_folder() / f"{name}.toml").read_text(encoding="utf-8")
    return text.split("\n")[0].lstrip("# ")
