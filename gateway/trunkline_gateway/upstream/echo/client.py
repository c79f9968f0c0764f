"""The provider `echo` as a `Client`: no socket, the same contract."""

import asyncio
from collections.abc import Callable, Iterator
from math import ceil

from trunkline_gateway import errors
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream.client import Request, Timeouts
from trunkline_gateway.upstream.echo import behaviour, chat, embeddings, script, wire

_LATE_HEAD = "The upstream took too long to begin its answer."
_SILENT = "The upstream stopped sending in the middle of its answer."
_CUT = "The upstream's answer was cut short."

_ERRORS = {
    400: ("This request is always refused.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    429: ("Rate limit reached.", "requests", "rate_limit_exceeded"),
}
_ANY_4XX = ("This request always fails.", "invalid_request_error", None)
_ANY_5XX = ("The server had an error while processing your request.", "server_error", None)


class EchoClient:
    """`Client` for endpoints that are ``in_process``; keeps nothing between requests."""

    def __init__(self, *, clock: Callable[[], float], chunk_delay_seconds: float = 0.0) -> None:
        """Make one.

        Args:
            clock: Seconds since the epoch, for ``created``.
            chunk_delay_seconds: Between words, for models whose name does not say.
        """
        self._clock = clock
        self._chunk_delay_seconds = chunk_delay_seconds

    async def send(self, request: Request) -> "EchoResponse":
        """See `Client.send`; raises UpstreamTimeoutError only, and after ``first_byte`` as a silent upstream would."""
        try:
            answer = self._answer(request)
        except wire.RefusedError as refused:
            answer = script.Answer(refused.status, iter([refused.body()]))
        first_byte = request.timeouts.first_byte
        await asyncio.sleep(min(answer.head_delay_seconds, first_byte))
        if answer.head_delay_seconds > first_byte:
            raise errors.UpstreamTimeoutError(_LATE_HEAD)
        return EchoResponse(answer, request.timeouts)

    async def close(self) -> None:
        """Nothing to close."""

    def _answer(self, request: Request) -> script.Answer:
        path = request.head.path.partition("?")[0]
        if path not in ("/chat/completions", "/embeddings"):
            raise wire.RefusedError("Unknown request URL.", status=404, code="unknown_url")
        if request.body is None:
            raise wire.RefusedError("Not allowed to GET on this path.", status=405, code="method_not_allowed")
        if path == "/embeddings":
            embedding = wire.decode(request.body, wire.EmbeddingRequest)
            how = self._behaviour(embedding.model)
            return _failing(how) or embeddings.answer(embedding, how)
        asked = wire.decode(request.body, wire.ChatRequest)
        how = self._behaviour(asked.model)
        return _failing(how) or chat.answer(request.body, asked, how, created=int(self._clock()))

    def _behaviour(self, model: str) -> behaviour.Behaviour:
        return behaviour.of_model(model, chunk_delay_seconds=self._chunk_delay_seconds)


def _failing(how: behaviour.Behaviour) -> script.Answer | None:
    """The answer of a model that never gives a right one."""
    if how.fault == "hang":
        return script.Answer(200, iter(()), head_delay_seconds=float("inf"))
    if how.fault != "error":
        return None
    message, kind, code = _ERRORS.get(how.status, _ANY_4XX if how.status < 500 else _ANY_5XX)
    refused = wire.RefusedError(message, status=how.status, type=kind, code=code)
    headers = [(b"retry-after", b"%d" % ceil(how.retry_after_seconds))] if how.status == 429 else []
    return script.Answer(how.status, iter([refused.body()]), headers=headers)


class EchoResponse:
    """`Response` of `echo`: plays a script."""

    __slots__ = ("_closed", "_failure", "_steps", "_stream_idle", "headers", "status")

    def __init__(self, answer: script.Answer, timeouts: Timeouts) -> None:
        self.status = answer.status
        self.headers: Headers = [(b"content-type", answer.content_type), *answer.headers]
        self._steps: Iterator[script.Step] = answer.steps
        self._stream_idle = timeouts.stream_idle
        self._closed = asyncio.Event()
        self._failure: errors.UpstreamError | None = None

    async def read(self) -> bytes:
        """See `Response.read`. Lets other tasks run each time, as a socket would."""
        if self._failure is not None:
            raise self._failure
        await asyncio.sleep(0)
        if self._closed.is_set():
            raise self._fail(errors.UpstreamProtocolError(_CUT))
        for step in self._steps:
            if isinstance(step, bytes):
                return step
            if isinstance(step, script.Lost):
                raise self._fail(errors.UpstreamProtocolError(_CUT))
            if step > 0:
                await self._wait(step)
        return b""

    async def pump(self, sink: Callable[[bytes], bool]) -> None:
        """See `Response.pump`: nothing can be pumped."""

    async def close(self) -> None:
        """See `Response.close`; a read that waits ends with an error."""
        self._closed.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, self._stream_idle)):
                await self._closed.wait()
        except TimeoutError:
            if seconds > self._stream_idle:
                raise self._fail(errors.UpstreamTimeoutError(_SILENT)) from None
        else:
            raise self._fail(errors.UpstreamProtocolError(_CUT))

    def _fail(self, failure: errors.UpstreamError) -> errors.UpstreamError:
        self._failure = failure
        return failure
