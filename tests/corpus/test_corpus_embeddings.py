"""Recorded embeddings and counts of tokens: the same numbers come out of every ingress."""

import base64
import json
import struct
from collections.abc import Mapping, Sequence

import pytest
from google.genai import types as google
from openai.types import CreateEmbeddingResponse

from corpus import codecs_here, recordings
from corpus.recordings import Row
from trunkline_gateway import exchange

_EMBEDDINGS = {"embeddings": "openai_embeddings", "embed": "gemini_embed"}
_NOT_THEIRS = {
    "2a4a03fc1b78890b": "Ollama's own API under the same last word",
    "8a6a2d67775de901": "Perplexity's vectors are bytes and no floats",
    "fc8433d1ef631373": "Perplexity's vectors are bytes and no floats",
}
_COUNTS = {
    "anthropic": "anthropic_messages",
    "gemini": "gemini_generate",
    "vertex": "gemini_generate",
    "bedrock": "bedrock_converse",
}

pytestmark = pytest.mark.skipif(not recordings.rows(), reason=recordings.ABSENT)


def _rows(*endpoints: str) -> Sequence[Row]:
    return [
        row
        for row in recordings.rows()
        if row.endpoint in endpoints and row.status == 200 and row.id not in _NOT_THEIRS
    ]


def _vectors(body: Mapping[str, object]) -> list[list[float]]:
    """As the provider's reference says."""
    if "data" in body:
        return [_floats(each["embedding"]) for each in body["data"]]
    if "embedding" in body:
        return [body["embedding"]["values"]]
    return [each["values"] for each in body["embeddings"]]


def _floats(vector: object) -> list[float]:
    if isinstance(vector, str):
        raw = base64.b64decode(vector)
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    assert isinstance(vector, list)
    return vector


def _near(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]]) -> bool:
    """Equal as 32-bit floats, which all of them are made of."""
    return [struct.pack(f"<{len(each)}f", *each) for each in left] == [
        struct.pack(f"<{len(each)}f", *each) for each in right
    ]


@pytest.mark.parametrize("encoding_format", ["float", "base64", None])
@pytest.mark.parametrize("row", _rows("embeddings", "embed"), ids=str)
def test_recorded_vectors_survive(row: Row, encoding_format: str | None) -> None:
    recording = recordings.load(row)
    assert recording.body is not None
    body = json.loads(recording.body)
    want = _vectors(body)
    upstream = codecs_here.codec(_EMBEDDINGS[row.endpoint]).upstream["embeddings"]
    inputs = tuple(f"input {number}" for number in range(len(want)))
    request = exchange.EmbeddingsRequest(model="model", inputs=inputs, encoding_format=encoding_format)
    asked = codecs_here.Asked(target=codecs_here.target(row.provider), request=request)
    answer = upstream.decode(recording.body, asked)
    assert isinstance(answer, exchange.EmbeddingsAnswer)
    usage = body.get("usage") or {}
    if usage.get("prompt_tokens"):
        assert answer.usage is not None
        assert answer.usage.prompt == usage["prompt_tokens"]
    openai = codecs_here.codec("openai_embeddings").ingress["embeddings"].encode(answer, request)
    parsed = CreateEmbeddingResponse.construct(**json.loads(openai.body))
    assert isinstance(parsed.usage.prompt_tokens, int)
    assert [each.index for each in parsed.data] == list(range(len(want)))
    assert _near([_floats(each.embedding) for each in parsed.data], want)
    assert all(isinstance(each.embedding, str) == (encoding_format == "base64") for each in parsed.data)
    if encoding_format != "base64":
        CreateEmbeddingResponse.model_validate_json(openai.body, strict=True)


def test_a_client_of_gemini_reads_the_vectors_of_others() -> None:
    codec = codecs_here.codec("gemini_embed")
    if "embeddings" not in codec.ingress:
        pytest.skip("no client speaks it here")
    answer = exchange.EmbeddingsAnswer(vectors=((0.5, 0.25),), model="model")
    request = exchange.EmbeddingsRequest(model="model", inputs=("hello",), single=True)
    body = json.loads(codec.ingress["embeddings"].encode(answer, request).body)
    google.ContentEmbedding.model_validate(body["embedding"])


@pytest.mark.parametrize("row", _rows("count_tokens"), ids=str)
def test_recorded_counts_are_read(row: Row) -> None:
    recording = recordings.load(row)
    assert recording.body is not None
    body = json.loads(recording.body)
    want = body.get("input_tokens", body.get("totalTokens", body.get("inputTokens")))
    upstream = codecs_here.codec(_COUNTS[row.provider]).upstream["count_tokens"]
    count = upstream.decode(recording.body, codecs_here.asked())
    assert isinstance(count, exchange.TokenCount)
    assert count.prompt == want
    for dialect in ("anthropic_messages", "gemini_generate"):
        side = codecs_here.codec(dialect).ingress.get("count_tokens")
        if side is not None:
            written = json.loads(side.encode(count, codecs_here.plain_request(dialect, False)).body)
            assert want in (written.get("input_tokens"), written.get("totalTokens"))
