"""Recorded streams put together to whole answers, as plain JSON: as the providers' references say, and no gateway."""

import copy
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from corpus.reading import Body
from corpus.recordings import Frame


class CutShort(Exception):  # noqa: N818  # it is not an error of ours
    """The recording has no end."""


class FailedWithin(Exception):  # noqa: N818  # likewise
    """The provider says in the stream that it failed."""


def _events(frames: Sequence[Frame]) -> list[dict[str, object]]:
    events = []
    for frame in frames:
        if not frame.data or frame.data == b"[DONE]":
            continue
        try:
            event = json.loads(frame.data)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def fold_openai_chat(frames: Sequence[Frame]) -> Body:
    """Chunks of the first choice."""
    whole: dict[str, object] = {}
    message: dict[str, object] = {"content": ""}
    calls: list[dict[str, object]] = []
    by_index: dict[object, dict[str, object]] = {}
    finish = None
    for chunk in _events(frames):
        if chunk.get("error"):
            raise FailedWithin(chunk)
        whole.update({key: chunk[key] for key in ("usage", "citations", "search_results") if chunk.get(key)})
        if isinstance(chunk.get("x_groq"), dict) and chunk["x_groq"].get("usage"):
            whole.setdefault("usage", chunk["x_groq"]["usage"])
        for choice in chunk.get("choices") or ():
            if (choice.get("index") or 0) != 0:
                continue
            finish = choice.get("finish_reason") or finish
            delta = choice.get("delta") or {}
            for field in ("content", "reasoning_content", "reasoning", "refusal"):
                _append(message, field, delta.get(field))
            if delta.get("annotations"):
                message["annotations"] = [*message.get("annotations", ()), *delta["annotations"]]
            if delta.get("reasoning_details"):
                message["reasoning_details"] = [*message.get("reasoning_details", ()), *delta["reasoning_details"]]
            for call in delta.get("tool_calls") or ():
                _fold_call(call, calls, by_index)
    if finish is None and all(frame.data != b"[DONE]" for frame in frames):
        raise CutShort
    return {**whole, "choices": [{"index": 0, "message": {**message, "tool_calls": calls}, "finish_reason": finish}]}


def _append(message: dict[str, object], field: str, more: object) -> None:
    if isinstance(more, list):  # Mistral's parts
        before = message.get(field)
        if isinstance(before, str):
            before = [{"type": "text", "text": before}]
        message[field] = [*(before or ()), *more]
    elif isinstance(more, str):
        before = message.get(field) or ""
        message[field] = [*before, {"type": "text", "text": more}] if isinstance(before, list) else str(before) + more


def _fold_call(
    delta: dict[str, dict[str, str]], calls: list[dict[str, object]], by_index: dict[object, dict[str, object]]
) -> None:
    index = delta.get("index", delta.get("id"))
    new = delta.get("id") and index in by_index and by_index[index].get("id") not in (None, delta["id"])
    call = None if new else by_index.get(index)
    if call is None:
        call = {"id": delta.get("id"), "function": {"name": "", "arguments": ""}}
        calls.append(call)
        by_index[index] = call
    function = call["function"]
    assert isinstance(function, dict)
    more = delta.get("function") or {}
    function["name"] = function["name"] or more.get("name") or ""
    arguments = more.get("arguments")
    function["arguments"] += json.dumps(arguments) if isinstance(arguments, dict) else arguments or ""


def fold_openai_responses(frames: Sequence[Frame]) -> Body:
    """The response of the last event; its output from the items' own events where it is left out."""
    items: dict[int, object] = {}
    final: dict[str, object] | None = None
    for event in _events(frames):
        match event.get("type"):
            case "response.output_item.done":
                items[event["output_index"]] = event["item"]
            case "response.completed" | "response.incomplete":
                final = event["response"]
                break  # some recordings hold several answers in a row
            case "response.failed" | "error":
                raise FailedWithin(event)
    if final is None:
        raise CutShort
    return final if final.get("output") else {**final, "output": [items[index] for index in sorted(items)]}


def fold_anthropic_messages(frames: Sequence[Frame]) -> Body:
    """Blocks put together from their deltas; usage of the last event that tells it."""
    message: dict[str, object] = {}
    blocks: dict[int, dict[str, object]] = {}
    usage: dict[str, object] = {}
    ended = False
    for event in _events(frames):
        match event.get("type"):
            case "message_start":
                message = event["message"]
                usage = dict(message.get("usage") or {})
            case "content_block_start":
                blocks[event["index"]] = dict(event["content_block"])
            case "content_block_delta":
                _fold_block(blocks[event["index"]], event["delta"])
            case "message_delta":
                message = {**message, **event["delta"]}
                usage.update({key: each for key, each in (event.get("usage") or {}).items() if each is not None})
            case "message_stop":
                ended = True
            case "error":
                raise FailedWithin(event)
    if not ended and message.get("stop_reason") is None:
        raise CutShort
    for block in blocks.values():
        if "partial" in block:
            block["input"] = json.loads(str(block.pop("partial")) or "{}")
    return {**message, "content": [blocks[index] for index in sorted(blocks)], "usage": usage}


def _fold_block(block: dict[str, object], delta: Mapping[str, object]) -> None:
    match delta.get("type"):
        case "text_delta":
            block["text"] = f"{block.get('text') or ''}{delta['text']}"
        case "thinking_delta":
            block["thinking"] = f"{block.get('thinking') or ''}{delta['thinking']}"
        case "citations_delta":
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        case "input_json_delta":
            block["partial"] = f"{block.get('partial') or ''}{delta['partial_json']}"


def fold_gemini_generate(frames: Sequence[Frame]) -> Body:
    """Parts of all chunks in a row."""
    parts: list[object] = []
    candidate: dict[str, object] = {}
    whole: dict[str, object] = {}
    for chunk in _events(frames):
        if chunk.get("error"):
            raise FailedWithin(chunk)
        whole.update({key: chunk[key] for key in ("usageMetadata", "promptFeedback") if chunk.get(key)})
        for each in chunk.get("candidates") or ():
            if each.get("index", 0) == 0:
                parts += (each.get("content") or {}).get("parts") or ()
                candidate.update({key: value for key, value in each.items() if key != "content"})
    if "finishReason" not in candidate and "promptFeedback" not in whole:
        raise CutShort
    candidates = [{**candidate, "content": {"parts": _with_whole_calls(parts)}}] if candidate else []
    return {**whole, "candidates": candidates}


def _with_whole_calls(parts: Sequence[object]) -> list[object]:
    """Calls whose arguments come in pieces, each with its path.

    https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/function-calling#streaming-fc
    """
    made: list[object] = []
    args: dict[str, object] | None = None
    for part in parts:
        call = part.get("functionCall") if isinstance(part, dict) else None
        if not isinstance(call, dict) or not ("partialArgs" in call or "willContinue" in call or args is not None):
            made.append(part)
            continue
        if args is None:
            args = {}
            made.append({"functionCall": {"name": call.get("name"), "args": args}})
        for piece in call.get("partialArgs") or ():
            _put_at(args, piece)
        if not call.get("willContinue"):
            args = None
    return made


def _put_at(args: dict[str, object], piece: Mapping[str, object]) -> None:
    steps = [
        int(index) if index else name for name, index in re.findall(r"\.([^.\[]+)|\[(\d+)\]", str(piece["jsonPath"]))
    ]
    kind = next(
        (kind for kind in ("stringValue", "numberValue", "boolValue", "nullValue") if kind in piece), "nullValue"
    )
    at: Any = args
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        empty: object = None if following is None else [] if isinstance(following, int) else {}
        if isinstance(step, int):
            at.extend(copy.copy(empty) for _ in range(step + 1 - len(at)))
        else:
            at.setdefault(step, empty)
        if following is None:
            value = None if kind == "nullValue" else piece[kind]
            at[step] = (at[step] or "") + value if isinstance(value, str) else value
        else:
            at = at[step]


def fold_bedrock_converse(frames: Sequence[Frame]) -> Body:
    """Blocks by their index."""
    blocks: dict[int, dict[str, object]] = {}
    whole: dict[str, object] = {}
    for frame in frames:
        if not frame.data:
            continue
        event = json.loads(frame.data)
        name = frame.name.decode()
        if name == "contentBlockStart":
            start = event.get("start") or {}
            if "toolUse" in start:
                blocks[event["contentBlockIndex"]] = {"toolUse": {**start["toolUse"], "input": ""}}
        elif name == "contentBlockDelta":
            _fold_converse(blocks.setdefault(event["contentBlockIndex"], {}), event["delta"])
        elif name == "messageStop":
            whole["stopReason"] = event["stopReason"]
        elif name == "metadata":
            whole["usage"] = event.get("usage")
        elif name.endswith("Exception"):
            raise FailedWithin(event)
    if "stopReason" not in whole:
        raise CutShort
    content = [blocks[index] for index in sorted(blocks)]
    return {**whole, "output": {"message": {"content": content}}}


def _fold_converse(block: dict[str, object], delta: dict[str, object]) -> None:
    if "text" in delta:
        block["text"] = f"{block.get('text') or ''}{delta['text']}"
    if "citation" in delta:
        block["citations"] = [*block.get("citations", ()), delta["citation"]]
    if isinstance(call := delta.get("toolUse"), dict) and isinstance(into := block.get("toolUse"), dict):
        into["input"] += call.get("input") or ""
    if isinstance(thought := delta.get("reasoningContent"), dict):
        inner = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})
        inner["reasoningText"]["text"] += thought.get("text") or ""


FOLDS: Final[Mapping[str, Callable[[Sequence[Frame]], Body]]] = {
    "openai_chat": fold_openai_chat,
    "openai_responses": fold_openai_responses,
    "anthropic_messages": fold_anthropic_messages,
    "gemini_generate": fold_gemini_generate,
    "bedrock_converse": fold_bedrock_converse,
}
