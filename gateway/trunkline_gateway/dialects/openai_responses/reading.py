"""Decoded JSON, read by small total functions: a value of the wrong type is as good as none."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway.exchange import characters

Object: TypeAlias = Mapping[str, object]

NOTHING: Final[Object] = {}

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a msgspec decoder raises, whatever bytes it is given."""

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()
_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?);base64,", re.IGNORECASE)


def parse(data: bytes | msgspec.Raw) -> object:
    """A JSON value; None where it is none."""
    try:
        value: object = _decoder.decode(data)
    except DECODE_ERRORS:
        fixed = characters.repaired(bytes(data))
        return None if fixed == data else parse(fixed)
    return value


def mapping(value: object) -> Object:
    """An object; an empty one for anything else."""
    return value if isinstance(value, dict) else NOTHING


def mappings(value: object) -> Sequence[Object]:
    """The objects of a list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else ()


def text(value: object) -> str:
    """A string; empty for anything else."""
    return value if isinstance(value, str) else ""


def number(value: object) -> int | None:
    """A whole number."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def count(value: object) -> int | None:
    """A whole number, and not less than 0."""
    found = number(value)
    return found if found is not None and found >= 0 else None


def encode(value: object) -> bytes:
    """Write JSON; half characters, which UTF-8 has no bytes for, become question marks."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _encoder.encode(_whole(value))


def raw(value: object) -> msgspec.Raw:
    """The same to be put into other JSON."""
    return msgspec.Raw(encode(value))


def one_line(value: msgspec.Raw) -> bytes:
    """Its bytes without line ends, which would end a line of an event. Within strings they are escaped."""
    found = bytes(value)
    if b"\n" in found or b"\r" in found:
        found = found.replace(b"\r", b" ").replace(b"\n", b" ")
    return found


def data_url(url: str) -> tuple[str, str] | None:
    """Media type and base64 of a data URL; None where it is none, or not in base64."""
    found = _DATA_URL.match(url)
    return None if found is None else (found[1].lower(), url[found.end() :])


def _whole(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {str(_whole(key)): _whole(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(each) for each in value]
    return value
