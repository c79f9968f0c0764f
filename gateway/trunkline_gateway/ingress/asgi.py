"""Drives the request handler as a plain ASGI application; what the handler does not serve goes on to another one."""

import asyncio
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from trunkline_gateway import errors
from trunkline_gateway.http import Body, ClientGoneError, Head, Headers, Responder
from trunkline_gateway.ingress import request_ids

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

BODY_IDLE_SECONDS: Final = 60.0
"""How long a client may be silent in the middle of its body."""


class Handler(Protocol):
    """What is driven."""

    def serves(self, path: str) -> bool:
        """Whether ``path`` (as in `Head`) is for this handler."""
        ...

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        """Answer one request. Raises nothing but CancelledError."""
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
            raise _too_large(limit)
        parts: list[bytes] = []
        size = 0
        while not self.complete:
            event = await self._next()
            if event["type"] != "http.request":
                raise ClientGoneError
            part = event.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
            self.complete = not event.get("more_body", False)
        return b"".join(parts)

    async def _next(self) -> "ASGIReceiveEvent":
        try:
            async with asyncio.timeout(BODY_IDLE_SECONDS):
                return await self._receive()
        except TimeoutError:
            message = f"Nothing of the request's body arrived for {BODY_IDLE_SECONDS:g} seconds."
            raise errors.InvalidRequestError(message, status=408, code="request_timeout") from None


def _too_large(limit: int) -> errors.BodyTooLargeError:
    return errors.BodyTooLargeError(f"The request's body is over the limit of {limit} bytes.")


class _Responder:
    def __init__(self, body: _Body, receive: "ASGIReceiveCallable", send: "ASGISendCallable") -> None:
        self._body = body
        self._receive = receive
        self._send = send
        self._started = False
        self._finished = False
        self._gone: asyncio.Future[None] | None = None
        self._listener: asyncio.Task[None] | None = None
        self.aborted = False

    @property
    def disconnected(self) -> "asyncio.Future[None]":
        # Made when somebody asks: answers that are ready at once need no listener. Nobody asks before the body is
        # read, since listening means taking what is left of it.
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
            self._listener = asyncio.create_task(self._listen(self._gone))
        return self._gone

    @property
    def started(self) -> bool:
        return self._started

    async def _listen(self, gone: "asyncio.Future[None]") -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        # A server says the same once the answer is complete.
        if not self._finished and not gone.done():
            gone.set_result(None)

    def dismiss(self) -> None:
        """The request is over."""
        if self._listener is not None:
            self._listener.cancel()

    async def start(self, status: int, headers: Headers) -> None:
        self._started = True
        sent = list(headers)
        if self._body.awaits_continue:
            # The body will not be asked for any more; whether it comes all the same cannot be known.
            sent.append((b"connection", b"close"))
        await self._send({"type": "http.response.start", "status": status, "headers": sent, "trailers": False})

    async def write(self, data: bytes) -> None:
        if self._gone is not None and self._gone.done():
            raise ClientGoneError
        if data:
            await self._send({"type": "http.response.body", "body": data, "more_body": True})
            if self._gone is not None and self._gone.done():
                raise ClientGoneError

    async def finish(self, data: bytes = b"") -> None:
        self._finished = True
        await self._send({"type": "http.response.body", "body": data, "more_body": False})

    async def abort(self) -> None:
        self._finished = True
        self.aborted = True
