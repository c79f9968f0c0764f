"""Members of a client's request: of the right type, or an error that names them by their path.

``null`` is as good as absent everywhere.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.errors import InvalidRequestError

_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL: Final = b"null"


def wrong(path: str, expected: str) -> InvalidRequestError:
    """The error: what should have been there."""
    return InvalidRequestError(f"Invalid '{path}': expected {expected}.", param=path, code="invalid_type")


def value(raw: msgspec.Raw | None, path: str) -> object:
    """Any JSON."""
    if raw is None:
        return None
    try:
        found: object = msgspec.json.decode(raw)
    except reading.DECODE_ERRORS:
        raise wrong(path, "JSON in UTF-8, without half characters and numbers out of range") from None
    return found


def raw_list(raw: msgspec.Raw, path: str) -> Sequence[msgspec.Raw]:
    """A list, each member as its bytes."""
    try:
        return _list.decode(raw)
    except reading.DECODE_ERRORS:
        raise wrong(path, "a list") from None


def raw_object(raw: msgspec.Raw, path: str) -> Mapping[str, msgspec.Raw]:
    """An object, each member as its bytes; those that are null are left out."""
    try:
        found = _object.decode(raw)
    except reading.DECODE_ERRORS:
        raise wrong(path, "an object") from None
    return {name: each for name, each in found.items() if bytes(each).strip() != _NULL}


def text(found: object, path: str) -> str | None:
    """A string."""
    if found is None or isinstance(found, str):
        return found
    raise wrong(path, "a string")


def needed_text(found: object, path: str) -> str:
    """A string that has to be there."""
    if isinstance(found, str):
        return found
    raise wrong(path, "a string")


def mapping(found: object, path: str) -> reading.Object:
    """An object; an empty one where there is none."""
    if found is None:
        return reading.NOTHING
    if isinstance(found, dict):
        return found
    raise wrong(path, "an object")


def items(found: object, path: str) -> Sequence[object]:
    """A list; an empty one where there is none."""
    if found is None:
        return ()
    if isinstance(found, list):
        return found
    raise wrong(path, "a list")


def boolean(found: object, path: str) -> bool | None:
    """True or false."""
    if found is None or isinstance(found, bool):
        return found
    raise wrong(path, "true or false")


def whole(found: object, path: str) -> int | None:
    """A whole number."""
    if found is None or (isinstance(found, int) and not isinstance(found, bool)):
        return found
    raise wrong(path, "a whole number")


def number(found: object, path: str) -> float | None:
    """A number, of the kind that it is."""
    if found is None or (isinstance(found, int | float) and not isinstance(found, bool)):
        return found
    raise wrong(path, "a number")
