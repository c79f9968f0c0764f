"""One connection to an upstream: writes a request, reads its answer, and knows when it may serve another.

- Only a request that got *no* byte of an answer on a connection that served before is sent again.
- Bytes on an idle connection close it: they would be taken for the answer to the next request.
- A body that is ended by the connection's end is cut if that was a reset, or a TLS end without close-notify.
- Whatever cannot be used again is aborted, never flushed: a stalled peer could keep a half-sent request for ever.
- One deadline is remembered and looked at when its timer fires; a request or a chunk sets no timer of its own.
"""

import asyncio
import random
from ssl import SSLError
from typing import TYPE_CHECKING, Final, cast

from trunkline_gateway import errors
from trunkline_gateway.outbox import Outbox
from trunkline_gateway.timers import Timer, Timers
from trunkline_gateway.upstream.client import Timeouts
from trunkline_gateway.upstream.http1 import failures
from trunkline_gateway.upstream.http1.answer import MAX_BUFFERED_BYTES, Answer
from trunkline_gateway.upstream.http1.parse import FramingError, ResponseParser

if TYPE_CHECKING:
    from trunkline_gateway.upstream.http1.pool import Pool

_MAX_WHOLE_WRITE_BYTES: Final = 64 * 1024
_WRITE_BYTES: Final = 256 * 1024


class Connection(asyncio.Protocol):
    """One at a time: `send`, then the answer until it has ended or was abandoned.

    Attributes:
        expires: From when it serves no other request, in the loop's time.
        idle_since: When its last answer ended, in the loop's time.
    """

    __slots__ = (
        "_answer",
        "_close_notify",
        "_head_due",
        "_last_seen",
        "_loop",
        "_outbox",
        "_parser",
        "_paused",
        "_pool",
        "_reused",
        "_sent_at",
        "_timer",
        "_timer_at",
        "_timers",
        "_tls",
        "_transport",
        "_unsent",
        "_writable",
        "expires",
        "idle_since",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, timers: Timers, outbox: Outbox, pool: "Pool", *, max_age_seconds: float
    ) -> None:
        # Spread, so that connections opened together are not all replaced together.
        self.expires = loop.time() + max_age_seconds * random.uniform(0.9, 1.1)  # noqa: S311  not a secret
        self.idle_since = 0.0
        self._loop = loop
        self._timers = timers
        self._outbox = outbox
        self._pool = pool
        self._parser = ResponseParser()
        self._transport: asyncio.Transport | None = None  # None: not there yet, or gone
        self._tls = False
        self._close_notify = False
        self._answer: Answer | None = None
        self._reused = False
        self._sent_at = -1
        self._unsent: memoryview | None = None
        self._writable = True
        self._paused = False
        self._head_due = 0.0
        self._last_seen = 0.0
        self._timer: Timer | None = None
        self._timer_at = 0.0

    def send(self, head: bytes, body: bytes | None, timeouts: Timeouts) -> Answer:
        """Write a request; what becomes of it is told by the answer.

        Args:
            head: Request line and headers but for ``content-length``, each line ended; not the empty line.
            body: None: none, and no length.
            timeouts: ``first_byte`` begins now.
        """
        answer = self._answer = Answer(self._loop, self, timeouts)
        transport = self._transport
        if transport is None:
            self._answer = None
            answer.fail(failures.lost(None, received=False, in_body=False, reused=self._reused))
            return answer
        self._parser.begin()
        self._sent_at = self._outbox.flushed
        self._expect_within(timeouts.first_byte)
        self._head_due = self._last_seen + timeouts.first_byte
        if body is None:
            self._outbox.write(transport, head + b"\r\n")
        elif len(body) <= _MAX_WHOLE_WRITE_BYTES:
            self._outbox.write(transport, b"".join((head, b"content-length: %d\r\n\r\n" % len(body), body)))
        else:
            self._outbox.flush()
            transport.write(b"%bcontent-length: %d\r\n\r\n" % (head, len(body)))
            self._unsent = memoryview(body)
            self._write_on()
        return answer

    def resume_reading(self) -> None:
        """The reader has made room; until now the upstream's silence was ours."""
        if self._paused and self._transport is not None:
            self._paused = False
            self._last_seen = self._loop.time()
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close the socket now. An answer that was not complete fails."""
        transport = self._transport
        self._lose(None)
        if transport is not None:
            transport.abort()

    # What follows is called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there, TLS included."""
        self._transport = cast(asyncio.Transport, transport)
        self._tls = transport.get_extra_info("sslcontext") is not None

    def data_received(self, data: bytes) -> None:
        """Read on; a small answer is whole after this."""
        answer = self._answer
        if answer is None or self._sent_at == self._outbox.flushed:
            # Nothing was asked, or not yet: whatever this is, it is no answer. Who waits for one asks elsewhere.
            self.abort()
            return
        self._last_seen = self._loop.time()
        parser = self._parser
        broken = None
        try:
            parser.feed(data)
        except FramingError as failure:
            broken = failure
        if parser.pieces:
            answer.push(parser.pieces)
        if parser.status and not answer.status:
            answer.begin(parser.status, parser.headers)
            if not parser.complete:
                self._expect_within(answer.timeouts.stream_idle)
        if parser.complete:
            self._end(answer)
        elif broken is not None:
            self._fail(failures.framing(broken, in_body=parser.status != 0))
        elif answer.buffered_bytes > MAX_BUFFERED_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
            answer.tell()

    def eof_received(self) -> None:
        """The upstream will send no more."""
        if self._tls:
            self._close_notify = self._received_close_notify()
        # Now, not when the transport has flushed what nobody will read.
        transport = self._transport
        self.connection_lost(None)
        if transport is not None:
            transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Both directions are gone."""
        clean = exc is None and (self._close_notify or not self._tls)
        answer = self._answer
        if answer is not None and self._parser.until_eof and clean:
            self._answer = None
            answer.end()
        self._lose(exc)

    def pause_writing(self) -> None:
        """The transport holds enough of the request."""
        self._writable = False

    def resume_writing(self) -> None:
        """It has room again."""
        self._writable = True
        self._write_on()

    def _write_on(self) -> None:
        """Write as much of a large body as the transport takes without piling it up."""
        while self._writable and self._unsent is not None and self._transport is not None:
            part, rest = self._unsent[:_WRITE_BYTES], self._unsent[_WRITE_BYTES:]
            self._unsent = rest if rest else None
            self._transport.write(part)

    def _end(self, answer: Answer) -> None:
        """The answer is complete: to the pool, even before it is read."""
        self._answer = None
        transport = self._transport
        if transport is not None:
            if self._paused:
                self._paused = False
                transport.resume_reading()
            self._reused = True
            self.idle_since = self._last_seen
            # An answer to half a request leaves the other half on the wire.
            whole = self._parser.keep_alive and self._unsent is None and not transport.get_write_buffer_size()
            if not whole or not self._pool.give_back(self):
                self.abort()
        answer.end()

    def _fail(self, failure: errors.UpstreamError) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.fail(failure)
        self.abort()

    def _lose(self, how: BaseException | None) -> None:
        """The connection is of no use any more; whoever waits for an answer is told."""
        if self._transport is None:
            return
        self._transport = None
        self._unsent = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pool.forget(self)
        answer, self._answer = self._answer, None
        if answer is not None:
            parser = self._parser
            answer.fail(failures.lost(how, received=parser.received, in_body=parser.status != 0, reused=self._reused))
        del self._parser  # it and its callbacks refer to each other

    def _received_close_notify(self) -> bool:
        """Whether TLS was ended by the upstream, and not only TCP.

        uvloop does not call `eof_received` for the latter, asyncio does. The TLS object knows: all that was sent has
        been read from it, so that one more read finds the close-notify, or would have to wait.
        """
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        if tls is None:
            return False
        try:
            return bool(tls.read(1) == b"")
        except SSLError:
            return False

    def _expect_within(self, seconds: float) -> None:
        """See to it that `_look` runs by then."""
        now = self._last_seen = self._loop.time()
        if self._timer is None or now + seconds < self._timer_at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = now + seconds
            self._timer = self._timers.after(seconds, self._look)

    def _look(self) -> None:
        """Whether the upstream has been silent for too long."""
        self._timer = None
        answer = self._answer
        if answer is None:
            return
        in_body = self._parser.status != 0
        if in_body and self._paused:
            due = self._loop.time() + answer.timeouts.stream_idle
        else:
            due = self._last_seen + answer.timeouts.stream_idle if in_body else self._head_due
        left = due - self._loop.time()
        if left > 0:
            self._timer_at = due
            self._timer = self._timers.after(left, self._look)
        else:
            self._fail(errors.UpstreamTimeoutError(failures.IDLE if in_body else failures.TOO_LONG_TO_BEGIN))
