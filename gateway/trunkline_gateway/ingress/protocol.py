"""uvicorn's httptools protocol, made safe for a wire that means harm, and fast for the paths of the request handler.

A request reaches the handler or the application only when its head is whole, bounded and unambiguous (see ``head``).
Anything else gets an answer in OpenAI's error shape and a closed connection. What the `Handler` serves it gets straight
from the parser (``hot``); the rest goes on into ASGI as uvicorn does it (``cold``). Both kinds may be mixed on one
connection: answers go out in the order of the requests, and none is begun before the one ahead of it is answered.

Written against uvicorn 0.54.0, which is pinned; its own tests of HTTP run against this (tests/contract).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import Any, ClassVar, Final, TypeAlias, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from trunkline_gateway.http import Head
from trunkline_gateway.ingress import head as heads
from trunkline_gateway.ingress import refusals, serving
from trunkline_gateway.ingress.asgi import AnswerAbortedError
from trunkline_gateway.ingress.cold import ColdRequest
from trunkline_gateway.ingress.deadline import Deadline
from trunkline_gateway.ingress.flow import Flow, cork, has_unread
from trunkline_gateway.ingress.hot import HotRequest
from trunkline_gateway.ingress.refusals import Refusal
from trunkline_gateway.ingress.serving import Worker
from trunkline_gateway.ingress.wiring import Wiring

_logger = logging.getLogger(__name__)


def _worth_saying(record: logging.LogRecord) -> bool:
    # What uvicorn logs as an exception of the application, and is none: an answer broken off on purpose, the end of
    # the grace period.
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, AnswerAbortedError | asyncio.CancelledError)


_request_logger = logging.getLogger(f"{__name__}.application")
_request_logger.setLevel(logging.WARNING)  # set, since uvicorn compares it for each connection
_request_logger.addFilter(_worth_saying)

_IDLE, _HEAD, _BODY = range(3)

_NONE: Final[list[tuple[bytes, bytes]]] = []

_GATHER_SECONDS: Final = 1.0
"""How long a body may take to arrive whole before its request is begun all the same."""

_LAST_WORDS_SECONDS: Final = 1.0
"""How long a client that was refused may take to read the answer and close."""

_ANOTHER_SECONDS: Final = 1.0
"""How long, at the end of the drain, a client that was not told of it has to begin a request on its connection."""

_GRANTED_BYTES: Final = 256
"""What may come with each piece of a chunked body that is not body: the chunk's size, and a short extension."""

_METHODS: Final = {method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}

_Request: TypeAlias = HotRequest | ColdRequest


def protocol_class(wiring: Wiring) -> type[HttpToolsProtocol]:
    """Make the class to give to ``uvicorn.Config(http=…)``."""
    return type("BoundedProtocol", (_Protocol,), {"wiring": wiring})


def drain(state: ServerState) -> None:
    """Have every connection say in its next answer that it is the last one; see `Listener.drain`."""
    for connection in list(state.connections):
        if isinstance(connection, _Protocol):
            connection.drain()


def end(state: ServerState) -> None:
    """Have every connection end with the answer that is being given, whatever waits behind it."""
    for connection in list(state.connections):
        if isinstance(connection, _Protocol):
            connection.end()


class _Protocol(HttpToolsProtocol):
    wiring: ClassVar[Wiring]
    flow: Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _request_logger
        self.timers = self.wiring.timers
        self.outbox = self.wiring.outbox
        self.limits = self.wiring.limits
        self._max_headers = self.limits.headers
        self._peer = ""
        # What the parser is in, and what it has handed out.
        self._state = _IDLE
        self._data = b""  # at hand
        self._head_fed = 0  # of data since the head began, for a header that never ends; -1: it began in this data
        self._framing = -1  # bytes since the head that are no body, less what is granted; -1: it ended in this data
        self._granted = 0  # of the data at hand
        self._trailers = 0
        self._trailer_bytes = 0
        self._upgrading = False
        # Clients ask for the same again and again.
        self._target: bytes | None = None
        self._path = ""
        self._query = b""
        self._is_hot = False
        self._host: bytes | None = None
        # The requests: the one being answered, those behind it, and the one (any of them) whose body is coming.
        self._current: _Request | None = None
        self._waiting: deque[_Request | Refusal] = deque()
        self._advancing = False
        self._receiving: _Request | None = None
        handler = self.wiring.handler
        self._worker = None if handler is None else Worker(handler, self.wiring.load, self.loop, self.tasks)
        # The end.
        self._draining = self.wiring.draining  # every answer is the connection's last
        self._stopping = False  # and the listener is closed
        self._deaf = False  # the last answer is out; what still comes is dropped
        self._hanging_up = False
        self._deadline = Deadline(self.timers, self.loop.time, self._time_is_up)

    # ---- the connection ----

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self.flow = Flow(
            transport,
            self.timers,
            stall_seconds=self.limits.stall_seconds,
            answering=self._is_answering,
            left=self._client_left,
        )
        self._peer = self.client[0] if self.client else ""
        self._deadline.set(self.limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._deadline.close()
        self._deaf = True
        self.flow.close()
        self.flow.resume_writing()
        self.parser = None  # type: ignore[assignment]  # as uvicorn's own: it holds the protocol
        self._waiting.clear()
        self._receiving = None
        if self._worker is not None:
            self._worker.close()
        if exc is None:
            self.transport.close()
        if (current := self._current) is not None and not current.complete:
            current.lose()

    def _is_answering(self) -> bool:
        return self._current is not None

    def _client_left(self) -> None:
        self.hang_up()
        if (current := self._current) is not None and not current.complete:
            current.lose()

    def drain(self) -> None:
        """From now on, say in every answer that it is the last of the connection."""
        self._draining = True
        # Of several that wait, the last: a client sends those behind a `close` again (RFC 9112, 9.3.2).
        last = next((request for request in reversed(self._waiting) if not isinstance(request, Refusal)), None)
        if (last := last or self._current) is not None and not last.started:
            last.close_after()

    def shutdown(self) -> None:
        """Answer what has been asked, and nothing more; see `Listener.stop`."""
        self.drain()
        self._stopping = True
        if (grace := self.config.timeout_graceful_shutdown) is not None:
            self.flow.hurry(grace)
        if self._worker is not None:
            self._worker.drain()
        self.outbox.flush()
        if isinstance(self._current, HotRequest) and self._current.handed_over is not None:
            self._current.handed_over()
        if self._current is not None or (self._state == _HEAD and not self._deaf):
            return
        if self._state == _IDLE and not self._deaf and (self._target is None or has_unread(self.transport)):
            self._deadline.set(_ANOTHER_SECONDS)  # it has just come, or its next request has
        else:
            self.transport.close()

    def end(self) -> None:
        """Begin nothing more; see `end`."""
        self._waiting.clear()
        if self._current is not None:
            if self._current.started:
                cork(self.transport)
            self._current.close_after()

    def hang_up(self) -> None:
        """Close once what is written is sent, or the client has had long enough to read it."""
        self._deaf = True
        self._hanging_up = True
        self.outbox.flush()
        if not self.transport.is_closing():
            self._deadline.set(self.limits.linger_seconds)
            self.transport.close()

    def preface(self) -> bytes:
        """What follows every status line."""
        return self.wiring.preface(self.server_state.default_headers)

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._feed(data)
            if self._state != _IDLE and not self._deaf:
                self._bound_what_is_unfinished(len(data))
        except Refusal as refusal:
            self._refuse(refusal)
        except httptools.HttpParserError as error:
            cause = error.__context__
            if not isinstance(cause, Refusal):
                if isinstance(error, httptools.HttpParserCallbackError):
                    _logger.error("a request could not be taken", exc_info=cause or error)
                cause = Refusal(400, "bad_request", "The request is not valid HTTP/1.1, or can be read in two ways.")
            self._refuse(cause)

    def _feed(self, data: bytes) -> None:
        while True:
            self._data = data
            try:
                self.parser.feed_data(data)
                self._data = b""
                return
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol. We stay with HTTP/1.1, as a server may, so the
                # request is read again without the offer: clients that try h2c send a body right behind it.
                again = heads.without_upgrade(self.parser.get_method(), self.url, self.headers)
                data = again + data[cast("int", upgrade.args[0]) :]
                self._upgrading = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _bound_what_is_unfinished(self, fed: int) -> None:
        if self._state == _HEAD:
            if self._head_fed < 0:
                self._head_fed = 0
                # The first head has its time from the connection's start; one that is early, once its turn has come.
                if self._target is not None and self._current is None:
                    self._deadline.set(self.limits.head_seconds)
            else:
                self._head_fed += fed
                if self._head_fed > self.limits.head_bytes:
                    self._head_too_large()
            return
        # What came before the head in the same data cannot be told from what came behind it.
        self._framing = 0 if self._framing < 0 else max(0, self._framing + fed - self._granted)
        self._granted = 0
        if self._framing > self.limits.head_bytes:
            self._framing_too_large()
        current = self._current
        if current is not self._receiving or not isinstance(current, HotRequest) or current.begun or current.gathered:
            return
        # The message is not whole, so the handler gets to see its head: it may not want the body.
        if self.wiring.handler is not None and self.wiring.handler.gathers(current.head):
            current.gathered = True
            self.flow.resume_reading()
            self._deadline.set(_GATHER_SECONDS)
        else:
            self._begin(current)

    def _head_too_large(self) -> None:
        raise Refusal(431, "head_too_large", f"The head of the request is over {self.limits.head_bytes} bytes.")

    def _framing_too_large(self) -> None:
        message = f"The request's body has over {self.limits.head_bytes} bytes of chunk extensions or trailers."
        raise Refusal(431, "framing_too_large", message)

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self._state = _HEAD
        self._head_fed = -1
        self.url = b""
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state == _HEAD:
            self.headers.append((name.lower(), value))
            if len(self.headers) > self._max_headers:
                raise Refusal(431, "too_many_headers", f"The request has more than {self._max_headers} headers.")
            return
        # Trailers are dropped: what comes behind the body must not pass for an Authorization header.
        self._trailers += 1
        self._trailer_bytes += len(name) + len(value) + 4
        if self._trailers > self._max_headers:
            raise Refusal(431, "too_many_headers", f"The request has more than {self._max_headers} trailers.")
        if self._trailer_bytes > self.limits.head_bytes:
            self._framing_too_large()

    def on_headers_complete(self) -> None:
        parser, headers, url = self.parser, self.headers, self.url
        most = self.limits.head_bytes
        if (len(self._data) > most or self._head_fed >= 0) and heads.size(url, headers) > most:
            self._head_too_large()
        method = parser.get_method()
        version = parser.get_http_version()
        if parser.should_upgrade():
            self._check_upgrade(method, version)
            self._upgrading = True
            return
        heads.check_version(version)
        if version == "1.0" and self._head_fed < 0:
            heads.check_protocol(self._data, url)
        if url != self._target:
            self._path, self._query = heads.split_target(url)
            self._target = url
            self._is_hot = self.wiring.handler is not None and self.wiring.handler.serves(self._path)
        name = _METHODS.get(method) or method.decode("ascii")
        head = Head(name, self._path, self._query, headers, self._peer)
        first = head.first
        if first.get(b"host") != self._host or self._host is None or len(first) != len(headers):
            heads.check_host(headers, first, version)
            self._host = first.get(b"host")
        if b"transfer-encoding" in first:
            self._trailers = self._trailer_bytes = 0
            heads.check_transfer_encoding(headers, version)
        self._state = _BODY
        self._framing = -1
        self._granted = 0
        self._deadline.clear()
        if self._is_hot:
            one_point_one = version == "1.1"
            keep_alive = one_point_one and not self._draining and parser.should_keep_alive()
            expect = first.get(b"expect") if one_point_one else None
            withheld = expect is not None and expect.lower() == b"100-continue"
            self.headers = _NONE  # the request's alone now
            self._accept(HotRequest(self, head, keep_alive, not one_point_one, withheld))
        else:
            self._take_cold(url, headers)

    def on_body(self, body: bytes) -> None:
        self._granted += len(body) + _GRANTED_BYTES
        if self._receiving is not None:
            self._receiving.feed(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._state = _IDLE
        request = self._receiving
        self._receiving = None
        if request is None:
            return
        request.end()
        if self._current is request:
            if isinstance(request, HotRequest):
                if self.flow.read_paused:  # for its body's sake; only who reads sees the client leave
                    self.flow.resume_reading()
                if not request.begun:
                    self._begin(request)
        elif self._current is None:  # answered before its body was here
            self._deadline.set(self.timeout_keep_alive)

    def _check_upgrade(self, method: bytes, version: str) -> None:
        if method == b"CONNECT":
            raise Refusal(400, "bad_request", "This is not a proxy: CONNECT is not served.")
        if self._get_upgrade() == b"websocket":
            message = "WebSockets are not served here; send plain HTTP/1.1 requests."
            headers = (b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade, close")
            raise Refusal(426, "upgrade_required", message, *headers)
        if version != "1.1":
            raise Refusal(400, "bad_request", "Only HTTP/1.1 can be upgraded.")

    # ---- one after the other ----

    def _take_cold(self, url: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        super().on_message_begin()  # makes the scope, with a list of headers of its own
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        # uvicorn would line it up behind the request before; that is done below, for both kinds.
        self.cycle = None  # type: ignore[assignment]  # as in a connection's first request
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        request = ColdRequest(cycle, app, self.flow)
        if self._draining:
            request.close_after()
        self._accept(request)
        if self._current is request:
            self._begin(request)

    def _accept(self, request: _Request) -> None:
        if self._deaf:
            return
        if self._current is None:
            self._current = request
        elif len(self._waiting) < self.limits.pipelined:
            self._waiting.append(request)
            self.flow.pause_reading()
        else:
            raise Refusal(429, "too_many_pipelined_requests", "Too many requests wait on this connection.")
        self._receiving = request

    def _begin(self, request: _Request, ending: int = 0) -> None:
        if isinstance(request, HotRequest) and request.gathered:
            request.gathered = False
            self._deadline.clear()
        if isinstance(request, ColdRequest):
            self.outbox.flush()
            super()._start_asgi_task(request.cycle, request.app)
            return
        if 0 < self.limits.in_flight <= self.wiring.load.in_flight - ending:
            error = refusals.overloaded()
            if self.flow.write_paused:  # who does not read them gets no more of them
                request.close_after()
            self._tell(error.status, error.code or "", serving.send_error(request, error))
        elif self._worker is not None:
            self._worker.begin(request)

    def go_on(self, request: HotRequest, rest: Coroutine[Any, Any, None] | None) -> None:
        """See `shortcut.Direct`."""
        if self._worker is not None:
            self._worker.go_on(request, rest)

    def answered(self, request: _Request) -> None:
        """Go on with the next one, or end, or be idle."""
        self.server_state.total_requests += 1
        if request is not self._current:
            return
        if self.transport.is_closing():
            self._deaf = self._hanging_up = True
            self._deadline.set(self.limits.linger_seconds)
            return
        self._current = None
        if not self._advancing:
            self._advance(request)

    def _advance(self, request: _Request) -> None:
        """Go on behind ``request``, and behind each that is answered as soon as it is begun."""
        while self._waiting and request.keep_alive:
            following = self._waiting.popleft()
            if not self._waiting:
                self.flow.resume_reading()
            if isinstance(following, Refusal):
                self._end(following)
                return
            self._current = following
            self._advancing = True
            try:
                # The handler is done with one that it had, and says so only after this.
                self._begin(following, int(isinstance(request, HotRequest) and request.begun))
            finally:
                self._advancing = False
            if self._is_answering():
                return
            request = following
        if not request.keep_alive:
            self._waiting.clear()
            # A client that does not know that this is the end may be sending its next request: closing on that would
            # reset the connection, and the answer might be lost.
            if self._receiving is None and not self._draining:
                self.hang_up()
            else:
                self._leave(self.limits.linger_seconds)
        else:
            self.flow.resume_reading()
            if self._state == _IDLE:
                self._deadline.set(_ANOTHER_SECONDS if self._stopping else self.timeout_keep_alive)
            elif self._state == _BODY:
                # Answered before the body was read: drop the rest, so that the client gets to read the answer, but
                # not for ever.
                self._deadline.set(self.limits.linger_seconds)
            else:
                self._deadline.set(self.limits.head_seconds)

    def on_response_complete(self) -> None:
        """From uvicorn: the cycle has written its answer, and has closed the connection if it had to."""
        if isinstance(self._current, ColdRequest):
            self.answered(self._current)

    # ---- time ----

    def _time_is_up(self) -> None:
        if self._hanging_up:
            self.transport.abort()
        elif isinstance(current := self._current, HotRequest) and current.gathered and not current.begun:
            self._begin(current)
        elif (
            self._deaf
            or self._state == _BODY
            or (self._state == _IDLE and (self._stopping or self._target is not None))
        ):
            self.hang_up()
        else:
            message = f"The head of the request was not complete within {self.limits.head_seconds:g} seconds."
            self._refuse(Refusal(408, "request_timeout", message))

    # ---- refusing ----

    def _tell(self, status: int, code: str, request_id: str) -> None:
        self.wiring.refused(status, code)
        self.wiring.refusal_log.write(status, code, request_id, self._peer)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with ``refusal`` once everything before it is answered, and close."""
        if self._deaf or self.transport.is_closing():
            return
        self._deaf = True
        self._deadline.clear()
        self._tell(refusal.status, refusal.code, refusal.request_id)
        if (broken := self._receiving) is not None:
            # The request whose body turned out to be broken is with the handler already, or waits in line.
            self._receiving = None
            if self._waiting and self._waiting[-1] is broken:
                self._waiting.pop()
            elif broken.started:
                self.hang_up()
                broken.lose()
                return
            else:
                self._current = None
                self._end(refusal)
                broken.lose()
                return
        if self._current is None:
            self._end(refusal)
        else:
            self._waiting.append(refusal)
            self.flow.pause_reading()

    def _end(self, refusal: Refusal) -> None:
        self.outbox.flush()
        if not self.transport.is_closing():
            self.transport.write(refusal.encode(self.preface()))
            self._leave(_LAST_WORDS_SECONDS)

    def _leave(self, seconds: float) -> None:
        """Let the client read the answer: closing on unread data would reset the connection."""
        self._deaf = True
        self.outbox.flush()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._deadline.set(min(seconds, _LAST_WORDS_SECONDS) if self._draining else seconds)
