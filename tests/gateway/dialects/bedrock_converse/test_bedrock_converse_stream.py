"""Streams of Converse: whatever comes, the grammar holds, and streamed is the same as whole."""

import contextlib
import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.bedrock_converse import bedrock_wire as wire
from trunkline_gateway import aws, exchange
from trunkline_gateway.dialect import Asked
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.exchange import (
    ArgumentsDelta,
    ChatRequest,
    DocumentCitation,
    End,
    Failed,
    Finish,
    HostedStep,
    Image,
    Inline,
    PartEnd,
    PartStart,
    Reasoning,
    Seal,
    Start,
    Text,
    TextDelta,
    Tool,
    ToolCall,
    UrlCitation,
    Usage,
    UsageReport,
)

STOP = {"messageStop": {"stopReason": "end_turn"}}
COUNTS = {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}, "metrics": {"latencyMs": 1}}}


def delta(index: int, said: dict[str, object]) -> dict[str, object]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": said, "p": "abc"}}


def end(index: int) -> dict[str, object]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def test_text_is_passed_on_delta_by_delta() -> None:
    events = wire.events_of(
        wire.frames(
            [
                {"messageStart": {"role": "assistant"}},
                delta(0, {"text": "Hel"}),
                delta(0, {"text": ""}),
                delta(0, {"text": "lo"}),
                end(0),
                STOP,
                COUNTS,
            ]
        )
    )
    assert events == [
        Start(created=1_700_000_000),
        PartStart(0, Text(text="")),
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        PartEnd(0),
        Finish(reason="stop"),
        UsageReport(Usage(prompt=1, completion=2, total=3)),
        End(),
    ]


def test_arguments_are_passed_on_as_they_come() -> None:
    start = {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}}
    pieces = ["", '{"a', '": 1', "}"]
    events = wire.events_of(wire.frames([start, *(delta(0, {"toolUse": {"input": each}}) for each in pieces), end(0)]))
    assert [event.text for event in events if isinstance(event, ArgumentsDelta)] == ['{"a', '": 1', "}"]


def test_a_tool_call_without_input_has_an_empty_object() -> None:
    start = {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}}
    answer = wire.stream([start, delta(0, {"toolUse": {"input": ""}}), end(0), STOP, COUNTS])
    assert answer.choices[0].parts == (ToolCall(id="t1", name="f", arguments="{}"),)


def test_the_end_needs_no_counts_but_a_stop() -> None:
    begun = [delta(0, {"text": "a"}), end(0)]
    assert isinstance(wire.events_of(wire.frames([*begun, STOP]))[-1], End)
    assert not any(isinstance(event, End) for event in wire.events_of(wire.frames([*begun, COUNTS])))
    assert not any(isinstance(event, End) for event in wire.events_of(wire.frames(begun)))


def test_counts_may_come_before_the_stop() -> None:
    answer = wire.stream([delta(0, {"text": "a"}), COUNTS, STOP])
    assert answer.usage == Usage(prompt=1, completion=2, total=3)


def test_nothing_comes_after_the_end() -> None:
    events = wire.events_of(wire.frames([STOP, COUNTS, delta(0, {"text": "late"}), STOP, COUNTS]))
    assert [type(event) for event in events] == [Start, Finish, UsageReport, End]


CASES: dict[str, tuple[list[dict[str, object]], list[dict[str, object]]]] = {
    "text": ([delta(0, {"text": "a"}), delta(0, {"text": "b"}), end(0)], [{"text": "ab"}]),
    "empty text before a thought": (
        [
            delta(0, {"text": ""}),
            end(0),
            delta(1, {"reasoningContent": {"text": "hm"}}),
            end(1),
            delta(2, {"text": "a"}),
            end(2),
        ],
        [{"text": ""}, {"reasoningContent": {"reasoningText": {"text": "hm"}}}, {"text": "a"}],
    ),
    "signed thoughts": (
        [
            delta(0, {"reasoningContent": {"text": "h"}}),
            delta(0, {"reasoningContent": {"text": "m"}}),
            delta(0, {"reasoningContent": {"signature": "c2ln"}}),
            end(0),
        ],
        [{"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}],
    ),
    "hidden thoughts": (
        [
            delta(0, {"reasoningContent": {"redactedContent": "RXVF"}}),
            delta(0, {"reasoningContent": {"redactedContent": "Q2dJ"}}),
            end(0),
            delta(1, {"text": "a"}),
            end(1),
        ],
        [{"reasoningContent": {"redactedContent": "RXVFQ2dJ"}}, {"text": "a"}],
    ),
    "calls": (
        [
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"toolUseId": "t1", "name": "f"}}}},
            delta(1, {"toolUse": {"input": '{"a": 1}'}}),
            end(1),
            {"contentBlockStart": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t2", "name": "g"}}}},
            end(2),
        ],
        [
            {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}},
            {"toolUse": {"toolUseId": "t2", "name": "g", "input": {}}},
        ],
    ),
    "calls without ids": (
        [
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {"toolUse": {"name": "f"}}}},
            end(0),
            {"contentBlockStart": {"contentBlockIndex": 1, "start": {"toolUse": {"name": "f"}}}},
            end(1),
        ],
        [{"toolUse": {"name": "f", "input": {}}}, {"toolUse": {"name": "f", "input": {}}}],
    ),
    "citations before their text": (
        [
            delta(0, {"text": "See: "}),
            end(0),
            delta(1, {"citation": {"title": "d", "location": {"documentPage": {"documentIndex": 0, "start": 1}}}}),
            delta(1, {"text": "it"}),
            delta(1, {"text": " says"}),
            end(1),
        ],
        [
            {"text": "See: "},
            {
                "citationsContent": {
                    "content": [{"text": "it"}, {"text": " says"}],
                    "citations": [{"title": "d", "location": {"documentPage": {"documentIndex": 0, "start": 1}}}],
                }
            },
        ],
    ),
    "citations without text": (
        [
            delta(0, {"text": "4.0"}),
            end(0),
            delta(1, {"citation": {"location": {"web": {"url": "https://a.example/", "domain": "a.example"}}}}),
            delta(1, {"citation": {"location": {"web": {"url": "https://b.example/"}}}}),
            end(1),
            delta(2, {"text": "."}),
            end(2),
        ],
        [
            {"text": "4.0"},
            {"citationsContent": {"citations": [{"location": {"web": {"url": "https://a.example/"}}}]}},
            {"citationsContent": {"citations": [{"location": {"web": {"url": "https://b.example/"}}}]}},
            {"text": "."},
        ],
    ),
    "citations first of all": (
        [delta(0, {"citation": {"location": {"web": {"url": "https://a.example/"}}}}), end(0)],
        [{"citationsContent": {"citations": [{"location": {"web": {"url": "https://a.example/"}}}]}}],
    ),
    "citations after their text": (
        [delta(0, {"text": "it"}), delta(0, {"citation": {"title": "d"}}), delta(0, {"citation": {}}), end(0)],
        [{"citationsContent": {"content": [{"text": "it"}], "citations": [{"title": "d"}, {}, 7]}}],
    ),
    "blocks that become something else": (
        [delta(0, {"text": "a"}), delta(0, {"reasoningContent": {"text": "b"}}), delta(0, {"text": "c"}), end(0)],
        [{"text": "a"}, {"reasoningContent": {"reasoningText": {"text": "b"}}}, {"text": "c"}],
    ),
    "thoughts that hold nothing": (
        [delta(0, {"reasoningContent": {"redactedContent": "no base64"}}), end(0), delta(1, {"text": "a"}), end(1)],
        [{"reasoningContent": {"redactedContent": "no base64"}}, {"text": "a"}],
    ),
    "an image elsewhere": (
        [
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {"image": {"format": "png"}}}},
            delta(0, {"image": {"source": {"s3Location": {"uri": "s3://bucket/a.png"}}}}),
            end(0),
        ],
        [{"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.png"}}}}],
    ),
    "an image": (
        [
            {"contentBlockStart": {"contentBlockIndex": 0, "start": {"image": {"format": "webp"}}}},
            delta(0, {"image": {"source": {"bytes": "AAAA"}}}),
            delta(0, {"image": {"source": {"bytes": "AA=="}}}),
            end(0),
        ],
        [{"image": {"format": "webp", "source": {"bytes": "AAAAAA=="}}}],
    ),
    "steps": (
        [
            {
                "contentBlockStart": {
                    "contentBlockIndex": 0,
                    "start": {"toolUse": {"toolUseId": "t", "name": "nova_grounding", "type": "server_tool_use"}},
                }
            },
            delta(0, {"toolUse": {"input": '{"query":"q"}'}}),
            end(0),
            {
                "contentBlockStart": {
                    "contentBlockIndex": 1,
                    "start": {"toolResult": {"toolUseId": "t", "type": "nova_grounding_result", "status": "success"}},
                }
            },
            delta(1, {"toolResult": [{"text": "[HIDDEN]"}]}),
            end(1),
        ],
        [
            {
                "toolUse": {
                    "toolUseId": "t",
                    "name": "nova_grounding",
                    "type": "server_tool_use",
                    "input": {"query": "q"},
                }
            },
            {
                "toolResult": {
                    "toolUseId": "t",
                    "type": "nova_grounding_result",
                    "status": "success",
                    "content": [{"text": "[HIDDEN]"}],
                }
            },
        ],
    ),
    "blocks that do not stop": (
        [delta(0, {"text": "a"}), delta(1, {"reasoningContent": {"text": "b"}})],
        [{"text": "a"}, {"reasoningContent": {"reasoningText": {"text": "b"}}}],
    ),
}


def comparable(answer: exchange.Answer) -> object:
    """Steps by their value and not by its bytes."""
    return [
        (part.tool, part.id, part.query, json.loads(bytes(part.value))) if isinstance(part, HostedStep) else part
        for part in answer.choices[0].parts
    ]


@pytest.mark.parametrize("case", CASES)
def test_streamed_is_whole(case: str) -> None:
    events, content = CASES[case]
    streamed = wire.stream([{"messageStart": {"role": "assistant"}}, *events, STOP, COUNTS])
    complete = wire.whole(content, usage={"inputTokens": 1, "outputTokens": 2, "totalTokens": 3})
    assert comparable(streamed) == comparable(complete)
    assert streamed.usage == complete.usage
    assert streamed.choices[0].finish_reason == complete.choices[0].finish_reason


def test_what_the_cases_say() -> None:
    def parts(case: str) -> tuple[exchange.Part, ...]:
        return wire.whole(CASES[case][1]).choices[0].parts

    assert parts("signed thoughts") == (
        Reasoning(text="hm", signature=Seal(maker="anthropic", account="acc0unt0", value="c2ln")),
    )
    # The blob holds what Anthropic itself writes as text.
    assert parts("hidden thoughts")[0] == Reasoning(
        encrypted=Seal(maker="anthropic", account="acc0unt0", value="EuECgI")
    )
    assert parts("citations without text")[0] == Text(
        text="4.0", citations=(UrlCitation(url="https://a.example/"), UrlCitation(url="https://b.example/"))
    )
    assert parts("citations before their text")[1] == Text(
        text="it says", citations=(DocumentCitation(document=0, title="d", unit="page", start=1),)
    )
    assert parts("an image") == (Image(source=Inline("AAAAAA=="), media_type="image/webp"),)
    assert [part.id for part in parts("calls without ids")] == ["call_s33d0", "call_s33d1"]


def test_names_and_free_text_come_back_as_the_client_knows_them() -> None:
    tools = (
        Tool(name="get.weather"),
        Tool(name="shell", custom=True),
        Tool(name="run", namespace="crm"),
    )
    request = ChatRequest(model="m", turns=(), tools=tools)
    body = json.loads(wire.CHAT.encode(request, wire.asked().target).body)
    written = [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]]
    assert written[1:] == ["shell", "crm__run"]
    asked_for = wire.asked(request=request)
    inputs = [{"a": 1}, {"input": "ls -l"}, {}]
    content = [
        {"toolUse": {"toolUseId": f"t{index}", "name": name, "input": given}}
        for index, (name, given) in enumerate(zip(written, inputs, strict=True))
    ]
    events: list[dict[str, object]] = []
    for index, block in enumerate(content):
        use = dict(block["toolUse"])
        given = json.dumps(use.pop("input"))
        events.append({"contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": use}}})
        events += [delta(index, {"toolUse": {"input": piece}}) for piece in (given[:3], given[3:])]
        events.append(end(index))
    expected = (
        ToolCall(id="t0", name="get.weather", arguments='{"a": 1}'),
        ToolCall(id="t1", name="shell", arguments="ls -l", custom=True),
        ToolCall(id="t2", name="run", namespace="crm", arguments="{}"),
    )
    assert wire.whole(content, asked_for).choices[0].parts == expected
    assert wire.stream([*events, STOP, COUNTS], asked_for).choices[0].parts == expected


@pytest.mark.parametrize(
    ("name", "payload", "status"),
    [
        ("throttlingException", {"message": "slow"}, 429),
        ("validationException", {"message": "bad"}, 400),
        ("internalServerException", {"message": "oh"}, 500),
        ("serviceUnavailableException", {"message": "away"}, 503),
        ("modelTimeoutException", {"message": "late"}, 408),
        ("modelStreamErrorException", {"message": "broke"}, 500),
        ("modelStreamErrorException", {"message": "broke", "originalStatusCode": 424}, 424),
        ("modelStreamErrorException", {"originalMessage": "broke", "originalStatusCode": 200}, 500),
        ("somethingNewException", {}, 500),
    ],
)
def test_an_exception_in_the_stream_is_a_failure(name: str, payload: dict[str, object], status: int) -> None:
    data = wire.frames([delta(0, {"text": "a"})]) + wire.exception(name, payload) + wire.frames([STOP, COUNTS])
    events = wire.events_of(data)
    assert isinstance(events[-1], Failed)
    assert (events[-1].status, events[-1].type) == (status, name)
    assert events[-1].message


def test_an_error_message_is_a_failure() -> None:
    data = aws.encode({":message-type": "error", ":error-code": "InternalFailure", ":error-message": "gone"}, b"")
    assert wire.events_of(data) == [Failed(status=500, message="gone", type="InternalFailure", code="InternalFailure")]


def test_the_stop_sequence_comes_from_the_models_own_fields() -> None:
    stop = {"messageStop": {"stopReason": "stop_sequence", "additionalModelResponseFields": {"stop_sequence": "END"}}}
    choice = wire.stream([stop, COUNTS]).choices[0]
    assert (choice.finish_reason, choice.stop_sequence) == ("stop_sequence", "END")


@pytest.mark.parametrize("name", ["messageStart", "contentBlockDelta", "messageStop", "metadata"])
@pytest.mark.parametrize("data", [b"", b"no", b"[1]", b"\xff", b'{"a":"\xff"', b"[" * 100_000])
def test_what_is_not_json_is_refused_first_and_skipped_later(name: str, data: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        wire.events_of(wire.frame(name, data))
    before = wire.frames([delta(0, {"text": "a"})])
    events = wire.events_of(before + wire.frame(name, data) + wire.frames([STOP, COUNTS]))
    assert isinstance(events[-1], End)


def test_unknown_events_are_skipped() -> None:
    assert wire.events_of(wire.frames([{"somethingNew": {"a": 1}}])) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("AAAA"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
SAID = st.one_of(
    st.fixed_dictionaries({"text": st.text(max_size=3) | JSON}),
    st.fixed_dictionaries({"toolUse": st.fixed_dictionaries({"input": st.text(max_size=3) | JSON}) | JSON}),
    st.fixed_dictionaries(
        {
            "reasoningContent": st.dictionaries(
                st.sampled_from(["text", "signature", "redactedContent"]), st.text(max_size=3) | JSON, max_size=2
            )
        }
    ),
    st.fixed_dictionaries(
        {"citation": st.dictionaries(st.sampled_from(["title", "location", "sourceContent"]), JSON, max_size=3)}
    ),
    st.fixed_dictionaries({"toolResult": JSON}),
    st.fixed_dictionaries({"image": JSON}),
    JSON,
)
USE = st.dictionaries(
    st.sampled_from(["toolUseId", "name", "type"]), st.just("server_tool_use") | st.just("t") | JSON, max_size=3
)
INDEX = st.integers(0, 2) | st.just(-1) | st.just(1 << 70) | JSON
EVENT = st.one_of(
    st.fixed_dictionaries({"contentBlockDelta": st.fixed_dictionaries({"contentBlockIndex": INDEX, "delta": SAID})}),
    st.fixed_dictionaries(
        {
            "contentBlockStart": st.fixed_dictionaries(
                {
                    "contentBlockIndex": INDEX,
                    "start": st.fixed_dictionaries({"toolUse": USE})
                    | st.fixed_dictionaries({"toolResult": USE})
                    | st.fixed_dictionaries({"image": JSON})
                    | JSON,
                }
            )
        }
    ),
    st.fixed_dictionaries({"contentBlockStop": st.fixed_dictionaries({"contentBlockIndex": INDEX})}),
    st.fixed_dictionaries({"messageStart": JSON}),
    st.fixed_dictionaries({"messageStop": st.fixed_dictionaries({"stopReason": JSON})}),
    st.fixed_dictionaries({"metadata": st.fixed_dictionaries({"usage": JSON})}),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(EVENT, max_size=12))
def test_any_events_keep_to_the_grammar(events: list[dict[str, object]]) -> None:
    try:
        found = wire.events_of(wire.frames(events))
    except UpstreamProtocolError:
        return
    assembler = exchange.Assembler()
    for event in found:
        assembler.receive(event)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(["contentBlockDelta", "contentBlockStart", "metadata", "messageStop", "x"]), st.binary())
def test_any_bytes_are_events_or_refused(name: str, data: bytes) -> None:
    with contextlib.suppress(UpstreamProtocolError):
        wire.events_of(wire.frame(name, data))


STREAM = wire.frames([*CASES["signed thoughts"][0], *(delta(1, {"text": each}) for each in "größe 🙂"), STOP, COUNTS])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, len(STREAM)), max_size=10).map(sorted))
def test_any_cut_gives_the_same(cuts: list[int]) -> None:
    pieces = [STREAM[start:stop] for start, stop in pairwise([0, *cuts, len(STREAM)])]
    assert wire.events_of(pieces) == wire.events_of(STREAM)


def test_seals_are_of_the_maker_of_the_model() -> None:
    def maker(model: str) -> str:
        asked_for: Asked = wire.asked(model)
        (part,) = wire.whole(CASES["signed thoughts"][1], asked_for).choices[0].parts
        assert isinstance(part, Reasoning)
        assert part.signature is not None
        return part.signature.maker

    assert maker("arn:aws:bedrock:us-east-1:1:inference-profile/eu.anthropic.claude-opus-4-6-v1") == "anthropic"
    assert maker(wire.NOVA) == "other"
