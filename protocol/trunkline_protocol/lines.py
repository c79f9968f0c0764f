"""Writes lines to a place that may block (a pipe whose reader is slow) without ever blocking who gives them.

    writer = LineWriter(write, report=report)
    writer.put(lines)
    writer.close()

May be given to by any thread, the one of an event loop too.
"""

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

BOUND_BYTES: Final = 8 << 20
_WRITE_BYTES: Final = 64 << 10
"""As much as a pipe holds: where many short lines wait, more in one call would be no quicker."""
_SAY_SECONDS: Final = 60.0
_CLOSE_SECONDS: Final = 2.0
_END: Final = b""


class LineWriter:
    """A daemon thread around ``write``, begun with the first line.

    What is not written yet is bounded; beyond that, whole lines are dropped, counted, and reported in their place, at
    most once a minute, as soon as something can be written again.

    Args:
        write: Writes whole lines; may block. An `OSError` or `ValueError` (a closed stream) loses what it was given.
        report: Renders that so many lines were dropped, as lines; empty: say nothing.
        bound_bytes: Of lines that are not written yet.
        clock: Seconds, for the reports.
    """

    def __init__(
        self,
        write: Callable[[bytes], None],
        *,
        report: Callable[[int], bytes],
        bound_bytes: int = BOUND_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._report = report
        self._bound = bound_bytes
        self._clock = clock
        self._queue: SimpleQueue[bytes] = SimpleQueue()
        # Held for some instructions, never while writing. Reentrant: what the garbage collector ends in the midst of
        # `put` may log, too.
        self._giving = threading.RLock()
        self._thread: threading.Thread | None = None
        self._closed = False
        # Changed by who gives, under the lock:
        self._given_bytes = 0
        self._refused = 0
        # Changed by the thread alone:
        self._done_bytes = 0
        self._failed = 0
        self._said = 0
        self._say_again = float("-inf")

    @property
    def dropped(self) -> int:
        """How many lines were never written, since the beginning."""
        return self._refused + self._failed

    def put(self, lines: bytes) -> bool:
        """Take whole lines, each with its line end, or drop what there is no room for. Never blocks.

        Returns:
            False: it took nothing, because it is closed or cannot begin.
        """
        with self._giving:
            if self._closed:
                return False
            room = self._bound - (self._given_bytes - self._done_bytes)
            if len(lines) > room:
                cut = lines.rfind(b"\n", 0, max(room, 0)) + 1
                self._refused += lines.count(b"\n", cut)
                lines = lines[:cut]
            if not lines:
                return True
            if self._thread is None and not self._begin():
                return False
            self._given_bytes += len(lines)
            self._queue.put(lines)
            return True

    def close(self, *, timeout_seconds: float = _CLOSE_SECONDS) -> None:
        """Write the rest, for as long as ``timeout_seconds``; what is still stuck then is lost. Again: does nothing."""
        with self._giving:
            if self._closed:
                return
            self._closed = True
            self._queue.put(_END)
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _begin(self) -> bool:
        thread = threading.Thread(target=self._run, name="log-lines", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads: the system's limit, or the interpreter is ending
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        ended = False
        while not ended:
            taken, ended = self._take()
            if self._try(taken):
                self._say(at_last=ended)
            else:  # nowhere to say it but in the metrics, and in the log when it is back
                self._failed += taken.count(b"\n")
            self._done_bytes += len(taken)

    def _take(self) -> tuple[bytes, bool]:
        """Wait for lines; give those that are there, and whether they are the last."""
        parts = [self._queue.get()]
        size = len(parts[0])
        try:
            while size < _WRITE_BYTES:
                parts.append(self._queue.get_nowait())
                size += len(parts[-1])
        except Empty:
            pass
        return b"".join(parts), _END in parts

    def _try(self, lines: bytes) -> bool:
        try:
            if lines:
                self._write(lines)
        except (OSError, ValueError):
            return False
        return True

    def _say(self, *, at_last: bool) -> None:
        dropped = self.dropped
        if dropped == self._said:
            return
        now = self._clock()
        if (at_last or now >= self._say_again) and self._try(self._report(dropped - self._said)):
            self._said = dropped
            self._say_again = now + _SAY_SECONDS
