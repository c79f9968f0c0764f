"""An answer while it is read: what has come and not been taken, and how it ended.

Three ways to read it: `read` waits; `pump` hands on each piece as it comes, with no task between; `notify` tells once
when there is nothing to wait for any more.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trunkline_gateway import errors
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream.client import Timeouts

if TYPE_CHECKING:
    from trunkline_gateway.upstream.http1.connection import Connection

MAX_BUFFERED_BYTES: Final = 128 * 1024
"""From when the socket is not read any more; what one read of it brings may come on top."""


class Answer:
    """`PendingResponse` from an upstream; made as the request goes out.

    Attributes:
        status: 0 until the head is complete.
        timeouts: Of the request.
        buffered_bytes: What `read` would return.
        complete: All of it has come.
        failure: Why it will not be complete.
    """

    __slots__ = (
        "_connection",
        "_head",
        "_loop",
        "_notified",
        "_pieces",
        "_reader",
        "_sink",
        "buffered_bytes",
        "complete",
        "failure",
        "headers",
        "status",
        "timeouts",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: "Connection", timeouts: Timeouts) -> None:
        self.status = 0
        self.headers: Headers = ()
        self.timeouts = timeouts
        self.buffered_bytes = 0
        self.complete = False
        self.failure: errors.UpstreamError | None = None
        self._loop = loop
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._head: asyncio.Future[None] | None = None
        self._reader: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], bool] | None = None
        self._notified: Callable[[], None] | None = None

    @property
    def begun(self) -> bool:
        """Whether its head is here, or will never be."""
        return self.status != 0 or self.failure is not None

    async def head(self) -> None:
        """Wait for the head. Raises what the failure is if there will be none."""
        if not self.begun:
            self._head = self._loop.create_future()
            try:
                await self._head
            finally:
                self._head = None
        if not self.status and self.failure is not None:
            raise self.failure

    async def read(self) -> bytes:
        """See `Response.read`. What came before a failure is delivered before it is raised."""
        while not self._pieces:
            if self.complete:
                return b""
            if self.failure is not None:
                raise self.failure
            await self._something()
        return self.take()

    def peek(self) -> bytes:
        """What has come and was not taken."""
        pieces = self._pieces
        if len(pieces) > 1:
            pieces[:] = [b"".join(pieces)]
        return pieces[0] if pieces else b""

    def take(self) -> bytes:
        """The same, and it is taken."""
        data = self.peek()
        self._pieces.clear()
        full = self.buffered_bytes > MAX_BUFFERED_BYTES
        self.buffered_bytes = 0
        if full and self._connection is not None:
            self._connection.resume_reading()
        return data

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """See `Response.pump`."""
        if self._pieces or self.complete or self.failure is not None:
            return
        self._sink = sink
        try:
            await self._something()
        finally:
            self._sink = None

    def notify(self, over: Callable[[], None] | None) -> None:
        """See `PendingResponse.notify`."""
        self._notified = over

    async def close(self) -> None:
        """See `Response.close`; closing twice is fine."""
        self.abandon()

    def abandon(self) -> None:
        """Close the socket now, unless the answer has ended."""
        self._notified = None
        if self._connection is not None:
            self._connection.abort()

    # What follows is called by the connection.

    def begin(self, status: int, headers: Headers) -> None:
        """The head is complete."""
        self.status = status
        self.headers = headers
        if self._head is not None:
            _wake(self._head)

    def push(self, pieces: list[bytes]) -> None:
        """Some of the body has come; takes it out of the list."""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        sink = self._sink
        if sink is not None:
            if not sink(data):
                self._sink = None
                if self._reader is not None:
                    _wake(self._reader)
            return
        self._pieces.append(data)
        self.buffered_bytes += len(data)
        if self._reader is not None:
            _wake(self._reader)

    def end(self) -> None:
        """It is complete; the connection is not its own any more."""
        self.complete = True
        self._connection = None
        self.tell()

    def fail(self, failure: errors.UpstreamError) -> None:
        """It will not be complete."""
        self.failure = failure
        self._connection = None
        if self._head is not None:
            _wake(self._head)
        self.tell()

    def tell(self) -> None:
        """There is nothing to wait for any more: it is over, or nothing comes until something is taken."""
        if self._reader is not None:
            _wake(self._reader)
        notified = self._notified
        if notified is not None:
            self._notified = None
            notified()

    async def _something(self) -> None:
        if self._reader is not None:
            raise RuntimeError("two readers of one answer")  # one of them would wait for ever
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None


def _wake(waiting: "asyncio.Future[None]") -> None:
    if not waiting.done():
        waiting.set_result(None)
