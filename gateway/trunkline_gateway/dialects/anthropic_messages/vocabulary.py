"""Words of the Messages API and what they are in the exchange: tables, total by test.

https://docs.anthropic.com/en/api/messages, https://docs.anthropic.com/en/api/errors
"""

from collections.abc import Mapping
from typing import Final

from trunkline_gateway.exchange import FinishReason

DIALECT: Final = "anthropic_messages"

FINISH: Final[Mapping[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "context_window",
    "tool_use": "tool_calls",
    "pause_turn": "pause",
    "compaction": "pause",  # the context was summed up, and the turn is to be continued
    "refusal": "refusal",
}
"""``stop_reason``; what is not in here is ``other``."""

STOP_REASON: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "context_window": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
    "pause": "pause_turn",
    "malformed_tool_call": "end_turn",
    "other": "end_turn",
}

ERROR_STATUS: Final[Mapping[str, int]] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that an error's type stands for where HTTP said 200."""

ERROR_TYPE: Final[Mapping[int, str]] = {
    **{status: word for word, status in ERROR_STATUS.items()},
    408: "timeout_error",
    503: "overloaded_error",
}
"""The other way round; other statuses of the client are ``invalid_request_error``, others ``api_error``."""

SERVICE_TIERS: Final = frozenset({"standard", "priority", "batch"})
"""Of ``usage.service_tier``."""

IMAGE_TYPES: Final = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

# Longest prefix first: a tool's type is a family and a date.
_HOSTED: Final[tuple[tuple[str, str], ...]] = (
    ("bash_code_execution", "code_execution"),
    ("text_editor_code_execution", "code_execution"),
    ("code_execution", "code_execution"),
    ("web_search", "web_search"),
    ("web_fetch", "web_fetch"),
    ("computer", "computer"),
    ("text_editor", "text_editor"),
    ("str_replace_based_edit_tool", "text_editor"),
    ("bash", "bash"),
    ("memory", "memory"),
    ("mcp", "mcp"),
)


def hosted_kind(word: str) -> str:
    """The neutral word for a hosted tool's type, name or block type; the word itself where there is none."""
    for prefix, kind in _HOSTED:
        if word.startswith(prefix):
            return kind
    return word.removesuffix("_tool_result")
