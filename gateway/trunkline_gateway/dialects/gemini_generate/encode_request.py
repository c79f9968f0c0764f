"""A chat request as Gemini takes it, and a request to count its tokens.

https://ai.google.dev/api/generate-content#method:-models.generatecontent
https://ai.google.dev/api/tokens#method:-models.counttokens
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Encoded, Target
from trunkline_gateway.dialects.gemini_generate import encode_tools, models, schema
from trunkline_gateway.dialects.gemini_generate.encode_contents import Contents
from trunkline_gateway.dialects.gemini_generate.names import Names
from trunkline_gateway.dialects.gemini_generate.own import Own
from trunkline_gateway.dialects.gemini_generate.thinking import thinking
from trunkline_gateway.errors import InvalidRequestError

Wire: TypeAlias = dict[str, object]

MAX_STOP: Final = 5
MAX_TOP_LOGPROBS: Final = 20

PARAMETERS: Final[Mapping[str, str]] = {
    "max_tokens": "/generationConfig/maxOutputTokens",
    "max_completion_tokens": "/generationConfig/maxOutputTokens",
    "temperature": "/generationConfig/temperature",
    "top_p": "/generationConfig/topP",
    "top_k": "/generationConfig/topK",
    "seed": "/generationConfig/seed",
    "presence_penalty": "/generationConfig/presencePenalty",
    "frequency_penalty": "/generationConfig/frequencyPenalty",
    "n": "/generationConfig/candidateCount",
    "logprobs": "/generationConfig/responseLogprobs",
    "top_logprobs": "/generationConfig/logprobs",
    "safety_settings": "/safetySettings",
}
"""See `dialect.Upstream.parameters`. Not ``stop``: there it may be a lone string, here it is a list."""

_SIMPLE: Final[Mapping[str, str]] = {
    "max_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
_UNKNOWN: Final = (
    "min_p",
    "repetition_penalty",
    "logit_bias",
    "verbosity",
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "audio",
    "prediction",
)
_TIERS: Final[Mapping[str, str]] = {
    "default": "standard",
    "standard": "standard",
    "standard_only": "standard",
    "flex": "flex",
    "priority": "priority",
}
_MODALITIES: Final = frozenset({"text", "image", "audio"})

_encoder: Final = msgspec.json.Encoder()


def encode(request: exchange.Request, target: Target) -> Encoded:
    """Write a GenerateContentRequest."""
    body, lost = _body(_chat(request), target)
    return Encoded(_bytes(body), tuple(lost))


def encode_count(request: exchange.Request, target: Target) -> Encoded:
    """Write a CountTokensRequest: Vertex takes the contents beside what else counts, Gemini the whole request."""
    body, lost = _body(_chat(request), target)
    if models.is_vertex(target):
        kept = ("contents", "systemInstruction", "tools", "generationConfig")
        return Encoded(_bytes({name: body[name] for name in kept if name in body}), tuple(lost))
    model = target.model if target.model.startswith("models/") else f"models/{target.model}"
    return Encoded(_bytes({"generateContentRequest": {"model": model, **body}}), tuple(lost))


def _chat(request: exchange.Request) -> exchange.ChatRequest:
    if not isinstance(request, exchange.ChatRequest):
        raise InvalidRequestError("Embeddings cannot be asked for here.")
    return request


def _body(request: exchange.ChatRequest, target: Target) -> tuple[Wire, dict[str, None]]:
    names = Names(request.tools)
    contents = Contents(request.turns, names, target)
    lost = contents.lost
    own = request.own if isinstance(request.own, Own) else Own()
    body: Wire = {"contents": contents.contents}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    body |= encode_tools.encode(request, names, target, lost)
    config: Wire = {**own.config, **_config(request.parameters, target, lost)}
    if config:
        body["generationConfig"] = config
    _aside(body, request.parameters, target, lost)
    for name, value in own.body.items():
        body.setdefault(name, value)
    return body, lost


def _config(parameters: exchange.Parameters, target: Target, lost: dict[str, None]) -> Wire:
    config: Wire = {}
    for name, wired in _SIMPLE.items():
        value = getattr(parameters, name)
        if value is not None:
            config[wired] = value
    for name in _UNKNOWN:
        if getattr(parameters, name) is not None:
            lost[name] = None
    _limits(config, parameters, lost)
    config |= _format(parameters.response_format, target)
    if parameters.reasoning_effort is not None:
        config |= thinking(parameters.reasoning_effort, parameters.max_tokens, target, lost)
    return config


def _limits(config: Wire, parameters: exchange.Parameters, lost: dict[str, None]) -> None:
    if parameters.stop:
        config["stopSequences"] = parameters.stop[:MAX_STOP]
        if len(parameters.stop) > MAX_STOP:
            lost["stop"] = None
    if parameters.logprobs:
        config["responseLogprobs"] = True
        if parameters.top_logprobs:
            config["logprobs"] = min(parameters.top_logprobs, MAX_TOP_LOGPROBS)
    if parameters.parallel_tool_calls is False:
        lost["parallel_tool_calls"] = None
    if parameters.modalities is not None and parameters.modalities != ("text",):
        config["responseModalities"] = [each.upper() for each in parameters.modalities if each in _MODALITIES]
        if not _MODALITIES.issuperset(parameters.modalities):
            lost["modalities"] = None


def _format(asked: exchange.ResponseFormat | None, target: Target) -> Wire:
    match asked:
        case None:
            return {}
        case exchange.JsonObject() | exchange.JsonSchema(schema=None):
            return {"responseMimeType": "application/json"}
        case exchange.JsonSchema(schema=msgspec.Raw() as given):
            if "old_schema" not in target.quirks:
                return {"responseMimeType": "application/json", "responseJsonSchema": given}
            subset = schema.to_subset(given)
            return {"responseMimeType": "application/json"} | ({} if subset is None else {"responseSchema": subset})
        case _:
            return {}


def _aside(body: Wire, parameters: exchange.Parameters, target: Target, lost: dict[str, None]) -> None:
    """What stands beside ``generationConfig``."""
    if parameters.safety_settings is not None:
        if bytes(parameters.safety_settings).startswith(b"["):
            body["safetySettings"] = parameters.safety_settings
        else:
            lost["safety_settings"] = None
    tier, is_vertex = parameters.service_tier, models.is_vertex(target)
    if tier is not None and tier != "auto":
        if tier in _TIERS and not is_vertex:
            body["serviceTier"] = _TIERS[tier]
        elif _TIERS.get(tier) != "standard":
            lost["service_tier"] = None
    if parameters.store is not None:
        if is_vertex:
            lost["store"] = None
        else:
            body["store"] = parameters.store


def _bytes(body: Wire) -> bytes:
    try:
        return _encoder.encode(body)
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError, RecursionError):
        # An integer that no provider's parser holds, for one.
        raise InvalidRequestError("The request holds a value that cannot be sent to the model's provider.") from None
