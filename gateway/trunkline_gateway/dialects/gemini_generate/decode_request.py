"""A client's GenerateContentRequest or CountTokensRequest as a neutral request.

https://ai.google.dev/api/generate-content#method:-models.generatecontent
"""

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import parse_qsl

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Envelope, Fields
from trunkline_gateway.dialects.gemini_generate import decode_tools, schema
from trunkline_gateway.dialects.gemini_generate.decode_contents import Turns
from trunkline_gateway.dialects.gemini_generate.own import Own
from trunkline_gateway.dialects.gemini_generate.reader import Message
from trunkline_gateway.errors import InvalidRequestError

_LEVELS: Final[Mapping[str, exchange.Effort]] = {
    "MINIMAL": "minimal",
    "LOW": "low",
    "MEDIUM": "medium",
    "HIGH": "high",
    "XHIGH": "xhigh",
}
_THINKING_LEVELS: Final = ("THINKING_LEVEL_UNSPECIFIED", "LOW", "HIGH", "MEDIUM", "MINIMAL")
_MODALITIES: Final = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
_MAX_STOP: Final = 16

_BESIDE: Final = ("cachedContent", "labels", "modelArmorConfig")
"""Of the body: nobody but Google knows them."""


def read_envelope(fields: Fields) -> Envelope:
    """The path says which model and whether it is a stream."""
    return Envelope(model="", stream=False)


def is_array(query: bytes) -> bool:
    """Whether a stream that was asked for with ``query`` is a JSON array and not server-sent events."""
    return ("alt", "sse") not in parse_qsl(query.decode("utf-8", "replace"), max_num_fields=None)


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> exchange.ChatRequest:
    """Read a GenerateContentRequest.

    Raises:
        InvalidRequestError: Naming the field.
    """
    return _request(Message(fields), model, stream=stream, array=stream and is_array(query))


def decode_count(fields: Fields, model: str, stream: bool, query: bytes) -> exchange.ChatRequest:
    """Read a CountTokensRequest: contents, or a whole request; Vertex has what else counts beside them.

    Raises:
        InvalidRequestError: Naming the field.
    """
    body = Message(fields)
    return _request(body.message("generateContentRequest") or body, model, stream=False, array=False)


def _request(body: Message, model: str, *, stream: bool, array: bool) -> exchange.ChatRequest:
    unsaid: dict[str, None] = {}
    body.raw("model")
    turns = Turns(unsaid)
    instruction = turns.system(body)
    contents = turns.contents(body)
    tools = decode_tools.tools(body, unsaid)
    choice = decode_tools.choice(body, unsaid)
    config = body.message("generationConfig") or Message({})
    own_config: dict[str, msgspec.Raw] = {}
    own_body: dict[str, msgspec.Raw] = {}
    parameters = _parameters(body, config, choice, unsaid)
    for name in config.unread:
        unsaid[f"generationConfig.{name}"] = None
        _keep(own_config, config, name)
    for name in body.unread:
        unsaid[name] = None
        if name in _BESIDE:
            _keep(own_body, body, name)
    return exchange.ChatRequest(
        model=model,
        turns=(*instruction, *contents),
        tools=tools,
        parameters=parameters,
        stream=stream,
        unsaid=tuple(unsaid),
        own=Own(is_array=array, config=own_config, body=own_body, tool_config=decode_tools.kept(body)),
    )


def _keep(kept: dict[str, msgspec.Raw], message: Message, name: str) -> None:
    raw = message.raw(name)
    if raw is not None:
        kept[name] = raw


def _parameters(
    body: Message, config: Message, choice: exchange.ToolChoice | None, unsaid: dict[str, None]
) -> exchange.Parameters:
    stop = config.texts("stopSequences") or None
    if stop is not None and len(stop) > _MAX_STOP:
        path = config.at("stopSequences")
        raise InvalidRequestError(f"'{path}' may hold up to {_MAX_STOP} sequences.", param=path)
    modalities = _modalities(config)
    logprobs = config.boolean("responseLogprobs")
    return exchange.Parameters(
        max_tokens=config.integer("maxOutputTokens"),
        temperature=config.number("temperature"),
        top_p=config.number("topP"),
        top_k=config.integer("topK"),
        stop=stop,
        seed=config.integer("seed"),
        presence_penalty=config.number("presencePenalty"),
        frequency_penalty=config.number("frequencyPenalty"),
        logprobs=logprobs,
        top_logprobs=config.integer("logprobs"),
        n=config.integer("candidateCount"),
        response_format=_format(config),
        reasoning_effort=_thinking(config, unsaid),
        tool_choice=choice,
        service_tier=body.text("serviceTier"),
        safety_settings=body.raw("safetySettings"),
        store=body.boolean("store"),
        modalities=modalities,
    )


def _modalities(config: Message) -> tuple[str, ...] | None:
    if "responseModalities" not in config:
        return None
    found: list[str] = []
    for raw, path in config.elements("responseModalities"):
        name = Message({"it": raw}, path).enum("it", _MODALITIES)
        if name is not None:
            found.append(name.lower())
    return tuple(found) or None


def _format(config: Message) -> exchange.ResponseFormat | None:
    media_type = (config.text("responseMimeType") or "").lower()
    given = config.raw("responseJsonSchema")
    if given is None and config.message("responseSchema") is not None:
        own = config.raw("responseSchema")
        given = None if own is None else schema.to_json_schema(own)
    if given is not None:
        return exchange.JsonSchema(schema=given)
    if media_type in ("", "text/plain"):
        return None
    if media_type == "text/x.enum":
        path = config.at("responseSchema")
        raise InvalidRequestError(f"'{path}' is required with text/x.enum.", param=path)
    return exchange.JsonObject()


def _thinking(config: Message, unsaid: dict[str, None]) -> exchange.ReasoningEffort | None:
    thinking = config.message("thinkingConfig")
    if thinking is None:
        return None
    level = thinking.enum("thinkingLevel", _THINKING_LEVELS)
    budget = thinking.integer("thinkingBudget")
    shown = thinking.boolean("includeThoughts")
    unsaid |= {f"generationConfig.thinkingConfig.{name}": None for name in thinking.unread}
    summary: Literal["none", "auto"] | None = None if shown is None else "auto" if shown else "none"
    if level is not None and level not in _LEVELS and level != _THINKING_LEVELS[0]:
        path = thinking.at("thinkingLevel")
        raise InvalidRequestError(f"'{path}' must be one of {', '.join(_LEVELS)}.", param=path)
    effort = _LEVELS.get(level or "")
    if effort is None and budget is None and summary is None:
        return None
    # Nothing is shown unless it is asked for.
    return exchange.ReasoningEffort(effort=effort, budget_tokens=budget, summary=summary or "none")
