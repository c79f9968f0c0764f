"""Token counts in ``usageMetadata``, read and written.

https://ai.google.dev/api/generate-content#UsageMetadata

Gemini counts thoughts beside the candidates, and the results of its own tools beside the prompt; the exchange counts
both within.
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from trunkline_gateway import tail
from trunkline_gateway.exchange import Usage

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)] | None

_AUDIO: Final = ("AUDIO", 4)


class WireModality(msgspec.Struct, gc=False):
    """Tokens of one modality, which is a word or, with ``enum-encoding=int``, a number."""

    modality: str | int | None = None
    tokenCount: Count = None  # noqa: N815  # the provider's name, as all of them


class WireUsage(msgspec.Struct, gc=False):
    """Of a generateContent answer."""

    promptTokenCount: Count = None  # noqa: N815
    cachedContentTokenCount: Count = None  # noqa: N815
    candidatesTokenCount: Count = None  # noqa: N815
    thoughtsTokenCount: Count = None  # noqa: N815
    toolUsePromptTokenCount: Count = None  # noqa: N815
    totalTokenCount: Count = None  # noqa: N815
    promptTokensDetails: list[WireModality] | None = None  # noqa: N815
    candidatesTokensDetails: list[WireModality] | None = None  # noqa: N815


def of_wire(wire: WireUsage) -> Usage | None:
    """The counts in neutral terms; None where there are none (Vertex sends its ``trafficType`` alone)."""
    prompt, candidates, thoughts = wire.promptTokenCount, wire.candidatesTokenCount, wire.thoughtsTokenCount
    tool, total, cached = wire.toolUsePromptTokenCount, wire.totalTokenCount, wire.cachedContentTokenCount
    if prompt is None and candidates is None and thoughts is None and total is None and cached is None:
        return None
    if tool:
        prompt = (prompt or 0) + tool
    if thoughts:
        completion: int | None = (candidates or 0) + thoughts
    elif candidates is None and prompt is not None and total == prompt:
        completion = 0  # a zero is left out, as proto JSON does
    else:
        completion = candidates
    return Usage(
        prompt=prompt,
        completion=completion,
        total=total,
        cached=cached,
        reasoning=thoughts,
        audio_prompt=_audio(wire.promptTokensDetails) if wire.promptTokensDetails else None,
        audio_completion=_audio(wire.candidatesTokensDetails) if wire.candidatesTokensDetails else None,
        tool_prompt=tool,
    )


def to_wire(usage: Usage) -> dict[str, object]:
    """The counts as Gemini says them; those that are not known are left out."""
    wire: dict[str, object] = {}
    if usage.prompt is not None:
        wire["promptTokenCount"] = max(usage.prompt - (usage.tool_prompt or 0), 0)
    if usage.cached is not None:
        wire["cachedContentTokenCount"] = usage.cached
    if usage.completion is not None:
        wire["candidatesTokenCount"] = max(usage.completion - (usage.reasoning or 0), 0)
    if usage.reasoning is not None:
        wire["thoughtsTokenCount"] = usage.reasoning
    if usage.tool_prompt is not None:
        wire["toolUsePromptTokenCount"] = usage.tool_prompt
    total = usage.total
    if total is None and usage.prompt is not None and usage.completion is not None:
        total = usage.prompt + usage.completion
    if total is not None:
        wire["totalTokenCount"] = total
    if usage.audio_prompt:
        wire["promptTokensDetails"] = [{"modality": "AUDIO", "tokenCount": usage.audio_prompt}]
    if usage.audio_completion:
        wire["candidatesTokensDetails"] = [{"modality": "AUDIO", "tokenCount": usage.audio_completion}]
    return wire


def lost(usage: Usage | None) -> tuple[str, ...]:
    """What `to_wire` has no word for."""
    return ("answer.usage_details",) if usage is not None and (usage.cache_write or usage.cache_write_1h) else ()


def _audio(details: list[WireModality]) -> int | None:
    for each in details:
        if each.modality in _AUDIO:
            return each.tokenCount
    return None


def at_end(kept: bytes) -> Usage | None:
    """The usage of an answer of which only the end was kept, if its ``usageMetadata`` stands there."""
    found = tail.member(kept, b"usageMetadata")
    try:
        return None if found is None else of_wire(_wire.decode(found))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


_wire: Final = msgspec.json.Decoder(WireUsage)
