"""What upstreams answer, whole and streamed, in the neutral form."""

import contextlib
import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_chat import CODEC, vocabulary
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import (
    Answer,
    Audio,
    ChatRequest,
    Image,
    Inline,
    Parameters,
    Reasoning,
    Refusal,
    Seal,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    UrlCitation,
    Usage,
)
from trunkline_gateway.exchange.answer import FinishReason
from trunkline_gateway.sse import ServerSentEvent

UPSTREAM = CODEC.upstream["chat"]
REQUEST = ChatRequest(
    model="m",
    turns=(),
    tools=(Tool(name="f"), Tool(name="f", namespace="a"), Tool(name="h", namespace="a")),
    parameters=Parameters(stop=("END",)),
)
ASKED = Asked(target=Target(model="m", account="acc"), request=REQUEST, seed="S", now=99)


def seal(value: str, maker: str = "google") -> Seal:
    return Seal(maker=maker, account="acc", value=value)


def whole(message: object, finish: str | None = "stop", **choice: object) -> exchange.Choice:
    body = {"id": "i", "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}]}
    return UPSTREAM.decode(json.dumps(body).encode(), ASKED).choices[0]


def events(*chunks: object, done: bool = True) -> list[exchange.Event]:
    decoder = UPSTREAM.stream_decoder(ASKED)
    frames = [chunk if isinstance(chunk, bytes) else b"data: " + json.dumps(chunk).encode() for chunk in chunks]
    given = [event for frame in frames for event in decoder.receive(ServerSentEvent(frame + b"\n\n"))]
    if done:
        given += decoder.receive(ServerSentEvent(b"data: [DONE]\n\n"))
    return [*given, *decoder.receive_eof()]


def delta(finish: str | None = None, number: int = 0, **members: object) -> dict[str, object]:
    return {"id": "i", "choices": [{"index": number, "delta": members, "finish_reason": finish}]}


def streamed(*chunks: object) -> Answer:
    return exchange.assemble(events(*chunks))


def test_the_head() -> None:
    body = {
        "id": "i",
        "model": "M",
        "created": 5,
        "service_tier": "default",
        "system_fingerprint": "fp",
        "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": 3},
            "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 2},
        },
    }
    answer = UPSTREAM.decode(json.dumps(body).encode(), ASKED)
    assert (answer.id, answer.model, answer.created) == ("i", "M", 5)
    assert (answer.service_tier, answer.system_fingerprint) == ("default", "fp")
    assert answer.usage == Usage(
        prompt=5, completion=3, total=8, cached=1, cache_write=2, audio_prompt=3, reasoning=1, audio_completion=2
    )
    assert UPSTREAM.decode(json.dumps({"choices": body["choices"]}).encode(), ASKED).created == ASKED.now


def test_reasoning_is_part_of_the_completion() -> None:
    """Of xAI's total it is a part of its own; of everybody else's it is in the completion."""
    details = {"completion_tokens_details": {"reasoning_tokens": 5}}
    for completion, total, expected in ((3, 10, 8), (8, 10, 8), (3, 99, 3)):
        counts = {"prompt_tokens": 2, "completion_tokens": completion, "total_tokens": total, **details}
        body = {"choices": [{"message": {"content": "a"}}], "usage": counts}
        assert UPSTREAM.decode(json.dumps(body).encode(), ASKED).usage == Usage(
            prompt=2, completion=expected, total=total, reasoning=5
        )


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ({"content": "a"}, [Text(text="a")]),
        ({"content": ""}, []),
        ({"content": None, "refusal": "no"}, [Refusal(text="no")]),
        ({"content": "a", "reasoning_content": "hm"}, [Reasoning(text="hm"), Text(text="a")]),
        ({"content": "a", "reasoning": "hm"}, [Reasoning(text="hm"), Text(text="a")]),
        ({"content": "<think>x</think>a"}, [Text(text="<think>x</think>a")]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "a"},
                    "b",
                ]
            },
            [Reasoning(text="hm"), Text(text="ab")],
        ),
        (
            {
                "content": "a",
                "reasoning": "hm",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}
                ],
            },
            [Reasoning(text="hm", signature=seal("s", "anthropic")), Text(text="a")],
        ),
        (
            {
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "hm", "format": "openai-responses-v1", "id": "rs"},
                    {"type": "reasoning.encrypted", "data": "e", "format": "openai-responses-v1", "id": "rs"},
                ]
            },
            [Reasoning(text="hm", summary=True, encrypted=seal("e", "openai"), id="rs")],
        ),
        (
            {"thinking_blocks": [{"type": "redacted_thinking", "data": "e"}]},
            [Reasoning(encrypted=seal("e", "anthropic"))],
        ),
        (
            {
                "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "s", "format": "google-gemini-v1", "id": "c"}
                ],
                "tool_calls": [CALL],
            },
            [ToolCall(id="c", name="f", arguments="{}", seal=seal("s"))],
        ),
        (
            {"tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "s"}}}]},
            [ToolCall(id="c", name="f", arguments="{}", seal=seal("s"))],
        ),
        (
            {"content": "a", "extra_content": {"google": {"thought_signature": "s"}}},
            [Text(text="a", seal=seal("s"))],
        ),
        (
            {"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1.5}}}, {"function": {"name": "g"}}]},
            [ToolCall(id="call_S0", name="f", arguments='{"a":1.5}'), ToolCall(id="call_S1", name="g")],
        ),
        ({"tool_calls": [{**CALL, "id": ""}]}, [ToolCall(id="call_S0", name="f", arguments="{}")]),
        (
            {"tool_calls": [CALL, CALL]},
            [ToolCall(id="c", name="f", arguments="{}{}")],
        ),
        (
            {"tool_calls": [{**CALL, "index": 0}, {**CALL, "index": 1}]},
            [ToolCall(id="c", name="f", arguments="{}"), ToolCall(id="call_S0", name="f", arguments="{}")],
        ),
        (
            {"tool_calls": [{**CALL, "function": {"name": "a__f"}}, {"id": "d", "function": {"name": "a__h"}}]},
            [ToolCall(id="c", name="f", namespace="a"), ToolCall(id="d", name="h", namespace="a")],
        ),
        (
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "g", "input": "x"}}]},
            [ToolCall(id="c", name="g", arguments="x", custom=True)],
        ),
        (
            {"function_call": {"name": "f", "arguments": "{}"}},
            [ToolCall(id="call_S0", name="f", arguments="{}")],
        ),
        ({"function_call": {"name": "", "arguments": ""}, "audio": {"data": "", "id": ""}}, []),
        (
            {
                "content": "a",
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 1},
                    }
                ],
            },
            [Text(text="a", citations=(UrlCitation(url="u", title="t", start=0, end=1),))],
        ),
        (
            {"content": "a", "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
            [Text(text="a"), Image(source=Inline("AAAA"), media_type="image/png")],
        ),
        (
            {"audio": {"id": "x", "data": "AAAA", "transcript": "a", "expires_at": 7}},
            [Audio(id="x", source=Inline("AAAA"), transcript="a", expires_at=7)],
        ),
        ({"content": 3, "reasoning_content": [], "tool_calls": {}, "refusal": "no"}, [Refusal(text="no")]),
        ({"content": "a", "tool_calls": [3, {"function": 3}, {"function": {"name": 4}}]}, [Text(text="a")]),
    ],
)
def test_messages(message: dict[str, object], parts: Sequence[exchange.Part]) -> None:
    choice = whole(message)
    assert list(choice.parts) == list(parts)
    # The same as one chunk of a stream.
    assert streamed(delta(**message), delta("stop")).choices[0].parts == choice.parts
    calls = any(isinstance(part, ToolCall) for part in parts)
    assert choice.finish_reason == ("tool_calls" if calls else "stop")


@pytest.mark.parametrize(
    ("word", "reason"), [*vocabulary.FINISH_OF_WIRE.items(), ("LENGTH", "length"), ("new", "other"), ("", "other")]
)
def test_reasons(word: str, reason: FinishReason) -> None:
    assert whole({"content": "a"}, word).finish_reason == reason
    assert streamed(delta(content="a"), delta(word)).choices[0].finish_reason == reason
    expected = "tool_calls" if reason in ("stop", "other") else reason
    assert whole({"tool_calls": [CALL]}, word).finish_reason == expected


def test_more_of_a_choice() -> None:
    top = {"token": "b", "logprob": -2.0, "bytes": [98]}
    tokens = [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": [top]}]
    choice = whole(
        {"content": "a"},
        logprobs={"content": tokens, "refusal": None},
        stop_reason="END",
        content_filter_results={"hate": {"filtered": False}},
    )
    assert choice.logprobs == (
        TokenLogprob(token="a", logprob=-1.0, top=(TokenLogprob(token="b", logprob=-2.0, bytes=(98,)),)),
    )
    assert (choice.finish_reason, choice.stop_sequence) == ("stop_sequence", "END")
    assert json.loads(bytes(choice.safety)) == {"hate": {"filtered": False}}
    assert whole({"content": "a"}, stop_reason=5).finish_reason == "stop"


def test_sources_beside_the_choices() -> None:
    body = {
        "citations": ["u"],
        "search_results": [{"url": "u", "title": "t", "snippet": "s"}],
        "choices": [{"message": {"content": "a"}, "delta": {"content": ""}, "finish_reason": "stop"}],
    }
    text = Text(text="a", citations=(UrlCitation(url="u", title="t", cited_text="s"),))
    assert UPSTREAM.decode(json.dumps(body).encode(), ASKED).choices[0].parts == (text,)
    del body["search_results"]
    plain = Text(text="a", citations=(UrlCitation(url="u"),))
    assert UPSTREAM.decode(json.dumps(body).encode(), ASKED).choices[0].parts == (plain,)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 502),
        (b"[]", 502),
        (b"<html>", 502),
        (b'{"choices":[]}', 502),
        (b"{}", 502),
        (b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}', 429),
        (b'{"choices":[{"error":{"code":503},"message":{"content":""}}]}', 503),
        (b'{"choices":[{"finish_reason":"error","message":{"content":""}}]}', 500),
        (b'{"choices":' + b"[" * 100_000, 502),
    ],
)
def test_what_is_no_answer(body: bytes, status: int) -> None:
    with pytest.raises(UpstreamProtocolError) as refused:
        UPSTREAM.decode(body, ASKED)
    assert refused.value.status == status


# ---- streams ---------------------------------------------------------------------------------------------------------


def call(number: int | None = None, name: str = "", arguments: str = "", **more: object) -> dict[str, object]:
    made: dict[str, object] = {"function": {"name": name or None, "arguments": arguments}, **more}
    if number is not None:
        made["index"] = number
    return delta(tool_calls=[made])


def test_the_events_of_a_stream() -> None:
    assert events(
        delta(role="assistant", content=""),
        delta(reasoning_content="h"),
        delta(reasoning_content="m"),
        delta(content="a"),
        delta("stop"),
        {"choices": [], "usage": {"prompt_tokens": 1}},
    ) == [
        exchange.Start(id="i", created=99),
        exchange.PartStart(0, Reasoning()),
        exchange.ReasoningDelta(0, "h"),
        exchange.ReasoningDelta(0, "m"),
        exchange.PartEnd(0),
        exchange.PartStart(1, Text(text="")),
        exchange.TextDelta(1, "a"),
        exchange.PartEnd(1),
        exchange.Finish(reason="stop"),
        exchange.UsageReport(Usage(prompt=1)),
        exchange.End(),
    ]


@pytest.mark.parametrize(
    ("chunks", "calls"),
    [
        # one after the other
        (
            [call(0, "f", id="a"), call(0, "", "{}"), call(1, "g", id="b"), call(1, "", "{}")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # interleaved
        (
            [call(0, "f", id="a"), call(1, "g", id="b"), call(0, "", "{"), call(1, "", "[]"), call(0, "", "}")],
            [("a", "f", "{}"), ("b", "g", "[]")],
        ),
        # all numbered 0
        ([call(0, "f", "{}", id="a"), call(0, "g", "{}", id="b")], [("a", "f", "{}"), ("b", "g", "{}")]),
        # a new id for each delta, or the same name again and again
        ([call(0, "f", "{", id="a"), call(0, "", "}", id="b")], [("a", "f", "{}")]),
        ([call(0, "f", "{", id="a"), call(0, "f", "}", id="a")], [("a", "f", "{}")]),
        ([call(0, "f", "{", id="a"), call(0, "", "}", id="null")], [("a", "f", "{}")]),
        # without numbers
        (
            [call(None, "f", "{", id="a"), call(None, "", "}"), call(None, "g", "{}", id="b")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        ([call(None, "f", "{}"), call(None, "g", "{}")], [("call_S0", "f", "{}"), ("call_S1", "g", "{}")]),
        # the name comes late, or never
        ([call(0, id="a"), call(0, "f", "{}")], [("a", "f", "{}")]),
        ([call(0, "", "{}", id="a")], [("a", "", "{}")]),
        ([call(0)], []),
        # the older form
        (
            [delta(function_call={"name": "f", "arguments": ""}), delta(function_call={"arguments": "{}"})],
            [("call_S0", "f", "{}")],
        ),
    ],
)
def test_calls_in_pieces(chunks: list[object], calls: list[tuple[str, str, str]]) -> None:
    answer = streamed(*chunks, delta("stop"))
    found = [(part.id, part.name, part.arguments) for part in answer.choices[0].parts]
    assert found == calls
    assert answer.choices[0].finish_reason == ("tool_calls" if calls else "stop")


def test_a_call_ends_when_another_begins_only_if_it_is_complete() -> None:
    given = events(call(0, "f", "{}", id="a"), call(1, "g", "{", id="b"), call(2, "h", "{}", id="c"), delta("stop"))
    ends = [event.index for event in given if isinstance(event, exchange.PartEnd)]
    started = [type(event).__name__ for event in given].index("PartEnd")
    assert ends == [0, 1, 2]
    assert given[started + 1] == exchange.PartStart(1, ToolCall(id="b", name="g"))


@pytest.mark.parametrize(
    "after",
    [
        {"content": "b"},
        {"reasoning_content": "hm"},
        {"refusal": "no"},
        {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]},
        {"audio": {"id": "au", "data": "AA=="}},
    ],
)
@pytest.mark.parametrize(("arguments", "ended"), [('{"x":1}', True), ('{"x":', False), ("", False)])
def test_a_call_ends_when_anything_else_begins_only_if_it_is_complete(
    after: dict[str, object], arguments: str, ended: bool
) -> None:
    given = events(delta(content="a"), call(0, "f", id="c"), call(0, "", arguments), delta(**after), delta("stop"))
    begun = [(type(event), event.index) for event in given if isinstance(event, exchange.PartStart | exchange.PartEnd)]
    call_end, next_start = begun.index((exchange.PartEnd, 1)), begun.index((exchange.PartStart, 2))
    assert (call_end < next_start) is ended
    assert exchange.assemble(given).choices[0].parts[1] == ToolCall(id="c", name="f", arguments=arguments)


def test_a_calls_arguments_are_looked_at_once_however_often_something_else_begins() -> None:
    given = events(
        call(0, "f", "{", id="a"), delta(content="a"), call(0, "", "}"), delta(reasoning_content="h"), delta("stop")
    )
    ends = [event.index for event in given if isinstance(event, exchange.PartEnd)]
    assert ends == [1, 2, 0]
    assert exchange.assemble(given).choices[0].parts[0] == ToolCall(id="a", name="f", arguments="{}")


def test_thoughts_that_are_repeated_with_their_signature_come_once() -> None:
    detail = {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
    answer = streamed(
        delta(reasoning_content="h"),
        delta(reasoning_content="m"),
        delta(reasoning_details=[detail]),
        delta(content="a"),
    )
    assert answer.choices[0].parts == (Reasoning(text="hm", signature=seal("s", "anthropic")), Text(text="a"))


def test_azures_first_and_last_chunks() -> None:
    answer = streamed(
        {"choices": [], "id": "", "model": "", "created": 0, "object": "", "prompt_filter_results": [{}]},
        {"id": "i", "model": "M", "choices": [{"index": 0, "delta": {"content": "a"}}]},
        {"choices": [{"index": 0, "finish_reason": None, "content_filter_results": {"x": 1}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"index": 0, "content_filter_results": {"x": 2}, "content_filter_offsets": {}}]},
    )
    assert (answer.id, answer.model, answer.choices[0].parts) == ("i", "M", (Text(text="a"),))
    assert json.loads(bytes(answer.choices[0].safety)) == {"x": 1}


def test_usage_wherever_it_stands() -> None:
    first = {**delta(content="a"), "usage": {"prompt_tokens": 1}}
    again = {**delta("stop"), "usage": {"prompt_tokens": 1}}
    last = {"choices": [], "x_groq": {"usage": {"prompt_tokens": 2}}}
    reports = [event for event in events(first, again, last) if isinstance(event, exchange.UsageReport)]
    assert [report.usage.prompt for report in reports] == [1, 2]


def test_several_choices_end_each_on_its_own() -> None:
    answer = streamed(
        delta(content="a"), delta(number=1, content="b"), delta("stop"), delta("stop"), delta("length", number=1)
    )
    assert [(each.index, each.finish_reason) for each in answer.choices] == [(0, "stop"), (1, "length")]


def test_the_end() -> None:
    assert events(delta(content="a"), done=False)[-1] == exchange.TextDelta(0, "a")
    assert events(delta("stop", content="a"), done=False)[-1] == exchange.End()
    assert events(delta(content="a"))[-2:] == [exchange.Finish(reason="other"), exchange.End()]
    assert events(b": ping", delta("stop", content="a"), b"data: [DONE]", delta(content="b"))[-1] == exchange.End()
    with pytest.raises(UpstreamProtocolError):
        events({"id": "i"})


@pytest.mark.parametrize(
    ("frame", "failed"),
    [
        (b'data: {"error":{"message":"m","type":"t","code":400,"param":"p"}}', (400, "m", "t", "400", "p")),
        (b'event: error\ndata: {"message":"m","code":"rate_limit"}', (429, "m", "", "rate_limit", None)),
        (b"event: error\ndata: gone", (500, "gone", "", "", None)),
        (b'data: {"error":"m"}', (500, "m", "", "", None)),
        (b'data: {"choices":[{"finish_reason":"error","delta":{}}]}', (500, "The upstream gave up.", "", "", None)),
        (b'data: {"choices":[{"error":{"message":"m","code":502},"delta":{}}]}', (502, "m", "", "502", None)),
    ],
)
def test_errors_in_the_stream(frame: bytes, failed: tuple[object, ...]) -> None:
    for before in ([], [delta(content="a")]):
        last = events(*before, frame, delta(content="b"), done=False)[-1]
        assert isinstance(last, exchange.Failed)
        assert (last.status, last.message, last.type, last.code, last.param) == failed


def test_what_cannot_be_read_is_skipped_once_content_has_come() -> None:
    with pytest.raises(UpstreamProtocolError):
        events(b"data: oops")
    answer = streamed(delta(content="a"), b"data: oops", b"data: 3", delta("stop"))
    assert answer.choices[0].parts == (Text(text="a"),)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b'{"error":{"message":"m","type":"t","code":"c","param":"p"}}', (400, "m", "t", "c", "p")),
        (400, b'[{"error":{"message":"m","code":400,"status":"INVALID"}}]', (400, "m", "INVALID", "400", None)),
        (
            429,
            b'{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"slow down"}}}',
            (429, "Provider returned error: slow down", "", "429", None),
        ),
        (401, b'{"detail":"Unauthorized"}', (401, "Unauthorized", "", "", None)),
        (422, b'{"detail":[{"msg":"a"},{"msg":"b"}]}', (422, "a; b", "", "", None)),
        (500, b'"oops"', (500, "oops", "", "", None)),
        (500, b"", (500, "The upstream answered with status 500.", "", "", None)),
        (502, b"<html><head><style>x{}</style></head><h1>Bad</h1> Gateway</html>", (502, "Bad Gateway", "", "", None)),
        (200, b'{"error":{"message":"m","type":"rate_limit_error"}}', (429, "m", "rate_limit_error", "", None)),
        (500, b"\xff\xfe", (500, "\ufffd\ufffd", "", "", None)),
    ],
)
def test_error_bodies(status: int, body: bytes, expected: tuple[object, ...]) -> None:
    error = UPSTREAM.read_error(status, body)
    assert (error.status, error.message, error.type, error.code, error.param) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "content",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "thinking_blocks",
        "refusal",
        "tool_calls",
        "function_call",
        "audio",
        "annotations",
        "images",
        "extra_content",
        "google",
        "thought_signature",
        "type",
        "text",
        "summary",
        "data",
        "signature",
        "format",
        "id",
        "index",
        "name",
        "arguments",
        "function",
        "custom",
        "input",
        "url",
        "image_url",
        "url_citation",
        "thinking",
        "transcript",
        "expires_at",
    ]
)
WORDS = st.sampled_from(
    ["a", "", "reasoning.encrypted", "google-gemini-v1", "anthropic-claude-v1", "custom", "data:,x"]
)
SHAPED = st.recursive(
    JSON | WORDS | st.integers(0, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
MESSAGES = st.dictionaries(NAMES, SHAPED, max_size=5)
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "index": st.integers(0, 2) | JSON,
        "message": MESSAGES,
        "delta": MESSAGES | JSON,
        "finish_reason": st.sampled_from(["stop", "tool_calls", "", None, "error"]) | JSON,
        "logprobs": JSON,
        "error": st.none() | JSON,
    },
)
ANSWERS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=3) | JSON},
    optional={
        "id": JSON, "created": JSON, "usage": JSON, "error": st.none() | JSON, "citations": JSON, "x_groq": JSON,
        "search_results": st.lists(MESSAGES, max_size=2),
    },
)  # fmt: skip


def dumped(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


@settings(max_examples=100, deadline=None)
@given(ANSWERS)
def test_whatever_is_answered_is_read_or_refused(answer: object) -> None:
    try:
        UPSTREAM.decode(dumped(answer), ASKED)
    except UpstreamProtocolError as error:
        failure = error
    else:
        return
    assert 400 <= failure.status <= 599


@settings(max_examples=50, deadline=None)
@given(st.lists(ANSWERS, max_size=3), st.booleans())
def test_whatever_is_streamed_is_in_the_grammar_or_refused(chunks: list[object], done: bool) -> None:
    assembler = exchange.Assembler()
    try:
        for event in events(*(b"data: " + dumped(chunk) for chunk in chunks), done=done):
            assembler.receive(event)
    except UpstreamProtocolError:
        return
    assembler.answer()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(alphabet='[]{}":,ab1\\ \n', max_size=60).map(str.encode))
def test_any_bytes_are_an_answer_or_an_error(body: bytes) -> None:
    for read in (lambda: UPSTREAM.decode(body, ASKED), lambda: events(b"data: " + body)):
        with contextlib.suppress(UpstreamProtocolError):
            read()
    assert UPSTREAM.read_error(500, body).message


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.sampled_from(["stop", "length", None]))
def test_whole_is_streamed(message: dict[str, object], finish: str | None) -> None:
    body = {"id": "i", "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
    chunk = {"id": "i", "choices": [{"index": 0, "delta": message, "finish_reason": finish}]}
    assert streamed(b"data: " + dumped(chunk)) == UPSTREAM.decode(dumped(body), ASKED)


def test_long_streams_take_linear_time() -> None:
    """Many pieces of one call, with another open beside it, and many thoughts that are repeated."""
    decoder = UPSTREAM.stream_decoder(ASKED)
    pieces = [call(0, "f", "{", id="a"), call(1, "g", "{", id="b")]
    pieces += [call(number % 2, "", "x" * 50) for number in range(20_000)]
    pieces += [delta(reasoning_content="y"), *(delta(content="z") for _ in range(1000)), delta("stop")]
    frames = [ServerSentEvent(b"data: " + json.dumps(each).encode() + b"\n\n") for each in pieces]
    count = sum(len(decoder.receive(frame)) for frame in frames)
    assert count > len(pieces)
