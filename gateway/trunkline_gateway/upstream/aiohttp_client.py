"""The upstream client over aiohttp: a pool per endpoint, bytes as they come, failures as ours.

What it cannot do: tell a plain-text body without length that was cut by a *clean* close of the connection from a
complete one. HTTP/1.0 framing has no mark for its end; over TLS the close-notify is that mark and is required.
"""

import asyncio
import functools
import io
import ssl
from collections.abc import Collection

import aiohttp
from yarl import URL

from trunkline_gateway import errors
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream import connections, failures
from trunkline_gateway.upstream.client import Endpoint, Request

_READ_BUFFER_BYTES = 64 * 1024
"""aiohttp stops reading a socket at twice this, plus what one read of the socket brings (256 KiB)."""

_MAX_FIELD_BYTES = 32 * 1024
_MAX_HEADERS = 200
_MAX_WHOLE_WRITE_BYTES = 64 * 1024

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
"""Ours are set per phase; see `AiohttpClient.send`."""

_OURS = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection"})
_SWITCHING_PROTOCOLS = 101


class AiohttpClient:
    """`PooledClient` for endpoints reached over the network. Made and used in one event loop.

    Timeouts: ``connect`` covers name resolution, proxy and TLS; ``first_byte`` starts when the connection is there
    and covers sending the body and the whole head; ``stream_idle`` is silence of the upstream, and does not run
    while nobody reads and the buffer is full. Interim answers (1xx) are skipped.
    """

    def __init__(self, *, idle_seconds: float = 60.0, max_idle: int = 512, max_age_seconds: float = 300.0) -> None:
        """Make a client without connections.

        Args:
            idle_seconds: When an unused connection is closed.
            max_idle: How many unused connections an endpoint keeps.
            max_age_seconds: From when a connection is not used for another request, give or take a tenth.
        """
        self._idle_seconds = idle_seconds
        self._max_idle = max_idle
        self._max_age_seconds = max_age_seconds
        self._pools: dict[Endpoint, _Pool] = {}
        self._system_tls: ssl.SSLContext | None = None

    async def send(self, request: Request) -> "AiohttpResponse":
        """See `Client.send`."""
        pool = self._pool(request.endpoint)
        pool.in_flight += 1
        try:
            try:
                return await self._attempt(pool, request, fresh=False)
            except errors.UpstreamConnectError as lost:
                if not lost.reused:
                    raise
            # The upstream closed an idle connection just as we used it. Others may be as stale: take a new one.
            return await self._attempt(pool, request, fresh=True)
        except BaseException:
            await pool.leave()
            raise

    async def prune(self, endpoints: Collection[Endpoint]) -> None:
        """See `PooledClient.prune`. An endpoint that comes back is pooled again."""
        kept = frozenset(endpoints)
        for endpoint, pool in list(self._pools.items()):
            pool.connector.drain(endpoint not in kept)
            pool.retired = endpoint not in kept
            if pool.retired and not pool.in_flight:
                del self._pools[endpoint]
                await pool.session.close()

    async def close(self) -> None:
        """Close all connections, those in use too."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.session.close()

    def _pool(self, endpoint: Endpoint) -> "_Pool":
        pool = self._pools.get(endpoint)
        if pool is None or pool.session.closed:
            context = self._tls(endpoint)
            connector = connections.Connector(
                context,
                idle_seconds=self._idle_seconds,
                max_idle=self._max_idle,
                max_age_seconds=self._max_age_seconds,
            )
            pool = self._pools[endpoint] = _Pool(endpoint, connector)
        return pool

    def _tls(self, endpoint: Endpoint) -> ssl.SSLContext | None:
        """The trust of an endpoint.

        Raises:
            UpstreamConnectError: Its CA bundle holds no certificates.
        """
        if not endpoint.base_url.startswith("https:"):
            return None
        if endpoint.ca_pem:
            try:
                context = ssl.create_default_context(cadata=endpoint.ca_pem)
            except (ssl.SSLError, TypeError, ValueError) as failure:
                raise errors.UpstreamConnectError("The upstream's CA bundle cannot be read.") from failure
        elif self._system_tls is None:  # reading the system's certificates takes tens of milliseconds: once
            context = self._system_tls = ssl.create_default_context()
        else:
            return self._system_tls
        context.set_alpn_protocols(["http/1.1"])
        return context

    async def _attempt(self, pool: "_Pool", request: Request, *, fresh: bool) -> "AiohttpResponse":
        timeouts = request.timeouts
        deadline = asyncio.timeout(timeouts.connect)
        attempt = connections.Attempt(deadline, timeouts.first_byte, fresh=fresh)
        token = connections.current.set(attempt)
        try:
            async with deadline:
                response = await pool.session.request(
                    "GET" if request.body is None else "POST",
                    _url(request.endpoint.base_url + request.path),
                    headers=_text(request.headers),
                    data=_payload(request.body),
                    allow_redirects=False,
                )
        except failures.CAUGHT as failure:
            if deadline.expired():
                connecting = "The upstream took too long to accept the connection."
                waiting = "The upstream took too long to begin its answer."
                raise errors.UpstreamTimeoutError(waiting if attempt.connected else connecting) from failure
            error = failures.before_head(failure, received_bytes=attempt.received_bytes, reused=attempt.reused)
            raise error from failures.cause_of(failure)
        finally:
            connections.current.reset(token)
        if response.status == _SWITCHING_PROTOCOLS:
            response.close()
            raise errors.UpstreamProtocolError("The upstream switched to another protocol unasked.")
        attempt.watch_body(timeouts.stream_idle)
        return AiohttpResponse(response, pool)


class _Pool:
    """The session of one endpoint, and how many requests use it.

    Attributes:
        in_flight: Requests from `AiohttpClient.send` to the end of their answer.
        retired: Nobody may need it any more; closed when nothing is in flight.
    """

    __slots__ = ("connector", "in_flight", "retired", "session")

    def __init__(self, endpoint: Endpoint, connector: connections.Connector) -> None:
        self.connector = connector
        self.in_flight = 0
        self.retired = False
        self.session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=_NO_TIMEOUT,
            auto_decompress=False,
            trust_env=False,
            headers={"accept-encoding": "identity"},
            skip_auto_headers=("accept", "user-agent", "content-type"),
            proxy=endpoint.proxy_url or None,
            read_bufsize=_READ_BUFFER_BYTES,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_HEADERS,
        )
        # aiohttp would send a GET again on any lost connection; our rule is narrower, and holds for POST too.
        self.session._retry_connection = False

    async def leave(self) -> None:
        """One request less."""
        self.in_flight -= 1
        if self.retired and not self.in_flight:
            await self.session.close()


class AiohttpResponse:
    """`Response` from an upstream."""

    __slots__ = ("_content", "_failure", "_pool", "_response", "headers", "status")

    def __init__(self, response: aiohttp.ClientResponse, pool: _Pool) -> None:
        self.status: int = response.status
        self.headers: Headers = [(name.lower(), value) for name, value in response.raw_headers]
        self._response = response
        self._content = response.content
        self._failure: errors.UpstreamError | None = None
        self._pool: _Pool | None = pool

    async def read(self) -> bytes:
        """See `Response.read`. What came before a failure is delivered before it is raised."""
        if self._failure is not None:
            raise self._failure
        try:
            return await self._content.readany()
        except failures.CAUGHT as failure:
            self._failure = failures.in_body(failure)
            if came := _left_over(self._content):
                self._failure.__cause__ = failures.cause_of(failure)
                return came
            raise self._failure from failures.cause_of(failure)

    async def close(self) -> None:
        """See `Response.close`; closing twice is fine."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self._response.close()  # no effect on a connection that went back at the body's end
            await pool.leave()


def _left_over(content: aiohttp.StreamReader) -> bytes:
    """What the failed reader still holds; it would rather raise than give it."""
    came = b"".join(content._buffer)[content._buffer_offset :]
    content._buffer.clear()
    return came


@functools.lru_cache(maxsize=1024)
def _url(text: str) -> URL:
    # As it stands: decoding and encoding it again would change what the upstream sees.
    return URL(text, encoded=True)


def _text(headers: Headers) -> list[tuple[str, str]]:
    return [(_decoded(name), _decoded(value)) for name, value in headers if name not in _OURS]


def _decoded(value: bytes) -> str:
    """As text that aiohttp, which writes UTF-8, turns into the same bytes again where they are UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    # From a file aiohttp writes in steps, waiting for the socket; BytesIO shares the bytes, it does not copy them.
    return body if body is None or len(body) <= _MAX_WHOLE_WRITE_BYTES else io.BytesIO(body)
