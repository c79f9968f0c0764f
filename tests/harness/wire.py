"""The HTTP/1.1 side of the upstream double: requests in, scripted answers out, one connection at a time.

Written on raw streams, because every HTTP framework hides what the tests are about: where a write ends, how a body
breaks off, and the moment at which the client closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from harness.answers import Answer, Cut, Hang, Step

_READ_BYTES = 65_536
_MAX_HEAD_BYTES = 1 << 20


@dataclass(slots=True, eq=False)
class Request:
    """One received request, and what became of it.

    Attributes:
        method: HTTP method.
        target: as in the request line, with the query.
        headers: in their order, names as they were sent.
        body: as it was sent, without chunked framing.
        connection: number of the connection, from 1; equal for requests that shared one.
        received_at: ``time.monotonic()`` when the body was whole.
        answered: set when the answer has been played to its end, which may be a ``Cut``.
        closed_by_client: set when the client closed, or reset, the connection before the answer had ended.
        closed_at: ``time.monotonic()`` of that moment, else ``None``.
    """

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    connection: int
    received_at: float
    answered: threading.Event = field(default_factory=threading.Event)
    closed_by_client: threading.Event = field(default_factory=threading.Event)
    closed_at: float | None = None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> Mapping[str, str]:
        """The query's parameters; the last of equal names wins."""
        return dict(parse_qsl(self.target.partition("?")[2], keep_blank_values=True))

    @property
    def key(self) -> str | None:
        """The credential: the bearer token, else ``api-key``, ``x-api-key`` or ``x-goog-api-key``."""
        scheme, _, token = (self.header("authorization") or "").partition(" ")
        if scheme.lower() == "bearer":
            return token.strip()
        named = (self.header(name) for name in ("api-key", "x-api-key", "x-goog-api-key"))
        return next((value for value in named if value is not None), None)

    @property
    def model(self) -> str | None:
        """``model`` of a JSON body, if there is one."""
        try:
            asked = self.json()
        except ValueError:
            return None
        model = asked.get("model") if isinstance(asked, dict) else None
        return model if isinstance(model, str) else None

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> Any:
        """The decoded body.

        Raises:
            ValueError: it is not JSON.
        """
        return json.loads(self.body)


class Connection:
    """One accepted connection. Lives in the double's event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, number: int) -> None:
        self.number = number
        self._is_to_reset = False
        self._reader = reader
        self._writer = writer
        self._received = bytearray()  # what came and has not been parsed: the next requests of a pipeline too

    async def next_request(self) -> Request | None:
        """Read a request; ``None`` if the client closed between two requests.

        Raises:
            ValueError: what came is not HTTP/1.1.
            OSError: the connection broke.
        """
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            if len(self._received) > _MAX_HEAD_BYTES:
                raise ValueError("a request's head has no end")
            if not await self._receive():
                return None
        head = bytes(self._received[:end]).decode("latin-1")
        del self._received[: end + 4]
        request_line, *lines = head.split("\r\n")
        method, target, _version = request_line.split(" ")
        headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
        request = Request(method, target, headers, b"", self.number, 0.0)
        if (request.header("expect") or "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("transfer-encoding") or "").lower():
            request.body = await self._chunked_body()
        else:
            request.body = await self._exactly(int(request.header("content-length") or 0))
        request.received_at = time.monotonic()
        return request

    async def send(self, request: Request, answer: Answer) -> bool:
        """Play an answer while watching for the client's close; return whether the connection can be used again.

        Raises:
            OSError: the connection broke.
        """
        if not _takes_time(answer):  # the common case in benchmarks: one write, nothing to watch
            try:
                keep_alive = await self._play(request, answer)
            except OSError:
                _note_close(request)
                return False
            request.answered.set()
            return keep_alive
        playing = asyncio.ensure_future(self._play(request, answer))
        watching = asyncio.ensure_future(self._receive_until_closed())
        try:
            await asyncio.wait((playing, watching), return_when=asyncio.FIRST_COMPLETED)
            if playing.done() and not isinstance(playing.exception(), OSError):
                request.answered.set()
                return playing.result()
            # Either the watcher saw the end of file, or a write failed because the client had reset.
            _note_close(request)
            return False
        finally:
            for task in (playing, watching):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await task

    async def close(self) -> None:
        """Close after what was written has gone out, or reset if the answer said so."""
        if self._is_to_reset:
            # Lingering for zero seconds is how a socket is told to reset.
            socket_ = self._writer.get_extra_info("socket")
            socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._writer.transport.abort()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._writer.wait_closed()

    async def _play(self, request: Request, answer: Answer) -> bool:
        if not await self._steps(answer.before, chunked=False):
            return False
        names = {name.lower(): value for name, value in answer.headers}
        bodiless = request.method == "HEAD" or answer.status in (204, 304) or answer.status < 200
        chunked = answer.framing == "chunked" and not bodiless
        closes = answer.framing == "close" or "close" in (
            names.get("connection", "").lower(),
            (request.header("connection") or "").lower(),
        )
        head = [f"HTTP/1.1 {answer.status} {_reason(answer.status)}", *(f"{name}: {v}" for name, v in answer.headers)]
        if answer.framing == "content-length" and "content-length" not in names and answer.status not in (204, 304):
            head.append(f"content-length: {sum(len(step) for step in answer.chunks if isinstance(step, bytes))}")
        if chunked and "transfer-encoding" not in names:
            head.append("transfer-encoding: chunked")
        if closes and "connection" not in names:
            head.append("connection: close")
        self._writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        if not bodiless and not await self._steps(answer.chunks, chunked=chunked):
            return False
        if chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return not closes

    async def _steps(self, steps: Sequence[Step], *, chunked: bool) -> bool:
        """Play steps; return whether the connection is still open after them."""
        for step in steps:
            match step:
                case bytes():
                    if step:
                        self._writer.write(b"%x\r\n%b\r\n" % (len(step), step) if chunked else step)
                        await self._writer.drain()
                case Cut():
                    self._is_to_reset = step.reset
                    return False
                case Hang():
                    await asyncio.Event().wait()
                case _:
                    await asyncio.sleep(step)
        return True

    async def _receive(self) -> bool:
        """Read what there is into the buffer; return whether the client can still send."""
        received = await self._reader.read(_READ_BYTES)
        self._received += received
        return bool(received)

    async def _receive_until_closed(self) -> None:
        with contextlib.suppress(OSError):
            while await self._receive():
                pass

    async def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            if not await self._receive():
                raise ConnectionResetError("the client closed inside a body")
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    async def _line(self) -> bytes:
        while (end := self._received.find(b"\r\n")) < 0:
            if not await self._receive():
                raise ConnectionResetError("the client closed inside a body")
        return (await self._exactly(end + 2))[:-2]

    async def _chunked_body(self) -> bytes:
        body = bytearray()
        while length := int((await self._line()).partition(b";")[0], 16):
            body += await self._exactly(length)
            await self._line()
        while await self._line():
            pass  # trailers
        return bytes(body)


def _note_close(request: Request) -> None:
    request.closed_at = time.monotonic()
    request.closed_by_client.set()


def _takes_time(answer: Answer) -> bool:
    return any(not isinstance(step, bytes) for step in (*answer.before, *answer.chunks))


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
