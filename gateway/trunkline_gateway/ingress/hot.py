"""One request that the handler answers straight from the parser: its body comes in here, its answer goes out here.

The connection (``protocol``) tells it what arrives and when the client is gone; it writes to the transport itself and
tells the connection when the answer is complete. It is the ``Body`` and the ``Responder`` of `http` in one object.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from trunkline_gateway.http import Block, ClientGoneError, Head, Headers, encode
from trunkline_gateway.ingress import refusals
from trunkline_gateway.ingress.deadline import Deadline
from trunkline_gateway.ingress.flow import reset
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.outbox import Outbox
from trunkline_gateway.timers import Timers

_CHUNKED, _SIZED, _UNTIL_CLOSE, _BODILESS = range(4)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSE: Final = b"connection: close\r\n"

_JOINED_BYTES: Final = 16_384
"""Up to here, copying a body behind its head is cheaper than a vectored write of the two."""


class Connection(Protocol):
    """What a request needs of the connection that it came on."""

    transport: asyncio.Transport
    outbox: Outbox
    loop: asyncio.AbstractEventLoop

    @property
    def flow(self) -> FlowControl:
        """Of the transport."""
        ...

    @property
    def timers(self) -> Timers:
        """Those of the loop."""
        ...

    @property
    def limits(self) -> Limits:
        """See `limits.Limits`."""
        ...

    def preface(self) -> bytes:
        """What follows every status line: ``date``, encoded."""
        ...

    def go_on(self, request: "HotRequest", rest: Coroutine[Any, Any, None] | None) -> None:
        """See `shortcut.Direct`."""
        ...

    def answered(self, request: "HotRequest") -> None:
        """The answer is complete and has been given to the transport."""
        ...

    def hang_up(self) -> None:
        """Close once what is written is sent."""
        ...


class HotRequest:
    """See the module.

    Attributes:
        head: What was asked.
        keep_alive: Whether the connection outlives the answer; whoever clears it must do so before the answer starts.
        ended: Whether the whole body has arrived.
        complete: Whether there is nothing more to send, be it because the answer is out or because it was given up.
        started: Whether a status is out.
        begun: Whether the handler has it.
        gathered: Whether it waits for the rest of its body before the handler gets it; that is bounded.
    """

    __slots__ = (
        "_connection",
        "_framing",
        "_gone",
        "_idle",
        "_left",
        "_limit",
        "_lost",
        "_one_point_nought",
        "_parts",
        "_reader",
        "_size",
        "_withheld",
        "begun",
        "complete",
        "ended",
        "gathered",
        "handed_over",
        "head",
        "keep_alive",
        "started",
    )

    def __init__(
        self, connection: Connection, head: Head, keep_alive: bool, one_point_nought: bool, withheld: bool
    ) -> None:
        """Make one that has no body yet; ``withheld``: the client waits for ``100 Continue`` before it sends it."""
        self._connection = connection
        self.head = head
        self.keep_alive = keep_alive
        self._one_point_nought = one_point_nought
        self._withheld = withheld
        self.begun = False
        self.gathered = False
        self.started = False
        self.complete = False
        self.ended = False
        self._lost = False
        self._framing = _CHUNKED
        self._left = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._reader: asyncio.Future[None] | None = None
        self._gone: Callable[[], None] | None = None
        self.handed_over: Callable[[], None] | None = None

    # ---- from the connection ----

    def close_after(self) -> None:
        """End the connection with this answer, and say so in the head unless that is out."""
        self.keep_alive = False

    def feed(self, data: bytes) -> None:
        """More of the body."""
        self._withheld = False
        if self.complete:
            return
        self._parts.append(data)
        self._size += len(data)
        reader = self._reader
        if reader is None:
            if self._size > HIGH_WATER_LIMIT and not self.gathered:
                self._connection.flow.pause_reading()
        elif self._size <= self._limit:
            self._idle.set(self._connection.limits.body_idle_seconds)
        elif not reader.done():
            reader.set_exception(refusals.body_too_large(self._limit))

    def end(self) -> None:
        """The end of the body."""
        self.ended = True
        self._withheld = False
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)

    def lose(self) -> None:
        """The client has gone, or what it sends makes no sense any more: nobody is there to be answered."""
        if self._lost:
            return
        self._lost = True
        self._parts = []
        reader, gone = self._reader, self._gone
        self._gone = None
        if reader is not None and not reader.done():
            reader.set_exception(ClientGoneError())
        if gone is not None:
            gone()

    @property
    def lost(self) -> bool:
        """Whether there is nobody to answer."""
        return self._lost

    # ---- body ----

    async def read(self, limit: int) -> bytes:
        """See `http.Body`."""
        if not self.ended:
            await self._receive(limit)
        if self._size > limit:
            raise refusals.body_too_large(limit)
        parts = self._parts
        self._parts = []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _receive(self, limit: int) -> None:
        if self._lost:
            raise ClientGoneError
        declared = self.head.first.get(b"content-length")
        if self._size > limit or (declared is not None and int(declared) > limit):
            raise refusals.body_too_large(limit)
        connection = self._connection
        if self._withheld:
            self._withheld = False
            connection.outbox.write(connection.transport, _CONTINUE)
        self._limit = limit
        self._reader = connection.loop.create_future()
        self._idle = Deadline(connection.timers, connection.loop.time, self._silent)
        self._idle.set(connection.limits.body_idle_seconds)
        total = connection.timers.after(connection.limits.body_seconds, self._slow)
        connection.flow.resume_reading()
        try:
            await self._reader
        finally:
            self._reader = None
            self._idle.close()
            total.cancel()

    def _silent(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_exception(refusals.request_timeout(self._connection.limits.body_idle_seconds))

    def _slow(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_exception(refusals.body_too_slow(self._connection.limits.body_seconds))

    def arrived(self) -> bytes:
        """See `shortcut.Direct`."""
        parts = self._parts
        if len(parts) > 1:
            parts[:] = [b"".join(parts)]
        return parts[0] if parts else b""

    # ---- responder ----

    def go_on(self, rest: Coroutine[Any, Any, None] | None) -> None:
        """See `shortcut.Direct`."""
        self._connection.go_on(self, rest)

    def watch(self, gone: Callable[[], None] | None) -> None:
        """See `http.Responder`."""
        self._gone = None
        if gone is None or self.complete:
            return
        if self._lost:
            gone()
        else:
            self._gone = gone

    async def answer(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        """See `http.Responder`. Nothing happens if the client has gone."""
        flow = self._connection.flow
        if flow.write_paused:  # by an earlier answer that the client does not read
            await flow.drain()
        self.send(status, block, headers, body)

    def send(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        """Send a whole answer, whatever the client has not read yet."""
        self.send_encoded(status, block.encoded, encode(headers), body)

    def send_encoded(self, status: int, block: bytes, headers: bytes, body: bytes) -> None:
        """The same with headers as they are written."""
        self._start()
        if self._lost:
            return
        connection = self._connection
        parts = [STATUS_LINE[status], connection.preface(), block, headers]
        if not self.keep_alive:
            parts.append(_CLOSE)
        if status == 204 or status == 304:  # twice as fast as a set
            parts.append(b"\r\n")
            body = b""
        else:
            parts.append(b"content-length: %d\r\n\r\n" % len(body))
            if self.head.method == "HEAD":
                body = b""
        if len(body) <= _JOINED_BYTES:
            parts.append(body)
            connection.outbox.write(connection.transport, b"".join(parts))
        else:
            connection.outbox.write(connection.transport, (b"".join(parts), body))
        self._completed()

    async def start(self, status: int, block: Block, headers: Headers) -> None:
        """See `http.Responder`. Nothing happens if the client has gone."""
        flow = self._connection.flow
        if flow.write_paused:
            await flow.drain()
        self._start()
        if self._lost:
            return
        framing = self._choose_framing(status, block, headers)
        parts = [STATUS_LINE[status], self._connection.preface(), block.encoded, encode(headers)]
        if not self.keep_alive:
            parts.append(_CLOSE)
        parts.append(b"transfer-encoding: chunked\r\n\r\n" if framing == _CHUNKED else b"\r\n")
        self._connection.outbox.write(self._connection.transport, b"".join(parts))

    def _start(self) -> None:
        if self.started:
            raise RuntimeError("the answer has been started already")
        self.started = True
        if self._withheld:
            # The body will not be asked for any more; whether it comes all the same cannot be known.
            self.keep_alive = False

    def _choose_framing(self, status: int, block: Block, headers: Headers) -> int:
        if self.head.method == "HEAD" or status in (204, 304):
            self._framing = _BODILESS
            return _BODILESS
        for name, value in (*headers, *block.pairs):
            if name == b"content-length":
                self._left = int(value)
                self._framing = _SIZED
                return _SIZED
        self._framing = _UNTIL_CLOSE if self._one_point_nought else _CHUNKED
        return self._framing

    async def write(self, data: bytes) -> None:
        """See `http.Responder`."""
        if self._lost:
            raise ClientGoneError
        connection = self._connection
        if data:
            self._write(data, b"")
        if connection.flow.write_paused:
            await connection.flow.drain()
            if self._lost:
                raise ClientGoneError

    @property
    def writable(self) -> bool:
        """See `http.Responder`."""
        return not (self._lost or self._connection.flow.write_paused)

    def push(self, data: bytes) -> None:
        """See `http.Responder`."""
        self._write(data, b"")

    async def finish(self, data: bytes = b"") -> None:
        """See `http.Responder`. Nothing happens if the client has gone."""
        flow = self._connection.flow
        if flow.write_paused:
            await flow.drain()
        if self._lost:
            return
        if data or self._framing == _CHUNKED:
            self._write(data, b"0\r\n\r\n")
        if self._left:
            raise RuntimeError("the answer is shorter than its Content-Length")
        self._completed()

    def _write(self, data: bytes, last_chunk: bytes) -> None:
        """Write ``data``, framed; ``last_chunk`` goes behind it where there are chunks."""
        if not self.started or self.complete:
            raise RuntimeError("there is no answer that could go on")
        transport, outbox, framing = self._connection.transport, self._connection.outbox, self._framing
        if framing == _CHUNKED:
            size = len(data)
            if size > _JOINED_BYTES:
                outbox.write(transport, (b"%x\r\n" % size, data, b"\r\n" + last_chunk))
            elif size:
                outbox.write(transport, b"%x\r\n%b\r\n%b" % (size, data, last_chunk))
            else:
                outbox.write(transport, last_chunk)
            return
        if framing == _BODILESS:
            return
        if framing == _SIZED:
            if len(data) > self._left:
                raise RuntimeError("the answer is longer than its Content-Length")
            self._left -= len(data)
        outbox.write(transport, data)

    async def abort(self) -> None:
        """See `http.Responder`."""
        self.break_off()

    def break_off(self) -> None:
        """End the connection in the middle of the answer."""
        if self.complete:
            return
        self.complete = True
        self._gone = None
        if self._lost:
            return
        self._lost = True
        self._parts = []
        connection = self._connection
        if self.started and self._framing == _UNTIL_CLOSE:
            connection.outbox.flush()
            reset(connection.transport)  # only that says that this end is not the end of the answer
        else:
            connection.hang_up()

    def _completed(self) -> None:
        self.complete = True
        self._gone = None
        self._parts = []
        self._connection.answered(self)
