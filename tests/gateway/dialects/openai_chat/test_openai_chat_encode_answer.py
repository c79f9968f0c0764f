"""What clients get, whole and streamed: as the SDK's models want it, and the same either way."""

import json
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from trunkline_gateway import errors, exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_chat import CODEC, vocabulary
from trunkline_gateway.dialects.openai_chat.decode_request import Own
from trunkline_gateway.exchange import (
    Answer,
    Audio,
    ChatRequest,
    Choice,
    DocumentCitation,
    FileId,
    Foreign,
    HostedStep,
    Image,
    Inline,
    Reasoning,
    Refusal,
    Seal,
    Text,
    TokenLogprob,
    ToolCall,
    UrlCitation,
    Usage,
)
from trunkline_gateway.exchange.answer import FinishReason
from trunkline_gateway.exchange.losses import FEATURES
from trunkline_gateway.exchange.origin import stamp
from trunkline_gateway.sse import EventSplitter

INGRESS = CODEC.ingress["chat"]
UPSTREAM = CODEC.upstream["chat"]
REQUEST = ChatRequest(model="m", turns=(), stream=True)
LEGACY = ChatRequest(model="m", turns=(), stream=True, own=Own(legacy=True))
SEAL = Seal(maker="anthropic", account="12345678", value="c2ln")
OTHER = Seal(maker="google", account="12345678", value="Zw==")
USAGE = Usage(prompt=5, completion=3, total=8, cached=1, cache_write=2, reasoning=1, audio_prompt=0)


def answer(*parts: exchange.Part, reason: FinishReason = "stop", **choice: object) -> Answer:
    return Answer(
        id="i", model="M", created=7, usage=USAGE, choices=(Choice(parts=parts, finish_reason=reason, **choice),)
    )


def whole(given: Answer, request: ChatRequest = REQUEST) -> tuple[dict, tuple[str, ...]]:
    encoded = INGRESS.encode(given, request)
    ChatCompletion.model_validate_json(encoded.body, strict=True)
    assert FEATURES.keys() >= set(encoded.lost)
    return json.loads(encoded.body), encoded.lost


def chunks(given: Answer, request: ChatRequest = REQUEST) -> tuple[list[dict], tuple[str, ...]]:
    encoder = INGRESS.stream_encoder(request)
    # One event at a time and all at once are the same.
    events = exchange.events_of(given)
    data = b"".join(encoder.encode([event]) for event in events)
    assert INGRESS.stream_encoder(request).encode(events) == data
    frames = [frame.data for frame in EventSplitter().receive_data(data)]
    assert frames[-1] == b"[DONE]"
    read = [json.loads(frame) for frame in frames[:-1]]
    for chunk in read:
        if b'"custom"' not in data:  # the SDK's model of a chunk does not know them
            ChatCompletionChunk.model_validate(chunk, strict=True)
    return read, encoder.lost


def summed(read: list[dict]) -> dict:
    """The message that a client adds up, by the SDK's own rules."""
    state = ChatCompletionStreamState()
    for chunk in read:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.current_completion_snapshot.choices[0].message.to_dict()


def message(given: Answer, request: ChatRequest = REQUEST) -> dict:
    return whole(given, request)[0]["choices"][0]["message"]


CITED = Text(text="ab", citations=(UrlCitation(url="u", title="t", start=0, end=1), UrlCitation(url="v")))


@pytest.mark.parametrize(
    ("parts", "members"),
    [
        ([Text(text="a"), Text(text="b")], {"content": "ab", "refusal": None}),
        ([], {"content": None}),
        ([Refusal(text="no")], {"refusal": "no", "content": None}),
        ([Reasoning(text="hm"), Text(text="a")], {"reasoning_content": "hm", "content": "a"}),
        (
            [Reasoning(text="hm", signature=SEAL), Text(text="a")],
            {
                "reasoning_content": "hm",
                "reasoning_details": [
                    {
                        "type": "reasoning.text",
                        "text": "hm",
                        "format": "anthropic-claude-v1",
                        "index": 0,
                        "signature": stamp(SEAL),
                    }
                ],
            },
        ),
        (
            [Reasoning(text="x"), Reasoning(text="hm", summary=True, encrypted=OTHER, id="rs")],
            {
                "reasoning_content": "xhm",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "x", "format": "unknown", "index": 0},
                    {
                        "type": "reasoning.encrypted",
                        "summary": "hm",
                        "data": stamp(OTHER),
                        "id": "rs",
                        "format": "google-gemini-v1",
                        "index": 1,
                    },
                ],
            },
        ),
        (
            [ToolCall(id="c", name="f", arguments="{}", seal=OTHER), ToolCall(id="d", name="g")],
            {
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                        "extra_content": {"google": {"thought_signature": stamp(OTHER)}},
                    },
                    {"id": "d", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ]
            },
        ),
        (
            [ToolCall(id="c", name="f", arguments="x", custom=True)],
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        ),
        (
            [Text(text="xy"), CITED],
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "u", "title": "t", "start_index": 2, "end_index": 3},
                    },
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "v", "title": "v", "start_index": 2, "end_index": 4},
                    },
                ]
            },
        ),
        (
            [Image(source=Inline("AAAA"), media_type="image/png")],
            {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}, "index": 0}]},
        ),
        (
            [Audio(id="x", source=Inline("AAAA"), transcript="a", expires_at=9)],
            {"audio": {"id": "x", "data": "AAAA", "transcript": "a", "expires_at": 9}},
        ),
        ([Text(text="a", seal=OTHER)], {"extra_content": {"google": {"thought_signature": stamp(OTHER)}}}),
    ],
)
def test_messages(parts: list[exchange.Part], members: Mapping[str, object]) -> None:
    given = answer(*parts)
    assert members.items() <= message(given).items()
    if any(isinstance(part, ToolCall) and part.custom for part in parts):
        return
    # Streamed it adds up to the same.
    added = summed(chunks(given)[0])
    for name, value in members.items():
        if value is not None and name != "audio":
            assert without_index(added.get(name)) == without_index(value), name


def without_index(value: object) -> object:
    """The SDK numbers what it adds up."""
    if isinstance(value, list):
        return [without_index(item) for item in value]
    if isinstance(value, dict):
        added = ("index", "parsed", "parsed_arguments")
        return {name: without_index(each) for name, each in value.items() if name not in added}
    return value


def test_the_head_and_the_usage() -> None:
    given = msgspec.structs.replace(answer(Text(text="a")), service_tier="standard", system_fingerprint="fp")
    body, lost = whole(given)
    assert lost == ()
    assert {
        name: body[name] for name in ("id", "object", "created", "model", "service_tier", "system_fingerprint")
    } == {
        "id": "i",
        "object": "chat.completion",
        "created": 7,
        "model": "M",
        "service_tier": "default",
        "system_fingerprint": "fp",
    }
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 2, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    read, _ = chunks(given)
    assert {chunk["id"] for chunk in read} == {"i"}
    assert read[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert read[-1]["choices"] == []
    assert read[-1]["usage"] == body["usage"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in read[:-1]] == [None, None, "stop"]
    unasked, _ = chunks(given, ChatRequest(model="m", turns=(), include_usage=False))
    assert not any("usage" in chunk for chunk in unasked)


def test_citations_of_several_texts_add_up() -> None:
    given = answer(CITED, Reasoning(text="hm"), CITED)
    assert without_index(summed(chunks(given)[0])["annotations"]) == message(given)["annotations"]
    assert len(message(given)["annotations"]) == 4


def test_custom_calls_in_a_stream() -> None:
    read, _ = chunks(answer(ToolCall(id="c", name="f", arguments="x", custom=True)))
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in read[1:3]]
    assert calls == [
        {"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": ""}},
        {"index": 0, "custom": {"input": "x"}},
    ]


def test_calls_are_counted_over_calls_only() -> None:
    parts = [Reasoning(text="a"), Text(text="b"), *(ToolCall(id=name, name="f", arguments="{}") for name in "cd")]
    read, _ = chunks(answer(*parts, reason="tool_calls"))
    deltas = [chunk["choices"][0]["delta"] for chunk in read if chunk["choices"]]
    assert [each["tool_calls"][0]["index"] for each in deltas if "tool_calls" in each] == [0, 0, 1, 1]


def test_callers_of_the_older_api_get_their_form() -> None:
    call, second = ToolCall(id="c", name="f", arguments='{"a":1}'), ToolCall(id="d", name="g")
    given = answer(call, second, reason="tool_calls")
    body, lost = whole(given, LEGACY)
    (choice,) = body["choices"]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert "tool_calls" not in choice["message"]
    assert (choice["finish_reason"], lost) == ("function_call", ("answer.foreign",))
    read, lost = chunks(given, LEGACY)
    assert lost == ("answer.foreign",)
    assert summed(read)["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert read[-2]["choices"][0]["finish_reason"] == "function_call"
    empty, _ = chunks(answer(second), LEGACY)
    assert summed(empty)["function_call"] == {"name": "g", "arguments": "{}"}


def test_reasons_are_a_total_table() -> None:
    assert set(vocabulary.FINISH_TO_WIRE) == set(FinishReason.__args__)
    assert set(vocabulary.FINISH_OF_WIRE.values()) <= set(FinishReason.__args__)
    for reason, word in vocabulary.FINISH_TO_WIRE.items():
        given = answer(Text(text="a"), reason=reason)
        assert whole(given)[0]["choices"][0]["finish_reason"] == word
        assert chunks(given)[0][-2]["choices"][0]["finish_reason"] == word


def test_makers_have_formats() -> None:
    assert set(vocabulary.FORMAT_OF_MAKER) == {"openai", "anthropic", "google", "other"}
    for maker, form in vocabulary.FORMAT_OF_MAKER.items():
        assert vocabulary.MAKER_OF_FORMAT.get(form, "other") == maker


@pytest.mark.parametrize(
    ("given", "lost"),
    [
        (answer(HostedStep(tool="web_search", dialect="x", value=msgspec.Raw(b"{}"))), "answer.hosted_step"),
        (answer(Foreign(dialect="x", kind="y", value=msgspec.Raw(b"{}"))), "answer.foreign"),
        (answer(Image(source=FileId("f"))), "answer.image"),
        (answer(Text(text="a", citations=(DocumentCitation(),))), "answer.citations"),
        (answer(ToolCall(id="c", name="f", namespace="n")), "answer.tool_namespace"),
        (answer(Text(text="a"), reason="stop_sequence", stop_sequence="x"), "answer.stop_sequence"),
        (answer(Text(text="a"), safety=msgspec.Raw(b"[]")), "answer.safety"),
        (msgspec.structs.replace(answer(Text(text="a")), usage=Usage(tool_prompt=3)), "answer.usage_details"),
    ],
)
def test_what_cannot_be_said_is_named(given: Answer, lost: str) -> None:
    assert whole(given)[1] == (lost,)
    assert chunks(given)[1] == (lost,)


def test_logprobs_and_several_choices() -> None:
    token = TokenLogprob(token="a", logprob=-1.0, bytes=(97,), top=(TokenLogprob(token="b", logprob=-2.0),))
    first = Choice(parts=(Text(text="a"),), finish_reason="stop", logprobs=(token,))
    second = Choice(index=1, parts=(Text(text="b"),), finish_reason="length", safety=msgspec.Raw(b'{"x":1}'))
    given = Answer(id="i", choices=(first, second))
    body, lost = whole(given)
    assert lost == ()
    wired = {"token": "a", "logprob": -1.0, "bytes": [97]}
    top = [{"token": "b", "logprob": -2.0, "bytes": None}]
    assert body["choices"][0]["logprobs"]["content"] == [{**wired, "top_logprobs": top}]
    assert body["choices"][1]["content_filter_results"] == {"x": 1}
    assert body["model"] == "m"
    read, _ = chunks(given)
    by_choice = [chunk["choices"][0] for chunk in read]
    assert [each["logprobs"]["content"] for each in by_choice if "logprobs" in each] == [
        [{**wired, "top_logprobs": top}]
    ]
    assert [each["finish_reason"] for each in by_choice if each["index"] == 1] == [None, None, "length"]


def test_an_error_in_the_stream_is_raised_by_clients() -> None:
    event = INGRESS.error_event(errors.UpstreamTimeoutError("late"), True)
    assert json.loads(event.removeprefix(b"data: "))["error"]["message"] == "late"


# ---- there and back --------------------------------------------------------------------------------------------------

TEXTS = st.text(min_size=1, max_size=8)
JSON_TEXTS = st.sampled_from(["{}", '{"a":1}', "[]"])
SEALS = st.builds(Seal, maker=st.sampled_from(["openai", "anthropic", "google", "other"]), value=TEXTS)
REASONINGS = st.builds(Reasoning, text=TEXTS, signature=st.none() | SEALS)
CITATIONS = st.builds(UrlCitation, url=TEXTS, title=TEXTS, start=st.integers(0, 3), end=st.integers(0, 3))
PARTS = st.tuples(
    st.lists(REASONINGS, max_size=1),
    st.lists(st.builds(Text, text=TEXTS, citations=st.lists(CITATIONS, max_size=2).map(tuple)), max_size=1),
    st.lists(st.builds(Refusal, text=TEXTS), max_size=1),
    st.lists(st.builds(ToolCall, id=st.uuids().map(str), name=TEXTS, arguments=JSON_TEXTS), max_size=3),
).map(lambda lists: tuple(part for parts in lists for part in parts))
CHOICES = st.lists(st.tuples(PARTS, st.sampled_from(["length", "content_filter"])), min_size=1, max_size=3)
ASKED = Asked(target=Target(model="m"))


@settings(max_examples=80, deadline=None)
@given(CHOICES)
def test_what_is_written_is_read_again(choices: list[tuple[tuple[exchange.Part, ...], FinishReason]]) -> None:
    given = Answer(
        id="i",
        model="M",
        created=5,
        usage=USAGE,
        choices=tuple(
            Choice(index=index, parts=parts, finish_reason=reason) for index, (parts, reason) in enumerate(choices)
        ),
    )
    expected = sealed(given)
    assert sealed(UPSTREAM.decode(INGRESS.encode(given, REQUEST).body, ASKED), read=True) == expected
    decoder = UPSTREAM.stream_decoder(ASKED)
    data = INGRESS.stream_encoder(REQUEST).encode(exchange.events_of(given))
    events = [event for frame in EventSplitter().receive_data(data) for event in decoder.receive(frame)]
    assert sealed(exchange.assemble(events), read=True) == expected


def sealed(given: Answer, *, read: bool = False) -> object:
    """All of it; what was stamped for a client is what an upstream's decoder takes for its own."""
    return (
        [
            [
                (part.text, part.signature and (part.signature.value if read else stamp(part.signature)))
                if isinstance(part, Reasoning)
                else part
                for part in choice.parts
            ]
            for choice in given.choices
        ],
        [choice.finish_reason for choice in given.choices],
        given.usage,
        (given.id, given.model, given.created),
    )
