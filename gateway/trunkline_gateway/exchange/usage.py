"""The tokens of an exchange, counted one way whatever the dialect."""

import msgspec


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the upstream counted them; None where it did not say. Never an estimate.

    OpenAI counts cached tokens within its prompt, Anthropic beside it: here they are always within, so that a cost
    is the same whichever dialect it was read from.

    Attributes:
        prompt: Input tokens; those read from and written to a cache included.
        completion: Output tokens, reasoning included.
        total: As reported, which need not be the sum.
        cached: The part of ``prompt`` that was read from a cache.
        cache_write: The part of ``prompt`` that was written to a cache, for however long.
        cache_write_1h: The part of ``cache_write`` that is kept for an hour.
        reasoning: The part of ``completion`` that was reasoning.
        audio_prompt: The part of ``prompt`` that was audio.
        audio_completion: The part of ``completion`` that was audio.
        tool_prompt: The part of ``prompt`` that is results of the provider's own tools (Gemini counts it apart).
    """

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_prompt: int | None = None
    audio_completion: int | None = None
    tool_prompt: int | None = None
