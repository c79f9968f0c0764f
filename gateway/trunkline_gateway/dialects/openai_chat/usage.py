"""Token counts out of OpenAI's ``usage``, verbatim.

https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

import msgspec

from trunkline_gateway.exchange import Usage

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)] | None


class _WirePromptDetails(msgspec.Struct):
    cached_tokens: _Count = None


class _WireCompletionDetails(msgspec.Struct):
    reasoning_tokens: _Count = None


class WireUsage(msgspec.Struct):
    """The counts of a ``usage`` member as they usually are; where decoding it fails, `read` takes what is usable.

    DeepSeek and Moonshot say beside the details what others say in them.
    """

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: _WirePromptDetails | None = None
    completion_tokens_details: _WireCompletionDetails | None = None
    prompt_cache_hit_tokens: _Count = None
    cached_tokens: _Count = None
    reasoning_tokens: _Count = None


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
    if prompt is None and completion is None and total is None and cached is None and reasoning is None:
        return None
    return Usage(prompt=prompt, completion=completion, total=total, cached=cached, reasoning=reasoning)


def read(usage: object) -> Usage | None:
    """The counts in a ``usage`` member, whatever else stands there; None where it has none."""
    if not isinstance(usage, Mapping):
        return None
    return of_wire(
        WireUsage(
            prompt_tokens=_count(usage, "prompt_tokens"),
            completion_tokens=_count(usage, "completion_tokens"),
            total_tokens=_count(usage, "total_tokens"),
            prompt_tokens_details=_WirePromptDetails(_count(usage.get("prompt_tokens_details"), "cached_tokens")),
            completion_tokens_details=_WireCompletionDetails(
                _count(usage.get("completion_tokens_details"), "reasoning_tokens")
            ),
            prompt_cache_hit_tokens=_count(usage, "prompt_cache_hit_tokens"),
            cached_tokens=_count(usage, "cached_tokens"),
            reasoning_tokens=_count(usage, "reasoning_tokens"),
        )
    )


def _count(counts: object, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
