"""One attempt: send, look at what comes, and pass it on or say why not."""

import asyncio
import contextlib
from typing import Final

from trunkline_gateway import aside, errors, exchange, translation
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.dialects.openai_chat import response as openai_response
from trunkline_gateway.dialects.openai_chat import stream as openai_stream
from trunkline_gateway.http import ClientGoneError, Headers
from trunkline_gateway.routing import answer_headers, failures, responses, upstream_request, whole
from trunkline_gateway.routing.call import Attempt, Call, Outcome, Result, Settings
from trunkline_gateway.routing.downstream import Downstream
from trunkline_gateway.routing.failures import Failure
from trunkline_gateway.routing.health import Health, Ticket
from trunkline_gateway.routing.plan import Candidate
from trunkline_gateway.routing.snapshot import UpstreamKey
from trunkline_gateway.routing.upstream_request import Neutral, Prepared
from trunkline_gateway.secrecy import Scrubber
from trunkline_gateway.timers import Timers
from trunkline_gateway.translation import AnswerStream
from trunkline_gateway.upstream.client import Client, Response

AFTER_DONE_SECONDS: Final = 1.0
"""For the end of the framing after ``[DONE]``, so that the connection can be used again."""

STREAM_TRUNCATED: Final = "stream_truncated"
UPSTREAM_REFUSED: Final = "upstream_refused"
"""Stands in the outcome for an error whose code is the upstream's own."""

MAX_TRANSLATED_BYTES: Final = 64 << 20
"""Of a whole answer that has to be held to be translated."""

_CODED: Final = "The upstream compressed its answer, although it was asked not to."
_JSON: Final = b"application/json"
_NO_STREAM: Final = "The upstream streams what cannot be streamed."
_STREAMS: Final = {"sse": b"text/event-stream", "aws": b"application/vnd.amazon.eventstream"}


class Serving:
    """What all attempts of one request have in common.

    Attributes:
        begun: When the request began, on the clock of ``timers``.
        neutral: The request, for targets that speak another dialect than the client.
    """

    __slots__ = ("begun", "call", "client", "downstream", "health", "neutral", "outcome", "settings", "timers")

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
        self.neutral = Neutral(call)


class OneAttempt:
    """One (target, key) pair. What it finds out goes into health and outcome."""

    __slots__ = (
        "_block",
        "_candidate",
        "_downstream",
        "_key",
        "_lost",
        "_number",
        "_outcome",
        "_passes_on",
        "_prepared",
        "_result",
        "_scrubber",
        "_serving",
        "_status",
        "_target",
        "_ticket",
    )

    def __init__(
        self, serving: Serving, candidate: Candidate, key: UpstreamKey, ticket: Ticket, prepared: Prepared
    ) -> None:
        self._serving = serving
        self._downstream = serving.downstream
        self._outcome = serving.outcome
        self._candidate = candidate
        self._key = key
        self._ticket = ticket
        self._prepared = prepared
        self._lost = prepared.lost
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
        stream = serving.call.request.stream
        begun = serving.timers.time()
        try:
            try:
                request = upstream_request.build(
                    self._prepared, candidate, self._key, stream, serving.settings.timeouts
                )
                response = await serving.client.send(request)
                try:
                    status = self._status = response.status
                    if not 200 <= status < 300:
                        failure = await self._error(response)
                    elif responses.is_coded(response):
                        raise errors.UpstreamProtocolError(_CODED)
                    elif stream and responses.is_event_stream(response, _STREAMS[candidate.side.framing]):
                        failure = await self._stream(response)
                    elif self._prepared.native:
                        failure = await self._whole(response)
                    else:
                        failure = await self._translated(response)
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
            body = await responses.error_body(response)
            meant = self._candidate.side.read_error(status, body).status
            if failures.kind_of(meant) != "answer":  # Google says 400 of a key that it does not know
                return self._failure(meant, body)
            if self._is_about_seals(status, body):
                return failures.about_seals(self._said(status, body)[0], target=self._target)
            await self._refuse(status, body, responses.content_type_of(response))
            return None
        body = b"" if kind in ("key", "redirect", "unknown") else await responses.error_body(response)
        wait = failures.retry_after(response.headers, wall_seconds=self._serving.health.wall())
        return self._failure(status, body, wait)

    def _failure(self, status: int, body: bytes, retry_after_seconds: float | None = None) -> Failure:
        if not body.strip():
            return failures.of_status(status, target=self._target, retry_after_seconds=retry_after_seconds)
        error, said = self._said(status, body)
        return failures.of_status(
            status, target=self._target, said=error, body=said, retry_after_seconds=retry_after_seconds
        )

    def _said(self, status: int, body: bytes) -> tuple[errors.GatewayError, bytes | None]:
        """An upstream's own words, clean: as an error, and as they are where they can be passed on."""
        error = translation.in_its_words(self._candidate.side.read_error(status, body), self._scrub)
        error.status = status
        if not self._prepared.native:
            return error, None
        if openai_errors.has_error_shape(body):
            return error, openai_errors.passed_on(body, self._scrub, status=status)
        if self._candidate.dialect in whole.OPENAI:
            return error, openai_errors.wrap(error.message, self._scrub, status=status)
        return error, None

    def _is_about_seals(self, status: int, body: bytes) -> bool:
        """Whether the upstream cannot read the signed or encrypted reasoning of another account or maker."""
        return (
            status == 400
            and not self._serving.neutral.unsealed
            and failures.mentions_seals(body)
            and self._serving.neutral.has_seals()
        )

    async def _refuse(self, status: int, body: bytes, content_type: bytes) -> None:
        """The upstream's error is the answer."""
        error, said = self._said(status, body)
        self._answers("refused")
        self._outcome.error = UPSTREAM_REFUSED
        await self._downstream.refuse(
            status,
            self._block,
            self._headers(),
            error,
            said,
            content_type=content_type if said == body else _JSON,
        )

    # ---- a whole answer ----

    async def _whole(self, response: Response) -> Failure | None:
        content_type = responses.content_type_of(response)
        streaming = self._serving.call.request.stream
        # Who did not ask for a stream gets JSON, whatever the upstream calls it; its other answers are none.
        must_be_json = not streaming or b"json" in content_type or b"html" in content_type
        if not must_be_json:
            await self._flow(response, [])  # some other stream
            return None
        held, size = await responses.read_whole(response, self._serving.settings.max_whole_bytes)
        if size > self._serving.settings.max_whole_bytes:
            await self._flow(response, held)
            return None
        body = b"".join(held)
        came = await self._read(body)
        if came.error_status is not None:
            return await self._failed_with(came.error_status, response.status, body, content_type)
        if streaming:
            if isinstance(came.answer, exchange.Answer) and (neutral := self._serving.neutral.if_read()) is not None:
                await self._replay(came.answer, came.usage, neutral)
                return None
            await self._can_start()
        self._answers("ok")
        self._outcome.usage = came.usage
        await self._downstream.answer(response.status, self._block, self._headers(content_type), body)
        return None

    async def _read(self, body: bytes) -> whole.Whole:
        prepared, candidate, ingress = self._prepared, self._candidate, self._serving.call.ingress
        if len(body) <= aside.AT_ONCE_BYTES:
            return whole.read(body, prepared, candidate, ingress)
        return await aside.run(lambda: whole.read(body, prepared, candidate, ingress))

    async def _failed_with(self, status: int, http_status: int, body: bytes, content_type: bytes) -> Failure | None:
        """An error that came with a status of success; for a client of the same dialect it stays what it is."""
        if failures.kind_of(status) != "answer":
            return self._failure(status, body)
        await self._refuse(http_status if self._prepared.native else status, body, content_type)
        return None

    async def _translated(self, response: Response) -> Failure | None:
        held, size = await responses.read_whole(response, MAX_TRANSLATED_BYTES)
        if size > MAX_TRANSLATED_BYTES:
            raise errors.UpstreamProtocolError(f"The upstream's answer is over {MAX_TRANSLATED_BYTES} bytes.")
        body = b"".join(held)
        came = await self._read(body)
        if came.error_status is not None:
            return await self._failed_with(came.error_status, came.error_status, body, _JSON)
        self._lost = came.lost
        if isinstance(came.answer, exchange.Answer) and self._serving.call.request.stream:
            await self._replay(came.answer, came.usage, self._prepared.neutral)
            return None
        self._answers("ok")
        self._outcome.usage = came.usage
        await self._downstream.answer(200, self._block, self._headers(_JSON), came.body)
        return None

    async def _replay(
        self, answer: exchange.Answer, usage: exchange.Usage | None, neutral: exchange.Request | None
    ) -> None:
        """The whole answer of an upstream that was asked for a stream, as the stream that the client waits for."""
        stream = self._translated_stream(neutral)
        passed = stream.replay(answer)
        self._lost = (*self._lost, *stream.lost)
        self._answers("ok")
        self._outcome.streamed = True
        self._outcome.usage = usage
        await self._downstream.commit(self._block, self._headers(self._serving.call.ingress.stream_type), passed)
        await self._downstream.finish()

    async def _flow(self, response: Response, held: list[bytes]) -> None:
        """Pass on as it comes what is too long to hold, or not known."""
        await self._can_start()
        self._answers("ok")
        await self._downstream.start(response.status, self._block, self._headers(responses.content_type_of(response)))
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
        usage_at_end = self._candidate.side.usage_at_end or openai_response.usage_at_end
        self._outcome.usage = usage_at_end(tail)
        await self._downstream.finish()

    async def _can_start(self) -> None:
        """A streamed answer has been promised once it was opened."""
        if await self._downstream.settle() != "held":
            raise errors.UpstreamProtocolError("The upstream answered a request for a stream with something else.")

    # ---- a streamed answer ----

    async def _stream(self, response: Response) -> Failure | None:
        answer = self._answer_stream()
        try:
            failure = await self._pass_on(response, answer)
            if failure is None and self._downstream.state != "ended" and not answer.ended_well:
                raise errors.UpstreamProtocolError(failures.CUT)
        except errors.UpstreamError as error:
            if not self._passes_on:
                raise
            self._break_off(error)
            cut = errors.UpstreamProtocolError(error.message, code=STREAM_TRUNCATED)
            await self._downstream.fail(cut, answer.fail(cut) if isinstance(answer, translation.Translated) else None)
            return None
        finally:
            if self._passes_on:
                self._outcome.usage = answer.usage
                if isinstance(answer, translation.Translated):
                    self._outcome.lost = (*self._lost, *answer.lost)
                if answer.error is not None:
                    self._outcome.error = self._outcome.error or UPSTREAM_REFUSED
        if failure is None and self._downstream.state != "ended":
            await self._downstream.finish()
        return failure

    def _answer_stream(self) -> AnswerStream:
        prepared, settings = self._prepared, self._serving.settings
        if not prepared.native:
            return self._translated_stream(prepared.neutral)
        if prepared.asked is None:
            return openai_stream.AnswerStream(
                takes_out_usage=prepared.adds_usage, scrub=self._scrub, max_held_bytes=settings.max_held_bytes
            )
        decoder = self._candidate.side.stream_decoder
        if decoder is None:
            raise errors.UpstreamProtocolError(_NO_STREAM)
        return translation.Passed(
            decoder(prepared.asked),
            self._serving.call.ingress,
            scrub=self._scrub,
            max_held_bytes=settings.max_held_bytes,
        )

    def _translated_stream(self, neutral: exchange.Request | None) -> translation.Translated:
        asked, ingress, side = self._prepared.asked, self._serving.call.ingress, self._candidate.side
        if (
            side.stream_decoder is None
            or ingress.stream_encoder is None
            or asked is None
            or not isinstance(neutral, exchange.ChatRequest)
        ):
            raise errors.UpstreamProtocolError(_NO_STREAM)
        return translation.Translated(
            side,
            side.stream_decoder(asked),
            ingress,
            ingress.stream_encoder(neutral),
            scrub=self._scrub,
            max_held_bytes=self._serving.settings.max_held_bytes,
            new_id=asked.new_id(0, ""),
        )

    async def _pass_on(self, response: Response, answer: AnswerStream) -> Failure | None:
        """Until the end of the stream, or until it turns out to be a failure before it had content."""
        pump = _Pump(answer, self._downstream)
        while True:
            data = await response.read()
            passed = answer.receive_data(data) if data else answer.receive_eof()
            if answer.error is not None and not answer.committed:
                if failures.kind_of(answer.error.status) != "answer":
                    self._status = answer.error.status
                    return self._failed_in_stream(answer.error)
                if not isinstance(answer, openai_stream.AnswerStream):
                    await self._refuse_in_stream(answer.error)
                    return None
                passed = answer.commit()
            if passed or (answer.committed and not self._passes_on):
                await self._write(response, passed)
            if not data:
                return None
            if not answer.done and self._downstream.writable:
                await response.pump(pump.take)
                if pump.failure is not None:
                    raise pump.failure
            if answer.done or (answer.error is not None and not self._prepared.native):
                await self._after_done(response)
                return None

    def _failed_in_stream(self, error: translation.AnswerError) -> Failure:
        if isinstance(error, openai_stream.StreamError):
            return self._failure(error.status, error.body)
        return failures.of_status(error.status, target=self._target, said=error.error)

    async def _refuse_in_stream(self, error: translation.AnswerError) -> None:
        """The upstream's error is the answer, and nothing is out yet: it gets the status that it stands for."""
        assert isinstance(error, translation.StreamError)  # noqa: S101
        self._answers("refused")
        self._outcome.error = UPSTREAM_REFUSED
        await self._downstream.refuse(error.status, self._block, self._headers(), error.error)

    async def _write(self, response: Response, data: bytes) -> None:
        if self._passes_on:
            await self._downstream.write(data)
            return
        self._answers("ok")
        self._outcome.streamed = True
        native = self._prepared.native
        content_type = responses.content_type_of(response) if native else self._serving.call.ingress.stream_type
        await self._downstream.commit(self._block, self._headers(content_type), data)

    async def _after_done(self, response: Response) -> None:
        """Read to the end of the framing. Nobody waits for it, and nothing that goes wrong there matters."""
        with contextlib.suppress(TimeoutError, errors.UpstreamError):
            async with asyncio.timeout(AFTER_DONE_SECONDS):
                while data := await response.read():
                    if self._prepared.native:
                        await self._downstream.write(data)

    # ---- both ----

    def _scrub(self, text: str) -> str:
        if self._scrubber is None:
            upstream = self._candidate.upstream
            endpoint = self._key.heads[self._candidate.kinds[self._serving.call.request.stream]].endpoint
            self._scrubber = Scrubber(upstream.secret_values, endpoint.base_url)
        return self._scrubber(text)

    def _answers(self, result: Result) -> None:
        """From here on this is the answer."""
        self._passes_on = True
        self._result = result
        self._ticket.succeeded()
        outcome = self._outcome
        outcome.target = self._target
        outcome.provider = self._candidate.upstream.provider
        outcome.upstream_dialect = self._candidate.dialect
        outcome.lost = self._lost
        outcome.ttft_seconds = self._serving.timers.time() - self._serving.begun

    def _break_off(self, error: errors.UpstreamError) -> None:
        """It broke after it had begun: nobody else can take over."""
        self._result = "truncated"
        self._outcome.truncated = True
        self._outcome.error = STREAM_TRUNCATED
        self._ticket.target_failed(error.status)

    def _headers(self, content_type: bytes = b"") -> Headers:
        own: Headers = (answer_headers.attempts(self._number),)
        if content_type:
            own = (*own, (b"content-type", content_type))
        return (*own, *answer_headers.lossy(self._lost, self._serving.call, self._candidate)) if self._lost else own


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
