"""The connections of one endpoint that wait for another request, and how new ones are made."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from trunkline_gateway.outbox import Outbox
from trunkline_gateway.timers import Timer, Timers
from trunkline_gateway.upstream.http1.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a pool keeps, and for how long.

    Attributes:
        idle_seconds: When an unused connection is closed.
        max_idle: How many unused connections an endpoint keeps.
        max_age_seconds: From when a connection is not used for another request, give or take a tenth.
    """

    idle_seconds: float
    max_idle: int
    max_age_seconds: float


class Pool:
    """Idle connections, the one that was used last on top, so that the others can grow old. Everything in O(1).

    Attributes:
        open: All connections, in use or not.
    """

    __slots__ = (
        "_bounds",
        "_connect",
        "_draining",
        "_idle",
        "_loop",
        "_outbox",
        "_timer",
        "_timers",
        "open",
        "proxy_lines",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timers: Timers,
        outbox: Outbox,
        bounds: Bounds,
        connect: Callable[[Callable[[], Connection], float], Awaitable[Connection]],
        proxy_lines: bytes,
    ) -> None:
        """Make an empty pool.

        Args:
            loop: The one that all of it runs in.
            timers: Of that loop.
            outbox: For the requests.
            bounds: See `Bounds`.
            connect: Opens a connection: what makes its protocol, and the seconds that it may take.
            proxy_lines: Headers that each request needs for a proxy, each line ended.
        """
        self.open: set[Connection] = set()
        self.proxy_lines = proxy_lines
        self._loop = loop
        self._timers = timers
        self._outbox = outbox
        self._bounds = bounds
        self._connect = connect
        self._draining = False
        self._idle: dict[Connection, None] = {}  # in the order of their return
        self._timer: Timer | None = None

    def take(self) -> Connection | None:
        """An idle connection that may be used, if there is one."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.expires > self._loop.time():
                return connection
            connection.abort()
        return None

    async def dial(self, seconds: float) -> Connection:
        """A new connection.

        Raises:
            UpstreamError: See `dial.Dialer.connect`.
        """
        connection = await self._connect(self._new, seconds)
        self.open.add(connection)
        return connection

    def give_back(self, connection: Connection) -> bool:
        """Keep it for another request; False: it is not wanted."""
        if self._draining or len(self._idle) >= self._bounds.max_idle or connection.expires <= connection.idle_since:
            return False
        self._idle[connection] = None
        if self._timer is None:
            self._timer = self._timers.after(self._bounds.idle_seconds, self._sweep)
        return True

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        self._idle.pop(connection, None)
        self.open.discard(connection)

    def drain(self) -> None:
        """Keep nothing from now on: idle connections go now, others when their answer ends."""
        self._draining = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._idle):
            connection.abort()

    def close(self) -> None:
        """Close all connections, those in use too."""
        self.drain()
        for connection in list(self.open):
            connection.abort()

    def _new(self) -> Connection:
        return Connection(self._loop, self._timers, self._outbox, self, max_age_seconds=self._bounds.max_age_seconds)

    def _sweep(self) -> None:
        """Close what has been idle for too long; come back for the next one."""
        self._timer = None
        now = self._loop.time()
        while self._idle:
            oldest = next(iter(self._idle))
            left = oldest.idle_since + self._bounds.idle_seconds - now
            if left > 0:
                self._timer = self._timers.after(left, self._sweep)
                return
            oldest.abort()
