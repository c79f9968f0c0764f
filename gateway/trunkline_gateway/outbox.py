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

Data: TypeAlias = bytes | tuple[bytes, ...]
"""What one write takes; a tuple is written as its parts in a row, uncopied."""


class Outbox:
    """See the module. Whoever writes to a transport or closes it without an outbox calls `flush` first."""

    __slots__ = ("_loop", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[tuple[asyncio.Transport, Data]] = deque()

    def write(self, transport: asyncio.Transport, data: Data) -> None:
        """Write ``data`` before the turn is over, in the order of the calls; not if ``transport`` is closed by then."""
        waiting = self._waiting
        waiting.append((transport, data))
        count = len(waiting)
        if count == 1:
            self._loop.call_soon(self.flush)
        elif count >= MOST:
            self.flush()

    def flush(self) -> None:
        """Write everything now; a connection that cannot be written to is aborted, and raises nothing here."""
        waiting = self._waiting
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
