"""Decoded JSON of others, read without a word about what is wrong with it."""

from collections.abc import Mapping, Sequence


def as_dict(value: object) -> Mapping[str, object]:
    """An object, or an empty one."""
    return value if isinstance(value, dict) else {}


def as_dicts(value: object) -> Sequence[Mapping[str, object]]:
    """The objects of a list, or none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def as_str(value: object) -> str:
    """A text, or an empty one."""
    return value if isinstance(value, str) else ""


def as_int(value: object) -> int:
    """A whole number, or 0."""
    return value if isinstance(value, int) else 0
