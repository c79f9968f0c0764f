"""``x-request-id``: the client's where it is harmless to log and to send back, else one of ours."""

import random
import re
from typing import Final

_make: Final = random.Random(random.SystemRandom().getrandbits(256))  # noqa: S311  # an id is no secret; it only must not occur twice

_SANE: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}")


def make() -> str:
    """A new one, 128 bits."""
    return f"req_{_make.getrandbits(128):032x}"


def accept(value: bytes | None) -> str:
    """What to call a request whose ``x-request-id`` header is ``value``."""
    return value.decode("ascii") if value is not None and _SANE.fullmatch(value) else make()
