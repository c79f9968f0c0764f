"""What stands last in an answer of which only the end was kept."""

import msgspec

_json = msgspec.json.Decoder()
_MOST_BRACES = 8


def member(tail: bytes, name: bytes) -> msgspec.Raw | None:
    """The value, an object, of the last member that is called ``name``; None where there is none, or not all of it."""
    # In a string the quotes would be escaped, so this is a name; the last one is the outermost's.
    quoted = b'"' + name + b'"'
    place = tail.rfind(quoted)
    if place < 0:
        return None
    rest = tail[place + len(quoted) :].lstrip(b" \t\r\n").removeprefix(b":")
    end = len(rest)
    # Cut from the right, brace by brace, until it is JSON: there are one or two of them after the usage.
    for _ in range(_MOST_BRACES):
        end = rest.rfind(b"}", 0, end)
        if end < 0:
            return None
        found = rest[: end + 1]
        try:
            _json.decode(found)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return msgspec.Raw(found)
    return None
