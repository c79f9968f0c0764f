"""A client's JSON, member by member, strict about what is known and noting what is not.

Proto JSON takes a field's name in camelCase and in snake_case, an enum as its name or its number, an integer as a
string: https://protobuf.dev/programming-guides/json/
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from trunkline_gateway.errors import InvalidRequestError

_T = TypeVar("_T")

_members_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_list_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_text_decoder: Final = msgspec.json.Decoder(str)
_bool_decoder: Final = msgspec.json.Decoder(bool)
_any_decoder: Final = msgspec.json.Decoder()

_INT64: Final = 1 << 63
_NULL_BYTES: Final = len(b"null")


class Message:
    """One JSON object.

    Attributes:
        path: Where it stands in the body, for errors.
    """

    __slots__ = ("_members", "_unread", "path")

    def __init__(self, members: Mapping[str, msgspec.Raw], path: str = "") -> None:
        self.path = path
        self._members: dict[str, msgspec.Raw] = {}
        for name, value in members.items():
            if len(value) != _NULL_BYTES or bytes(value) != b"null":
                self._members.setdefault(camel(name) if "_" in name else name, value)
        self._unread = dict.fromkeys(self._members)

    @classmethod
    def of(cls, raw: msgspec.Raw, path: str) -> "Message":
        """The object that ``raw`` is.

        Raises:
            InvalidRequestError: It is none.
        """
        members: dict[str, msgspec.Raw] = _decoded(_members_decoder, raw, path, "an object")
        return cls(members, path)

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.path}.{name}" if self.path else name

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> Sequence[str]:
        """Of all members that are not null."""
        return list(self._members)

    @property
    def unread(self) -> Sequence[str]:
        """Of the members that nobody asked for."""
        return list(self._unread)

    def raw(self, name: str) -> msgspec.Raw | None:
        """A member as it is."""
        if name not in self._members:  # most are not there
            return None
        self._unread.pop(name, None)
        return self._members[name]

    def message(self, name: str) -> "Message | None":
        """A member that is an object."""
        if name not in self._members:
            return None
        raw = self.raw(name)
        return None if raw is None else Message.of(raw, self.at(name))

    def elements(self, name: str) -> Sequence[tuple[msgspec.Raw, str]]:
        """A list with the path of each element; a lone object is a list of one, as Google takes it."""
        raw = self.raw(name)
        if raw is None:
            return ()
        if bytes(raw).startswith(b"{"):
            return [(raw, self.at(name))]
        found = _decoded(_list_decoder, raw, self.at(name), "a list")
        return [(each, f"{self.at(name)}[{number}]") for number, each in enumerate(found)]

    def messages(self, name: str) -> Sequence["Message"]:
        """A list of objects."""
        return [Message.of(raw, path) for raw, path in self.elements(name)]

    def text(self, name: str) -> str | None:
        """A member that is a string."""
        if name not in self._members:
            return None
        raw = self.raw(name)
        return None if raw is None else _decoded(_text_decoder, raw, self.at(name), "a string")

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings."""
        if name not in self._members:
            return None
        return tuple(_decoded(_text_decoder, raw, path, "a string") for raw, path in self.elements(name))

    def boolean(self, name: str) -> bool | None:
        """A member that is true or false."""
        raw = self.raw(name)
        return None if raw is None else _decoded(_bool_decoder, raw, self.at(name), "true or false")

    def integer(self, name: str) -> int | None:
        """A member that is a whole number, however it is written (``40``, ``40.0``, ``"40"``)."""
        if name not in self._members:
            return None
        value = self._number(name)
        if value is None:
            return None
        if not float(value).is_integer():
            raise _wrong(self.at(name), "a whole number")
        return int(value)

    def number(self, name: str) -> float | None:
        """A member that is a number; a whole one stays whole."""
        return self._number(name) if name in self._members else None

    def enum(self, name: str, names: Sequence[str]) -> str | None:
        """The name of an enum's value in capitals; ``names``: by their numbers. An unknown one is given as it is."""
        raw = self.raw(name)
        if raw is None:
            return None
        value = _decoded(_any_decoder, raw, self.at(name), "a name")
        if isinstance(value, str):
            return value.upper()
        if isinstance(value, int) and not isinstance(value, bool):
            return names[value] if 0 <= value < len(names) else str(value)
        raise _wrong(self.at(name), "a name")

    def _number(self, name: str) -> int | float | None:
        raw = self.raw(name)
        if raw is None:
            return None
        value = _decoded(_any_decoder, raw, self.at(name), "a number")
        if isinstance(value, str) and len(value) <= 32:
            try:
                value = float(value) if not value.lstrip("-").isdecimal() else int(value)
            except ValueError:
                raise _wrong(self.at(name), "a number") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(self.at(name), "a number")
        if not -_INT64 <= value < _INT64:  # neither does NaN compare
            raise _wrong(self.at(name), "a number in range")
        return value


def camel(name: str) -> str:
    """``snake_case`` as ``camelCase``; other names as they are."""
    if "_" not in name:
        return name
    first, *rest = name.strip("_").split("_")
    return first + "".join(each[:1].upper() + each[1:] for each in rest)


def _decoded(decoder: "msgspec.json.Decoder[_T]", raw: msgspec.Raw, path: str, what: str) -> _T:
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _wrong(path, what) from None


def _wrong(path: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"'{path}' must be {what}.", param=path)
