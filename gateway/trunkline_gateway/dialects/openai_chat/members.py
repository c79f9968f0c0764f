"""Members of a request's objects, read one by one and strictly: a known one of the wrong kind is a client's error.

What nobody asked for is noted by name, so that nothing is lost in silence. Null is absence.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias, TypeVar

import msgspec

from trunkline_gateway.errors import InvalidRequestError

_T = TypeVar("_T")

_NULL: Final = b"null"
_EMPTY: Final = frozenset({b"null", b"[]", b"{}", b'""'})
_LONGEST_EMPTY: Final = max(map(len, _EMPTY))
_NUMBERS: Final = re.compile(r"\[\d+\]")

_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text: Final = msgspec.json.Decoder(str)
_texts: Final = msgspec.json.Decoder(list[str])
_integer: Final = msgspec.json.Decoder(int)
_number: Final = msgspec.json.Decoder(int | float)
_boolean: Final = msgspec.json.Decoder(bool)

Kind: TypeAlias = Literal["null", "text", "list", "object", "other"]


class Notes:
    """Names of what nobody has a word for, each once, in order."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def add(self, name: str) -> None:
        """Note a path, without the numbers of its lists."""
        self._names[_NUMBERS.sub("", name)] = None

    @property
    def names(self) -> tuple[str, ...]:
        """All that were noted."""
        return tuple(self._names)


class Members:
    """One object and where it stands. Each getter counts its member as read; `close` notes the rest."""

    __slots__ = ("_rest", "at", "notes")

    def __init__(self, fields: Mapping[str, msgspec.Raw], at: str, notes: Notes) -> None:
        self._rest = dict(fields)
        self.at = at
        self.notes = notes

    def path(self, name: str) -> str:
        """Of a member."""
        return f"{self.at}.{name}" if self.at else name

    def raw(self, name: str) -> msgspec.Raw | None:
        """A member as its bytes."""
        value = self._rest.pop(name, None)
        return None if value is None or _is_null(value) else value

    def skip(self, *names: str) -> None:
        """Count members as read that mean nothing here."""
        for name in names:
            self._rest.pop(name, None)

    def has(self, name: str) -> bool:
        """Whether a member is there and not null; it is not counted as read."""
        value = self._rest.get(name)
        return value is not None and not _is_null(value)

    def text(self, name: str) -> str | None:
        """A string."""
        return self._decoded(name, _text, "a string")

    def needed_text(self, name: str) -> str:
        """A string that has to be there."""
        value = self.text(name)
        if value is None:
            raise self.refusal(name, "is missing")
        return value

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings."""
        value = self._decoded(name, _texts, "a list of strings")
        return None if value is None else tuple(value)

    def integer(self, name: str) -> int | None:
        """An integer."""
        return self._decoded(name, _integer, "an integer")

    def number(self, name: str) -> float | None:
        """A number, of the kind that it is."""
        return self._decoded(name, _number, "a number")

    def boolean(self, name: str) -> bool | None:
        """True or false."""
        return self._decoded(name, _boolean, "true or false")

    def object(self, name: str) -> "Members | None":
        """An object."""
        if name not in self._rest:  # most are not there
            return None
        value = self.raw(name)
        return None if value is None else self.object_of(value, self.path(name))

    def items(self, name: str) -> Iterator[tuple[msgspec.Raw, str]] | None:
        """The items of a list, each with its path."""
        if name not in self._rest:
            return None
        values = self._decoded(name, _list, "a list")
        if values is None:
            return None
        at = self.path(name)
        return ((value, f"{at}[{number}]") for number, value in enumerate(values))

    def objects(self, name: str) -> "list[Members] | None":
        """A list of objects."""
        items = self.items(name)
        return None if items is None else [self.object_of(value, at) for value, at in items]

    def object_of(self, value: msgspec.Raw, at: str) -> "Members":
        """An object that stands at ``at``."""
        try:
            return Members(_object.decode(value), at, self.notes)
        except msgspec.MsgspecError:
            raise refusal(at, "must be an object") from None

    def names(self) -> list[str]:
        """Of all members that were not read yet."""
        return [*self._rest]

    def kind(self, name: str) -> Kind:
        """What a member is, without reading it."""
        return kind_of(self._rest.get(name))

    def refusal(self, name: str, why: str) -> InvalidRequestError:
        """What refuses the request for a member."""
        return refusal(self.path(name), why)

    def close(self) -> None:
        """Note all that was not read and says something."""
        for name, value in self._rest.items():
            if len(value) > _LONGEST_EMPTY or bytes(value) not in _EMPTY:
                self.notes.add(self.path(name))

    def _decoded(self, name: str, decoder: "msgspec.json.Decoder[_T]", what: str) -> _T | None:
        value = self._rest.pop(name, None)
        if value is None or _is_null(value):
            return None
        try:
            return decoder.decode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise refusal(self.path(name), f"must be {what}") from None


def _is_null(value: msgspec.Raw) -> bool:
    return len(value) == len(_NULL) and bytes(value) == _NULL


def kind_of(value: msgspec.Raw | None) -> Kind:
    """What a JSON value is."""
    first = b"n" if value is None else bytes(value)[:1]
    match first:
        case b"n":
            return "null"
        case b'"':
            return "text"
        case b"[":
            return "list"
        case b"{":
            return "object"
    return "other"


def text_of(value: msgspec.Raw, at: str) -> str:
    """A string that stands at ``at``."""
    try:
        return _text.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise refusal(at, "must be a string") from None


def refusal(at: str, why: str) -> InvalidRequestError:
    """What refuses the request for what stands at ``at``."""
    return InvalidRequestError(f"The field '{at}' {why}.", param=at)
