"""JSON of an upstream, read leniently: what is not of the kind that is looked for is not there. All are total."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

Members: TypeAlias = Mapping[str, msgspec.Raw]

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_ESCAPES: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
"""An escaped backslash, a pair of halves, or a half."""

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)
_integer: Final = msgspec.json.Decoder(int)


def object_of(value: bytes | msgspec.Raw) -> Members | None:
    """The members of an object; None: it is none. Half a character (a lone surrogate) is replaced."""
    try:
        return _object.decode(value)
    except _UNREADABLE:
        pass
    repaired = whole_characters(bytes(value))
    try:
        return None if repaired == value else _object.decode(repaired)
    except _UNREADABLE:
        return None


def whole_characters(data: bytes) -> bytes:
    """JSON with U+FFFD for escaped halves of characters, which models write and msgspec refuses."""
    if b"\\u" not in data:
        return data
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found[1] else found[0], data)


def members(value: bytes | msgspec.Raw | None) -> Members:
    """The same; of what is no object: none."""
    return (None if value is None else object_of(value)) or {}


def items(value: bytes | msgspec.Raw | None) -> Sequence[msgspec.Raw]:
    """The items of a list; of what is no list: none."""
    if value is None:
        return ()
    try:
        return _list.decode(value)
    except _UNREADABLE:
        return ()


def text(value: bytes | msgspec.Raw | None) -> str | None:
    """A string."""
    if value is None:
        return None
    try:
        return _string.decode(value)
    except _UNREADABLE:
        return None


def count(value: bytes | msgspec.Raw | None) -> int | None:
    """A whole number that is not negative."""
    if value is None:
        return None
    try:
        number = _integer.decode(value)
    except _UNREADABLE:
        return None
    return number if 0 <= number < 1 << 53 else None


def written(value: msgspec.Raw) -> str:
    """A value as it stands there."""
    return bytes(value).decode("utf-8", "replace")


def blob(value: str) -> bytes | None:
    """What a blob holds, which is base64; None: it is not."""
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return None
