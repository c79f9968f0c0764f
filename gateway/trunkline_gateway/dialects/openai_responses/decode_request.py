"""A client's request.

https://platform.openai.com/docs/api-reference/responses/create

Nothing is stored, so what needs something stored is refused. ``store: true`` is OpenAI's default and most clients
never think of it: such a request is served, and what it cannot have is noticed when it is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from trunkline_gateway.dialect import Envelope, Fields
from trunkline_gateway.dialects.openai_responses import decode_items, decode_tools, reading, strict
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import (
    ChatRequest,
    Effort,
    JsonObject,
    JsonSchema,
    Parameters,
    ReasoningEffort,
    ResponseFormat,
    Text,
    Turn,
)

ECHOED: Final = (
    "instructions",
    "tools",
    "tool_choice",
    "temperature",
    "top_p",
    "text",
    "reasoning",
    "metadata",
    "parallel_tool_calls",
    "max_output_tokens",
    "max_tool_calls",
    "top_logprobs",
    "truncation",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
"""What a response repeats of its request."""

_STORED: Final = ("previous_response_id", "conversation", "prompt")
_KNOWN: Final = frozenset(
    {
        *ECHOED,
        *_STORED,
        "model",
        "input",
        "include",
        "store",
        "stream",
        "stream_options",  # obfuscation of what is streamed: there is none
        "service_tier",
        "background",
    }
)
_INCLUDED: Final = frozenset({"reasoning.encrypted_content", "message.output_text.logprobs"})
_EFFORTS: Final[Mapping[str, Effort]] = {
    "none": "none",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_SUMMARIES: Final[Mapping[str, Literal["auto", "concise", "detailed"]]] = {
    "auto": "auto",
    "concise": "concise",
    "detailed": "detailed",
}
_VERBOSITIES: Final[Mapping[str, Literal["low", "medium", "high"]]] = {"low": "low", "medium": "medium", "high": "high"}

_Word = TypeVar("_Word", bound=str)


def read_envelope(fields: Fields) -> Envelope:
    """The little that routing needs.

    Raises:
        InvalidRequestError: The model is missing, or something is of the wrong type.
    """
    model = strict.value(fields.get("model"), "model")
    if not isinstance(model, str) or not model:
        raise InvalidRequestError("You must provide a 'model'.", param="model")
    stream = strict.boolean(strict.value(fields.get("stream"), "stream"), "stream")
    return Envelope(model=model, stream=bool(stream))


def decode(fields: Fields, model: str, stream: bool, query: bytes) -> ChatRequest:
    """Read a request.

    Raises:
        InvalidRequestError: Naming the field.
    """
    _refuse_stored(fields)
    if bytes(fields.get("input", b"null")).strip() == b"null":
        raise InvalidRequestError("You must provide an 'input'.", param="input")
    turns, unsaid_items = decode_items.decode(fields.get("input"))
    instructions = strict.value(fields.get("instructions"), "instructions")
    if isinstance(instructions, list):
        before, more = decode_items.decode(fields["instructions"])
        turns, unsaid_items = before + turns, more + unsaid_items
    elif (text := strict.text(instructions, "instructions")) is not None:
        turns = (Turn(role="system", parts=(Text(text=text),)), *turns)
    tools, unsaid_tools = decode_tools.decode(fields.get("tools"))
    parameters, unsaid = _parameters(fields)
    unknown = [name for name, raw in fields.items() if name not in _KNOWN and bytes(raw).strip() != b"null"]
    return ChatRequest(
        model=model,
        turns=turns,
        tools=tools,
        parameters=parameters,
        stream=stream,
        unsaid=tuple(dict.fromkeys([*unknown, *unsaid, *unsaid_items, *unsaid_tools])),
        own={name: fields[name] for name in ECHOED if name in fields},
    )


def _refuse_stored(fields: Fields) -> None:
    for name in _STORED:
        if strict.value(fields.get(name), name) is not None:
            raise InvalidRequestError(f"'{name}' refers to something stored. {decode_items.STATELESS}", param=name)
    if strict.boolean(strict.value(fields.get("background"), "background"), "background"):
        raise InvalidRequestError(
            "'background' responses would have to be stored. Ask for a stream instead.", param="background"
        )


def _parameters(fields: Fields) -> tuple[Parameters, Sequence[str]]:
    unsaid: list[str] = []

    def value(name: str) -> object:
        return strict.value(fields.get(name), name)

    text = strict.mapping(value("text"), "text")
    unsaid += [f"text.{name}" for name in text if name not in ("format", "verbosity")]
    include = [strict.needed_text(each, "include") for each in strict.items(value("include"), "include")]
    if any(each not in _INCLUDED for each in include):
        unsaid.append("include")
    if value("truncation") not in (None, "disabled"):
        unsaid.append("truncation")
    if value("max_tool_calls") is not None:
        unsaid.append("max_tool_calls")
    store = strict.boolean(value("store"), "store")
    top_logprobs = strict.whole(value("top_logprobs"), "top_logprobs")
    return Parameters(
        max_tokens=_positive(value("max_output_tokens"), "max_output_tokens"),
        temperature=strict.number(value("temperature"), "temperature"),
        top_p=strict.number(value("top_p"), "top_p"),
        logprobs=True if "message.output_text.logprobs" in include or top_logprobs else None,
        top_logprobs=top_logprobs or None,
        response_format=_format(fields.get("text"), text),
        reasoning_effort=_effort(strict.mapping(value("reasoning"), "reasoning"), unsaid),
        verbosity=_one_of(text.get("verbosity"), _VERBOSITIES, "text.verbosity"),
        parallel_tool_calls=strict.boolean(value("parallel_tool_calls"), "parallel_tool_calls"),
        tool_choice=decode_tools.decode_choice(fields.get("tool_choice")),
        service_tier=strict.text(value("service_tier"), "service_tier"),
        user=strict.text(value("user"), "user"),
        metadata=_metadata(value("metadata")),
        safety_identifier=strict.text(value("safety_identifier"), "safety_identifier"),
        prompt_cache_key=strict.text(value("prompt_cache_key"), "prompt_cache_key"),
        prompt_cache_retention=strict.text(value("prompt_cache_retention"), "prompt_cache_retention"),
        store=True if store else None,
    ), unsaid


def _positive(found: object, path: str) -> int | None:
    number = strict.whole(found, path)
    if number is not None and number < 1:
        raise strict.wrong(path, "a number of at least 1")
    return number


def _one_of(found: object, words: Mapping[str, _Word], path: str) -> _Word | None:
    if found is None:
        return None
    word = words.get(found) if isinstance(found, str) else None
    if word is None:
        raise strict.wrong(path, "one of " + ", ".join(f"'{each}'" for each in words))
    return word


def _effort(reasoning: reading.Object, unsaid: list[str]) -> ReasoningEffort | None:
    unsaid += [
        f"reasoning.{name}"
        for name, value in reasoning.items()
        if name not in ("effort", "summary", "generate_summary") and value is not None
    ]
    effort = _one_of(reasoning.get("effort"), _EFFORTS, "reasoning.effort")
    summary = _one_of(reasoning.get("summary"), _SUMMARIES, "reasoning.summary")
    if summary is None:
        summary = _one_of(reasoning.get("generate_summary"), _SUMMARIES, "reasoning.generate_summary")
    if effort is None and summary is None:
        return None
    return ReasoningEffort(effort=effort, summary=summary)


def _format(raw: msgspec.Raw | None, text: reading.Object) -> ResponseFormat | None:
    wanted = strict.mapping(text.get("format"), "text.format")
    kind = strict.text(wanted.get("type"), "text.format.type")
    if raw is None or kind in (None, "text"):
        return None
    if kind == "json_object":
        return JsonObject()
    if kind != "json_schema":
        raise strict.wrong("text.format.type", "'text', 'json_schema' or 'json_object'")
    if not isinstance(wanted.get("schema"), dict):
        raise strict.wrong("text.format.schema", "an object")
    members = strict.raw_object(strict.raw_object(raw, "text")["format"], "text.format")
    return JsonSchema(
        schema=members["schema"],
        name=strict.text(wanted.get("name"), "text.format.name") or "response",
        description=strict.text(wanted.get("description"), "text.format.description"),
        strict=strict.boolean(wanted.get("strict"), "text.format.strict"),
    )


def _metadata(found: object) -> Mapping[str, str] | None:
    metadata = strict.mapping(found, "metadata")
    for name, value in metadata.items():
        strict.needed_text(value, f"metadata.{name}")
    return {name: str(value) for name, value in metadata.items()} or None
