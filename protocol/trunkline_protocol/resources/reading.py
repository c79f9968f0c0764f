"""From an object, as YAML or the API server gives it, to a typed resource or a list of what is wrong with it."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from trunkline_protocol.resources import errors, schema
from trunkline_protocol.resources.errors import FieldError, InvalidResourceError
from trunkline_protocol.resources.kinds import API_VERSION, GROUP, KINDS, Kind, Resource

_MAX_ERRORS: Final = 32
"""More than this helps nobody."""


def parse(obj: Mapping[str, object]) -> Resource:
    """Read a whole object. ``status`` and unknown metadata are ignored; unknown fields elsewhere are errors.

    Raises:
        InvalidResourceError: it is not one of our kinds, or not valid.
    """
    kind = _kind(obj)
    given = obj if isinstance(obj, dict) else dict(obj)
    try:
        return kind.model.model_validate(given)
    except ValidationError as error:
        refused = error
    # What the API server would have put right on the way in may still be in a file.
    if repaired := _repaired(given, refused.errors(include_url=False)):
        try:
            return kind.model.model_validate(repaired)
        except ValidationError as error:
            refused = error
    raise InvalidResourceError(_field_errors(kind, refused)) from None


def validate(obj: Mapping[str, object]) -> list[FieldError]:
    """Everything that is wrong with a whole object, in the order of its fields; empty: it is valid."""
    try:
        parse(obj)
    except InvalidResourceError as invalid:
        return list(invalid.errors)
    return []


def _kind(obj: object) -> Kind:
    if not isinstance(obj, Mapping):
        raise InvalidResourceError([FieldError("", "must be of type object")])
    api_version, name = obj.get("apiVersion"), obj.get("kind")
    if api_version != API_VERSION:
        raise InvalidResourceError([FieldError("apiVersion", f"must be {API_VERSION}")])
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise InvalidResourceError([FieldError("kind", f"{GROUP} has these kinds: {', '.join(KINDS)}")])
    return kind


def _field_errors(kind: Kind, refused: ValidationError) -> list[FieldError]:
    all_details = refused.errors(include_url=False, include_input=False)[:_MAX_ERRORS]
    found: list[FieldError] = []
    for details in all_details:
        # pydantic counts the valid items only; where there are invalid ones, the list is long enough for all we know.
        within = details["loc"]
        if details["type"] == "too_short" and any(
            len(other["loc"]) > len(within) and other["loc"][: len(within)] == within for other in all_details
        ):
            continue
        found.extend(errors.field_errors(details, lambda location: schema.field_names(kind.kind, location)))
    return found


def _repaired(obj: object, found: Sequence[ErrorDetails]) -> object | None:
    """``obj`` without nulls and with whole floats as integers, where those were refused; None if there were none.

    The API server drops a null where none is allowed (but keeps it in a list, or under an unknown name), and takes
    ``1.0`` for an integer.
    """
    changed: object | None = None
    for details in found:
        location, given = details["loc"], details["input"]
        if given is None and location and isinstance(location[-1], str) and details["type"] != "extra_forbidden":
            changed = _with(obj if changed is None else changed, location, None)
        elif details["type"] == "int_type" and isinstance(given, float) and given.is_integer():
            changed = _with(obj if changed is None else changed, location, int(given))
    return changed


def _with(node: object, location: Sequence[int | str], value: int | None) -> object:
    """A copy of ``node`` in which ``value`` stands at ``location``; None: nothing stands there."""
    head, rest = location[0], location[1:]
    if isinstance(node, dict) and head in node:
        if not rest and value is None:
            return {key: child for key, child in node.items() if key != head}
        return {**node, head: _with(node[head], rest, value) if rest else value}
    if isinstance(node, Sequence) and isinstance(head, int):
        return [(_with(item, rest, value) if rest else value) if i == head else item for i, item in enumerate(node)]
    return node
