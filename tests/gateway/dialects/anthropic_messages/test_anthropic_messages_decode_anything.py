"""Answers of the API, however they are cut or broken."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import errors, exchange, sse
from trunkline_gateway.exchange import (
    Answer,
    Choice,
    Event,
    Failed,
    ToolCall,
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


_RICH = wire.streamed(
    wire.block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hmé"},
        {"type": "signature_delta", "signature": "E"},
    ),
    wire.block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "中文😀"}),
    wire.block(
        2, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, wire.json_delta('{"a":'), wire.json_delta('"é"}')
    ),
).replace(b"\\u4e2d", "中".encode())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(_RICH)), max_size=6).map(sorted))
def test_a_stream_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    splitter = sse.EventSplitter()
    decoder = wire.CHAT_UP.stream_decoder
    assert decoder is not None
    receiver = decoder(wire.asked())
    found: list[Event] = []
    for start, end in pairwise([0, *cuts, len(_RICH)]):
        for frame in splitter.receive_data(_RICH[start:end]):
            found += receiver.receive(frame)
    assert found == wire.read(_RICH)


_NAMES = st.sampled_from(
    """type index delta content_block message usage error text thinking partial_json signature stop_reason id name input
    input_tokens output_tokens citations content data stop_details""".split()  # noqa: SIM905  # a list would be a page
)
_WORDS = st.sampled_from(
    """message_start message_delta message_stop content_block_start content_block_delta content_block_stop ping error
    text thinking tool_use server_tool_use redacted_thinking text_delta thinking_delta input_json_delta signature_delta
    citations_delta compaction_delta end_turn message""".split()  # noqa: SIM905  # likewise
)
_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**25) | st.floats(allow_nan=False) | _WORDS | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=10,
)
_EVENTS = st.fixed_dictionaries(
    {"type": _WORDS},
    optional={
        "index": st.integers(0, 2) | _VALUES,
        "delta": st.fixed_dictionaries(
            {"type": _WORDS},
            optional={
                "text": _VALUES,
                "thinking": st.text(max_size=2),
                "partial_json": st.text(max_size=2),
                "stop_reason": _WORDS,
            },
        )
        | _VALUES,
        "content_block": st.fixed_dictionaries({"type": _WORDS}, optional={"text": _VALUES, "input": _VALUES})
        | _VALUES,
        "usage": _VALUES,
        "error": _VALUES,
        "message": _VALUES,
    },
)


@settings(max_examples=50, deadline=None)
@given(st.lists(_EVENTS, max_size=10), st.booleans())
def test_any_events_keep_to_the_grammar(events: list[dict[str, object]], whole: bool) -> None:
    try:
        found = wire.read(wire.stream_of([wire.START, *events, *(wire.STOPS if whole else [])]))
    except errors.UpstreamProtocolError:
        return
    assembler = exchange.Assembler()
    for event in found:
        assembler.receive(event)
    if assembler.ended:
        stream, _ = wire.write([event for event in found if not isinstance(event, Failed)])
        wire.check_blocks([json.loads(frame.data) for frame in wire.frames(stream) if b'"ping"' not in frame.data])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4), st.booleans())
def test_any_bytes_are_events_or_a_mapped_error(lines: list[bytes], began: bool) -> None:
    stream = b"".join(b"data: " + line.replace(b"\r", b"").replace(b"\n", b"") + b"\n\n" for line in lines)
    try:
        wire.read((wire.stream_of([wire.START]) if began else b"") + stream)
    except errors.UpstreamProtocolError:
        assert not began


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["content", "usage", "id", "model", "stop_reason", "stop_details"]), _VALUES)
    | _VALUES
)
def test_any_json_is_an_answer_or_a_mapped_error(body: object) -> None:
    data = json.dumps(body).encode()
    try:
        answer = wire.CHAT_UP.decode(data, wire.asked())
    except errors.UpstreamProtocolError:
        return
    assert isinstance(answer, Answer)
    wire.CHAT_IN.encode(answer, wire.chat())
    wire.CHAT_UP.read_error(500, data)


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deep_nesting_is_no_crash(depth: int) -> None:
    deep = b"[" * depth + b"]" * depth
    body = b'{"content":[{"type":"tool_use","id":"t","name":"f","input":{"a":' + deep + b"}}]}"
    try:
        wire.CHAT_UP.decode(body, wire.asked())
    except errors.UpstreamProtocolError:
        assert depth == 100_000
    frame = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":' + deep + b"}}\n\n"
    wire.read(wire.stream_of([wire.START]) + frame)
    call = _answer(ToolCall(id="c", name="f", arguments=deep.decode()))
    wire.CHAT_IN.encode(call, wire.chat())
    wire.write(exchange.events_of(call))
