"""Google's Gemini: embedContent and batchEmbedContents.

https://ai.google.dev/api/embeddings
"""

from typing import Final

from trunkline_gateway.dialect import Codec, Ingress, Upstream
from trunkline_gateway.dialects.gemini_embed import answer, errors, request

CODEC: Final = Codec(
    name="gemini_embed",
    ingress={
        "embeddings": Ingress(
            read_envelope=request.read_envelope,
            decode=request.decode,
            encode=answer.encode,
            render_error=errors.render,
            is_passable=request.is_batch,
        )
    },
    upstream={
        "embeddings": Upstream(
            path="/v1beta/models/{model}:batchEmbedContents",
            encode=request.encode,
            decode=answer.decode,
            read_error=errors.read,
            renamed=request.renamed,
        )
    },
)
