"""The answer for a client as a stream; the whole one is made of the same (see `whole`), so that they say the same.

https://platform.openai.com/docs/api-reference/responses-streaming

Reasoning is written as a summary, whether it is one or not: that is what Codex, the Agents SDK and the others show,
while ``reasoning_text`` is hidden by Codex unless it is told otherwise and unknown to many. Neighbouring texts are the
content of one message, which ends when something else begins. What a call or a text is sealed with follows it in a
reasoning item of its own (see `seals`).

The fixed bytes of a delta's event are put together once for each part, and text is escaped once: its pieces, as they
were sent, make up the whole text of the four events that repeat it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_responses import (
    citations,
    envelope,
    errors,
    hosted,
    logprobs,
    reading,
    seals,
    usage,
)
from trunkline_gateway.dialects.openai_responses.lost import Lost
from trunkline_gateway.dialects.openai_responses.pieces import (
    END,
    LIKELY_END,
    Message,
    Open,
    call_members,
    content,
    delta_start,
    message_item,
)
from trunkline_gateway.errors import GatewayError
from trunkline_gateway.exchange import Event, origin

_TEXTS: Final = (exchange.TextDelta, exchange.RefusalDelta, exchange.ReasoningDelta, exchange.ArgumentsDelta)
_NOT_DONE: Final = b"null"
"""Stands for an item until it is done."""


class ResponseEncoder:
    """See `dialect.StreamEncoder`.

    Attributes:
        response: The whole response, as of the last event.
    """

    def __init__(self, request: exchange.ChatRequest) -> None:
        """Begin an answer to the request."""
        self.response = b""
        self._request = request
        self._lost = Lost()
        self._written: list[bytes] = []
        self._sequence = 0
        self._envelope: envelope.Envelope | None = None
        self._items: list[bytes] = []
        self._ids: set[str] = set()
        self._parts: dict[int, Open] = {}
        self._message: Message | None = None
        self._last_text: Open | None = None
        self._usage: exchange.Usage | None = None
        self._finish = exchange.Finish(reason="other")
        self._refused = False

    @property
    def lost(self) -> tuple[str, ...]:
        """What could not be said so far."""
        return self._lost.names

    def encode(self, events: Sequence[Event]) -> bytes:
        """Write events."""
        for event in events:
            if isinstance(event, _TEXTS):
                self._text(event)
            else:
                self._receive(event)
        written = b"".join(self._written)
        self._written.clear()
        return written

    def fail(self, error: GatewayError) -> bytes:
        """See `dialect.Failing`: of the same response, with the items that were done."""
        done = [item for item in self._items if item != _NOT_DONE]
        failed = self._begun().write(envelope.FAILED, done, self._usage, failure=errors.failure(error))
        return self.encode(()) + errors.last_events(error, failed, self._sequence)

    def _receive(self, event: Event) -> None:  # one branch for each kind of event
        if getattr(event, "choice", 0):
            self._lost.add("answer.choices")
            return
        match event:
            case exchange.Start():
                self._start(event)
            case exchange.PartStart():
                self._part_start(event)
            case exchange.SealDelta():
                self._seal(event)
            case exchange.CitationDelta():
                self._citation(event)
            case exchange.AudioDelta():
                self._audio(event)
            case exchange.PartEnd():
                self._part_end(event)
            case exchange.LogprobsDelta():
                self._logprobs(event)
            case exchange.UsageReport():
                self._count(event)
            case exchange.Finish():
                self._finished(event)
            case exchange.End():
                self._end()
            case _:
                pass  # signs of life, for which there are comments

    # ---- the response

    def _start(self, event: exchange.Start) -> None:
        self._envelope = envelope.Envelope(self._request, event)
        self._usage = event.usage
        for name in (b"response.created", b"response.in_progress"):
            self._send(name, b'"response":' + self._envelope.write("in_progress"))

    def _begun(self) -> envelope.Envelope:
        if self._envelope is None:
            self._start(exchange.Start())
        assert self._envelope is not None  # noqa: S101  # _start has made it
        return self._envelope

    def _count(self, event: exchange.UsageReport) -> None:
        self._usage = event.usage
        self._lost.add_if(not usage.says_all(event.usage), "answer.usage_details")

    def _finished(self, event: exchange.Finish) -> None:
        self._finish = event
        self._lost.add_if(event.stop_sequence, "answer.stop_sequence")
        self._lost.add_if(event.safety, "answer.safety")

    def _end(self) -> None:
        begun = self._begun()
        reason = self._finish.reason
        finish = envelope.FINISH[reason]
        if reason == "refusal" and not self._refused:
            finish = envelope.FINISH["content_filter"]
        self._close_message(envelope.INCOMPLETE if finish[0] == envelope.INCOMPLETE else envelope.COMPLETED)
        self.response = begun.write(finish[0], self._items, self._usage, finish)
        self._send(b"response." + finish[0].encode(), b'"response":' + self.response)

    def _send(self, name: bytes, members: bytes) -> None:
        self._written.append(
            b'event: %b\ndata: {"type":"%b",%b,"sequence_number":%d}\n\n' % (name, name, members, self._sequence)
        )
        self._sequence += 1

    # ---- items

    def _add_item(self, prefix: str, item_id: str, members: bytes) -> tuple[int, bytes]:
        """Begin an item; ``members``: what it says of itself now, beside its id."""
        begun = self._begun()
        index = len(self._items)
        if item_id in self._ids:
            item_id = ""  # several thoughts of one id: OpenAI's SDK gives up where two items have the same
        self._ids.add(item_id)
        wire_id = reading.encode(item_id or f"{prefix}_{begun.tail}_{index}")
        self._items.append(_NOT_DONE)
        self._send(b"response.output_item.added", b'"output_index":%d,"item":{"id":%b,%b}' % (index, wire_id, members))
        return index, wire_id

    def _done_item(self, index: int, item: bytes) -> None:
        self._items[index] = item
        self._send(b"response.output_item.done", b'"output_index":%d,"item":%b' % (index, item))

    def _whole_item(self, item: bytes) -> None:
        """An item that is there at once."""
        self._begun()
        self._close_message(envelope.COMPLETED)
        index = len(self._items)
        self._items.append(item)
        self._send(b"response.output_item.added", b'"output_index":%d,"item":%b' % (index, item))
        self._done_item(index, item)

    def _seal_item(self, seal: exchange.Seal, kind: seals.Kind, call_id: str = "") -> None:
        """A reasoning item that holds nothing but a seal."""
        item_id = reading.encode(f"rs_{self._begun().tail}_{len(self._items)}")
        sealed = reading.encode(seals.write(seal, kind, call_id))
        self._whole_item(b'{"id":%b,"type":"reasoning","summary":[],"encrypted_content":%b}' % (item_id, sealed))

    def _close_message(self, status: str) -> None:
        message = self._message
        if message is None or message.open:
            return
        self._message = self._last_text = None
        for number, opened in message.late.items():
            message.content[number] = content(opened)
        self._done_item(message.index, message_item(message, status))
        for seal in message.seals:
            self._seal_item(seal, "text")

    # ---- parts

    def _part_start(self, event: exchange.PartStart) -> None:
        part = event.part
        match part:
            case exchange.Text():
                opened = self._open_content(part, "output_text")
                self._add(opened, part.text)
                for citation in part.citations:
                    self._cite(opened, citation)
                opened.seal = part.seal
            case exchange.Refusal():
                self._refused = True
                opened = self._open_content(part, "refusal")
                self._add(opened, part.text)
            case exchange.Audio():
                opened = self._open_content(part, "output_text")
                self._lost.add("answer.audio")
                self._add(opened, part.transcript)
            case exchange.Reasoning():
                opened = self._open_reasoning(part)
                self._add(opened, part.text)
            case exchange.ToolCall():
                opened = self._open_call(part)
                self._add(opened, part.arguments)
                opened.seal = part.seal
            case _:
                self._whole_part(part)
                return
        self._parts[event.index] = opened

    def _open_content(self, part: exchange.Part, kind: str) -> Open:
        message = self._message
        if message is None:
            members = b'"type":"message","status":"in_progress","role":"assistant","content":[]'
            message = self._message = Message(*self._add_item("msg", "", members))
        opened = Open(part, kind, message.index, message.id)
        opened.message = message
        opened.number = len(message.content)
        message.content.append(b"")
        message.open += 1
        opened.place = b'"item_id":%b,"output_index":%d,"content_index":%d' % (
            message.id,
            message.index,
            opened.number,
        )
        opened.start = delta_start(f"response.{kind}.delta", opened, b'"content_index":%d,' % opened.number)
        self._send(b"response.content_part.added", b'%b,"part":%b' % (opened.place, content(opened)))
        if kind == "output_text":
            self._last_text = opened
        return opened

    def _open_reasoning(self, part: exchange.Reasoning) -> Open:
        self._close_message(envelope.COMPLETED)
        index, item_id = self._add_item("rs", part.id, b'"type":"reasoning","summary":[]')
        opened = Open(part, "reasoning_summary_text", index, item_id)
        opened.place = b'"item_id":%b,"output_index":%d,"summary_index":0' % (item_id, index)
        opened.start = delta_start("response.reasoning_summary_text.delta", opened, b'"summary_index":0,')
        return opened

    def _open_call(self, part: exchange.ToolCall) -> Open:
        self._close_message(envelope.COMPLETED)
        prefix, kind = ("ctc", "custom_tool_call_input") if part.custom else ("fc", "function_call_arguments")
        members = call_members(part, b'""', "in_progress")
        index, item_id = self._add_item(prefix, part.item_id, members)
        opened = Open(part, kind, index, item_id)
        opened.place = b'"item_id":%b,"output_index":%d' % (item_id, index)
        opened.start = delta_start(f"response.{kind}.delta", opened, b"")
        return opened

    def _whole_part(self, part: exchange.Part) -> None:
        match part:
            case exchange.HostedStep() | exchange.Foreign() if part.dialect == hosted.DIALECT:
                self._whole_item(reading.one_line(part.value))
            case exchange.HostedStep():
                # Its words are another's; what was searched for can be shown, the results cannot be sent back.
                self._lost.add("answer.hosted_step")
                if part.tool == "web_search" and part.query:
                    self._whole_item(
                        reading.encode(
                            {
                                "id": f"ws_{self._begun().tail}_{len(self._items)}",
                                "type": "web_search_call",
                                "status": "completed",
                                "action": {"type": "search", "query": part.query},
                            }
                        )
                    )
            case exchange.Image(source=exchange.Inline() as source):
                form = (part.media_type or "image/png").removeprefix("image/")
                self._whole_item(
                    reading.encode(
                        {
                            "id": f"ig_{self._begun().tail}_{len(self._items)}",
                            "type": "image_generation_call",
                            "status": "completed",
                            "result": source.data,
                            "output_format": form if form in ("png", "webp", "jpeg", "gif", "svg") else "png",
                        }
                    )
                )
            case exchange.Image():
                self._lost.add("answer.image")
            case _:
                self._lost.add("answer.foreign")

    # ---- deltas

    def _text(
        self,
        event: exchange.TextDelta | exchange.RefusalDelta | exchange.ReasoningDelta | exchange.ArgumentsDelta,
    ) -> None:
        opened = self._parts.get(event.index)
        if event.choice:
            self._lost.add("answer.choices")
        elif opened is not None:
            self._add(opened, event.text)

    def _add(self, opened: Open, text: str) -> None:
        if not text:
            return
        escaped = reading.encode(text)
        if not opened.pieces and opened.kind == "reasoning_summary_text":
            part = b'{"type":"summary_text","text":""}'
            self._send(b"response.reasoning_summary_part.added", b'%b,"part":%b' % (opened.place, part))
        opened.pieces.append(escaped[1:-1])
        opened.length += len(text)
        if opened.kind == "output_text":
            self._written.append(opened.start + escaped + LIKELY_END % (b"[]", self._sequence))
        else:
            self._written.append(opened.start + escaped + END % self._sequence)
        self._sequence += 1

    def _audio(self, event: exchange.AudioDelta) -> None:
        opened = self._parts.get(event.index)
        if opened is not None:
            self._add(opened, event.transcript)

    def _seal(self, event: exchange.SealDelta) -> None:
        opened = self._parts.get(event.index)
        if opened is None:
            return
        if not isinstance(opened.part, exchange.Reasoning):
            opened.seal = event.seal
        elif event.encrypted:
            opened.part = msgspec.structs.replace(opened.part, encrypted=event.seal)
        else:
            opened.part = msgspec.structs.replace(opened.part, signature=event.seal)

    def _citation(self, event: exchange.CitationDelta) -> None:
        opened = self._parts.get(event.index)
        if opened is not None:
            self._cite(opened, event.citation)

    def _cite(self, opened: Open, citation: exchange.Citation) -> None:
        if not citations.is_placed(citation):
            opened.pending.append(citation)  # where it belongs is known when all of the text is
        else:
            self._annotate(opened, citation)

    def _annotate(self, opened: Open, citation: exchange.Citation) -> None:
        annotation = citations.write(citation, opened.length)
        if annotation is None:
            self._lost.add("answer.citations")
            return
        wire = reading.encode(annotation)
        members = b'%b,"annotation_index":%d,"annotation":%b' % (opened.place, len(opened.annotations), wire)
        self._send(b"response.output_text.annotation.added", members)
        opened.annotations.append(wire)

    def _logprobs(self, event: exchange.LogprobsDelta) -> None:
        opened = self._last_text
        if opened is None:
            self._lost.add("answer.logprobs")
            return
        opened.likely.extend(event.logprobs)
        likely = reading.encode(logprobs.write(event.logprobs))
        self._written.append(opened.start + b'""' + LIKELY_END % (likely, self._sequence))
        self._sequence += 1
        if opened.message is not None:
            opened.message.late[opened.number] = opened

    # ---- ends

    def _part_end(self, event: exchange.PartEnd) -> None:
        opened = self._parts.pop(event.index, None)
        if opened is None:
            return
        match opened.part:
            case exchange.Reasoning() as part:
                self._end_reasoning(opened, part)
            case exchange.ToolCall() as part:
                self._end_call(opened, part)
            case _:
                self._end_content(opened)

    def _end_content(self, opened: Open) -> None:
        message = opened.message
        if message is None:
            return
        pending, opened.pending = opened.pending, []
        for citation in pending:
            self._annotate(opened, citation)
        text = opened.text()
        if opened.kind == "refusal":
            self._send(b"response.refusal.done", b'%b,"refusal":%b' % (opened.place, text))
        else:
            likely = reading.encode(logprobs.write(opened.likely))
            self._send(b"response.output_text.done", b'%b,"text":%b,"logprobs":%b' % (opened.place, text, likely))
        piece = message.content[opened.number] = content(opened)
        self._send(b"response.content_part.done", b'%b,"part":%b' % (opened.place, piece))
        message.open -= 1
        if opened.seal is not None:
            message.seals.append(opened.seal)
            self._close_message(envelope.COMPLETED)

    def _end_reasoning(self, opened: Open, part: exchange.Reasoning) -> None:
        summary = b""
        if opened.pieces:
            text = opened.text()
            summary = b'{"type":"summary_text","text":%b}' % text
            self._send(b"response.reasoning_summary_text.done", b'%b,"text":%b' % (opened.place, text))
            self._send(b"response.reasoning_summary_part.done", b'%b,"part":%b' % (opened.place, summary))
        if part.signature is not None:
            sealed = seals.write(part.signature, "signature")
            self._lost.add_if(part.encrypted, "answer.reasoning_encrypted")
        else:  # OpenAI would look for an item without a seal among those that it has stored, and find none
            sealed = seals.write(part.encrypted or origin.UNSEALED, "encrypted")
        item = b'{"id":%b,"type":"reasoning","summary":[%b],"encrypted_content":%b}' % (
            opened.item_id,
            summary,
            reading.encode(sealed),
        )
        self._done_item(opened.output, item)

    def _end_call(self, opened: Open, part: exchange.ToolCall) -> None:
        if not opened.pieces and not part.custom:
            self._add(opened, "{}")  # every client parses it
        text = opened.text()
        member = b"input" if part.custom else b"arguments"
        self._send(f"response.{opened.kind}.done".encode(), b'%b,"%b":%b' % (opened.place, member, text))
        self._done_item(opened.output, b'{"id":%b,%b}' % (opened.item_id, call_members(part, text, "completed")))
        if opened.seal is not None:
            self._seal_item(opened.seal, "call", part.id)
