"""JSON that is too deep is cut off, and everything else is left as it is."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import world as gen
from trunkline_operator import shallow
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.memo import Memo
from trunkline_operator.watch.world import Ref, World

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=30,
)


def nested(depth: int, opening: str = "[", closing: str = "]") -> str:
    return opening * depth + closing * depth


def depth_of(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_what_is_not_deep_stays_as_it_is(value: Any) -> None:
    text = json.dumps(value)
    assert shallow.flattened(text.encode()) == text.encode()
    assert shallow.loads(text) == shallow.decode(text.encode()) == value


@pytest.mark.parametrize("depth", [101, 500, 1_000, 10_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_what_is_deep_is_cut(depth: int, opening: str, closing: str) -> None:
    inner = nested(depth, opening, closing) if opening == "[" else opening * depth + "1" + closing * depth
    text = f'{{"before":[1,{{}}],"deep":{inner},"deep2":[{inner},2],"after":"x"}}'
    for decoded in (shallow.loads(text), msgspec.json.decode(shallow.flattened(text.encode()))):
        assert (decoded["before"], decoded["after"], decoded["deep2"][1]) == ([1, {}], "x", 2)
        assert depth_of(decoded) == shallow.MAX_DOCUMENT_DEPTH + 1
    shallow.decode(text.encode())


def test_brackets_in_strings_are_letters() -> None:
    value = {"a": "[" * 500, 'b"\\{': ["\\", '"' + "{" * 500], "c": '\\"[['}
    text = json.dumps(value)
    assert shallow.loads(text) == value
    deep = f"[{text},{nested(300)},{text}]"
    decoded = shallow.loads(deep)
    assert (decoded[0], decoded[2]) == (value, value)


def test_what_is_no_json_is_refused_as_such() -> None:
    for text in ("", "[", "[" * 5_000, '{"a":', "]" * 300, '"' + "[" * 300):
        with pytest.raises(msgspec.DecodeError):
            shallow.decode(text.encode())
        with pytest.raises(json.JSONDecodeError):
            shallow.loads(text)


def test_cutting_takes_linear_time() -> None:
    started = time.process_time()
    shallow.flattened(("[" * 9_000 + "]" * 9_000 + ",").encode() * 100)
    shallow.flattened(b'"' + b"\\" * 1_000_000)
    assert time.process_time() - started < 3


def spec(depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return {"targets": [gen.target(parameters={"defaults": {"/a": value}})], "models": ["kept"]}


def test_a_spec_is_the_same_object_unless_it_is_deep() -> None:
    flat = spec(10)
    assert shallow.shallow(flat) is flat
    assert depth_of(shallow.shallow(spec(5_000))) <= shallow.MAX_DEPTH + 1


@pytest.mark.parametrize("depth", [40, 100, 900, 20_000])
def test_a_deep_object_is_invalid_keeps_its_names_and_takes_nothing_down(depth: int) -> None:
    world, memo = World(), Memo()
    for revision in (1, 2):  # again, with new objects that are equal
        world.put(gen.group("deep", revision=revision, **spec(depth)))
        world.put(gen.group("fine", revision=revision))
        verdicts = compile_world(world, memo).verdicts
        deep = verdicts[Ref("ModelGroup", "team", "deep")]
        assert (deep.accepted.reason, deep.held) == ("Invalid", True)
        assert "nested deeper than 32" in deep.accepted.message
        assert verdicts[Ref("ModelGroup", "team", "fine")].accepted.ok
