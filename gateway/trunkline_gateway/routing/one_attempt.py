"""One attempt: send, look at what comes, and pass it on or say why not."""

import asyncio
import contextlib
from typing import Final

from trunkline_gateway import errors
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.dialects.openai_chat import response as openai_response
from trunkline_gateway.dialects.openai_chat.stream import AnswerStream
from trunkline_gateway.http import ClientGoneError, Headers
from trunkline_gateway.routing import failures, upstream_request
from trunkline_gateway.routing.call import Attempt, Call, Outcome, Result, Settings
from trunkline_gateway.routing.downstream import Downstream
from trunkline_gateway.routing.failures import Failure
from trunkline_gateway.routing.health import Health, Ticket
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.snapshot import UpstreamKey
from trunkline_gateway.secrecy import Scrubber
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Client, Response

MAX_ERROR_BYTES: Final = 256 * 1024
"""Of an error's body that is read; the rest is not waited for."""

ERROR_SECONDS: Final = 5.0
"""For an error's body: it must not hold up the next target."""

AFTER_DONE_SECONDS: Final = 1.0
"""For the end of the framing after ``[DONE]``, so that the connection can be used again."""

STREAM_TRUNCATED: Final = "stream_truncated"
UPSTREAM_REFUSED: Final = "upstream_refused"
"""Stands in the outcome for an error whose code is the upstream's own."""

_CODED: Final = "The upstream compressed its answer, although it was asked not to."
_JSON: Final = b"application/json"
_EVENT_STREAM: Final = b"text/event-stream"


class Serving:
    """What all attempts of one request have in common.

    Attributes:
        begun: When the request began, on the clock of ``timers``.
    """

    __slots__ = ("begun", "call", "client", "downstream", "health", "outcome", "settings", "timers")

    def __init__(
        self,
        call: Call,
        client: Client,
        health: Health,
        downstream: Downstream,
        settings: Settings,
        outcome: Outcome,
        timers: Timers,
    ) -> None:
        self.call = call
        self.client = client
        self.health = health
        self.downstream = downstream
        self.settings = settings
        self.outcome = outcome
        self.timers = timers
        self.begun = timers.time()


class OneAttempt:
    """One (target, key) pair. What it finds out goes into health and outcome."""

    __slots__ = (
        "_block",
        "_candidate",
        "_downstream",
        "_key",
        "_number",
        "_outcome",
        "_passes_on",
        "_result",
        "_scrubber",
        "_serving",
        "_status",
        "_target",
        "_ticket",
    )

    def __init__(self, serving: Serving, candidate: Candidate, key: UpstreamKey, ticket: Ticket) -> None:
        self._serving = serving
        self._downstream = serving.downstream
        self._outcome = serving.outcome
        self._candidate = candidate
        self._key = key
        self._ticket = ticket
        self._target = candidate.target.name
        self._block = candidate.target.answered
        self._number = len(serving.outcome.attempts) + 1
        self._result: Result = "cancelled"
        self._status = 0
        self._passes_on = False
        self._scrubber: Scrubber | None = None

    async def run(self) -> Failure | None:
        """Make it. None: the client has its answer, such as it is."""
        serving, candidate = self._serving, self._candidate
        begun = serving.timers.time()
        try:
            try:
                request = upstream_request.build(serving.call, candidate, self._key, serving.settings.timeouts)
                response = await serving.client.send(request)
                try:
                    status = self._status = response.status
                    if not 200 <= status < 300:
                        failure = await self._error(response)
                    elif _is_coded(response):
                        raise errors.UpstreamProtocolError(_CODED)
                    elif serving.call.request.stream and _is_event_stream(response):
                        failure = await self._stream(response)
                    else:
                        failure = await self._whole(response)
                finally:
                    await response.close()
            except errors.UpstreamError as error:
                failure = failures.of_exception(error, target=self._target)
            if failure is not None:
                self._result = failure.result
                failures.account(failure, self._ticket)
            return failure
        except (asyncio.CancelledError, ClientGoneError):
            self._result = "cancelled"
            raise
        finally:
            took = serving.timers.time() - begun
            attempt = Attempt(self._target, candidate.upstream.name, self._key.name, self._result, self._status, took)
            self._outcome.attempts.append(attempt)

    # ---- an error ----

    async def _error(self, response: Response) -> Failure | None:
        status = response.status
        kind = failures.kind_of(status)
        if kind == "answer":
            body = await _error_body(response)
            await self._refuse(status, body, content_type_of(response))
            return None
        body = b"" if kind in ("key", "redirect", "unknown") else await _error_body(response)
        wait = failures.retry_after(response.headers, wall_seconds=self._serving.health.wall())
        return self._failure(status, body, wait)

    def _failure(self, status: int, body: bytes, retry_after_seconds: float | None = None) -> Failure:
        said: bytes | None = None
        if openai_errors.has_error_shape(body):
            said = openai_errors.passed_on(body, self._scrub, status=status)
        elif body.strip():
            said = openai_errors.wrap(body.decode("utf-8", "replace"), self._scrub, status=status)
        return failures.of_status(status, target=self._target, body=said, retry_after_seconds=retry_after_seconds)

    async def _refuse(self, status: int, body: bytes, content_type: bytes) -> None:
        """The upstream's error is the answer."""
        said = openai_errors.passed_on(body, self._scrub, status=status)
        self._answers("refused")
        self._outcome.error = UPSTREAM_REFUSED
        if await self._downstream.settle() == "held":
            await self._downstream.answer(
                status, self._block, self._headers(content_type if said == body else _JSON), said
            )
        else:
            await self._downstream.finish(openai_errors.event_of(said))

    # ---- a whole answer ----

    async def _whole(self, response: Response) -> Failure | None:
        content_type = content_type_of(response)
        streaming = self._serving.call.request.stream
        # Who did not ask for a stream gets JSON, whatever the upstream calls it; its other answers are none.
        must_be_json = not streaming or b"json" in content_type or b"html" in content_type
        if not must_be_json:
            await self._flow(response, [])  # some other stream
            return None
        limit = self._serving.settings.max_whole_bytes
        held = [await response.read()]
        size = len(held[0])
        while size <= limit and (more := await response.read()):
            held.append(more)
            size += len(more)
        if size > limit:
            await self._flow(response, held)
            return None
        body = b"".join(held)
        whole = openai_response.read(body)
        if whole.error_status is not None:
            if failures.kind_of(whole.error_status) != "answer":
                return self._failure(whole.error_status, body)
            await self._refuse(response.status, body, content_type)
            return None
        if streaming:
            await self._can_start()
        self._answers("ok")
        self._outcome.usage = whole.usage
        await self._downstream.answer(response.status, self._block, self._headers(content_type), body)
        return None

    async def _flow(self, response: Response, held: list[bytes]) -> None:
        """Pass on as it comes what is too long to hold, or not known."""
        await self._can_start()
        self._answers("ok")
        await self._downstream.start(response.status, self._block, self._headers(content_type_of(response)))
        tail = b""
        held.reverse()
        try:
            while data := held.pop() if held else await response.read():
                tail = (tail + data[-openai_response.TAIL_BYTES :])[-openai_response.TAIL_BYTES :]
                await self._downstream.write(data)
        except errors.UpstreamError as error:
            self._break_off(error)
            await self._downstream.abort()
            return
        self._outcome.usage = openai_response.usage_at_end(tail)
        await self._downstream.finish()

    async def _can_start(self) -> None:
        """A streamed answer has been promised once it was opened."""
        if await self._downstream.settle() != "held":
            raise errors.UpstreamProtocolError("The upstream answered a request for a stream with something else.")

    # ---- a streamed answer ----

    async def _stream(self, response: Response) -> Failure | None:
        answer = AnswerStream(
            takes_out_usage=upstream_request.adds_usage(self._serving.call, self._candidate),
            scrub=self._scrub,
            max_held_bytes=self._serving.settings.max_held_bytes,
        )
        try:
            failure = await self._pass_on(response, answer)
            if failure is None and not answer.ended_well:
                raise errors.UpstreamProtocolError(failures.CUT)
        except errors.UpstreamError as error:
            if not self._passes_on:
                raise
            self._break_off(error)
            await self._downstream.fail(errors.UpstreamProtocolError(error.message, code=STREAM_TRUNCATED))
            return None
        finally:
            if self._passes_on:
                self._outcome.usage = answer.usage
                if answer.error is not None:
                    self._outcome.error = self._outcome.error or UPSTREAM_REFUSED
        if failure is None:
            await self._downstream.finish()
        return failure

    async def _pass_on(self, response: Response, answer: AnswerStream) -> Failure | None:
        """Until the end of the stream, or until it turns out to be a failure before it had content."""
        pump = _Pump(answer, self._downstream)
        while True:
            data = await response.read()
            passed = answer.receive_data(data) if data else answer.receive_eof()
            if answer.error is not None and not answer.committed:
                if failures.kind_of(answer.error.status) != "answer":
                    self._status = answer.error.status
                    return self._failure(answer.error.status, answer.error.body)
                passed = answer.commit()
            if passed or (answer.committed and not self._passes_on):
                await self._write(response, passed)
            if not data:
                return None
            if not answer.done and self._downstream.writable:
                await response.pump(pump.take)
                if pump.failure is not None:
                    raise pump.failure
            if answer.done:
                await self._after_done(response)
                return None

    async def _write(self, response: Response, data: bytes) -> None:
        if self._passes_on:
            await self._downstream.write(data)
            return
        self._answers("ok")
        self._outcome.streamed = True
        await self._downstream.commit(self._block, self._headers(content_type_of(response)), data)

    async def _after_done(self, response: Response) -> None:
        """Read to the end of the framing. Nobody waits for it, and nothing that goes wrong there matters."""
        with contextlib.suppress(TimeoutError, errors.UpstreamError):
            async with asyncio.timeout(AFTER_DONE_SECONDS):
                while data := await response.read():
                    await self._downstream.write(data)

    # ---- both ----

    def _scrub(self, text: str) -> str:
        if self._scrubber is None:
            upstream = self._candidate.upstream
            self._scrubber = Scrubber(upstream.secret_values, upstream.endpoint.base_url)
        return self._scrubber(text)

    def _answers(self, result: Result) -> None:
        """From here on this is the answer."""
        self._passes_on = True
        self._result = result
        self._ticket.succeeded()
        outcome = self._outcome
        outcome.target = self._target
        outcome.provider = self._candidate.upstream.provider
        outcome.ttft_seconds = self._serving.timers.time() - self._serving.begun

    def _break_off(self, error: errors.UpstreamError) -> None:
        """It broke after it had begun: nobody else can take over."""
        self._result = "truncated"
        self._outcome.truncated = True
        self._outcome.error = STREAM_TRUNCATED
        self._ticket.target_failed(error.status)

    def _headers(self, content_type: bytes) -> Headers:
        return (attempts_header(self._number), (b"content-type", content_type))


class _Pump:
    """Passes on what comes of a committed stream, in the very call that brings it.

    Attributes:
        failure: Why the stream cannot go on.
    """

    __slots__ = ("_answer", "_downstream", "failure")

    def __init__(self, answer: AnswerStream, downstream: Downstream) -> None:
        self._answer = answer
        self._downstream = downstream
        self.failure: errors.UpstreamError | None = None

    def take(self, data: bytes) -> bool:
        """Pass ``data`` on; whether more may come this way."""
        answer, downstream = self._answer, self._downstream
        try:
            passed = answer.receive_data(data)
        except errors.UpstreamError as failure:
            self.failure = failure
            return False
        if passed:
            downstream.push(passed)
        return not answer.done and downstream.writable


def attempts_header(attempts: int) -> tuple[bytes, bytes]:
    """How many it took."""
    return _ONE_ATTEMPT if attempts == 1 else (b"x-trunkline-attempts", b"%d" % attempts)


_ONE_ATTEMPT: Final = (b"x-trunkline-attempts", b"1")


def content_type_of(response: Response) -> bytes:
    """As the upstream says; JSON where it does not, or says it in bytes that are no text."""
    for name, value in response.headers:
        if name == b"content-type":
            return value if value.isascii() else _JSON
    return _JSON


def _is_event_stream(response: Response) -> bool:
    """Where nothing is said, what was asked for is assumed."""
    for name, value in response.headers:
        if name == b"content-type":
            return value.partition(b";")[0].strip().lower() == _EVENT_STREAM
    return True


def _is_coded(response: Response) -> bool:
    """Whether it is compressed, although `identity` was asked for: it could be neither checked nor passed on."""
    return any(name == b"content-encoding" and value.lower() != b"identity" for name, value in response.headers)


async def _error_body(response: Response) -> bytes:
    """What comes of an error's body in reasonable time and size."""
    body = bytearray()
    with contextlib.suppress(TimeoutError, errors.UpstreamError):
        async with asyncio.timeout(ERROR_SECONDS):
            while len(body) < MAX_ERROR_BYTES and (data := await response.read()):
                body += data
    return bytes(body[:MAX_ERROR_BYTES])
