"""Anthropic's Messages API, with the checks that real requests fail: roles, results, signatures, budgets, betas.

https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsBase

from harness.answers import Answer
from harness.providers import script, strict
from harness.providers.script import RefusedError, Said, Script, Turn
from harness.wire import Request

# The SDK no longer names the samplers; models that it still names take them.
FIELDS = " ".join([*MessageCreateParamsBase.__annotations__, "stream temperature top_p top_k"])
_BETAS = {"context_management": "context-management-", "mcp_servers": "mcp-client-", "speed": "fast-mode-"}
_SEAL = "c2VhbGVkIGJ5IHRoZSBtZXNzYWdlcyBkb3VibGU"  # base64, as theirs is
_ID = r"[A-Za-z0-9_-]+"
_NAME = r"[A-Za-z0-9_-]{1,128}"
_USER_BLOCKS = {
    "text": ("text", "cache_control citations"),
    "image": ("source", "cache_control"),
    "document": ("source", "cache_control title context citations"),
    "tool_result": ("tool_use_id", "content is_error cache_control"),
}
_ASSISTANT_BLOCKS = {
    "text": ("text", "cache_control citations"),
    "thinking": ("thinking signature", ""),
    "redacted_thinking": ("data", ""),
    "tool_use": ("id name input", "cache_control caller"),
}
_SOURCES = {
    "base64": ("media_type data", ""), "url": ("url", ""), "file": ("file_id", ""),
    "text": ("media_type data", ""), "content": ("content", ""),
}  # fmt: skip
_TOOL = "description cache_control strict type eager_input_streaming defer_loading input_examples allowed_callers"
_BOUNDS = {"temperature": (0, 1, False), "top_p": (0, 1, False), "top_k": (0, 500, True)}
_LEAST_BUDGET = 1024


def answer(request: Request, model: Script) -> Answer:
    """Answer ``/v1/messages``."""
    asked = strict.body(request)
    turn = read(asked, request)
    if model.insists and _thinks(asked):
        _last_turn_thinks(asked["messages"])
    said = model.answer(turn, "toolu_")
    blocks = _blocks(said, model, asked.get("thinking") or {})
    head = {"id": model.new_id("msg_"), "type": "message", "role": "assistant", "model": asked["model"]}
    stop = {"stop_reason": "tool_use" if said.calls else "end_turn", "stop_sequence": None}
    if not asked.get("stream"):
        return Answer.json({**head, "content": blocks, **stop, "usage": _usage()})
    events = _events(head, blocks, stop)
    return Answer.sse(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode() for each in events)


def count(request: Request, model: Script) -> Answer:
    """Answer ``/v1/messages/count_tokens``."""
    asked = strict.body(request)
    known = "system tools tool_choice thinking output_config cache_control context_management mcp_servers"
    strict.fields(asked, "body", "model messages", known)
    _messages(asked["messages"])
    return Answer.json({"input_tokens": script.INPUT_TOKENS})


def read(asked: dict[str, Any], request: Request) -> Turn:
    """Check a request, and tell what it comes to.

    Raises:
        RefusedError: a strict provider would not take it.
    """
    if not request.header("anthropic-version"):
        raise RefusedError("anthropic-version: header is required")
    betas = request.header("anthropic-beta") or ""
    if "thread" in asked:
        # So the SDK's tool runner goes on without: anthropic.lib.threads._thread_state._unsupported_features.
        details = {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}
        raise RefusedError("thread: not supported for this account", details=details)
    opened = [name for name, beta in _BETAS.items() if beta in betas]
    strict.fields(asked, "body", "model max_tokens messages", f"{FIELDS} {' '.join(opened)}")
    strict.number(asked["max_tokens"], "max_tokens", 1, 128_000, whole=True)
    strict.numbers(asked, "body", _BOUNDS)
    if "system" in asked and not isinstance(asked["system"], str):
        for path, block in strict.items(asked["system"], "system", at_least=1):
            strict.tagged(block, path, {"text": _USER_BLOCKS["text"]})
            strict.string(block["text"], f"{path}.text", empty=False)
    if "metadata" in asked:
        strict.fields(asked["metadata"], "metadata", "", "user_id")
    if "output_config" in asked:
        strict.fields(asked["output_config"], "output_config", "", "effort format task_budget")
    _stop_sequences(asked)
    tools = _tools(asked)
    forced, may_call = _choice(asked, tools)
    _thinking(asked, forced=bool(forced))
    if json.dumps(asked).count('"cache_control"') > 4:  # what is in arguments of tools would count too
        raise RefusedError("A maximum of 4 blocks with cache_control may be provided.")
    results = _messages(asked["messages"])
    blocks = [block for message in asked["messages"] for block in message["content"] if isinstance(block, dict)]
    called = sum(block["type"] == "tool_use" for block in blocks)
    return Turn(tools=tools, results=results, forced=forced, may_call=may_call, called=called)


def _stop_sequences(asked: dict[str, Any]) -> None:
    for path, each in strict.items(asked.get("stop_sequences", []), "stop_sequences"):
        if not strict.string(each, path).strip():
            raise RefusedError(f"{path}: each stop sequence must contain non-whitespace")


def _thinks(asked: dict[str, Any]) -> bool:
    return (asked.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _thinking(asked: dict[str, Any], *, forced: bool) -> None:
    if "thinking" not in asked:
        return
    kinds = {"enabled": ("budget_tokens", "display"), "adaptive": ("", "display"), "disabled": ("", "")}
    thinking = strict.tagged(asked["thinking"], "thinking", kinds)
    if thinking["type"] == "enabled":
        # Interleaved thinking may spend more than the answer.
        strict.number(thinking["budget_tokens"], "thinking.budget_tokens", _LEAST_BUDGET, 1 << 20, whole=True)
        if thinking["budget_tokens"] >= asked["max_tokens"]:
            raise RefusedError("max_tokens must be greater than thinking.budget_tokens")
    if thinking["type"] == "disabled":
        return
    if forced:
        raise RefusedError("Thinking may not be enabled when tool_choice forces tool use.")
    if asked.get("temperature", 1) != 1:
        raise RefusedError("temperature may only be set to 1 when thinking is enabled")
    if "top_k" in asked or not 0.95 <= asked.get("top_p", 1) <= 1:
        raise RefusedError("top_k must be unset and top_p within 0.95..1 when thinking is enabled")


def _tools(asked: dict[str, Any]) -> list[str]:
    names = []
    for path, tool in strict.items(asked.get("tools", []), "tools"):
        if tool.get("type", "custom") != "custom":
            names.append(strict.string(tool.get("name"), f"{path}.name"))
            continue
        strict.fields(tool, path, "name input_schema", _TOOL)
        names.append(strict.string(tool["name"], f"{path}.name", pattern=_NAME))
        if not isinstance(tool["input_schema"], dict) or tool["input_schema"].get("type") != "object":
            raise RefusedError(f"{path}.input_schema.type: field required, 'object'")
    strict.distinct(names, "tools")
    return names


def _choice(asked: dict[str, Any], tools: list[str]) -> tuple[str, bool]:
    if "tool_choice" not in asked:
        return "", True
    if not tools:
        raise RefusedError("tool_choice may only be specified while providing tools.")
    one = "disable_parallel_tool_use"
    choice = strict.tagged(
        asked["tool_choice"],
        "tool_choice",
        {"auto": ("", one), "any": ("", one), "tool": ("name", one), "none": ("", "")},
    )
    if choice["type"] == "tool" and choice["name"] not in tools:
        raise RefusedError(f"tool_choice: Tool '{choice['name']}' not found in provided tools")
    return {"tool": choice.get("name", ""), "any": tools[0]}.get(choice["type"], ""), choice["type"] != "none"


def _messages(messages: object) -> list[str]:
    calls: list[str] = []
    results: list[str] = []
    listed = strict.items(messages, "messages", at_least=1)
    if listed[0][1].get("role") != "user":
        raise RefusedError('messages: first message must use the "user" role')
    for index, (path, message) in enumerate(listed):
        strict.fields(message, path, "role content")
        strict.one_of(message["role"], f"{path}.role", "user assistant system")
        last = index == len(listed) - 1
        if message["role"] == "user":
            results = _user(message["content"], path, calls)
            calls = []
        elif message["role"] == "system" and not calls:
            _user(message["content"], path, [])
        elif calls:
            raise RefusedError(f"{path}: `tool_use` ids without `tool_result` immediately after: {calls}")
        else:
            calls, results = _assistant(message["content"], path, last=last), []
    if calls:
        raise RefusedError(f"messages: `tool_use` ids without `tool_result` immediately after: {calls}")
    return results


def _user(content: object, path: str, calls: list[str]) -> list[str]:
    results, answered, others = [], [], False
    if isinstance(content, str):
        strict.string(content, f"{path}.content", empty=False)
        content = []
    elif not content:
        raise RefusedError(f"{path}: all messages must have non-empty content")
    for block_path, block in strict.items(content, f"{path}.content"):
        kind = strict.tagged(block, block_path, _USER_BLOCKS)["type"]
        if kind == "tool_result":
            if others and calls:
                raise RefusedError(f"{block_path}: tool_result blocks must come first")
            answered.append(strict.string(block["tool_use_id"], f"{block_path}.tool_use_id", pattern=_ID))
            results.append(_result(block.get("content", ""), f"{block_path}.content"))
            continue
        others = True
        if kind == "text":
            strict.string(block["text"], f"{block_path}.text", empty=False)
        else:
            strict.tagged(block["source"], f"{block_path}.source", _SOURCES)
    if sorted(calls) != sorted(answered):
        raise RefusedError(f"{path}: tool_result ids {sorted(answered)} for tool_use ids {sorted(calls)}")
    return results


def _result(content: object, path: str) -> str:
    if isinstance(content, str):
        return content
    texts = []
    kinds = {name: _USER_BLOCKS[name] for name in ("text", "image", "document")}
    for block_path, block in strict.items(content, path):
        if strict.tagged(block, block_path, kinds)["type"] == "text":
            texts.append(strict.string(block["text"], f"{block_path}.text", empty=False))
    return "".join(texts)


def _assistant(content: object, path: str, *, last: bool) -> list[str]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    calls = []
    for block_path, block in strict.items(content, f"{path}.content", at_least=0 if last else 1):
        match strict.tagged(block, block_path, _ASSISTANT_BLOCKS)["type"]:
            case "text":
                strict.string(block["text"], f"{block_path}.text", empty=False)
            case "tool_use":
                calls.append(strict.string(block["id"], f"{block_path}.id", pattern=_ID))
                strict.string(block["name"], f"{block_path}.name", pattern=_NAME)
                if not isinstance(block["input"], dict):
                    raise RefusedError(f"{block_path}.input: Input should be a valid dictionary")
            case "thinking" if not str(block["signature"]).startswith(_SEAL):
                raise RefusedError(f"{block_path}: Invalid `signature` in `thinking` block")
            case "redacted_thinking":
                raise RefusedError(f"{block_path}: Invalid `data` in `redacted_thinking` block")
    strict.distinct(calls, f"{path}: `tool_use` ids")
    text = content[-1].get("text", "") if isinstance(content, list) and content else ""
    if last and text != text.rstrip():
        raise RefusedError("messages: final assistant content cannot end with trailing whitespace")
    return calls


def _last_turn_thinks(messages: list[dict[str, Any]]) -> None:
    """With thinking on, a turn that goes on after a tool's result begins with the thinking that led to the call."""
    for message in reversed(messages[:-1]):
        content = message["content"] if isinstance(message["content"], list) else []
        if message["role"] == "user" and not any(block["type"] == "tool_result" for block in content):
            return
        if any(block["type"] == "tool_use" for block in content):
            if content[0]["type"] not in ("thinking", "redacted_thinking"):
                raise RefusedError(f"Expected `thinking` or `redacted_thinking`, but found `{content[0]['type']}`.")
            return


def _blocks(said: Said, model: Script, thinking: dict[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if said.thought and thinking.get("type") in ("enabled", "adaptive"):
        model.count += 1
        shown = "" if thinking.get("display") == "omitted" else said.thought
        blocks.append({"type": "thinking", "thinking": shown, "signature": f"{_SEAL}{model.count:05}"})
    blocks.append({"type": "text", "text": said.text})
    calls = [{"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments} for call in said.calls]
    return blocks + calls


def _usage() -> dict[str, Any]:
    return {
        "input_tokens": script.INPUT_TOKENS - script.CACHED_TOKENS,
        "cache_read_input_tokens": script.CACHED_TOKENS,
        "cache_creation_input_tokens": 0,
        "output_tokens": script.OUTPUT_TOKENS,
    }


def _events(head: dict[str, Any], blocks: list[dict[str, Any]], stop: dict[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {
        **head,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_usage(), "output_tokens": 1},
    }
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, block in enumerate(blocks):
        match block["type"]:
            case "thinking":
                empty = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [{"type": "thinking_delta", "thinking": piece} for piece in script.pieces(block["thinking"])]
                deltas.append({"type": "signature_delta", "signature": block["signature"]})
            case "text":
                empty = {"type": "text", "text": ""}
                deltas = [{"type": "text_delta", "text": piece} for piece in script.pieces(block["text"])]
            case _:
                empty = {**block, "input": {}}
                written = ["", *script.pieces(json.dumps(block["input"], ensure_ascii=False))]
                deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in written]
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": stop, "usage": _usage()}
    yield {"type": "message_stop"}
