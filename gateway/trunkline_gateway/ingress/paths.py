"""What a path is for: which dialect, which operation. Nothing else decides; methods and headers come after it.

Every path is there with and without its version, and with and without a slash at the end. In front of it may stand a
credential's name (then its direct models are meant) or a dialect's (then nothing else changes).
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias
from urllib.parse import unquote

from trunkline_gateway.exchange import Operation

Endpoint: TypeAlias = Literal["call", "models", "model", "stored"]
"""An operation on a model; the list of models; one of them; an answer that would have to have been stored."""

METHODS: Final[Mapping[Endpoint, tuple[str, ...]]] = {
    "call": ("POST",),
    "models": ("GET", "HEAD"),
    "model": ("GET", "HEAD"),
    "stored": ("GET", "POST", "DELETE"),
}

ALIASES: Final[Mapping[str, str]] = {
    "openai": "openai_chat",
    "anthropic": "anthropic_messages",
    "gemini": "gemini_generate",
    "google": "gemini_generate",
}
"""What may stand in front of a path, and the dialect that is meant where the path leaves it open."""


class Match(NamedTuple):
    """What a path is for.

    Attributes:
        dialect: Of the request and its answer; empty where the path leaves it open (models).
        operation: Of a call.
        model: As the path says it, decoded; empty: the body says it.
        stream: As the path says it; None: the body does.
        prefix: What stands in front: the name of a credential or an alias.
    """

    endpoint: Endpoint
    dialect: str = ""
    operation: Operation = "chat"
    model: str = ""
    stream: bool | None = None
    prefix: str = ""


_CALLS: Final[Mapping[str, Match]] = {
    "/chat/completions": Match("call", "openai_chat"),
    "/embeddings": Match("call", "openai_embeddings", "embeddings"),
    "/responses": Match("call", "openai_responses"),
    "/messages": Match("call", "anthropic_messages"),
    "/messages/count_tokens": Match("call", "anthropic_messages", "count_tokens"),
    "/models": Match("models"),
}

_GEMINI: Final[Mapping[str, Match]] = {
    "generateContent": Match("call", "gemini_generate", stream=False),
    "streamGenerateContent": Match("call", "gemini_generate", stream=True),
    "countTokens": Match("call", "gemini_generate", "count_tokens", stream=False),
    "embedContent": Match("call", "gemini_embed", "embeddings", stream=False),
    "batchEmbedContents": Match("call", "gemini_embed", "embeddings", stream=False),
}

_VERSIONS: Final = ("/v1beta1", "/v1beta", "/v1alpha", "/v1")
_GEMINI_VERSIONS: Final = frozenset({"/v1beta1", "/v1beta", "/v1alpha"})
_PUBLISHERS: Final = "/publishers/google"
_STORED: Final = re.compile(r"/responses/(?!(?:compact|input_tokens)$)[^/]+(?:/(?:cancel|input_items))?")
"""What would have to have been stored, and not what is another call of the API."""
_VERSION: Final = re.compile(r"v[0-9]+[a-z0-9]*")

FIXED: Final[Mapping[str, Match]] = {
    version + path + slash: match for path, match in _CALLS.items() for version in ("", "/v1") for slash in ("", "/")
}
"""Paths that are found by one look-up."""


def match(path: str) -> Match | None:
    """Find what ``path`` (not decoded, without the query) is for."""
    if (fixed := FIXED.get(path)) is not None:
        return fixed
    found = _below(path)
    if found is not None:
        return found
    prefix, slash, rest = path.removeprefix("/").partition("/")
    if not prefix or not slash or _VERSION.fullmatch(prefix):
        return None
    below = FIXED.get("/" + rest) or _below("/" + rest)
    return None if below is None or below.prefix else below._replace(prefix=unquote(prefix, errors="replace"))


def _below(path: str) -> Match | None:
    version = next((each for each in _VERSIONS if path.startswith(each + "/")), "")
    short = path.removeprefix(version).removesuffix("/")
    short = short.removeprefix(_PUBLISHERS) if short.startswith(_PUBLISHERS + "/models/") else short
    if short.startswith("/models/") and len(short) > len("/models/"):
        return _of_model(short.removeprefix("/models/"), version)
    if short == "/models":
        return Match("models", "gemini_generate" if version in _GEMINI_VERSIONS else "")
    if _STORED.fullmatch(short):
        return Match("stored", "openai_responses")
    return None


def _of_model(rest: str, version: str) -> Match:
    name, colon, method = rest.rpartition(":")
    found = _GEMINI.get(method) if colon else None
    if found is not None and name:
        return found._replace(model=unquote(name, errors="replace"))
    dialect = "gemini_generate" if version in _GEMINI_VERSIONS else ""
    return Match("model", dialect, model=unquote(rest, errors="replace"))
