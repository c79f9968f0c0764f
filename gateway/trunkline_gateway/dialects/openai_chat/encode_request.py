"""A request for an upstream.

https://platform.openai.com/docs/api-reference/chat/create

What a target does differently is in `quirks`; from the name of a model nothing is guessed but what OpenAI's own refuse.
"""

import hashlib
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from trunkline_gateway import exchange, openai_models
from trunkline_gateway.dialect import Encoded, Target
from trunkline_gateway.dialects.openai_chat import custom_format, encode_parts, vocabulary
from trunkline_gateway.dialects.openai_chat.encode_messages import MessagesEncoder
from trunkline_gateway.dialects.openai_chat.encode_parts import Lost
from trunkline_gateway.exchange import HostedTool, Parameters, ReasoningEffort, Tool, ToolChoice
from trunkline_gateway.exchange.effort import budget_of, effort_of, is_off

_encoder: Final = msgspec.json.Encoder()

PARAMETERS: Final[Mapping[str, str]] = {
    name: f"/{name}"
    for name in (
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "n",
        "response_format",
        "reasoning_effort",
        "verbosity",
        "parallel_tool_calls",
        "tool_choice",
        "service_tier",
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_retention",
        "store",
        "modalities",
        "audio",
        "prediction",
    )
}
"""For `dialect.Upstream.parameters`; ``max_completion_tokens`` stands for itself."""

# A parameter and the quirk of those that do not have it; None: all have it.
_PLAIN: Final[Sequence[tuple[str, str | None]]] = (
    ("temperature", None),
    ("top_p", None),
    ("stop", "no_stop"),
    ("presence_penalty", "no_penalties"),
    ("frequency_penalty", "no_penalties"),
    ("logit_bias", "no_logit_bias"),
    ("logprobs", "no_logprobs"),
    ("top_logprobs", "no_logprobs"),
    ("n", "no_n"),
    ("user", "no_user"),
    ("verbosity", "no_openai_only"),
    ("service_tier", "no_openai_only"),
    ("metadata", "no_openai_only"),
    ("safety_identifier", "no_openai_only"),
    ("prompt_cache_key", "no_openai_only"),
    ("prompt_cache_retention", "no_openai_only"),
    ("store", "no_openai_only"),
    ("modalities", "no_openai_only"),
    ("audio", "no_openai_only"),
    ("prediction", "no_openai_only"),
)
_plain_of: Final = attrgetter(*(name for name, _ in _PLAIN))
_MAX_USER_CHARACTERS: Final = 64
_MAX_STOPS: Final[Mapping[str, int]] = {"openai": 4, "azure-openai": 4, "groq": 4}
"""Of those that refuse more; others take as many as the exchange holds."""

_EXTENSIONS: Final = ("top_k", "min_p", "repetition_penalty")
_THREE_EFFORTS: Final[Mapping[str, str]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def encode(request: exchange.Request, target: Target) -> Encoded:
    """Write it."""
    if not isinstance(request, exchange.ChatRequest):
        raise TypeError("a chat request is wanted")
    messages = MessagesEncoder(request, target)
    lost = messages.lost
    body: dict[str, object] = {"model": target.model, "messages": messages.encode()}
    if request.stream:
        body["stream"] = True
        if "no_stream_options" not in target.quirks:
            body["stream_options"] = {"include_usage": True}
    parameters = request.parameters
    _tools(body, request, messages, target)
    _plain(body, parameters, target.quirks, lost)
    _leave_out_refused(body, parameters.reasoning_effort, target, lost)
    _fit(body, target, lost)
    if parameters.reasoning_effort is not None:
        _reasoning(body, parameters.reasoning_effort, parameters.max_tokens, target, lost)
    if parameters.response_format is not None:
        _response_format(body, parameters.response_format, target, lost)
    return Encoded(_encoder.encode(body), lost.names)


def _plain(body: dict[str, object], parameters: Parameters, quirks: frozenset[str], lost: Lost) -> None:
    if parameters.max_tokens is not None:
        name = "max_completion_tokens" if "max_completion_tokens" in quirks else "max_tokens"
        body[name] = parameters.max_tokens
    for (name, quirk), value in zip(_PLAIN, _plain_of(parameters), strict=True):
        if value is None:
            continue
        if quirk is not None and quirk in quirks:
            if name != "n" or value != 1:
                lost.add(name)
        else:
            body[name] = value
    for name in _EXTENSIONS:
        value = getattr(parameters, name)
        if value is None:
            continue
        if "sampling_extensions" in quirks:
            body[name] = value
        else:
            lost.add(name)
    if parameters.seed is not None:
        if "no_seed" in quirks:
            lost.add("seed")
        else:
            body["random_seed" if "random_seed" in quirks else "seed"] = parameters.seed
    if parameters.safety_settings is not None:
        lost.add("safety_settings")


def _leave_out_refused(body: dict[str, object], asked: ReasoningEffort | None, target: Target, lost: Lost) -> None:
    """Models that think take no sampling: https://platform.openai.com/docs/guides/reasoning ."""
    refused = openai_models.refused(target, asked)
    if not refused:
        return
    for name, harmless in openai_models.HARMLESS.items():
        if name in refused and name in body and body.pop(name) != harmless:
            lost.add(name)


def _fit(body: dict[str, object], target: Target, lost: Lost) -> None:
    """What other dialects say at greater length."""
    user, stop = body.get("user"), body.get("stop")
    if isinstance(user, str) and len(user) > _MAX_USER_CHARACTERS:
        # Still one and the same name for one user: Claude Code's own is a JSON text of three ids.
        body["user"] = hashlib.sha256(user.encode("utf-8", "replace")).hexdigest()
    most = _MAX_STOPS.get(target.provider)
    if most is not None and isinstance(stop, tuple) and len(stop) > most:
        lost.add("stop")
        body["stop"] = stop[:most]


# ---- reasoning -------------------------------------------------------------------------------------------------------


def _reasoning(
    body: dict[str, object], asked: ReasoningEffort, max_tokens: int | None, target: Target, lost: Lost
) -> None:
    quirks = target.quirks
    if "reasoning_effort_as_object" in quirks:
        body["reasoning"] = _reasoning_object(asked)
        return
    if asked.summary is not None:
        lost.add("reasoning_summary")
    if "thinking_switch" in quirks:
        _thinking_switch(body, asked, lost)
    elif "enable_thinking" in quirks:
        budget = budget_of(asked, max_tokens)
        body["enable_thinking"] = budget != 0
        if budget > 0:
            body["thinking_budget"] = budget
    elif "no_reasoning_effort" in quirks:
        lost.add("reasoning_effort")
    else:
        _effort(body, asked, max_tokens, target, lost)


def _thinking_switch(body: dict[str, object], asked: ReasoningEffort, lost: Lost) -> None:
    off = is_off(asked)
    body["thinking"] = {"type": "disabled" if off else "enabled"}
    if not off and asked.effort is not None:
        lost.add("reasoning_effort")
    if not off and (asked.budget_tokens or 0) > 0:
        lost.add("reasoning_budget")


def _effort(
    body: dict[str, object], asked: ReasoningEffort, max_tokens: int | None, target: Target, lost: Lost
) -> None:
    effort = effort_of(asked, max_tokens)
    if asked.effort is None and (asked.budget_tokens or 0) > 0:
        lost.add("reasoning_budget")
    if effort is not None:
        has_three = "efforts_low_to_high" in target.quirks
        nearest = _THREE_EFFORTS.get(effort) if has_three else openai_models.nearest_effort(target, effort)
        if nearest != effort:
            lost.add("reasoning_effort")
        if nearest is not None:
            body["reasoning_effort"] = nearest
    elif asked.adaptive or asked.budget_tokens is not None:
        lost.add("reasoning_effort")  # that it shall think, and as much as it sees fit


def _reasoning_object(asked: ReasoningEffort) -> dict[str, object]:
    made: dict[str, object] = {}
    if asked.effort is not None:
        made["effort"] = asked.effort
    elif asked.budget_tokens is not None and asked.budget_tokens > 0:
        made["max_tokens"] = asked.budget_tokens
    else:
        made["enabled"] = not is_off(asked)
    if asked.summary == "none":
        made["exclude"] = True
    return made


# ---- tools and formats -----------------------------------------------------------------------------------------------


def _tools(body: dict[str, object], request: exchange.ChatRequest, messages: MessagesEncoder, target: Target) -> None:
    quirks, lost, choice = target.quirks, messages.lost, request.parameters.tool_choice
    only = frozenset[str]()
    if choice is not None and choice.mode != "named" and choice.names and "no_allowed_tools" in quirks:
        only = frozenset(choice.names)
    tools: list[object] = []
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            _hosted(body, tools, tool, quirks, lost)
        elif not only or tool.name in only:
            tools.append(_tool(tool, messages, quirks, lost))
    if not tools:
        return  # a choice without tools is refused
    body["tools"] = tools
    if choice is not None:
        wired = _choice(choice, request.tools, messages, quirks, lost)
        if wired is not None:
            body["tool_choice"] = wired
    parallel = request.parameters.parallel_tool_calls
    if parallel is not None:
        if "no_parallel_tool_calls" in quirks:
            lost.add("parallel_tool_calls")
        else:
            body["parallel_tool_calls"] = parallel


def _tool(tool: Tool, messages: MessagesEncoder, quirks: frozenset[str], lost: Lost) -> dict[str, object]:
    function: dict[str, object] = {"name": messages.name_of((tool.name, tool.namespace))}
    if tool.namespace_description:
        lost.add("tools.namespace")
    if tool.description is not None:
        function["description"] = tool.description
    wire: dict[str, object]
    if tool.custom:
        if "no_custom_tools" in quirks:
            # A function with one argument, which the answer's decoder takes out of it again; the grammar is lost.
            lost.add("tools.custom")
            function["parameters"] = custom_format.FREE_TEXT
            wire = {"type": "function", "function": function}
        else:
            if tool.format is not None:
                function["format"] = custom_format.write(tool.format)
            wire = {"type": "custom", "custom": function}
    else:
        if tool.parameters is not None:
            function["parameters"] = tool.parameters
        if tool.strict is not None:
            if "no_strict_tools" not in quirks:
                function["strict"] = tool.strict
            elif tool.strict:
                lost.add("tools.strict")
        wire = {"type": "function", "function": function}
    encode_parts.cache(wire, tool.cache, quirks, lost)
    return wire


def _hosted(body: dict[str, object], tools: list[object], tool: HostedTool, quirks: frozenset[str], lost: Lost) -> None:
    if tool.dialect == vocabulary.DIALECT:
        # A tool has a type; the options that stand beside the tools have none.
        if _has_type(tool.value):
            tools.append(tool.value)
        else:
            body["web_search_options"] = tool.value
        return
    if tool.kind != "web_search" or "web_search_options" not in quirks:
        lost.add(encode_parts.hosted_feature(tool.kind))
        return
    options: dict[str, object] = {}
    if tool.location is not None:
        location = _object_of(tool.location)
        location.pop("type", None)
        options["user_location"] = {"type": "approximate", "approximate": location}
    if tool.max_uses is not None or tool.allowed_domains or tool.blocked_domains:
        lost.add("web_search.options")
    body["web_search_options"] = options


def _choice(
    choice: ToolChoice,
    tools: Sequence[Tool | HostedTool],
    messages: MessagesEncoder,
    quirks: frozenset[str],
    lost: Lost,
) -> object:
    is_spoken = "no_custom_tools" not in quirks
    custom = {tool.name for tool in tools if isinstance(tool, Tool) and tool.custom and is_spoken}
    namespaces = {tool.name: tool.namespace for tool in tools if isinstance(tool, Tool)}

    def named(name: str) -> dict[str, object]:
        kind = "custom" if name in custom else "function"
        return {"type": kind, kind: {"name": messages.name_of((name, namespaces.get(name)))}}

    if choice.mode in ("named", "required") and "no_tool_choice_required" in quirks:
        lost.add("tool_choice")
        return "auto"
    if choice.mode == "named":
        return named(choice.names[0]) if choice.names else "required"
    if choice.names and choice.mode != "none" and "no_allowed_tools" not in quirks:
        allowed = {"mode": choice.mode, "tools": [named(name) for name in choice.names]}
        return {"type": "allowed_tools", "allowed_tools": allowed}
    return choice.mode


def _response_format(body: dict[str, object], asked: exchange.ResponseFormat, target: Target, lost: Lost) -> None:
    if "no_response_format" in target.quirks:
        lost.add("response_format")
    elif isinstance(asked, exchange.JsonObject):
        body["response_format"] = {"type": "json_object"}
    elif "no_json_schema" in target.quirks or target.capabilities.json_schema is False:
        lost.add("response_format")
        body["response_format"] = {"type": "json_object"}
    else:
        schema: dict[str, object] = {"name": asked.name}
        if asked.description is not None:
            schema["description"] = asked.description
        if asked.schema is not None:
            schema["schema"] = asked.schema
        if asked.strict is not None:
            schema["strict"] = asked.strict
        body["response_format"] = {"type": "json_schema", "json_schema": schema}


def _object_of(value: exchange.Json) -> dict[str, object]:
    try:
        return dict(msgspec.json.decode(value, type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def _has_type(value: exchange.Json) -> bool:
    return "type" in _object_of(value)
