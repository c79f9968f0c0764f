"""Token counts of Converse.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialects.bedrock_converse import reading
from trunkline_gateway.exchange import Usage

_NO_MEMBERS: Final[Mapping[str, msgspec.Raw]] = {}


def read(value: msgspec.Raw | None) -> Usage | None:
    """The counts of a ``usage`` member; None where it has none. ``inputTokens`` are those beside the cache."""
    members = _NO_MEMBERS if value is None else reading.members(value)
    fresh, completion = _count(members, "inputTokens"), _count(members, "outputTokens")
    total = _count(members, "totalTokens")
    cached = _first(members, "cacheReadInputTokens", "cacheReadInputTokenCount")
    written = _first(members, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    if fresh is None and completion is None and total is None and cached is None and written is None:
        return None
    return Usage(
        prompt=None if fresh is None else fresh + (cached or 0) + (written or 0),
        completion=completion,
        total=total,
        cached=cached,
        cache_write=written,
        cache_write_1h=_for_an_hour(members.get("cacheDetails")),
    )


def _for_an_hour(details: msgspec.Raw | None) -> int | None:
    if details is None:
        return None
    found: int | None = None
    for each in reading.items(details):
        detail = reading.members(each)
        if reading.text(detail.get("ttl")) == "1h" and (count := _count(detail, "inputTokens")) is not None:
            found = (found or 0) + count
    return found


def _first(members: Mapping[str, msgspec.Raw], *names: str) -> int | None:
    for name in names:
        if (count := _count(members, name)) is not None:
            return count
    return None


def _count(members: Mapping[str, msgspec.Raw], name: str) -> int | None:
    return reading.count(members.get(name))
