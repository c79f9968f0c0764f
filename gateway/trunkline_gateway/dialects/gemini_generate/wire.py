"""The bytes of an answer as typed data: quick for what is usual, lenient for what is not.

https://ai.google.dev/api/generate-content#generatecontentresponse

What is rare and has to survive as it is (executable code, server-side tool calls, grounding) is not declared here, or
is left as its bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

import msgspec

from trunkline_gateway.dialects.gemini_generate.usage import WireModality, WireUsage
from trunkline_gateway.exchange import characters

NOTHING: Final = msgspec.Raw()

# The provider's names are camelCase, and so are the fields that they are read into.
# ruff: noqa: N815


class WirePartialArg(msgspec.Struct, gc=False):
    """A piece of arguments at a path; see `partial_args`."""

    jsonPath: str | None = None
    stringValue: str | None = None
    numberValue: msgspec.Raw = NOTHING
    boolValue: bool | None = None
    nullValue: msgspec.Raw = NOTHING
    willContinue: bool | None = None


class WireFunctionCall(msgspec.Struct, gc=False):
    """A call; ``partialArgs`` and ``willContinue`` only where its arguments are streamed."""

    name: str | None = None
    id: str | None = None
    args: msgspec.Raw = NOTHING
    partialArgs: list[WirePartialArg] | None = None
    willContinue: bool | None = None


class WireBlob(msgspec.Struct, gc=False):
    """Bytes in base64."""

    mimeType: str | None = None
    data: str | None = None


class WireFileData(msgspec.Struct, gc=False):
    """A file by its address."""

    mimeType: str | None = None
    fileUri: str | None = None


class WirePart(msgspec.Struct, gc=False):
    """A part; one without any of these has to be looked at as its bytes (`raw_parts`)."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None
    functionCall: WireFunctionCall | None = None
    inlineData: WireBlob | None = None
    fileData: WireFileData | None = None


class WireContent(msgspec.Struct, gc=False):
    """What a candidate says."""

    parts: list[WirePart] | None = None


class WireLogprob(msgspec.Struct, gc=False):
    """A token and how likely it was."""

    token: str | None = None
    logProbability: float | None = None


class WireTopCandidates(msgspec.Struct, gc=False):
    """The likeliest tokens of one step."""

    candidates: list[WireLogprob] | None = None


class WireLogprobs(msgspec.Struct, gc=False):
    """Step by step."""

    chosenCandidates: list[WireLogprob] | None = None
    topCandidates: list[WireTopCandidates] | None = None


class WireCandidate(msgspec.Struct, gc=False):
    """One answer, or a piece of it."""

    content: WireContent | None = None
    finishReason: str | int | None = None
    index: int | None = None
    safetyRatings: msgspec.Raw = NOTHING
    groundingMetadata: msgspec.Raw = NOTHING
    citationMetadata: msgspec.Raw = NOTHING
    urlContextMetadata: msgspec.Raw = NOTHING
    logprobsResult: WireLogprobs | None = None


class WirePromptFeedback(msgspec.Struct, gc=False):
    """Why a prompt was not answered."""

    blockReason: str | int | None = None
    safetyRatings: msgspec.Raw = NOTHING


class WireChunk(msgspec.Struct, gc=False):
    """A whole answer, or an event of a streamed one."""

    candidates: list[WireCandidate] | None = None
    usageMetadata: WireUsage | None = None
    modelVersion: str | None = None
    responseId: str | None = None
    createTime: str | None = None
    promptFeedback: WirePromptFeedback | None = None
    error: msgspec.Raw = NOTHING


class NotAnAnswerError(ValueError):
    """The bytes are not JSON, or not an object or a list of objects."""


_S = TypeVar("_S", bound=msgspec.Struct)

_chunk_decoder: Final = msgspec.json.Decoder(WireChunk)
_any_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()

# Struct and field → what a member of it is.
_NESTED: Final[Mapping[tuple[type[msgspec.Struct], str], type[msgspec.Struct]]] = {
    (WireChunk, "candidates"): WireCandidate,
    (WireChunk, "usageMetadata"): WireUsage,
    (WireChunk, "promptFeedback"): WirePromptFeedback,
    (WireCandidate, "content"): WireContent,
    (WireCandidate, "logprobsResult"): WireLogprobs,
    (WireContent, "parts"): WirePart,
    (WirePart, "functionCall"): WireFunctionCall,
    (WirePart, "inlineData"): WireBlob,
    (WirePart, "fileData"): WireFileData,
    (WireFunctionCall, "partialArgs"): WirePartialArg,
    (WireLogprobs, "chosenCandidates"): WireLogprob,
    (WireLogprobs, "topCandidates"): WireTopCandidates,
    (WireTopCandidates, "candidates"): WireLogprob,
    (WireUsage, "promptTokensDetails"): WireModality,
    (WireUsage, "candidatesTokensDetails"): WireModality,
}


def read(data: bytes) -> Sequence[WireChunk]:
    """The chunks in ``data``: one, or those of a JSON array (a stream that was asked for without ``alt=sse``).

    Raises:
        NotAnAnswerError: See there.
    """
    try:
        return (_chunk_decoder.decode(data),)
    except msgspec.ValidationError:
        pass  # JSON, but something is of another type than it should be
    except (msgspec.DecodeError, UnicodeDecodeError):
        data = characters.repaired(data)
    except RecursionError as error:
        raise NotAnAnswerError from error
    value = value_of(data)
    if isinstance(value, Mapping):
        return (_loose(WireChunk, value),)
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return [_loose(WireChunk, each) for each in value]
    raise NotAnAnswerError


def value_of(data: bytes | msgspec.Raw) -> object:
    """JSON as plain values; None where it cannot be read."""
    try:
        return _any_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def raw_of(value: object) -> msgspec.Raw:
    """Plain values as JSON; nothing where they cannot be written (integers that no machine holds)."""
    try:
        return msgspec.Raw(_encoder.encode(value))
    except (msgspec.MsgspecError, OverflowError, UnicodeEncodeError, RecursionError, TypeError):
        return NOTHING


def is_given(raw: msgspec.Raw) -> bool:
    """Whether a member is there and not null."""
    text = bytes(raw)
    return bool(text) and text != b"null"


def says_something(raw: msgspec.Raw) -> bool:
    """Whether it is an object with members."""
    text = bytes(raw)
    return len(text) > 2 and text.startswith(b"{")


def raw_parts(data: bytes) -> Mapping[tuple[int, int, int], msgspec.Raw]:
    """All parts of ``data`` as bytes, by chunk, candidate and part: for those that `WirePart` does not declare."""
    found: dict[tuple[int, int, int], msgspec.Raw] = {}
    value = value_of(characters.repaired(data))
    for chunk, each in enumerate(value if isinstance(value, list) else [value]):
        candidates = each.get("candidates") if isinstance(each, Mapping) else None
        for number, candidate in enumerate(_mappings(candidates)):
            content = candidate.get("content")
            parts = content.get("parts") if isinstance(content, Mapping) else None
            for part, value_of_part in enumerate(_mappings(parts)):
                found[chunk, number, part] = raw_of(value_of_part)
    return found


def _mappings(value: object) -> Sequence[Mapping[str, object]]:
    """The objects in a list, or a lone one; `_loose` counts them in the same way."""
    members = value if isinstance(value, list) else [value]
    return [each for each in members if isinstance(each, Mapping)]


def _loose(kind: type[_S], value: Mapping[str, object]) -> _S:
    """A struct of what is usable in ``value``."""
    members: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        given = value.get(field.name)
        if given is None:
            continue
        nested = _NESTED.get((kind, field.name))
        if nested is not None and isinstance(given, list):
            made = [_loose(nested, each) for each in given if isinstance(each, Mapping)]
            if _is_list(kind, field.name):
                members[field.name] = made
        elif nested is not None:
            if isinstance(given, Mapping):
                one = _loose(nested, given)
                members[field.name] = [one] if _is_list(kind, field.name) else one
        elif field.type is msgspec.Raw:
            members[field.name] = raw_of(given)
        else:
            try:
                members[field.name] = msgspec.convert(given, field.type)
            except msgspec.ValidationError:
                continue
    return kind(**members)


_LISTS: Final = frozenset(
    {"candidates", "parts", "partialArgs", "chosenCandidates", "topCandidates"}
    | {"promptTokensDetails", "candidatesTokensDetails"}
)


def _is_list(kind: type[msgspec.Struct], name: str) -> bool:
    return (kind, name) in _NESTED and name in _LISTS
