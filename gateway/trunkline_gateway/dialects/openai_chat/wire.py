"""Answers of upstreams as they come: a ``chat.completion``, and the chunks of a stream.

https://platform.openai.com/docs/api-reference/chat/object
https://platform.openai.com/docs/api-reference/chat-streaming

Whole answers and chunks have one shape here, since what a ``message`` says and what a ``delta`` says is read by the
same code. What is decoded fits the types; where an upstream's answer does not, `salvaged` keeps what does.
"""

from types import UnionType
from typing import Final, TypeVar, Union, get_args, get_origin

import msgspec

from trunkline_gateway.dialects.openai_chat import usage as counts
from trunkline_gateway.dialects.openai_chat.usage import WireUsage
from trunkline_gateway.exchange import Usage, characters

_S = TypeVar("_S", bound=msgspec.Struct)


class WireFunction(msgspec.Struct, gc=False):
    """A function that is called; of a custom tool ``input`` is what ``arguments`` are."""

    name: str | None = None
    arguments: str | dict[str, object] | None = None
    input: str | None = None


class WireToolCall(msgspec.Struct, gc=False):
    """A call, or more of it. ``type``, ``index`` and ``id`` are left out by many."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: WireFunction | None = None
    custom: WireFunction | None = None
    extra_content: dict[str, object] | None = None


class WireDetail(msgspec.Struct, gc=False):
    """One of ``reasoning_details`` (OpenRouter), or of ``thinking_blocks`` (LiteLLM)."""

    type: str | None = None
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    format: str | None = None
    id: str | None = None
    index: int | None = None
    thinking: str | None = None


class WireUrl(msgspec.Struct, gc=False):
    """``image_url``."""

    url: str | None = None


class WirePart(msgspec.Struct, gc=False):
    """An item of ``content`` or ``images``: Mistral's parts, OpenRouter's images."""

    type: str | None = None
    text: str | None = None
    thinking: str | list["WirePart"] | None = None
    refusal: str | None = None
    image_url: str | WireUrl | None = None


class WireUrlCitation(msgspec.Struct, gc=False):
    """A page that is cited."""

    url: str | None = None
    title: str | None = None
    content: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class WireAnnotation(msgspec.Struct, gc=False):
    """What is said of the text."""

    type: str | None = None
    url_citation: WireUrlCitation | None = None


class WireAudio(msgspec.Struct, gc=False):
    """Sound, or more of it."""

    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class WireDelta(msgspec.Struct, gc=False):
    """A ``message``, or a ``delta``."""

    content: str | list[WirePart | str] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[WireDetail] | None = None
    thinking_blocks: list[WireDetail] | None = None
    refusal: str | None = None
    tool_calls: list[WireToolCall] | None = None
    function_call: WireFunction | None = None
    annotations: list[WireAnnotation] | None = None
    audio: WireAudio | None = None
    images: list[WirePart] | None = None
    extra_content: dict[str, object] | None = None


class WireLogprob(msgspec.Struct, gc=False):
    """A token."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list["WireLogprob"] | None = None


class WireLogprobs(msgspec.Struct, gc=False):
    """Tokens of the text, and of the refusal."""

    content: list[WireLogprob] | None = None
    refusal: list[WireLogprob] | None = None


class WireChoice(msgspec.Struct, gc=False):
    """A choice, whole or more of it."""

    index: int | None = None
    delta: WireDelta | None = None
    message: WireDelta | None = None
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: WireLogprobs | None = None
    content_filter_results: object = None
    error: object = None


class WireSearchResult(msgspec.Struct, gc=False):
    """A page that Perplexity has found."""

    url: str | None = None
    title: str | None = None
    snippet: str | None = None


class WireGroq(msgspec.Struct, gc=False):
    """Groq's own."""

    usage: WireUsage | None = None
    error: object = None


class WireAnswer(msgspec.Struct, gc=False):
    """A whole answer, or a chunk."""

    id: str | None = None
    model: str | None = None
    created: int | None = None
    choices: list[WireChoice] | None = None
    usage: WireUsage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    x_groq: WireGroq | None = None
    citations: list[str] | None = None
    search_results: list[WireSearchResult] | None = None
    error: object = None

    def counts(self) -> Usage | None:
        """Its usage, wherever it stands."""
        if self.usage is not None:
            return counts.of_wire(self.usage)
        return None if self.x_groq is None else counts.of_wire(self.x_groq.usage)


_decoder: Final = msgspec.json.Decoder(WireAnswer)
_json: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()


def decode(body: bytes) -> WireAnswer | None:
    """Read an answer or a chunk; None: it is not a JSON object."""
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeDecodeError):
        body = characters.repaired(body)
    except RecursionError:
        return None
    try:
        value = _json.decode(body)
        return salvaged(value, WireAnswer) if isinstance(value, dict) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def salvaged(value: object, kind: type[_S]) -> _S:
    """Of a decoded object all that fits ``kind``, and nothing of what does not."""
    made = kind()
    if isinstance(value, dict):
        for field in msgspec.structs.fields(kind):
            given = value.get(field.encode_name)
            if given is not None:
                kept = _fitting(given, field.type)
                if kept is not None:
                    setattr(made, field.name, kept)
    return made


def _fitting(value: object, kind: object) -> object:
    """The part of ``value`` that fits a type; None: nothing does."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError):
        pass
    for each in get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,):
        if isinstance(value, dict) and isinstance(each, type) and issubclass(each, msgspec.Struct):
            # One that needs a member which is not there, or is of another type, is nothing without it.
            needs = any(field.required for field in msgspec.structs.fields(each))
            return None if needs else salvaged(value, each)
        if isinstance(value, list) and get_origin(each) is list:
            (item,) = get_args(each)
            return [kept for given in value if (kept := _fitting(given, item)) is not None]
    return None


def json_of(value: object) -> bytes:
    """A decoded JSON value as its bytes again; null where it is nested too deep for that."""
    try:
        return _encoder.encode(value)
    except RecursionError:
        return b"null"
