"""Token counts of a message, to and from the exchange.

Anthropic's ``input_tokens`` are those beside the cache; the exchange counts all of them as the prompt.
https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching#tracking-cache-performance
"""

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec

from trunkline_gateway import tail
from trunkline_gateway.dialects.anthropic_messages import upstream_json
from trunkline_gateway.exchange import Usage

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=upstream_json.MAX_COUNT)] | None


class WireCacheCreation(msgspec.Struct, gc=False):
    """What was written to a cache, by how long it stays there."""

    ephemeral_1h_input_tokens: _Count = None


class WireOutputDetails(msgspec.Struct, gc=False):
    """What part of the output was for."""

    thinking_tokens: _Count = None


class WireUsage(msgspec.Struct, gc=False):
    """A ``usage`` member as it usually is; where decoding it fails, `Counts` takes what is usable."""

    input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation: WireCacheCreation | None = None
    output_tokens: _Count = None
    output_tokens_details: WireOutputDetails | None = None
    service_tier: str | None = None


def of_wire(wire: WireUsage | None) -> Usage | None:
    """The counts of a decoded ``usage``; None where it has none."""
    if wire is None:
        return None
    prompt, cached, write = wire.input_tokens, wire.cache_read_input_tokens, wire.cache_creation_input_tokens
    if prompt is not None:
        prompt += (cached or 0) + (write or 0)
    found = Usage(
        prompt=prompt,
        completion=wire.output_tokens,
        cached=cached,
        cache_write=write,
        cache_write_1h=None if wire.cache_creation is None else wire.cache_creation.ephemeral_1h_input_tokens,
        reasoning=None if wire.output_tokens_details is None else wire.output_tokens_details.thinking_tokens,
    )
    return None if found == _NOTHING else found


_NOTHING: Final = Usage()


class Counts:
    """What an upstream has said so far: a stream says some at its start and the rest, or all again, at its end."""

    __slots__ = ("_cached", "_input", "_output", "_thinking", "_tier", "_write", "_write_1h")

    def __init__(self) -> None:
        self._input: int | None = None
        self._cached: int | None = None
        self._write: int | None = None
        self._write_1h: int | None = None
        self._output: int | None = None
        self._thinking: int | None = None
        self._tier: str | None = None

    def receive(self, usage: msgspec.Raw | None) -> None:
        """Take a ``usage`` member; counts are cumulative, and a zero does not undo what was said before."""
        said = upstream_json.members(usage)
        self._input = _later(self._input, said, "input_tokens")
        self._cached = _later(self._cached, said, "cache_read_input_tokens")
        self._write = _later(self._write, said, "cache_creation_input_tokens")
        by_time = upstream_json.members(said.get("cache_creation"))
        self._write_1h = _later(self._write_1h, by_time, "ephemeral_1h_input_tokens")
        self._output = _later(self._output, said, "output_tokens")
        details = upstream_json.members(said.get("output_tokens_details"))
        self._thinking = _later(self._thinking, details, "thinking_tokens")
        self._tier = upstream_json.text(said.get("service_tier")) or self._tier

    @property
    def service_tier(self) -> str | None:
        """Which one served it."""
        return self._tier

    def usage(self) -> Usage | None:
        """All of it; None where nothing was said."""
        prompt = self._input
        if prompt is not None:
            prompt += (self._cached or 0) + (self._write or 0)
        found = Usage(
            prompt=prompt,
            completion=self._output,
            cached=self._cached,
            cache_write=self._write,
            cache_write_1h=self._write_1h,
            reasoning=self._thinking,
        )
        return None if found == _NOTHING else found


def read(usage: msgspec.Raw | None) -> Usage | None:
    """The counts of a whole answer's ``usage``."""
    counts = Counts()
    counts.receive(usage)
    return counts.usage()


def wire(usage: Usage | None, service_tier: str | None = None) -> dict[str, object]:
    """A ``usage`` member. Clients insist on input and output: nought where the upstream did not say."""
    usage = usage or Usage()
    cached, write = usage.cached or 0, usage.cache_write or 0
    said: dict[str, object] = {"input_tokens": max((usage.prompt or 0) - cached - write, 0)}
    if usage.cache_write is not None:
        said["cache_creation_input_tokens"] = write
    if usage.cached is not None:
        said["cache_read_input_tokens"] = cached
    if usage.cache_write_1h is not None:
        long = usage.cache_write_1h
        said["cache_creation"] = {
            "ephemeral_5m_input_tokens": max(write - long, 0),
            "ephemeral_1h_input_tokens": long,
        }
    said["output_tokens"] = usage.completion or 0
    if usage.reasoning is not None:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if service_tier is not None:
        said["service_tier"] = service_tier
    return said


def _later(before: int | None, said: Mapping[str, msgspec.Raw], name: str) -> int | None:
    count = upstream_json.count(said.get(name))
    return before if not count and before is not None else count


def at_end(kept: bytes) -> Usage | None:
    """The usage of an answer of which only the end was kept, if its ``usage`` stands there."""
    return read(tail.member(kept, b"usage"))
