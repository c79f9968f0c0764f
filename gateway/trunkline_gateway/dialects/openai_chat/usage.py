"""Token counts out of OpenAI's ``usage``, verbatim.

https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Mapping

from trunkline_gateway.exchange import Usage

_NONE = Usage()


def read(usage: object) -> Usage | None:
    """The counts in a ``usage`` member; None where it has none."""
    if not isinstance(usage, Mapping):
        return None
    found = Usage(
        prompt=_count(usage, "prompt_tokens"),
        completion=_count(usage, "completion_tokens"),
        total=_count(usage, "total_tokens"),
        # DeepSeek and Moonshot say it beside the details, not in them.
        cached=_first(
            _count(usage.get("prompt_tokens_details"), "cached_tokens"),
            _count(usage, "prompt_cache_hit_tokens"),
            _count(usage, "cached_tokens"),
        ),
        reasoning=_first(
            _count(usage.get("completion_tokens_details"), "reasoning_tokens"),
            _count(usage, "reasoning_tokens"),
        ),
    )
    return None if found == _NONE else found


def _count(counts: object, name: str) -> int | None:
    value = counts.get(name) if isinstance(counts, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
