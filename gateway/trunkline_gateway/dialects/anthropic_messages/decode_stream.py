"""A streamed answer of the API: events in, events of the exchange out.

https://docs.anthropic.com/en/docs/build-with-claude/streaming

Most events are deltas: one typed decoding each. Blocks of hosted tools are held until they are whole, because that is
how the exchange wants them; meanwhile there are signs of life.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialect import Asked, Frame
from trunkline_gateway.dialects.anthropic_messages import citations, decode_answer, errors, upstream_json, usage
from trunkline_gateway.dialects.anthropic_messages.blocks import Blocks, arguments_of
from trunkline_gateway.dialects.anthropic_messages.vocabulary import FINISH
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import (
    ArgumentsDelta,
    CitationDelta,
    End,
    Event,
    Failed,
    Finish,
    PartEnd,
    PartStart,
    Progress,
    Reasoning,
    ReasoningDelta,
    Seal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    ToolCall,
    UsageReport,
    events_of,
)

_NOTHING: Final[Sequence[Event]] = ()
_ALIVE: Final[Sequence[Event]] = (Progress(),)


class _WireDelta(msgspec.Struct, gc=False):
    """The ``delta`` of a block and of a message."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    citation: msgspec.Raw = msgspec.Raw()
    content: msgspec.Raw = msgspec.Raw()
    encrypted_content: msgspec.Raw = msgspec.Raw()
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: msgspec.Raw = msgspec.Raw()


class _WireEvent(msgspec.Struct, gc=False):
    """Any event; most are a delta."""

    type: str | None = None
    index: int | None = None
    delta: _WireDelta | None = None
    content_block: msgspec.Raw = msgspec.Raw()
    message: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


_decoder: Final = msgspec.json.Decoder(_WireEvent)


class _Block:
    """A block that has begun.

    Attributes:
        part: Its number in the exchange; -1: it is held until it is whole.
    """

    __slots__ = ("call", "held", "kind", "part", "pieces", "seal", "whole_input", "wrote")

    def __init__(self, kind: str, part: int) -> None:
        self.kind = kind
        self.part = part
        self.seal: str | None = None
        self.call: ToolCall | None = None
        self.wrote = False
        self.whole_input: str | None = None
        self.pieces: list[str] = []
        self.held: dict[str, msgspec.Raw] | None = None


class Decoder:
    """See `dialect.StreamDecoder`."""

    __slots__ = ("_asked", "_blocks", "_counts", "_ended", "_finished", "_open", "_parts", "_started")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._blocks = Blocks(asked)
        self._counts = usage.Counts()
        self._open: dict[int, _Block] = {}
        self._parts = 0
        self._started = False
        self._finished = False
        self._ended = False

    def receive(self, frame: Frame) -> Sequence[Event]:
        """See `dialect.StreamDecoder.receive`."""
        data = frame.data
        if self._ended or not data or data.isspace():
            return _NOTHING
        try:
            event = _decoder.decode(data)
        except upstream_json.UNREADABLE:
            event = _lenient(data)
        kind = event.type or frame.name.decode("ascii", "replace")
        if kind == "content_block_delta":
            return self._delta(event)
        act = _ON.get(kind)
        if act is not None:
            return act(self, event)
        if kind == "message" and not self._started:
            return self._whole_message(data)
        if event.error and not event.type:
            return self._error(event)
        if event.type or self._started:
            return _ALIVE  # ping, and what may come; or a frame that cannot be read
        raise UpstreamProtocolError("The upstream's answer is not a stream of the Messages API.")

    def receive_eof(self) -> Sequence[Event]:
        """See `dialect.StreamDecoder.receive_eof`: the reason it stopped is enough."""
        if self._ended or not self._finished:
            return _NOTHING
        self._ended = True
        return (End(),)

    # ---- the message ---------------------------------------------------------------------------------------------

    def _message_start(self, event: _WireEvent) -> Sequence[Event]:
        message = upstream_json.members(event.message)
        self._counts.receive(message.get("usage"))
        if self._started:
            return _ALIVE
        self._started = True
        return (
            Start(
                id=upstream_json.text(message.get("id")) or "",
                model=upstream_json.text(message.get("model")) or "",
                created=self._asked.now,
                usage=self._counts.usage(),
                service_tier=self._counts.service_tier,
            ),
        )

    def _message_delta(self, event: _WireEvent) -> Sequence[Event]:
        self._started = True
        events: list[Event] = []
        if event.usage:
            self._counts.receive(event.usage)
            counted = self._counts.usage()
            if counted is not None:
                events.append(UsageReport(counted))
        delta = event.delta
        if delta is not None and delta.stop_reason is not None:
            events += self._finish(delta)
        return events or _ALIVE

    def _message_stop(self, event: _WireEvent) -> Sequence[Event]:
        events = self._finish(_WireDelta())
        self._started = self._ended = True
        return [*events, End()]

    def _finish(self, delta: _WireDelta) -> list[Event]:
        if self._finished:
            return []
        events: list[Event] = []
        for index in list(self._open):
            events += self._end(index)
        self._finished = True
        safety = upstream_json.clean(delta.stop_details) if upstream_json.members(delta.stop_details) else None
        reason = FINISH.get(delta.stop_reason or "", "other")
        events.append(Finish(reason=reason, stop_sequence=delta.stop_sequence, safety=safety))
        return events

    def _error(self, event: _WireEvent) -> Sequence[Event]:
        self._ended = True
        error = upstream_json.members(event.error)
        word = upstream_json.text(error.get("type")) or ""
        message = upstream_json.text(error.get("message")) or upstream_json.text(event.error)
        return (
            Failed(
                status=errors.status_of(word),
                message=message or "The upstream failed within its answer.",
                type=word,
                code=upstream_json.text(error.get("code")) or "",
            ),
        )

    def _whole_message(self, data: bytes) -> Sequence[Event]:
        """Some answer a request for a stream with one event that is all of it."""
        answer = decode_answer.decode(data, self._asked)
        self._started = self._ended = True
        return events_of(answer)

    # ---- blocks --------------------------------------------------------------------------------------------------

    def _block_start(self, event: _WireEvent) -> Sequence[Event]:
        self._started = True
        if self._finished:
            return _NOTHING
        index = event.index or 0
        events = self._end(index) if index in self._open else []
        said = upstream_json.members(event.content_block)
        kind = upstream_json.text(said.get("type")) or ""
        if kind == "text":
            events += self._begin(index, "text")
            events += self._text_of(index, upstream_json.text(said.get("text")), said.get("citations"))
        elif kind == "thinking":
            events += self._begin(index, "thinking")
            self._open[index].seal = upstream_json.text(said.get("signature"))
            if text := upstream_json.text(said.get("thinking")):
                events.append(ReasoningDelta(self._open[index].part, text))
        elif kind == "redacted_thinking":
            events += self._begin(index, "redacted_thinking")
            self._open[index].seal = upstream_json.text(said.get("data"))
        elif kind == "tool_use":
            call = self._blocks.call(said)
            events += self._begin(index, "tool_use", call)
            block = self._open[index]
            block.call = call
            block.whole_input = arguments_of(said)
        elif kind:
            block = self._open[index] = _Block(kind, -1)
            block.held = dict(said)
        return events or _ALIVE

    def _begin(self, index: int, kind: str, call: ToolCall | None = None) -> list[Event]:
        block = self._open[index] = _Block(kind, self._parts)
        self._parts += 1
        return [PartStart(block.part, call or (Text(text="") if kind == "text" else Reasoning()))]

    def _text_of(self, index: int, text: str | None, cited: msgspec.Raw | None) -> list[Event]:
        part = self._open[index].part
        events: list[Event] = [TextDelta(part, text)] if text else []
        events += [CitationDelta(part, each) for each in citations.read_all(cited)]
        return events

    def _block_stop(self, event: _WireEvent) -> Sequence[Event]:
        index = event.index or 0
        return self._end(index) if index in self._open else _ALIVE

    def _end(self, index: int) -> list[Event]:
        """What ends a block, and all of it where it was held."""
        block = self._open.pop(index)
        events: list[Event] = []
        if block.held is not None:
            whole = self._blocks.part(_whole(block.held, block.pieces))
            if whole is None:
                return []
            block.part = self._parts
            self._parts += 1
            events.append(PartStart(block.part, whole))
        elif block.call is not None:
            if not block.wrote:
                text = "".join(block.pieces) or block.whole_input or ""
                arguments = self._blocks.arguments(block.call, text)
                if arguments:
                    events.append(ArgumentsDelta(block.part, arguments))
        else:
            seal: Seal | None = self._blocks.seal(block.seal)
            if seal is not None:
                events.append(SealDelta(block.part, seal, block.kind == "redacted_thinking"))
        events.append(PartEnd(block.part))
        return events

    def _delta(self, event: _WireEvent) -> Sequence[Event]:
        delta = event.delta
        if delta is None or self._finished:
            return _ALIVE if self._started else _NOTHING
        index = event.index or 0
        block = self._open.get(index)
        kind = delta.type
        if kind == "text_delta":
            if not delta.text:
                return _ALIVE
            if block is not None and block.kind == "text":
                return (TextDelta(block.part, delta.text),)
            events = self._open_for(index, "text")
            return [*events, TextDelta(self._open[index].part, delta.text)]
        if kind == "thinking_delta":
            if not delta.thinking:
                return _ALIVE
            if block is not None and block.kind == "thinking":
                return (ReasoningDelta(block.part, delta.thinking),)
            events = self._open_for(index, "thinking")
            return [*events, ReasoningDelta(self._open[index].part, delta.thinking)]
        if block is None:
            return _ALIVE
        if kind == "input_json_delta":
            return self._input(block, delta.partial_json)
        return self._rare(block, delta)

    def _open_for(self, index: int, kind: str) -> list[Event]:
        """A block that nobody began, or that began as something else: its text is not given up for that."""
        self._started = True
        before = self._end(index) if index in self._open else []
        return before + self._begin(index, kind)

    def _input(self, block: _Block, text: str | None) -> Sequence[Event]:
        if not text:
            return _ALIVE
        if block.call is None or block.call.custom:  # free text stands in a string, to be read when it is whole
            block.pieces.append(text)
            return _ALIVE
        block.wrote = True
        return (ArgumentsDelta(block.part, text),)

    def _rare(self, block: _Block, delta: _WireDelta) -> Sequence[Event]:
        if delta.type == "signature_delta":
            if block.kind == "thinking":
                block.seal = delta.signature or block.seal
        elif delta.type == "citations_delta":
            found = citations.read(delta.citation)
            if block.kind == "text" and found is not None:
                return (CitationDelta(block.part, found),)
        elif delta.type == "compaction_delta" and block.held is not None:
            block.held |= {
                name: upstream_json.clean(value)
                for name, value in (("content", delta.content), ("encrypted_content", delta.encrypted_content))
                if value
            }
        return _ALIVE


# Of the class and not of an object, which would then hold itself and wait for the garbage collector.
_ON: Final[Mapping[str, Callable[[Decoder, _WireEvent], Sequence[Event]]]] = {
    "content_block_start": Decoder._block_start,
    "content_block_stop": Decoder._block_stop,
    "message_start": Decoder._message_start,
    "message_delta": Decoder._message_delta,
    "message_stop": Decoder._message_stop,
    "error": Decoder._error,
}


def _whole(held: dict[str, msgspec.Raw], pieces: Sequence[str]) -> msgspec.Raw:
    """A block that was held, with the input that came in pieces."""
    input = "".join(pieces).encode("utf-8", "replace")
    if input and upstream_json.is_json(input):
        held["input"] = msgspec.Raw(input)
    return msgspec.Raw(msgspec.json.encode(held))


def _lenient(data: bytes) -> _WireEvent:
    """What can be read of an event that is not as it should be; nothing, if need be."""
    said = upstream_json.read(_decoder, data)
    if said is not None:
        return said
    top = upstream_json.members(data)
    below = upstream_json.members(top.get("delta"))
    nothing = msgspec.Raw()
    delta = _WireDelta(
        type=upstream_json.text(below.get("type")),
        text=upstream_json.text(below.get("text")),
        partial_json=upstream_json.text(below.get("partial_json")),
        thinking=upstream_json.text(below.get("thinking")),
        signature=upstream_json.text(below.get("signature")),
        citation=below.get("citation", nothing),
        content=below.get("content", nothing),
        encrypted_content=below.get("encrypted_content", nothing),
        stop_reason=upstream_json.text(below.get("stop_reason")),
        stop_sequence=upstream_json.text(below.get("stop_sequence")),
        stop_details=below.get("stop_details", nothing),
    )
    return _WireEvent(
        type=upstream_json.text(top.get("type")),
        index=upstream_json.count(top.get("index")),
        delta=delta,
        content_block=top.get("content_block", nothing),
        message=top.get("message", nothing),
        usage=top.get("usage", nothing),
        error=top.get("error", nothing),
    )
