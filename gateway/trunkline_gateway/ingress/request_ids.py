"""``x-request-id``: the client's where it is harmless to log and to send back, else one of ours."""

import re
import secrets
from typing import Final

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def make() -> str:
    """A new one, 128 bits."""
    return "req_" + secrets.token_hex(16)


def accept(value: bytes | None) -> str:
    """What to call a request whose ``x-request-id`` header is ``value``."""
    return value.decode("ascii") if value is not None and _SANE.fullmatch(value) else make()
