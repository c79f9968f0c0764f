"""A streamed answer for a client: events of the exchange in, events of the API out.

https://docs.anthropic.com/en/docs/build-with-claude/streaming

One ``message_start``; blocks with numbers 0..n, each with one start and one stop. A block begins with its first
content, so that none is empty. At most one block of text or thinking is open: where another begins while more of the
first part may come, the first is closed, and goes on in a new block. Calls of tools may be open beside it, several at
once, because their arguments cannot be split.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from trunkline_gateway.dialects.anthropic_messages import encode_blocks, usage
from trunkline_gateway.dialects.anthropic_messages.encode_blocks import Lost, dumps
from trunkline_gateway.exchange import (
    ArgumentsDelta,
    Audio,
    AudioDelta,
    ChatRequest,
    Citation,
    CitationDelta,
    End,
    Event,
    Failed,
    Finish,
    FinishReason,
    LogprobsDelta,
    Part,
    PartEnd,
    PartStart,
    Progress,
    Reasoning,
    ReasoningDelta,
    Refusal,
    RefusalDelta,
    Seal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    ToolCall,
    Usage,
    UsageReport,
)

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'

_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

_Handler: TypeAlias = Callable[..., bytes]


class _Part:
    """A part that has begun.

    Attributes:
        block: The number of its open block; -1: it has none (yet, or any more).
        delta: How a delta of its text begins.
        wrote: Something of its text has been said.
        free_text: Its arguments are no object.
        called: The spaces that its arguments begin with.
    """

    __slots__ = ("block", "called", "delta", "encrypted", "free_text", "part", "seal", "wrote")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.block = -1
        self.delta = b""
        self.seal: Seal | None = None
        self.encrypted: Seal | None = None
        self.wrote = False
        self.free_text = isinstance(part, ToolCall) and part.custom
        self.called: list[str] = []


class Encoder:
    """See `dialect.StreamEncoder`."""

    __slots__ = (
        "_called", "_done", "_finish", "_lost", "_next", "_parts", "_refused", "_request", "_service_tier",
        "_started", "_usage", "_writing",
    )  # fmt: skip

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._lost: Lost = {}
        self._parts: dict[int, _Part] = {}
        self._writing: _Part | None = None
        self._next = 0
        self._started = False
        self._done = False
        self._called = False
        self._refused = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._service_tier: str | None = None

    @property
    def lost(self) -> tuple[str, ...]:
        """See `dialect.StreamEncoder.lost`."""
        return tuple(self._lost)

    def encode(self, events: Sequence[Event]) -> bytes:
        """See `dialect.StreamEncoder.encode`."""
        if len(events) == 1 and self._started:
            event = events[0]
            if not getattr(event, "choice", 0):
                return _ON[type(event)](self, event)
        out: list[bytes] = []
        for event in events:
            if getattr(event, "choice", 0):
                self._lost["answer.choices"] = None
                continue
            if not self._started and not isinstance(event, Start | Progress):
                out.append(self._start(Start()))
            out.append(_ON[type(event)](self, event))
        return b"".join(out)

    # ---- the message ---------------------------------------------------------------------------------------------

    def _start(self, event: Start) -> bytes:
        if self._started:
            return b""
        self._started = True
        self._usage = event.usage
        self._service_tier = encode_blocks.service_tier(event.service_tier)
        message: dict[str, object] = {
            "id": encode_blocks.message_id(event.id, self._request),
            "type": "message",
            "role": "assistant",
            "model": event.model or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage.wire(event.usage, self._service_tier),
        }
        return _event(b"message_start", {"type": "message_start", "message": message})

    def _progress(self, event: Progress | Failed) -> bytes:
        return PING if self._started and isinstance(event, Progress) else b""

    def _usage_report(self, event: UsageReport) -> bytes:
        self._usage = event.usage
        return b""

    def _logprobs(self, event: LogprobsDelta) -> bytes:
        if event.logprobs:
            self._lost["answer.logprobs"] = None
        return b""

    def _finished(self, event: Finish) -> bytes:
        """Held until the end, because the usage goes with it."""
        out = [self._part_end(PartEnd(index)) for index in list(self._parts)]
        self._finish = event
        return b"".join(out)

    def _end(self, event: End) -> bytes:
        if self._done:
            return b""
        self._done = True
        out = [self._part_end(PartEnd(index)) for index in list(self._parts)]
        finish = self._finish
        reason: FinishReason = finish.reason if finish is not None else "other"
        delta: dict[str, object] = {
            "stop_reason": encode_blocks.stop_reason(reason, called=self._called, refused=self._refused),
            "stop_sequence": finish.stop_sequence if finish is not None else None,
        }
        details = encode_blocks.stop_details(finish.safety, self._lost) if finish is not None else None
        if details is not None:
            delta["stop_details"] = details
        encode_blocks.note_usage(self._usage, self._lost)
        body = {"type": "message_delta", "delta": delta, "usage": usage.wire(self._usage)}
        return b"".join([*out, _event(b"message_delta", body), _STOP])

    # ---- parts ---------------------------------------------------------------------------------------------------

    def _part_start(self, event: PartStart) -> bytes:
        part = event.part
        kept = self._parts[event.index] = _Part(part)
        match part:
            case Text():
                if part.seal is not None:
                    self._lost["answer.reasoning_signature"] = None
                out = self._write(kept, part.text) if part.text else b""
                return out + b"".join(self._cite(kept, each) for each in part.citations)
            case Refusal():
                self._refused = True
                return self._write(kept, part.text) if part.text else b""
            case Reasoning():
                kept.seal, kept.encrypted = part.signature, part.encrypted
                return self._write(kept, part.text) if part.text else b""
            case ToolCall():
                self._called = True
                kept.seal = part.seal
                out = self._open(kept, encode_blocks.tool_use(part, self._lost))
                return out + (self._argue(kept, part.arguments) if part.arguments else b"")
            case Audio():
                self._lost["answer.audio"] = None
                return self._write(kept, part.transcript) if part.transcript else b""
            case _:
                own = encode_blocks.own_block(part)
                if own is None:
                    encode_blocks.note_loss(part, self._lost)
                    return b""
                return self._open(kept, own)

    def _text(self, event: TextDelta | RefusalDelta | ReasoningDelta) -> bytes:
        part = self._parts.get(event.index)
        if part is None or not event.text:
            return b""
        if part.block >= 0:
            try:
                return part.delta + _encode(event.text) + b"}}\n\n"
            except UnicodeEncodeError:
                pass
        return self._write(part, event.text)

    def _arguments(self, event: ArgumentsDelta) -> bytes:
        part = self._parts.get(event.index)
        return b"" if part is None or not event.text else self._argue(part, event.text)

    def _seal(self, event: SealDelta) -> bytes:
        part = self._parts.get(event.index)
        if part is None:
            return b""
        if isinstance(part.part, Text):
            self._lost["answer.reasoning_signature"] = None  # a block of text has no place for one
        elif event.encrypted:
            part.encrypted = event.seal
        else:
            part.seal = event.seal
        return b""

    def _citation(self, event: CitationDelta) -> bytes:
        part = self._parts.get(event.index)
        return b"" if part is None else self._cite(part, event.citation)

    def _audio(self, event: AudioDelta) -> bytes:
        part = self._parts.get(event.index)
        return b"" if part is None or not event.transcript else self._write(part, event.transcript)

    def _part_end(self, event: PartEnd) -> bytes:
        part = self._parts.pop(event.index, None)
        if part is None:
            return b""
        if isinstance(part.part, Reasoning):
            return self._end_of_reasoning(part)
        out = self._argue_end(part) if isinstance(part.part, ToolCall) else b""
        out += self._close(part)
        if isinstance(part.part, ToolCall) and part.seal is not None:
            after = encode_blocks.goes_after(part.seal, self._lost)
            out += b"" if after is None else self._redacted(after)
        return out

    def _end_of_reasoning(self, part: _Part) -> bytes:
        """Its seals come last; thoughts that are nothing but a seal are a block of their own."""
        if part.encrypted is not None and part.seal is None and not part.wrote:
            return self._redacted(part.encrypted)
        seal = part.seal or part.encrypted
        if not part.wrote and seal is None:
            return b""
        out = self._open_text(part) if seal is not None and part.block < 0 else b""
        out += self._sign(part, seal) + self._close(part)
        if part.seal is not None and part.encrypted is not None:
            out += self._redacted(part.encrypted)
        return out

    def _sign(self, part: _Part, seal: Seal | None) -> bytes:
        """The signature of a block of thoughts, without which none may end."""
        if part.block < 0 or not isinstance(part.part, Reasoning):
            return b""
        return self._delta(part, {"type": "signature_delta", "signature": encode_blocks.sealed(seal)})

    # ---- blocks --------------------------------------------------------------------------------------------------

    def _write(self, part: _Part, text: str) -> bytes:
        """More of a part's text, in a new block if need be."""
        opened = b"" if part.block >= 0 else self._open_text(part)
        part.wrote = True
        return opened + part.delta + dumps(text) + b"}}\n\n"

    def _open_text(self, part: _Part) -> bytes:
        if isinstance(part.part, Reasoning):
            return self._open(part, {"type": "thinking", "thinking": "", "signature": ""}, b"thinking")
        return self._open(part, {"type": "text", "text": ""}, b"text")

    def _open(self, part: _Part, block: object, text: bytes = b"") -> bytes:
        """Begin a block; ``text``: what its deltas are called, unless it is a call or whole."""
        before = b"" if self._writing is None else self._sign(self._writing, None) + self._close(self._writing)
        if text:
            self._writing = part
        number = part.block = self._next
        self._next += 1
        name = text or b"partial_json"
        kind = text + b"_delta" if text else b"input_json_delta"
        part.delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
            % (number, kind, name)
        )
        start = {"type": "content_block_start", "index": number, "content_block": block}
        return before + _event(b"content_block_start", start)

    def _delta(self, part: _Part, delta: dict[str, object]) -> bytes:
        said = {"type": "content_block_delta", "index": part.block, "delta": delta}
        return _event(b"content_block_delta", said)

    def _close(self, part: _Part) -> bytes:
        if self._writing is part:
            self._writing = None
        if part.block < 0:
            return b""
        number, part.block = part.block, -1
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % number

    def _redacted(self, seal: Seal) -> bytes:
        part = _Part(Reasoning())
        return self._open(part, encode_blocks.redacted(seal)) + self._close(part)

    def _cite(self, part: _Part, said: Citation) -> bytes:
        wire = encode_blocks.citation(said, self._lost)
        if wire is None:
            return b""
        opened = b"" if part.block >= 0 else self._open_text(part)
        return opened + self._delta(part, {"type": "citations_delta", "citation": wire})

    # ---- calls ---------------------------------------------------------------------------------------------------

    def _argue(self, part: _Part, text: str) -> bytes:
        """More of a call's arguments; what is no object becomes the member ``input``, as in a whole answer."""
        if part.block < 0:
            return b""
        opened = ""
        if not part.wrote:
            first = text.lstrip()[:1]
            part.called.append(text)
            if not first and not part.free_text:
                return b""
            text = "".join(part.called)
            part.wrote = True
            if part.free_text or first != "{":
                if not part.free_text:
                    self._lost["tool_arguments"] = None
                part.free_text = True
                opened = '{"input":"'
        if part.free_text:
            text = opened + dumps(text)[1:-1].decode()
        return part.delta + dumps(text) + b"}}\n\n"

    def _argue_end(self, part: _Part) -> bytes:
        if not part.free_text:
            return b""
        end = '"}' if part.wrote else '{"input":""}'
        return part.delta + dumps(end) + b"}}\n\n"


# Of the class and not of an object, which would then hold itself and wait for the garbage collector.
_ON: Final[Mapping[type, _Handler]] = {
    Start: Encoder._start,
    PartStart: Encoder._part_start,
    TextDelta: Encoder._text,
    RefusalDelta: Encoder._text,
    ReasoningDelta: Encoder._text,
    ArgumentsDelta: Encoder._arguments,
    SealDelta: Encoder._seal,
    CitationDelta: Encoder._citation,
    AudioDelta: Encoder._audio,
    PartEnd: Encoder._part_end,
    LogprobsDelta: Encoder._logprobs,
    Progress: Encoder._progress,
    UsageReport: Encoder._usage_report,
    Finish: Encoder._finished,
    End: Encoder._end,
    Failed: Encoder._progress,
}


def _event(name: bytes, body: object) -> bytes:
    return b"event: " + name + b"\ndata: " + dumps(body) + b"\n\n"


_encode: Final = encode_blocks.ENCODER.encode
