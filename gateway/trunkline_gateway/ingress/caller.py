"""Which dialect a caller speaks, for answers that are no upstream's: by the path, else by what only its SDK sends."""

from typing import Final

from trunkline_gateway import registry
from trunkline_gateway.dialect import Ingress
from trunkline_gateway.http import Head
from trunkline_gateway.ingress import paths

_OPENAI: Final = registry.INGRESS["openai_chat", "chat"]


def dialect_of(head: Head, found: paths.Match | None) -> str:
    """The dialect of a request that names none in its path: an SDK's own header tells."""
    if found is not None and found.dialect:
        return found.dialect
    if found is not None and (alias := paths.ALIASES.get(found.prefix.lower())) is not None:
        return alias
    if b"anthropic-version" in head.first:
        return "anthropic_messages"
    if b"x-goog-api-key" in head.first or b"x-goog-api-client" in head.first:
        return "gemini_generate"
    return "openai_chat"


def side_of(head: Head) -> Ingress:
    """Who writes an error for the caller."""
    found = paths.match(head.path)
    if found is not None and found.endpoint == "call":
        return ingress_of(found, head.query)
    return registry.INGRESS.get((dialect_of(head, found), "chat"), _OPENAI)


def ingress_of(found: paths.Match, query: bytes) -> Ingress:
    """The client's side of a call."""
    side = registry.INGRESS[found.dialect, found.operation]
    return side if side.for_query is None else side.for_query(query)
