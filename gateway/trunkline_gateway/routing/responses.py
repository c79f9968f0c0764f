"""An upstream's response from outside: what it says it is, and its body where all of it is wanted."""

import asyncio
import contextlib
from typing import Final

from trunkline_gateway import errors
from trunkline_gateway.upstream.client import Response

MAX_ERROR_BYTES: Final = 256 * 1024
"""Of an error's body that is read; the rest is not waited for."""

ERROR_SECONDS: Final = 5.0
"""For an error's body: it must not hold up the next target."""

_JSON: Final = b"application/json"


def content_type_of(response: Response) -> bytes:
    """As the upstream says; JSON where it does not, or says it in bytes that are no text."""
    for name, value in response.headers:
        if name == b"content-type":
            return value if value.isascii() else _JSON
    return _JSON


def is_event_stream(response: Response, wanted: bytes) -> bool:
    """Whether it is a stream of the kind that is ``wanted``; where nothing is said, what was asked for is assumed."""
    for name, value in response.headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower() == wanted
    return True


def is_coded(response: Response) -> bool:
    """Whether it is compressed, although `identity` was asked for: it could be neither checked nor passed on."""
    return any(name == b"content-encoding" and value.lower() != b"identity" for name, value in response.headers)


async def error_body(response: Response) -> bytes:
    """What comes of an error's body in reasonable time and size."""
    body = bytearray()
    with contextlib.suppress(TimeoutError, errors.UpstreamError):
        async with asyncio.timeout(ERROR_SECONDS):
            while len(body) < MAX_ERROR_BYTES and (data := await response.read()):
                body += data
    return bytes(body[:MAX_ERROR_BYTES])


async def read_whole(response: Response, limit: int) -> tuple[list[bytes], int]:
    """All of it, or what has come by when it is known to be over ``limit`` bytes; and how much that is."""
    held = [await response.read()]
    size = len(held[0])
    while size <= limit and (more := await response.read()):
        held.append(more)
        size += len(more)
    return held, size
