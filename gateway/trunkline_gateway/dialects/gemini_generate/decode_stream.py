"""A streamed answer of Gemini's, event by event. A whole one is read as a stream of one event.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent

Each event is a GenerateContentResponse with what is new. There is no mark of the end: it is complete when a candidate
has its ``finishReason`` and the stream ends. Old models repeat the reason in every event, so it counts at the end.
"""

import base64
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Frame
from trunkline_gateway.dialects.gemini_generate import errors, finish, grounding, parts, usage, wire
from trunkline_gateway.dialects.gemini_generate.names import Names
from trunkline_gateway.dialects.gemini_generate.partial_args import Arguments
from trunkline_gateway.errors import UpstreamProtocolError

_MAX_CANDIDATES: Final = 128
_PCM: Final = ("audio/l16", "audio/pcm")
_PCM16: Final = "audio/pcm16"
_WHOLE_SAMPLES: Final = 6
"""Bytes: samples of two, in groups of three that base64 needs no padding for."""


class _Candidate:
    """One answer, as far as it has come."""

    __slots__ = (
        "arguments",
        "asides",
        "audio",
        "called",
        "grounded",
        "index",
        "kind",
        "parts",
        "reason",
        "recited",
        "safety",
        "sealed",
        "texts",
    )

    def __init__(self, index: int) -> None:
        self.index = index
        self.parts = 0
        self.kind: Literal["", "text", "thought", "call", "audio"] = ""
        self.sealed = False
        self.called = False
        self.reason: str | int | None = None
        self.safety: msgspec.Raw | None = None
        self.texts: list[str] = []
        self.arguments: Arguments | None = None
        self.audio = b""
        self.grounded: list[msgspec.Raw] = []
        self.recited: list[msgspec.Raw] = []
        self.asides: dict[str, list[msgspec.Raw]] = {}


class StreamDecoder:
    """Frames in, events out."""

    def __init__(self, asked: Asked) -> None:
        """Begin an answer."""
        self._asked = asked
        tools = asked.request.tools if isinstance(asked.request, exchange.ChatRequest) else ()
        self._names = Names(tools)
        self._candidates: dict[int, _Candidate] = {}
        self._started = False
        self._failed = False
        self._ids = 0
        self._usage: exchange.Usage | None = None
        self._raw_parts: tuple[bytes, Mapping[tuple[int, int, int], msgspec.Raw]] = (b"", {})

    def receive(self, frame: Frame) -> Sequence[exchange.Event]:
        """See `dialect.StreamDecoder`."""
        data = frame.data
        if not data or self._failed:
            return ()
        try:
            chunks = wire.read(data)
        except wire.NotAnAnswerError:
            if self._started or data.strip() == b"[DONE]":
                return ()
            raise UpstreamProtocolError("The upstream sent an event that is not a JSON object.") from None
        events: list[exchange.Event] = []
        for number, chunk in enumerate(chunks):
            self._take(events, chunk, data, number)
        return events

    def receive_eof(self) -> Sequence[exchange.Event]:
        """See `dialect.StreamDecoder`."""
        candidates = self._candidates.values()
        if self._failed or not candidates or any(each.reason is None for each in candidates):
            return ()
        return self.complete()

    def complete(self) -> Sequence[exchange.Event]:
        """What ends it, whatever the upstream said of the end: for an answer that came whole."""
        events: list[exchange.Event] = []
        for candidate in self._candidates.values():
            self._finish(events, candidate)
        if not self._failed:
            events.append(exchange.End())
        return events

    # ---- an event ----------------------------------------------------------------------------------------------------

    def _take(self, events: list[exchange.Event], chunk: wire.WireChunk, data: bytes, number: int) -> None:
        if self._failed:
            return
        if chunk.error is not wire.NOTHING and wire.is_given(chunk.error):
            self._failed = True
            events.append(errors.failed(chunk.error))
            return
        if not self._started:
            self._start(events, chunk)
        if chunk.candidates:
            alone = len(chunk.candidates) == 1
            for position, wired in enumerate(chunk.candidates):
                index = wired.index
                if index is None:  # a zero is left out, as proto JSON does
                    index = 0 if alone else position
                candidate = self._candidates.get(index)
                if candidate is None:
                    if not 0 <= index < _MAX_CANDIDATES:
                        continue
                    candidate = self._candidates[index] = _Candidate(index)
                self._take_candidate(events, candidate, wired, (data, number, position))
        elif chunk.promptFeedback is not None:
            self._block(chunk.promptFeedback)
        if chunk.usageMetadata is not None:
            counts = usage.of_wire(chunk.usageMetadata)
            if counts is not None and counts != self._usage:
                self._usage = counts
                events.append(exchange.UsageReport(counts))

    def _block(self, feedback: wire.WirePromptFeedback) -> None:
        """A prompt that is not answered: a choice without parts."""
        if feedback.blockReason and not self._candidates:
            blocked = self._candidates[0] = _Candidate(0)
            blocked.reason = "SAFETY"
            if wire.is_given(feedback.safetyRatings):
                blocked.safety = _copy(feedback.safetyRatings)

    def _start(self, events: list[exchange.Event], chunk: wire.WireChunk) -> None:
        known = (chunk.candidates, chunk.usageMetadata, chunk.promptFeedback, chunk.modelVersion, chunk.responseId)
        if all(each is None for each in known):
            raise UpstreamProtocolError("The upstream's answer is not a GenerateContentResponse.")
        self._started = True
        model = (chunk.modelVersion or "").removeprefix("models/")
        created = _seconds(chunk.createTime) or self._asked.now
        events.append(exchange.Start(id=chunk.responseId or "", model=model, created=created))

    def _take_candidate(
        self,
        events: list[exchange.Event],
        candidate: _Candidate,
        wired: wire.WireCandidate,
        place: tuple[bytes, int, int],
    ) -> None:
        if wired.content is not None and wired.content.parts:
            for position, part in enumerate(wired.content.parts):
                self._take_part(events, candidate, part, place, position)
        if wired.finishReason is not None:
            candidate.reason = wired.finishReason
        if wired.logprobsResult is not None:
            said = _logprobs(wired.logprobsResult)
            if said:
                events.append(exchange.LogprobsDelta(said, candidate.index))
        if wired.safetyRatings is not wire.NOTHING and bytes(wired.safetyRatings).startswith(b"["):
            candidate.safety = _copy(wired.safetyRatings)
        if wired.groundingMetadata is not wire.NOTHING and wire.says_something(wired.groundingMetadata):
            candidate.grounded.append(_copy(wired.groundingMetadata))
            candidate.asides.setdefault("groundingMetadata", []).append(candidate.grounded[-1])
        if wired.citationMetadata is not wire.NOTHING and wire.says_something(wired.citationMetadata):
            candidate.recited.append(_copy(wired.citationMetadata))
        if wired.urlContextMetadata is not wire.NOTHING and wire.says_something(wired.urlContextMetadata):
            candidate.asides.setdefault("urlContextMetadata", []).append(_copy(wired.urlContextMetadata))

    # ---- a part ------------------------------------------------------------------------------------------------------

    def _take_part(
        self,
        events: list[exchange.Event],
        candidate: _Candidate,
        part: wire.WirePart,
        place: tuple[bytes, int, int],
        position: int,
    ) -> None:
        text = part.text
        if text is not None:
            if text:
                if part.thought:
                    self._thought(events, candidate, text)
                else:
                    self._text(events, candidate, text)
            if part.thoughtSignature:
                self._seal(events, candidate, part.thoughtSignature)
        elif part.functionCall is not None:
            self._call(events, candidate, part.functionCall, part.thoughtSignature)
        elif part.inlineData is not None:
            self._inline(events, candidate, part.inlineData)
            if part.thoughtSignature:
                self._seal(events, candidate, part.thoughtSignature)
        elif part.fileData is not None:
            if part.fileData.fileUri:
                source = parts.source_of(part.fileData.fileUri)
                self._whole(events, candidate, parts.media(part.fileData.mimeType, source))
            if part.thoughtSignature:
                self._seal(events, candidate, part.thoughtSignature)
        else:
            self._other(events, candidate, part, place, position)

    def _text(self, events: list[exchange.Event], candidate: _Candidate, text: str) -> None:
        if candidate.kind != "text" or candidate.sealed:
            self._close(events, candidate)
            self._open(events, candidate, exchange.Text(text=""))
            candidate.kind = "text"
        candidate.texts.append(text)
        events.append(exchange.TextDelta(candidate.parts - 1, text, candidate.index))

    def _thought(self, events: list[exchange.Event], candidate: _Candidate, text: str) -> None:
        if candidate.kind != "thought" or candidate.sealed:
            self._close(events, candidate)
            self._open(events, candidate, exchange.Reasoning(summary=True))
            candidate.kind = "thought"
        events.append(exchange.ReasoningDelta(candidate.parts - 1, text, candidate.index))

    def _seal(self, events: list[exchange.Event], candidate: _Candidate, signature: str) -> None:
        """A signature at the end of what was said last; in a stream it mostly comes with an empty text of its own."""
        if candidate.kind not in ("text", "thought") or candidate.sealed:
            self._close(events, candidate)
            self._open(events, candidate, exchange.Reasoning(summary=True))
            candidate.kind = "thought"
        candidate.sealed = True
        events.append(exchange.SealDelta(candidate.parts - 1, self._sealed(signature), False, candidate.index))

    def _call(
        self, events: list[exchange.Event], candidate: _Candidate, call: wire.WireFunctionCall, signature: str | None
    ) -> None:
        if call.name:
            self._close(events, candidate)
            self._ids += 1
            named = self._names.of_wire(call.name)
            made = exchange.ToolCall(
                id=call.id or self._asked.new_id(self._ids - 1),
                name=named.name,
                namespace=named.namespace,
                custom=named.custom,
            )
            candidate.called = True
            self._open(events, candidate, made)
            candidate.kind = "call"
            if not call.willContinue and not call.partialArgs:
                arguments = _arguments(call.args, custom=named.custom)
                events.append(exchange.ArgumentsDelta(candidate.parts - 1, arguments, candidate.index))
                if signature:
                    seal = self._sealed(signature)
                    events.append(exchange.SealDelta(candidate.parts - 1, seal, False, candidate.index))
                self._close(events, candidate)
                return
            candidate.arguments = Arguments()
        if candidate.kind != "call" or candidate.arguments is None:
            return
        if signature and not candidate.sealed:
            candidate.sealed = True
            events.append(exchange.SealDelta(candidate.parts - 1, self._sealed(signature), False, candidate.index))
        for piece in call.partialArgs or ():
            candidate.arguments.receive(piece)
        if not call.willContinue:
            self._close(events, candidate)

    def _inline(self, events: list[exchange.Event], candidate: _Candidate, blob: wire.WireBlob) -> None:
        data = parts.standard_base64(blob.data or "")
        if not data:
            return
        media_type = blob.mimeType
        if media_type is None or not media_type.lower().startswith(_PCM):
            part = parts.media(media_type, exchange.Inline(data))
            if isinstance(part, exchange.Audio):
                self._close(events, candidate)
                self._open(events, candidate, exchange.Audio(media_type=media_type))
                events.append(exchange.AudioDelta(candidate.parts - 1, data, "", candidate.index))
                events.append(exchange.PartEnd(candidate.parts - 1, candidate.index))
            else:
                self._whole(events, candidate, part)
            return
        if candidate.kind != "audio":
            self._close(events, candidate)
            self._open(events, candidate, exchange.Audio(media_type=_PCM16))
            candidate.kind = "audio"
        samples = candidate.audio + base64.b64decode(data)
        whole = len(samples) // _WHOLE_SAMPLES * _WHOLE_SAMPLES
        candidate.audio = samples[whole:]
        if whole:
            encoded = base64.b64encode(samples[:whole]).decode()
            events.append(exchange.AudioDelta(candidate.parts - 1, encoded, "", candidate.index))

    def _other(
        self,
        events: list[exchange.Event],
        candidate: _Candidate,
        part: wire.WirePart,
        place: tuple[bytes, int, int],
        position: int,
    ) -> None:
        data, number, place_of_candidate = place
        if self._raw_parts[0] is not data:
            self._raw_parts = (data, wire.raw_parts(data))
        raw = self._raw_parts[1].get((number, place_of_candidate, position), wire.NOTHING)
        if part.thoughtSignature:
            raw = parts.with_signature(raw, parts.stamped(self._sealed(part.thoughtSignature)))
        step = parts.step(raw)
        if step is not None:
            self._whole(events, candidate, step)
        elif part.thoughtSignature:
            self._seal(events, candidate, part.thoughtSignature)

    # ---- open and closed ---------------------------------------------------------------------------------------------

    def _open(self, events: list[exchange.Event], candidate: _Candidate, part: exchange.Part) -> None:
        events.append(exchange.PartStart(candidate.parts, part, candidate.index))
        candidate.parts += 1
        candidate.sealed = False

    def _whole(self, events: list[exchange.Event], candidate: _Candidate, part: exchange.Part) -> None:
        self._close(events, candidate)
        self._open(events, candidate, part)
        events.append(exchange.PartEnd(candidate.parts - 1, candidate.index))

    def _close(self, events: list[exchange.Event], candidate: _Candidate) -> None:
        kind = candidate.kind
        if not kind:
            return
        index = candidate.parts - 1
        if kind == "text":
            self._cite(events, candidate)
        elif kind == "call" and candidate.arguments is not None:
            events.append(exchange.ArgumentsDelta(index, candidate.arguments.text(), candidate.index))
            candidate.arguments = None
        elif kind == "audio" and candidate.audio:
            encoded = base64.b64encode(candidate.audio).decode()
            events.append(exchange.AudioDelta(index, encoded, "", candidate.index))
            candidate.audio = b""
        events.append(exchange.PartEnd(index, candidate.index))
        candidate.kind = ""

    def _cite(self, events: list[exchange.Event], candidate: _Candidate) -> None:
        if candidate.grounded or candidate.recited:
            text = "".join(candidate.texts)
            found = grounding.citations(candidate.grounded, candidate.recited, text)
            events += [exchange.CitationDelta(candidate.parts - 1, each, candidate.index) for each in found]
            candidate.grounded, candidate.recited = [], []
        candidate.texts = []

    def _finish(self, events: list[exchange.Event], candidate: _Candidate) -> None:
        self._close(events, candidate)
        if (candidate.grounded or candidate.recited) and grounding.citations(candidate.grounded, candidate.recited, ""):
            # They came after the text that they speak of had ended.
            self._open(events, candidate, exchange.Text(text=""))
            candidate.kind = "text"
            self._close(events, candidate)
        for kind, pieces in candidate.asides.items():
            value = grounding.merged(pieces)
            self._whole(events, candidate, exchange.Foreign(dialect=parts.DIALECT, kind=kind, value=value))
        reason = finish.read(candidate.reason if candidate.reason is not None else "", called=candidate.called)
        events.append(exchange.Finish(reason=reason, choice=candidate.index, safety=candidate.safety))

    def _sealed(self, signature: str) -> exchange.Seal:
        return exchange.Seal(maker="google", account=self._asked.target.account, value=signature)


def _arguments(args: msgspec.Raw, *, custom: bool) -> str:
    """The arguments of a call as compact JSON text, numbers as they were written; of a custom tool its input."""
    if not wire.is_given(args):
        return "" if custom else "{}"
    if custom:
        value = wire.value_of(args)
        said = value.get("input") if isinstance(value, dict) else None
        if isinstance(said, str):
            return said
    text = bytes(args)
    if b" " in text or b"\n" in text or b"\t" in text or b"\r" in text:
        with contextlib.suppress(msgspec.MsgspecError, RecursionError):
            text = msgspec.json.format(text, indent=-1)
    return text.decode("utf-8", "replace")


def _logprobs(wired: wire.WireLogprobs) -> tuple[exchange.TokenLogprob, ...]:
    tops = wired.topCandidates or ()
    made: list[exchange.TokenLogprob] = []
    for number, chosen in enumerate(wired.chosenCandidates or ()):
        if chosen.token is None or chosen.logProbability is None:
            continue
        top = (tops[number].candidates or ()) if number < len(tops) else ()
        likeliest = tuple(
            exchange.TokenLogprob(token=each.token, logprob=each.logProbability)
            for each in top
            if each.token is not None and each.logProbability is not None
        )
        made.append(exchange.TokenLogprob(token=chosen.token, logprob=chosen.logProbability, top=likeliest))
    return tuple(made)


def _copy(raw: msgspec.Raw) -> msgspec.Raw:
    """Bytes of its own: a `Raw` of a message keeps the whole message alive."""
    return raw.copy()


def _seconds(text: str | None) -> int:
    """An RFC 3339 time in Unix seconds; 0 where there is none."""
    if not text:
        return 0
    try:
        moment = datetime.fromisoformat(text)
        return max(int(moment.timestamp()), 0) if moment.tzinfo is not None else 0
    except (ValueError, OverflowError, OSError):
        return 0
