"""Events to a whole answer and back, so that streamed and whole answers are one thing; and the check of the grammar."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from trunkline_gateway.exchange import events
from trunkline_gateway.exchange.answer import Answer, Choice, FinishReason, TokenLogprob
from trunkline_gateway.exchange.content import (
    Audio,
    Citation,
    Inline,
    Json,
    Part,
    Reasoning,
    Refusal,
    Seal,
    Text,
    ToolCall,
)
from trunkline_gateway.exchange.events import Event
from trunkline_gateway.exchange.usage import Usage


class GrammarError(ValueError):
    """Events that no decoder may give."""


class _Open:
    """A part of which more may come."""

    __slots__ = ("citations", "data", "encrypted", "ended", "expires_at", "part", "seal", "text", "transcript")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.ended = False
        self.text: list[str] = []
        self.data: list[str] = []
        self.transcript: list[str] = []
        self.citations: list[Citation] = []
        self.seal: Seal | None = None
        self.encrypted: Seal | None = None
        self.expires_at: int | None = None

    def whole(self) -> Part:
        text = "".join(self.text)
        replace = msgspec.structs.replace
        match self.part:
            case Text() as part:
                return replace(
                    part,
                    text=part.text + text,
                    citations=(*part.citations, *self.citations),
                    seal=self.seal or part.seal,
                )
            case Refusal() as part:
                return Refusal(text=part.text + text)
            case Reasoning() as part:
                return replace(
                    part,
                    text=part.text + text,
                    signature=self.seal or part.signature,
                    encrypted=self.encrypted or part.encrypted,
                )
            case ToolCall() as part:
                return replace(part, arguments=part.arguments + text, seal=self.seal or part.seal)
            case Audio() as part:
                before = part.source.data if isinstance(part.source, Inline) else ""
                data = before + "".join(self.data)
                source = Inline(data) if data else part.source
                return replace(
                    part,
                    source=source,
                    transcript=part.transcript + "".join(self.transcript),
                    expires_at=self.expires_at or part.expires_at,
                )
            case part:
                return part


class _Choice:
    def __init__(self) -> None:
        self.parts: list[_Open] = []
        self.reason: FinishReason | None = None
        self.stop_sequence: str | None = None
        self.safety: Json | None = None
        self.logprobs: list[TokenLogprob] | None = None


class Assembler:
    """Events in, an `Answer` out. Checks the grammar as it goes.

    Attributes:
        ended: `End` has come.
        failed: The error that has come.
    """

    def __init__(self) -> None:
        self.ended = False
        self.failed: events.Failed | None = None
        self._start: events.Start | None = None
        self._usage: Usage | None = None
        self._choices: dict[int, _Choice] = {}

    def receive(self, event: Event) -> None:  # noqa: C901  # one branch for each kind of event
        """Take one event.

        Raises:
            GrammarError: It may not come here.
        """
        if self.ended or self.failed is not None:
            raise GrammarError(f"{event} after the end")
        match event:
            case events.Start():
                if self._start is not None or self._choices:
                    raise GrammarError("Start is not first, or comes twice")
                self._start = event
                self._usage = event.usage or self._usage
            case events.PartStart():
                choice = self._choice(event.choice)
                if event.index != len(choice.parts):
                    raise GrammarError(f"part {event.index} starts where {len(choice.parts)} is due")
                choice.parts.append(_Open(event.part))
            case events.TextDelta():
                self._part(event.choice, event.index, Text).text.append(event.text)
            case events.RefusalDelta():
                self._part(event.choice, event.index, Refusal).text.append(event.text)
            case events.ReasoningDelta():
                self._part(event.choice, event.index, Reasoning).text.append(event.text)
            case events.ArgumentsDelta():
                self._part(event.choice, event.index, ToolCall).text.append(event.text)
            case events.SealDelta():
                part = self._part(event.choice, event.index, (Text, Reasoning, ToolCall))
                if event.encrypted:
                    part.encrypted = event.seal
                else:
                    part.seal = event.seal
            case events.CitationDelta():
                self._part(event.choice, event.index, Text).citations.append(event.citation)
            case events.AudioDelta():
                part = self._part(event.choice, event.index, Audio)
                part.data.append(event.data)
                part.transcript.append(event.transcript)
                part.expires_at = event.expires_at or part.expires_at
            case events.PartEnd():
                self._part(event.choice, event.index, ()).ended = True
            case events.LogprobsDelta():
                choice = self._choice(event.choice)
                if choice.logprobs is None:
                    choice.logprobs = []
                choice.logprobs.extend(event.logprobs)
            case events.UsageReport():
                self._usage = event.usage
            case events.Finish():
                choice = self._choice(event.choice)
                if any(not part.ended for part in choice.parts):
                    raise GrammarError("a part is still open at the finish")
                choice.reason, choice.stop_sequence, choice.safety = event.reason, event.stop_sequence, event.safety
            case events.End():
                if any(choice.reason is None for choice in self._choices.values()):
                    raise GrammarError("a choice has not finished at the end")
                self.ended = True
            case events.Failed():
                self.failed = event
            case events.Progress():
                pass

    def answer(self) -> Answer:
        """The answer so far; a choice that has not finished has the reason ``other``."""
        start = self._start or events.Start()
        return Answer(
            id=start.id,
            model=start.model,
            created=start.created,
            service_tier=start.service_tier,
            system_fingerprint=start.system_fingerprint,
            usage=self._usage,
            choices=tuple(
                Choice(
                    index=index,
                    parts=tuple(part.whole() for part in choice.parts),
                    finish_reason=choice.reason or "other",
                    stop_sequence=choice.stop_sequence,
                    safety=choice.safety,
                    logprobs=None if choice.logprobs is None else tuple(choice.logprobs),
                )
                for index, choice in sorted(self._choices.items())
            ),
        )

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.setdefault(index, _Choice())
        if choice.reason is not None:
            raise GrammarError(f"choice {index} has finished already")
        return choice

    def _part(self, choice: int, index: int, kinds: type | tuple[type, ...]) -> _Open:
        parts = self._choice(choice).parts
        if not 0 <= index < len(parts) or parts[index].ended:
            raise GrammarError(f"part {index} of choice {choice} is not open")
        if kinds and not isinstance(parts[index].part, kinds):
            raise GrammarError(f"part {index} of choice {choice} is of another kind: {parts[index].part}")
        return parts[index]


def assemble(stream: Iterable[Event]) -> Answer:
    """The answer that a complete stream is.

    Raises:
        GrammarError: It is not in the grammar, has failed, or has no end.
    """
    assembler = Assembler()
    for event in stream:
        assembler.receive(event)
    if not assembler.ended:
        raise GrammarError(f"no end: {assembler.failed}")
    return assembler.answer()


def events_of(answer: Answer) -> Sequence[Event]:
    """The stream that a whole answer would have been, each part in one delta."""
    return list(_events(answer))


def _events(answer: Answer) -> Iterator[Event]:
    yield events.Start(
        id=answer.id,
        model=answer.model,
        created=answer.created,
        service_tier=answer.service_tier,
        system_fingerprint=answer.system_fingerprint,
    )
    for choice in answer.choices:
        for index, part in enumerate(choice.parts):
            yield from _part_events(part, index, choice.index)
        if choice.logprobs is not None:
            yield events.LogprobsDelta(choice.logprobs, choice.index)
        yield events.Finish(
            reason=choice.finish_reason,
            choice=choice.index,
            stop_sequence=choice.stop_sequence,
            safety=choice.safety,
        )
    if answer.usage is not None:
        yield events.UsageReport(answer.usage)
    yield events.End()


def _part_events(part: Part, index: int, choice: int) -> Iterator[Event]:  # noqa: C901  # likewise
    replace = msgspec.structs.replace
    match part:
        case Text():
            yield events.PartStart(index, replace(part, text="", citations=(), seal=None), choice)
            if part.text:
                yield events.TextDelta(index, part.text, choice)
            for citation in part.citations:
                yield events.CitationDelta(index, citation, choice)
            if part.seal is not None:
                yield events.SealDelta(index, part.seal, False, choice)
        case Refusal():
            yield events.PartStart(index, Refusal(text=""), choice)
            if part.text:
                yield events.RefusalDelta(index, part.text, choice)
        case Reasoning():
            yield events.PartStart(index, replace(part, text="", signature=None, encrypted=None), choice)
            if part.text:
                yield events.ReasoningDelta(index, part.text, choice)
            if part.encrypted is not None:
                yield events.SealDelta(index, part.encrypted, True, choice)
            if part.signature is not None:
                yield events.SealDelta(index, part.signature, False, choice)
        case ToolCall():
            yield events.PartStart(index, replace(part, arguments="", seal=None), choice)
            if part.arguments:
                yield events.ArgumentsDelta(index, part.arguments, choice)
            if part.seal is not None:
                yield events.SealDelta(index, part.seal, False, choice)
        case Audio(source=Inline() as source):
            yield events.PartStart(index, replace(part, source=None, transcript=""), choice)
            yield events.AudioDelta(index, source.data, part.transcript, choice)
        case _:
            yield events.PartStart(index, part, choice)
    yield events.PartEnd(index, choice)
