"""One choice of an upstream's answer: deltas in, events out. A whole message is one big delta."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.openai_chat import custom_format, media, vocabulary, wire
from trunkline_gateway.dialects.openai_chat.tool_names import Name, wire_names
from trunkline_gateway.exchange import Event, Maker, Seal

_ABSENT_IDS: Final = frozenset({"", "null", "None"})
"""What some write where there is no id (Mistral's streams say ``null`` as a string)."""

_SYNTAX: Final = msgspec.json.Decoder(msgspec.Raw)


class AnswerContext:
    """What all choices of an answer share: names of the request, and the count of ids that had to be made."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.names: Mapping[str, Name] = {}
        self.free_texts = frozenset[str]()  # tools that were sent as functions with one argument
        self.stop: Sequence[str] = ()
        self.audio_type: str | None = None
        if isinstance(asked.request, exchange.ChatRequest):
            request = asked.request
            wired_names = wire_names(request.tools)
            self.names = {wired: name for name, wired in wired_names.items() if name != (wired, None)}
            if "no_custom_tools" in asked.target.quirks:
                self.free_texts = frozenset(
                    wired_names[tool.name, tool.namespace]
                    for tool in request.tools
                    if isinstance(tool, exchange.Tool) and tool.custom
                )
            self.stop = request.parameters.stop or ()
            self.audio_type = _audio_type(request.parameters.audio)
        self._made = 0

    def new_id(self) -> str:
        """An id for a call that has none."""
        self._made += 1
        return self.asked.new_id(self._made - 1)

    def seal(self, maker: Maker, value: str) -> Seal:
        """A seal of this upstream's."""
        return Seal(maker=maker, account=self.asked.target.account, value=value)


class _Call:
    __slots__ = ("arguments", "custom", "ended", "id", "index", "name", "sealed", "wrapped")

    def __init__(self) -> None:
        self.index = -1
        self.id = ""
        self.name = ""
        self.custom = False
        self.wrapped = False
        self.arguments: list[str] = []
        self.ended = False
        self.sealed: Seal | None = None

    @property
    def started(self) -> bool:
        return self.index >= 0


class ChoiceDecoder:
    """The state of one choice.

    Attributes:
        finished: Its `exchange.Finish` has been given; what comes after that is not read.
        has_content: A part has begun.
    """

    def __init__(self, number: int, context: AnswerContext) -> None:
        self.finished = False
        self._number = number
        self._context = context
        self._next = 0
        self._kind: Literal["", "text", "reasoning", "refusal"] = ""
        self._open = -1
        self._reasoning_key: int | None = None
        self._reasoning_closed = False
        self._encrypted = False
        self._plain: list[str] = []
        self._plain_said = ""
        self._plain_place = 0
        self._audio = -1
        self._calls: list[_Call] = []
        self._unchecked: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._last_call: _Call | None = None
        self._legacy: _Call | None = None
        self._call_seals: dict[str, Seal] = {}
        self._safety: object = None
        self._stop_reason: str | int | None = None

    @property
    def has_content(self) -> bool:
        """See above."""
        return self._next > 0

    def receive(self, choice: wire.WireChoice, out: list[Event], *, whole: bool = False) -> None:
        """Take more of the choice, or (``whole``) all of it."""
        if self.finished:
            return
        if choice.content_filter_results:
            self._safety = choice.content_filter_results
        if choice.stop_reason is not None:
            self._stop_reason = choice.stop_reason
        # Perplexity sends both: an empty delta in whole answers, all that was said so far in streams.
        delta = choice.message or choice.delta if whole else choice.delta or choice.message
        if delta is not None:
            self._delta(delta, out)
        if choice.logprobs is not None:
            tokens = [*(choice.logprobs.content or ()), *(choice.logprobs.refusal or ())]
            if tokens:
                out.append(exchange.LogprobsDelta(tuple(_logprob(each) for each in tokens), self._number))

    def cite(self, citations: Sequence[exchange.UrlCitation], out: list[Event]) -> None:
        """What backs the text, said beside the choices (Perplexity)."""
        if citations and not self.finished:
            index = self._linear("text", exchange.Text(text=""), out)
            out.extend(exchange.CitationDelta(index, each, self._number) for each in citations)

    def finish(self, word: str | None, out: list[Event]) -> None:
        """End what is open and the choice itself; once."""
        if self.finished:
            return
        for call in self._calls:
            if not call.started and (call.arguments or call.id):
                self._start_call(call, out)
        for call_id, seal in self._call_seals.items():
            index = self._begin(exchange.Reasoning(id=call_id), out)
            out.append(exchange.SealDelta(index, seal, True, self._number))
            out.append(exchange.PartEnd(index, self._number))
        self._end_linear(out)
        if self._audio >= 0:
            out.append(exchange.PartEnd(self._audio, self._number))
        for call in self._calls:
            if call.started and not call.ended:
                self._end_call(call, out)
        reason = vocabulary.finish_of(word, any(call.started for call in self._calls))
        stop_sequence = None
        if reason == "stop" and isinstance(self._stop_reason, str) and self._stop_reason in self._context.stop:
            reason, stop_sequence = "stop_sequence", self._stop_reason
        safety = None if self._safety is None else msgspec.Raw(wire.json_of(self._safety))
        out.append(
            exchange.Finish(reason=reason, choice=self._number, stop_sequence=stop_sequence, safety=safety),
        )
        self.finished = True

    # ---- parts -------------------------------------------------------------------------------------------------------

    def _delta(self, delta: wire.WireDelta, out: list[Event]) -> None:
        if delta.reasoning_details or delta.thinking_blocks:
            self._details(delta, out)
        elif delta.reasoning_content or delta.reasoning:
            said = delta.reasoning_content or delta.reasoning or ""
            self._plain.append(said)
            self._reason(said, None, False, "", out)
        content = delta.content
        if content:
            if isinstance(content, str):
                self._text(content, out)
            else:
                for part in content:
                    self._part(part, out)
        self._more_than_text(delta, out)
        for call in delta.tool_calls or ():
            self._call(call, out)
        if delta.function_call is not None:
            self._function_call(delta.function_call, out)

    def _more_than_text(self, delta: wire.WireDelta, out: list[Event]) -> None:
        if delta.extra_content is not None:
            self._message_seal(delta.extra_content, out)
        for annotation in delta.annotations or ():
            self._annotate(annotation, out)
        if delta.refusal:
            index = self._linear("refusal", exchange.Refusal(text=""), out)
            out.append(exchange.RefusalDelta(index, delta.refusal, self._number))
        if delta.audio is not None:
            self._hear(delta.audio, out)
        for image in delta.images or ():
            self._part(image, out)

    def _text(self, text: str, out: list[Event]) -> None:
        index = self._open if self._kind == "text" else self._linear("text", exchange.Text(text=""), out)
        out.append(exchange.TextDelta(index, text, self._number))

    def _part(self, part: wire.WirePart | str, out: list[Event]) -> None:
        if isinstance(part, str):
            if part:
                self._text(part, out)
            return
        if part.thinking:
            thoughts = part.thinking
            said = thoughts if isinstance(thoughts, str) else "".join(each.text or "" for each in thoughts)
            if said:
                self._reason(said, None, False, "", out)
        if part.text:
            self._text(part.text, out)
        if part.refusal:
            index = self._linear("refusal", exchange.Refusal(text=""), out)
            out.append(exchange.RefusalDelta(index, part.refusal, self._number))
        url = part.image_url.url if isinstance(part.image_url, wire.WireUrl) else part.image_url
        if url:
            try:
                source, media_type = media.source_of(url)
            except ValueError:
                return
            index = self._begin(exchange.Image(source=source, media_type=media_type), out)
            out.append(exchange.PartEnd(index, self._number))

    def _annotate(self, annotation: wire.WireAnnotation, out: list[Event]) -> None:
        cited = annotation.url_citation
        if cited is None or not cited.url:
            return
        citation = exchange.UrlCitation(
            url=cited.url,
            title=cited.title or None,
            cited_text=cited.content or None,
            start=cited.start_index,
            end=cited.end_index,
        )
        self.cite((citation,), out)

    def _hear(self, audio: wire.WireAudio, out: list[Event]) -> None:
        if not (audio.id or audio.data or audio.transcript or (audio.expires_at and self._audio >= 0)):
            return
        if self._audio < 0:
            self._audio = self._begin(exchange.Audio(id=audio.id or "", media_type=self._context.audio_type), out)
        if audio.data or audio.transcript or audio.expires_at:
            out.append(
                exchange.AudioDelta(
                    self._audio,
                    audio.data or "",
                    audio.transcript or "",
                    self._number,
                    expires_at=audio.expires_at or None,
                )
            )

    # ---- reasoning ---------------------------------------------------------------------------------------------------

    def _details(self, delta: wire.WireDelta, out: list[Event]) -> None:
        details = delta.reasoning_details or delta.thinking_blocks or []
        if not any(each.text or each.summary or each.thinking for each in details):
            said = delta.reasoning_content or delta.reasoning
            if said:
                self._reason(said, None, False, "", out)
        for each in details:
            maker = vocabulary.MAKER_OF_FORMAT.get(each.format or "", "other")
            if each.type in ("thinking", "redacted_thinking"):
                maker = "anthropic"
            text = each.text or each.thinking or each.summary
            if text and not self._was_plain(text):
                self._reason(text, each.index, bool(each.summary), each.id or "", out)
            if each.signature:
                self._sign(self._context.seal(maker, each.signature), each, out)
            if each.data:
                self._encrypt(self._context.seal(maker, each.data), each, out)

    def _was_plain(self, text: str) -> bool:
        """Whether a detail repeats what has come as plain text before: some send it with the signature once more."""
        if self._plain_place == len(self._plain_said):
            # All that was joined has been repeated; each text is joined once.
            self._plain_said, self._plain_place = "".join(self._plain), 0
            self._plain.clear()
        if not self._plain_said.startswith(text, self._plain_place):
            return False
        self._plain_place += len(text)
        return True

    def _reason(self, text: str, key: int | None, summary: bool, part_id: str, out: list[Event]) -> None:
        other = key is not None and self._reasoning_key is not None and key != self._reasoning_key
        if self._kind == "reasoning" and (other or self._reasoning_closed):
            self._end_linear(out)
        if self._kind != "reasoning":
            self._linear("reasoning", exchange.Reasoning(summary=summary, id=part_id), out)
        self._reasoning_key = key
        out.append(exchange.ReasoningDelta(self._open, text, self._number))

    def _sign(self, seal: Seal, detail: wire.WireDetail, out: list[Event]) -> None:
        if self._kind == "reasoning" and self._reasoning_closed:
            self._end_linear(out)
        index = self._linear("reasoning", exchange.Reasoning(id=detail.id or ""), out)
        self._reasoning_closed = True
        out.append(exchange.SealDelta(index, seal, False, self._number))

    def _encrypt(self, seal: Seal, detail: wire.WireDetail, out: list[Event]) -> None:
        if seal.maker == "google" and detail.id:
            # Gemini signs calls; OpenRouter says which one by its id.
            call = self._by_id.get(detail.id)
            if call is None:
                self._call_seals[detail.id] = seal
                return
            if call.started and not call.ended:
                out.append(exchange.SealDelta(call.index, seal, False, self._number))
                return
        # Redacted thinking is a block of its own; what others encrypt belongs to the summary before it.
        if self._kind == "reasoning" and (self._encrypted or seal.maker == "anthropic"):
            self._end_linear(out)
        index = self._linear("reasoning", exchange.Reasoning(id=detail.id or ""), out)
        self._encrypted = self._reasoning_closed = True
        out.append(exchange.SealDelta(index, seal, True, self._number))

    def _message_seal(self, extra: Mapping[str, object], out: list[Event]) -> None:
        google = extra.get("google")
        value = google.get("thought_signature") if isinstance(google, Mapping) else None
        if not isinstance(google, Mapping) or not isinstance(value, str) or not value:
            return
        seal = self._context.seal("google", value)
        if google.get("thought"):
            self._encrypt(seal, wire.WireDetail(), out)
        else:
            index = self._linear("text", exchange.Text(text=""), out)
            out.append(exchange.SealDelta(index, seal, False, self._number))

    # ---- calls -------------------------------------------------------------------------------------------------------

    def _call(self, given: wire.WireToolCall, out: list[Event]) -> None:
        custom = given.custom is not None or given.type == "custom"
        function = given.custom or given.function or wire.WireFunction()
        call_id = "" if given.id is None or given.id in _ABSENT_IDS else given.id
        call = self._which(given.index, call_id, function.name or "")
        if custom:
            call.custom = True
        if call_id and not call.id:
            call.id = call_id
        seal = _seal_of(given.extra_content)
        if seal:
            call.sealed = self._context.seal("google", seal)
        self._more(call, function, out)
        if call.sealed is not None and call.started and not call.ended:
            out.append(exchange.SealDelta(call.index, call.sealed, False, self._number))
            call.sealed = None

    def _which(self, index: int | None, call_id: str, name: str) -> _Call:
        """The call that a delta belongs to: by its index, else by its id, else the last one unless it has a name."""
        if index is not None:
            call = self._by_index.get(index)
            # Some number every call 0. An id alone proves nothing, since others make a new one for each delta.
            if call is not None and not (name and call_id and call.id and call.id != call_id):
                return call
        elif call_id and call_id in self._by_id:
            return self._by_id[call_id]
        elif not call_id and not name and self._last_call is not None:
            return self._last_call
        call = _Call()
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        if call_id:
            if call_id in self._by_id:
                call.id = self._context.new_id()
            else:
                self._by_id[call_id] = call
        return call

    def _function_call(self, function: wire.WireFunction, out: list[Event]) -> None:
        if self._legacy is None:
            if not function.name and not function.arguments:
                return
            self._legacy = _Call()
            self._calls.append(self._legacy)
        self._more(self._legacy, function, out)

    def _more(self, call: _Call, function: wire.WireFunction, out: list[Event]) -> None:
        self._last_call = call
        more = function.input if function.arguments is None else function.arguments
        text = more if isinstance(more, str) else "" if more is None else wire.json_of(more).decode()
        if call.ended:
            return  # its arguments were complete
        if text:
            call.arguments.append(text)
        if call.started:
            if text and not call.wrapped:
                out.append(exchange.ArgumentsDelta(call.index, text, self._number))
        elif function.name:
            call.name = function.name
            self._start_call(call, out)

    def _start_call(self, call: _Call, out: list[Event]) -> None:
        if not call.id:
            call.id = self._context.new_id()
        self._by_id.setdefault(call.id, call)
        name, namespace = self._context.names.get(call.name, (call.name, None))
        call.wrapped = not call.custom and call.name in self._context.free_texts
        part = exchange.ToolCall(id=call.id, name=name, custom=call.custom or call.wrapped, namespace=namespace)
        call.index = self._begin(part, out)
        self._unchecked.append(call)
        if not call.wrapped:
            out.extend(exchange.ArgumentsDelta(call.index, text, self._number) for text in call.arguments)
        seal = self._call_seals.pop(call.id, None)
        if seal is not None:
            out.append(exchange.SealDelta(call.index, seal, False, self._number))

    def _end_complete_calls(self, out: list[Event]) -> None:
        """Another part begins: a call whose arguments are whole by now has ended. Each is looked at once."""
        begun, self._unchecked = self._unchecked, []
        for call in begun:
            if not call.custom and _is_json("".join(call.arguments)):
                self._end_call(call, out)

    def _end_call(self, call: _Call, out: list[Event]) -> None:
        call.ended = True
        if call.wrapped:
            out.append(
                exchange.ArgumentsDelta(call.index, custom_format.unwrapped("".join(call.arguments)), self._number)
            )
        out.append(exchange.PartEnd(call.index, self._number))

    # ---- which is open -----------------------------------------------------------------------------------------------

    def _linear(self, kind: Literal["text", "reasoning", "refusal"], part: exchange.Part, out: list[Event]) -> int:
        """The open part of a kind of which one is open at a time; a new one if there is none."""
        if self._kind != kind:
            self._open = self._begin(part, out)
            self._kind = kind
        return self._open

    def _end_linear(self, out: list[Event]) -> None:
        if self._kind:
            out.append(exchange.PartEnd(self._open, self._number))
            self._kind = ""
            self._reasoning_key = None
            self._reasoning_closed = self._encrypted = False

    def _begin(self, part: exchange.Part, out: list[Event]) -> int:
        """A new part, of whatever kind: what it follows has ended."""
        self._end_linear(out)
        self._end_complete_calls(out)
        index = self._next
        self._next += 1
        out.append(exchange.PartStart(index, part, self._number))
        return index


def _logprob(token: wire.WireLogprob) -> exchange.TokenLogprob:
    return exchange.TokenLogprob(
        token=token.token,
        logprob=token.logprob,
        bytes=None if token.bytes is None else tuple(token.bytes),
        top=tuple(_logprob(each) for each in token.top_logprobs or ()),
    )


def _seal_of(extra: Mapping[str, object] | None) -> str:
    google = None if extra is None else extra.get("google")
    value = google.get("thought_signature") if isinstance(google, Mapping) else None
    return value if isinstance(value, str) else ""


def _is_json(text: str) -> bool:
    try:
        _SYNTAX.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


class _AudioOptions(msgspec.Struct):
    format: str | None = None


def _audio_type(options: exchange.Json | None) -> str | None:
    if options is None:
        return None
    try:
        kind = msgspec.json.decode(options, type=_AudioOptions).format
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return f"audio/{kind}" if kind else None
