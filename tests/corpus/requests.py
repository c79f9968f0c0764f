"""A request of one dialect written in another: does it fit the other's types, and does it say the same?"""

import json
from collections.abc import Mapping
from typing import NamedTuple

from corpus import asking, codecs_here, saying, shapes
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Target

PROVIDERS: Mapping[str, str] = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
    "bedrock_converse": "bedrock",
}
"""Whom a dialect is written for, where nothing else is said."""


class Written(NamedTuple):
    """A request for a provider. ``refused``: why nothing was written."""

    body: Mapping[str, object]
    lost: tuple[str, ...]
    refused: str = ""


def write(request: exchange.ChatRequest, dialect: str, target: Target | None = None) -> Written:
    """Encode it."""
    target = target or codecs_here.target(PROVIDERS[dialect])
    try:
        encoded = codecs_here.upstream(dialect).encode(request, target)
    except errors.GatewayError as error:
        return Written({}, (), error.message)
    return Written(json.loads(encoded.body), (*encoded.lost, *request.unsaid))


def differences(source: str, body: Mapping[str, object], written: Written, dialect: str) -> dict[str, str]:
    """What does not fit or does not say the same."""
    if written.refused:
        return {"refused": written.refused}
    found = {}
    misfits = shapes.FITS[dialect](written.body)
    if misfits and not (source == dialect and shapes.FITS[dialect](body)):  # else it is as the client said it
        found["shape"] = "; ".join(misfits)[:600]
    want, got = saying.say(source, body), saying.say(dialect, written.body)
    excused = set(written.lost)
    if dialect in ("anthropic_messages", "bedrock_converse") and "max_tokens" not in want:
        got.pop("max_tokens", None)  # it has to be said there
    return found | asking.compare(want, got, excused)
