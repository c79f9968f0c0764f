"""What of a client's request only Gemini can say, kept for the answer and for an upstream that is Gemini as well."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

_NONE: Final[Mapping[str, msgspec.Raw]] = MappingProxyType({})


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """In `exchange.ChatRequest.own`.

    Attributes:
        is_array: The stream is a JSON array: it was not asked for with ``alt=sse``.
        config: Members of ``generationConfig`` that the exchange has no word for; they are in ``unsaid`` as well.
        body: Likewise of the body.
        tool_config: Likewise of ``toolConfig``.
    """

    is_array: bool = False
    config: Mapping[str, msgspec.Raw] = _NONE
    body: Mapping[str, msgspec.Raw] = _NONE
    tool_config: Mapping[str, msgspec.Raw] = _NONE
