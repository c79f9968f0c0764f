"""A request that is served without a task: a callback waits for the answer, while there is nothing else to wait for.

Most whole answers come complete and right at the first attempt. For those, a task with its futures and a dozen frames
that are left and entered again would cost as much as all the rest. Whatever turns out otherwise (an error, a failure,
an answer that is long, broken or slow, a client that does not read) goes on in the attempt loop, which takes the
attempt over as it is: see `routing.underway`.
"""

import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from trunkline_gateway import errors
from trunkline_gateway.http import Head, Responder, encode
from trunkline_gateway.routing import answer_headers, attempts, whole
from trunkline_gateway.routing.plan import Plan
from trunkline_gateway.routing.responses import content_type_of
from trunkline_gateway.routing.upstream_request import Prepared
from trunkline_gateway.telemetry.exchange import CLIENT_GONE_STATUS, Exchange
from trunkline_gateway.timers import Timer, Timers
from trunkline_gateway.upstream.client import PendingResponse, Request
from trunkline_protocol import logs

_HEADERS: Final = b"x-request-id: %%b\r\n%b: %b\r\ncontent-type: %%b\r\n" % answer_headers.attempts(1)

_JSON: Final = b"application/json"

_logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 5.0
"""When an answer counts as slow. Beside such a wait a task costs nothing, and it knows all about time."""


class Direct(Responder, Protocol):
    """A responder, and the body, of a request that has arrived whole; both can be used without waiting."""

    handed_over: Callable[[], None] | None
    """Called by the driver when the request has to go on in a task: the server is about to stop."""

    def arrived(self) -> bytes:
        """The body. It can still be read afterwards."""
        ...

    def send_encoded(self, status: int, block: bytes, headers: bytes, body: bytes) -> None:
        """`Responder.answer`, at once, with headers as they are written."""
        ...

    def go_on(self, rest: Coroutine[Any, Any, None] | None) -> None:
        """Run the rest of what is done for the request in a task; None: there is nothing left to do."""
        ...


class Host(Protocol):
    """Who takes shortcuts."""

    @property
    def patience(self) -> "Patience":
        """Watches over all of them."""
        ...

    def finish(self, exchange: Exchange, begun: float) -> None:
        """Account for a request that is over, which came at ``begun``."""
        ...

    def resume(self, left: "Shortcut") -> Coroutine[Any, Any, None]:
        """Go on where a shortcut has left off, in a task."""
        ...


class Patience:
    """Has each shortcut hand over that is not at its end after ``seconds``. One timer for all of them."""

    __slots__ = ("_seconds", "_timer", "_timers", "_waiting")

    def __init__(self, timers: Timers, seconds: float = PATIENCE_SECONDS) -> None:
        self._timers = timers
        self._seconds = seconds
        self._waiting: dict[Shortcut, float] = {}  # in the order of their deadlines
        self._timer: Timer | None = None

    def begin(self, shortcut: "Shortcut") -> None:
        """Watch over it from now on."""
        self._waiting[shortcut] = self._timers.time() + self._seconds
        if self._timer is None:
            self._timer = self._timers.after(self._seconds, self._look)

    def end(self, shortcut: "Shortcut") -> None:
        """It is over, or handed over."""
        self._waiting.pop(shortcut, None)

    def _look(self) -> None:
        self._timer = None
        while self._waiting:
            shortcut, due = next(iter(self._waiting.items()))
            left = due - self._timers.time()
            if left > 0:
                self._timer = self._timers.after(left, self._look)
                return
            shortcut.hand_over()


class Shortcut:
    """See the module."""

    __slots__ = (
        "_host",
        "answer",
        "begun",
        "call",
        "exchange",
        "head",
        "order",
        "prepared",
        "request",
        "responder",
    )

    def __init__(
        self,
        host: Host,
        responder: Direct,
        exchange: Exchange,
        begun: float,
        call: attempts.Call,
        order: Plan,
        prepared: Prepared,
        request: Request,
        answer: PendingResponse,
        head: Head,
    ) -> None:
        self._host = host
        self.responder = responder
        self.exchange = exchange
        self.begun = begun
        self.call = call
        self.order = order
        self.prepared = prepared
        self.request = request
        self.answer = answer
        self.head = head
        host.patience.begin(self)
        answer.notify(self._over)
        responder.handed_over = self.hand_over
        responder.watch(self._gone)

    def hand_over(self) -> None:
        """Go on in the attempt loop."""
        self._let_go()
        self.responder.go_on(self._host.resume(self))

    def _over(self) -> None:
        try:
            passed = self._pass_on()
        except Exception:
            _logger.exception("an answer was not passed on", extra=logs.fields(request_id=self.exchange.request_id))
            passed = False
        if not passed:
            self.hand_over()

    def _pass_on(self) -> bool:
        """Whether the answer was what was hoped for, and is out."""
        answer, responder, exchange = self.answer, self.responder, self.exchange
        if not answer.complete or answer.status != 200 or not responder.writable:
            return False
        candidate = self.order.candidates[0]
        try:
            came = whole.read(answer.peek(), self.prepared, candidate, self.call.ingress)
        except errors.UpstreamProtocolError:
            return False
        if came.error_status is not None:
            return False
        self._host.patience.end(self)
        responder.handed_over = None
        own = _HEADERS % (
            exchange.request_id.encode("ascii"),
            content_type_of(answer) if self.prepared.native else _JSON,
        )
        if came.lost:
            own += encode(answer_headers.lossy(came.lost, self.call, candidate))
        responder.send_encoded(200, candidate.target.answered.encoded, own, came.body)
        exchange.status = 200
        exchange.lost = came.lost
        exchange.first_byte_seconds = time.monotonic() - self.begun
        if (usage := came.usage) is not None:
            exchange.count(usage)
        self._account("ok")
        return True

    def _gone(self) -> None:
        self._let_go()
        self.answer.abandon()
        self.exchange.client_gone = True
        self.exchange.status = CLIENT_GONE_STATUS
        self._account("cancelled")

    def _account(self, result: attempts.Result) -> None:
        exchange, target = self.exchange, self.order.candidates[0].target.name
        if result == "ok":
            exchange.target = target
            exchange.upstream_dialect = self.order.candidates[0].dialect
        exchange.attempts = 1
        exchange.attempt_results = ((target, result),)
        self._host.finish(exchange, self.begun)
        self.responder.go_on(None)

    def _let_go(self) -> None:
        self._host.patience.end(self)
        self.answer.notify(None)
        self.responder.handed_over = None
        self.responder.watch(None)
