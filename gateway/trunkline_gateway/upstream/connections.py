"""Connections of the aiohttp client: when one may be reused, when it must go, and what its end means.

aiohttp decides most of this well. What it does not tell or do, and a gateway needs, is added here on its connection
and connector classes; the version is locked, and tests hold each addition:

- a connection counts the bytes of the answer at hand, so that only a request that got *none* is sent again;
- one that is older than its age is not reused, so that a changed DNS entry is followed;
- bytes on an idle connection close it: they would be taken for the answer to the next request;
- a body that is ended by the connection's end is cut if that was a reset, or a TLS end without close-notify;
- a body whose framing breaks in the middle fails at once; its reader would wait for the idle timeout, or for ever;
- whatever is not reused is aborted, never flushed: a stalled peer could keep a half-sent request open for ever.
"""

import asyncio
import functools
import random
from contextvars import ContextVar
from ssl import SSLContext, SSLError
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, ClientTimeout, TCPConnector
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.tracing import Trace


class Attempt:
    """One request on one connection; `current` while aiohttp works on it.

    Attributes:
        fresh: Open a connection even if there is an idle one.
        reused: The connection served another request before.
    """

    __slots__ = ("_deadline", "_first_byte_seconds", "_protocol", "fresh", "reused")

    def __init__(self, deadline: asyncio.Timeout, first_byte_seconds: float, *, fresh: bool) -> None:
        self.fresh = fresh
        self.reused = False
        self._deadline = deadline
        self._first_byte_seconds = first_byte_seconds
        self._protocol: UpstreamConnection | None = None

    @property
    def connected(self) -> bool:
        """Whether there is, or was, a connection for it."""
        return self._protocol is not None

    @property
    def received_bytes(self) -> int:
        """How much of an answer has come, its head included."""
        return self._protocol.received_bytes if self._protocol is not None else 0

    def on_connected(self, protocol: "UpstreamConnection") -> None:
        """The request goes out on this connection now; from here on the head may take ``first_byte``."""
        self._protocol = protocol
        self.reused = protocol.begin_request()
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._first_byte_seconds)

    def watch_body(self, idle_seconds: float) -> None:
        """Let the connection fail after that much silence, from now until the answer's end."""
        if self._protocol is not None:
            self._protocol.watch_body(idle_seconds)


current: ContextVar[Attempt] = ContextVar("upstream_attempt")


class UpstreamConnection(ResponseHandler):
    """aiohttp's connection with a memory.

    Attributes:
        received_bytes: Bytes that came since the last request went out.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_age_seconds: float) -> None:
        super().__init__(loop)
        self.received_bytes = 0
        # Spread, so that connections opened together are not all replaced together.
        self._expires = loop.time() + max_age_seconds * random.uniform(0.9, 1.1)  # noqa: S311  not a secret
        self._requests = 0
        self._idle = False
        self._tls = False
        self._close_notify = False

    def begin_request(self) -> bool:
        """Count from zero; whether this is not the first request."""
        self.received_bytes = 0
        self._idle = False
        self._requests += 1
        return self._requests > 1

    def end_request(self) -> None:
        """Nothing is expected from now on."""
        self._idle = True

    def watch_body(self, idle_seconds: float) -> None:
        """See `Attempt.watch_body`. The clock stands while our own reader is the slow one."""
        if self._payload is None or self._payload.is_eof():
            return
        self.read_timeout = idle_seconds
        if not self._reading_paused:
            self.start_timeout()

    @property
    def should_close(self) -> bool:
        """Whether it must not serve another request."""
        return super().should_close or self._loop.time() >= self._expires

    def is_connected(self) -> bool:
        """Whether it is open; an idle one that is too old counts as closed."""
        return super().is_connected() and not (self._idle and self._loop.time() >= self._expires)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the transport; for a tunnel once TLS is up in it."""
        super().connection_made(transport)
        self._tls = transport.get_extra_info("sslcontext") is not None

    def data_received(self, data: bytes) -> None:
        """Called by the transport; with nothing, by aiohttp when its reader has room again."""
        if self._idle and data:
            self.abort()
            return
        self.received_bytes += len(data)
        payload = self._payload
        super().data_received(data)
        if self.exception() is not None and payload is not None and not payload.is_eof() and not payload.exception():
            # The framing is broken. aiohttp tells whoever waits for a head, but not whoever reads the body.
            payload.set_exception(ClientPayloadError("the framing of the body is broken"))

    def eof_received(self) -> None:
        """Called by the transport when the upstream will send no more."""
        if self._tls:
            self._close_notify = self._received_close_notify()
        super().eof_received()

    def _received_close_notify(self) -> bool:
        """Whether TLS was ended by the upstream, and not only TCP.

        uvloop does not call `eof_received` for the latter, asyncio does. The TLS object knows: all that was sent has
        been read from it, so that one more read finds the close-notify, or would have to wait.
        """
        tls = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        if tls is None:
            return False
        try:
            return bool(tls.read(1) == b"")
        except SSLError:
            return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Called by the transport when both directions are gone."""
        payload = self._payload
        clean = exc is None and (self._close_notify or not self._tls)
        if payload is not None and not clean and not payload.is_eof() and payload.exception() is None:
            # aiohttp would call a body without length complete, whatever ended the connection.
            payload.set_exception(ClientPayloadError("the connection did not end cleanly"))
        super().connection_lost(exc)


class Connector(TCPConnector):
    """Connections to one origin, through one proxy or none. Any number in use; idle ones bounded in number and time."""

    def __init__(
        self, ssl_context: SSLContext | None, *, idle_seconds: float, max_idle: int, max_age_seconds: float
    ) -> None:
        super().__init__(
            ssl=ssl_context if ssl_context is not None else True,
            limit=0,
            keepalive_timeout=idle_seconds,
            ttl_dns_cache=10,
            happy_eyeballs_delay=0.25,
        )
        self._factory = functools.partial(  # type: ignore[assignment]  # one for the subclass; partial is invariant
            UpstreamConnection, loop=self._loop, max_age_seconds=max_age_seconds
        )
        self._max_idle = max_idle
        self._draining = False

    async def connect(self, req: ClientRequest, traces: "list[Trace]", timeout: ClientTimeout) -> Connection:  # noqa: ASYNC109  aiohttp's
        """A connection for the current attempt, an idle one if it may be."""
        connection = await super().connect(req, traces, timeout)
        if isinstance(connection.protocol, UpstreamConnection):  # always: the factory makes no other
            current.get().on_connected(connection.protocol)
        return connection

    def drain(self, draining: bool) -> None:
        """While draining nothing is kept: idle connections go now, others when their request ends."""
        self._draining = draining
        if draining:
            for idle in self._conns.values():
                for protocol, _ in idle:
                    protocol.abort()
            self._conns.clear()

    async def _get(self, key: "ConnectionKey", traces: "list[Trace]") -> Connection | None:
        return None if current.get().fresh else await super()._get(key, traces)

    def _release(self, key: "ConnectionKey", protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if self._draining or len(self._conns.get(key, ())) >= self._max_idle:
            should_close = True
        if should_close or protocol.should_close:
            protocol.abort()
            should_close = True
        elif isinstance(protocol, UpstreamConnection):
            protocol.end_request()
        super()._release(key, protocol, should_close=should_close)
