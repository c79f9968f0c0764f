"""An answer while it is read: what has come and not been taken, and how it ended."""

import asyncio
from typing import TYPE_CHECKING, Final

from trunkline_gateway import errors
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream.client import Timeouts

if TYPE_CHECKING:
    from trunkline_gateway.upstream.http1.connection import Connection

MAX_BUFFERED_BYTES: Final = 128 * 1024
"""From when the socket is not read any more; what one read of it brings may come on top."""


class Answer:
    """`Response` from an upstream; made as the request goes out, and given to the caller once it has its head.

    Attributes:
        began: Done when the head is complete, or will never be.
        timeouts: Of the request.
        buffered_bytes: What `read` would return.
    """

    __slots__ = (
        "_connection",
        "_ended",
        "_failure",
        "_loop",
        "_pieces",
        "_reader",
        "began",
        "buffered_bytes",
        "headers",
        "status",
        "timeouts",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: "Connection", timeouts: Timeouts) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.timeouts = timeouts
        self.began: asyncio.Future[None] = loop.create_future()
        self.buffered_bytes = 0
        self._loop = loop
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._ended = False
        self._failure: errors.UpstreamError | None = None
        self._reader: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """See `Response.read`. What came before a failure is delivered before it is raised."""
        while not self._pieces:
            if self._ended:
                return b""
            if self._failure is not None:
                raise self._failure
            if self._reader is not None and not self._reader.done():
                raise RuntimeError("two readers of one answer")  # one of them would wait for ever
            self._reader = self._loop.create_future()
            await self._reader
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        full = self.buffered_bytes > MAX_BUFFERED_BYTES
        self.buffered_bytes = 0
        if full and self._connection is not None:
            self._connection.resume_reading()
        return data

    async def close(self) -> None:
        """See `Response.close`; closing twice is fine."""
        self.abandon()

    def abandon(self) -> None:
        """Close the socket now, unless the answer has ended."""
        if self._connection is not None:
            self._connection.abort()

    # What follows is called by the connection.

    def begin(self, status: int, headers: Headers) -> None:
        """The head is complete."""
        self.status = status
        self.headers = headers
        if not self.began.done():
            self.began.set_result(None)

    def push(self, pieces: list[bytes]) -> None:
        """Some of the body has come; takes it out of the list."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._pieces.append(data)
        self.buffered_bytes += len(data)
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    def end(self) -> None:
        """It is complete; the connection is not its own any more."""
        self._ended = True
        self._connection = None
        self._wake()

    def fail(self, failure: errors.UpstreamError) -> None:
        """It will not be complete."""
        self._failure = failure
        self._connection = None
        if self.began.done():
            self._wake()
        else:
            self.began.set_exception(failure)

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)
