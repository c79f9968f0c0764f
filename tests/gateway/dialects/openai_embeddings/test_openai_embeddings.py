"""Embeddings: read and written on both sides."""

import base64
import contextlib
import json
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_embeddings import CODEC, vectors
from trunkline_gateway.dialects.openai_embeddings.request import QUIRKS
from trunkline_gateway.errors import GatewayError, InvalidRequestError, UpstreamProtocolError
from trunkline_gateway.exchange import EmbeddingsAnswer, EmbeddingsRequest, Usage

ROOT = Path(__file__).parents[4]
CORPUS = ROOT.parent / "shared" / "corpus" / "dev"
# Ollama has embeddings of its own.
RECORDINGS = [path for path in sorted(CORPUS.glob("*.embeddings.*.json")) if not path.name.startswith("ollama.")]
INGRESS, UPSTREAM = CODEC.ingress["embeddings"], CODEC.upstream["embeddings"]
TARGET = Target(model="up")
ASKED = Asked(target=TARGET)
HALF = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()


def decode(**fields: object) -> EmbeddingsRequest:
    return INGRESS.decode(msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw]), "m", False, b"")


@pytest.mark.parametrize(
    ("given_", "inputs", "single"),
    [
        ("a", ("a",), True),
        (["a"], ("a",), False),
        (["a", "b"], ("a", "b"), False),
        ([1, 2], ((1, 2),), True),
        ([[1, 2], [3]], ((1, 2), (3,)), False),
    ],
)
def test_inputs_there_and_back(given_: object, inputs: tuple[object, ...], single: bool) -> None:
    request = decode(model="m", input=given_)
    assert (request.inputs, request.single) == (inputs, single)
    assert json.loads(UPSTREAM.encode(request, TARGET).body) == {"model": "up", "input": given_}


def test_parameters_there_and_back() -> None:
    fields = {"input": "a", "dimensions": 5, "encoding_format": "base64", "user": "u"}
    request = decode(model="m", **fields, odd=1, nothing=None)
    assert request.unsaid == ("odd",)
    encoded = UPSTREAM.encode(request, TARGET)
    assert json.loads(encoded.body) == {"model": "up", **fields}
    assert encoded.lost == ()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", 3]}, "input"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [[1.5]]}, "input"),
        ({"input": [{}]}, "input"),
        ({"input": "a", "dimensions": "x"}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "user": 3}, "user"),
    ],
)
def test_a_wrong_field_is_refused(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        decode(**fields)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("quirk", "request_", "members", "lost"),
    [
        (
            "no_dimensions",
            EmbeddingsRequest(model="m", inputs=("a",), dimensions=5),
            {"dimensions": None},
            ("dimensions",),
        ),
        ("output_dimension", EmbeddingsRequest(model="m", inputs=("a",), dimensions=5), {"output_dimension": 5}, ()),
        (
            "no_encoding_format",
            EmbeddingsRequest(model="m", inputs=("a",), encoding_format="base64"),
            {"encoding_format": None},
            (),
        ),
        ("no_user", EmbeddingsRequest(model="m", inputs=("a",), user="u"), {"user": None}, ("user",)),
    ],
)
def test_quirks(quirk: str, request_: EmbeddingsRequest, members: dict[str, object], lost: tuple[str, ...]) -> None:
    encoded = UPSTREAM.encode(request_, Target(model="m", quirks=frozenset({quirk})))
    body = json.loads(encoded.body)
    assert {name: body.get(name) for name in members} == members
    assert encoded.lost == lost
    assert quirk in QUIRKS


def test_tokens_are_refused_where_they_cannot_be_sent() -> None:
    request = EmbeddingsRequest(model="m", inputs=((1, 2),))
    with pytest.raises(InvalidRequestError):
        UPSTREAM.encode(request, Target(model="m", quirks=frozenset({"no_token_input"})))


def test_what_others_say_of_a_text_is_lost() -> None:
    request = EmbeddingsRequest(model="m", inputs=("a",), task_type="RETRIEVAL_QUERY", title="t")
    assert UPSTREAM.encode(request, TARGET).lost == ("task_type", "title")


def body(*data: object, **more: object) -> bytes:
    return json.dumps({"object": "list", "data": data, "model": "M", **more}).encode()


def test_an_answer_is_read_in_the_order_of_its_numbers() -> None:
    answer = UPSTREAM.decode(
        body(
            {"index": 1, "embedding": HALF},
            {"index": 0, "embedding": [1, 2.5]},
            usage={"prompt_tokens": 3, "total_tokens": 4},
        ),
        ASKED,
    )
    assert answer == EmbeddingsAnswer(vectors=((1.0, 2.5), HALF), model="M", usage=Usage(prompt=3, total=4))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"{}",
        body(),
        body({"embedding": "?"}),
        body({"embedding": "AAA="}),
        body({"embedding": [None]}),
        body({"index": 0}),
        body(error={"message": "m"}),
    ],
)
def test_what_is_no_answer(wrong: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        UPSTREAM.decode(wrong, ASKED)


def test_an_answer_has_a_vector_for_each_input() -> None:
    asked = Asked(target=TARGET, request=EmbeddingsRequest(model="m", inputs=("a", "b")))
    with pytest.raises(UpstreamProtocolError):
        UPSTREAM.decode(body({"embedding": [1.0]}), asked)


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_a_client_gets_the_form_that_it_wants(form: str | None) -> None:
    request = EmbeddingsRequest(model="m", inputs=("a", "b"), encoding_format=form)
    written = INGRESS.encode(EmbeddingsAnswer(vectors=((0.5, -1.0), HALF), usage=Usage(prompt=3)), request).body
    read = json.loads(written)
    expected = HALF if form == "base64" else [0.5, -1.0]
    assert [each["embedding"] for each in read["data"]] == [expected, expected]
    assert (read["model"], read["usage"]) == ("m", {"prompt_tokens": 3, "total_tokens": 3})
    if form != "base64":  # the SDK decodes it before it looks
        CreateEmbeddingResponse.model_validate_json(written, strict=True)


def test_numbers_that_do_not_fit_are_made_to() -> None:
    assert vectors.formatted((1e300,), "base64")
    nan = base64.b64encode(struct.pack("<2f", float("nan"), float("inf"))).decode()
    assert vectors.formatted(nan, "float") == (0.0, 0.0)


@pytest.mark.skipif(not RECORDINGS, reason="the recordings are not here")
@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recordings(path: Path) -> None:
    recording = json.loads(path.read_bytes())
    response, request = recording["response"], (recording.get("request") or {}).get("json")
    raw = json.dumps(response["json"]).encode()
    if response["status"] != 200:
        assert UPSTREAM.read_error(response["status"], raw).message
        return
    answer = UPSTREAM.decode(raw, ASKED)
    assert len(answer.vectors) == len(response["json"]["data"])
    if isinstance(request, dict):
        assert len(decode(**request).inputs) == len(answer.vectors)
    floats = EmbeddingsRequest(model="m", inputs=("a",))
    CreateEmbeddingResponse.model_validate_json(INGRESS.encode(answer, floats).body, strict=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "embedding", "index", "usage", "error", "message"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(JSON, st.binary(max_size=50))
def test_anything_is_read_or_refused(value: object, junk: bytes) -> None:
    raw = json.dumps(value).encode()
    for read in (
        lambda: UPSTREAM.decode(raw, ASKED),
        lambda: UPSTREAM.decode(junk, ASKED),
        lambda: decode(input=value, dimensions=value),
    ):
        with contextlib.suppress(GatewayError):
            assert read()
    assert UPSTREAM.read_error(500, raw).status == 500
    assert UPSTREAM.read_error(200, junk).status >= 400


def test_dialect() -> None:
    assert exchange.EmbeddingsAnswer is EmbeddingsAnswer
    assert INGRESS.stream_encoder is None
    assert INGRESS.read_envelope({"model": msgspec.Raw(b'"m"')}).model == "m"
    error = json.loads(INGRESS.render_error(InvalidRequestError("m", param="p")))["error"]
    assert error == {"message": "m", "type": "invalid_request_error", "param": "p", "code": None}
