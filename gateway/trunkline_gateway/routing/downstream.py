"""The client's side of an answer: held, then opened, then committed.

Held: nothing is out. Opened: a streamed answer that has no content yet got status 200, headers and a keep-alive, so
that nothing on the way gives up; only the status is spent. Committed: the answer flows. See "Commit protocol".
"""

import asyncio
import math
from collections.abc import Coroutine
from typing import Any, Final, Literal, TypeAlias

from trunkline_gateway.dialect import Ingress
from trunkline_gateway.errors import GatewayError
from trunkline_gateway.http import Block, ClientGoneError, Headers, Responder
from trunkline_gateway.routing.call import Settings
from trunkline_gateway.routing.snapshot import answered
from trunkline_gateway.timers import Timer, Timers

State: TypeAlias = Literal["held", "opened", "committed", "ended"]

_STREAM: Final = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect events
)
_JSON: Final = b"application/json"


class Downstream:
    """Where one answer goes. Close it, whatever happens.

    Attributes:
        status: What is out; 0: nothing.
    """

    def __init__(
        self,
        responder: Responder,
        request_id: str,
        group: str,
        ingress: Ingress,
        *,
        settings: Settings,
        timers: Timers,
    ) -> None:
        """Begin with nothing out. ``group`` is named where nothing else is known of the answer yet."""
        self._ingress = ingress
        self.state: State = "held"
        self.status = 0
        self._responder = responder
        self._request_id = (b"x-request-id", request_id.encode("ascii", "replace"))
        self._group = group
        self._settings = settings
        self._timers = timers
        self._timer: Timer | None = None
        self._beat: asyncio.Task[None] | None = None
        self._writing = False
        self._last = 0.0

    def watch(self) -> None:
        """From now on, silence is filled with keep-alives: the client has asked for a stream."""
        self._last = self._timers.time() + self._settings.open_seconds - self._settings.keep_alive_seconds
        self._timer = self._timers.after(self._settings.open_seconds, self._wake)

    async def settle(self) -> State:
        """Send no more keep-alives, and give how far it has come."""
        await self._quiet()
        self._stop_timer()
        return self.state

    async def close(self) -> None:
        """Stop keeping alive at once."""
        self._stop_timer()
        if self._beat is not None:
            self._beat.cancel()
            await asyncio.gather(self._beat, return_exceptions=True)

    # ---- a stream ----

    async def commit(self, block: Block, headers: Headers, data: bytes) -> None:
        """The first content of a stream: ``headers`` go out unless it was opened before, then ``data``."""
        await self._quiet()
        self._writing = True
        try:
            if self.state == "held":
                self.status = 200
                await self._responder.start(200, block, (self._request_id, *headers, *_STREAM))
            self.state = "committed"
            await self._responder.write(data)
        finally:
            self._written()

    async def write(self, data: bytes) -> None:
        """More of a committed answer; returns when more would be taken."""
        if self._beat is not None:
            await self._quiet()
        self._writing = True
        try:
            await self._responder.write(data)
        finally:
            self._written()

    @property
    def writable(self) -> bool:
        """Whether `push` may be called."""
        return self.state == "committed" and self._responder.writable

    def push(self, data: bytes) -> None:
        """More of a committed answer, at once."""
        self._responder.push(data)
        self._last = self._timers.time()

    async def finish(self, data: bytes = b"") -> None:
        """The end of a committed answer."""
        await self.settle()
        self.state = "ended"
        await self._responder.finish(data)

    async def abort(self) -> None:
        """The end of an answer that cannot say that it failed: the connection ends before the answer does."""
        await self.close()
        self.state = "ended"
        await self._responder.abort()

    # ---- a whole answer, or an error ----

    def answer(self, status: int, block: Block, headers: Headers, body: bytes) -> Coroutine[Any, Any, None]:
        """A whole answer, to be awaited; only while nothing is out."""
        if self._timer is not None or self._beat is not None:
            return self._settle_and_answer(status, block, headers, body)
        self.state = "ended"
        self.status = status
        return self._responder.answer(status, block, (self._request_id, *headers), body)

    async def _settle_and_answer(self, status: int, block: Block, headers: Headers, body: bytes) -> None:
        await self.settle()
        await self.answer(status, block, headers, body)

    async def start(self, status: int, block: Block, headers: Headers) -> None:
        """The head of a whole answer that is passed on as it comes; only while nothing is out."""
        await self.settle()
        self.state = "committed"
        self.status = status
        await self._responder.start(status, block, (self._request_id, *headers))

    async def refuse(
        self,
        status: int,
        block: Block,
        headers: Headers,
        error: GatewayError,
        body: bytes | None = None,
        *,
        content_type: bytes = _JSON,
        retry_after_seconds: float | None = None,
    ) -> None:
        """An error in the client's dialect: as an answer, or as the last event where the status is spent.

        Args:
            status: Of the answer.
            block: See `Responder`.
            headers: Likewise.
            error: What went wrong.
            body: The same, where it is written already.
            content_type: Of ``body``.
            retry_after_seconds: When trying again makes sense.
        """
        began = self.state == "committed"
        if await self.settle() != "held":
            await self.finish(self._event(error, began))
            return
        if body is None:
            body = self._ingress.render_error(error)
        own = [(b"content-type", content_type)]
        if retry_after_seconds is not None:
            own.append((b"retry-after", b"%d" % max(math.ceil(retry_after_seconds), 1)))
        await self.answer(status, block, (*headers, *own), body)

    async def fail(self, error: GatewayError, written: bytes | None = None) -> None:
        """The end of a committed stream that broke off: an explicit error, and no end of its own.

        Args:
            error: Why.
            written: It, by who has written the stream; None: nobody has.
        """
        await self.finish(self._event(error, True) if written is None else written)

    def _event(self, error: GatewayError, began: bool) -> bytes:
        event = self._ingress.error_event
        return self._ingress.render_error(error) if event is None else event(error, began)

    # ---- keeping alive ----

    def _wake(self) -> None:
        now = self._timers.time()
        due = self._last + self._settings.keep_alive_seconds
        if due > now:
            self._timer = self._timers.after(due - now, self._wake)
        elif self._writing:  # the client does not read: it has enough to do
            self._timer = self._timers.after(self._settings.keep_alive_seconds, self._wake)
        else:
            self._timer = None
            self._beat = self._timers.loop.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        try:
            if self.state == "held":
                self.state = "opened"
                self.status = 200
                block = Block(answered(self._group, ""))
                content_type = (b"content-type", self._ingress.stream_type)
                await self._responder.start(200, block, (self._request_id, content_type, *_STREAM))
            if self._ingress.keep_alive:
                await self._responder.write(self._ingress.keep_alive)
        except ClientGoneError:
            return  # whoever serves it finds out by itself
        self._last = self._timers.time()
        self._timer = self._timers.after(self._settings.keep_alive_seconds, self._wake)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _quiet(self) -> None:
        """Wait until no keep-alive is half written."""
        if self._beat is not None:
            await self._beat
            self._beat = None

    def _written(self) -> None:
        self._writing = False
        self._last = self._timers.time()
