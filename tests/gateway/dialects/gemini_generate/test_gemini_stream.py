"""What an answer of Gemini's is in neutral terms, case by case, and for any bytes at all."""

import base64
import json
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.gemini_generate import CODEC, finish
from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.sse import ServerSentEvent

CHAT = CODEC.upstream["chat"]
ACCOUNT = "0123abcd"
ASKED = Asked(target=Target(model="gemini-2.5-flash", account=ACCOUNT), seed="s", now=7)


def google(value: str) -> exchange.Seal:
    return exchange.Seal(maker="google", account=ACCOUNT, value=value)


def body(*parts: object, reason: object = "STOP", **more: object) -> dict:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "finishReason": reason, **more}]}


def decode(answer: object, asked: Asked = ASKED) -> exchange.Answer:
    return CHAT.decode(json.dumps(answer).encode(), asked)


def parts_of(*parts: object, **more: object) -> tuple[exchange.Part, ...]:
    return decode(body(*parts, **more)).choices[0].parts


def frames(*chunks: object) -> list[ServerSentEvent]:
    return [ServerSentEvent(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n") for chunk in chunks]


def streamed(*chunks: object, asked: Asked = ASKED) -> list[exchange.Event]:
    decoder = CHAT.stream_decoder(asked)
    events = [event for frame in frames(*chunks) for event in decoder.receive(frame)]
    return [*events, *decoder.receive_eof()]


# ---- vocabularies ----------------------------------------------------------------------------------------------------


def test_every_finish_reason_has_a_word_both_ways():
    assert set(finish.TO_WIRE) == set(get_args(exchange.FinishReason))
    assert set(finish.FROM_WIRE.values()) <= set(get_args(exchange.FinishReason))
    assert set(finish.NAMES) <= set(finish.FROM_WIRE)
    assert set(finish.TO_WIRE.values()) <= set(finish.FROM_WIRE)


def test_the_sdk_and_the_reference_know_no_other_reasons():
    from google.genai import types

    assert {each.value for each in types.FinishReason} <= set(finish.FROM_WIRE)
    assert set(finish.TO_WIRE.values()) <= {each.value for each in types.FinishReason}


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "malformed_tool_call"),
        ("UNEXPECTED_TOOL_CALL", "malformed_tool_call"),
        ("MODEL_ARMOR", "content_filter"),
        ("A_WORD_OF_NEXT_YEAR", "other"),
        (1, "stop"),
        (2, "length"),
        (99, "other"),
        (None, "other"),
    ],
)
def test_finish_reasons(reason, wanted):
    assert decode(body({"text": "a"}, reason=reason)).choices[0].finish_reason == wanted


def test_stop_after_calls_means_tool_calls():
    answer = decode(body({"functionCall": {"name": "f"}}))
    assert answer.choices[0].finish_reason == "tool_calls"


# ---- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wired", "wanted"),
    [
        ([{"text": "a"}, {"text": "b"}], [exchange.Text(text="ab")]),
        (
            [{"text": "t", "thought": True}, {"text": "a"}],
            [exchange.Reasoning(text="t", summary=True), exchange.Text(text="a")],
        ),
        ([{"text": "a"}, {"text": "", "thoughtSignature": "c2ln"}], [exchange.Text(text="a", seal=google("c2ln"))]),
        (
            [{"text": "a", "thoughtSignature": "c2ln"}, {"text": "b"}],
            [exchange.Text(text="a", seal=google("c2ln")), exchange.Text(text="b")],
        ),
        (
            [{"text": "t", "thought": True, "thoughtSignature": "c2ln"}],
            [exchange.Reasoning(text="t", summary=True, signature=google("c2ln"))],
        ),
        ([{"text": "", "thoughtSignature": "c2ln"}], [exchange.Reasoning(summary=True, signature=google("c2ln"))]),
        ([{"text": ""}], []),
        ([{}], []),
        (
            [{"functionCall": {"name": "f", "args": {"a": 1.50}}}],
            [exchange.ToolCall(id="call_s0", name="f", arguments='{"a":1.5}')],
        ),
        (
            [{"functionCall": {"name": "f", "id": "x"}, "thoughtSignature": "c2ln"}, {"functionCall": {"name": "g"}}],
            [
                exchange.ToolCall(id="x", name="f", arguments="{}", seal=google("c2ln")),
                exchange.ToolCall(id="call_s1", name="g", arguments="{}"),
            ],
        ),
        (
            [{"inlineData": {"mimeType": "image/png", "data": "aGk"}}],
            [exchange.Image(source=exchange.Inline("aGk="), media_type="image/png")],
        ),
        (
            [{"inlineData": {"mimeType": "audio/wav", "data": "-_8="}}],
            [exchange.Audio(source=exchange.Inline("+/8="), media_type="audio/wav")],
        ),
        (
            [{"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v"}}],
            [exchange.Video(source=exchange.Url("gs://b/v"), media_type="video/mp4")],
        ),
    ],
)
def test_parts(wired, wanted):
    assert list(parts_of(*wired)) == wanted
    assert exchange.assemble(streamed(body(*wired))).choices[0].parts == tuple(wanted)
    # And one by one.
    chunks = [{"candidates": [{"content": {"parts": [each]}}]} for each in wired]
    assert exchange.assemble(streamed(*chunks, body())).choices[0].parts == tuple(wanted)


def test_the_numbers_of_arguments_stay_as_they_are():
    call = b'{"functionCall":{"name":"f","args":{"a": 1.50, "b" : 12345678901234567890123}}}'
    answer = b'{"candidates":[{"content":{"parts":[' + call + b"]}}]}"
    (call,) = CHAT.decode(answer, ASKED).choices[0].parts
    assert call.arguments == '{"a":1.50,"b":12345678901234567890123}'


def test_code_that_was_run_goes_through_as_it_is():
    code = {"executableCode": {"language": "PYTHON", "code": "print(1)", "id": "c"}, "thoughtSignature": "c2ln"}
    ran, result = parts_of(code, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}})
    assert (ran.tool, ran.id, ran.query, result.query) == ("code_execution", "c", "print(1)", "1")
    value = json.loads(bytes(ran.value))
    assert value["executableCode"] == code["executableCode"]
    assert value["thoughtSignature"].startswith("VEwx"), "its signature finds its way back to who made it"


def test_server_side_tools_and_unknown_parts():
    call, foreign = parts_of(
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB", "args": {"queries": ["a", "b"]}, "id": "t"}},
        {"hologram": {"x": 1}},
    )
    assert (call.tool, call.query, call.id) == ("web_search", "a b", "t")
    assert (foreign.dialect, foreign.kind, json.loads(bytes(foreign.value))) == (
        "gemini_generate",
        "hologram",
        {"hologram": {"x": 1}},
    )


def test_samples_in_pieces_are_one_sound():
    samples = bytes(range(250))
    pieces = [samples[at : at + 7] for at in range(0, len(samples), 7)]
    chunks = [
        {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": base64.b64encode(each).decode()}}
        for each in pieces
    ]
    (sound,) = parts_of(*chunks)
    assert sound.media_type == "audio/pcm16"
    assert base64.b64decode(sound.source.data, validate=True) == samples


def test_arguments_in_pieces():
    def piece(**call: object) -> dict:
        return {"candidates": [{"content": {"parts": [{"functionCall": call}]}}]}

    events = streamed(
        piece(name="f", id="x", willContinue=True),
        piece(partialArgs=[{"jsonPath": "$.items[0].name", "stringValue": "ap"}], willContinue=True),
        piece(partialArgs=[{"jsonPath": "$.items[0].name", "stringValue": "ple"}], willContinue=True),
        piece(partialArgs=[{"jsonPath": "$.items[1]['a.b']", "numberValue": 1.5}], willContinue=True),
        piece(partialArgs=[{"jsonPath": "$.ok", "boolValue": True}, {"jsonPath": "$.no", "nullValue": "NULL_VALUE"}]),
        body(),
    )
    (call,) = exchange.assemble(events).choices[0].parts
    assert json.loads(call.arguments) == {"items": [{"name": "apple"}, {"a.b": 1.5}], "ok": True, "no": None}


def test_names_go_back_to_what_the_client_calls_them():
    tools = (
        exchange.Tool(name="get weather!"),
        exchange.Tool(name="f", namespace="a"),
        exchange.Tool(name="free", custom=True),
    )
    request = exchange.ChatRequest(model="m", turns=(), tools=tools)
    sent = json.loads(CHAT.encode(request, ASKED.target).body)["tools"][0]["functionDeclarations"]
    first, second, third = (each["name"] for each in sent)
    asked = Asked(target=ASKED.target, request=request, seed="s")
    answer = decode(
        body(*({"functionCall": {"name": name, "args": {"input": "x"}}} for name in (first, second, third))), asked
    )
    made = [(call.name, call.namespace, call.custom, call.arguments) for call in answer.choices[0].parts]
    assert made == [
        ("get weather!", None, False, '{"input":"x"}'),
        ("f", "a", False, '{"input":"x"}'),
        ("free", None, True, "x"),
    ]


# ---- beside the parts ------------------------------------------------------------------------------------------------


def test_usage_is_counted_the_neutral_way():
    answer = decode(
        body({"text": "a"})
        | {
            "usageMetadata": {
                "promptTokenCount": 100,
                "cachedContentTokenCount": 40,
                "candidatesTokenCount": 7,
                "thoughtsTokenCount": 13,
                "toolUsePromptTokenCount": 5,
                "totalTokenCount": 125,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 90},
                    {"modality": "AUDIO", "tokenCount": 10},
                ],
            }
        }
    )
    assert answer.usage == exchange.Usage(
        prompt=105, completion=20, total=125, cached=40, reasoning=13, tool_prompt=5, audio_prompt=10
    )


def test_citations_stand_where_the_bytes_say():
    text = "Größe 東京 is big."
    start = len("Größe ".encode())
    end = start + len("東京".encode())
    metadata = {
        "groundingChunks": [
            {"web": {"uri": "https://a", "title": "A"}},
            {"retrievedContext": {"title": "d", "text": "x"}},
        ],
        "groundingSupports": [
            {"segment": {"startIndex": start, "endIndex": end, "text": "東京"}, "groundingChunkIndices": [0]}
        ],
    }
    said, beside = parts_of({"text": text[:8]}, {"text": text[8:]}, groundingMetadata=metadata)
    assert said.citations == (
        exchange.UrlCitation(url="https://a", title="A", cited_text="東京", start=6, end=8),
        exchange.DocumentCitation(title="d", cited_text="x"),
    )
    assert beside.kind == "groundingMetadata"
    assert json.loads(bytes(beside.value)) == metadata


def test_citations_that_come_too_late_are_not_lost():
    events = streamed(
        body({"text": "a"}, {"functionCall": {"name": "f"}}),
        {"candidates": [{"groundingMetadata": {"groundingChunks": [{"web": {"uri": "https://a"}}]}}]},
    )
    parts = exchange.assemble(events).choices[0].parts
    assert [type(part).__name__ for part in parts] == ["Text", "ToolCall", "Text", "Foreign"]
    assert parts[2].citations == (exchange.UrlCitation(url="https://a"),)


def test_logprobs():
    result = {
        "chosenCandidates": [
            {"token": "a", "logProbability": -0.5, "tokenId": 3},
            {"token": "b", "logProbability": -1},
        ],
        "topCandidates": [
            {"candidates": [{"token": "a", "logProbability": -0.5}, {"token": "c", "logProbability": -2}]}
        ],
    }
    (choice,) = decode(body({"text": "ab"}, logprobsResult=result)).choices
    assert [(each.token, each.logprob, len(each.top)) for each in choice.logprobs] == [("a", -0.5, 2), ("b", -1.0, 0)]


def test_a_blocked_prompt_is_an_empty_answer():
    ratings = [{"category": "HARM_CATEGORY_HATE_SPEECH", "probability": "HIGH"}]
    answer = {"promptFeedback": {"blockReason": "SAFETY", "safetyRatings": ratings}, "modelVersion": "m"}
    (choice,) = decode(answer).choices
    assert (choice.parts, choice.finish_reason, json.loads(bytes(choice.safety))) == ((), "content_filter", ratings)
    assert exchange.assemble(streamed(answer)) == decode(answer)


def test_candidates_are_choices():
    chunk = {
        "candidates": [
            {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"},
            {"index": 0, "content": {"parts": [{"text": "a"}]}, "finishReason": "MAX_TOKENS"},
        ]
    }
    assert [(each.index, each.parts[0].text, each.finish_reason) for each in decode(chunk).choices] == [
        (0, "a", "length"),
        (1, "b", "stop"),
    ]


def test_a_stream_without_a_reason_was_cut():
    events = streamed({"candidates": [{"content": {"parts": [{"text": "a"}]}}]})
    assert not any(isinstance(event, exchange.End | exchange.Finish) for event in events)


def test_old_models_repeat_the_reason():
    events = streamed(body({"text": "a"}), body({"text": "b"}))
    assert exchange.assemble(events).choices[0].parts == (exchange.Text(text="ab"),)


def test_usage_is_there_before_the_end():
    events = streamed(
        body({"text": "a"}, reason=None) | {"usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3}}
    )
    assert exchange.UsageReport(exchange.Usage(prompt=3, completion=0, total=3)) in events


def test_an_error_in_a_stream():
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    failed = exchange.Failed(status=503, message="overloaded", type="UNAVAILABLE")
    assert streamed(error) == [failed]
    assert streamed({"candidates": [{"content": {"parts": [{"text": "a"}]}}]}, [error])[-1] == failed
    with pytest.raises(UpstreamProtocolError) as caught:
        decode(error)
    assert caught.value.status == 503


def test_garbage_before_content_is_refused_and_after_it_skipped():
    decoder = CHAT.stream_decoder(ASKED)
    for garbage in (b"data: hello\n\n", b'data: {"object":"chat.completion.chunk"}\n\n', b"data: 3\n\n"):
        with pytest.raises(UpstreamProtocolError):
            decoder.receive(ServerSentEvent(garbage))
    assert not decoder.receive(ServerSentEvent(b": comment\n\n"))
    for frame in frames(body({"text": "a"})):
        decoder.receive(frame)
    assert not decoder.receive(ServerSentEvent(b"data: hel\n\n"))
    assert not decoder.receive(ServerSentEvent(b"data: [DONE]\n\n"))
    assert isinstance(decoder.receive_eof()[-1], exchange.End)


@pytest.mark.parametrize(
    "answer", [b"", b"  ", b"[]", b"{}", b"null", b"<html>", b'{"candidates":[]}', b"\xff", b"[" * 5000]
)
def test_what_is_no_answer_is_refused(answer):
    with pytest.raises(UpstreamProtocolError):
        CHAT.decode(answer, ASKED)


def test_wrong_types_are_left_out():
    answer = {
        "candidates": {
            "content": {"parts": [None, 3, {"text": 5}, {"text": "a", "thought": "no"}, {"functionCall": []}]}
        },
        "usageMetadata": {"promptTokenCount": "x", "candidatesTokenCount": 4, "totalTokenCount": -1},
        "modelVersion": 7,
        "responseId": "r",
    }
    read = decode(answer)
    assert (read.id, read.model, read.choices[0].parts) == ("r", "", (exchange.Text(text="a"),))
    assert read.usage == exchange.Usage(completion=4)


def test_time():
    assert decode(body({"text": "a"}) | {"createTime": "2026-08-19T14:34:20.061871Z"}).created == 1787150060
    assert decode(body({"text": "a"}) | {"createTime": "soon"}).created == 7


# ---- for any input ---------------------------------------------------------------------------------------------------

NAMES = [
    "candidates",
    "content",
    "parts",
    "text",
    "thought",
    "functionCall",
    "name",
    "args",
    "inlineData",
    "data",
    "mimeType",
    "usageMetadata",
    "finishReason",
    "index",
    "error",
    "groundingMetadata",
    "groundingChunks",
    "thoughtSignature",
    "executableCode",
    "promptFeedback",
    "blockReason",
    "partialArgs",
    "willContinue",
    "jsonPath",
    "web",
    "uri",
    "logprobsResult",
    "chosenCandidates",
    "safetyRatings",
    "citationMetadata",
]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.just("STOP"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(answer=JSON | st.builds(lambda inner: {"candidates": [{"content": {"parts": inner}}]}, JSON))
def test_any_json_is_an_answer_or_a_mapped_error(answer):
    data = json.dumps(answer).encode()
    try:
        whole = CHAT.decode(data, ASKED)
    except UpstreamProtocolError:
        whole = None
    decoder = CHAT.stream_decoder(ASKED)
    assembler = exchange.Assembler()
    try:
        for event in [*decoder.receive(ServerSentEvent(b"data: " + data + b"\n\n")), *decoder.receive_eof()]:
            assembler.receive(event)
    except UpstreamProtocolError:
        return
    if assembler.ended:
        assert whole == assembler.answer()


@settings(deadline=None, max_examples=100)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_mapped_error(data):
    for read in (lambda: CHAT.decode(data, ASKED), lambda: CHAT.stream_decoder(ASKED).receive(ServerSentEvent(data))):
        try:
            read()
        except UpstreamProtocolError:
            continue
    assert isinstance(CHAT.read_error(400, data).message, str)


PIECE = st.one_of(
    st.builds(lambda text: {"text": text}, st.text(max_size=4)),
    st.builds(lambda text: {"text": text, "thought": True}, st.text(max_size=4)),
    st.just({"text": "", "thoughtSignature": "c2ln"}),
    st.just({"text": "x", "thoughtSignature": "c2ln"}),
    st.builds(
        lambda args: {"functionCall": {"name": "f", "args": args}},
        st.dictionaries(st.text(max_size=2), st.integers(0, 9)),
    ),
    st.just({"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
    st.builds(
        lambda raw: {"inlineData": {"mimeType": "audio/pcm", "data": base64.b64encode(raw).decode()}},
        st.binary(min_size=1, max_size=9),
    ),
    st.just({"executableCode": {"code": "1", "language": "PYTHON"}}),
)


@settings(deadline=None, max_examples=100)
@given(pieces=st.lists(PIECE, max_size=8), cuts=st.lists(st.integers(0, 2000), max_size=5).map(sorted))
def test_streamed_is_whole_and_the_same_however_it_is_cut(pieces, cuts):
    chunks = [{"candidates": [{"content": {"parts": [piece]}}], "responseId": "r"} for piece in pieces]
    raw = b"".join(frame.raw for frame in frames(*chunks, body() | {"responseId": "r"}))
    edges = [0, *[min(cut, len(raw)) for cut in cuts], len(raw)]
    decoder, splitter = CHAT.stream_decoder(ASKED), sse.EventSplitter()
    events: list[exchange.Event] = []
    for start, end in pairwise(edges):
        for frame in splitter.receive_data(raw[start:end]):
            events += decoder.receive(frame)
    answer = exchange.assemble([*events, *decoder.receive_eof()])
    assert answer == decode(body(*pieces) | {"responseId": "r"})


def test_many_parts_take_linear_time():
    import time

    code = [{"executableCode": {"code": "x", "language": "PYTHON"}}] * 20_000
    support = {"segment": {"startIndex": 0, "endIndex": 3}, "groundingChunkIndices": [0]}
    metadata = {"groundingChunks": [{"web": {"uri": "u"}}], "groundingSupports": [support] * 20_000}
    answer = json.dumps(body(*code, {"text": "ä" * 200_000}, groundingMetadata=metadata)).encode()
    began = time.monotonic()
    CHAT.decode(answer, ASKED)
    assert time.monotonic() - began < 5
