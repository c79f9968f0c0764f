"""The one small interface between the attempt loop and whatever carries a request to a provider."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal, Protocol
from urllib.parse import urlsplit

import msgspec

from trunkline_gateway import http
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
    proxy_url: str = field(default="", repr=False)
    ca_pem: str = field(default="", repr=False)
    in_process: bool = False
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Looked up for each request.
        object.__setattr__(self, "_hash", hash((self.base_url, self.proxy_url, self.ca_pem, self.in_process)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds. ``stream_idle`` bounds the silence between two chunks of a body, whole answers included."""

    connect: float = 5.0
    first_byte: float = 120.0
    stream_idle: float = 120.0


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What of a request is the same for many of them: made once for a table, sent as it is.

    Attributes:
        path: Below ``endpoint.base_url``; begins with a slash: ``/chat/completions``.
        headers: Complete but for Host, Content-Length and those of one request; hold the provider key, hence no repr.
        encoded: Request line, Host and ``headers`` as they are written, each line ended.
    """

    endpoint: Endpoint
    method: Literal["GET", "POST"]
    path: str
    headers: Headers = field(repr=False)
    encoded: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "encoded", b"" if self.endpoint.in_process else self._encode())

    def _encode(self) -> bytes:
        url = self.endpoint.base_url + self.path
        parts = urlsplit(url)
        # A proxy is told the whole URL, unless it only opens a tunnel (RFC 9112, 3.2.2).
        whole = self.endpoint.proxy_url and parts.scheme == "http"
        target = url if whole else url[len(f"{parts.scheme}://{parts.netloc}") :]
        line = f"{self.method} {target} HTTP/1.1\r\nhost: ".encode("ascii")
        return line + parts.netloc.encode("idna") + b"\r\n" + http.encode(self.headers)


class Request(msgspec.Struct, frozen=True, gc=False):
    """A head, and what is sent with it this time.

    A msgspec struct, since there is one for each attempt: made in a sixth of the time of a frozen dataclass.

    Attributes:
        body: None for a GET.
        headers: Of this request alone; they follow those of the head.
    """

    head: RequestHead
    body: bytes | None
    timeouts: Timeouts
    headers: Headers = ()

    def __repr__(self) -> str:
        return f"Request({self.head!r})"


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

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """Hand each piece of the body to ``sink`` as it comes, with no task between.

        Returns when ``sink`` has said that it wants no more for now, when the body has ended or failed, or at once
        because there is something to be read or nothing can be pumped: `read` goes on, and tells. ``sink`` must not
        raise.
        """
        ...

    async def close(self) -> None:
        """Give the connection back when the body was read to its end; else close the socket at once."""
        ...


class PendingResponse(Response, Protocol):
    """An answer to a request that is out; there need not be a head yet: ``status`` is 0 until then."""

    @property
    def complete(self) -> bool:
        """Whether all of it has come."""
        ...

    async def head(self) -> None:
        """Wait for the head; raises what `Client.send` would."""
        ...

    def peek(self) -> bytes:
        """What has come and was not read."""
        ...

    def notify(self, over: Callable[[], None] | None) -> None:
        """Call ``over`` once when the answer is complete, has failed, or is longer than what is buffered of it."""
        ...

    def abandon(self) -> None:
        """Close the socket at once, unless the answer is complete."""
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

    def start(self, request: Request) -> PendingResponse | None:
        """Send on a connection that is there already; None where there is none, and nothing was sent.

        Raises:
            UpstreamConnectError: It cannot be sent at all.
        """
        ...

    async def finish(self, request: Request, answer: PendingResponse) -> PendingResponse:
        """Wait for the head of what `start` gave: the other half of `send`, which see."""
        ...

    async def prune(self, endpoints: Collection[Endpoint]) -> None:
        """Close what is kept for endpoints that are not among these; requests in flight there run to their end."""
        ...
