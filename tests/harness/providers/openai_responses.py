"""OpenAI's Responses API, as a provider that stores nothing but reasoning, and checks everything.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai.types.responses.response_create_params import ResponseCreateParamsBase

from harness.answers import Answer
from harness.providers import script, strict
from harness.providers.script import RefusedError, Said, Script, Turn
from harness.wire import Request

# `client_metadata` is Codex's, and OpenAI takes it.
FIELDS = " ".join([*ResponseCreateParamsBase.__annotations__, "stream", "client_metadata"])
_SEAL = "sealed-by-the-responses-double-"
_TOOL_NAME = r"[A-Za-z0-9_-]{1,64}"
_INPUT_PARTS = {
    "input_text": ("text", "prompt_cache_breakpoint"),
    "input_image": ("", "image_url file_id detail"),
    "input_file": ("", "file_data file_id file_url filename"),
    "input_audio": ("input_audio", ""),
}
_OUTPUT_PARTS = {"output_text": ("text", "annotations logprobs"), "refusal": ("refusal", "")}
_ITEMS = {
    "message": ("role content", "id status phase"),
    "function_call": ("call_id name arguments", "id status namespace"),
    "function_call_output": ("call_id output", "id status"),
    "custom_tool_call": ("call_id name input", "id status"),
    "custom_tool_call_output": ("call_id output", "id status"),
    "reasoning": ("summary", "id content encrypted_content status"),
}
_PREFIXES = {"message": "msg_", "function_call": "fc_", "reasoning": "rs_", "custom_tool_call": "ctc_"}
_TOOLS = {
    "function": ("name parameters", "description strict"),
    "custom": ("name", "description format"),
    "namespace": ("name description tools", ""),
    "web_search": ("", "filters search_context_size user_location external_web_access"),
    "code_interpreter": ("container", ""),
    "image_generation": ("", "background model quality size output_format"),
    "file_search": ("vector_store_ids", "filters max_num_results ranking_options"),
    "mcp": ("server_label", "server_url allowed_tools headers require_approval authorization server_description"),
}
_BOUNDS = {
    "temperature": (0, 2, False),
    "top_p": (0, 1, False),
    "max_output_tokens": (16, 1 << 20, True),
    "top_logprobs": (0, 20, True),
}


def answer(request: Request, model: Script) -> Answer:
    """Answer ``/v1/responses``."""
    asked = strict.body(request)
    said = model.answer(read(asked, model), "call_")
    output = _output(asked, said, model)
    head = _head(asked, model.new_id("resp_"))
    if asked.get("stream"):
        events = [
            f"event: {each['type']}\ndata: {json.dumps({**each, 'sequence_number': number})}\n\n".encode()
            for number, each in enumerate(_events(head, output))
        ]
        return Answer.sse(events)
    return Answer.json({**head, "status": "completed", "output": output, "usage": _usage(said)})


def count(request: Request, model: Script) -> Answer:
    """Answer ``/v1/responses/input_tokens``."""
    asked = strict.body(request)
    known = "model input instructions tools tool_choice parallel_tool_calls reasoning text truncation personality"
    strict.fields(asked, "body", "", nullable=f"{known} conversation previous_response_id")
    read({"model": "-", "input": "", **asked}, model)
    return Answer.json({"object": "response.input_tokens", "input_tokens": script.INPUT_TOKENS})


def read(asked: dict[str, Any], model: Script) -> Turn:
    """Check a body, and tell what it comes to.

    Raises:
        RefusedError: a strict provider would not take it.
    """
    strict.fields(asked, "body", "model input", nullable=FIELDS)
    asked = {name: value for name, value in asked.items() if value is not None}
    strict.numbers(asked, "body", _BOUNDS)
    if "instructions" in asked:
        strict.string(asked["instructions"], "instructions")
    if "text" in asked:
        text = strict.fields(asked["text"], "text", "", "format verbosity")
        if "format" in text:
            kinds = {"text": ("", ""), "json_object": ("", ""), "json_schema": ("name schema", "strict description")}
            strict.tagged(text["format"], "text.format", kinds)
    if "reasoning" in asked:
        strict.fields(asked["reasoning"], "reasoning", "", "effort summary generate_summary context")
    for name in ("previous_response_id", "conversation"):
        if name in asked:
            raise RefusedError(f"{name}: nothing is stored here", status=404)
    tools = _tools(asked)
    forced, may_call = _choice(asked, tools)
    results = _input(asked["input"], model)
    items = asked["input"] if isinstance(asked["input"], list) else []
    called = sum(item.get("type") in ("function_call", "custom_tool_call") for item in items)
    return Turn(tools=tools, results=results, forced=forced, may_call=may_call, called=called)


def _tools(asked: dict[str, Any]) -> list[str]:
    names = []
    for path, tool in strict.items(asked.get("tools", []), "tools"):
        # `parameters` and `strict` must be there, but may be null.
        nulls = {name: None for name in ("parameters", "strict") if tool.get(name, 0) is None}
        kept = {name: value for name, value in tool.items() if name not in nulls}
        required = _TOOLS.get(tool.get("type"), ("", ""))[0]
        if "parameters" in required and "parameters" in nulls:
            kept["parameters"] = {}
        if strict.tagged(kept, path, _TOOLS)["type"] in ("function", "custom"):
            names.append(strict.string(tool["name"], f"{path}.name", pattern=_TOOL_NAME))
    strict.distinct(names, "tools")
    return names


def _choice(asked: dict[str, Any], tools: list[str]) -> tuple[str, bool]:
    choice = asked.get("tool_choice", "auto")
    if isinstance(choice, str):
        strict.one_of(choice, "tool_choice", "auto none required")
        if choice == "required" and not asked.get("tools"):
            raise RefusedError("tool_choice: required, and there are no tools")
        return (tools[0] if choice == "required" and tools else ""), choice != "none"
    kinds = {
        "function": ("name", ""), "custom": ("name", ""), "allowed_tools": ("mode tools", ""), "web_search": ("", ""),
    }  # fmt: skip
    strict.tagged(choice, "tool_choice", kinds)
    if "name" in choice and choice["name"] not in tools:
        raise RefusedError(f"tool_choice: {choice['name']} is not among the tools")
    return choice.get("name", ""), True


def _input(given: object, model: Script) -> list[str]:
    if isinstance(given, str):
        return []
    calls: list[str] = []
    outputs: list[str] = []
    results: list[str] = []
    thinking = ""
    for path, sent in strict.items(given, "input", at_least=1):
        item = {name: value for name, value in sent.items() if value is not None}  # Codex sends null in some
        kind = item.get("type") or ("message" if "role" in item else "")
        # The last is Codex's, on any item.
        strict.tagged({**item, "type": kind}, path, _ITEMS, common="internal_chat_message_metadata_passthrough")
        if "id" in item and kind in _PREFIXES:
            strict.string(item["id"], f"{path}.id", pattern=_PREFIXES[kind] + ".+")
        if thinking and kind not in ("message", "function_call", "custom_tool_call", "reasoning"):
            raise RefusedError(f"{thinking}: a reasoning item without the item that must follow it")
        thinking = path if kind == "reasoning" else ""
        if kind == "message":
            _message(item, path)
            results = []
        elif kind == "reasoning":
            _reasoning(item, path, model)
        elif kind in ("function_call", "custom_tool_call"):
            calls.append(strict.string(item["call_id"], f"{path}.call_id", empty=False))
            strict.string(item["name"], f"{path}.name", pattern=_TOOL_NAME)
            if kind == "function_call":
                strict.json_object(item["arguments"], f"{path}.arguments")
            results = []
        else:
            if item["call_id"] not in calls:
                raise RefusedError(f"No tool call found for function call output with call_id {item['call_id']}.")
            outputs.append(item["call_id"])
            results.append(_content(item["output"], f"{path}.output", _INPUT_PARTS))
    if thinking:
        raise RefusedError(f"{thinking}: a reasoning item without the item that must follow it")
    strict.distinct(calls, "input: calls")
    strict.same(calls, outputs, "input")
    return results


def _message(item: dict[str, Any], path: str) -> None:
    strict.one_of(item["role"], f"{path}.role", "user assistant system developer")
    _content(item["content"], f"{path}.content", _OUTPUT_PARTS if item["role"] == "assistant" else _INPUT_PARTS)


def _reasoning(item: dict[str, Any], path: str, model: Script) -> None:
    for part_path, part in strict.items(item["summary"], f"{path}.summary"):
        strict.tagged(part, part_path, {"summary_text": ("text", "")})
    sealed = item.get("encrypted_content")
    if sealed is None and item.get("id") in model.stored:
        return
    if sealed is None:
        raise RefusedError(f"Item with id {item.get('id')!r} not found: nothing of that is stored", status=404)
    if not str(sealed).startswith(_SEAL):
        raise RefusedError(f"{path}.encrypted_content: could not be verified (invalid_encrypted_content)")


def _content(content: object, path: str, kinds: dict[str, tuple[str, str]]) -> str:
    if isinstance(content, str):
        return content
    texts = []
    for part_path, part in strict.items(content, path, at_least=1):
        strict.tagged(part, part_path, kinds)
        texts.append(part.get("text", ""))
        if "image_url" in part:
            strict.image(part["image_url"], f"{part_path}.image_url")
    return "".join(texts)


def _output(asked: dict[str, Any], said: Said, model: Script) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    if said.thought:
        item: dict[str, Any] = {"id": model.new_id("rs_"), "type": "reasoning", "summary": []}
        if asked.get("store") is not False:
            model.stored.add(item["id"])
        if (asked.get("reasoning") or {}).get("summary"):
            item["summary"] = [{"type": "summary_text", "text": said.thought}]
        if "reasoning.encrypted_content" in (asked.get("include") or []):
            item["encrypted_content"] = model.new_id(_SEAL)
        output.append(item)
    part = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    message = {"id": model.new_id("msg_"), "type": "message", "status": "completed", "role": "assistant"}
    output.append({**message, "content": [part]})
    for call in said.calls:
        item = {"id": model.new_id("fc_"), "type": "function_call", "status": "completed", "call_id": call.id}
        output.append({**item, "name": call.name, "arguments": call.json})
    return output


def _head(asked: dict[str, Any], response_id: str) -> dict[str, Any]:
    return {
        "id": response_id,
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "in_progress",
        "model": asked["model"],
        "output": [],
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "metadata": asked.get("metadata") or {},
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "temperature": asked.get("temperature", 1.0),
        "top_p": asked.get("top_p", 1.0),
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": asked.get("tools", []),
        "usage": None,
    }


def _usage(said: Said) -> dict[str, Any]:
    return {
        "input_tokens": script.INPUT_TOKENS,
        "input_tokens_details": {"cached_tokens": script.CACHED_TOKENS, "cache_write_tokens": 0},
        "output_tokens": script.OUTPUT_TOKENS,
        "output_tokens_details": {"reasoning_tokens": script.REASONING_TOKENS if said.thought else 0},
        "total_tokens": script.INPUT_TOKENS + script.OUTPUT_TOKENS,
    }


def _events(head: dict[str, Any], output: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": head}
    yield {"type": "response.in_progress", "response": head}
    for index, item in enumerate(output):
        at = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Any] = {"message": {"content": []}, "reasoning": {"summary": []}, "function_call": {}}[
            item["type"]
        ]
        if item["type"] == "function_call":
            empty = {"arguments": ""}
        begun = {**item, **empty} | ({} if item["type"] == "reasoning" else {"status": "in_progress"})
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        yield from _inside(item, at)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    thought = any(item["type"] == "reasoning" for item in output)
    usage = _usage(Said(text="", thought="…" if thought else ""))
    yield {"type": "response.completed", "response": {**head, "status": "completed", "output": output, "usage": usage}}


def _inside(item: dict[str, Any], at: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match item["type"]:
        case "reasoning":
            for number, part in enumerate(item["summary"]):
                here = {**at, "summary_index": number}
                yield {"type": "response.reasoning_summary_part.added", **here, "part": {**part, "text": ""}}
                for piece in script.pieces(part["text"]):
                    yield {"type": "response.reasoning_summary_text.delta", **here, "delta": piece}
                yield {"type": "response.reasoning_summary_text.done", **here, "text": part["text"]}
                yield {"type": "response.reasoning_summary_part.done", **here, "part": part}
        case "message":
            part = item["content"][0]
            here = {**at, "content_index": 0}
            yield {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
            for piece in script.pieces(part["text"]):
                yield {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **here, "part": part}
        case "function_call":
            for piece in script.pieces(item["arguments"]):
                yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
            named = {"arguments": item["arguments"], "name": item["name"]}
            yield {"type": "response.function_call_arguments.done", **at, **named}
