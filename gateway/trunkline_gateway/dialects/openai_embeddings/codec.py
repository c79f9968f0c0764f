"""Both sides of the dialect, put together."""

from typing import Final

from trunkline_gateway import dialect
from trunkline_gateway.dialects.openai_embeddings import answer, errors, request

CODEC: Final = dialect.Codec(
    name="openai_embeddings",
    ingress={
        "embeddings": dialect.Ingress(
            read_envelope=request.read_envelope,
            decode=request.decode,
            encode=answer.encode,
            render_error=errors.render,
        )
    },
    upstream={
        "embeddings": dialect.Upstream(
            path="/embeddings",
            encode=request.encode,
            decode=answer.decode,
            read_error=errors.read,
            parameters={"dimensions": "/dimensions", "encoding_format": "/encoding_format", "user": "/user"},
        )
    },
)
"""What `dialect.Codec` says, for OpenAI's embeddings and all that speak them."""
