"""JSON that holds what is not Unicode, as it comes of cutting a text between tokens or UTF-16 units."""

import re
from typing import Final

# Escapes of a JSON string, one by one, so that an escaped backslash before a "u" is not taken for one.
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def repaired(data: bytes) -> bytes:
    """The same JSON with U+FFFD for halves of surrogate pairs and for bytes that are not UTF-8."""
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    if b"\\u" not in data:
        return data
    return _ESCAPE.sub(lambda found: b"\\ufffd" if found["half"] else found[0], data)
