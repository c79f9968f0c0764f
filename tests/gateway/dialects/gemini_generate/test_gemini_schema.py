"""Gemini's schemas and JSON Schema; names of functions."""

import json

import msgspec
import pytest

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import names, schema


def standard(value: object) -> object:
    return json.loads(bytes(schema.to_json_schema(msgspec.Raw(json.dumps(value).encode()))))


def subset(value: object) -> object:
    made = schema.to_subset(msgspec.Raw(json.dumps(value).encode()))
    return None if made is None else json.loads(bytes(made))


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": 5, "items": {"type": 3}}, {"type": "array", "items": {"type": "integer"}}),
        ({"type": "TYPE_UNSPECIFIED", "anyOf": [{"type": "NUMBER"}]}, {"anyOf": [{"type": "number"}]}),
        ({"any_of": [{"type": "NUMBER"}], "nullable": True}, {"anyOf": [{"type": "number"}, {"type": "null"}]}),
        ({"type": "STRING", "nullable": True, "enum": ["a"]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "STRING", "maxLength": "5", "min_length": "1"}, {"type": "string", "maxLength": 5, "minLength": 1}),
        ({"type": "STRING", "example": "x", "default": None}, {"type": "string", "examples": ["x"], "default": None}),
        (
            {"type": "object", "$defs": {"a": {"type": "STRING"}}},
            {"type": "object", "$defs": {"a": {"type": "string"}}},
        ),
        ({"properties": {"type": {"type": "STRING"}}}, {"properties": {"type": {"type": "string"}}}),
        (True, True),
    ],
)
def test_to_json_schema(own, wanted):
    assert standard(own) == wanted


def test_the_order_of_properties_is_kept():
    own = {"type": "OBJECT", "properties": {"a": {}, "b": {}, "c": {}}, "propertyOrdering": ["c", "a", "nobody"]}
    assert list(standard(own)["properties"]) == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"type": "string", "format": "uri", "minLength": 1}, {"type": "STRING", "minLength": 1}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"nullable": True, "type": "STRING"}),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]}),
        ({"const": "a"}, {"enum": ["a"], "type": "STRING"}),
        ({"enum": [1, 2], "type": "integer"}, {"type": "INTEGER"}),
        ({"type": "array"}, {"type": "ARRAY", "items": {"type": "STRING"}}),
        (
            {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}}], "title": "t"},
            {"type": "OBJECT", "title": "t", "properties": {"a": {"type": "STRING"}}},
        ),
        ({"type": "object", "properties": {}}, None),
        (
            {
                "type": "object",
                "additionalProperties": False,
                "properties": {"a": {"type": "number", "exclusiveMinimum": 0}},
                "required": ["a", "z"],
            },
            {"type": "OBJECT", "properties": {"a": {"type": "NUMBER"}}, "required": ["a"]},
        ),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, {"type": "STRING"}),
        (True, None),
    ],
)
def test_to_the_subset(value, wanted):
    assert subset(value) == wanted


def test_references_do_not_go_in_circles():
    tree = {"$ref": "#/$defs/t", "$defs": {"t": {"type": "object", "properties": {"n": {"$ref": "#/$defs/t"}}}}}
    assert subset(tree) == {"type": "OBJECT", "properties": {"n": {"type": "OBJECT"}}}


def test_references_do_not_grow_without_bound():
    defs = {
        f"d{n}": {"type": "object", "properties": {m: {"$ref": f"#/$defs/d{n + 1}"} for m in "abcd"}} for n in range(40)
    }
    assert len(json.dumps(subset({"$ref": "#/$defs/d0", "$defs": defs}))) < 1_000_000


def test_depth_is_bounded():
    deep: object = {"type": "string"}
    for _ in range(120):
        deep = {"type": "array", "items": deep}
    assert subset(deep)
    assert standard(deep)


@pytest.mark.parametrize("name", ["f", "_f", "get_weather", "a.b:c-d", "x" * 64])
def test_names_that_fit_stay(name):
    assert names.fitted(name) == name


@pytest.mark.parametrize("name", ["", "1a", "get weather", "x" * 65, "日本", "-a", "a/b"])
def test_names_are_made_to_fit(name):
    import re

    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}", names.fitted(name))


def test_names_that_fit_alike_are_told_apart():
    tools = [exchange.Tool(name=name) for name in ("a b", "a/b", "a_b")]
    tools += [exchange.Tool(name="a_b", namespace=space) for space in ("x", "y")]
    made = names.Names(tools)
    wired = [made.to_wire(tool.name, tool.namespace) for tool in tools]
    assert len(set(wired)) == 5
    assert wired[2] == "a_b"
    assert [(made.of_wire(name).name, made.of_wire(name).namespace) for name in wired] == [
        (tool.name, tool.namespace) for tool in tools
    ]
    assert made.of_wire("unheard").name == "unheard"
