"""A client's request.

https://platform.openai.com/docs/api-reference/chat/create

Beside OpenAI's own fields, those that others have added and clients send anyway: how much to think, as OpenRouter,
LiteLLM, Zhipu, DeepSeek and Qwen say it, and the sampling of open models.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Fields
from trunkline_gateway.dialects.openai_chat.decode_messages import MessagesDecoder
from trunkline_gateway.dialects.openai_chat.decode_tools import choice_of, tools_of
from trunkline_gateway.dialects.openai_chat.members import Members, Notes, kind_of
from trunkline_gateway.exchange import Effort, Parameters, ReasoningEffort

MAX_STOPS: Final = 16

_EFFORTS: Final[Mapping[str, Effort | None]] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
    "default": None,  # Groq
}


class Own(msgspec.Struct, frozen=True):
    """What the answer needs to know of the request. ``legacy``: it sent ``functions`` and knows no ``tool_calls``."""

    legacy: bool = False


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> exchange.ChatRequest:
    """Read it. ``query`` means nothing here.

    Raises:
        InvalidRequestError: It cannot be used; ``param`` names the field.
    """
    del query
    notes = Notes()
    request = Members(fields, "", notes)
    request.skip("model", "stream")
    include_usage = _include_usage(request)
    messages = request.items("messages")
    if messages is None:
        raise request.refusal("messages", "is missing")
    turns = MessagesDecoder().decode(messages, request)
    if not turns:
        raise request.refusal("messages", "is empty")
    legacy = request.has("functions") and not request.has("tools")
    tools = tools_of(request)
    parameters = _parameters(request, legacy=legacy)
    request.close()
    return exchange.ChatRequest(
        model=model,
        turns=turns,
        tools=tools,
        parameters=parameters,
        stream=stream,
        include_usage=include_usage,
        unsaid=notes.names,
        own=Own(legacy=legacy),
    )


def _include_usage(request: Members) -> bool:
    options = request.object("stream_options")
    if options is None:
        return False
    include = options.boolean("include_usage")
    options.skip("include_obfuscation")  # padding against eavesdroppers, which nobody has to send
    options.close()
    return include or False


def _parameters(request: Members, *, legacy: bool) -> Parameters:
    """Those that were sent: there are many, and a request has few."""
    made = {name: _READ[name](request) for name in request.names() if name in _READ}
    if not _LIMITS.isdisjoint(made):
        older_limit, limit = made.pop("max_tokens", None), made.pop("max_completion_tokens", None)
        made["max_tokens"] = older_limit if limit is None else limit
    if not _REASONING.isdisjoint(request.names()):
        made["reasoning_effort"] = _reasoning(request)
    if not _CHOICES.isdisjoint(request.names()):
        made["tool_choice"] = choice_of(request)
    if legacy:
        made["parallel_tool_calls"] = False  # the older form of an answer has place for one call
    return msgspec.structs.replace(_NO_PARAMETERS, **made) if made else _NO_PARAMETERS


def _stop(request: Members) -> tuple[str, ...] | None:
    if request.kind("stop") == "text":
        stop = request.text("stop")
        return None if stop is None else (stop,)
    stops = request.texts("stop")
    if stops is not None and len(stops) > MAX_STOPS:
        raise request.refusal("stop", f"has more than {MAX_STOPS} sequences")
    return stops or None


def _logit_bias(request: Members) -> Mapping[str, float] | None:
    biases = request.object("logit_bias")
    if biases is None:
        return None
    made: dict[str, float] = {}
    for token in biases.names():
        bias = biases.number(token)
        if bias is not None:
            made[token] = bias
    return made


def _metadata(request: Members) -> Mapping[str, str] | None:
    members = request.object("metadata")
    if members is None:
        return None
    made: dict[str, str] = {}
    for name in members.names():
        value = members.text(name)
        if value is not None:
            made[name] = value
    return made


def _verbosity(request: Members) -> Literal["low", "medium", "high"] | None:
    word = request.text("verbosity")
    match word:
        case None | "low" | "medium" | "high":
            return word
    raise request.refusal("verbosity", "must be low, medium or high")


def _object(request: Members, name: str) -> exchange.Json | None:
    value = request.raw(name)
    if value is not None and kind_of(value) != "object":
        raise request.refusal(name, "must be an object")
    return value


def _response_format(request: Members) -> exchange.ResponseFormat | None:
    asked = request.object("response_format")
    if asked is None:
        return None
    made: exchange.ResponseFormat | None = None
    match asked.needed_text("type"):
        case "text":
            pass
        case "json_object":
            # Together and llama.cpp take the schema here.
            schema = _object(asked, "schema")
            made = exchange.JsonObject() if schema is None else exchange.JsonSchema(schema=schema)
        case "json_schema":
            given = asked.object("json_schema")
            if given is None:
                raise asked.refusal("json_schema", "is missing")
            made = exchange.JsonSchema(
                schema=_object(given, "schema"),
                name=given.text("name") or "response",
                description=given.text("description"),
                strict=given.boolean("strict"),
            )
            given.close()
        case _:
            raise asked.refusal("type", "must be text, json_object or json_schema")
    asked.close()
    return made


# ---- reasoning -------------------------------------------------------------------------------------------------------


def _reasoning(request: Members) -> ReasoningEffort | None:
    """How much to think, in whichever way it is said; ``reasoning_effort`` is OpenAI's own."""
    effort = _effort(request, "reasoning_effort")
    budget: int | None = None
    adaptive = False
    hidden = request.boolean("include_reasoning") is False
    asked = request.object("reasoning")
    if asked is not None:
        effort = _effort(asked, "effort") or effort
        budget = asked.integer("max_tokens")
        enabled = asked.boolean("enabled")
        hidden = asked.boolean("exclude") or hidden
        asked.close()
        if enabled is False:
            effort, budget = "none", None
        adaptive = enabled is True and effort is None and budget is None
    thinking = request.object("thinking")
    if thinking is not None:
        match thinking.needed_text("type"):
            case "disabled":
                effort = "none"
            case "enabled" | "adaptive" | "auto":
                budget = thinking.integer("budget_tokens") if budget is None else budget
                adaptive = adaptive or (effort is None and budget is None)
            case _:
                raise thinking.refusal("type", "must be enabled, disabled, adaptive or auto")
        thinking.close()
    switch = request.boolean("enable_thinking")
    allowance = request.integer("thinking_budget")
    if switch is False:
        effort = "none"
    elif switch is True or allowance is not None:
        budget = allowance if budget is None else budget
        adaptive = adaptive or (effort is None and budget is None)
    if effort is None and budget is None and not adaptive and not hidden:
        return None
    return ReasoningEffort(
        effort=effort,
        budget_tokens=None if effort == "none" else budget,
        adaptive=adaptive and effort != "none",
        summary="none" if hidden else None,
    )


def _effort(owner: Members, name: str) -> Effort | None:
    word = owner.text(name)
    if word is None:
        return None
    if word not in _EFFORTS:
        raise owner.refusal(name, f"must be one of {', '.join(_EFFORTS)}")
    return _EFFORTS[word]


# ---- all of them -----------------------------------------------------------------------------------------------------


def _integer(name: str) -> Callable[[Members], object]:
    return lambda request: request.integer(name)


def _number(name: str) -> Callable[[Members], object]:
    return lambda request: request.number(name)


def _boolean(name: str) -> Callable[[Members], object]:
    return lambda request: request.boolean(name)


def _text(name: str) -> Callable[[Members], object]:
    return lambda request: request.text(name)


_NO_PARAMETERS: Final = Parameters()
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})
_CHOICES: Final = frozenset({"tool_choice", "function_call"})
_REASONING: Final = frozenset(
    {"reasoning_effort", "reasoning", "include_reasoning", "thinking", "enable_thinking", "thinking_budget"}
)

_READ: Final[Mapping[str, Callable[[Members], object]]] = {
    **{name: _integer(name) for name in ("max_tokens", "max_completion_tokens", "top_k", "seed", "top_logprobs", "n")},
    **{
        name: _number(name)
        for name in (
            "temperature",
            "top_p",
            "min_p",
            "presence_penalty",
            "frequency_penalty",
            "repetition_penalty",
        )
    },
    **{name: _boolean(name) for name in ("logprobs", "parallel_tool_calls", "store")},
    **{
        name: _text(name)
        for name in ("service_tier", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention")
    },
    "stop": _stop,
    "logit_bias": _logit_bias,
    "response_format": _response_format,
    "verbosity": _verbosity,
    "metadata": _metadata,
    "modalities": lambda request: request.texts("modalities"),
    "audio": lambda request: _object(request, "audio"),
    "prediction": lambda request: _object(request, "prediction"),
}
"""How a parameter is read that is a member by itself. Others are said in several ways: see `_parameters`."""
