"""A streamed answer on its way to the client: what may be passed on and when, how it ended, and what it took. Pure.

Held: lifecycle events, empty deltas and seals wait, because another target may still answer. Committed: from the first
content on, all is passed on as it comes. Two kinds, one interface (`AnswerStream`, which `dialects.openai_chat.stream`
has, too):

- `Translated`: the upstream's frames are decoded into the exchange, and written in the client's dialect.
- `Passed`: the client speaks the upstream's dialect and gets its very bytes; decoding them only tells what they mean.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import msgspec

from trunkline_gateway import aws, exchange, secrecy, sse
from trunkline_gateway.dialect import Failing, Frame, Ingress, StreamDecoder, StreamEncoder, Upstream, UpstreamError
from trunkline_gateway.dialects.openai_chat import stream as openai_stream
from trunkline_gateway.errors import GatewayError, UpstreamProtocolError, UpstreamStatusError

MAX_HELD_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class StreamError:
    """An error that came as an event.

    Attributes:
        status: What it would have been as an answer of its own.
        error: It, clean.
    """

    status: int
    error: GatewayError


class AnswerStream(Protocol):
    """Bytes of the upstream in, bytes for the client out.

    Attributes:
        committed: Content has come; what was held has been given out.
        error: The first error event; before `committed` it is for the caller to decide whether it is the answer.
        done: Nothing of the answer follows.
        ended_well: Whether an end now is the end of the answer, given that the framing ended as well.
        usage: The last counts that came.
    """

    @property
    def committed(self) -> bool:
        """See above."""
        ...

    @property
    def error(self) -> "AnswerError | None":
        """See above."""
        ...

    @property
    def done(self) -> bool:
        """See above."""
        ...

    @property
    def ended_well(self) -> bool:
        """See above."""
        ...

    @property
    def usage(self) -> exchange.Usage | None:
        """See above."""
        ...

    def receive_data(self, data: bytes) -> bytes:
        """Take what came; give what may be passed on now, which is nothing while it is held.

        Raises:
            UpstreamProtocolError: Not the dialect, before content came; or an event without end.
        """
        ...

    def receive_eof(self) -> bytes:
        """The end has come; give what is left."""
        ...

    def commit(self) -> bytes:
        """Hold no longer; give what was held."""
        ...


AnswerError: TypeAlias = StreamError | openai_stream.StreamError
"""The error of either kind of stream."""


Scrub: TypeAlias = Callable[[str], str]
"""Takes out of a text what must not leave; see `secrecy.Scrubber`."""


_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def in_its_words(said: UpstreamError, scrub: Scrub) -> UpstreamStatusError:
    """An upstream's error as one of ours: its message, cut and clean; its type by its status; its own word the code."""
    status = said.status if 400 <= said.status < 600 else 502
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
    return UpstreamStatusError(
        secrecy.cut(scrub(said.message)) or f"The upstream answered with status {status}.",
        status=status,
        type=kind,
        code=secrecy.cut(scrub(said.code or said.type), _MAX_WORD_BYTES) or None,
        param=None if said.param is None else secrecy.cut(scrub(said.param), _MAX_WORD_BYTES),
    )


_MAX_WORD_BYTES: Final = 128


class _Answer:
    """What both kinds have in common: the commit, and what was seen.

    Args:
        decoder: Of the upstream's dialect.
        ingress: The client's.
        scrub: Cleans the text of errors.
        max_held_bytes: With more than that held it is committed, content or not.
    """

    def __init__(
        self, decoder: StreamDecoder, ingress: Ingress, *, scrub: Scrub, max_held_bytes: int = MAX_HELD_BYTES
    ) -> None:
        self.committed = False
        self.done = False
        self.error: StreamError | None = None
        self.usage: exchange.Usage | None = None
        self._decoder = decoder
        self._ingress = ingress
        self._scrub = scrub
        self._max_held_bytes = max_held_bytes
        self._held: list[bytes] = []
        self._held_bytes = 0

    @property
    def ended_well(self) -> bool:
        return self.done or self.error is not None

    def commit(self) -> bytes:
        self.committed = True
        held, self._held, self._held_bytes = b"".join(self._held), [], 0
        return held

    def _give(self, written: bytes, content: bool) -> bytes:
        """Pass ``written`` on, or hold it."""
        if self.committed:
            return written
        self._held.append(written)
        self._held_bytes += len(written)
        if content or self.done or self._held_bytes > self._max_held_bytes:
            return self.commit()
        return b""

    def _decode(self, frame: Frame) -> Sequence[exchange.Event]:
        """The events of a frame; what cannot be read is skipped once content has come."""
        try:
            return self._decoder.receive(frame)
        except UpstreamProtocolError:
            if self.committed:
                return ()
            raise

    def _note(self, events: Sequence[exchange.Event]) -> bool:
        """Take in what they say; whether there is content among them."""
        content = False
        for event in events:
            kind = type(event)
            if kind in _DELTAS:
                content = content or bool(event.text)  # type: ignore[union-attr]  # all of them have it
            elif kind is exchange.UsageReport:
                self.usage = event.usage  # type: ignore[union-attr]
            elif kind is exchange.End:
                self.done = True
            elif kind is exchange.Failed:
                self._fail(event)  # type: ignore[arg-type]
            elif kind is exchange.Start:
                self.usage = event.usage or self.usage  # type: ignore[union-attr]
            elif not content:
                content = _is_content(event)
        return content

    def _fail(self, failed: exchange.Failed) -> None:
        if self.error is None:
            self.error = StreamError(failed.status, self._as_error(failed))

    def _as_error(self, failed: exchange.Failed) -> GatewayError:
        said = UpstreamError(
            status=failed.status, message=failed.message, type=failed.type, code=failed.code, param=failed.param
        )
        return in_its_words(said, self._scrub)


class Translated(_Answer):
    """See the module."""

    def __init__(
        self,
        upstream: Upstream,
        decoder: StreamDecoder,
        ingress: Ingress,
        encoder: StreamEncoder,
        *,
        scrub: Scrub,
        max_held_bytes: int = MAX_HELD_BYTES,
        new_id: str = "",
    ) -> None:
        super().__init__(decoder, ingress, scrub=scrub, max_held_bytes=max_held_bytes)
        self._encoder = encoder
        self._new_id = new_id
        self._splitter: sse.EventSplitter | aws.EventStreamSplitter = (
            sse.EventSplitter() if upstream.framing == "sse" else aws.EventStreamSplitter()
        )

    @property
    def lost(self) -> tuple[str, ...]:
        """What could not be said so far."""
        return self._encoder.lost

    def receive_data(self, data: bytes) -> bytes:
        """See `AnswerStream`."""
        given: list[bytes] = []
        for frame in self._splitter.receive_data(data):
            if self.done or self.error is not None:
                break
            if frame.data:
                given.append(self._translate(self._decode(frame)))
        return b"".join(given)

    def receive_eof(self) -> bytes:
        """See `AnswerStream`."""
        if self.done or self.error is not None:
            return b""
        rest = self._splitter.receive_eof()
        given = b""
        if rest is not None and rest.data:
            given = self._translate(self._decode(rest))
        if not self.done and self.error is None:
            given += self._translate(self._decoder.receive_eof())
        return given

    def replay(self, answer: exchange.Answer) -> bytes:
        """The whole answer of an upstream that does not stream, as a stream."""
        return self._translate(exchange.events_of(answer))

    def _translate(self, events: Sequence[exchange.Event]) -> bytes:
        if self._new_id and events:
            events, self._new_id = self._identified(events), ""
        content = self._note(events)
        if self.error is None:
            return self._give(self._encoder.encode(events), content)
        return self._give_error(events, content)

    def _identified(self, events: Sequence[exchange.Event]) -> Sequence[exchange.Event]:
        """The first events, with an id where the upstream gave the answer none: clients tell answers apart by it."""
        first = events[0]
        if not isinstance(first, exchange.Start) or first.id:
            return events
        return [msgspec.structs.replace(first, id=self._new_id), *events[1:]]

    def _give_error(self, events: Sequence[exchange.Event], content: bool) -> bytes:
        before = [event for event in events if not isinstance(event, exchange.Failed)]
        written = self._encoder.encode(before)
        if not self.committed and not content:
            return b""  # it is the caller's to say what becomes of it
        failed = next(event for event in events if isinstance(event, exchange.Failed))
        return self._give(written + self.fail(self._as_error(failed)), True)

    def fail(self, error: GatewayError) -> bytes:
        """The last bytes of a committed stream that fails."""
        if isinstance(self._encoder, Failing):
            return self._encoder.fail(error)
        return b"" if self._ingress.error_event is None else self._ingress.error_event(error, True)


class Passed(_Answer):
    """See the module. Server-sent events only: no client is spoken to in AWS's framing."""

    def __init__(
        self, decoder: StreamDecoder, ingress: Ingress, *, scrub: Scrub, max_held_bytes: int = MAX_HELD_BYTES
    ) -> None:
        super().__init__(decoder, ingress, scrub=scrub, max_held_bytes=max_held_bytes)
        self._splitter = sse.EventSplitter()

    def receive_data(self, data: bytes) -> bytes:
        """See `AnswerStream`."""
        return b"".join([self._pass(event) for event in self._splitter.receive_data(data)])

    def receive_eof(self) -> bytes:
        """See `AnswerStream`. A last event whose empty line is missing counts if it is whole."""
        given = b""
        rest = self._splitter.receive_eof()
        if rest is not None and rest.data:
            given = self._pass(rest)
        if not self.done and self.error is None:
            events = self._decoder.receive_eof()
            self._note(events)
            if events and not self.committed:
                given += self.commit()
        return given

    def _pass(self, event: sse.ServerSentEvent) -> bytes:
        if not event.data or self.done:
            return self._give(event.raw, False)
        try:
            events = self._decoder.receive(event)
        except UpstreamProtocolError:
            if self.committed:
                return b""  # every client's parser would stop at it
            raise
        failed_before = self.error is not None
        content = self._note(events)
        if self.error is not None and not failed_before:
            return self._pass_failure(event, events)
        return self._give(event.raw, content)

    def _pass_failure(self, event: sse.ServerSentEvent, events: Sequence[exchange.Event]) -> bytes:
        text = event.raw.decode("utf-8", "replace")
        if self._scrub(text) == text and len(event.raw) <= secrecy.MAX_TEXT_BYTES:
            return self._give(event.raw, False)
        failed = next(each for each in events if isinstance(each, exchange.Failed))
        if self._ingress.error_event is None:
            return b""
        return self._give(self._ingress.error_event(self._as_error(failed), self.committed), False)


_DELTAS: Final = frozenset(
    {exchange.TextDelta, exchange.ReasoningDelta, exchange.ArgumentsDelta, exchange.RefusalDelta}
)


def _is_content(event: exchange.Event) -> bool:
    """Whether a client would have something of it: text, thoughts, a call, sound, a picture."""
    match event:
        case exchange.AudioDelta():
            return bool(event.data or event.transcript)
        case exchange.PartStart():
            return _part_has_content(event.part)
        case exchange.Finish():
            # An answer without content is one: the model had nothing to say, or was not allowed to.
            return True
        case _:
            return False


def _part_has_content(part: exchange.Part) -> bool:
    match part:
        case exchange.Text() | exchange.Refusal() | exchange.Reasoning():
            return bool(part.text)
        case exchange.Audio():
            return bool(part.source or part.transcript)
        case exchange.ToolCall() | exchange.Image() | exchange.HostedStep():
            return True
        case _:
            return False
