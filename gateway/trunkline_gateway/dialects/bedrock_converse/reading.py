"""JSON of an upstream, read leniently: what is not of the kind that is looked for is not there. All are total."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

import msgspec

from trunkline_gateway.exchange import characters

Members: TypeAlias = Mapping[str, msgspec.Raw]

_T = TypeVar("_T")

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_string: Final = msgspec.json.Decoder(str)
_integer: Final = msgspec.json.Decoder(int)


def read(decoder: "msgspec.json.Decoder[_T]", value: bytes | msgspec.Raw) -> _T | None:
    """What the decoder makes of it; None where it fails. Half a character (a lone surrogate) is replaced."""
    try:
        return decoder.decode(value)
    except UNREADABLE:
        pass
    repaired = characters.repaired(bytes(value))
    try:
        return None if repaired == value else decoder.decode(repaired)
    except UNREADABLE:
        return None


def object_of(value: bytes | msgspec.Raw) -> Members | None:
    """The members of an object; None: it is none."""
    return read(_object, value)


def members(value: bytes | msgspec.Raw | None) -> Members:
    """The same; of what is no object: none."""
    return (None if value is None else object_of(value)) or {}


def items(value: bytes | msgspec.Raw | None) -> Sequence[msgspec.Raw]:
    """The items of a list; of what is no list: none."""
    return (None if value is None else read(_list, value)) or ()


def text(value: bytes | msgspec.Raw | None) -> str | None:
    """A string."""
    return None if value is None else read(_string, value)


def count(value: bytes | msgspec.Raw | None) -> int | None:
    """A whole number that is not negative."""
    if value is None:
        return None
    try:
        number = _integer.decode(value)
    except UNREADABLE:
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
