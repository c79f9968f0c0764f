"""Embeddings, read from an upstream and written for a client.

https://platform.openai.com/docs/api-reference/embeddings/object
"""

from typing import Annotated, Final, TypeAlias

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Encoded
from trunkline_gateway.dialects.openai_embeddings import errors, vectors
from trunkline_gateway.errors import UpstreamProtocolError

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0)] | None


class _WireEmbedding(msgspec.Struct, gc=False):
    embedding: tuple[float, ...] | str
    index: int | None = None


class _WireUsage(msgspec.Struct, gc=False):
    prompt_tokens: _Count = None
    total_tokens: _Count = None


class _WireAnswer(msgspec.Struct):
    data: list[_WireEmbedding] = []
    model: object = None
    usage: object = None
    error: object = None


_decoder: Final = msgspec.json.Decoder(_WireAnswer)
_encoder: Final = msgspec.json.Encoder()


def decode(body: bytes, asked: Asked) -> exchange.EmbeddingsAnswer:
    """Read an answer.

    Raises:
        UpstreamProtocolError: It is none, or not one for what was asked; or an error that came with a status of
            success, and then its ``status`` is what that would have been.
    """
    try:
        answer = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as failure:
        raise UpstreamProtocolError("The upstream's answer is not a list of embeddings.") from failure
    if answer.error and not answer.data:
        status = errors.read(0, body).status
        raise UpstreamProtocolError("The upstream answered with an error in place of an answer.", status=status)
    if not answer.data:
        raise UpstreamProtocolError("The upstream's answer has no embeddings.")
    # Sorting is stable: where there are no numbers the order is that of the answer.
    data = sorted(answer.data, key=lambda each: -1 if each.index is None else each.index)
    if any(isinstance(each.embedding, str) and not vectors.is_base64(each.embedding) for each in data):
        raise UpstreamProtocolError("An embedding of the upstream's answer is neither numbers nor base64.")
    if isinstance(asked.request, exchange.EmbeddingsRequest) and len(data) != len(asked.request.inputs):
        raise UpstreamProtocolError("The upstream's answer has another number of embeddings than inputs were sent.")
    return exchange.EmbeddingsAnswer(
        vectors=tuple(each.embedding for each in data),
        model=answer.model if isinstance(answer.model, str) else "",
        usage=_usage(answer.usage),
    )


def encode(
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, request: exchange.Request
) -> Encoded:
    """Write an answer, its vectors in the form that was asked for."""
    if not isinstance(answer, exchange.EmbeddingsAnswer) or not isinstance(request, exchange.EmbeddingsRequest):
        raise TypeError("an answer of embeddings is wanted")
    form = request.encoding_format or "float"
    counts = answer.usage or exchange.Usage()
    prompt = counts.prompt or 0
    body = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vectors.formatted(vector, form)}
            for index, vector in enumerate(answer.vectors)
        ],
        "model": answer.model or request.model,
        "usage": {"prompt_tokens": prompt, "total_tokens": prompt if counts.total is None else counts.total},
    }
    return Encoded(_encoder.encode(body))


def _usage(value: object) -> exchange.Usage | None:
    try:
        wire = msgspec.convert(value, _WireUsage)
    except msgspec.ValidationError:
        return None
    if wire.prompt_tokens is None and wire.total_tokens is None:
        return None
    return exchange.Usage(prompt=wire.prompt_tokens, total=wire.total_tokens)
