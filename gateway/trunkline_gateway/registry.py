"""Every dialect by its name."""

from collections.abc import Mapping
from typing import Final

from trunkline_gateway.dialect import Codec, Ingress, Upstream
from trunkline_gateway.dialects import (
    anthropic_messages,
    bedrock_converse,
    gemini_embed,
    gemini_generate,
    openai_chat,
    openai_embeddings,
    openai_responses,
)
from trunkline_gateway.exchange import Operation

CODECS: Final[Mapping[str, Codec]] = {
    codec.name: codec
    for codec in (
        openai_chat.CODEC,
        openai_embeddings.CODEC,
        openai_responses.CODEC,
        anthropic_messages.CODEC,
        gemini_generate.CODEC,
        gemini_embed.CODEC,
        bedrock_converse.CODEC,
    )
}

INGRESS: Final[Mapping[tuple[str, Operation], Ingress]] = {
    (codec.name, operation): side for codec in CODECS.values() for operation, side in codec.ingress.items()
}
"""By dialect and operation: what clients may speak."""

UPSTREAM: Final[Mapping[tuple[str, Operation], Upstream]] = {
    (codec.name, operation): side for codec in CODECS.values() for operation, side in codec.upstream.items()
}
"""By dialect and operation: what can be spoken to providers."""
