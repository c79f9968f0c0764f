"""The small interface that the request handler is written against: head, body, responder.

A driver (plain ASGI here; the protocol itself on the hot path) makes them; the handler knows neither sockets nor ASGI.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, in the order of arrival."""


class Block:
    """Headers that stay the same for many messages, encoded once.

    Attributes:
        pairs: See `Headers`.
        encoded: The same as lines of HTTP/1.1, each with its line end.
    """

    __slots__ = ("encoded", "pairs")

    def __init__(self, pairs: Headers = ()) -> None:
        self.pairs: Headers = tuple(pairs)
        self.encoded: bytes = encode(self.pairs)


def encode(headers: Headers) -> bytes:
    """Write headers as lines of HTTP/1.1. They are not checked: whoever makes them has."""
    return b"".join([b"%s: %s\r\n" % header for header in headers])


NO_HEADERS: Final = Block()


class ClientGoneError(Exception):
    """The client has closed its side; whatever is being done for it should stop. There is nobody to answer."""


class Head:
    """A request without its body. Not to be changed.

    Attributes:
        method: Upper case.
        path: As sent, not percent-decoded, without the query.
        query: As sent, without ``?``.
        headers: See `Headers`.
        client: IP address of the peer as text; empty where there is none (a Unix socket).
        first: The first header of each name.
    """

    __slots__ = ("client", "first", "headers", "method", "path", "query")

    def __init__(self, method: str, path: str, query: bytes, headers: Headers, client: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.client = client
        self.first: Mapping[bytes, bytes] = dict(reversed(headers))

    def get(self, name: bytes) -> bytes | None:
        """The first header called ``name`` (lower case)."""
        return self.first.get(name)


class Body(Protocol):
    """The body of a request, read once."""

    async def read(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes.

        Raises:
            BodyTooLargeError: It is longer; raised as soon as that is known.
            ClientGoneError: The client left before the end.
        """
        ...


class Responder(Protocol):
    """Where the answer goes: one ``answer``; or ``start``, any number of ``write``, one ``finish``.

    ``block`` comes before ``headers``; neither holds ``date``, ``connection``, ``transfer-encoding`` or, for a whole
    answer, ``content-length``: those are the driver's.
    """

    @property
    def started(self) -> bool:
        """Whether a status is out, so that none can be chosen any more."""
        ...

    def watch(self, gone: Callable[[], None] | None) -> None:
        """Call ``gone`` once when the client has gone, at once if it has; None: call nobody any more."""
        ...

    async def answer(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        """Send a whole answer. ``content-length`` is written here."""
        ...

    async def start(self, status: int, block: Block, headers: Headers) -> None:
        """Send status and headers; they are on the wire before the loop's turn is over, whether or not more follows."""
        ...

    async def write(self, data: bytes) -> None:
        """Send part of the body; returns when more would be taken (backpressure). Raises ClientGoneError."""
        ...

    @property
    def writable(self) -> bool:
        """Whether `push` may be called: the answer is started, the client is there and has room for more."""
        ...

    def push(self, data: bytes) -> None:
        """Send part of the body at once; only while ``writable``."""
        ...

    async def finish(self, data: bytes = b"") -> None:
        """Send the rest and end the answer."""
        ...

    async def abort(self) -> None:
        """End the connection without ending the answer, so that the client cannot take it for complete."""
        ...
