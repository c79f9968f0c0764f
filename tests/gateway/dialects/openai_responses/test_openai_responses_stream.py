"""An upstream's answer, read: streamed and whole."""

import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.openai_responses.responses_support import (
    ACCOUNT,
    ASKED,
    CODEC,
    UPSTREAM,
    answer,
    receive,
    sse_of,
    written,
)
from trunkline_gateway import errors, exchange, sse
from trunkline_gateway.dialects.openai_responses.answer import INCOMPLETE
from trunkline_gateway.dialects.openai_responses.errors import status_of
from trunkline_gateway.exchange import origin

CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 5.0}}
COMPLETED = {"type": "response.completed", "response": {"status": "completed", "usage": {"input_tokens": 1}}}
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}


def _delta(text: str, kind: str = "output_text", index: int = 0, **more: object) -> dict[str, object]:
    return {"type": f"response.{kind}.delta", "output_index": index, "delta": text, **more}


def _done(item: Mapping[str, object], index: int = 0) -> dict[str, object]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def _added(item: Mapping[str, object], index: int = 0) -> dict[str, object]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def _text(text: str, **more: object) -> dict[str, object]:
    return {"type": "output_text", "text": text, **more}


def _read(*events: object, ended: bool = True) -> exchange.Answer:
    return exchange.assemble(receive(sse_of([CREATED, *events, *([COMPLETED] if ended else [])])))


def _parts(*events: object) -> tuple[exchange.Part, ...]:
    return _read(*events).choices[0].parts


def test_events_come_as_they_are_said() -> None:
    events = receive(
        sse_of(
            [
                CREATED,
                {"type": "response.in_progress", "response": {"id": "resp_1"}},
                _added({**MESSAGE, "content": []}),
                {"type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": _text("")},
                _delta("a", content_index=0, obfuscation="xx"),
                _delta("b", content_index=0, logprobs=[{"token": "b", "logprob": -1, "bytes": [98]}]),
                {"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "ab"},
                {"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": _text("ab")},
                _done({**MESSAGE, "content": [_text("ab")]}),
                {"type": "response.completed", "response": {"output": [{**MESSAGE, "content": [_text("ab")]}]}},
            ]
        )
    )
    assert events == [
        exchange.Start(id="resp_1", model="m", created=5),
        exchange.Progress(),
        exchange.PartStart(0, exchange.Text(text="")),
        exchange.TextDelta(0, "a"),
        exchange.TextDelta(0, "b"),
        exchange.LogprobsDelta((exchange.TokenLogprob(token="b", logprob=-1.0, bytes=(98,)),)),
        exchange.PartEnd(0),
        exchange.Finish(reason="stop"),
        exchange.End(),
    ]


@pytest.mark.parametrize(
    "events",
    [
        [_delta("ab")],
        [_delta("a"), _delta("b"), {"type": "response.output_text.done", "text": "ab"}],
        [{"type": "response.output_text.done", "output_index": 0, "content_index": 0, "text": "ab"}],
        [{"type": "response.content_part.done", "output_index": 0, "content_index": 0, "part": _text("ab")}],
        [_done({**MESSAGE, "content": [_text("ab")]})],
        [_done({**MESSAGE, "content": [_text("ab")]}), _done({**MESSAGE, "content": [_text("ab")]})],
        [_delta("ab"), _done({**MESSAGE, "content": [_text("ab")]})],
    ],
)
def test_text_comes_once_however_often_it_is_said(events: list[object]) -> None:
    end = {"type": "response.completed", "response": {"output": [{**MESSAGE, "content": [_text("ab")]}]}}
    for last in (COMPLETED, end):
        found = exchange.assemble(receive(sse_of([CREATED, *events, last])))
        assert found.choices[0].parts == (exchange.Text(text="ab"),)


def test_the_end_alone_has_all_of_it() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"text": "A"}, {"text": "B"}], "encrypted_content": "x"},
        {**MESSAGE, "content": [_text("ab"), {"type": "refusal", "refusal": "no"}]},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
    ]
    end = {"id": "resp_1", "model": "m", "created_at": 5, "output": output, "usage": {"input_tokens": 3}}
    found = exchange.assemble(receive(sse_of([{"type": "response.completed", "response": end}])))
    assert found == UPSTREAM.decode(json.dumps(end).encode(), ASKED)
    assert found.choices[0].parts == (
        exchange.Reasoning(
            text="A\n\nB",
            summary=True,
            id="rs_1",
            encrypted=exchange.Seal(maker="openai", account=ACCOUNT, value="x"),
        ),
        exchange.Text(text="ab"),
        exchange.Refusal(text="no"),
        exchange.ToolCall(id="c", name="f", arguments="{}", item_id="fc_1"),
    )
    assert found.choices[0].finish_reason == "tool_calls"


def test_reasoning_in_paragraphs() -> None:
    assert _parts(
        _added({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "early"}),
        _delta("A", "reasoning_summary_text", summary_index=0),
        _delta("a", "reasoning_summary_text", summary_index=0),
        _delta("B", "reasoning_summary_text", summary_index=1),
        _delta("thought", "reasoning_text", content_index=0),
        _done({"type": "reasoning", "id": "rs_1", "encrypted_content": "late"}),
    ) == (
        exchange.Reasoning(
            text="Aa\n\nB",
            summary=True,
            id="rs_1",
            encrypted=exchange.Seal(maker="openai", account=ACCOUNT, value="late"),
        ),
    )


def test_reasoning_that_is_no_summary() -> None:
    events = [_delta("Hm", "reasoning_text", content_index=0), _delta(".", "reasoning_text", content_index=0)]
    assert _parts(*events) == (exchange.Reasoning(text="Hm."),)
    assert _parts(_done({"type": "reasoning", "summary": [], "content": [{"text": "Hm."}]})) == (
        exchange.Reasoning(text="Hm."),
    )


def test_reasoning_that_says_nothing_is_none() -> None:
    assert _parts(_added({"type": "reasoning", "summary": []}), _done({"type": "reasoning", "summary": []})) == ()


def test_items_may_be_interleaved() -> None:
    """OpenRouter ends its reasoning after the message."""
    assert _parts(
        _delta("Hm", "reasoning_text", 0),
        _delta("a", index=1),
        _done({**MESSAGE, "content": [_text("a")]}, 1),
        _done({"type": "reasoning", "content": [{"text": "Hm"}]}, 0),
    ) == (exchange.Reasoning(text="Hm"), exchange.Text(text="a"))


def test_calls() -> None:
    one = {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "f", "namespace": "n"}
    two = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "b", "name": "g"}
    nameless = {"type": "function_call", "name": "h", "arguments": {"x": 1}}
    assert _parts(
        _added({**one, "arguments": ""}),
        _added({**two, "input": ""}, 1),
        _delta('{"x"', "function_call_arguments"),
        _delta("y", "custom_tool_call_input", 1),
        _delta(":1}", "function_call_arguments"),
        {"type": "response.function_call_arguments.done", "output_index": 0, "arguments": '{"x":1}'},
        _done({**one, "arguments": '{"x":1}'}),
        _done({**two, "input": "y"}, 1),
        _done(nameless, 2),
    ) == (
        exchange.ToolCall(id="a", name="f", arguments='{"x":1}', namespace="n", item_id="fc_1"),
        exchange.ToolCall(id="b", name="g", arguments="y", custom=True, item_id="ctc_1"),
        exchange.ToolCall(id="call_s0", name="h", arguments='{"x":1}'),
    )


def test_citations_come_once() -> None:
    one = {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1}
    two = {"type": "file_citation", "file_id": "file-1", "filename": "a.txt", "index": 3}
    bare = {"type": "url_citation", "url": "https://b"}
    added = {"type": "response.output_text.annotation.added", "output_index": 0, "content_index": 0}
    assert _parts(
        _delta("abc"),
        {**added, "annotation": one},
        {**added, "annotation": {"type": "unknown"}},
        {
            "type": "response.content_part.done",
            "output_index": 0,
            "content_index": 0,
            "part": _text("abc", annotations=[one, two, bare]),
        },
    ) == (
        exchange.Text(
            text="abc",
            citations=(
                exchange.UrlCitation(url="https://a", title="A", start=0, end=1),
                exchange.DocumentCitation(file_id="file-1", title="a.txt"),
                exchange.UrlCitation(url="https://b"),
            ),
        ),
    )


def test_hosted_steps_and_images() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "action": {"query": "a"}}
    found = _parts(
        _added(search),
        {"type": "response.web_search_call.searching", "output_index": 0},
        _done(search),
        _done({"type": "image_generation_call", "result": "AAAA", "output_format": "webp"}, 1),
        _done({"type": "of_the_future"}, 2),
    )
    step, image, foreign = found
    assert isinstance(step, exchange.HostedStep)
    assert (step.tool, step.query) == ("web_search", "a")
    assert image == exchange.Image(source=exchange.Inline("AAAA"), media_type="image/webp")
    assert isinstance(foreign, exchange.Foreign)


def test_a_hosted_tool_at_work_is_a_sign_of_life() -> None:
    events = receive(sse_of([CREATED, {"type": "response.web_search_call.searching", "output_index": 0}]))
    assert events[1:] == [exchange.Progress()]


# ---- ends


@pytest.mark.parametrize("reason", [*INCOMPLETE, "of the future", None])
def test_incomplete(reason: str | None) -> None:
    response = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    found = _read(_delta("a"), {"type": "response.incomplete", "response": response}, ended=False)
    assert found.choices[0].finish_reason == INCOMPLETE.get(reason or "", "other")
    whole = UPSTREAM.decode(json.dumps({**response, "output": []}).encode(), ASKED)
    assert isinstance(whole, exchange.Answer)
    assert whole.choices[0].finish_reason == found.choices[0].finish_reason


def test_a_refusal() -> None:
    found = _read(_delta("No", "refusal"), _delta(".", "refusal"))
    assert found.choices[0].parts == (exchange.Refusal(text="No."),)
    assert found.choices[0].finish_reason == "refusal"


def test_usage() -> None:
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }
    found = _read({"type": "response.completed", "response": {"usage": usage}}, ended=False)
    assert found.usage == exchange.Usage(prompt=10, completion=5, total=15, cached=4, cache_write=2, reasoning=3)


def test_a_stream_that_is_cut_has_no_end() -> None:
    assert not any(
        isinstance(event, exchange.End | exchange.Finish) for event in receive(sse_of([CREATED, _delta("a")]))
    )


def test_nothing_comes_after_the_end() -> None:
    events = receive(sse_of([CREATED, COMPLETED, _delta("a")]) + b"data: [DONE]\n\n")
    assert events[-1] == exchange.End()


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow down", "param": None},
        {"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "Slow down"}},
        {"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "Slow down"}}},
        {
            "type": "response.completed",
            "response": {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down"}},
        },
        {"error": {"code": "rate_limit_exceeded", "message": "Slow down"}},
    ],
)
def test_failures(frame: dict[str, object]) -> None:
    for before in ([], [CREATED], [CREATED, _delta("a")]):
        failed = receive(sse_of([*before, frame, frame], named=False))[-1]
        assert isinstance(failed, exchange.Failed)
        assert (failed.status, failed.message, failed.code) == (429, "Slow down", "rate_limit_exceeded")


def test_a_hosted_tool_that_fails_is_no_end() -> None:
    frame = {"type": "response.mcp_list_tools.failed", "error": {"message": "No."}}
    assert receive(sse_of([CREATED, frame]))[-1] == exchange.Progress()


def test_an_event_named_error_is_one() -> None:
    (failed,) = receive(b'event: error\ndata: {"message":"Broken","status":503}\n\n')
    assert failed == exchange.Failed(status=503, message="Broken")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "insufficient_quota"}, 429),
        ({"code": "server_error"}, 500),
        ({"code": "context_length_exceeded"}, 400),
        ({"code": "invalid_prompt"}, 400),
        ({"code": "image_too_large"}, 400),
        ({"code": "503"}, 503),
        ({"status": 529}, 529),
        ({"type": "overloaded_error"}, 503),
        ({"code": "vector_store_timeout"}, 504),
        ({"code": "model_not_found"}, 404),
        ({"code": None, "type": 3}, 500),
        ({}, 500),
    ],
)
def test_what_an_error_would_have_been(error: dict[str, object], status: int) -> None:
    assert status_of(error) == status


def test_a_whole_answer_that_failed_is_an_error_with_its_status() -> None:
    body = {"object": "response", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "sk-123"}}
    with pytest.raises(errors.UpstreamProtocolError) as caught:
        UPSTREAM.decode(json.dumps(body).encode(), ASKED)
    assert caught.value.status == 429
    assert "sk-123" not in caught.value.message


# ---- whatever comes


@pytest.mark.parametrize("data", [b"<html>", b"[1]", b"{}", b'{"type":1}', b'{"object":"chat.completion.chunk"}'])
def test_what_is_not_the_dialect_is_an_error_until_something_has_come(data: bytes) -> None:
    frame = b"data: " + data + b"\n\n"
    with pytest.raises(errors.UpstreamProtocolError):
        receive(frame)
    assert len(receive(sse_of([CREATED, _delta("a")]) + frame)) == 3


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"null", b'{"error":{}}', b'{"output":1}', b"\xff"])
def test_a_whole_answer_that_is_none(body: bytes) -> None:
    with pytest.raises(errors.UpstreamProtocolError):
        UPSTREAM.decode(body, ASKED)
    with pytest.raises(errors.UpstreamProtocolError):
        CODEC.upstream["count_tokens"].decode(body, ASKED)


def test_a_member_of_a_wrong_type_costs_no_more_than_itself() -> None:
    assert _parts(
        {"type": "response.output_text.delta", "delta": "a", "output_index": "0", "content_index": None},
        {"type": "response.output_text.delta", "delta": {"x": 1}, "logprobs": 3},
        {"type": "response.output_text.delta", "delta": "b", "output_index": 0, "item_id": 7},
    ) == (exchange.Text(text="ab"),)


_junk = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_names = st.sampled_from(
    [
        "type",
        "item",
        "part",
        "delta",
        "text",
        "output_index",
        "content_index",
        "summary_index",
        "arguments",
        "name",
        "call_id",
        "content",
        "summary",
        "encrypted_content",
        "annotation",
        "annotations",
        "logprobs",
        "response",
        "output",
        "status",
        "error",
        "usage",
        "incomplete_details",
        "result",
        "refusal",
        "input",
        "created_at",
        "id",
    ]
)
_types = st.sampled_from(
    [
        "message",
        "reasoning",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "output_text",
        "refusal",
        "image_generation_call",
        "url_citation",
        "response.output_text.delta",
        "response.output_item.added",
        "response.output_item.done",
        "response.content_part.done",
        "response.completed",
        "response.failed",
        "error",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
        "response.created",
        "response.refusal.delta",
        "response.output_text.annotation.added",
        "response.custom_tool_call_input.done",
    ]
)
_shaped = st.recursive(
    _junk | _types | st.integers(0, 2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_names, inner, max_size=6)
        | st.builds(lambda kind, rest: {**rest, "type": kind}, _types, st.dictionaries(_names, inner, max_size=6))
    ),
    max_leaves=25,
)


@settings(deadline=None, max_examples=100)
@given(st.lists(_shaped, max_size=8))
def test_any_events_are_read_in_the_grammar(frames: list[object]) -> None:
    assembler = exchange.Assembler()
    try:
        for event in receive(sse_of([CREATED, *frames], named=False)):
            assembler.receive(event)
    except errors.UpstreamProtocolError:
        raise AssertionError("something had come") from None
    assembler.answer()


_ITEMS = (
    {"type": "message", "id": "a", "content": [_text("x"), {"type": "refusal", "refusal": "y"}]},
    {"type": "message", "id": "b", "content": [{"type": "refusal", "refusal": "y"}, _text("x", annotations=[{}])]},
    {"type": "reasoning", "id": "a", "summary": [{"text": "s"}], "encrypted_content": "e"},
    {"type": "function_call", "id": "b", "call_id": "c", "name": "f", "arguments": "{}"},
    {"type": "custom_tool_call", "id": "b", "call_id": "d", "name": "g", "input": "i"},
    {"type": "web_search_call", "id": "a"},
    {"type": "image_generation_call", "id": "b", "result": "AAAA"},
)
_CITED = {"type": "url_citation", "url": "https://a"}
_PLAUSIBLE = (
    *({"type": "response.output_item.added", "item": item} for item in _ITEMS),
    *({"type": "response.output_item.done", "item": item} for item in _ITEMS),
    *({"type": f"response.{kind}.delta", "delta": "d"} for kind in ("output_text", "refusal", "reasoning_text")),
    *(
        {"type": f"response.{kind}.delta", "delta": "d"}
        for kind in ("reasoning_summary_text", "custom_tool_call_input")
    ),
    {"type": "response.function_call_arguments.delta", "delta": "d"},
    {"type": "response.function_call_arguments.done", "arguments": "{}"},
    {"type": "response.custom_tool_call_input.done", "input": "i"},
    {"type": "response.output_text.done", "text": "t"},
    {"type": "response.refusal.done", "refusal": "r"},
    {"type": "response.output_text.annotation.added", "annotation": _CITED},
    *({"type": f"response.content_part.{end}", "part": _text("t")} for end in ("added", "done")),
    *({"type": f"response.content_part.{end}", "part": {"type": "refusal"}} for end in ("added", "done")),
    {"type": "response.content_part.done", "part": {"type": "reasoning_text", "text": "t"}},
)
_places = st.fixed_dictionaries(
    {},
    optional={
        "output_index": st.integers(0, 2),
        "content_index": st.integers(0, 1),
        "summary_index": st.integers(0, 1),
        "item_id": st.sampled_from(["a", "b"]),
    },
)
_ends = st.builds(
    lambda output: {"type": "response.completed", "response": {"output": output}},
    st.lists(st.sampled_from(_ITEMS), max_size=4),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.builds(lambda event, place: {**event, **place}, st.sampled_from(_PLAUSIBLE), _places)), _ends)
def test_events_in_any_order_are_read_in_the_grammar(frames: list[object], end: object) -> None:
    exchange.assemble(receive(sse_of([CREATED, *frames, end], named=False)))


def test_items_without_a_number_are_told_apart_by_their_ids() -> None:
    one, two = {**MESSAGE, "id": "a", "content": [_text("x")]}, {**MESSAGE, "id": "b", "content": [_text("y")]}
    done = "response.output_item.done"
    end = {"type": "response.completed", "response": {"output": [one, two]}}
    for delta in ([], [{"type": "response.output_text.delta", "item_id": "a", "delta": "x"}]):
        frames = [CREATED, *delta, {"type": done, "item": one}, {"type": done, "item": two}, end]
        found = exchange.assemble(receive(sse_of(frames)))
        assert found.choices[0].parts == (exchange.Text(text="x"), exchange.Text(text="y"))


@settings(deadline=None, max_examples=100)
@given(_shaped | _junk)
def test_any_whole_answer_is_read_or_an_error(body: object) -> None:
    for value in (body, {"output": body}, {"object": "response", "output": [body]}):
        try:
            found = UPSTREAM.decode(msgspec.json.encode(value), ASKED)
        except errors.UpstreamProtocolError:
            continue
        assert isinstance(found, exchange.Answer)
        exchange.assemble(exchange.events_of(found))
    UPSTREAM.read_error(500, msgspec.json.encode(body))


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    assert UPSTREAM.stream_decoder is not None
    for before in (b"", sse_of([CREATED])):
        try:
            receive(before + b"data: " + data + b"\n\n")
        except errors.UpstreamProtocolError:
            assert not before
    with contextlib.suppress(errors.UpstreamProtocolError):
        UPSTREAM.decode(data, ASKED)
    assert UPSTREAM.read_error(500, data).message


@pytest.mark.parametrize(
    "make",
    [
        lambda inner: b'{"type":"response.output_item.done","item":' + inner + b"}",
        lambda inner: b'{"type":' + inner + b"}",
        lambda inner: b'{"type":"response.completed","response":{"output":' + inner + b"}}",
    ],
)
def test_deep_and_broken_json(make: Callable[[bytes], bytes]) -> None:
    for inner in (b"[" * 5000 + b"]" * 5000, b'"\\ud800"', b'"\xff"', b"1e999", b'{"type":"x","a":"\\udfff"}'):
        receive(sse_of([CREATED]) + b"data: " + make(inner) + b"\n\n")
        with contextlib.suppress(errors.UpstreamProtocolError):
            UPSTREAM.decode(make(inner), ASKED)


_SEAL = exchange.Seal(maker="openai", account="abcdefgh", value="gAAA")
_LONG = answer(
    exchange.Reasoning(text="日本 😀\n\n", summary=True, id="rs_1", encrypted=_SEAL),
    exchange.Text(text="Grüße 😀 " * 3, citations=(exchange.UrlCitation(url="https://ü", title="T", start=0, end=2),)),
    exchange.ToolCall(id="c", name="f", arguments='{"k":"ü"}', item_id="fc_1"),
    reason="tool_calls",
    usage=exchange.Usage(prompt=1, completion=2, total=3, cached=0, cache_write=0, reasoning=0),
)
_BODY = sse_of(written(exchange.events_of(_LONG)))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, len(_BODY)), max_size=6).map(sorted))
def test_a_stream_says_the_same_however_it_is_cut(cuts: list[int]) -> None:
    assert UPSTREAM.stream_decoder is not None
    decoder, splitter = UPSTREAM.stream_decoder(ASKED), sse.EventSplitter()
    edges = [0, *cuts, len(_BODY)]
    events = [
        event
        for start, end in itertools.pairwise(edges)
        for frame in splitter.receive_data(_BODY[start:end])
        for event in decoder.receive(frame)
    ]
    assert events == receive(_BODY)
    stamped = exchange.Seal(maker="openai", account=ASKED.target.account, value=origin.stamp(_SEAL))
    first, *others = _LONG.choices[0].parts
    found = exchange.assemble(events)
    assert found.choices[0].parts == (msgspec.structs.replace(first, encrypted=stamped), *others)
    assert msgspec.structs.replace(found, choices=()) == msgspec.structs.replace(_LONG, choices=())


def test_what_the_upstream_does_not_say_is_made_up_from_what_was_asked() -> None:
    found = exchange.assemble(receive(sse_of([_delta("a"), COMPLETED]), replace(ASKED, seed="xyz")))
    assert (found.id, found.created) == ("resp_xyz0", 7)
