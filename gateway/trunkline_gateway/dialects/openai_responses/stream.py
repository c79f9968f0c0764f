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

_Handler: TypeAlias = Callable[[WireEvent, list[Event]], None]
_Content: TypeAlias = type[exchange.Text] | type[exchange.Refusal]


class _Piece:
    """A part that has begun. ``kind``: of the part, so that nothing of another kind is added to it."""

    __slots__ = ("citations", "ended", "index", "kind", "likely", "said")

    def __init__(self, index: int, kind: type[exchange.Part]) -> None:
        self.index = index
        self.kind = kind
        self.said = False  # some of its content has come
        self.citations = 0
        self.likely = False  # some of its logprobs have come
        self.ended = False


class _Item:
    """An item of the output. ``pieces``: of a message by ``content_index``; all others have one at most, at 0."""

    __slots__ = ("done", "id", "paragraph", "pieces", "summary")

    def __init__(self) -> None:
        self.id = ""
        self.pieces: dict[int, _Piece] = {}
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
        self._items: dict[int | str, _Item] = {}
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
        elif wire.type in ("error", "response.failed") or frame.name == b"error":
            self._error(wire, data, events)
        elif wire.type.startswith("response."):
            events.extend(_PROGRESS)  # a hosted tool at work, or something newer than this
        elif b'"error"' in data and reading.mapping(reading.parse(data)).get("error"):
            self._error(wire, data, events)  # as OpenAI chat has it
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
        all_seen = len(self._items) >= len(output)
        for index, value in enumerate(output):
            if isinstance(value, dict):
                key = value.get("id")
                key = key if isinstance(key, str) and key in self._items else index
                if not all_seen or key in self._items:
                    self._whole_item(key, value, events)

    def _error(self, wire: WireEvent, data: bytes, events: list[Event]) -> None:
        value = reading.mapping(reading.parse(data))
        error: object = value.get("error")
        if not error and wire.type == "response.failed":
            error = reading.mapping(value.get("response")).get("error") or reading.NOTHING
        self._fail(value if error is None else error, events)

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
        return self._item_of(wire.item_id or 0 if wire.output_index is None else wire.output_index)

    def _item_of(self, key: int | str) -> _Item:
        item = self._items.get(key)
        if item is None:
            item = self._items[key] = _Item()
        return item

    def _item_added(self, wire: WireEvent, events: list[Event]) -> None:
        value = _object(wire.item)
        item = self._item_of(_key(wire, value))
        item.id = reading.text(value.get("id"))
        if value.get("type") in ("function_call", "custom_tool_call") and value.get("name"):
            self._begin_call(item, value, events)

    def _item_done(self, wire: WireEvent, events: list[Event]) -> None:
        value = _object(wire.item)
        self._whole_item(_key(wire, value), value, events)

    def _whole_item(self, key: int | str, value: reading.Object, events: list[Event]) -> None:
        """All that an item says which has not come before; it ends."""
        item = self._item_of(key)
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
            case _ if not item.pieces:
                for part in self._reader.parts(value):
                    item.pieces[0] = self._begin(part, events)
        self._end_pieces(item, events)

    def _begin(self, part: exchange.Part, events: list[Event]) -> _Piece:
        piece = _Piece(self._parts, type(part))
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
                self._content(wire, events, exchange.Text)
            case "refusal":
                self._content(wire, events, exchange.Refusal)

    def _content(self, wire: WireEvent, events: list[Event], kind: _Content) -> _Piece | None:
        return self._content_of(self._item(wire), wire.content_index or 0, events, kind)

    def _content_of(self, item: _Item, number: int, events: list[Event], kind: _Content) -> _Piece | None:
        """The piece that it belongs to; None: nothing more of that kind can."""
        piece = item.pieces.get(number)
        if piece is None:
            piece = item.pieces[number] = self._begin(kind(text=""), events)
            self._refused = kind is exchange.Refusal
        return None if piece.ended or piece.kind is not kind else piece

    def _text_delta(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._content(wire, events, exchange.Text)
        if piece is None:
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
        piece = self._content(wire, events, exchange.Refusal)
        if wire.delta and piece is not None:
            piece.said = True
            events.append(exchange.RefusalDelta(piece.index, wire.delta))

    def _annotation(self, wire: WireEvent, events: list[Event]) -> None:
        citation = citations.read_one(_object(wire.annotation))
        if citation is not None and (piece := self._content(wire, events, exchange.Text)) is not None:
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
        piece = item.pieces.get(number)
        if piece is not None and piece.kind in (exchange.Text, exchange.Refusal):
            self._end(piece, events)

    def _whole_content(self, item: _Item, number: int, value: reading.Object, events: list[Event]) -> None:
        part = answer.content(value)
        if part is None:
            return
        piece = self._content_of(item, number, events, type(part))
        if piece is None:
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
        if piece.ended or piece.kind is not exchange.Reasoning:
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
        if piece.ended or piece.kind is not exchange.Reasoning:
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
        self._argue(self._item(wire).pieces.get(0), wire.delta, events)  # None: its name is not known yet

    def _call_done(self, wire: WireEvent, events: list[Event]) -> None:
        piece = self._item(wire).pieces.get(0)
        if piece is not None and not piece.said:
            self._argue(piece, wire.input if wire.arguments is None else wire.arguments, events)

    def _whole_call(self, item: _Item, value: reading.Object, given: object, events: list[Event]) -> None:
        piece = self._begin_call(item, value, events)
        if not piece.said:
            self._argue(piece, answer.arguments_of(given), events)

    def _argue(self, piece: _Piece | None, text: str | None, events: list[Event]) -> None:
        if piece is not None and text and not piece.ended and piece.kind is exchange.ToolCall:
            piece.said = True
            events.append(exchange.ArgumentsDelta(piece.index, text))


def _key(wire: WireEvent, value: reading.Object) -> int | str:
    """What an item is known by where nobody numbers it: its id."""
    if wire.output_index is not None:
        return wire.output_index
    return wire.item_id or reading.text(value.get("id")) or 0


def _object(value: msgspec.Raw) -> reading.Object:
    return reading.NOTHING if value is NONE else reading.mapping(reading.parse(value))
