"""Streams from the API, block by block, with what is not as it should be."""

import json

import pytest

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import (
    Answer,
    Choice,
    End,
    Failed,
    Foreign,
    HostedStep,
    Progress,
    Reasoning,
    Seal,
    Start,
    Text,
    ToolCall,
    Usage,
    losses,
)


def _answer(*parts: exchange.Part, reason: exchange.FinishReason = "stop", **fields: object) -> Answer:
    choice = Choice(parts=parts, finish_reason=reason)
    return Answer(choices=(choice,), id="msg_1", model="claude", **fields)  # type: ignore[arg-type]


def _both(answer: Answer) -> tuple[dict[str, object], set[str]]:
    """What the official SDK makes of it, whole and streamed, which is the same; and what is lost."""
    whole = wire.CHAT_IN.encode(answer, wire.chat())
    streamed, lost = wire.write(exchange.events_of(answer))
    said = wire.message(whole.body)
    assert wire.accumulated(streamed) == said
    assert set(lost) == set(whole.lost) <= set(losses.FEATURES)
    assert wire.write(exchange.events_of(answer), pieces=1000)[0] == streamed
    return said, set(lost)


@pytest.mark.parametrize(
    ("events", "part"),
    [
        (wire.block(0, {"type": "text", "text": "a"}, {"type": "text_delta", "text": "b"}), Text(text="ab")),
        (
            wire.block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
            Reasoning(text="hm"),
        ),
        (
            wire.block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "signature_delta", "signature": "EqQ"},
            ),
            Reasoning(signature=Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")),
        ),
        (
            wire.block(0, {"type": "redacted_thinking", "data": "Em"}),
            Reasoning(encrypted=Seal(maker="anthropic", account=wire.ACCOUNT, value="Em")),
        ),
        (
            wire.block(
                0,
                {"type": "tool_use", "id": "t", "name": "f", "input": {}},
                wire.json_delta(""),
                wire.json_delta('{"a"'),
                wire.json_delta(":1}"),
            ),
            ToolCall(id="t", name="f", arguments='{"a":1}'),
        ),
        (
            wire.block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, wire.json_delta("")),
            ToolCall(id="t", name="f", arguments="{}"),
        ),
        (
            wire.block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}),
            ToolCall(id="t", name="f", arguments='{"a": 1}'),
        ),
        (wire.block(0, {"type": "tool_use", "name": "f"}), ToolCall(id="call_s33d0", name="f", arguments="{}")),
        (
            wire.block(0, {"type": "tool_use", "id": None, "name": 1, "input": "x"}),
            ToolCall(id="call_s33d0", name="", arguments="{}"),
        ),
        (
            wire.block(
                0,
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                wire.json_delta('{"query":'),
                wire.json_delta('"q"}'),
            ),
            HostedStep(
                tool="web_search",
                dialect="anthropic_messages",
                value=wire.raw({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}),
                id="s",
                query="q",
            ),
        ),
        (
            wire.block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "sum"}),
            Foreign(
                dialect="anthropic_messages",
                kind="compaction",
                value=wire.raw({"type": "compaction", "content": "sum"}),
            ),
        ),
        (
            [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "nobody began it"}}],
            Text(text="nobody began it"),
        ),
        (wire.block(0, {"type": "text"}, {"type": "text_delta", "text": None}, {"type": "new_delta"}), Text(text="")),
    ],
)
def test_each_block_of_a_stream(events: list[dict[str, object]], part: exchange.Part) -> None:
    answer = exchange.assemble(wire.read(wire.streamed(events)))
    assert wire.plain(answer.choices[0].parts) == wire.plain((part,))
    assert answer.usage == Usage(prompt=3, completion=9)
    assert (answer.id, answer.model) == ("m1", "c")


def test_what_is_held_shows_signs_of_life() -> None:
    events = wire.block(
        0, {"type": "server_tool_use", "id": "s", "name": "bash_code_execution"}, *[wire.json_delta(" ")] * 3
    )
    found = wire.read(wire.stream_of([wire.START, *events]))
    assert sum(isinstance(event, Progress) for event in found) == 4


def test_text_on_the_number_of_a_call_is_not_given_up() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    stream = wire.streamed(wire.block(0, call, wire.json_delta("{}"), {"type": "text_delta", "text": "then"}))
    parts = exchange.assemble(wire.read(stream)).choices[0].parts
    assert parts == (ToolCall(id="t", name="f", arguments="{}"), Text(text="then"))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("pause_turn", "pause"),
        ("compaction", "pause"),
        ("model_context_window_exceeded", "context_window"),
        ("new", "other"),
    ],
)
def test_reasons_of_the_api(said: str, reason: str) -> None:
    body = {"type": "message", "content": [], "stop_reason": said}
    answer = wire.CHAT_UP.decode(json.dumps(body).encode(), wire.asked())
    assert isinstance(answer, Answer)
    assert answer.choices[0].finish_reason == reason


def test_an_end_without_message_stop_counts_if_the_reason_came() -> None:
    events = [wire.START, *wire.block(0, {"type": "text", "text": "a"})]
    assert isinstance(wire.read(wire.stream_of([*events, wire.STOPS[0]]))[-1], End)
    assert not any(isinstance(event, End) for event in wire.read(wire.stream_of(events)))
    assert isinstance(wire.read(wire.stream_of([*events, wire.STOPS[1]]))[-1], End)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, 529),
        ({"type": "rate_limit_error", "message": "slow"}, 429),
        ({"type": "invalid_request_error", "message": "long"}, 400),
        ({"type": "something_new", "message": "m"}, 500),
        ({"message": "m"}, 500),
    ],
)
def test_an_error_within_a_stream(error: dict[str, str], status: int) -> None:
    payload = json.dumps({"type": "error", "error": error}).encode() + b"      "
    found = wire.read(
        wire.stream_of([wire.START]) + b"event: error\ndata: " + payload + b"\n\n" + wire.stream_of(wire.STOPS)
    )
    assert found[-1] == Failed(status=status, message=error["message"], type=error.get("type", ""))
    first = wire.read(b"event: error\ndata: " + payload + b"\n\n")
    assert first == [found[-1]]


def test_pings_and_new_events_are_signs_of_life() -> None:
    found = wire.read(wire.stream_of([{"type": "ping"}, wire.START, {"type": "ping"}, {"type": "brand_new", "x": 1}]))
    assert [type(event) for event in found] == [Progress, Start, Progress, Progress]


@pytest.mark.parametrize("data", ["{}", "no json", '{"choices":[]}', "[DONE]", "[1]", "null", "\\u"])
def test_what_is_not_the_dialect_is_said_before_it_began_and_skipped_after(data: str) -> None:
    stream = f"data: {data}\n\n".encode()
    with pytest.raises(errors.UpstreamProtocolError):
        wire.read(stream)
    parts = (
        exchange.assemble(wire.read(wire.stream_of([wire.START]) + stream + wire.stream_of(wire.STOPS)))
        .choices[0]
        .parts
    )
    assert parts == ()


def test_half_a_character_becomes_a_mark() -> None:
    frame = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
    stream = wire.stream_of([wire.START]) + frame % b"a\\ud83d \\\\ud83d \\ud83d\\ude00" + frame % b"\xff"
    answer = exchange.assemble(wire.read(stream + wire.stream_of(wire.STOPS)))
    assert answer.choices[0].parts == (Text(text="a\ufffd \\ud83d 😀\ufffd"),)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b"null", b"<html>", b'{"content":null}', b'{"content":{}}', b'{"type":"error","error":{}}'],
)
def test_what_is_no_message(body: bytes) -> None:
    with pytest.raises(errors.UpstreamProtocolError):
        wire.CHAT_UP.decode(body, wire.asked())
    with pytest.raises(errors.UpstreamProtocolError):
        wire.COUNT_UP.decode(body, wire.asked())
