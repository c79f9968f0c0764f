"""A client's JSON, read member by member: what is wrong is named by its path, what nobody asked for can be listed.

Values that are not looked into stay as their bytes.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from trunkline_gateway.errors import InvalidRequestError

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_integer: Final = msgspec.json.Decoder(int)
_number: Final = msgspec.json.Decoder(int | float)
_boolean: Final = msgspec.json.Decoder(bool)

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_NOTHING: Final = frozenset({b"null", b"false"})
_NULL_BYTES: Final = len(b"null")


def wrong(path: str, problem: str) -> InvalidRequestError:
    """The error for a field that is not as it should be."""
    return InvalidRequestError(f"{path}: {problem}", param=path)


def is_text(raw: msgspec.Raw) -> bool:
    """Whether it is a JSON string, by its first byte."""
    return bytes(raw)[:1] == b'"'


def is_array(raw: msgspec.Raw) -> bool:
    """Whether it is a JSON array, by its first byte."""
    return bytes(raw)[:1] == b"["


def is_object(raw: msgspec.Raw) -> bool:
    """Whether it is a JSON object, by its first byte."""
    return bytes(raw)[:1] == b"{"


def text(raw: msgspec.Raw, path: str) -> str:
    """A string. Raises InvalidRequestError."""
    try:
        return _text.decode(raw)
    except _UNREADABLE:
        raise wrong(path, "Input should be a valid string") from None


def array(raw: msgspec.Raw, path: str) -> list[msgspec.Raw]:
    """The items of an array. Raises InvalidRequestError."""
    try:
        return _array.decode(raw)
    except _UNREADABLE:
        raise wrong(path, "Input should be a valid list") from None


class Members:
    """An object's members; those with null count as absent.

    Attributes:
        path: Where the object stands in the body; empty at the top.
    """

    __slots__ = ("_asked", "_members", "path")

    def __init__(self, members: Mapping[str, msgspec.Raw], path: str = "") -> None:
        self.path = path
        self._members = members
        self._asked: set[str] = set()

    @classmethod
    def of(cls, raw: msgspec.Raw, path: str) -> "Members":
        """Those of a JSON object. Raises InvalidRequestError."""
        try:
            return cls(_object.decode(raw), path)
        except _UNREADABLE:
            raise wrong(path, "Input should be a valid dictionary") from None

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> msgspec.Raw | None:
        """A member as its bytes."""
        raw = self._members.get(name)
        if raw is None:
            return None
        self._asked.add(name)
        return None if len(raw) == _NULL_BYTES and bytes(raw) == b"null" else raw

    def need(self, name: str) -> msgspec.Raw:
        """A member that must be there. Raises InvalidRequestError."""
        raw = self.raw(name)
        if raw is None:
            raise wrong(self.at(name), "Field required")
        return raw

    def text(self, name: str) -> str | None:
        """A string. Raises InvalidRequestError."""
        raw = self.raw(name)
        return None if raw is None else text(raw, self.at(name))

    def need_text(self, name: str) -> str:
        """A string that must be there. Raises InvalidRequestError."""
        return text(self.need(name), self.at(name))

    def integer(self, name: str) -> int | None:
        """A whole number. Raises InvalidRequestError."""
        raw = self.raw(name)
        if raw is None:
            return None
        try:
            value = _integer.decode(raw)
        except _UNREADABLE:
            raise wrong(self.at(name), "Input should be a valid integer") from None
        if not 0 <= value < 1 << 63:
            raise wrong(self.at(name), "Input should be greater than or equal to 0, and not too large")
        return value

    def number(self, name: str) -> int | float | None:
        """A number, of the kind it is. Raises InvalidRequestError."""
        raw = self.raw(name)
        if raw is None:
            return None
        try:
            value: int | float = _number.decode(raw)
        except _UNREADABLE:
            raise wrong(self.at(name), "Input should be a valid number") from None
        if not -(1 << 53) < value < 1 << 53:
            raise wrong(self.at(name), "Input is too large")
        return value

    def boolean(self, name: str) -> bool | None:
        """True or false. Raises InvalidRequestError."""
        raw = self.raw(name)
        if raw is None:
            return None
        try:
            return _boolean.decode(raw)
        except _UNREADABLE:
            raise wrong(self.at(name), "Input should be a valid boolean") from None

    def items(self, name: str) -> list[msgspec.Raw] | None:
        """An array. Raises InvalidRequestError."""
        if name not in self._members:  # most are not there
            return None
        raw = self.raw(name)
        return None if raw is None else array(raw, self.at(name))

    def texts(self, name: str) -> tuple[str, ...] | None:
        """An array of strings. Raises InvalidRequestError."""
        items = self.items(name)
        if items is None:
            return None
        return tuple(text(item, f"{self.at(name)}[{number}]") for number, item in enumerate(items))

    def object(self, name: str) -> "Members | None":
        """An object. Raises InvalidRequestError."""
        if name not in self._members:
            return None
        raw = self.raw(name)
        return None if raw is None else Members.of(raw, self.at(name))

    def unread(self) -> Iterable[str]:
        """Names of members that nobody asked for and that say something."""
        return [name for name, raw in self._members.items() if name not in self._asked and bytes(raw) not in _NOTHING]
