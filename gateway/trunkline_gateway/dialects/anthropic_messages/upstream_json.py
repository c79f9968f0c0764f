"""An upstream's JSON, read leniently: what is not as it should be counts as absent, and nothing raises.

Half a surrogate pair, as comes of cutting a text between tokens, and bytes that are not UTF-8 become U+FFFD.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from trunkline_gateway.exchange import characters

_T = TypeVar("_T")

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_integer: Final = msgspec.json.Decoder(int)
_syntax: Final = msgspec.json.Decoder(msgspec.Raw)

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

NOTHING: Final[Mapping[str, msgspec.Raw]] = {}

MAX_COUNT: Final = 1 << 53


def read(decoder: "msgspec.json.Decoder[_T]", data: bytes | msgspec.Raw) -> _T | None:
    """What the decoder makes of it, if need be after repair; None where it fails."""
    try:
        return decoder.decode(data)
    except UNREADABLE:
        pass
    try:
        return decoder.decode(characters.repaired(bytes(data)))
    except UNREADABLE:
        return None


def members(data: bytes | msgspec.Raw | None) -> Mapping[str, msgspec.Raw]:
    """Those of an object."""
    found = None if data is None else read(_object, data)
    return found or NOTHING


def is_object(data: bytes) -> bool:
    """Whether the text is one JSON object."""
    return read(_object, data) is not None


def items(data: bytes | msgspec.Raw | None) -> Sequence[msgspec.Raw]:
    """Those of an array."""
    found = None if data is None else read(_array, data)
    return found or ()


def text(data: bytes | msgspec.Raw | None) -> str | None:
    """A string."""
    return None if data is None else read(_text, data)


def count(data: bytes | msgspec.Raw | None) -> int | None:
    """A whole number that is not negative."""
    value = None if data is None else read(_integer, data)
    return value if value is not None and 0 <= value < MAX_COUNT else None


def clean(raw: msgspec.Raw) -> msgspec.Raw:
    """The same value, in UTF-8 for certain and on one line, so that it may stand in a server-sent event."""
    data = bytes(raw)
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            data = data.decode("utf-8", "replace").encode()
    # Line ends stand between tokens only; within strings they are escaped.
    return msgspec.Raw(data.replace(b"\r", b" ").replace(b"\n", b" "))


def is_json(data: bytes) -> bool:
    """Whether it is one JSON value."""
    try:
        _syntax.decode(data)
    except UNREADABLE:
        return False
    return True
