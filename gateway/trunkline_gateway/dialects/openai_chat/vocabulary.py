"""The words of chat completions and their neutral counterparts, each way as a total table."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trunkline_gateway.exchange import FinishReason, Maker

DIALECT: Final = "openai_chat"

FINISH_TO_WIRE: Final[Mapping[FinishReason, str]] = MappingProxyType(
    {
        "stop": "stop",
        "stop_sequence": "stop",
        "length": "length",
        "context_window": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
        "refusal": "content_filter",
        # The turn is not complete; this is the only word that says so.
        "pause": "length",
        "malformed_tool_call": "stop",
        "other": "stop",
    }
)
"""Clients know five words; the fifth, ``function_call``, is for those that sent ``functions``."""

FINISH_OF_WIRE: Final[Mapping[str, FinishReason]] = MappingProxyType(
    {
        "stop": "stop",
        "end_turn": "stop",
        "complete": "stop",
        "completed": "stop",
        "eos": "stop",  # Together
        "eos_token": "stop",  # TGI
        "end": "stop",
        "stop_sequence": "stop_sequence",
        "length": "length",
        "max_tokens": "length",
        "max_output_tokens": "length",
        "incomplete": "length",
        "model_length": "context_window",  # Mistral
        "model_context_window_exceeded": "context_window",
        "tool_calls": "tool_calls",
        "tool_call": "tool_calls",
        "tool_use": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
        "content_filtered": "content_filter",
        "safety": "content_filter",
        "sensitive": "content_filter",  # Zhipu
        "recitation": "content_filter",
        "prohibited_content": "content_filter",
        "blocklist": "content_filter",
        "refusal": "refusal",
        "pause_turn": "pause",
        "malformed_function_call": "malformed_tool_call",
        "insufficient_system_resource": "other",  # DeepSeek
        "abort": "other",
        "unknown": "other",
    }
)
"""What upstreams of the field say, in lower case. What is not here is ``other``."""

ENDS_WITH_CALLS: Final = frozenset({"stop", "other"})
"""Reasons that upstreams give although the model wants tools to be run: OpenAI itself after a named tool choice."""

MAKER_OF_FORMAT: Final[Mapping[str, Maker]] = MappingProxyType(
    {
        "openai-responses-v1": "openai",
        "azure-openai-responses-v1": "openai",
        "anthropic-claude-v1": "anthropic",
        "google-gemini-v1": "google",
    }
)
"""``format`` of a reasoning detail. https://openrouter.ai/docs/use-cases/reasoning-tokens"""

FORMAT_OF_MAKER: Final[Mapping[Maker, str]] = MappingProxyType(
    {
        "openai": "openai-responses-v1",
        "anthropic": "anthropic-claude-v1",
        "google": "google-gemini-v1",
        "other": "unknown",
    }
)

AUDIO_FORMATS: Final[Mapping[str, str]] = MappingProxyType(
    {"audio/mpeg": "mp3", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav", "audio/mp4": "m4a"}
)
"""Media types whose ``format`` is not simply what follows the slash."""


def finish_of(word: str | None, has_calls: bool) -> FinishReason:
    """Why a choice ended, by the upstream's word for it."""
    reason = FINISH_OF_WIRE.get((word or "").lower(), "other")
    return "tool_calls" if has_calls and reason in ENDS_WITH_CALLS else reason


def audio_format(media_type: str | None) -> str:
    """``format`` of a media type; ``wav`` where nothing is known."""
    if not media_type:
        return "wav"
    return AUDIO_FORMATS.get(media_type) or media_type.rpartition("/")[2]
