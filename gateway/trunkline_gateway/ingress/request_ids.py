"""``x-request-id``: the client's where it is harmless to log and to send back, else one of ours."""

import itertools
import re
import secrets
from typing import Final

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")

# An id is no secret; it only must not occur twice, in this process or in another.
_prefix: Final = "req_" + secrets.token_hex(10)
_numbers: Final = itertools.count()


def make() -> str:
    """A new one: 80 random bits of this process, and a number."""
    return f"{_prefix}{next(_numbers):012x}"


def accept(value: bytes | None) -> str:
    """What to call a request whose ``x-request-id`` header is ``value``."""
    return value.decode("ascii") if value is not None and _SANE.fullmatch(value) else make()
