"""Reading a request as strictly as a provider does: every field known, of its type, and there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from harness.providers.script import RefusedError
from harness.wire import Request


def body(request: Request) -> dict[str, Any]:
    """The body, an object of JSON without duplicate names."""
    if "json" not in (request.header("content-type") or ""):
        raise RefusedError(f"content-type {request.header('content-type')!r} is not JSON", status=415)
    try:
        read = json.loads(request.body, object_pairs_hook=_unique, parse_constant=_no_constant)
    except ValueError as error:
        raise RefusedError(f"the body is not JSON: {error}") from None
    if not isinstance(read, dict):
        raise RefusedError("the body is not an object")
    return read


def fields(value: object, path: str, required: str = "", optional: str = "", *, nullable: str = "") -> dict[str, Any]:
    """An object that has ``required``, nothing but ``optional`` beside, and null only where ``nullable``.

    The names are separated by white space.
    """
    if not isinstance(value, dict):
        raise RefusedError(f"{path}: expected an object, got {shown(value)}")
    needed = required.split()
    for name in needed:
        if name not in value:
            raise RefusedError(f"{path}.{name}: field required")
    known = {*needed, *optional.split(), *nullable.split()}
    for name, item in value.items():
        if name not in known:
            raise RefusedError(f"{path}.{name}: unknown field")
        if item is None and name not in nullable.split():
            raise RefusedError(f"{path}.{name}: must not be null")
    return value


def tagged(value: object, path: str, kinds: dict[str, tuple[str, str]], *, common: str = "") -> dict[str, Any]:
    """An object whose ``type`` is one of ``kinds``, with the required and optional fields of that kind."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise RefusedError(f"{path}.type: {shown(kind)} is not one of {', '.join(kinds)}")
    required, optional = kinds[kind]
    return fields(value, path, f"type {required}", f"{optional} {common}")


def items(value: object, path: str, *, at_least: int = 0) -> list[tuple[str, Any]]:
    """The items of a list, each with its path."""
    if not isinstance(value, list):
        raise RefusedError(f"{path}: expected a list, got {shown(value)}")
    if len(value) < at_least:
        raise RefusedError(f"{path}: too short")
    return [(f"{path}[{index}]", item) for index, item in enumerate(value)]


def string(value: object, path: str, *, empty: bool = True, pattern: str = "") -> str:
    """A string."""
    if not isinstance(value, str):
        raise RefusedError(f"{path}: expected a string, got {shown(value)}")
    if not value and not empty:
        raise RefusedError(f"{path}: must not be empty")
    if pattern and not re.fullmatch(pattern, value):
        raise RefusedError(f"{path}: {shown(value)} does not match {pattern}")
    return value


def one_of(value: object, path: str, choices: str) -> None:
    """One of several words."""
    if value not in choices.split():
        raise RefusedError(f"{path}: {shown(value)} is not one of {choices}")


def number(value: object, path: str, low: float, high: float, *, whole: bool = False) -> None:
    """A number between two, both included."""
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:  # type: ignore[operator]
        raise RefusedError(f"{path}: {shown(value)} is not {'an integer' if whole else 'a number'} in {low}..{high}")


def numbers(value: dict[str, Any], path: str, bounds: dict[str, tuple[float, float, bool]]) -> None:
    """Those fields of an object that are there, each within its bounds; True: whole."""
    for name, (low, high, whole) in bounds.items():
        if value.get(name) is not None:
            number(value[name], f"{path}.{name}", low, high, whole=whole)


def json_object(value: object, path: str) -> None:
    """A string that holds an object of JSON."""
    try:
        read = json.loads(string(value, path))
    except ValueError:
        raise RefusedError(f"{path}: not JSON: {shown(value)}") from None
    if not isinstance(read, dict):
        raise RefusedError(f"{path}: not an object: {shown(value)}")


def image(value: object, path: str) -> None:
    """An address of an image, or its bytes in a ``data:`` URL."""
    string(value, path, pattern=r"(https?://|data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/]).*")


def distinct(names: Iterable[str], path: str) -> None:
    """No name twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise RefusedError(f"{path}: {name} is there twice")
        seen.add(name)


def same(wanted: Sequence[str], given: Sequence[str], path: str) -> None:
    """Every call has its result, and every result its call."""
    if sorted(wanted) != sorted(given):
        raise RefusedError(f"{path}: calls {sorted(wanted)} have results {sorted(given)}")


def shown(value: object) -> str:
    """A value, short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    distinct((name for name, _ in pairs), "an object")
    return dict(pairs)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
