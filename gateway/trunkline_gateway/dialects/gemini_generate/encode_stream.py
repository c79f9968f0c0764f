"""An answer as it comes, as server-sent events or as the elements of a JSON array.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent

One GenerateContentResponse for what comes at once. A call is written when it is whole. Why it ended and what it took
stand in the last one, with the content that came with it: the SDKs drop a turn that holds a candidate without parts.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import finish, grounding, parts, usage, wire_parts
from trunkline_gateway.dialects.gemini_generate.own import Own
from trunkline_gateway.dialects.gemini_generate.wire_parts import Wire

_encode: Final = msgspec.json.Encoder().encode
_THOUGHT_END: Final = b',"thought":true}'


class _Open:
    """A part that has begun and not ended."""

    __slots__ = ("part", "pieces", "seal", "transcript")

    def __init__(self, part: exchange.Part) -> None:
        self.part = part
        self.pieces: list[str] = []
        self.transcript: list[str] = []
        self.seal: exchange.Seal | None = None


class _Choice:
    """One candidate, as far as it has come."""

    __slots__ = ("asides", "cited", "finish", "index", "length", "logprobs", "said", "texts", "waiting")

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: list[bytes] = []
        self.logprobs: list[exchange.TokenLogprob] = []
        self.finish: exchange.Finish | None = None
        self.said = False
        self.texts: list[str] = []
        self.length = 0
        self.cited: list[exchange.Citation] = []
        self.asides: dict[str, list[msgspec.Raw]] = {}


class StreamEncoder:
    """Events in, bytes for the client out."""

    def __init__(self, request: exchange.ChatRequest) -> None:
        """Begin the answer to ``request``."""
        self._lost: dict[str, None] = {}
        self._choices: dict[int, _Choice] = {}
        self._open: dict[tuple[int, int], _Open] = {}
        self._starts: dict[tuple[int, int], int] = {}
        self._usage: exchange.Usage | None = None
        self._model = request.model
        is_array = isinstance(request.own, Own) and request.own.is_array
        # Before the first chunk, before the others, after each, after the last.
        self._first, self._between, self._after, self._last = (
            (b"[", b",\r\n", b"", b"]") if is_array else (b"data: ", b"data: ", b"\n\n", b"")
        )
        self._tail = b""
        self._set_tail("", "")
        self._run: tuple[_Choice, bool] | None = None
        self._run_text: list[str] = []

    @property
    def lost(self) -> tuple[str, ...]:
        """See `dialect.StreamEncoder`."""
        return tuple(self._lost)

    def encode(self, events: Sequence[exchange.Event]) -> bytes:
        """See `dialect.StreamEncoder`."""
        ended = False
        for event in events:
            match event:
                case exchange.TextDelta():
                    self._text(event.choice, event.text, thought=False)
                case exchange.ReasoningDelta():
                    self._text(event.choice, event.text, thought=True)
                case exchange.RefusalDelta():
                    self._lost["answer.refusal"] = None
                    self._text(event.choice, event.text, thought=False)
                case exchange.End():
                    ended = True
                case _:
                    self._other(event)
        self._end_run()
        return self._finish() if ended else self._chunks()

    # ---- events ------------------------------------------------------------------------------------------------------

    def _text(self, index: int, text: str, *, thought: bool) -> None:
        choice = self._choices.get(index) or self._choice(index)
        run = self._run
        if run is None or run[0] is not choice or run[1] is not thought:
            self._end_run()
            self._run = (choice, thought)
        self._run_text.append(text)
        if not thought:
            choice.texts.append(text)
            choice.length += len(text)

    def _other(self, event: exchange.Event) -> None:  # one branch for each kind of event
        match event:
            case exchange.Start():
                self._set_tail(event.model, event.id)
                self._usage = event.usage or self._usage
            case exchange.PartStart():
                self._start(event)
            case exchange.ArgumentsDelta():
                self._open[event.choice, event.index].pieces.append(event.text)
            case exchange.AudioDelta():
                self._open[event.choice, event.index].pieces.append(event.data)
                self._open[event.choice, event.index].transcript.append(event.transcript)
            case exchange.SealDelta():
                self._seal(event)
            case exchange.CitationDelta():
                choice = self._choice(event.choice)
                choice.cited.append(_moved(event.citation, self._starts.get((event.choice, event.index), 0)))
            case exchange.PartEnd():
                self._end(event)
            case exchange.LogprobsDelta():
                self._choice(event.choice).logprobs += event.logprobs
            case exchange.UsageReport():
                self._usage = event.usage
            case exchange.Finish():
                self._choice(event.choice).finish = event
            case _:
                pass  # Progress says nothing, and Failed never comes

    def _start(self, event: exchange.PartStart) -> None:
        part = event.part
        choice = self._choice(event.choice)
        key = (event.choice, event.index)
        match part:
            case exchange.Text():
                self._starts[key] = choice.length
                self._open[key] = _Open(part)
                if part.text:
                    self._text(event.choice, part.text, thought=False)
                choice.cited += [_moved(each, self._starts[key]) for each in part.citations]
                if part.seal is not None:
                    self._seal(exchange.SealDelta(event.index, part.seal, False, event.choice))
            case exchange.Refusal():
                self._lost["answer.refusal"] = None
                if part.text:
                    self._text(event.choice, part.text, thought=False)
            case exchange.Reasoning():
                self._open[key] = _Open(part)
                if part.text:
                    self._text(event.choice, part.text, thought=True)
                if part.encrypted is not None:
                    self._seal(exchange.SealDelta(event.index, part.encrypted, True, event.choice))
                if part.signature is not None:
                    self._seal(exchange.SealDelta(event.index, part.signature, False, event.choice))
            case exchange.ToolCall() | exchange.Audio():
                self._open[key] = _Open(part)
            case _:
                name = wire_parts.aside(part)
                if name is not None and isinstance(part, exchange.Foreign):
                    choice.asides.setdefault(name, []).append(part.value)
                else:
                    self._add(choice, wire_parts.of(part, self._lost))

    def _seal(self, event: exchange.SealDelta) -> None:
        opened = self._open.get((event.choice, event.index))
        if opened is None:
            return
        choice = self._choice(event.choice)
        match opened.part:
            case exchange.Reasoning() as part:
                kind: parts.SealKind = "encrypted" if event.encrypted else "signature"
                signature = parts.stamped(event.seal, kind, part.id)
                self._add(choice, [{"text": "", "thought": True, "thoughtSignature": signature}])
            case exchange.Text():
                self._add(choice, [{"text": "", "thoughtSignature": parts.stamped(event.seal)}])
            case _:
                opened.seal = event.seal

    def _end(self, event: exchange.PartEnd) -> None:
        opened = self._open.pop((event.choice, event.index), None)
        if opened is None:
            return
        choice = self._choice(event.choice)
        match opened.part:
            case exchange.ToolCall() as part:
                arguments = part.arguments + "".join(opened.pieces)
                whole = msgspec.structs.replace(part, arguments=arguments, seal=opened.seal or part.seal)
                self._add(choice, [wire_parts.call(whole, self._lost)])
            case exchange.Audio() as part:
                before = part.source.data if isinstance(part.source, exchange.Inline) else ""
                data = before + "".join(opened.pieces)
                source = exchange.Inline(data) if data else part.source
                said = part.transcript + "".join(opened.transcript)
                sound = msgspec.structs.replace(part, source=source, transcript=said)
                self._add(choice, wire_parts.audio(sound, self._lost))
            case _:
                pass

    # ---- bytes -------------------------------------------------------------------------------------------------------

    def _choice(self, index: int) -> _Choice:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index)
        return choice

    def _set_tail(self, model: str, id: str) -> None:
        tail = b',"modelVersion":' + _encode(model or self._model)
        if id:
            tail += b',"responseId":' + _encode(id)
        self._tail = tail + b"}"

    def _add(self, choice: _Choice, written: Sequence[Wire]) -> None:
        self._end_run()
        choice.waiting += [_encode(each) for each in written]

    def _end_run(self) -> None:
        """Text that came in pieces at once is one part."""
        run, texts = self._run, self._run_text
        if run is None:
            return
        choice, thought = run
        text = texts[0] if len(texts) == 1 else "".join(texts)
        self._run = None
        texts.clear()
        if text:
            choice.waiting.append(b'{"text":' + _encode(text) + (_THOUGHT_END if thought else b"}"))

    def _chunks(self) -> bytes:
        """What waits, as a chunk for each choice that has something."""
        written: list[bytes] = []
        for choice in self._choices.values():
            if choice.waiting:
                content = choice.waiting[0] if len(choice.waiting) == 1 else b",".join(choice.waiting)
                choice.waiting.clear()
                choice.said = True
                candidate = b'{"content":{"parts":[' + content + b'],"role":"model"},"index":%d' % choice.index
                if choice.logprobs:
                    candidate += b',"logprobsResult":' + _encode(wire_parts.logprobs(tuple(choice.logprobs)))
                    choice.logprobs.clear()
                written.append(self._chunk(b'"candidates":[' + candidate + b"}]"))
        return written[0] if len(written) == 1 else b"".join(written)

    def _chunk(self, members: bytes) -> bytes:
        before, self._first = self._first, self._between
        return before + b"{" + members + self._tail + self._after

    def _finish(self) -> bytes:
        candidates = b",".join(self._last_of(choice) for choice in self._choices.values())
        members = b'"candidates":[' + candidates + b"]" if candidates else b'"candidates":[]'
        if self._usage is not None:
            members += b',"usageMetadata":' + _encode(usage.to_wire(self._usage))
            self._lost |= dict.fromkeys(usage.lost(self._usage))
        return self._chunk(members) + self._last

    def _last_of(self, choice: _Choice) -> bytes:
        ended = choice.finish or exchange.Finish(reason="other")
        candidate: Wire = {}
        if choice.waiting or choice.said or ended.reason != "content_filter":
            waiting: list[object] = [msgspec.Raw(each) for each in choice.waiting]
            candidate["content"] = {"parts": waiting or [{"text": ""}], "role": "model"}
        candidate["finishReason"] = finish.TO_WIRE[ended.reason]
        candidate["index"] = choice.index
        ratings = wire_parts.safety(ended.safety, self._lost)
        if ratings is not None:
            candidate["safetyRatings"] = ratings
        if ended.stop_sequence is not None:
            self._lost["answer.stop_sequence"] = None
        if choice.cited and "groundingMetadata" not in choice.asides:
            made = grounding.to_wire(choice.cited, "".join(choice.texts))
            if made is not None:
                candidate["groundingMetadata"] = {"groundingChunks": made[0], "groundingSupports": made[1]}
        candidate |= {name: grounding.merged(pieces) for name, pieces in choice.asides.items()}
        if choice.logprobs:
            candidate["logprobsResult"] = wire_parts.logprobs(tuple(choice.logprobs))
        return _encode(candidate)


def _moved(citation: exchange.Citation, start: int) -> exchange.Citation:
    """A place in a part as one in all the text of a candidate, which is what a client has put together."""
    if not start or not isinstance(citation, exchange.UrlCitation):
        return citation
    return msgspec.structs.replace(
        citation,
        start=None if citation.start is None else citation.start + start,
        end=None if citation.end is None else citation.end + start,
    )
