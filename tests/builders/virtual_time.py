"""An event loop's clock and timers, in virtual time."""

import heapq
import itertools
from collections.abc import Callable


class Loop:
    """Virtual time."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Handle]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object], /) -> "Handle":
        handle = Handle(callback)
        heapq.heappush(self._queue, (self.now + delay, next(self._order), handle))
        return handle

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end + 1e-9:
            self.now, _, handle = heapq.heappop(self._queue)
            if not handle.cancelled:
                handle.callback()
        self.now = end


class Handle:
    def __init__(self, callback: Callable[[], object]) -> None:
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True
