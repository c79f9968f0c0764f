"""The upstream client: HTTP/1.1 over connections that are kept per endpoint.

What it cannot do: tell a plain-text body without length that was cut by a *clean* close of the connection from a
complete one. HTTP/1.0 framing has no mark for its end; over TLS the close-notify is that mark and is required.
"""

import asyncio
import ssl
from collections.abc import Collection

from trunkline_gateway import errors, http
from trunkline_gateway.outbox import Outbox
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, PendingResponse, Request
from trunkline_gateway.upstream.http1 import dial, failures
from trunkline_gateway.upstream.http1.answer import Answer
from trunkline_gateway.upstream.http1.pool import Bounds, Pool

_MAX_SENDABLE = 16 * 1024


class Http1Client:
    """`PooledClient` for endpoints reached over the network. Made and used in one event loop.

    Timeouts: ``connect`` covers name resolution, proxy and TLS; ``first_byte`` starts when the connection is there
    and covers sending the body and the whole head; ``stream_idle`` is silence of the upstream, and does not run
    while nobody reads and the buffer is full. Interim answers (1xx) are skipped. Nothing is noticed early, and all
    but ``connect`` up to a tick of ``timers`` late.
    """

    def __init__(
        self, timers: Timers, *, idle_seconds: float = 60.0, max_idle: int = 512, max_age_seconds: float = 300.0
    ) -> None:
        """Make a client without connections; ``timers`` are those of the running loop. For the rest see `Bounds`."""
        self._loop = asyncio.get_running_loop()
        self._timers = timers
        self._outbox = Outbox(self._loop)
        self._bounds = Bounds(idle_seconds=idle_seconds, max_idle=max_idle, max_age_seconds=max_age_seconds)
        self._pools: dict[Endpoint, Pool] = {}
        self._retired: list[Pool] = []
        self._sendable: set[bytes] = set()  # heads that were checked
        self._system_trust: ssl.SSLContext | None = None
        self._closed = False

    async def send(self, request: Request) -> PendingResponse:
        """See `Client.send`."""
        answer: PendingResponse | None = self.start(request)
        if answer is None:
            answer = await self._dial_and_start(request)
        return await self.finish(request, answer)

    def start(self, request: Request) -> Answer | None:
        """See `PooledClient.start`."""
        pool = self._pools.get(request.head.endpoint)
        if pool is None:
            return None
        lines = self._lines(request, pool)
        connection = pool.take()
        return None if connection is None else connection.send(lines, request.body, request.timeouts)

    async def finish(self, request: Request, answer: PendingResponse) -> PendingResponse:
        """See `PooledClient.finish`."""
        while True:
            try:
                await answer.head()
            except errors.UpstreamConnectError as lost:
                if not lost.reused:
                    raise
            except BaseException:
                answer.abandon()
                raise
            else:
                return answer
            # The upstream closed an idle connection just as we used it. Others may be as stale: take a new one.
            answer = await self._dial_and_start(request)

    async def _dial_and_start(self, request: Request) -> Answer:
        pool = self._pools.get(request.head.endpoint)
        if pool is None:
            pool = self._new_pool(request.head.endpoint)
        lines = self._lines(request, pool)
        connection = await pool.dial(request.timeouts.connect)
        if self._closed:
            connection.abort()
        return connection.send(lines, request.body, request.timeouts)

    async def prune(self, endpoints: Collection[Endpoint]) -> None:
        """See `PooledClient.prune`. An endpoint that comes back is pooled again."""
        kept = frozenset(endpoints)
        self._sendable.clear()  # they hold keys, perhaps revoked ones
        self._retired = [pool for pool in self._retired if pool.open]
        for endpoint in [endpoint for endpoint in self._pools if endpoint not in kept]:
            pool = self._pools.pop(endpoint)
            pool.drain()
            self._retired.append(pool)

    async def close(self) -> None:
        """Close all connections, those in use too; nothing can be sent any more."""
        self._closed = True
        for pool in [*self._pools.values(), *self._retired]:
            pool.close()
        self._pools.clear()
        self._sendable.clear()
        self._retired.clear()

    def _lines(self, request: Request, pool: Pool) -> bytes:
        """The head as it is written, but for the length of its body."""
        lines = request.head.encoded
        if lines not in self._sendable:
            _check(lines, len(request.head.headers) + 2)
            if len(self._sendable) >= _MAX_SENDABLE:
                self._sendable.clear()
            self._sendable.add(lines)
        if request.headers:
            own = http.encode(request.headers)
            _check(own, len(request.headers))
            lines += own
        if pool.proxy_lines:
            lines += pool.proxy_lines
        return lines

    def _new_pool(self, endpoint: Endpoint) -> Pool:
        if self._closed:
            raise errors.UpstreamConnectError(failures.CANNOT_SEND)
        to = dial.route(endpoint)
        context = self._trust(endpoint) if to.server_name else None
        dialer = dial.Dialer(self._loop, to, context)
        pool = Pool(self._loop, self._timers, self._outbox, self._bounds, dialer.connect, to.proxy_lines)
        self._pools[endpoint] = pool
        return pool

    def _trust(self, endpoint: Endpoint) -> ssl.SSLContext:
        if endpoint.ca_pem:
            return dial.trust(endpoint)
        if self._system_trust is None:
            self._system_trust = dial.trust(endpoint)
        return self._system_trust


def _check(lines: bytes, count: int) -> None:
    """See that there are as many lines as were encoded.

    Raises:
        UpstreamConnectError: A header ends its line itself, and begins another.
    """
    if lines.count(b"\n") != count or lines.count(b"\r") != count or b"\0" in lines:
        raise errors.UpstreamConnectError(failures.CANNOT_SEND)
