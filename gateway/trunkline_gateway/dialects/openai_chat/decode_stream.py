"""A streamed answer of an upstream: chunks in, events out.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from collections.abc import Sequence
from typing import Final

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Frame
from trunkline_gateway.dialects.openai_chat import read_error, wire
from trunkline_gateway.dialects.openai_chat.decode_choice import AnswerContext, ChoiceDecoder
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Event

_DONE: Final = b"[DONE]"
_MAX_CHOICES: Final = 128
"""OpenAI's bound of ``n``; a number beyond it is none that was asked for."""


class StreamDecoder:
    """See `dialect.StreamDecoder`."""

    def __init__(self, asked: Asked) -> None:
        self._context = AnswerContext(asked)
        self._choices: dict[int, ChoiceDecoder] = {}
        self._started = False
        self._ended = False
        self._id = ""
        self._usage: exchange.Usage | None = None
        self._citations: tuple[exchange.UrlCitation, ...] = ()

    def receive(self, frame: Frame) -> Sequence[Event]:
        """See `dialect.StreamDecoder`."""
        data = frame.data
        if self._ended or not data:
            return ()
        if data == _DONE or data.strip() == _DONE:
            return self._end(done=True)
        answer = wire.decode(data)
        if answer is None:
            if frame.name == b"error":
                return self._fail(read_error.of_stream(data))
            if any(choice.has_content for choice in self._choices.values()):
                return ()
            raise UpstreamProtocolError("The upstream sent an event that is not a JSON object.")
        if answer.error or frame.name == b"error":
            return self._fail(read_error.of_stream(data))
        return self._take(answer)

    def receive_eof(self) -> Sequence[Event]:
        """See `dialect.StreamDecoder`."""
        if self._ended or not self._choices or not all(choice.finished for choice in self._choices.values()):
            return ()
        return self._end(done=False)

    def receive_whole(self, answer: wire.WireAnswer) -> Sequence[Event]:
        """A whole answer, as if it had come in one chunk."""
        events = self._take(answer, whole=True)
        return events if self._ended else [*events, *self._end(done=True)]

    def _take(self, answer: wire.WireAnswer, *, whole: bool = False) -> Sequence[Event]:
        out: list[Event] = []
        if not self._started and (answer.choices or answer.id):
            self._start(answer, out)
        if answer.citations or answer.search_results:
            self._citations = _citations_of(answer)
        if answer.choices:
            for position, choice in enumerate(answer.choices):
                failure = choice.error or (choice.finish_reason == "error" and "The upstream gave up.")
                if failure:
                    return [*out, *self._fail(read_error.of_value(failure))]
                self._choice(choice, position, out, whole=whole)
        if answer.usage is not None or answer.x_groq is not None:
            counts = answer.counts()
            if counts is not None and counts != self._usage:
                self._usage = counts
                if self._started:
                    out.append(exchange.UsageReport(counts))
        return out

    def _start(self, answer: wire.WireAnswer, out: list[Event]) -> None:
        self._started = True
        created = answer.created or 0
        out.append(
            exchange.Start(
                id=answer.id or "",
                model=answer.model or "",
                created=created if created > 0 else self._context.asked.now,
                service_tier=answer.service_tier or None,
                system_fingerprint=answer.system_fingerprint or None,
            )
        )
        if self._usage is not None:
            out.append(exchange.UsageReport(self._usage))

    def _choice(self, choice: wire.WireChoice, position: int, out: list[Event], *, whole: bool) -> None:
        number = position if choice.index is None else choice.index
        decoder = self._choices.get(number)
        if decoder is None:
            if not 0 <= number < _MAX_CHOICES:
                return
            decoder = self._choices[number] = ChoiceDecoder(number, self._context)
        decoder.receive(choice, out, whole=whole)
        if choice.finish_reason:
            self._finish(decoder, choice.finish_reason, out)

    def _finish(self, decoder: ChoiceDecoder, word: str | None, out: list[Event]) -> None:
        decoder.cite(self._citations, out)
        decoder.finish(word, out)

    def _end(self, *, done: bool) -> Sequence[Event]:
        out: list[Event] = []
        if not self._choices:
            raise UpstreamProtocolError("The upstream's answer has no choices.")
        for decoder in self._choices.values():
            if not decoder.finished and done:
                self._finish(decoder, None, out)
        self._ended = True
        out.append(exchange.End())
        return out

    def _fail(self, failure: exchange.Failed) -> Sequence[Event]:
        self._ended = True
        return [failure]


def _citations_of(answer: wire.WireAnswer) -> tuple[exchange.UrlCitation, ...]:
    """Perplexity's sources; what it says of a page beside its address stands in another list."""
    if answer.search_results:
        return tuple(
            exchange.UrlCitation(url=each.url, title=each.title or None, cited_text=each.snippet or None)
            for each in answer.search_results
            if each.url
        )
    return tuple(exchange.UrlCitation(url=url) for url in answer.citations or () if url)
