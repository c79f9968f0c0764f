"""Token counts out of OpenAI's ``usage``, and into it.

https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec

from trunkline_gateway.exchange import Usage

_NOTHING: Final = Usage()
_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)] | None


class _WirePromptDetails(msgspec.Struct):
    cached_tokens: _Count = None
    cache_write_tokens: _Count = None
    audio_tokens: _Count = None


class _WireCompletionDetails(msgspec.Struct):
    reasoning_tokens: _Count = None
    audio_tokens: _Count = None


class WireUsage(msgspec.Struct):
    """The counts of a ``usage`` member as they usually are; where decoding it fails, `read` takes what is usable.

    DeepSeek and Moonshot say beside the details what others say in them; gateways before Anthropic name what was
    written to a cache as that does.
    """

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: _WirePromptDetails | None = None
    completion_tokens_details: _WireCompletionDetails | None = None
    prompt_cache_hit_tokens: _Count = None
    cached_tokens: _Count = None
    reasoning_tokens: _Count = None
    cache_creation_input_tokens: _Count = None


def of_wire(wire: WireUsage | None) -> Usage | None:
    """The counts of a decoded ``usage``; None where it has none."""
    if wire is None:
        return None
    prompt, completion, total = wire.prompt_tokens, wire.completion_tokens, wire.total_tokens
    cached = None if wire.prompt_tokens_details is None else wire.prompt_tokens_details.cached_tokens
    if cached is None:
        cached = wire.cached_tokens if wire.prompt_cache_hit_tokens is None else wire.prompt_cache_hit_tokens
    reasoning = None if wire.completion_tokens_details is None else wire.completion_tokens_details.reasoning_tokens
    if reasoning is None:
        reasoning = wire.reasoning_tokens
    if prompt is not None and completion is not None and reasoning and total == prompt + completion + reasoning:
        completion += reasoning  # xAI counts it beside what is said
    write = None if wire.prompt_tokens_details is None else wire.prompt_tokens_details.cache_write_tokens
    if write is None:
        write = wire.cache_creation_input_tokens
    counts = Usage(
        prompt=prompt,
        completion=completion,
        total=total,
        cached=cached,
        cache_write=write,
        reasoning=reasoning,
        audio_prompt=None if wire.prompt_tokens_details is None else wire.prompt_tokens_details.audio_tokens,
        audio_completion=(
            None if wire.completion_tokens_details is None else wire.completion_tokens_details.audio_tokens
        ),
    )
    return None if counts == _NOTHING else counts


def read(usage: object) -> Usage | None:
    """The counts in a ``usage`` member, whatever else stands there; None where it has none."""
    if not isinstance(usage, Mapping):
        return None
    return of_wire(
        WireUsage(
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            total_tokens=_count(usage, "total_tokens"),
            prompt_tokens_details=_WirePromptDetails(
                cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
                cache_write_tokens=_count(usage.get("prompt_tokens_details"), "cache_write_tokens"),
                audio_tokens=_count(usage.get("prompt_tokens_details"), "audio_tokens"),
            ),
            completion_tokens_details=_WireCompletionDetails(
                reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
                audio_tokens=_count(usage.get("completion_tokens_details"), "audio_tokens"),
            ),
            prompt_cache_hit_tokens=_count(usage, "prompt_cache_hit_tokens"),
            cached_tokens=_count(usage, "cached_tokens"),
            reasoning_tokens=_count(usage, "reasoning_tokens"),
            cache_creation_input_tokens=_count(usage, "cache_creation_input_tokens"),
        )
    )


def _count(counts: object, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def write(counts: Usage) -> dict[str, object]:
    """The counts as a ``usage`` member. Three of them have to be there: what was not counted is 0 there."""
    prompt, completion = counts.prompt or 0, counts.completion or 0
    wire: dict[str, object] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if counts.total is None else counts.total,
    }
    details = {
        "prompt_tokens_details": {
            "cached_tokens": counts.cached,
            "cache_write_tokens": counts.cache_write,
            "audio_tokens": counts.audio_prompt,
        },
        "completion_tokens_details": {
            "reasoning_tokens": counts.reasoning,
            "audio_tokens": counts.audio_completion,
        },
    }
    for name, members in details.items():
        known = {each: count for each, count in members.items() if count is not None}
        if known:
            wire[name] = known
    return wire


def unsaid(counts: Usage | None) -> bool:
    """Whether there are counts that chat completions has no name for."""
    return counts is not None and bool(counts.cache_write_1h or counts.tool_prompt)
