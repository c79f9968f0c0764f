"""Chat completions of `echo`: what is said, then the same answer whole or streamed."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import msgspec

from trunkline_gateway.upstream.echo import schema, script, wire
from trunkline_gateway.upstream.echo.behaviour import Behaviour

_FRAGMENT_LENGTH = 8
_NOTHING_SAID = "There is nothing to repeat."
_CALL = re.compile(r"\bcall\s+(?P<name>[a-zA-Z0-9_-]{1,64})")
_SPACE = re.compile(r"\s*")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; its arguments as they are streamed."""

    id: str
    name: str
    fragments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of an answer: text, or calls. A piece, a name and a fragment are a token each."""

    text: tuple[str, ...]
    calls: tuple[Call, ...]
    finish_reason: Literal["stop", "length", "tool_calls"]

    @property
    def tokens(self) -> int:
        """What it costs."""
        return len(self.text) + sum(1 + len(call.fragments) for call in self.calls)


def answer(body: bytes, request: wire.ChatRequest, behaviour: Behaviour, *, created: int) -> script.Answer:
    """Answer a request; equal bytes get equal answers but for ``created``.

    Raises:
        wire.RefusedError: A field is wrong in a way that its type does not show.
    """
    _check(request)
    digest = hashlib.sha256(body).hexdigest()
    prompt_tokens = _prompt_tokens(request)
    choices = [_choice(request, digest, index) for index in range(request.n or 1)]
    envelope = {"id": f"chatcmpl-{digest[:29]}", "created": created, "model": request.model}
    usage = _usage(prompt_tokens, sum(choice.tokens for choice in choices))
    if request.stream:
        with_usage = request.stream_options is not None and bool(request.stream_options.include_usage)
        events = _events(envelope, choices, usage if with_usage else None)
        steps = _streamed(events, behaviour, cut_after=sum(choice.tokens for choice in choices) // 2)
        return script.Answer(200, steps, content_type=b"text/event-stream; charset=utf-8")
    whole = msgspec.json.encode(_completion(envelope, choices, usage))
    pauses = max((choice.tokens for choice in choices), default=1) - 1
    delay = behaviour.first_delay_seconds + behaviour.chunk_delay_seconds * max(pauses, 0)
    return script.Answer(200, _whole(whole, behaviour), head_delay_seconds=delay)


def _whole(body: bytes, behaviour: Behaviour) -> Iterator[script.Step]:
    if behaviour.fault == "cut":
        yield body[: len(body) // 2]
        yield script.Lost()
    else:
        yield body


def _streamed(
    events: Iterator[tuple[bool, Mapping[str, object]]], behaviour: Behaviour, *, cut_after: int
) -> Iterator[script.Step]:
    said = 0
    for is_content, event in events:
        if is_content:
            if behaviour.fault == "cut" and said and said >= cut_after:
                break
            yield behaviour.chunk_delay_seconds if said else behaviour.first_delay_seconds
            said += 1
        elif said and behaviour.fault == "cut":
            break  # an answer of one word: after it, before its finish
        yield b"data: " + msgspec.json.encode(event) + b"\n\n"
    else:
        yield b"data: [DONE]\n\n"
        return
    yield script.Lost()


def _check(request: wire.ChatRequest) -> None:
    length = len(_tools_text(request))
    for index, message in enumerate(request.messages):
        if message.content is None and message.role not in ("assistant", "function"):
            param = f"messages[{index}].content"
            raise wire.RefusedError(f"Missing required parameter: '{param}'.", param=param)
        length += len(_text(message))
    if length * (request.n or 1) > script.MAX_TEXT_LENGTH:
        raise wire.RefusedError(
            f"This model's maximum context length is {script.MAX_TEXT_LENGTH} characters, for all choices together.",
            param="messages",
            code="context_length_exceeded",
        )
    if request.stream_options is not None and not request.stream:
        problem = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise wire.RefusedError(problem, param="stream_options")
    if request.tool_choice is not None and not request.tools:
        problem = "'tool_choice' is only allowed when 'tools' are specified."
        raise wire.RefusedError(problem, param="tool_choice")
    if isinstance(request.tool_choice, wire.NamedChoice):
        name = request.tool_choice.function.name
        if name not in {tool.function.name for tool in request.tools or ()}:
            problem = "'tool_choice' names a function that is not among 'tools'."
            raise wire.RefusedError(problem, param="tool_choice")


def _text(message: wire.Message) -> str:
    if message.content is None or isinstance(message.content, str):
        return message.content or ""
    shown = []
    for part in message.content:
        match part:
            case wire.TextPart():
                shown.append(part.text)
            case wire.RefusalPart():
                shown.append(part.refusal)
            case wire.ImagePart():
                shown.append("[image_url]")
            case wire.AudioPart():
                shown.append("[input_audio]")
            case wire.FilePart():
                shown.append("[file]")
    return "\n".join(shown)


def _prompt_tokens(request: wire.ChatRequest) -> int:
    return sum(1 + script.count(_text(message)) for message in request.messages) + script.count(_tools_text(request))


def _tools_text(request: wire.ChatRequest) -> str:
    return msgspec.json.encode(request.tools).decode() if request.tools else ""


def _choice(request: wire.ChatRequest, digest: str, index: int) -> Choice:
    limit = request.max_completion_tokens or request.max_tokens
    calls = _calls(request, f"{digest}/{index}")
    if calls:
        kept = _limited(calls, limit)
        return Choice((), kept, "tool_calls" if kept == calls else "length")
    text = _said(request)
    for stop in [request.stop] if isinstance(request.stop, str) else request.stop or ():
        if stop:
            text = text.partition(stop)[0]
    words = tuple(script.pieces(text))
    return Choice(words[:limit], (), "stop" if limit is None or len(words) <= limit else "length")


def _limited(calls: tuple[Call, ...], limit: int | None) -> tuple[Call, ...]:
    if limit is None:
        return calls
    kept = []
    for call in calls:
        if limit <= 0:
            break
        kept.append(Call(call.id, call.name, call.fragments[: limit - 1]))
        limit -= 1 + len(call.fragments)
    return tuple(kept)


def _said(request: wire.ChatRequest) -> str:
    """The last user message, or what tools have answered to it."""
    asked, answered = _last_turn(request)
    text = "\n".join(answered) or asked
    if not text.strip():
        text = _NOTHING_SAID
    match request.response_format:
        case wire.JsonObjectFormat():
            return json.dumps({"echo": text}, ensure_ascii=False)
        case wire.JsonSchemaFormat(json_schema=wanted):
            return json.dumps(schema.instance(wanted.schema), ensure_ascii=False)
    return text


def _last_turn(request: wire.ChatRequest) -> tuple[str, list[str]]:
    answered: list[str] = []
    for message in reversed(request.messages):
        if message.role == "user":
            return _text(message), answered[::-1]
        if message.role == "tool":
            answered.append(_text(message))
    return "", answered[::-1]


def _calls(request: wire.ChatRequest, seed: str) -> tuple[Call, ...]:
    if not request.tools or request.tool_choice == "none":
        return ()
    tools = {tool.function.name: tool.function for tool in request.tools}
    asked, answered = _last_turn(request)
    if isinstance(request.tool_choice, wire.NamedChoice):
        name = request.tool_choice.function.name
        wanted = [each for each in _asked_for(asked, tools) if each[0] == name] or [(name, None)]
    elif request.tool_choice == "required":
        wanted = _asked_for(asked, tools) or [(next(iter(tools)), None)]
    else:
        wanted = [] if answered else _asked_for(asked, tools)
    if request.parallel_tool_calls is False:
        wanted = wanted[:1]
    return tuple(_call(tools[name], arguments, f"{seed}/{index}") for index, (name, arguments) in enumerate(wanted))


def _asked_for(text: str, tools: Mapping[str, wire.Function]) -> list[tuple[str, str | None]]:
    """The calls that a text asks for: ``call <name>``, with arguments where a JSON object follows."""
    found: list[tuple[str, str | None]] = []
    for match in _CALL.finditer(text):
        if match["name"] not in tools or len(found) >= 128:
            continue
        start = _SPACE.match(text, match.end()).end()  # type: ignore[union-attr]  # it matches everywhere
        arguments = None
        if text.startswith("{", start):
            try:
                _, end = _JSON.raw_decode(text, start)
                arguments = text[start:end]
            except (ValueError, RecursionError):
                pass
        found.append((match["name"], arguments))
    return found


def _call(function: wire.Function, arguments: str | None, seed: str) -> Call:
    if arguments is None:
        arguments = json.dumps(schema.instance(function.parameters or {"type": "object"}), ensure_ascii=False)
    cuts = range(0, len(arguments), _FRAGMENT_LENGTH)
    fragments = tuple(arguments[cut : cut + _FRAGMENT_LENGTH] for cut in cuts)
    return Call("call_" + hashlib.sha256(seed.encode()).hexdigest()[:24], function.name, fragments)


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, object]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _completion(
    envelope: Mapping[str, object], choices: list[Choice], usage: Mapping[str, object]
) -> dict[str, object]:
    def message(choice: Choice) -> dict[str, object]:
        said: dict[str, object] = {"role": "assistant", "content": "".join(choice.text), "refusal": None}
        if choice.calls:
            said["content"] = None
            said["tool_calls"] = [
                {
                    "id": each.id,
                    "type": "function",
                    "function": {"name": each.name, "arguments": "".join(each.fragments)},
                }
                for each in choice.calls
            ]
        return said

    written = [
        {"index": index, "message": message(choice), "logprobs": None, "finish_reason": choice.finish_reason}
        for index, choice in enumerate(choices)
    ]
    return {
        **envelope,
        "object": "chat.completion",
        "choices": written,
        "usage": usage,
        "system_fingerprint": "fp_echo",
    }


def _events(
    envelope: Mapping[str, object], choices: list[Choice], usage: Mapping[str, object] | None
) -> Iterator[tuple[bool, Mapping[str, object]]]:
    """The chunks in order, each with whether it is content. Choices take turns, as they do upstream."""
    shared = {**envelope, "object": "chat.completion.chunk", "system_fingerprint": "fp_echo"}
    if usage is not None:
        shared["usage"] = None

    def chunk(index: int, delta: Mapping[str, object], finish_reason: str | None = None) -> dict[str, object]:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**shared, "choices": [choice]}

    for index, choice in enumerate(choices):
        content = None if choice.calls else ""
        yield False, chunk(index, {"role": "assistant", "content": content, "refusal": None})
    for turn in zip_longest(*map(_deltas, choices)):
        for index, delta in enumerate(turn):
            if delta is not None:
                yield True, chunk(index, delta)
    for index, choice in enumerate(choices):
        yield False, chunk(index, {}, choice.finish_reason)
    if usage is not None:
        yield False, {**shared, "choices": [], "usage": usage}


def _deltas(choice: Choice) -> Iterator[Mapping[str, object]]:
    for piece in choice.text:
        yield {"content": piece}
    for index, call in enumerate(choice.calls):
        opening = {"name": call.name, "arguments": ""}
        yield {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": opening}]}
        for fragment in call.fragments:
            yield {"tool_calls": [{"index": index, "function": {"arguments": fragment}}]}
