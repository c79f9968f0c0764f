"""uvicorn's httptools protocol, made safe for a wire that means harm: bounds, timeouts, framing that has one reading.

A request reaches the application only when its head is whole, bounded and unambiguous. Anything else gets an answer in
OpenAI's error shape and a closed connection. What the parser (llhttp, strict) refuses by itself: Content-Length with
Transfer-Encoding, repeated or malformed Content-Length, folded headers, bare CR or LF, bad chunk sizes, control
characters. What is added here: a bound on the head and its time, one Host, one spelling of a chunked body, targets in
origin form without dot segments, trailers that do not become headers, a bound on pipelining.

Written against uvicorn 0.54.0, which is pinned.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, TypeAlias, cast

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from trunkline_gateway import errors
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.ingress import request_ids
from trunkline_gateway.ingress.asgi import AnswerAbortedError
from trunkline_protocol import logs

_logger = logging.getLogger(__name__)


def _worth_saying(record: logging.LogRecord) -> bool:
    # What uvicorn logs as an exception of the application, and is none: an answer broken off on purpose, the end of
    # the grace period.
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or not issubclass(kind, AnswerAbortedError | asyncio.CancelledError)


_request_logger = logging.getLogger(f"{__name__}.application")
_request_logger.setLevel(logging.WARNING)  # set, since uvicorn compares it for each connection
_request_logger.addFilter(_worth_saying)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a connection may take.

    Attributes:
        head_bytes: Request line and headers; also of the trailers of a chunked body.
        headers: How many.
        head_seconds: From the first byte of a head (or from the connection's start) to its end.
        linger_seconds: How long the rest of a body is read and dropped once the request has its answer.
        pipelined: Requests that wait behind the one being answered.
    """

    head_bytes: int = 64 * 1024
    headers: int = 200
    head_seconds: float = 10.0
    linger_seconds: float = 30.0
    pipelined: int = 64


Refused: TypeAlias = Callable[[int, str], None]
"""Told the status and the code of each refusal."""


def protocol_class(limits: Limits, refused: Refused) -> type[HttpToolsProtocol]:
    """Make the class to give to ``uvicorn.Config(http=…)``."""
    return type("BoundedProtocol", (_Protocol,), {"wiring": _Wiring(limits, refused)})


class _Wiring(NamedTuple):
    limits: Limits
    refused: Refused


_IDLE, _HEAD, _BODY = range(3)

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_DOT_SEGMENT: Final = re.compile(rb"(?i)(?:^|/)(?:\.|%2e){1,2}(?=/|$)")
_HOP_BY_HOP_UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})


class _Refusal(Exception):  # noqa: N818  # not an error of ours: an answer
    """Ends the parsing of a connection with this answer."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def encode(self) -> bytes:
        """Write the whole answer."""
        error = errors.InvalidRequestError(self.message, status=self.status, code=self.code)
        body = openai_errors.render(error)
        lines = [STATUS_LINE[self.status], b"content-type: application/json\r\n"]
        lines.append(b"content-length: %d\r\nx-request-id: %s\r\n" % (len(body), request_ids.make().encode()))
        lines.extend(b"%s: %s\r\n" % header for header in self.headers)
        if not any(name == b"connection" for name, _ in self.headers):
            lines.append(b"connection: close\r\n")
        return b"".join([*lines, b"\r\n", body])


class _Protocol(HttpToolsProtocol):
    wiring: ClassVar[_Wiring]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _request_logger
        self._limits = self.wiring.limits
        self._state = _IDLE
        self._head_bytes = 0  # of url and headers that the parser has handed out
        self._head_fed = 0  # of data since the head began, for a header that never ends
        self._header_count = 0
        self._upgrading = False
        self._active: RequestResponseCycle | None = None  # being answered; ``cycle`` is the newest
        self._refusal: _Refusal | None = None
        self._deaf = False  # the last answer is out; what still comes is dropped
        self._head_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    # ---- the connection ----

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        # uvicorn tells the newest request only; the one that is being answered may be another.
        self.pipeline.clear()
        if self._active is not None and not self._active.response_complete:
            self._tell_gone(self._active)
        super().connection_lost(exc)

    @staticmethod
    def _tell_gone(cycle: RequestResponseCycle) -> None:
        cycle.disconnected = True
        cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._active = cycle
        super()._start_asgi_task(cycle, app)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        began_in_head = self._state == _HEAD
        try:
            self._feed(data)
            if self._state == _HEAD:
                self._head_fed += len(data) if began_in_head else 0
                if self._head_fed > self._limits.head_bytes:
                    self._head_too_large()
        except _Refusal as refusal:
            self._refuse(refusal)
            return
        except httptools.HttpParserError as error:
            cause = error.__context__
            if not isinstance(cause, _Refusal):
                if isinstance(error, httptools.HttpParserCallbackError):
                    _logger.error("a request could not be taken", exc_info=cause or error)
                cause = _Refusal(400, "bad_request", "The request is not valid HTTP/1.1, or can be read in two ways.")
            self._refuse(cause)
            return
        if self._state == _HEAD:
            self._await_head()
        elif self._state == _IDLE and self.cycle is not None and self.cycle.response_complete and not self.pipeline:
            # Line breaks between requests: they must not keep the connection open for ever.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol. We stay with HTTP/1.1, as a server may, so the
                # request is read again without the offer: clients that try h2c send a body right behind it.
                data = self._head_without_upgrade() + data[cast("int", upgrade.args[0]) :]
                self._upgrading = False
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _head_without_upgrade(self) -> bytes:
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                tokens = (token.strip() for token in value.split(b","))
                value = b", ".join(token for token in tokens if token.lower() not in _HOP_BY_HOP_UPGRADE)  # noqa: PLW2901
            if name not in _HOP_BY_HOP_UPGRADE:
                head += [name, b": ", value, b"\r\n"]
        return b"".join([*head, b"\r\n"])

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._state = _HEAD
        self._head_bytes = 16  # method, version and the blanks of the request line
        self._head_fed = 0
        self._header_count = 0

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > self._limits.headers:
            raise _Refusal(431, "too_many_headers", f"The request has more than {self._limits.headers} headers.")
        self._count(len(name) + len(value) + 4)
        if self._state == _HEAD:
            super().on_header(name, value)
        # Trailers are dropped: what comes behind the body must not pass for an Authorization header.

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._check_upgrade()
            self._upgrading = True
            return
        self._check_head()
        if len(self.pipeline) >= self._limits.pipelined:
            raise _Refusal(429, "too_many_pipelined_requests", "Too many requests wait on this connection.")
        self._state = _BODY
        self._head_bytes = 0
        self._header_count = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._state = _IDLE
        if self._linger_timer is not None:
            self._linger_timer.cancel()
            self._linger_timer = None
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            self._head_too_large()

    def _head_too_large(self) -> None:
        raise _Refusal(431, "head_too_large", f"The head of the request is over {self._limits.head_bytes} bytes.")

    def _check_upgrade(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise _Refusal(400, "bad_request", "This is not a proxy: CONNECT is not served.")
        if self._get_upgrade() == b"websocket":
            message = "WebSockets are not served here; send plain HTTP/1.1 requests."
            headers = (b"upgrade", b"HTTP/1.1"), (b"connection", b"upgrade, close")
            raise _Refusal(426, "upgrade_required", message, *headers)
        if self.parser.get_http_version() != "1.1":
            raise _Refusal(400, "bad_request", "Only HTTP/1.1 can be upgraded.")

    def _check_head(self) -> None:
        version = self.parser.get_http_version()
        if version not in {"1.0", "1.1"}:
            raise _Refusal(400, "bad_request", "Send the request as HTTP/1.1.")
        if not self.url.startswith(b"/") or b"#" in self.url:
            raise _Refusal(400, "bad_request", "The request target must be a path such as /v1/models.")
        if _DOT_SEGMENT.search(self.url.partition(b"?")[0]):
            raise _Refusal(400, "bad_request", "The path must not hold dot segments.")
        hosts = [value for name, value in self.headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(_HOST.fullmatch(host) for host in hosts):
            raise _Refusal(400, "bad_request", "The request must have exactly one valid Host header.")
        for name, value in self.headers:
            if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
                raise _Refusal(400, "bad_request", "The only Transfer-Encoding is chunked, in HTTP/1.1.")

    # ---- time ----

    def _await_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self._limits.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        message = f"The head of the request was not complete within {self._limits.head_seconds:g} seconds."
        self._refuse(_Refusal(408, "request_timeout", message))

    def _stop_timers(self) -> None:
        for timer in (self._head_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._head_timer = self._linger_timer = None

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._refusal is not None and self._active is not None and self._active.response_complete:
            self._unset_keepalive_if_required()
            self._end(self._refusal)
        elif self._state == _BODY and self.cycle.response_complete and self._linger_timer is None:
            # Answered before the body was read: drop the rest, so that the client gets to read the answer, but not
            # for ever.
            self._linger_timer = self.loop.call_later(self._limits.linger_seconds, self.transport.close)

    # ---- refusing ----

    def _refuse(self, refusal: _Refusal) -> None:
        """Answer with ``refusal`` once everything before it is answered, and close."""
        if self._deaf or self.transport.is_closing():
            return
        self._stop_timers()
        self._deaf = True
        self.wiring.refused(refusal.status, refusal.code)
        _logger.info("request refused: %s", refusal.code, extra=logs.fields(status=refusal.status))
        if self._state == _BODY:
            # The request whose body turned out to be broken is with the application already, or waits in line.
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            elif self.cycle.response_started:
                self.transport.close()
                return
            else:
                self._tell_gone(self.cycle)
                self._end(refusal)
                return
        if self._active is not None and not self._active.response_complete:
            self._refusal = refusal
            self.flow.pause_reading()
        else:
            self._end(refusal)

    def _end(self, refusal: _Refusal) -> None:
        """Send the answer and let the client read it: closing on unread data would reset the connection."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self.transport.write(refusal.encode())
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(1.0, self.transport.close)
