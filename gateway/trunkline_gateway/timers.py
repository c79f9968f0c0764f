"""Deadlines that almost never pass: set and cancelled in constant time, with no entry in the event loop.

A request has half a dozen of them (head, body, connect, first byte, silence, the whole), and nearly all are cancelled.
So they wait in buckets of one tick each, and the loop holds one timer for the soonest bucket.
"""

import asyncio
import heapq
from collections.abc import Callable
from typing import Final

TICK_SECONDS: Final = 0.05
"""How late a deadline may be noticed. None is noticed early."""


class Timer:
    """A deadline that has been set."""

    __slots__ = ("_bucket", "callback")

    def __init__(self, bucket: "set[Timer]", callback: Callable[[], object]) -> None:
        self._bucket = bucket
        self.callback = callback

    def cancel(self) -> None:
        """Forget it; no effect once it has passed."""
        self._bucket.discard(self)


class Timers:
    """The deadlines of one event loop; used from it alone.

    Attributes:
        loop: The loop.
        time: Its clock, in seconds.
    """

    __slots__ = ("_buckets", "_handle", "_order", "_per_second", "loop", "time")

    def __init__(self, loop: asyncio.AbstractEventLoop, *, tick_seconds: float = TICK_SECONDS) -> None:
        self.loop = loop
        self.time = loop.time
        self._per_second = 1.0 / tick_seconds
        self._buckets: dict[int, set[Timer]] = {}
        self._order: list[int] = []  # a heap of the buckets' numbers
        self._handle: asyncio.TimerHandle | None = None

    def after(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` once, ``seconds`` from now or up to a tick later, unless it is cancelled before."""
        number = int((self.time() + seconds) * self._per_second) + 1
        bucket = self._buckets.get(number)
        if bucket is None:
            bucket = self._buckets[number] = set()
            heapq.heappush(self._order, number)
            if self._order[0] == number:
                self._arm()
        timer = Timer(bucket, callback)
        bucket.add(timer)
        return timer

    def close(self) -> None:
        """Forget all of them."""
        self._buckets.clear()
        self._order.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self.loop.call_at(self._order[0] / self._per_second, self._ring)

    def _ring(self) -> None:
        self._handle = None
        # Half a tick of grace: a loop may wake a hair too early by its own clock, and buckets are whole ticks apart.
        now = int(self.time() * self._per_second + 0.5)
        while self._order and self._order[0] <= now:
            bucket = self._buckets.pop(heapq.heappop(self._order))
            while bucket:
                try:
                    bucket.pop().callback()
                except Exception as error:  # noqa: BLE001  # one broken callback must not lose the others
                    self.loop.call_exception_handler({"message": "a deadline's callback failed", "exception": error})
        if self._order and self._handle is None:
            self._arm()
