"""What a client reads from an answer, whoever wrote it: read from plain JSON by the providers' references.

Nothing here knows the gateway: these readers are what its codecs are judged by. Each takes a whole answer as decoded
JSON; `folding` makes whole answers of recorded streams.
"""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from corpus.loose import as_dict, as_dicts, as_int, as_str

Json: TypeAlias = object
Body: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """What an answer costs: the part of the prompt that was new, read from a cache, written to it; and the answer."""

    new: int
    cached: int
    cache_write: int
    completion: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Of the first choice.

    Attributes:
        reasoning: Without its white space, which dialects put between paragraphs as they like.
        calls: Name and arguments in canonical JSON.
        finish: ``stop``, ``length``, ``tool_calls``, ``filter``, or ``other``.
        order: In which reasoning, text and calls come; empty where the dialect has places for them and no order.
        urls: Of the pages that are cited.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    finish: str = ""
    tokens: Tokens | None = None
    order: tuple[str, ...] = ()
    urls: frozenset[str] = frozenset()


def made(
    text: str,
    reasoning: str,
    refusal: str,
    calls: Sequence[tuple[str, str]],
    finish: str,
    tokens: Tokens | None,
    *,
    order: Sequence[str] = (),
    urls: Iterable[str] = (),
) -> Reading:
    """Normalise: an answer that calls tools, or refuses, has finished for that, whatever the dialect's word is."""
    if calls and finish in ("stop", "other"):
        finish = "tool_calls"
    elif refusal and finish in ("stop", "other"):
        finish = "filter"
    return Reading(
        text=text,
        reasoning=re.sub(r"\s+", "", reasoning),
        refusal=refusal,
        calls=tuple(calls),
        finish=finish,
        tokens=tokens,
        order=tuple(kind for kind, _ in itertools.groupby(each for each in order if each)),
        urls=frozenset(url for url in urls if url),
    )


def canonical(arguments: object) -> str:
    """Arguments that mean the same are spelt the same; none are an empty object; what is no JSON stays."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            return str(arguments)
    return json.dumps(_numbers({} if arguments is None else arguments), sort_keys=True, ensure_ascii=False)


def custom_call(call: Body) -> tuple[str, str]:
    """Of a tool that takes free text: where there are no such tools, it takes an object with that text."""
    return in_namespace(call), canonical({"input": as_str(call.get("input"))})


def in_namespace(call: Body) -> str:
    """A tool's name; where there are no namespaces, they are joined like this."""
    namespace, name = as_str(call.get("namespace")), as_str(call.get("name"))
    return f"{namespace}__{name}" if namespace else name


def _numbers(value: object) -> object:
    match value:
        case dict():
            return {key: _numbers(each) for key, each in value.items()}
        case list():
            return [_numbers(each) for each in value]
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


_CHAT_FINISH: Final = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "model_length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "filter",
    "sensitive": "filter",
    "refusal": "filter",
}


def read_openai_chat(body: Body) -> Reading:
    """https://platform.openai.com/docs/api-reference/chat/object, and what its compatible providers add."""
    choices = as_dicts(body.get("choices"))
    choice = next((each for each in choices if as_int(each.get("index")) == 0), choices[0] if choices else {})
    message = as_dict(choice.get("message"))
    text, thought = _chat_content(message.get("content"))
    text = text or as_str(as_dict(message.get("audio")).get("transcript"))
    reasoning = as_str(message.get("reasoning_content")) or as_str(message.get("reasoning")) or thought
    if not reasoning:
        details = as_dicts(message.get("reasoning_details"))
        reasoning = "".join(as_str(each.get("text")) or as_str(each.get("summary")) for each in details)
    calls = [_chat_call(each) for each in as_dicts(message.get("tool_calls"))]
    function = as_dict(message.get("function_call"))
    if not calls and function.get("name"):
        calls = [(as_str(function.get("name")), canonical(function.get("arguments")))]
    finish = choice.get("finish_reason")
    return made(
        text,
        reasoning,
        as_str(message.get("refusal")),
        calls,
        _CHAT_FINISH.get(str(finish).lower(), "other"),
        _chat_tokens(as_dict(body.get("usage"))),
        urls=_chat_urls(body, message),
    )


def _chat_urls(body: Body, message: Body) -> list[str]:
    """Of the annotations; Perplexity lists its pages beside the choices."""
    listed = body.get("citations")
    pages = [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []
    pages += [as_str(each.get("url")) for each in as_dicts(body.get("search_results"))]
    return pages + [
        as_str(as_dict(each.get("url_citation")).get("url")) for each in as_dicts(message.get("annotations"))
    ]


def _chat_content(content: object) -> tuple[str, str]:
    if isinstance(content, str):
        return content, ""
    text, thought = [], []
    for part in as_dicts(content):
        if part.get("type") == "thinking":
            inner = part.get("thinking")
            thought.append(
                inner if isinstance(inner, str) else "".join(as_str(each.get("text")) for each in as_dicts(inner))
            )
        else:
            text.append(as_str(part.get("text")))
    return "".join(text), "".join(thought)


def _chat_call(call: Body) -> tuple[str, str]:
    if call.get("custom"):
        custom = as_dict(call["custom"])
        return custom_call(custom)
    function = as_dict(call.get("function"))
    return as_str(function.get("name")), canonical(function.get("arguments"))


def _chat_tokens(usage: Body) -> Tokens | None:
    if not usage or "prompt_tokens" not in usage:
        return None
    details = as_dict(usage.get("prompt_tokens_details"))
    cached = as_int(details.get("cached_tokens")) or as_int(usage.get("prompt_cache_hit_tokens"))
    cached = cached or as_int(usage.get("cached_tokens"))
    cache_write = as_int(details.get("cache_write_tokens"))
    prompt, completion = as_int(usage.get("prompt_tokens")), as_int(usage.get("completion_tokens"))
    reasoning = as_int(as_dict(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    if reasoning and as_int(usage.get("total_tokens")) == prompt + completion + reasoning:
        completion += reasoning  # xAI and Gemini count it beside the completion
    new = max(prompt - cached - cache_write, 0)  # some count what is cached beside the prompt
    return Tokens(new=new, cached=cached, cache_write=cache_write, completion=completion)


def read_openai_responses(body: Body) -> Reading:
    """https://platform.openai.com/docs/api-reference/responses/object."""
    text, reasoning, refusal = [], [], []
    order, urls = [], []
    calls: list[tuple[str, str]] = []
    for item in as_dicts(body.get("output")):
        order.append(_item_kind(item))
        match item.get("type"):
            case "message":
                for each in as_dicts(item.get("content")):
                    urls += [as_str(note.get("url")) for note in as_dicts(each.get("annotations"))]
                text += [as_str(each.get("text")) for each in as_dicts(item.get("content"))]
                refusal += [as_str(each.get("refusal")) for each in as_dicts(item.get("content"))]
            case "reasoning":
                shown = [as_str(each.get("text")) for each in as_dicts(item.get("content"))]
                reasoning += (
                    shown if any(shown) else [as_str(each.get("text")) for each in as_dicts(item.get("summary"))]
                )
            case "function_call":
                calls.append((in_namespace(item), canonical(item.get("arguments"))))
            case "custom_tool_call":
                calls.append(custom_call(item))
    return made(
        "".join(text),
        "".join(reasoning),
        "".join(refusal),
        calls,
        _responses_finish(body),
        _responses_tokens(as_dict(body.get("usage"))),
        order=order,
        urls=urls,
    )


def _item_kind(item: Body) -> str:
    if item.get("type") == "message":
        return "text" if any(each.get("text") for each in as_dicts(item.get("content"))) else ""
    if item.get("type") == "reasoning":
        texts = (*as_dicts(item.get("content")), *as_dicts(item.get("summary")))
        return "reasoning" if any(each.get("text") for each in texts) else ""
    return "call" if item.get("type") in ("function_call", "custom_tool_call") else ""


def _responses_finish(body: Body) -> str:
    if body.get("status") == "completed":
        return "stop"
    reason = as_dict(body.get("incomplete_details")).get("reason")
    return {"max_output_tokens": "length", "content_filter": "filter"}.get(str(reason), "other")


def _responses_tokens(usage: Body) -> Tokens | None:
    if not usage:
        return None
    details = as_dict(usage.get("input_tokens_details"))
    cached, cache_write = as_int(details.get("cached_tokens")), as_int(details.get("cache_write_tokens"))
    return Tokens(
        new=max(as_int(usage.get("input_tokens")) - cached - cache_write, 0),
        cached=cached,
        cache_write=cache_write,
        completion=as_int(usage.get("output_tokens")),
    )


_ANTHROPIC_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "filter",
}


def read_anthropic_messages(body: Body) -> Reading:
    """https://docs.anthropic.com/en/api/messages."""
    blocks = as_dicts(body.get("content"))
    text = [as_str(each.get("text")) for each in blocks if each.get("type") == "text"]
    reasoning = [as_str(each.get("thinking")) for each in blocks if each.get("type") == "thinking"]
    calls = [
        (as_str(each.get("name")), canonical(each.get("input"))) for each in blocks if each.get("type") == "tool_use"
    ]
    return made(
        "".join(text),
        "".join(reasoning),
        "",
        calls,
        _ANTHROPIC_FINISH.get(str(body.get("stop_reason")), "other"),
        _anthropic_tokens(as_dict(body.get("usage"))),
        order=[_block_kind(each) for each in blocks],
        urls=[
            _web(note.get("url") or note.get("source")) for each in blocks for note in as_dicts(each.get("citations"))
        ],
    )


def _web(source: object) -> str:
    """Where something is from, if it is from the web."""
    return as_str(source) if as_str(source).startswith(("http://", "https://")) else ""


def _block_kind(block: Body) -> str:
    match block.get("type"):
        case "text" if block.get("text"):
            return "text"
        case "thinking" if block.get("thinking"):
            return "reasoning"
        case "tool_use":
            return "call"
        case _:
            return ""


def _anthropic_tokens(usage: Body) -> Tokens | None:
    if not usage:
        return None
    return Tokens(
        new=as_int(usage.get("input_tokens")),
        cached=as_int(usage.get("cache_read_input_tokens")),
        cache_write=as_int(usage.get("cache_creation_input_tokens")),
        completion=as_int(usage.get("output_tokens")),
    )


_GEMINI_FILTERS: Final = frozenset({
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
})  # fmt: skip
_GEMINI_FINISH_NUMBERS: Final = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}


def read_gemini_generate(body: Body) -> Reading:
    """https://ai.google.dev/api/generate-content#generatecontentresponse."""
    candidates = as_dicts(body.get("candidates"))
    candidate = candidates[0] if candidates else {}
    parts = as_dicts(as_dict(candidate.get("content")).get("parts"))
    text = [as_str(each.get("text")) for each in parts if not each.get("thought")]
    reasoning = [as_str(each.get("text")) for each in parts if each.get("thought")]
    calls = [
        (as_str(call.get("name")), canonical(call.get("args")))
        for part in parts
        if (call := as_dict(part.get("functionCall")))
    ]
    return made(
        "".join(text),
        "".join(reasoning),
        "",
        calls,
        _gemini_finish(body, candidate),
        _gemini_tokens(as_dict(body.get("usageMetadata"))),
        order=[_part_kind(each) for each in parts],
        urls=[
            *_grounded(as_dict(candidate.get("groundingMetadata"))),
            *(as_str(each.get("uri")) for each in _recited(as_dict(candidate.get("citationMetadata")))),
        ],
    )


def _part_kind(part: Body) -> str:
    if part.get("functionCall"):
        return "call"
    return ("reasoning" if part.get("thought") else "text") if part.get("text") else ""


def _recited(citations: Body) -> Sequence[Body]:
    return as_dicts(citations.get("citations")) or as_dicts(citations.get("citationSources"))


def _grounded(grounding: Body) -> list[str]:
    return [as_str(as_dict(each.get("web")).get("uri")) for each in as_dicts(grounding.get("groundingChunks"))]


def _gemini_finish(body: Body, candidate: Body) -> str:
    reason = candidate.get("finishReason")
    if isinstance(reason, int):
        reason = _GEMINI_FINISH_NUMBERS.get(reason)
    if reason in _GEMINI_FILTERS or (not candidate and as_dict(body.get("promptFeedback")).get("blockReason")):
        return "filter"
    return {"STOP": "stop", "MAX_TOKENS": "length"}.get(str(reason), "other")


def _gemini_tokens(usage: Body) -> Tokens | None:
    if not usage:
        return None
    cached = as_int(usage.get("cachedContentTokenCount"))
    return Tokens(
        new=max(as_int(usage.get("promptTokenCount")) + as_int(usage.get("toolUsePromptTokenCount")) - cached, 0),
        cached=cached,
        cache_write=0,
        completion=as_int(usage.get("candidatesTokenCount")) + as_int(usage.get("thoughtsTokenCount")),
    )


_BEDROCK_FINISH: Final = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
}


def read_bedrock_converse(body: Body) -> Reading:
    """https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html."""
    blocks = as_dicts(as_dict(as_dict(body.get("output")).get("message")).get("content"))
    text, reasoning, calls = [], [], []
    for block in blocks:
        text.append(as_str(block.get("text")))
        text += [as_str(each.get("text")) for each in as_dicts(as_dict(block.get("citationsContent")).get("content"))]
        reasoning.append(as_str(as_dict(as_dict(block.get("reasoningContent")).get("reasoningText")).get("text")))
        call = as_dict(block.get("toolUse"))
        if call and call.get("type") != "server_tool_use":
            calls.append((as_str(call.get("name")), canonical(call.get("input"))))
    usage = as_dict(body.get("usage"))
    tokens = Tokens(
        new=as_int(usage.get("inputTokens")),
        cached=as_int(usage.get("cacheReadInputTokens")),
        cache_write=as_int(usage.get("cacheWriteInputTokens")),
        completion=as_int(usage.get("outputTokens")),
    )
    finish = _BEDROCK_FINISH.get(str(body.get("stopReason")), "other")
    return made(
        "".join(text),
        "".join(reasoning),
        "",
        calls,
        finish,
        tokens if usage else None,
        order=[_converse_kind(each) for each in blocks],
        urls=[
            _web(as_dict(as_dict(note.get("location")).get("web")).get("url") or note.get("source"))
            for each in blocks
            for note in as_dicts(as_dict(each.get("citationsContent")).get("citations") or each.get("citations"))
        ],
    )


def _converse_kind(block: Body) -> str:
    call = as_dict(block.get("toolUse"))
    if call:
        return "" if call.get("type") == "server_tool_use" else "call"
    if as_dict(as_dict(block.get("reasoningContent")).get("reasoningText")).get("text"):
        return "reasoning"
    return "text" if block.get("text") or as_dict(block.get("citationsContent")).get("content") else ""


READERS: Final[Mapping[str, Callable[[Body], Reading]]] = {
    "openai_chat": read_openai_chat,
    "openai_responses": read_openai_responses,
    "anthropic_messages": read_anthropic_messages,
    "gemini_generate": read_gemini_generate,
    "bedrock_converse": read_bedrock_converse,
}
