"""Tables of a recipe checked against the signatures that they become arguments of.

A constructor's keyword arguments, with their types and defaults, are the one truth of what a
section may hold. Numbers' ranges are the constructors' own to check.
"""

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from translate.errors import UserError, nearest


@contextmanager
def blaming(section: str) -> Iterator[None]:
    """A constructor's ValueError becomes the section's UserError."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"recipe: [{section}] {error}") from None


def arguments(function: Callable[..., Any]) -> set[str]:
    """Names of all of a function's arguments."""
    return set(inspect.signature(function).parameters)


def required(function: Callable[..., Any]) -> set[str]:
    """Names of the arguments without a default."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name for p in parameters if p.default is p.empty}


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Keyword-only arguments, which recipes set; the others are for the program to give."""
    parameters = inspect.signature(function, eval_str=True).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}


def parts(maker: Callable[..., Any]) -> dict[str, type[Any]]:
    """A constructor's positional parameters: classes whose keyword-only arguments are keys too."""
    parameters = inspect.signature(maker, eval_str=True).parameters.values()
    return {p.name: p.annotation for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD}


def keyed(maker: Callable[..., Any]) -> list[Callable[..., Any]]:
    """All functions whose keyword-only arguments are the maker's recipe keys."""
    return [*parts(maker).values(), maker]


def assemble(maker: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    """The maker's result from the values of its own keys and of its parts'."""

    def picked(function: Callable[..., Any]) -> dict[str, Any]:
        return {name: values[name] for name in keywords(function)}

    made = {name: part(**picked(part)) for name, part in parts(maker).items()}
    return maker(**made, **picked(maker))


def check(
    section: str, values: Mapping[str, Any], functions: Iterable[Callable[..., Any]]
) -> dict[str, Any]:
    """``values`` completed with the functions' defaults; UserError at the first wrong key or type.

    Where two functions share an argument the later one's type and default count.
    """
    known = {name: p for function in functions for name, p in keywords(function).items()}
    for key in values:
        if key not in known:
            raise UserError(f"recipe: [{section}] has no key {key!r}{nearest(key, known)}")
    model: type[BaseModel] = create_model(
        "Section",
        __config__=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False),
        **{  # type: ignore[call-overload]
            name: (p.annotation, ... if p.default is p.empty else p.default)
            for name, p in known.items()
        },
    )
    try:  # strict JSON takes a list for a tuple and an integer for a float, and nothing else
        checked = model.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise UserError(f"recipe: [{section}] {_sentence(error, values)}") from None
    return {name: getattr(checked, name) for name in known}


def _sentence(error: ValidationError, values: Mapping[str, Any]) -> str:
    """One line for the first wrong key; a union's alternatives are joined by "or"."""
    problems = error.errors()
    key = problems[0]["loc"][0]
    if key not in values:
        return f"{key} is missing"
    wishes = [_wish(problem) for problem in problems if problem["loc"][0] == key]
    said = json.dumps(values[str(key)], default=str)  # TOML has dates, JSON has not
    return f"{key} = {said}: should be {' or '.join(dict.fromkeys(wishes))}"


def _wish(problem: Any) -> str:
    if problem["type"] in ("missing", "too_long", "too_short"):  # a tuple's
        return "a list of another length"
    return str(problem["msg"]).removeprefix("Input should be ").removeprefix("a valid ")
