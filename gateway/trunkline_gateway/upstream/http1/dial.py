"""From an endpoint to an open connection: name, TCP, the proxy's tunnel, TLS."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import SplitResult, unquote, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from trunkline_gateway import errors
from trunkline_gateway.upstream.client import Endpoint
from trunkline_gateway.upstream.http1 import failures
from trunkline_gateway.upstream.http1.connection import Connection
from trunkline_gateway.upstream.http1.parse import FramingError, ResponseParser

ADDRESSES_SECONDS: Final = 10.0
"""For how long the addresses of a name are used without asking again."""

STALE_SECONDS: Final = 3600.0
"""For how long they are used while DNS does not answer: https://www.rfc-editor.org/rfc/rfc8767"""

_PATIENCE_SECONDS: Final = 1.0
"""How long DNS may take while there are addresses that it gave before."""

_NO_SUCH_NAME: Final = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})

_HAPPY_EYEBALLS_SECONDS = 0.25  # RFC 8305, 8
_READ_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Route:
    """Where the socket goes and what is said on it before HTTP is.

    Attributes:
        host: Of the socket's peer: the upstream, or its proxy.
        port: Of the same.
        via_proxy: The peer is a proxy.
        tunnel: What asks the proxy for a tunnel; empty: none.
        server_name: Whose certificate is expected; empty: no TLS.
        proxy_lines: Headers for the proxy that go with each request; a password's place, hence no repr.
    """

    host: str
    port: int
    via_proxy: bool
    tunnel: bytes = field(repr=False)
    server_name: str
    proxy_lines: bytes = field(repr=False)


def route(endpoint: Endpoint) -> Route:
    """Read an endpoint's URLs.

    Raises:
        UpstreamConnectError: One of them leads nowhere.
    """
    url, host, port = _origin(endpoint.base_url, {"http": 80, "https": 443})
    secure = url.scheme == "https"
    if not endpoint.proxy_url:
        return Route(host, port, False, b"", host if secure else "", b"")
    proxy, proxy_host, proxy_port = _origin(endpoint.proxy_url, {"http": 80})
    login = _login(proxy)
    if not secure:
        return Route(proxy_host, proxy_port, True, b"", "", login)
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        tunnel = f"CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n".encode("ascii")
    except UnicodeError as failure:
        raise errors.UpstreamConnectError(failures.BAD_ADDRESS) from failure
    return Route(proxy_host, proxy_port, True, tunnel + login + b"\r\n", host, b"")


def trust(endpoint: Endpoint) -> ssl.SSLContext:
    """TLS that believes the endpoint's CA bundle, or the system's; takes tens of milliseconds for the latter.

    Raises:
        UpstreamConnectError: The bundle holds no certificates.
    """
    try:
        context = ssl.create_default_context(cadata=endpoint.ca_pem or None)
    except (ssl.SSLError, TypeError, ValueError) as failure:
        raise errors.UpstreamConnectError(failures.BAD_CA) from failure
    # Since Python 3.13 it is on, and refuses authorities that companies made without a key usage or identifier.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.set_alpn_protocols(["http/1.1"])
    return context


class Dialer:
    """Opens connections to one endpoint."""

    __slots__ = (
        "_addresses",
        "_addresses_expire",
        "_addresses_stale",
        "_asking",
        "_context",
        "_loop",
        "_resolving",
        "_route",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, to: Route, context: ssl.SSLContext | None) -> None:
        self._loop = loop
        self._route = to
        self._context = context
        self._addresses: Sequence[AddrInfoType] = ()
        self._addresses_expire = 0.0
        self._addresses_stale = 0.0  # when they are of no use even without DNS
        self._resolving = asyncio.Lock()
        self._asking: asyncio.Task[None] | None = None

    async def connect(self, protocol: Callable[[], Connection], seconds: float) -> Connection:
        """Open a connection for ``protocol``.

        Raises:
            UpstreamConnectError: There is none, or no TLS on it.
            UpstreamTimeoutError: All of it took longer than ``seconds``.
        """
        try:
            async with asyncio.timeout(seconds):
                return await self._connect(protocol)
        except TimeoutError as failure:
            raise errors.UpstreamTimeoutError(failures.TOO_LONG_TO_CONNECT) from failure

    async def _connect(self, protocol: Callable[[], Connection]) -> Connection:
        sock = await self._open()
        try:
            if self._route.tunnel:
                await self._tunnel(sock)
        except BaseException:
            sock.close()
            raise
        name = self._route.server_name
        try:  # the socket is the event loop's from here on, which closes it when this fails
            _, connection = await self._loop.create_connection(
                protocol, sock=sock, ssl=self._context, server_hostname=name or None
            )
        except (OSError, ValueError) as failure:  # a ValueError is a name that no certificate can have
            raise (failures.securing(failure) if name else failures.connecting(failure, to_proxy=False)) from failure
        return connection

    async def _open(self) -> socket.socket:
        addresses = await self._resolve()
        try:
            return await start_connection(
                addresses, happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS, interleave=1, loop=self._loop
            )
        except (OSError, RuntimeError) as failure:
            self._addresses_expire = 0.0  # perhaps they have moved
            raise failures.connecting(failure, to_proxy=self._route.via_proxy) from failure

    async def _resolve(self) -> Sequence[AddrInfoType]:
        async with self._resolving:  # many connections at once ask once
            if self._addresses_expire <= self._loop.time():
                known = self._loop.time() < self._addresses_stale
                if self._asking is None:
                    # It goes on whoever gives up: each question holds a thread for as long as DNS is silent.
                    self._asking = self._loop.create_task(self._ask())
                    self._asking.add_done_callback(_seen)
                try:
                    async with asyncio.timeout(_PATIENCE_SECONDS if known else None):
                        await asyncio.shield(self._asking)
                except (OSError, UnicodeError) as failure:
                    if not known or (isinstance(failure, socket.gaierror) and failure.errno in _NO_SUCH_NAME):
                        raise failures.resolving(failure) from failure
                    self._addresses_expire = self._loop.time() + ADDRESSES_SECONDS
            return self._addresses

    async def _ask(self) -> None:
        to = self._route
        try:
            found = await self._loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
        finally:
            self._asking = None
        if not found:
            raise errors.UpstreamConnectError(failures.UNKNOWN_NAME)
        self._addresses = cast(Sequence[AddrInfoType], found)  # as they are where there is IPv6
        self._addresses_expire = self._loop.time() + ADDRESSES_SECONDS
        self._addresses_stale = self._loop.time() + STALE_SECONDS

    async def _tunnel(self, sock: socket.socket) -> None:
        """Ask the proxy to connect us; RFC 9110, 9.3.6. TLS speaks first, so nothing may follow the answer's head."""
        parser = ResponseParser()
        try:
            await self._loop.sock_sendall(sock, self._route.tunnel)
            while not parser.status:
                data = await self._loop.sock_recv(sock, _READ_BYTES)
                if not data:
                    raise errors.UpstreamConnectError(failures.PROXY_REFUSED)
                parser.feed(data)
        except (OSError, FramingError) as failure:
            raise failures.tunnelling(failure) from failure
        if not 200 <= parser.status < 300 or parser.pieces:
            raise errors.UpstreamConnectError(failures.PROXY_REFUSED)


def _seen(asked: asyncio.Task[None]) -> None:
    """Nobody may be waiting for the answer any more; that is no error."""
    if not asked.cancelled():
        asked.exception()


def _origin(url: str, ports: dict[str, int]) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as failure:
        raise errors.UpstreamConnectError(failures.BAD_ADDRESS) from failure
    if parts.scheme not in ports or not parts.hostname:
        raise errors.UpstreamConnectError(failures.BAD_ADDRESS)
    return parts, parts.hostname, ports[parts.scheme] if port is None else port


def _login(proxy: SplitResult) -> bytes:
    """RFC 7617."""
    if proxy.username is None:
        return b""
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return b"proxy-authorization: Basic %b\r\n" % base64.b64encode(login)
