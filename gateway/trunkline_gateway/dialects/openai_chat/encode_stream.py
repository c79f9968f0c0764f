"""A streamed answer for a client: events in, chunks out.

https://platform.openai.com/docs/api-reference/chat-streaming

What all chunks of a choice begin with is written once; a delta adds one JSON string to it.
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.openai_chat import usage, write_parts
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost
from trunkline_gateway.dialects.openai_chat.write_parts import Object
from trunkline_gateway.exchange import Event

_encoder: Final = msgspec.json.Encoder()
_json: Final = _encoder.encode

_DONE: Final = b"data: [DONE]\n\n"
_OPEN: Final = b',"finish_reason":null}]}\n\n'
_TEXT_OPEN: Final = b"}" + _OPEN
_CALL_OPEN: Final = b"}}]}" + _OPEN
_FUNCTION_OPEN: Final = b"}}" + _OPEN


class _Part:
    """What has to be remembered of a part until it ends."""

    __slots__ = ("citations", "encrypted", "number", "part", "prefix", "said", "seal", "start", "texts")

    def __init__(self, part: exchange.Part) -> None:
        self.part = part
        self.number = -1
        self.prefix = b""
        self.start = 0
        self.said = False
        self.texts: list[str] = []
        self.citations: list[exchange.Citation] = []
        self.seal: exchange.Seal | None = None
        self.encrypted: exchange.Seal | None = None


class _Choice:
    """What has to be remembered of a choice."""

    __slots__ = (
        "annotations",
        "calls",
        "delta",
        "details",
        "images",
        "length",
        "parts",
        "reasoning",
        "refusal",
        "text",
    )

    def __init__(self, head: bytes, number: int) -> None:
        self.delta = b'%b%d,"delta":' % (head, number)
        self.text = self.delta + b'{"content":'
        self.reasoning = self.delta + b'{"reasoning_content":'
        self.refusal = self.delta + b'{"refusal":'
        self.parts: dict[int, _Part] = {}
        self.details = write_parts.Details()
        self.annotations = 0
        self.calls = 0
        self.images = 0
        self.length = 0


class StreamEncoder:
    """See `dialect.StreamEncoder`."""

    def __init__(self, request: exchange.ChatRequest) -> None:
        self._request = request
        self._legacy = write_parts.is_legacy(request)
        self._lost = Lost()
        self._start = exchange.Start()
        self._head = b""
        self._choices: dict[int, _Choice] = {}
        self._usage: exchange.Usage | None = None
        self._out: list[bytes] = []

    @property
    def lost(self) -> tuple[str, ...]:
        """What could not be said so far."""
        return self._lost.names

    def encode(self, events: Sequence[Event]) -> bytes:
        """Write them."""
        self._out = []
        for event in events:
            self._encode(event)
        return b"".join(self._out)

    def _encode(self, event: Event) -> None:  # noqa: C901  # one branch for each kind of event
        match event:
            case exchange.TextDelta():
                choice = self._choice(event.choice)
                choice.length += len(event.text)
                self._out.append(choice.text + _json(event.text) + _TEXT_OPEN)
            case exchange.ReasoningDelta():
                self._reasoning(event)
            case exchange.ArgumentsDelta():
                self._arguments(event)
            case exchange.Start():
                self._start, self._usage = event, event.usage
            case exchange.PartStart():
                self._part_start(event)
            case exchange.PartEnd():
                self._part_end(event)
            case exchange.RefusalDelta():
                choice = self._choice(event.choice)
                self._out.append(choice.refusal + _json(event.text) + _TEXT_OPEN)
            case exchange.SealDelta():
                self._seal(event)
            case exchange.CitationDelta():
                self._choice(event.choice).parts[event.index].citations.append(event.citation)
            case exchange.AudioDelta():
                self._audio(self._choice(event.choice), "", event.data, event.transcript, event.expires_at)
            case exchange.LogprobsDelta():
                choice = self._choice(event.choice)
                tokens = _json(write_parts.logprobs(event.logprobs))
                self._out.append(choice.delta + b'{},"logprobs":' + tokens + _OPEN)
            case exchange.UsageReport():
                self._usage = event.usage
            case exchange.Finish():
                self._finish(event)
            case exchange.End():
                self._end()
            case exchange.Progress() | exchange.Failed():
                pass
            case _:
                assert_never(event)

    # ---- chunks ------------------------------------------------------------------------------------------------------

    def _choice(self, number: int) -> _Choice:
        choice = self._choices.get(number)
        if choice is None:
            if not self._head:
                members = _json(write_parts.head(self._start, self._request, "chat.completion.chunk"))
                self._head = b"data: " + members[:-1] + b',"choices":[{"index":'
            choice = self._choices[number] = _Choice(self._head, number)
            self._write(choice, {"role": "assistant", "content": ""})
        return choice

    def _write(self, choice: _Choice, delta: Object) -> None:
        self._out.append(choice.delta + _json(delta) + _OPEN)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _part_start(self, event: exchange.PartStart) -> None:
        choice = self._choice(event.choice)
        kept = choice.parts[event.index] = _Part(event.part)
        match event.part:
            case exchange.Text() as part:
                self._text_start(choice, kept, part)
            case exchange.Refusal() as part:
                if part.text:
                    self._write(choice, {"refusal": part.text})
            case exchange.Reasoning() as part:
                kept.seal, kept.encrypted = part.signature, part.encrypted
                if part.text:
                    kept.texts.append(part.text)
                    self._write(choice, {"reasoning_content": part.text})
            case exchange.ToolCall() as part:
                self._call_start(choice, kept, part)
            case exchange.Audio() as part:
                data = part.source.data if isinstance(part.source, exchange.Inline) else ""
                self._audio(choice, part.id, data, part.transcript, part.expires_at)
            case exchange.Image() as part:
                self._image(choice, part)
            case exchange.HostedStep():
                self._lost.add("answer.hosted_step")
            case _:
                self._lost.add("answer.foreign")

    def _text_start(self, choice: _Choice, kept: _Part, part: exchange.Text) -> None:
        kept.start = choice.length
        kept.citations.extend(part.citations)
        if part.text:
            choice.length += len(part.text)
            self._write(choice, {"content": part.text})
        if part.seal is not None:
            self._write(choice, {"extra_content": write_parts.google(part.seal)})

    def _image(self, choice: _Choice, part: exchange.Image) -> None:
        wire = write_parts.image(part, choice.images)
        if wire is None:
            self._lost.add("answer.image")
        else:
            choice.images += 1
            self._write(choice, {"images": [wire]})

    def _call_start(self, choice: _Choice, kept: _Part, part: exchange.ToolCall) -> None:
        if part.namespace is not None:
            self._lost.add("answer.tool_namespace")
        number = kept.number = choice.calls
        choice.calls += 1
        kept.said = bool(part.arguments)
        if self._legacy:
            if number:
                self._lost.add("answer.foreign")
                return
            kept.prefix = choice.delta + b'{"function_call":{"arguments":'
            self._write(choice, {"function_call": {"name": part.name, "arguments": part.arguments}})
            return
        said = b'"custom":{"input":' if part.custom else b'"function":{"arguments":'
        kept.prefix = b'%b{"tool_calls":[{"index":%d,%b' % (choice.delta, number, said)
        self._write(choice, {"tool_calls": [{"index": number, **write_parts.call(part, arguments=part.arguments)}]})

    def _audio(self, choice: _Choice, audio_id: str, data: str, transcript: str, expires_at: int | None) -> None:
        audio: Object = {"id": audio_id, "data": data, "transcript": transcript, "expires_at": expires_at}
        audio = {name: value for name, value in audio.items() if value}
        if audio:
            self._write(choice, {"audio": audio})

    def _reasoning(self, event: exchange.ReasoningDelta) -> None:
        choice = self._choice(event.choice)
        choice.parts[event.index].texts.append(event.text)
        self._out.append(choice.reasoning + _json(event.text) + _TEXT_OPEN)

    def _arguments(self, event: exchange.ArgumentsDelta) -> None:
        kept = self._choice(event.choice).parts[event.index]
        if kept.prefix and event.text:
            kept.said = True
            self._out.append(kept.prefix + _json(event.text) + (_FUNCTION_OPEN if self._legacy else _CALL_OPEN))

    def _seal(self, event: exchange.SealDelta) -> None:
        choice = self._choice(event.choice)
        kept = choice.parts[event.index]
        if isinstance(kept.part, exchange.Reasoning):
            if event.encrypted:
                kept.encrypted = event.seal
            else:
                kept.seal = event.seal
        elif isinstance(kept.part, exchange.ToolCall):
            if not self._legacy:
                kind, said = ("custom", "input") if kept.part.custom else ("function", "arguments")
                # The SDK's helper for streams wants the function in every delta of a call.
                sealed = {"index": kept.number, kind: {said: ""}, "extra_content": write_parts.google(event.seal)}
                self._write(choice, {"tool_calls": [sealed]})
        else:
            self._write(choice, {"extra_content": write_parts.google(event.seal)})

    def _part_end(self, event: exchange.PartEnd) -> None:
        choice = self._choice(event.choice)
        kept = choice.parts.pop(event.index)
        match kept.part:
            case exchange.Text() if kept.citations:
                made, all_said = write_parts.annotations(kept.citations, kept.start, choice.length)
                if not all_said:
                    self._lost.add("answer.citations")
                if made:
                    # Clients add up lists by the number of their items.
                    numbered: list[Object] = [
                        {**each, "index": number} for number, each in enumerate(made, choice.annotations)
                    ]
                    choice.annotations += len(made)
                    self._write(choice, {"annotations": numbered})
            case exchange.Reasoning() as part:
                whole = msgspec.structs.replace(
                    part, text="".join(kept.texts), signature=kept.seal, encrypted=kept.encrypted
                )
                details = choice.details.add(whole)
                if details:
                    self._write(choice, {"reasoning_details": details})
            case exchange.ToolCall() as part if not kept.said and not part.custom and kept.prefix:
                self._out.append(kept.prefix + b'"{}"' + (_FUNCTION_OPEN if self._legacy else _CALL_OPEN))
            case _:
                pass

    # ---- the rest ----------------------------------------------------------------------------------------------------

    def _finish(self, event: exchange.Finish) -> None:
        choice = self._choice(event.choice)
        if event.stop_sequence is not None:
            self._lost.add("answer.stop_sequence")
        filtered = write_parts.filter_results(event.safety)
        results = b"" if filtered is None else b',"content_filter_results":' + bytes(filtered)
        if event.safety is not None and filtered is None:
            self._lost.add("answer.safety")
        word = _json(write_parts.finish(event.reason, legacy=self._legacy))
        self._out.append(choice.delta + b"{}" + results + b',"finish_reason":' + word + b"}]}\n\n")

    def _end(self) -> None:
        if usage.unsaid(self._usage):
            self._lost.add("answer.usage_details")
        if self._request.include_usage and self._usage is not None:
            members = write_parts.head(self._start, self._request, "chat.completion.chunk")
            chunk = {**members, "choices": [], "usage": usage.write(self._usage)}
            self._out.append(b"data: " + _json(chunk) + b"\n\n")
        self._out.append(_DONE)
