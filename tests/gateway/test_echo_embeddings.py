"""The provider `echo`: embeddings, and instances of JSON schemas."""

import array
import base64
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.echo import schema
from trunkline_gateway.upstream.echo.client import EchoClient


async def embed(given, **fields):
    body = json.dumps({"model": "echo", "input": given, **fields}).encode()
    request = Request(RequestHead(Endpoint("", in_process=True), "POST", "/embeddings", []), body, Timeouts())
    response = await EchoClient(clock=lambda: 0.0).send(request)
    return response.status, await response.read()


async def vectors(given, **fields):
    status, body = await embed(given, **fields)
    assert status == 200, body
    if fields.get("encoding_format") == "base64":
        decoded = json.loads(body)
        for row in decoded["data"]:
            row["embedding"] = array.array("f", base64.b64decode(row["embedding"])).tolist()
        body = json.dumps(decoded).encode()
    answer = CreateEmbeddingResponse.model_validate_json(body, strict=True)
    assert not answer.model_extra
    assert answer.usage.prompt_tokens == answer.usage.total_tokens
    assert [row.index for row in answer.data] == list(range(len(answer.data)))
    return [row.embedding for row in answer.data], answer.usage.prompt_tokens


async def test_vectors_are_units_and_depend_on_the_text_alone():
    (a, b, again), tokens = await vectors(["one two", "three", "one two"])
    assert a == again != b
    assert tokens == 5
    assert math.hypot(*a) == pytest.approx(1, abs=1e-6)
    assert len(a) == 256
    assert (await vectors("one two"))[0] == [a]


async def test_both_encodings_say_the_same():
    assert await vectors("text") == await vectors("text", encoding_format="base64")


@pytest.mark.parametrize("dimensions", [1, 3, 1536, 4096])
async def test_dimensions_are_obeyed(dimensions):
    (vector,), _ = await vectors("text", dimensions=dimensions)
    assert len(vector) == dimensions
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


async def test_token_ids_are_taken():
    (one,), tokens = await vectors([1, 2, 3])
    assert tokens == 3
    (first, second), tokens = await vectors([[1, 2, 3], [4]])
    assert (first == one, second == one, tokens) == (True, False, 4)


@pytest.mark.parametrize(
    ("given", "fields"),
    [
        *((given, {}) for given in ("", [], [""], [[]], ["a", 1], None, {}, ["a"] * 2049)),
        *(("a", {"dimensions": dimensions}) for dimensions in (0, 10**6)),
        ("a", {"encoding_format": "hex"}),
        (["a"] * 2000, {"dimensions": 4096}),
    ],
)
async def test_bad_input_is_named(given, fields):
    status, body = await embed(given, **fields)
    error = json.loads(body)["error"]
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == next(iter(fields), "input") or error["param"] == "input"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, None),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "null"}, "b": {}}, "required": ["a"]}, {"a": None}),
        ({"type": "object", "required": ["undescribed"]}, {"undescribed": "echo"}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": "array", "items": {"type": "boolean"}}, []),
        ({"type": ["string", "null"]}, "echo"),
        ({"type": "string", "minLength": 6}, "echo.."),
        ({"type": "string", "maxLength": 2}, "ec"),
        ({"type": "string", "maxLength": 0}, ""),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "string", "enum": ["x", "y"]}, "x"),
        ({"const": {"k": 1}}, {"k": 1}),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 2.5}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -2.5}, -3),
        ({"type": "integer", "exclusiveMaximum": 0}, -1),
        ({"type": "integer", "minimum": 7, "multipleOf": 5}, 10),
        ({"type": "number", "minimum": 0.25}, 0.25),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, False),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object"}]}, {"a": 1}),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 5}}}, 5),
        ({"$ref": "#/$defs/none"}, None),
        ({"$ref": "https://example.com/x"}, None),
    ],
)
def test_a_schema_has_a_least_instance(wanted, expected):
    assert schema.instance(wanted) == expected


def test_a_schema_that_refers_to_itself_comes_to_an_end():
    node = {
        "type": "object",
        "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["next"],
    }
    value, depth = schema.instance(node), 0
    while value is not None:
        value, depth = value["next"], depth + 1
    assert depth < 10
    schema.instance({"$ref": "#"})
    schema.instance({"type": "array", "items": {"$ref": "#"}, "minItems": 10**9})
    assert len(schema.instance({"type": "string", "minLength": 10**12})) <= 1024


LEAVES = ["type", "enum", "const", "minimum", "exclusiveMaximum", "multipleOf", "minLength", "$ref"]
NODES = ["items", "anyOf", "allOf", "properties", "required", "minItems"]
VALUES = st.none() | st.integers() | st.floats() | st.sampled_from(["object", "number", "integer", "#", ""])
SCHEMAS = st.recursive(
    st.dictionaries(st.sampled_from(LEAVES), VALUES | st.lists(st.none())),
    lambda inner: st.dictionaries(
        st.sampled_from(NODES),
        inner | st.lists(inner) | st.dictionaries(st.text(max_size=3), inner) | st.integers(),
    ),
)


@given(SCHEMAS)
@settings(max_examples=100, deadline=None)
def test_no_schema_does_harm(wanted):
    json.dumps(schema.instance(wanted))
