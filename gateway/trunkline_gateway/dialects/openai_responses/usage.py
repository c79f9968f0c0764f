"""Token counts of a response, verbatim.

https://platform.openai.com/docs/api-reference/responses/object#responses/object-usage
"""

from collections.abc import Mapping

import msgspec

from trunkline_gateway import tail
from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.exchange import Usage


def read(value: object) -> Usage | None:
    """The counts of a ``usage`` member; None where it has none. xAI and others leave out details."""
    usage = reading.mapping(value)
    into = reading.mapping(usage.get("input_tokens_details"))
    out = reading.mapping(usage.get("output_tokens_details"))
    found = Usage(
        prompt=reading.count(usage.get("input_tokens")),
        completion=reading.count(usage.get("output_tokens")),
        total=reading.count(usage.get("total_tokens")),
        cached=reading.count(into.get("cached_tokens")),
        cache_write=reading.count(into.get("cache_write_tokens")),
        reasoning=reading.count(out.get("reasoning_tokens")),
    )
    return None if found == Usage() else found


def write(usage: Usage) -> Mapping[str, object]:
    """For a client. SDKs want every one of these counts, so what is not known is 0."""
    prompt, completion = usage.prompt or 0, usage.completion or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cached or 0, "cache_write_tokens": usage.cache_write or 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning or 0},
        "total_tokens": prompt + completion if usage.total is None else usage.total,
    }


def says_all(usage: Usage) -> bool:
    """Whether `write` says all that is known."""
    return not (usage.cache_write_1h or usage.audio_prompt or usage.audio_completion or usage.tool_prompt)


def at_end(kept: bytes) -> Usage | None:
    """The usage of an answer of which only the end was kept, if its ``usage`` stands there."""
    found = tail.member(kept, b"usage")
    return None if found is None else read(msgspec.json.decode(found))
