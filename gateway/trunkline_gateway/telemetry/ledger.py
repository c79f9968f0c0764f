"""Takes in requests that are over, and accounts for them later, many at once, off the critical section.

    access = AccessLog(logs.handler(), wall=wall)
    ledger = Ledger(loop, metrics, access)
    ledger.add(exchange)       # when a request is over: 0.1 µs
    ledger.flush()             # before a scrape is rendered
    ledger.close()             # after the last request

Nothing that was added is lost but by a crash: metrics lag by `WAIT_SECONDS` at most, log lines by that and by what
writing them takes.
"""

import asyncio
from typing import Final

from trunkline_gateway.telemetry.access import AccessLog
from trunkline_gateway.telemetry.exchange import Exchange
from trunkline_gateway.telemetry.metrics import Metrics

WAIT_SECONDS: Final = 0.02
BATCH: Final = 32
"""How many are accounted for in one go: some 0.1 ms in which the loop does nothing else; others wait for it."""


class Ledger:
    """See the module. Belongs to the event loop."""

    __slots__ = ("_access", "_closed", "_entries", "_loop", "_metrics", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, metrics: Metrics, access: AccessLog) -> None:
        self._loop = loop
        self._metrics = metrics
        self._access = access
        self._entries: list[Exchange] = []
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        metrics.watch_log(lambda: access.dropped)

    def add(self, exchange: Exchange) -> None:
        """Enter a request that is over; nobody may change ``exchange`` any more."""
        self._entries.append(exchange)
        if self._timer is None:
            self._wait()
        if len(self._entries) == BATCH:
            self._loop.call_soon(self._account)

    def flush(self) -> None:
        """Account for everything now. Its lines are with the writer then, not necessarily written."""
        self._account()
        self._access.flush()

    def close(self) -> None:
        """Account for everything; the writer has its lines until the process ends. What comes later is not delayed."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()
        self._access.close()

    def _wait(self) -> None:
        if self._closed:
            self.flush()
        else:
            self._timer = self._loop.call_later(WAIT_SECONDS, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.flush()

    def _account(self) -> None:
        entries, self._entries = self._entries, []
        for exchange in entries:
            self._metrics.ended(exchange)
        self._access.log(entries)
