"""A request for an upstream.

https://platform.openai.com/docs/api-reference/responses/create
"""

import hashlib
import re
from collections.abc import Container, Mapping
from typing import Final

from trunkline_gateway import errors, openai_models
from trunkline_gateway.dialect import Encoded, Target
from trunkline_gateway.dialects.openai_responses import encode_items, encode_tools, reading, targets
from trunkline_gateway.dialects.openai_responses.lost import Lost
from trunkline_gateway.exchange import (
    ChatRequest,
    Effort,
    JsonSchema,
    Parameters,
    Reasoning,
    ReasoningEffort,
    Request,
    ResponseFormat,
    effort,
)

PARAMETERS: Final[Mapping[str, str]] = {
    "max_tokens": "/max_output_tokens",
    "max_completion_tokens": "/max_output_tokens",
    "temperature": "/temperature",
    "top_p": "/top_p",
    "top_logprobs": "/top_logprobs",
    "reasoning_effort": "/reasoning/effort",
    "verbosity": "/text/verbosity",
    "parallel_tool_calls": "/parallel_tool_calls",
    "service_tier": "/service_tier",
    "user": "/user",
    "metadata": "/metadata",
    "safety_identifier": "/safety_identifier",
    "prompt_cache_key": "/prompt_cache_key",
    "prompt_cache_retention": "/prompt_cache_retention",
    "store": "/store",
}
"""Where a parameter of OpenAI chat stands in the body."""

MIN_TOKENS: Final = 16
"""The API takes no smaller ``max_output_tokens``."""

MAX_SCHEMA_NAME_CHARACTERS: Final = 64
MAX_USER_CHARACTERS: Final = 64

_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
_NOT_SAID: Final = (
    "top_k",
    "min_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "logit_bias",
    "safety_settings",
    "audio",
    "prediction",
)
_SAID_AS_IT_IS: Final = (
    "temperature",
    "top_p",
    "top_logprobs",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
_SUMMARIES: Final = frozenset({"auto", "concise", "detailed"})


def encode(request: Request, target: Target) -> Encoded:
    """Write a request."""
    chat, lost = _chat(request), Lost()
    body = _content(chat, target, lost)
    refused = openai_models.refused(target, chat.parameters.reasoning_effort)
    _sampling(chat.parameters, body, refused, lost)
    body["store"] = chat.parameters.store is True
    include = []
    if targets.may_think(target, chat.parameters.reasoning_effort) or _has_encrypted(chat):
        include.append("reasoning.encrypted_content")
    if chat.parameters.logprobs and "logprobs" not in refused:
        include.append("message.output_text.logprobs")
    if include:
        body["include"] = include
    if chat.stream:
        body["stream"] = True
    return Encoded(reading.encode(body), lost.names)


def encode_count(request: Request, target: Target) -> Encoded:
    """Write a request to count its tokens; what has no bearing on them is left out, and nothing is lost by it."""
    chat, lost = _chat(request), Lost()
    return Encoded(reading.encode(_content(chat, target, lost)), lost.names)


def _chat(request: Request) -> ChatRequest:
    if not isinstance(request, ChatRequest):
        raise errors.InvalidRequestError("Responses have no such operation.")
    return request


def _content(chat: ChatRequest, target: Target, lost: Lost) -> dict[str, object]:
    """What counts as input: turns, tools and what the model is told of them."""
    parameters = chat.parameters
    body: dict[str, object] = {"model": target.model, "input": encode_items.encode(chat, target, lost)}
    tools = encode_tools.encode(chat, target, lost)
    if tools:
        body["tools"] = tools
        if parameters.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = parameters.parallel_tool_calls
    if parameters.tool_choice is not None:
        choice = encode_tools.encode_choice(parameters.tool_choice, chat, target, lost)
        if choice is not None and tools:
            body["tool_choice"] = choice
    text: dict[str, object] = {}
    if parameters.response_format is not None:
        text["format"] = _format(parameters.response_format)
    if parameters.verbosity is not None:
        text["verbosity"] = parameters.verbosity
    if text:
        body["text"] = text
    if parameters.reasoning_effort is not None:
        reasoning = _reasoning(parameters.reasoning_effort, parameters.max_tokens, target, lost)
        if reasoning:
            body["reasoning"] = reasoning
    return body


def _sampling(parameters: Parameters, body: dict[str, object], refused: Container[str], lost: Lost) -> None:
    if parameters.max_tokens is not None:
        body["max_output_tokens"] = max(parameters.max_tokens, MIN_TOKENS)
        lost.add_if(parameters.max_tokens < MIN_TOKENS, "max_tokens")
    for name in _SAID_AS_IT_IS:
        value = getattr(parameters, name)
        if value is None:
            continue
        if name in refused:
            lost.add_if(value != openai_models.HARMLESS[name], name)
        else:
            body[name] = value
    if parameters.user is not None and len(parameters.user) > MAX_USER_CHARACTERS:
        # Still one and the same name for one user: Claude Code's own is a JSON text of three ids.
        body["user"] = hashlib.sha256(parameters.user.encode("utf-8", "replace")).hexdigest()
    for name in _NOT_SAID:
        value = getattr(parameters, name)
        lost.add_if(value is not None and value != openai_models.HARMLESS.get(name), name)
    lost.add_if(parameters.logprobs and "logprobs" in refused, "logprobs")
    lost.add_if(parameters.n is not None and parameters.n > 1, "n")
    lost.add_if(any(each != "text" for each in parameters.modalities or ()), "modalities")
    if parameters.service_tier in _TIERS:
        body["service_tier"] = parameters.service_tier
    else:
        lost.add_if(parameters.service_tier, "service_tier")


def _format(wanted: ResponseFormat) -> Mapping[str, object]:
    if not isinstance(wanted, JsonSchema) or wanted.schema is None:
        return {"type": "json_object"}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", wanted.name)[:MAX_SCHEMA_NAME_CHARACTERS] or "response"
    wire: dict[str, object] = {"type": "json_schema", "name": name, "schema": wanted.schema}
    if wanted.description is not None:
        wire["description"] = wanted.description
    # As with tools: not said would be strict.
    wire["strict"] = bool(wanted.strict)
    return wire


def _reasoning(asked: ReasoningEffort, max_tokens: int | None, target: Target, lost: Lost) -> Mapping[str, object]:
    wire: dict[str, object] = {}
    word: Effort | None = effort.effort_of(asked, max_tokens)
    if word is not None:
        wire["effort"] = nearest = openai_models.nearest_effort(target, word)
        lost.add_if(nearest != word, "reasoning_effort")
    # That it shall think, and as much as it sees fit.
    lost.add_if(word is None and (asked.adaptive or asked.budget_tokens is not None), "reasoning_effort")
    lost.add_if(asked.effort is None and (asked.budget_tokens or 0) > 0, "reasoning_budget")
    if asked.summary in _SUMMARIES:
        wire["summary"] = asked.summary
    elif asked.summary is None and asked.budget_tokens:
        wire["summary"] = "auto"  # with a budget thoughts are shown unless told otherwise: Anthropic's ``enabled``
    return wire


def _has_encrypted(chat: ChatRequest) -> bool:
    return any(
        isinstance(part, Reasoning) and part.encrypted is not None and part.encrypted.maker == "openai"
        for turn in chat.turns
        for part in turn.parts
    )
