"""Drives the request handler as a plain ASGI application; what the handler does not serve goes on to another one."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from trunkline_gateway.http import Block, Body, ClientGoneError, Head, Headers, Responder
from trunkline_gateway.ingress import refusals, request_ids
from trunkline_gateway.ingress.limits import BODY_IDLE_SECONDS
from trunkline_gateway.ingress.shortcut import Direct

if TYPE_CHECKING:
    from uvicorn._types import (
        ASGI3Application,
        ASGIReceiveCallable,
        ASGIReceiveEvent,
        ASGISendCallable,
        ASGISendEvent,
        HTTPScope,
        Scope,
    )


class Handler(Protocol):
    """What is driven."""

    def serves(self, path: str) -> bool:
        """Whether ``path`` (as in `Head`) is for this handler."""
        ...

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        """Answer one request. Raises nothing but CancelledError."""
        ...

    def gathers(self, head: Head) -> bool:
        """Whether the driver should wait a moment for the rest of a request's body before it begins it."""
        ...

    def at_once(self, head: Head, responder: Direct) -> bool:
        """Begin to answer a request that has arrived whole, without a task; False: it is for `handle`."""
        ...


class AnswerAbortedError(Exception):
    """Makes the server break the connection, so that the client sees an incomplete answer. Not worth a traceback."""


class Application:
    """The ASGI application of the public port."""

    def __init__(self, handler: Handler, rest: "ASGI3Application") -> None:
        self._handler = handler
        self._rest = rest

    async def __call__(self, scope: "Scope", receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        """Serve one request.

        Raises:
            AnswerAbortedError: The answer was broken off on purpose; the server has to close the connection.
        """
        if scope["type"] != "http":
            raise RuntimeError(f"ASGI scope {scope['type']} is not served")
        head = _head(scope)
        if not self._handler.serves(head.path):
            await self._rest(scope, receive, _with_request_id(send, request_ids.accept(head.get(b"x-request-id"))))
            return
        body = _Body(head, receive)
        responder = _Responder(body, receive, send)
        try:
            await self._handler.handle(head, body, responder)
        finally:
            responder.dismiss()
        if responder.aborted:
            raise AnswerAbortedError


def _head(scope: "HTTPScope") -> Head:
    raw_path = scope.get("raw_path")
    path = raw_path.decode("latin-1") if raw_path else quote(scope["path"], safe="/:@!$&'()*+,;=~")
    client = scope.get("client")
    return Head(
        method=scope["method"],
        path=path.partition("?")[0],
        query=scope["query_string"],
        headers=tuple(scope["headers"]),
        client=client[0] if client else "",
    )


def _with_request_id(send: "ASGISendCallable", request_id: str) -> "ASGISendCallable":
    async def wrapped(event: "ASGISendEvent") -> None:
        if event["type"] == "http.response.start":
            event["headers"] = [*event.get("headers", ()), (b"x-request-id", request_id.encode("ascii"))]
        await send(event)

    return wrapped


class _Body:
    def __init__(self, head: Head, receive: "ASGIReceiveCallable") -> None:
        self._head = head
        self._receive = receive
        self.complete = False

    @property
    def awaits_continue(self) -> bool:
        """Whether the client holds the body back until it is told to go on, and has not been told."""
        return not self.complete and (self._head.get(b"expect") or b"").lower() == b"100-continue"

    async def read(self, limit: int) -> bytes:
        declared = self._head.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > limit:
            raise refusals.body_too_large(limit)
        parts: list[bytes] = []
        size = 0
        while not self.complete:
            event = await self._next()
            if event["type"] != "http.request":
                raise ClientGoneError
            part = event.get("body", b"")
            size += len(part)
            if size > limit:
                raise refusals.body_too_large(limit)
            parts.append(part)
            self.complete = not event.get("more_body", False)
        return b"".join(parts)

    async def _next(self) -> "ASGIReceiveEvent":
        try:
            async with asyncio.timeout(BODY_IDLE_SECONDS):
                return await self._receive()
        except TimeoutError:
            raise refusals.request_timeout(BODY_IDLE_SECONDS) from None


class _Responder:
    def __init__(self, body: _Body, receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        self._body = body
        self._receive = receive
        self._send = send
        self._gone: Callable[[], None] | None = None
        self._lost = False
        self._listener: asyncio.Task[None] | None = None
        self.started = False
        self.complete = False
        self.aborted = False

    def watch(self, gone: Callable[[], None] | None) -> None:
        self._gone = None
        if gone is None or self.complete:
            return
        if self._lost:
            gone()
            return
        self._gone = gone
        # Nobody watches before the body is read, since listening means taking what is left of it.
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        # A server says the same once the answer is complete.
        if not self.complete:
            self._lost = True
            gone, self._gone = self._gone, None
            if gone is not None:
                gone()

    def dismiss(self) -> None:
        """The request is over."""
        self._gone = None
        if self._listener is not None:
            self._listener.cancel()

    async def answer(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        await self.start(status, block, (*headers, (b"content-length", b"%d" % len(body))))
        await self.finish(body)

    async def start(self, status: int, block: Block, headers: Headers) -> None:
        self.started = True
        sent = [*block.pairs, *headers]
        if self._body.awaits_continue:
            # The body will not be asked for any more; whether it comes all the same cannot be known.
            sent.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": sent, "trailers": False})

    async def write(self, data: bytes) -> None:
        if self._lost:
            raise ClientGoneError
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            if self._lost:
                raise ClientGoneError

    @property
    def writable(self) -> bool:
        return False  # nothing can be sent through ASGI without waiting

    def push(self, data: bytes) -> None:
        raise RuntimeError("nothing can be sent through ASGI without waiting")

    async def finish(self, data: bytes = b"") -> None:
        self.complete = True
        self._gone = None
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def abort(self) -> None:
        self.complete = True
        self._gone = None
        self.aborted = True
