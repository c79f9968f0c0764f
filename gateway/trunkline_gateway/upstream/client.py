"""The one small interface between the attempt loop and whatever carries a request to a provider."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from trunkline_gateway.http import Headers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account listens. Equal endpoints share connections, so this is the key of a pool.

    Attributes:
        base_url: http(s), without a trailing slash, such as ``https://api.openai.com/v1``; empty when ``in_process``.
        proxy_url: http proxy, CONNECT for https; empty: none. The environment's proxies are never used.
        ca_pem: CA bundle to trust instead of the system's; empty: the system's.
        in_process: Served by the gateway itself (`echo`).
    """

    base_url: str
    proxy_url: str = ""
    ca_pem: str = field(default="", repr=False)
    in_process: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds. ``stream_idle`` bounds the silence between two chunks of a body, whole answers included."""

    connect: float = 5.0
    first_byte: float = 120.0
    stream_idle: float = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """A POST (or GET, where ``body`` is None) below ``endpoint.base_url``.

    Attributes:
        path: Begins with a slash: ``/chat/completions``.
        headers: Complete but for Host and Content-Length; hold the provider key, hence no repr.
    """

    endpoint: Endpoint
    path: str
    headers: Headers = field(repr=False)
    body: bytes | None = field(repr=False)
    timeouts: Timeouts


class Response(Protocol):
    """An answer whose head has arrived. The caller ends it with ``close``, whatever happens."""

    @property
    def status(self) -> int:
        """HTTP status; redirects are not followed."""
        ...

    @property
    def headers(self) -> Headers:
        """Names in lower case."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body as soon as there are some; ``b""`` at its complete end.

        Never decoded or re-cut. Backpressure: nothing more is read from the socket than a bounded buffer holds.

        Raises:
            UpstreamTimeoutError: ``stream_idle`` passed.
            UpstreamProtocolError: The body ended before its framing said so, TLS EOF without close-notify included.
        """
        ...

    async def close(self) -> None:
        """Give the connection back when the body was read to its end; else close the socket at once."""
        ...


class Client(Protocol):
    """Sends requests. One per process; safe for any number of concurrent requests."""

    async def send(self, request: Request) -> Response:
        """Send and wait for the head. Cancelling it closes the socket.

        A reused connection that closes with zero response bytes is replaced silently, once.

        Raises:
            UpstreamConnectError: No connection, TLS failure, or closed before the first byte.
            UpstreamTimeoutError: ``connect`` or ``first_byte`` passed.
            UpstreamProtocolError: The head is not HTTP.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class PooledClient(Client, Protocol):
    """A client that keeps connections between requests."""

    async def prune(self, endpoints: Collection[Endpoint]) -> None:
        """Close what is kept for endpoints that are not among these; requests in flight there run to their end."""
        ...
