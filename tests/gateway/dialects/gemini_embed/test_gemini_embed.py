"""Embeddings of Gemini's, both sides."""

import base64
import contextlib
import json
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.gemini_embed import CODEC

CLIENT, PROVIDER = CODEC.ingress["embeddings"], CODEC.upstream["embeddings"]
RECORDINGS = Path(__file__).resolve().parents[4].parent / "shared" / "corpus" / "dev"
ASKED = Asked(target=Target(model="gemini-embedding-001"))


def decode(body: object) -> exchange.EmbeddingsRequest:
    return CLIENT.decode(msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw]), "m", False, b"")


def content(text: str) -> dict:
    return {"parts": [{"text": text}]}


@pytest.mark.parametrize(
    "said", [content("a"), {"parts": [{"text": ""}, {"text": "a"}]}, {"parts": {"text": "a"}}, "a", {"text": "a"}]
)
def test_one(said):
    assert decode({"content": said, "taskType": "CLUSTERING", "title": "t", "output_dimensionality": "8"}) == (
        exchange.EmbeddingsRequest(
            model="m", inputs=("a",), single=True, dimensions=8, task_type="CLUSTERING", title="t"
        )
    )


def test_several():
    each = {"model": "models/m", "taskType": "CLUSTERING", "embedContentConfig": {"output_dimensionality": 8}}
    request = decode({"requests": [{"content": content(text), **each} for text in "ab"], "foo": 1})
    assert request == exchange.EmbeddingsRequest(
        model="m", inputs=("a", "b"), dimensions=8, task_type="CLUSTERING", unsaid=("foo",)
    )


def test_what_differs_within_a_batch_is_named():
    request = decode({"requests": [{"content": content("a"), "title": "x"}, {"content": content("b"), "title": "y"}]})
    assert (request.title, request.unsaid) == (None, ("requests.title",))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "content"),
        ({"content": {"parts": [{"inlineData": {}}]}}, "content.parts[0]"),
        ({"requests": []}, "requests"),
        ({"requests": 3}, "requests"),
        ({"requests": [3]}, "requests[0]"),
        ({"requests": [{}]}, "requests[0].content"),
        ({"content": "a", "outputDimensionality": "x"}, "outputDimensionality"),
        ({"content": "a", "taskType": 3}, "taskType"),
        ({"content": "a", "embedContentConfig": 3}, "embedContentConfig"),
        ({"requests": [{"content": "a", "outputDimensionality": 3}, {"content": "a"}]}, "requests"),
    ],
)
def test_nonsense_is_refused_by_name(body, param):
    with pytest.raises(errors.InvalidRequestError) as caught:
        decode(body)
    assert caught.value.param == param


def test_an_upstream_is_asked_for_a_batch():
    request = exchange.EmbeddingsRequest(
        model="m",
        inputs=("a", "b"),
        dimensions=8,
        task_type="CLUSTERING",
        title="t",
        user="u",
        encoding_format="base64",
    )
    encoded = PROVIDER.encode(request, ASKED.target)
    said = {"taskType": "CLUSTERING", "title": "t", "outputDimensionality": 8}
    assert json.loads(encoded.body) == {
        "requests": [{"model": "models/gemini-embedding-001", "content": content(text), **said} for text in "ab"]
    }
    assert encoded.lost == ("user",)
    again = decode(json.loads(encoded.body))
    assert (again.inputs, again.dimensions, again.task_type, again.title) == (("a", "b"), 8, "CLUSTERING", "t")


def test_tokens_cannot_be_said():
    with pytest.raises(errors.UnsupportedFeatureError):
        PROVIDER.encode(exchange.EmbeddingsRequest(model="m", inputs=((1, 2),)), ASKED.target)


def test_answers():
    answer = exchange.EmbeddingsAnswer(vectors=((0.5, 1.0),), usage=exchange.Usage(prompt=3))
    single = exchange.EmbeddingsRequest(model="m", inputs=("a",), single=True)
    assert json.loads(CLIENT.encode(answer, single).body) == {
        "embedding": {"values": [0.5, 1.0]},
        "usageMetadata": {"promptTokenCount": 3},
    }
    several = exchange.EmbeddingsRequest(model="m", inputs=("a",))
    packed = exchange.EmbeddingsAnswer(vectors=(base64.b64encode(struct.pack("<2f", 0.5, 1.0)).decode(),))
    assert json.loads(CLIENT.encode(packed, several).body) == {"embeddings": [{"values": [0.5, 1.0]}]}


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"embeddings":[{"values":["x"]}]}', b'{"embeddings":[{"values":[1e999]}]}', b"\xff"]
)
def test_what_is_no_answer_is_refused(body):
    with pytest.raises(errors.UpstreamProtocolError):
        PROVIDER.decode(body, ASKED)


def test_too_few_are_refused():
    request = exchange.EmbeddingsRequest(model="m", inputs=("a", "b"))
    with pytest.raises(errors.UpstreamProtocolError):
        PROVIDER.decode(b'{"embeddings":[{"values":[1]}]}', Asked(target=ASKED.target, request=request))


FILES = sorted([*RECORDINGS.glob("gemini.embed.*.json"), *RECORDINGS.glob("vertex.embed.*.json")])


@pytest.mark.skipif(not FILES, reason="the recordings are not here")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_recordings(path):
    record = json.loads(path.read_text())
    if record["request"]:
        assert all(decode(record["request"]["json"]).inputs)
    response = record["response"]
    body = json.dumps(response["json"]).encode()
    if response["status"] >= 400:
        said = PROVIDER.read_error(response["status"], body)
        assert (said.status, said.type) == (404, "NOT_FOUND")
        return
    answer = PROVIDER.decode(body, ASKED)
    embeddings = response["json"].get("embeddings") or [response["json"]["embedding"]]
    assert [list(vector) for vector in answer.vectors] == [each["values"] for each in embeddings]
    request = exchange.EmbeddingsRequest(
        model="m", inputs=("a",) * len(embeddings), single="embedding" in response["json"]
    )
    again = json.loads(CLIENT.encode(answer, request).body)
    assert {name: again[name] for name in again if name != "usageMetadata"} == {
        name: response["json"][name] for name in response["json"] if name != "usageMetadata"
    }


def test_errors():
    error = errors.InvalidRequestError("bad", param="content")
    made = json.loads(CLIENT.render_error(error))["error"]
    assert (made["code"], made["status"], made["details"][0]["fieldViolations"][0]["field"]) == (
        400,
        "INVALID_ARGUMENT",
        "content",
    )
    said = PROVIDER.read_error(400, CLIENT.render_error(error))
    assert (said.status, said.message, said.type, said.param) == (400, "bad", "INVALID_ARGUMENT", "content")
    assert PROVIDER.read_error(500, b"boom").message == "boom"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["requests", "content", "parts", "text", "taskType", "embeddings", "values"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(
    body=st.dictionaries(st.sampled_from(["requests", "content", "title", "outputDimensionality", "embeddings"]), JSON)
)
def test_any_json_is_read_or_refused(body):
    with contextlib.suppress(errors.InvalidRequestError):
        PROVIDER.encode(decode(body), ASKED.target)
    with contextlib.suppress(errors.UpstreamProtocolError):
        PROVIDER.decode(json.dumps(body).encode(), ASKED)
    assert PROVIDER.read_error(400, json.dumps(body).encode()).message is not None


@settings(deadline=None, max_examples=100)
@given(raw=st.binary(max_size=30))
def test_any_bytes_are_read_or_refused(raw):
    for name in ("requests", "content"):
        try:
            CLIENT.decode({name: msgspec.Raw(raw)}, "m", False, b"")
        except errors.InvalidRequestError:
            continue
    assert isinstance(PROVIDER.read_error(400, raw).message, str)
