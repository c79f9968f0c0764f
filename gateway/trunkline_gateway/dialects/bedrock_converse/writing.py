"""What writing one request has to remember, and the type of what it writes."""

from collections.abc import Mapping
from typing import TypeAlias

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.bedrock_converse import models
from trunkline_gateway.dialects.bedrock_converse.names import DocumentNames, ToolNames
from trunkline_gateway.exchange import CacheControl, ChatRequest

Block: TypeAlias = Mapping[str, object]
"""A content block: one member, whose name says what it is."""


class Writing:
    """One per request.

    Attributes:
        lost: Names of what could not be said so far.
    """

    __slots__ = ("documents", "lost", "model", "names", "target")

    def __init__(self, request: ChatRequest, target: Target) -> None:
        self.target = target
        self.model = models.of(target.model)
        self.names = ToolNames(request)
        self.documents = DocumentNames()
        self.lost: set[str] = set()

    def lose(self, feature: str) -> None:
        """Note what cannot be said; see `exchange.losses`."""
        self.lost.add(feature)

    def cache_point(self, asked: CacheControl | None, *, among_tools: bool = False) -> Block | None:
        """What stands behind what is to be cached."""
        if asked is None:
            return None
        model = self.model
        if not (model.caches_tools if among_tools else model.caches):
            self.lose("cache_control")
            return None
        if asked.ttl != "1h":
            return {"cachePoint": {"type": "default"}}
        if not model.caches_for_an_hour:
            self.lose("cache_control.ttl")
            return {"cachePoint": {"type": "default"}}
        return {"cachePoint": {"type": "default", "ttl": "1h"}}
