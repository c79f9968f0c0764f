"""Answers: from the API and to clients, whole and streamed, which must come to the same."""

import json
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import errors, exchange, sse
from trunkline_gateway.exchange import (
    Answer,
    ArgumentsDelta,
    Audio,
    Choice,
    CitationDelta,
    DocumentCitation,
    End,
    Event,
    Failed,
    Finish,
    Foreign,
    HostedStep,
    Image,
    Inline,
    PartEnd,
    PartStart,
    Progress,
    Reasoning,
    ReasoningDelta,
    Refusal,
    Seal,
    SealDelta,
    Start,
    Text,
    TextDelta,
    TokenLogprob,
    ToolCall,
    UrlCitation,
    Usage,
    UsageReport,
    losses,
    origin,
)


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


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


# ---- to clients ------------------------------------------------------------------------------------------------------

GOOGLE = Seal(maker="google", account="acc", value="sig")
GPT = Seal(maker="openai", account="acc", value="gAAA")
CLAUDE = Seal(maker="anthropic", account="acc", value="EqQ")
_OWN = {
    "type": "server_tool_use",
    "id": "s1",
    "name": "web_search",
    "input": {"query": "q"},
    "caller": {"type": "direct"},
}
_PLACE = {
    "type": "char_location",
    "cited_text": "c",
    "document_index": 2,
    "document_title": "t",
    "start_char_index": 0,
    "end_char_index": 1,
}
_WEB = {
    "type": "web_search_result_location",
    "cited_text": "",
    "url": "https://u",
    "title": "t",
    "encrypted_index": "",
}


@pytest.mark.parametrize(
    ("part", "blocks", "lost"),
    [
        (Text(text="a"), [{"type": "text", "text": "a"}], ""),
        (Text(text=""), [], ""),
        (Text(text="a", seal=GOOGLE), [{"type": "text", "text": "a"}], "answer.reasoning_signature"),
        (Refusal(text="no"), [{"type": "text", "text": "no"}], ""),
        (
            Text(text="a", citations=(UrlCitation(url="https://u", title="t"),)),
            [{"type": "text", "text": "a", "citations": [_WEB]}],
            "",
        ),
        (
            Text(text="a", citations=(UrlCitation(url="https://u", title="t", start=0, end=1),)),
            [{"type": "text", "text": "a", "citations": [_WEB]}],
            "answer.citations",
        ),
        (
            Text(
                text="a",
                citations=(DocumentCitation(document=2, title="t", cited_text="c", unit="character", start=0, end=1),),
            ),
            [{"type": "text", "text": "a", "citations": [_PLACE]}],
            "",
        ),
        (Text(text="a", citations=(DocumentCitation(title="t"),)), [{"type": "text", "text": "a"}], "answer.citations"),
        (Reasoning(), [], ""),
        (Reasoning(text="hm"), [{"type": "thinking", "thinking": "hm", "signature": ""}], ""),
        (
            Reasoning(text="hm", signature=CLAUDE),
            [{"type": "thinking", "thinking": "hm", "signature": origin.stamp(CLAUDE)}],
            "",
        ),
        (
            Reasoning(signature=CLAUDE),
            [{"type": "thinking", "thinking": "", "signature": origin.stamp(CLAUDE)}],
            "",
        ),
        (
            Reasoning(text="hm", encrypted=GPT),
            [{"type": "thinking", "thinking": "hm", "signature": origin.stamp(GPT)}],
            "",
        ),
        (Reasoning(encrypted=GPT), [{"type": "redacted_thinking", "data": origin.stamp(GPT)}], ""),
        (
            Reasoning(text="hm", signature=CLAUDE, encrypted=GPT),
            [
                {"type": "thinking", "thinking": "hm", "signature": origin.stamp(CLAUDE)},
                {"type": "redacted_thinking", "data": origin.stamp(GPT)},
            ],
            "",
        ),
        (
            ToolCall(id="c1", name="f", arguments='{"a": [1.0, "é"]}'),
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": [1.0, "é"]}}],
            "",
        ),
        (ToolCall(id="c1", name="f"), [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}], ""),
        (
            ToolCall(id="c1", name="f", arguments=' "text"'),
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"input": ' "text"'}}],
            "tool_arguments",
        ),
        (
            ToolCall(id="c1", name="f", arguments='say "hi"\n', custom=True),
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"input": 'say "hi"\n'}}],
            "",
        ),
        (
            ToolCall(id="c1", name="f", custom=True),
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"input": ""}}],
            "",
        ),
        (
            ToolCall(id="c1", name="f", namespace="n"),
            [{"type": "tool_use", "id": "c1", "name": "n__f", "input": {}}],
            "answer.tool_namespace",
        ),
        (
            ToolCall(id="c1", name="f", seal=GOOGLE),
            [
                {"type": "tool_use", "id": "c1", "name": "f", "input": {}},
                {"type": "redacted_thinking", "data": origin.stamp(GOOGLE)},
            ],
            "",
        ),
        (
            ToolCall(id="c1", name="f", seal=GPT),
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}],
            "answer.reasoning_signature",
        ),
        (HostedStep(tool="web_search", dialect="anthropic_messages", value=_raw(_OWN)), [_OWN], ""),
        (
            HostedStep(
                tool="web_search", dialect="anthropic_messages", value=msgspec.Raw(json.dumps(_OWN, indent=1).encode())
            ),
            [_OWN],
            "",
        ),
        (HostedStep(tool="web_search", dialect="openai_responses", value=_raw({})), [], "answer.hosted_step"),
        (Foreign(dialect="gemini_generate", kind="x", value=_raw({})), [], "answer.foreign"),
        (Image(source=Inline("AAAA")), [], "answer.image"),
        (Audio(id="a1"), [], "answer.audio"),
        (Audio(source=Inline("AAAA"), transcript="hello"), [{"type": "text", "text": "hello"}], "answer.audio"),
    ],
)
def test_each_part_of_an_answer(part: exchange.Part, blocks: list[dict[str, object]], lost: str) -> None:
    said, names = _both(_answer(part))
    assert wire.plain(said["content"]) == blocks
    assert names == ({lost} if lost else set())


def test_a_message_is_as_the_api_writes_it() -> None:
    usage = Usage(prompt=100, completion=7, cached=60, cache_write=30, cache_write_1h=10, reasoning=3)
    answer = _answer(Text(text="a"), reason="length", usage=usage, service_tier="priority")
    body = json.loads(wire.CHAT_IN.encode(answer, wire.chat()).body)
    assert body == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "a"}],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 10,
            "cache_creation_input_tokens": 30,
            "cache_read_input_tokens": 60,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 3},
            "service_tier": "priority",
        },
    }


@settings(max_examples=60, deadline=None)
@given(*[st.none() | st.integers(0, 10**6)] * 3, st.integers(0, 10**6), st.booleans())
def test_tokens_are_the_same_after_there_and_back(
    cached: int | None, write: int | None, completion: int | None, beside: int, streamed: bool
) -> None:
    usage = Usage(
        prompt=beside + (cached or 0) + (write or 0), completion=completion or 0, cached=cached, cache_write=write
    )
    answer = _answer(Text(text="a"), usage=usage)
    if streamed:
        again = exchange.assemble(wire.read(wire.write(exchange.events_of(answer))[0]))
    else:
        back = wire.CHAT_UP.decode(wire.CHAT_IN.encode(answer, wire.chat()).body, wire.asked())
        assert isinstance(back, Answer)
        again = back
    assert again.usage == usage


def test_what_nobody_counted_is_nought_and_details_are_lost() -> None:
    assert _both(_answer(Text(text="a")))[0]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert _both(_answer(usage=Usage(prompt=3, completion=1, audio_prompt=2)))[1] == {"answer.usage_details"}


def test_more_than_one_answer_and_logprobs_are_lost() -> None:
    one = Choice(parts=(Text(text="a"),), finish_reason="stop", logprobs=(TokenLogprob(token="a", logprob=0.0),))
    two = Choice(parts=(Text(text="b"),), finish_reason="length", index=1)
    said, lost = _both(Answer(choices=(one, two), id="i", model="m"))
    assert [block["text"] for block in said["content"]] == ["a"]  # type: ignore[attr-defined]
    assert said["stop_reason"] == "end_turn"
    assert lost == {"answer.choices", "answer.logprobs"}


@pytest.mark.parametrize(
    ("part", "reason", "said"),
    [
        (ToolCall(id="c", name="f"), "stop", "tool_use"),
        (ToolCall(id="c", name="f"), "length", "max_tokens"),
        (Refusal(text="no"), "stop", "refusal"),
        (Text(text="a"), "content_filter", "refusal"),
        (Text(text="a"), "other", "end_turn"),
    ],
)
def test_why_it_stopped(part: exchange.Part, reason: exchange.FinishReason, said: str) -> None:
    assert _both(_answer(part, reason=reason))[0]["stop_reason"] == said


def test_what_a_filter_says() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    choice = Choice(parts=(), finish_reason="refusal", safety=_raw(details), stop_sequence="x")
    said, lost = _both(Answer(choices=(choice,), id="i", model="m"))
    assert (said["stop_details"], said["stop_sequence"], lost) == (details, "x", set())
    choice = Choice(parts=(), finish_reason="content_filter", safety=_raw([{"category": "HARM"}]))
    assert _both(Answer(choices=(choice,), id="i", model="m"))[1] == {"answer.safety"}


def test_a_message_without_an_id_gets_one_of_its_conversation() -> None:
    answer = Answer(choices=(Choice(parts=(), finish_reason="stop"),))
    bodies = [
        json.loads(wire.CHAT_IN.encode(answer, request).body)
        for request in (wire.chat(), wire.chat(), wire.chat(wire.user("other")))
    ]
    assert bodies[0]["id"] == bodies[1]["id"] != bodies[2]["id"]
    assert bodies[0]["id"].startswith("msg_")
    assert bodies[0]["model"] == "m"


def test_half_a_character_is_no_crash() -> None:
    answer = _answer(Text(text="a\ud800"), ToolCall(id="c", name="f", arguments='{"a":"\udc00"}'))
    assert b"a?" in wire.CHAT_IN.encode(answer, wire.chat()).body
    assert b"a?" in wire.write(exchange.events_of(answer))[0]


# ---- streams to clients ----------------------------------------------------------------------------------------------


def _check_blocks(said: Sequence[dict[str, object]]) -> None:
    """One message, numbers without gaps, one start and one stop each, no delta outside, one text open at most."""
    assert [event["type"] for event in said].count("message_start") == 1
    assert said[0]["type"] == "message_start"
    assert [event["type"] for event in said[-2:]] == ["message_delta", "message_stop"]
    begun: dict[object, str] = {}
    open_: set[object] = set()
    for event in said:
        if event["type"] == "content_block_start":
            assert event["index"] == len(begun)
            kind = event["content_block"]["type"]  # type: ignore[index]
            if kind in ("text", "thinking"):
                assert not [each for each in open_ if begun[each] in ("text", "thinking")]
            begun[event["index"]] = kind
            open_.add(event["index"])
        elif event["type"] == "content_block_delta":
            assert event["index"] in open_
            delta = event["delta"]["type"]  # type: ignore[index]
            assert (
                delta
                in {
                    "text": ("text_delta", "citations_delta"),
                    "thinking": ("thinking_delta", "signature_delta"),
                    "tool_use": ("input_json_delta",),
                }[begun[event["index"]]]
            )
        elif event["type"] == "content_block_stop":
            open_.remove(event["index"])
    assert not open_


def test_calls_that_come_interleaved_stay_apart() -> None:
    events: list[Event] = [
        Start(id="i"),
        PartStart(0, Text(text="")),
        TextDelta(0, "let me"),
        PartStart(1, ToolCall(id="a", name="f")),
        PartStart(2, ToolCall(id="b", name="g")),
        ArgumentsDelta(1, '{"x":'),
        ArgumentsDelta(2, '{"y":'),
        ArgumentsDelta(1, "1}"),
        ArgumentsDelta(2, "2}"),
        TextDelta(0, " see"),
        PartEnd(2),
        PartEnd(1),
        PartEnd(0),
        Finish(reason="tool_calls"),
        End(),
    ]
    stream, lost = wire.write(events)
    _check_blocks(wire.payloads(stream))
    said = wire.accumulated(stream)
    assert wire.plain(said["content"]) == [
        {"type": "text", "text": "let me"},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
        {"type": "tool_use", "id": "b", "name": "g", "input": {"y": 2}},
        {"type": "text", "text": " see"},
    ]
    assert lost == ()


def test_thoughts_that_are_interrupted_go_on_in_a_new_block() -> None:
    events: list[Event] = [
        PartStart(0, Reasoning()),
        ReasoningDelta(0, "hm"),
        PartStart(1, Text(text="")),
        TextDelta(1, "a"),
        SealDelta(0, CLAUDE),
        PartEnd(0),
        CitationDelta(1, UrlCitation(url="https://u", title="t")),
        PartEnd(1),
        Finish(reason="stop"),
        End(),
    ]
    stream, _ = wire.write(events)
    _check_blocks(wire.payloads(stream))
    blocks = wire.accumulated(stream)["content"]
    assert [block["type"] for block in blocks] == ["thinking", "text", "thinking", "text"]  # type: ignore[attr-defined]


def test_input_tokens_are_said_at_the_start_and_all_of_them_at_the_end() -> None:
    events: list[Event] = [
        Start(id="i", usage=Usage(prompt=10, cached=4)),
        UsageReport(Usage(prompt=10, cached=4, completion=5)),
        Finish(reason="stop"),
        End(),
    ]
    said = wire.payloads(wire.write(events)[0])
    assert said[0]["message"]["usage"] == {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 0}  # type: ignore[index]
    assert said[1]["usage"] == {"input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 5}


def test_a_sign_of_life_is_a_ping_once_the_message_has_begun() -> None:
    assert wire.write([Progress()])[0] == b""
    assert wire.write([Start(), Progress()])[0].endswith(wire.CHAT_IN.keep_alive)
    assert wire.CHAT_IN.keep_alive == b'event: ping\ndata: {"type":"ping"}\n\n'


def test_nothing_is_said_after_the_end() -> None:
    stream, _ = wire.write([Start(), Finish(reason="stop"), End(), End()])
    assert stream.count(b"message_stop") == 2  # the name and the type of one event


_CHUNKS = st.text(min_size=1, max_size=6)
_SCRIPT = st.lists(st.tuples(st.integers(0, 3), _CHUNKS), max_size=12)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["text", "reasoning", "call"]), min_size=1, max_size=4), _SCRIPT)
def test_however_parts_come_the_blocks_are_sound_and_nothing_is_lost(
    kinds: list[str], script: list[tuple[int, str]]
) -> None:
    events: list[Event] = [Start(id="i", model="m")]
    begun: list[str] = []
    wrote: dict[int, str] = {}
    for index, text in [*script, *((index, "z") for index in range(len(kinds)))]:
        if index >= len(kinds):
            continue
        while index >= len(begun):
            kind = kinds[len(begun)]
            part: exchange.Part = Text(text="") if kind == "text" else Reasoning()
            events.append(PartStart(len(begun), ToolCall(id=f"c{len(begun)}", name="f") if kind == "call" else part))
            begun.append(kind)
        wrote[index] = wrote.get(index, "") + text
        match kinds[index]:
            case "text":
                events.append(TextDelta(index, text))
            case "reasoning":
                events.append(ReasoningDelta(index, text))
            case _:
                events.append(ArgumentsDelta(index, text))
    events += [*(PartEnd(index) for index in range(len(begun))), Finish(reason="stop"), End()]
    stream, _ = wire.write(events)
    _check_blocks(wire.payloads(stream))
    again = exchange.assemble(wire.read(stream)).choices[0].parts
    for kind, of in (("text", Text), ("reasoning", Reasoning)):
        said = "".join(part.text for part in again if isinstance(part, of))
        assert sorted(said) == sorted("".join(text for index, text in wrote.items() if kinds[index] == kind))


# ---- from the API ----------------------------------------------------------------------------------------------------

_START = {
    "type": "message_start",
    "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
_STOPS = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def _block(index: int, block: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _streamed(*blocks: list[dict[str, object]]) -> bytes:
    return wire.stream_of([_START, *(event for block in blocks for event in block), *_STOPS])


def _json(text: str) -> dict[str, object]:
    return {"type": "input_json_delta", "partial_json": text}


@pytest.mark.parametrize(
    ("events", "part"),
    [
        (_block(0, {"type": "text", "text": "a"}, {"type": "text_delta", "text": "b"}), Text(text="ab")),
        (
            _block(0, {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": "hm"}),
            Reasoning(text="hm"),
        ),
        (
            _block(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "signature_delta", "signature": "EqQ"},
            ),
            Reasoning(signature=Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")),
        ),
        (
            _block(0, {"type": "redacted_thinking", "data": "Em"}),
            Reasoning(encrypted=Seal(maker="anthropic", account=wire.ACCOUNT, value="Em")),
        ),
        (
            _block(
                0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, _json(""), _json('{"a"'), _json(":1}")
            ),
            ToolCall(id="t", name="f", arguments='{"a":1}'),
        ),
        (
            _block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, _json("")),
            ToolCall(id="t", name="f", arguments="{}"),
        ),
        (
            _block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}),
            ToolCall(id="t", name="f", arguments='{"a": 1}'),
        ),
        (_block(0, {"type": "tool_use", "name": "f"}), ToolCall(id="call_s33d0", name="f", arguments="{}")),
        (
            _block(0, {"type": "tool_use", "id": None, "name": 1, "input": "x"}),
            ToolCall(id="call_s33d0", name="", arguments="{}"),
        ),
        (
            _block(
                0,
                {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
                _json('{"query":'),
                _json('"q"}'),
            ),
            HostedStep(
                tool="web_search",
                dialect="anthropic_messages",
                value=_raw({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}}),
                id="s",
                query="q",
            ),
        ),
        (
            _block(0, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "sum"}),
            Foreign(
                dialect="anthropic_messages", kind="compaction", value=_raw({"type": "compaction", "content": "sum"})
            ),
        ),
        (
            [{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "nobody began it"}}],
            Text(text="nobody began it"),
        ),
        (_block(0, {"type": "text"}, {"type": "text_delta", "text": None}, {"type": "new_delta"}), Text(text="")),
    ],
)
def test_each_block_of_a_stream(events: list[dict[str, object]], part: exchange.Part) -> None:
    answer = exchange.assemble(wire.read(_streamed(events)))
    assert wire.plain(answer.choices[0].parts) == wire.plain((part,))
    assert answer.usage == Usage(prompt=3, completion=9)
    assert (answer.id, answer.model) == ("m1", "c")


def test_what_is_held_shows_signs_of_life() -> None:
    events = _block(0, {"type": "server_tool_use", "id": "s", "name": "bash_code_execution"}, *[_json(" ")] * 3)
    found = wire.read(wire.stream_of([_START, *events]))
    assert sum(isinstance(event, Progress) for event in found) == 4


def test_text_on_the_number_of_a_call_is_not_given_up() -> None:
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    stream = _streamed(_block(0, call, _json("{}"), {"type": "text_delta", "text": "then"}))
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
    events = [_START, *_block(0, {"type": "text", "text": "a"})]
    assert isinstance(wire.read(wire.stream_of([*events, _STOPS[0]]))[-1], End)
    assert not any(isinstance(event, End) for event in wire.read(wire.stream_of(events)))
    assert isinstance(wire.read(wire.stream_of([*events, _STOPS[1]]))[-1], End)


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
    found = wire.read(wire.stream_of([_START]) + b"event: error\ndata: " + payload + b"\n\n" + wire.stream_of(_STOPS))
    assert found[-1] == Failed(status=status, message=error["message"], type=error.get("type", ""))
    first = wire.read(b"event: error\ndata: " + payload + b"\n\n")
    assert first == [found[-1]]


def test_pings_and_new_events_are_signs_of_life() -> None:
    found = wire.read(wire.stream_of([{"type": "ping"}, _START, {"type": "ping"}, {"type": "brand_new", "x": 1}]))
    assert [type(event) for event in found] == [Progress, Start, Progress, Progress]


@pytest.mark.parametrize("data", ["{}", "no json", '{"choices":[]}', "[DONE]", "[1]", "null", "\\u"])
def test_what_is_not_the_dialect_is_said_before_it_began_and_skipped_after(data: str) -> None:
    stream = f"data: {data}\n\n".encode()
    with pytest.raises(errors.UpstreamProtocolError):
        wire.read(stream)
    parts = exchange.assemble(wire.read(wire.stream_of([_START]) + stream + wire.stream_of(_STOPS))).choices[0].parts
    assert parts == ()


def test_half_a_character_becomes_a_mark() -> None:
    frame = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%b"}}\n\n'
    stream = wire.stream_of([_START]) + frame % b"a\\ud83d \\\\ud83d \\ud83d\\ude00" + frame % b"\xff"
    answer = exchange.assemble(wire.read(stream + wire.stream_of(_STOPS)))
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


# ---- anything at all -------------------------------------------------------------------------------------------------

_RICH = _streamed(
    _block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "hmé"},
        {"type": "signature_delta", "signature": "E"},
    ),
    _block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "中文😀"}),
    _block(2, {"type": "tool_use", "id": "t", "name": "f", "input": {}}, _json('{"a":'), _json('"é"}')),
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


@settings(max_examples=100, deadline=None)
@given(st.lists(_EVENTS, max_size=10), st.booleans())
def test_any_events_keep_to_the_grammar(events: list[dict[str, object]], whole: bool) -> None:
    try:
        found = wire.read(wire.stream_of([_START, *events, *(_STOPS if whole else [])]))
    except errors.UpstreamProtocolError:
        return
    assembler = exchange.Assembler()
    for event in found:
        assembler.receive(event)
    if assembler.ended:
        stream, _ = wire.write([event for event in found if not isinstance(event, Failed)])
        _check_blocks([json.loads(frame.data) for frame in wire.frames(stream) if b'"ping"' not in frame.data])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=4), st.booleans())
def test_any_bytes_are_events_or_a_mapped_error(lines: list[bytes], began: bool) -> None:
    stream = b"".join(b"data: " + line.replace(b"\r", b"").replace(b"\n", b"") + b"\n\n" for line in lines)
    try:
        wire.read((wire.stream_of([_START]) if began else b"") + stream)
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
    wire.read(wire.stream_of([_START]) + frame)
    call = _answer(ToolCall(id="c", name="f", arguments=deep.decode()))
    wire.CHAT_IN.encode(call, wire.chat())
    wire.write(exchange.events_of(call))
