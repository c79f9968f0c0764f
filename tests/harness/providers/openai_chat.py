"""An OpenAI-compatible provider whose models think: chat completions, as DeepSeek, vLLM and OpenRouter extend them.

https://platform.openai.com/docs/api-reference/chat, https://api-docs.deepseek.com/guides/thinking_mode
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from harness.answers import Answer
from harness.providers import script, strict
from harness.providers.script import RefusedError, Said, Script, Turn
from harness.wire import Request

# `reasoning` is OpenRouter's, which clients of compatible providers send.
FIELDS = " ".join([*CompletionCreateParamsBase.__annotations__, "stream", "reasoning"])
_TOOL_NAME = r"[A-Za-z0-9_-]{1,64}"
_USER_PARTS = {
    "text": ("text", "prompt_cache_breakpoint"),
    "image_url": ("image_url", ""),
    "input_audio": ("input_audio", ""),
    "file": ("file", ""),
}
_TEXT_PART = {"text": ("text", "")}
_ASSISTANT_PARTS = {"text": ("text", ""), "refusal": ("refusal", "")}
_BOUNDS = {
    "temperature": (0, 2, False),
    "top_p": (0, 1, False),
    "presence_penalty": (-2, 2, False),
    "frequency_penalty": (-2, 2, False),
    "max_tokens": (1, 1 << 20, True),
    "max_completion_tokens": (1, 1 << 20, True),
    "n": (1, 128, True),
    "top_logprobs": (0, 20, True),
    "seed": (-(1 << 63), (1 << 63) - 1, True),
}


def answer(request: Request, model: Script) -> Answer:
    """Answer ``/v1/chat/completions``."""
    asked = strict.body(request)
    turn = read(asked)
    said = model.answer(turn, "call_")
    head = {"id": model.new_id("chatcmpl-"), "created": 1_700_000_000, "model": asked["model"]}
    if asked.get("stream"):
        usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        events = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in _chunks(head, said, usage=usage)]
        return Answer.sse([*events, b"data: [DONE]\n\n"])
    message = {"role": "assistant", "content": said.text, "refusal": None}
    if said.thought:
        message["reasoning_content"] = said.thought
    if said.calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.json}}
            for call in said.calls
        ]
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(said)}
    return Answer.json({**head, "object": "chat.completion", "choices": [choice], "usage": _usage(said)})


def embeddings(request: Request, model: Script) -> Answer:
    """Answer ``/v1/embeddings``."""
    asked = strict.fields(strict.body(request), "body", "model input", "encoding_format dimensions user")
    given = asked["input"]
    several = isinstance(given, list) and given and not isinstance(given[0], int)
    if not given or not isinstance(given, str | list):
        raise RefusedError("body.input: empty")
    vector: list[float] | str = [1.0] + [0.0] * (asked.get("dimensions", 8) - 1)
    if asked.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()  # type: ignore[arg-type]
    rows = [
        {"object": "embedding", "index": index, "embedding": vector} for index in range(len(given) if several else 1)
    ]
    usage = {"prompt_tokens": 4, "total_tokens": 4}
    return Answer.json({"object": "list", "data": rows, "model": asked["model"], "usage": usage})


def read(asked: dict[str, Any]) -> Turn:
    """Check a body, and tell what it comes to.

    Raises:
        RefusedError: a strict provider would not take it.
    """
    strict.fields(asked, "body", "model messages", FIELDS, nullable=FIELDS)
    strict.string(asked["model"], "model", empty=False)
    strict.numbers(asked, "body", _BOUNDS)
    if "max_tokens" in asked and "max_completion_tokens" in asked:
        raise RefusedError("max_tokens and max_completion_tokens: both are set")
    if "stream_options" in asked and not asked.get("stream"):
        raise RefusedError("stream_options: only with stream")
    if "response_format" in asked:
        kinds = {"text": ("", ""), "json_object": ("", ""), "json_schema": ("json_schema", "")}
        form = strict.tagged(asked["response_format"], "response_format", kinds)
        if "json_schema" in form:
            strict.fields(form["json_schema"], "response_format.json_schema", "name schema", "strict description")
    tools = _tools(asked)
    forced, may_call = _choice(asked, tools)
    results = _messages(asked["messages"])
    called = sum(len(message.get("tool_calls", ())) for message in asked["messages"])
    return Turn(tools=tools, results=results, forced=forced, may_call=may_call, called=called)


def _tools(asked: dict[str, Any]) -> list[str]:
    if "tools" not in asked:
        for name in ("tool_choice", "parallel_tool_calls"):
            if name in asked:
                raise RefusedError(f"{name}: only allowed when tools are given")
        return []
    names = []
    for path, tool in strict.items(asked["tools"], "tools", at_least=1):
        kind = strict.tagged(tool, path, {"function": ("function", ""), "custom": ("custom", "")})["type"]
        known = "description parameters strict" if kind == "function" else "description format"
        inner = strict.fields(tool[kind], f"{path}.{kind}", "name", known)
        names.append(strict.string(inner["name"], f"{path}.{kind}.name", pattern=_TOOL_NAME))
        if "parameters" in inner and not isinstance(inner["parameters"], dict):
            raise RefusedError(f"{path}.function.parameters: not an object")
    strict.distinct(names, "tools")
    return names


def _choice(asked: dict[str, Any], tools: list[str]) -> tuple[str, bool]:
    choice = asked.get("tool_choice", "auto")
    if isinstance(choice, str):
        strict.one_of(choice, "tool_choice", "auto none required")
        return (tools[0] if choice == "required" else ""), choice != "none"
    kinds = {"function": ("function", ""), "custom": ("custom", ""), "allowed_tools": ("allowed_tools", "")}
    kind = strict.tagged(choice, "tool_choice", kinds)["type"]
    if kind == "allowed_tools":
        return "", True
    name = strict.fields(choice[kind], f"tool_choice.{kind}", "name")["name"]
    if name not in tools:
        raise RefusedError(f"tool_choice: {name} is not among the tools")
    return name, True


def _messages(messages: object) -> list[str]:
    open_calls: list[str] = []
    results: list[str] = []
    for path, message in strict.items(messages, "messages", at_least=1):
        role = message.get("role") if isinstance(message, dict) else None
        if role == "tool":
            strict.fields(message, path, "role content tool_call_id", "name cache_control")
            if message["tool_call_id"] not in open_calls:
                raise RefusedError(f"{path}.tool_call_id: no call {message['tool_call_id']} waits for a result")
            open_calls.remove(message["tool_call_id"])
            results.append(_content(message["content"], f"{path}.content", _TEXT_PART))
            continue
        if open_calls:
            raise RefusedError(f"{path}: the calls {open_calls} before it have no result")
        results = []
        if role == "assistant":
            open_calls = _assistant(message, path)
            continue
        strict.one_of(role, f"{path}.role", "system developer user")
        strict.fields(message, path, "role content", "name")
        _content(message["content"], f"{path}.content", _USER_PARTS if role == "user" else _TEXT_PART)
    if open_calls:
        raise RefusedError(f"messages: the calls {open_calls} have no result")
    return results


def _assistant(message: dict[str, Any], path: str) -> list[str]:
    # DeepSeek wants its reasoning back, others take it; the last is LiteLLM's.
    known = "name tool_calls refusal audio annotations reasoning_content provider_specific_fields"
    strict.fields(message, path, "role", known, nullable="content refusal audio annotations")
    if message.get("content") is not None:
        _content(message["content"], f"{path}.content", _ASSISTANT_PARTS)
    elif not message.get("tool_calls") and message.get("refusal") is None:
        raise RefusedError(f"{path}: neither content nor tool_calls")
    ids = []
    if "tool_calls" in message:
        for call_path, call in strict.items(message["tool_calls"], f"{path}.tool_calls", at_least=1):
            kinds = {"function": ("id function", ""), "custom": ("id custom", "")}
            kind = strict.tagged(call, call_path, kinds)["type"]
            ids.append(strict.string(call["id"], f"{call_path}.id", empty=False))
            inner = f"{call_path}.{kind}"
            strict.fields(call[kind], inner, "name arguments" if kind == "function" else "name input")
            strict.string(call[kind]["name"], f"{inner}.name", pattern=_TOOL_NAME)
            if kind == "function":
                strict.json_object(call[kind]["arguments"], f"{inner}.arguments")
    strict.distinct(ids, f"{path}.tool_calls")
    return ids


def _content(content: object, path: str, kinds: dict[str, tuple[str, str]]) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for part_path, part in strict.items(content, path, at_least=1):
        kind = strict.tagged(part, part_path, kinds, common="cache_control")["type"]  # as OpenRouter takes it
        if kind == "text":
            texts.append(strict.string(part["text"], f"{part_path}.text"))
        elif kind == "image_url":
            strict.fields(part["image_url"], f"{part_path}.image_url", "url", "detail")
            strict.image(part["image_url"]["url"], f"{part_path}.image_url.url")
    return "".join(texts)


def _finish(said: Said) -> str:
    return "tool_calls" if said.calls else "stop"


def _usage(said: Said) -> dict[str, Any]:
    return {
        "prompt_tokens": script.INPUT_TOKENS,
        "completion_tokens": script.OUTPUT_TOKENS,
        "total_tokens": script.INPUT_TOKENS + script.OUTPUT_TOKENS,
        "prompt_tokens_details": {"cached_tokens": script.CACHED_TOKENS},
        "completion_tokens_details": {"reasoning_tokens": script.REASONING_TOKENS if said.thought else 0},
    }


def _chunks(head: dict[str, Any], said: Said, *, usage: bool) -> Iterator[dict[str, Any]]:
    extra = {"usage": None} if usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**head, "object": "chat.completion.chunk", "choices": [choice], **extra}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in script.pieces(said.thought):
        yield chunk({"reasoning_content": piece})
    for piece in script.pieces(said.text):
        yield chunk({"content": piece})
    for index, call in enumerate(said.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        for piece in script.pieces(call.json):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _finish(said))
    if usage:
        yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": _usage(said)}
