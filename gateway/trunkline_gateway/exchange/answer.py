"""A whole answer in the neutral form."""

from typing import Literal, TypeAlias

import msgspec

from trunkline_gateway.exchange.content import Json, Part
from trunkline_gateway.exchange.usage import Usage

FinishReason: TypeAlias = Literal[
    "stop",  # the model was done
    "stop_sequence",  # it came to one of the request's stop sequences
    "length",  # max_tokens
    "context_window",  # the model's window is full
    "tool_calls",  # it wants tools to be run
    "content_filter",  # a filter cut it, or kept it from answering (safety, recitation, block lists)
    "refusal",  # the model itself declined
    "pause",  # a long turn of the provider's own tools; to be continued (Anthropic)
    "malformed_tool_call",  # it tried to call a tool and failed to
    "other",  # the upstream said something else, or nothing
]
"""Why a choice ended. Every dialect has a total table from and to it."""


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """How likely a token was. ``bytes``: its UTF-8 bytes, if told."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: tuple["TokenLogprob", ...] = ()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer of the ``n`` that were asked for.

    Attributes:
        stop_sequence: Which one it came to.
        logprobs: Of its text; None: not asked for.
        safety: What filters say of it: Gemini's ``safetyRatings``, Azure's ``content_filter_results``.
    """

    parts: tuple[Part, ...]
    finish_reason: FinishReason
    index: int = 0
    stop_sequence: str | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    safety: Json | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a chat request.

    Attributes:
        id: The upstream's; empty: it gave none.
        model: As the upstream calls it; empty: it did not say.
        created: Unix seconds; 0: it did not say.
    """

    choices: tuple[Choice, ...]
    id: str = ""
    model: str = ""
    created: int = 0
    usage: Usage | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class EmbeddingsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Vectors, in the order of the inputs; floats, or base64 of little-endian float32 as it came."""

    vectors: tuple[tuple[float, ...] | str, ...]
    model: str = ""
    usage: Usage | None = None


class TokenCount(msgspec.Struct, frozen=True, kw_only=True):
    """What came of ``count_tokens``."""

    prompt: int
    cached: int | None = None
