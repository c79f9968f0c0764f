"""Writes lines to a place that may block (a pipe whose reader is slow) without ever blocking who gives them."""

import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

from trunkline_protocol import logs

_logger = logging.getLogger(__name__)

BOUND_BYTES: Final = 8 << 20
_SAY_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 2.0


class LineWriter:
    """A daemon thread around ``write``, begun with the first line. Given to by one thread only.

    What is not written yet is bounded; beyond that, whole lines are dropped, counted, and reported in the log at most
    once a minute (by the thread: where the log is stuck, nobody else waits for it).

    Args:
        write: Writes whole lines; may block. An `OSError` or `ValueError` (a closed stream) loses what it was given.
        bound_bytes: Of lines that are not written yet.
        clock: Seconds, for the reports.

    Attributes:
        dropped: Lines, since the beginning.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        bound_bytes: int = BOUND_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._bound = bound_bytes
        self._clock = clock
        self._queue: SimpleQueue[bytes | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Each number is changed by one thread alone, so none needs a lock.
        self._given_bytes = 0
        self._done_bytes = 0
        self._refused = 0
        self._failed = 0
        self._said = 0
        self._say_again = float("-inf")

    @property
    def dropped(self) -> int:
        """See the class."""
        return self._refused + self._failed

    def put(self, lines: bytes) -> None:
        """Take whole lines, each with its line end. Never blocks."""
        room = self._bound - (self._given_bytes - self._done_bytes)
        if len(lines) > room:
            cut = lines.rfind(b"\n", 0, max(room, 0)) + 1
            self._refused += lines.count(b"\n", cut)
            lines = lines[:cut]
        if not lines:
            return
        self._given_bytes += len(lines)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
        self._queue.put(lines)

    def close(self, *, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Write the rest, for as long as ``timeout_seconds``; what is still stuck then is lost."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(timeout_seconds)
        self._thread = None

    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._write(lines)
            except (OSError, ValueError):  # nowhere to say it but in the metrics, and in the log when it is back
                self._failed += lines.count(b"\n")
            self._done_bytes += len(lines)
            self._report()

    def _report(self) -> None:
        dropped = self.dropped
        if dropped == self._said or (now := self._clock()) < self._say_again:
            return
        self._say_again = now + _SAY_SECONDS
        _logger.warning("lines of the access log were dropped", extra=logs.fields(lines=dropped - self._said))
        self._said = dropped
