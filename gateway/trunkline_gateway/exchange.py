"""What is said about a request and its answer in words of no vendor: the operation, and the tokens it took."""

from typing import Literal, TypeAlias

import msgspec

Operation: TypeAlias = Literal["chat", "embeddings"]
"""What the caller wants done, whatever the dialect."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the upstream counted them; None where it did not say. Never an estimate.

    Attributes:
        prompt: Input tokens, cached ones included.
        completion: Output tokens, reasoning included.
        total: As reported, which need not be the sum.
        cached: The part of ``prompt`` that was read from a cache.
        reasoning: The part of ``completion`` that was reasoning.
    """

    prompt: int | None = None
    completion: int | None = None
    total: int | None = None
    cached: int | None = None
    reasoning: int | None = None
