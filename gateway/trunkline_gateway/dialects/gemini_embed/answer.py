"""Embeddings, read and written.

https://ai.google.dev/api/embeddings#response-body
"""

import base64
import binascii
import struct
from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Encoded
from trunkline_gateway.errors import UpstreamProtocolError

_FLOAT_BYTES: Final = 4


class _WireEmbedding(msgspec.Struct):
    values: tuple[float, ...]


class _WireAnswer(msgspec.Struct):
    """The answer to either question."""

    embeddings: list[_WireEmbedding] | None = None
    embedding: _WireEmbedding | None = None
    usageMetadata: msgspec.Raw = msgspec.Raw()  # noqa: N815  # the provider's name


_decoder: Final = msgspec.json.Decoder(_WireAnswer)
_encoder: Final = msgspec.json.Encoder()


def decode(body: bytes, asked: Asked) -> exchange.EmbeddingsAnswer:
    """Read a BatchEmbedContentsResponse or an EmbedContentResponse.

    Raises:
        UpstreamProtocolError: It is neither, or has another number of vectors than were asked for.
    """
    try:
        wire = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise UpstreamProtocolError("The upstream's answer holds no embeddings.") from None
    embeddings = wire.embeddings if wire.embedding is None else [wire.embedding]
    if embeddings is None:
        raise UpstreamProtocolError("The upstream's answer holds no embeddings.")
    if isinstance(asked.request, exchange.EmbeddingsRequest) and len(asked.request.inputs) != len(embeddings):
        raise UpstreamProtocolError("The upstream answered with another number of embeddings than it was asked for.")
    return exchange.EmbeddingsAnswer(
        vectors=tuple(each.values for each in embeddings), model=asked.target.model, usage=_usage(wire.usageMetadata)
    )


def encode(
    answer: exchange.Answer | exchange.EmbeddingsAnswer | exchange.TokenCount, request: exchange.Request
) -> Encoded:
    """Write an EmbedContentResponse for who asked for one, else a BatchEmbedContentsResponse."""
    if not isinstance(answer, exchange.EmbeddingsAnswer):
        raise TypeError("chat is answered by gemini_generate")
    vectors = [{"values": _floats(each)} for each in answer.vectors]
    single = isinstance(request, exchange.EmbeddingsRequest) and request.single and len(vectors) == 1
    body: dict[str, object] = {"embedding": vectors[0]} if single else {"embeddings": vectors}
    if answer.usage is not None and answer.usage.prompt is not None:
        body["usageMetadata"] = {"promptTokenCount": answer.usage.prompt}
    return Encoded(_encoder.encode(body))


def _floats(vector: tuple[float, ...] | str) -> tuple[float, ...]:
    """Numbers, which is all that Gemini knows; of base64 those that it stands for."""
    if not isinstance(vector, str):
        return vector
    try:
        raw = base64.b64decode(vector, validate=True)
    except (binascii.Error, ValueError):
        raise UpstreamProtocolError("The upstream's embedding is not base64.") from None
    count = len(raw) // _FLOAT_BYTES
    return struct.unpack(f"<{count}f", raw[: count * _FLOAT_BYTES])


def _usage(raw: msgspec.Raw) -> exchange.Usage | None:
    try:
        value = msgspec.json.decode(raw) if bytes(raw) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    count = value.get("promptTokenCount") if isinstance(value, Mapping) else None
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        return None
    return exchange.Usage(prompt=count, total=count)
