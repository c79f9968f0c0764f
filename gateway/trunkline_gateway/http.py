"""The small interface that the request handler is written against: head, body, responder.

A driver (plain ASGI here; the protocol itself on the hot path) makes them; the handler knows neither sockets nor ASGI.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]
"""Names in lower case, in the order of arrival."""


class ClientGoneError(Exception):
    """The client has closed its side; whatever is being done for it should stop. There is nobody to answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """A request without its body.

    Attributes:
        method: Upper case.
        path: As sent, not percent-decoded, without the query.
        query: As sent, without ``?``.
        headers: See `Headers`.
        client: IP address of the peer as text; empty where there is none (a Unix socket).
    """

    method: str
    path: str
    query: bytes
    headers: Headers
    client: str

    def get(self, name: bytes) -> bytes | None:
        """The first header called ``name`` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


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
    """Where the answer goes: ``start``, any number of ``write``, one ``finish``."""

    @property
    def disconnected(self) -> "asyncio.Future[None]":
        """Done when the client has gone; never an exception. Shared: do not cancel it."""
        ...

    @property
    def started(self) -> bool:
        """Whether a status is out, so that none can be chosen any more."""
        ...

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers; they are on the wire when this returns, not only when the body follows."""
        ...

    async def write(self, data: bytes) -> None:
        """Send part of the body; returns when more would be taken (backpressure). Raises ClientGoneError."""
        ...

    async def finish(self, data: bytes = b"") -> None:
        """Send the rest and end the answer."""
        ...

    async def abort(self) -> None:
        """End the connection without ending the answer, so that the client cannot take it for complete."""
        ...
