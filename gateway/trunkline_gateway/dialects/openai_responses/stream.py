"""A streamed response of an upstream, read.

https://platform.openai.com/docs/api-reference/responses-streaming

The same content comes up to four times: in deltas, in the ``done`` of a piece, in that of its item, and in the whole
response at the end. The first that has it counts; so an upstream that sends no deltas, or no ``done``, gives all of it
once nevertheless. Items are told apart by ``output_index``, as several may be open.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Asked, Frame
from trunkline_gateway.dialects.openai_responses import answer, citations, frames, logprobs, reading, usage
from trunkline_gateway.dialects.openai_responses import errors as wire_errors
from trunkline_gateway.dialects.openai_responses.frames import NONE, WireEvent
from trunkline_gateway.exchange import Event

_PROGRESS: Final = (exchange.Progress(),)


class _Piece:
    """A part that has begun."""

    __slots__ = ("citations", "ended", "index", "likely", "said")

    def __init__(self, index: int) -> None:
        self.index = index
        self.said = False  # some of its content has come
        self.citations = 0
        self.likely = False  # some of its logprobs have come
        self.ended = False


class _Item:
    """An item of the output. ``pieces``: of a message by ``content_index``; all others have one at most, at 0."""

    __slots__ = ("done", "id", "paragraph", "pieces", "refusals", "summary")

    def __init__(self) -> None:
        self.id = ""
        self.pieces: dict[int, _Piece] = {}
        self.refusals: set[int] = set()
        self.summary: bool | None = None  # of reasoning: which of its two texts is read
        self.paragraph: int | None = None
        self.done = False


class ResponseDecoder:
    """See `dialect.StreamDecoder`."""

    __slots__ = ("_asked", "_calls", "_ended", "_handlers", "_items", "_parts", "_reader", "_refused", "_started")

    def __init__(self, asked: Asked) -> None:
        """Begin an answer."""
        self._asked = asked
        self._reader = answer.ItemReader(asked)
        self._items: dict[int, _Item] = {}
        self._parts = 0
        self._calls = False
        self._refused = False
        self._started = False
        self._ended = False
        self._handlers: Mapping[str, _Handler] = {
            "response.output_text.delta": self._text_delta,
            "response.function_call_arguments.delta": self._call_delta,
            "response.custom_tool_call_input.delta": self._call_delta,
            "response.reasoning_summary_text.delta": self._summary_delta,
            "response.reasoning_text.delta": self._thought_delta,
            "response.refusal.delta": self._refusal_delta,
            "response.created": self._lifecycle,
            "response.queued": self._lifecycle,
            "response.in_progress": self._lifecycle,
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": self._content_added,
            "response.content_part.done": self._content_done,
            "response.output_text.done": self._text_done,
            "response.refusal.done": self._refusal_done,
            "response.output_text.annotation.added": self._annotation,
            "response.function_call_arguments.done": self._call_done,
            "response.custom_tool_call_input.done": self._call_done,
            "response.completed": self._finished,
            "response.incomplete": self._finished,
        }

    def receive(self, frame: Frame) -> list[Event]:
        """Read one frame.

        Raises:
            UpstreamProtocolError: It is not the dialect, and nothing of the answer has come yet.
        """
        data = frame.data
        if self._ended or not data:
            return []
        wire = frames.read(data)
        if wire is None:
            return []
        events: list[Event] = []
        handler = self._handlers.get(wire.type)
        if handler is not None:
            if not self._started:
                self._start(events, reading.NOTHING if wire.response is NONE else _object(wire.response))
            handler(wire, events)
        elif wire.type in ("error", "response.failed") or frame.name == b"error" or b'"error"' in data:
            self._error(wire, data, frame.name, events)
        elif wire.type.startswith("response."):
            events.extend(_PROGRESS)  # a hosted tool at work, or something newer than this
        elif not self._started and not wire.type:
            raise errors.UpstreamProtocolError("The upstream sent an event that is not one of a response.")
        return events

    def receive_eof(self) -> list[Event]:
        """Nothing: the last event is the end, and without it the answer was cut short."""
        return []

    # ---- the answer

    def _start(self, events: list[Event], response: reading.Object) -> None:
        self._started = True
        events.append(
            exchange.Start(
                id=reading.text(response.get("id")) or self._asked.new_id(0, "resp_"),
                model=reading.text(response.get("model")),
                created=answer.created(response) or self._asked.now,
                service_tier=reading.text(response.get("service_tier")) or None,
            )
        )

    def _lifecycle(self, wire: WireEvent, events: list[Event]) -> None:
        if not events:
            events.extend(_PROGRESS)

    def _finished(self, wire: WireEvent, events: list[Event]) -> None:
        response = _object(wire.response)
        if response.get("status") == "failed":
            self._fail(reading.mapping(response.get("error")), events)
            return
        output = response.get("output")
        if isinstance(output, list):
            self._catch_up(output, events)
        for item in self._items.values():
            self._end_pieces(item, events)
        if self._calls:
            parts: list[exchange.Part] = [exchange.ToolCall(id="", name="")]
        else:
            parts = [exchange.Refusal(text="")] if self._refused else []
        if wire.type == "response.incomplete":
            response = {**response, "status": "incomplete"}
        events.append(exchange.Finish(reason=answer.finish_reason(response, parts)))
        counts = usage.read(response.get("usage"))
        if counts is not None:
            events.append(exchange.UsageReport(counts))
        events.append(exchange.End())
        self._ended = True

    def _catch_up(self, output: list[object], events: list[Event]) -> None:
        """Items of which no ``done`` came. Where the end counts them differently, only what nobody has seen is new."""
        if any(item.done for item in self._items.values()) and len(output) < len(self._items):
            return
        for index, item in enumerate(output):
            if isinstance(item, dict):
                self._whole_item(index, item, events)

    def _error(self, wire: WireEvent, data: bytes, name: bytes, events: list[Event]) -> None:
        value = reading.mapping(reading.parse(data))
        error: object = value.get("error")
        if error is None and wire.type == "response.failed":
            error = reading.mapping(value.get("response")).get("error")
        if wire.type in ("error", "response.failed") or name == b"error" or error:
            self._fail(error if error else value, events)

    def _fail(self, error: object, events: list[Event]) -> None:
        found = error if isinstance(error, dict) else {"message": error}
        code = found.get("code")
        events.append(
            exchange.Failed(
                status=wire_errors.status_of(found),
                message=reading.text(found.get("message")) or "The upstream failed.",
                type=reading.text(found.get("type")),
                code=code if isinstance(code, str) else "",
                param=reading.text(found.get("param")) or None,
            )
        )
        self._ended = True

    # ---- items

    def _item(self, wire: WireEvent) -> _Item:
        index = wire.output_index or 0
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item()
        return item

    def _item_added(self, wire: WireEvent, events: list[Event]) -> None:
        item, value = self._item(wire), _object(wire.item)
        item.id = reading.text(value.get("id"))
        if value.get("type") in ("function_call", "custom_tool_call") and value.get("name"):
            self._begin_call(item, value, events)

    def _item_done(self, wire: WireEvent, events: list[Event]) -> None:
        self._whole_item(wire.output_index or 0, _object(wire.item), events)

    def _whole_item(self, index: int, value: reading.Object, events: list[Event]) -> None:
        """All that an item says which has not come before; it ends."""
        item = self._items.get(index)
        if item is None:
            item = self._items[index] = _Item()
        if item.done or not value:
            return
        item.done = True
        match value.get("type"):
            case "message":
                for number, piece in enumerate(reading.mappings(value.get("content"))):
                    self._whole_content(item, number, piece, events)
            case "reasoning":
                self._whole_reasoning(item, value, events)
            case "function_call" | "custom_tool_call" as kind:
                self._whole_call(item, value, value.get("input" if kind == "custom_tool_call" else "arguments"), events)
            case _:
                for part in self._reader.parts(value):
                    item.pieces[0] = self._begin(part, events)
        self._end_pieces(item, events)

    def _begin(self, part: exchange.Part, events: list[Event]) -> _Piece:
        piece = _Piece(self._parts)
        self._parts += 1
        events.append(exchange.PartStart(piece.index, part))
        return piece

    def _end_pieces(self, item: _Item, events: list[Event]) -> None:
        for piece in item.pieces.values():
            self._end(piece, events)

    def _end(self, piece: _Piece, events: list[Event]) -> None:
        if not piece.ended:
            piece.ended = True
            events.append(exchange.PartEnd(piece.index))

    # ---- messages

    def _content_added(self, wire: WireEvent, events: list[Event]) -> None:
        match _object(wire.part).get("type"):
            case "output_text":
                self._content(wire, events, refusal=False)
            case "refusal":
                self._content(wire, events, refusal=True)

    def _content(self, wire: WireEvent, events: list[Event], *, refusal: bool) -> _Piece:
        item = self._item(wire)
        return self._content_of(item, wire.content_index or 0, events, refusal=refusal)

    def _content_of(self, item: _Item, number: int, events: list[Event], *, refusal: bool) -> _Piece:
        piece = item.pieces.get(number)
        if piece is None:
            part = exchange.Refusal(text="") if refusal else exchange.Text(text="")
            piece = item.pieces[number] = self._begin(part, events)
            if refusal:
                item.refusals.add(number)
            self._refused = refusal
        return piece

    def _text_delta(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._content(wire, events, refusal=False)
        if piece.ended or (wire.content_index or 0) in self._item(wire).refusals:
            return
        if wire.delta:
            piece.said = True
            events.append(exchange.TextDelta(piece.index, wire.delta))
        if wire.logprobs is not NONE:
            self._logprobs(piece, reading.parse(wire.logprobs), events)

    def _logprobs(self, piece: _Piece, value: object, events: list[Event]) -> None:
        if value and (found := logprobs.read(value)):
            piece.likely = True
            events.append(exchange.LogprobsDelta(found))

    def _refusal_delta(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._content(wire, events, refusal=True)
        if wire.delta and not piece.ended and (wire.content_index or 0) in self._item(wire).refusals:
            piece.said = True
            events.append(exchange.RefusalDelta(piece.index, wire.delta))

    def _annotation(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._content(wire, events, refusal=False)
        citation = citations.read_one(_object(wire.annotation))
        if citation is not None and not piece.ended and (wire.content_index or 0) not in self._item(wire).refusals:
            piece.citations += 1
            events.append(exchange.CitationDelta(piece.index, citation))

    def _text_done(self, wire: WireEvent, events: list[Event]) -> None:
        if wire.text:
            value = {"type": "output_text", "text": wire.text, "logprobs": reading.parse(wire.logprobs)}
            self._whole_content(self._item(wire), wire.content_index or 0, value, events)

    def _refusal_done(self, wire: WireEvent, events: list[Event]) -> None:
        if wire.refusal:
            value = {"type": "refusal", "refusal": wire.refusal}
            self._whole_content(self._item(wire), wire.content_index or 0, value, events)

    def _content_done(self, wire: WireEvent, events: list[Event]) -> None:
        item, number = self._item(wire), wire.content_index or 0
        self._whole_content(item, number, _object(wire.part), events)
        if item.summary is None and (piece := item.pieces.get(number)) is not None:
            self._end(piece, events)

    def _whole_content(self, item: _Item, number: int, value: reading.Object, events: list[Event]) -> None:
        part = answer.content(value)
        if part is None or item.summary is not None:
            return
        piece = self._content_of(item, number, events, refusal=isinstance(part, exchange.Refusal))
        if piece.ended or (number in item.refusals) != isinstance(part, exchange.Refusal):
            return
        if part.text and not piece.said:
            piece.said = True
            delta = exchange.RefusalDelta if isinstance(part, exchange.Refusal) else exchange.TextDelta
            events.append(delta(piece.index, part.text))
        if isinstance(part, exchange.Text):
            for citation in part.citations[piece.citations :]:
                piece.citations += 1
                events.append(exchange.CitationDelta(piece.index, citation))
            if not piece.likely:
                self._logprobs(piece, value.get("logprobs"), events)

    # ---- reasoning

    def _summary_delta(self, wire: WireEvent, events: list[Event]) -> None:
        self._reason(wire, wire.summary_index or 0, events, summary=True)

    def _thought_delta(self, wire: WireEvent, events: list[Event]) -> None:
        self._reason(wire, wire.content_index or 0, events, summary=False)

    def _reason(self, wire: WireEvent, paragraph: int, events: list[Event], *, summary: bool) -> None:
        item = self._item(wire)
        if not wire.delta:
            return
        if item.summary is None:
            item.summary = summary
        if item.summary is not summary:
            return
        piece = item.pieces.get(0)
        if piece is None:
            piece = item.pieces[0] = self._begin(exchange.Reasoning(summary=summary, id=item.id), events)
        if piece.ended:
            return
        if item.paragraph is not None and item.paragraph != paragraph:
            events.append(exchange.ReasoningDelta(piece.index, answer.JOIN))
        item.paragraph = paragraph
        piece.said = True
        events.append(exchange.ReasoningDelta(piece.index, wire.delta))

    def _whole_reasoning(self, item: _Item, value: reading.Object, events: list[Event]) -> None:
        text, summary = answer.reasoning_text(value)
        seal = self._reader.seal(value)
        piece = item.pieces.get(0)
        if piece is None:
            if not text and seal is None:
                return
            item.summary = summary
            part = exchange.Reasoning(summary=summary, id=reading.text(value.get("id")))
            piece = item.pieces[0] = self._begin(part, events)
        if piece.ended:
            return
        if text and not piece.said:
            events.append(exchange.ReasoningDelta(piece.index, text))
        if seal is not None:
            events.append(exchange.SealDelta(piece.index, seal, encrypted=True))

    # ---- calls

    def _begin_call(self, item: _Item, value: reading.Object, events: list[Event]) -> _Piece:
        piece = item.pieces.get(0)
        if piece is None:
            self._calls = True
            piece = item.pieces[0] = self._begin(self._reader.call_head(value), events)
        return piece

    def _call_delta(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._item(wire).pieces.get(0)
        if piece is not None and wire.delta and not piece.ended:  # else its name is not known yet
            piece.said = True
            events.append(exchange.ArgumentsDelta(piece.index, wire.delta))

    def _call_done(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._item(wire).pieces.get(0)
        given = wire.input if wire.arguments is None else wire.arguments
        if piece is not None and given and not piece.said and not piece.ended:
            piece.said = True
            events.append(exchange.ArgumentsDelta(piece.index, given))

    def _whole_call(self, item: _Item, value: reading.Object, given: object, events: list[Event]) -> None:
        piece = self._begin_call(item, value, events)
        arguments = answer.arguments_of(given)
        if arguments and not piece.said and not piece.ended:
            events.append(exchange.ArgumentsDelta(piece.index, arguments))


_Handler: TypeAlias = Callable[[WireEvent, list[Event]], None]


def _object(value: msgspec.Raw) -> reading.Object:
    return reading.NOTHING if value is NONE else reading.mapping(reading.parse(value))
