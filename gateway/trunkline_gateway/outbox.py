"""Writes of one turn of the event loop, made together at its end.

A write wakes whoever waits for it at the other end of the connection. Made one by one, between reading and reckoning,
each wakes somebody who has just fallen asleep again, which costs more than the write itself. Made in a row, they find
the other side awake: measured, two fifths less CPU for each request at full load (docs/design/002). A turn with a
single write makes it just as soon.
"""

import asyncio
import logging
from collections import deque
from typing import Final, TypeAlias

_logger = logging.getLogger(__name__)

MOST: Final = 32
"""Writes that wait for each other at most; more would only make the first of them late."""

MOST_BYTES: Final = 64 * 1024
"""Of data that waits."""

Data: TypeAlias = bytes | tuple[bytes, ...]
"""What one write takes; a tuple is written as its parts in a row, uncopied."""


class Outbox:
    """See the module. Whoever writes to a transport or closes it without an outbox calls `flush` first.

    Attributes:
        flushed: How often it was emptied: what was written when it was the same number is not on its way yet.
    """

    __slots__ = ("_bytes", "_loop", "_waiting", "flushed")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.flushed = 0
        self._loop = loop
        self._bytes = 0
        self._waiting: deque[tuple[asyncio.Transport, Data]] = deque()

    def write(self, transport: asyncio.Transport, data: Data) -> None:
        """Write ``data`` before the turn is over, in the order of the calls; not if ``transport`` is closed by then."""
        waiting = self._waiting
        waiting.append((transport, data))
        self._bytes += len(data) if type(data) is bytes else sum(map(len, data))  # type: ignore[arg-type]  # a tuple
        count = len(waiting)
        if count == 1:
            self._loop.call_soon(self.flush)
        # A loop may read one connection many times in a turn: only what is written can say that there is no more room.
        if count >= MOST or self._bytes > MOST_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write everything now; a connection that cannot be written to is aborted, and raises nothing here."""
        waiting = self._waiting
        self.flushed += 1
        self._bytes = 0
        while waiting:  # whatever a transport's callbacks add or flush meanwhile: the oldest is always next
            transport, data = waiting.popleft()
            if transport.is_closing():
                continue
            try:
                if type(data) is tuple:
                    transport.writelines(data)
                else:
                    transport.write(data)  # type: ignore[arg-type]  # bytes: mypy does not narrow by `type`
            except Exception:  # those behind it belong to others
                _logger.exception("a write failed; its connection is closed")
                transport.abort()
