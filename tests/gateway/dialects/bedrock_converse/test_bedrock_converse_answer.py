"""Whole answers, counts and errors of Converse."""

import contextlib
import json
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.bedrock_converse import bedrock_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialects.bedrock_converse import blocks
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import Foreign, HostedStep, Seal, Text, ToolCall, Usage


def test_every_reason_to_stop_has_its_word() -> None:
    assert set(blocks.FINISH.values()) <= set(get_args(exchange.FinishReason))
    if wire.SPEC.is_file():
        assert set(wire.shapes()["StopReason"]["enum"]) <= set(blocks.FINISH)


@pytest.mark.parametrize(
    ("reason", "word"),
    [*blocks.FINISH.items(), ("something_new", "other"), (None, "other"), (7, "other"), (["end_turn"], "other")],
)
def test_reasons_to_stop(reason: object, word: str) -> None:
    assert wire.whole([{"text": "a"}], stopReason=reason).choices[0].finish_reason == word


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, Usage(prompt=1, completion=2, total=3)),
        (
            {
                "inputTokens": 3,
                "outputTokens": 2,
                "totalTokens": 25,
                "cacheReadInputTokens": 8,
                "cacheWriteInputTokens": 12,
                "cacheDetails": [{"ttl": "1h", "inputTokens": 7}, {"ttl": "5m", "inputTokens": 5}],
            },
            Usage(prompt=23, completion=2, total=25, cached=8, cache_write=12, cache_write_1h=7),
        ),
        (
            {"inputTokens": 1, "cacheReadInputTokenCount": 2, "cacheDetails": []},
            Usage(prompt=3, cached=2),
        ),
        ({"inputTokens": -1, "outputTokens": "2", "totalTokens": 3.5}, None),
        ({"inputTokens": 1 << 80, "outputTokens": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_counts(counts: object, usage: Usage | None) -> None:
    assert wire.whole([{"text": "a"}], usage=counts).usage == usage


def test_the_tier_and_the_stop_sequence() -> None:
    answer = wire.whole(
        [{"text": "a"}],
        serviceTier={"type": "flex"},
        stopReason="stop_sequence",
        additionalModelResponseFields={"stop_sequence": "END"},
    )
    assert answer.service_tier == "flex"
    assert answer.choices[0].stop_sequence == "END"


def test_arguments_stay_as_they_were_written() -> None:
    body = (
        b'{"output":{"message":{"content":[{"toolUse":{"toolUseId":"t","name":"f",'
        b'"input":{"b": 1.50,  "a":1e400, "b":"\\u00e4"}}}]}},"stopReason":"tool_use"}'
    )
    answer = wire.CHAT.decode(body, wire.asked())
    assert isinstance(answer, exchange.Answer)
    assert answer.choices[0].parts == (ToolCall(id="t", name="f", arguments='{"b": 1.50,  "a":1e400, "b":"\\u00e4"}'),)


def test_half_a_character_does_not_cost_the_answer() -> None:
    text = rb"a\\ud83d \ud83d b \ud83d\ude00 \udc00"
    body = b'{"output":{"message":{"content":[{"text":"' + text + b'"}]}}}'
    answer = wire.CHAT.decode(body, wire.asked())
    assert isinstance(answer, exchange.Answer)
    assert answer.choices[0].parts == (Text(text="a\\ud83d \ufffd b \U0001f600 \ufffd"),)
    (event,) = [
        event
        for event in wire.events_of(wire.frame("contentBlockDelta", b'{"delta":{"text":"' + text + b'"}}'))
        if isinstance(event, exchange.TextDelta)
    ]
    assert event.text == "a\\ud83d \ufffd b \U0001f600 \ufffd"


def test_what_has_no_word_stays_as_it_is() -> None:
    (part,) = wire.whole([{"somethingNew": {"a": 1}}]).choices[0].parts
    assert isinstance(part, Foreign)
    assert (part.dialect, part.kind, json.loads(bytes(part.value))) == (
        "bedrock_converse",
        "somethingNew",
        {"somethingNew": {"a": 1}},
    )


def test_steps_of_bedrocks_own_tools() -> None:
    call = {"toolUseId": "t", "name": "nova_code_interpreter", "input": {"snippet": "1+1"}, "type": "server_tool_use"}
    (step,) = wire.whole([{"toolUse": call}], wire.asked(wire.NOVA)).choices[0].parts
    assert isinstance(step, HostedStep)
    assert (step.tool, step.query, step.id) == ("code_execution", "1+1", "t")
    assert json.loads(bytes(step.value)) == {"toolUse": call}


def test_a_blob_that_is_not_anthropics_text_is_nobodys_to_write_back() -> None:
    (part,) = wire.whole([{"reasoningContent": {"redactedContent": "//8="}}]).choices[0].parts
    assert part == exchange.Reasoning(encrypted=Seal(maker="other", account="acc0unt0", value="//8="))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"output":{}}',
        b'{"output":{"message":[]}}',
        b'{"output":' + b"[" * 100_000,
        b'{"message":"no"}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_answer_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        wire.CHAT.decode(body, wire.asked())


@pytest.mark.parametrize("content", [None, "text", 7, {}, [None, 1, "a", [], {}], [{"text": 7}], [{"toolUse": 7}]])
def test_content_of_a_wrong_kind_is_skipped(content: object) -> None:
    body = json.dumps({"output": {"message": {"content": content}}, "stopReason": "end_turn"}).encode()
    answer = wire.CHAT.decode(body, wire.asked())
    assert isinstance(answer, exchange.Answer)
    assert [part for part in answer.choices[0].parts if isinstance(part, Text)] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
MEMBERS = st.sampled_from(
    ["text", "content", "citations", "reasoningText", "redactedContent", "name", "input", "type", "source", "format"]
)
BLOCK = st.dictionaries(
    st.sampled_from(["text", "citationsContent", "reasoningContent", "toolUse", "toolResult", "image", "video"]),
    st.dictionaries(MEMBERS, st.dictionaries(MEMBERS, JSON, max_size=2) | JSON, max_size=3) | JSON,
    max_size=2,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(BLOCK | JSON, max_size=4), JSON, JSON)
def test_answers_of_roughly_the_right_shape(content: list[object], stop: object, usage: object) -> None:
    answer = wire.whole(content, stopReason=stop, usage=usage, serviceTier=usage)
    exchange.assemble(exchange.events_of(answer))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_refused(body: bytes) -> None:
    for operation in (wire.CHAT, wire.COUNT):
        with contextlib.suppress(UpstreamProtocolError):
            operation.decode(body, wire.asked())


def test_counts_of_tokens() -> None:
    assert wire.COUNT.decode(b'{"inputTokens":11}', wire.asked()) == exchange.TokenCount(prompt=11)
    for body in (b"{}", b'{"inputTokens":-1}', b'{"inputTokens":"1"}', b""):
        with pytest.raises(UpstreamProtocolError):
            wire.COUNT.decode(body, wire.asked())


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"message":"bad"}', (400, "bad", "")),
        (
            403,
            b'{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"no"}',
            (403, "no", "UnrecognizedClientException"),
        ),
        (400, b'{"__type":"ValidationException:http://internal/","message":"x"}', (400, "x", "ValidationException")),
        (424, b'{"__type":"ModelErrorException"}', (424, "ModelErrorException", "ModelErrorException")),
        (200, b'{"__type":"ThrottlingException","message":"x"}', (429, "x", "ThrottlingException")),
        (503, b"<html>gone</html>", (503, "<html>gone</html>", "")),
        (500, b"", (500, "Status 500.", "")),
        (500, b"\xff", (500, "\ufffd", "")),
        (500, b'{"message":7}', (500, "Status 500.", "")),
    ],
)
def test_errors(status: int, body: bytes, expected: tuple[int, str, str]) -> None:
    error = wire.CHAT.read_error(status, body)
    assert (error.status, error.message, error.type) == expected


@settings(deadline=None, max_examples=100)
@given(st.integers(100, 599), st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_error(status: int, body: bytes) -> None:
    assert wire.CHAT.read_error(status, body).message
