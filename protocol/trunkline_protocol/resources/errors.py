"""What is wrong with an object, field by field, in the words that the API server uses too."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias

from pydantic_core import ErrorDetails

from trunkline_protocol.resources.rules import ERROR_TYPE

FieldNames: TypeAlias = Callable[[Sequence[int | str]], Sequence[str]]
"""The names of the fields that may stand in the object at a location."""


@dataclass(frozen=True, slots=True, order=True)
class FieldError:
    """One thing to correct.

    Attributes:
        path: Where, such as ``spec.targets[0].weight``; empty: the object itself.
        message: What to write instead. It quotes no value but misspelt words of a fixed choice.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class InvalidResourceError(ValueError):
    """An object is not one of our resources, or not a valid one.

    Attributes:
        errors: Why; at least one.
    """

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = tuple(errors)


_NAME_LENGTH: Final = 64
"""How much of the name of an unknown field is repeated, in characters."""

# The words of Kubernetes, so that both doors say the same.
_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "Required value",
    "string_type": "must be of type string",
    "int_type": "must be of type integer",
    "tuple_type": "must be of type array",
    "dict_type": "must be of type object",
    "model_type": "must be of type object",
    "invalid_key": "the name of a field must be a string",
    "string_too_long": "Too long: may not be more than {max_length} characters",
    "string_too_short": "should be at least {min_length} chars long",
    "too_long": "Too many: {actual_length}: must have at most {max_length} items",
    "too_short": "should have at least {min_length} items",
    "greater_than_equal": "should be greater than or equal to {ge}",
    "less_than_equal": "should be less than or equal to {le}",
    "string_unicode": "must be valid Unicode",
}


def field_errors(details: ErrorDetails, known_fields: FieldNames) -> Iterator[FieldError]:
    """Put one error of pydantic into our words.

    Args:
        details: The error.
        known_fields: Asked for what could have been meant by an unknown name.
    """
    location, context = details["loc"], details.get("ctx", {})
    if details["type"] == ERROR_TYPE:
        for field, message in context["failures"]:
            yield FieldError(path(location) + field, message)
    elif details["type"] == "extra_forbidden":
        meant = get_close_matches(str(location[-1])[:_NAME_LENGTH], known_fields(location[:-1]), n=1)
        yield FieldError(path(location), f"unknown field; did you mean {meant[0]}?" if meant else "unknown field")
    elif details["type"] == "literal_error":
        allowed = str(context["expected"]).replace("'", '"').replace(" or ", ", ")
        yield FieldError(path(location), f"Unsupported value: supported values: {allowed}")
    else:
        template = _MESSAGES.get(details["type"])
        yield FieldError(path(location), template.format_map(context) if template else details["msg"])


def path(location: Sequence[int | str]) -> str:
    """``("spec", "keys", 0, "name")`` as ``spec.keys[0].name``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step != "[key]":  # pydantic's mark for the key of a mapping, which already ends the path
            name = "".join(char if char.isprintable() else "?" for char in step[:_NAME_LENGTH])
            text += f".{name}" if text else name
    return text
