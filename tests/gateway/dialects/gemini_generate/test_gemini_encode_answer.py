"""What clients of Gemini's get, whole and streamed; all of it is valid for google-genai, which refuses what is not."""

import json

import msgspec
import pytest
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.gemini_generate import CODEC
from trunkline_gateway.dialects.gemini_generate.own import Own
from trunkline_gateway.exchange import losses, origin

CHAT = CODEC.ingress["chat"]
REQUEST = exchange.ChatRequest(model="asked", turns=())
SEAL = exchange.Seal(maker="anthropic", account="01234567", value="sig")
RAW = msgspec.Raw


def answer(*parts: exchange.Part, reason: exchange.FinishReason = "stop", **more: object) -> exchange.Answer:
    choice = exchange.Choice(parts=parts, finish_reason=reason, **more)
    return exchange.Answer(choices=(choice,), id="r1", model="m1", usage=exchange.Usage(prompt=3, completion=2))


def whole(said: exchange.Answer) -> tuple[dict, tuple[str, ...]]:
    encoded = CHAT.encode(said, REQUEST)
    body = json.loads(encoded.body)
    types.GenerateContentResponse.model_validate(body)
    return body, encoded.lost


def chunks(*events: exchange.Event, at_once: bool = False, request: exchange.ChatRequest = REQUEST) -> list[dict]:
    encoder = CHAT.stream_encoder(request)
    body = encoder.encode(events) if at_once else b"".join(encoder.encode([event]) for event in events)
    made = [json.loads(frame.data) for frame in sse.EventSplitter().receive_data(body)]
    for chunk in made:
        types.GenerateContentResponse.model_validate(chunk)
    return made


def wired(part: exchange.Part) -> tuple[list[dict], tuple[str, ...]]:
    body, lost = whole(answer(part))
    return body["candidates"][0]["content"]["parts"], lost


# ---- whole -----------------------------------------------------------------------------------------------------------


def test_a_whole_answer():
    assert whole(answer(exchange.Text(text="a")))[0] == {
        "candidates": [{"content": {"parts": [{"text": "a"}], "role": "model"}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
        "modelVersion": "m1",
        "responseId": "r1",
    }


CALL = exchange.ToolCall(id="c", name="f", arguments='{"a": 1.50}', seal=SEAL)
UNSEALED = origin.stamp(origin.UNSEALED)
STAMPED = "VEwxYTAxMjM0NTY3c2ln"


@pytest.mark.parametrize(
    ("part", "wanted", "lost"),
    [
        (exchange.Text(text="a", seal=SEAL), [{"text": "a", "thoughtSignature": STAMPED}], ()),
        (exchange.Refusal(text="no"), [{"text": "no"}], ("answer.refusal",)),
        (exchange.Reasoning(text="t"), [{"text": "t", "thought": True}], ()),
        (
            exchange.Reasoning(text="t", signature=SEAL),
            [{"text": "t", "thought": True, "thoughtSignature": STAMPED}],
            (),
        ),
        (CALL, [{"functionCall": {"id": "c", "name": "f", "args": {"a": 1.5}}, "thoughtSignature": STAMPED}], ()),
        (
            exchange.ToolCall(id="c", name="f"),
            [{"functionCall": {"id": "c", "name": "f", "args": {}}, "thoughtSignature": UNSEALED}],
            (),
        ),
        (
            exchange.ToolCall(id="c", name="f", arguments="{"),
            [{"functionCall": {"id": "c", "name": "f", "args": {"input": "{"}}, "thoughtSignature": UNSEALED}],
            ("tool_arguments",),
        ),
        (
            exchange.ToolCall(id="c", name="f", arguments="x", custom=True),
            [{"functionCall": {"id": "c", "name": "f", "args": {"input": "x"}}, "thoughtSignature": UNSEALED}],
            (),
        ),
        (
            exchange.Image(source=exchange.Inline("AAAA"), media_type="image/png"),
            [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
            (),
        ),
        (
            exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/pcm16", transcript="hi"),
            [{"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": "AAAA"}}, {"text": "hi"}],
            (),
        ),
        (
            exchange.HostedStep(
                tool="x", dialect="gemini_generate", value=RAW(b'{"executableCode":{"code":"1","language":"PYTHON"}}')
            ),
            [{"executableCode": {"code": "1", "language": "PYTHON"}}],
            (),
        ),
    ],
)
def test_parts(part, wanted, lost):
    assert wired(part) == (wanted, lost)
    streamed = chunks(*exchange.events_of(answer(part)), at_once=True)
    pieces = [piece for chunk in streamed for piece in chunk["candidates"][0].get("content", {}).get("parts", [])]
    assert json.dumps(joined(pieces)) == json.dumps(joined(wanted))


def joined(pieces: list[dict]) -> list[dict]:
    """As a client puts them together: text is text, and a signature ends what was before it."""
    made: list[dict] = []
    for piece in pieces:
        last = made[-1] if made else {}
        if "text" in piece and "text" in last and last.get("thought") == piece.get("thought"):
            last |= {**piece, "text": last["text"] + piece["text"]}
        else:
            made.append(dict(piece))
    return made


def test_what_others_say_and_gemini_does_not():
    parts = (
        exchange.HostedStep(tool="web_search", dialect="anthropic_messages", value=RAW(b"{}")),
        exchange.Foreign(dialect="openai_chat", kind="x", value=RAW(b"{}")),
    )
    said = answer(*parts, stop_sequence="x", safety=RAW(b'{"hate":{}}'))
    said = msgspec.structs.replace(said, usage=exchange.Usage(prompt=3, cache_write=2))
    body, lost = whole(said)
    names = {"answer.hosted_step", "answer.foreign", "answer.stop_sequence", "answer.safety", "answer.usage_details"}
    assert set(lost) == names
    assert names <= set(losses.FEATURES)
    assert body["candidates"][0]["content"] == {"parts": [{"text": ""}], "role": "model"}


def test_citations_are_grounding():
    text = exchange.Text(
        text="東京 is big",
        citations=(
            exchange.UrlCitation(url="https://a", title="A", cited_text="東京", start=0, end=2),
            exchange.UrlCitation(url="https://a", start=3, end=5),
            exchange.DocumentCitation(title="d", cited_text="x"),
        ),
    )
    body, lost = whole(answer(exchange.Text(text="é"), text))
    metadata = body["candidates"][0]["groundingMetadata"]
    assert metadata == {
        "groundingChunks": [
            {"web": {"uri": "https://a", "title": "A"}},
            {"retrievedContext": {"title": "d", "text": "x"}},
        ],
        "groundingSupports": [
            {"segment": {"partIndex": 1, "endIndex": 6, "text": "東京"}, "groundingChunkIndices": [0]},
            {"segment": {"partIndex": 1, "startIndex": 7, "endIndex": 9}, "groundingChunkIndices": [0]},
        ],
    }
    assert lost == ()
    last = chunks(*exchange.events_of(answer(exchange.Text(text="é"), text)))[-1]
    segments = [each["segment"] for each in last["candidates"][0]["groundingMetadata"]["groundingSupports"]]
    assert segments[1] == {"startIndex": 9, "endIndex": 11}, "in all the text of a stream"


def test_a_filtered_answer_has_no_content():
    ratings = RAW(b'[{"category":"HARM_CATEGORY_HARASSMENT","probability":"HIGH"}]')
    said = answer(reason="content_filter", safety=ratings)
    candidate = {"finishReason": "SAFETY", "index": 0, "safetyRatings": json.loads(bytes(ratings))}
    assert whole(said)[0]["candidates"] == [candidate]
    assert chunks(*exchange.events_of(said))[-1]["candidates"] == [candidate]


def test_logprobs():
    said = (
        exchange.TokenLogprob(token="a", logprob=-1.0, top=(exchange.TokenLogprob(token="a", logprob=-1.0),)),
        exchange.TokenLogprob(token="b", logprob=-2.0),
    )
    candidate = whole(answer(exchange.Text(text="ab"), logprobs=said))[0]["candidates"][0]
    assert candidate["avgLogprobs"] == -1.5
    assert [each["token"] for each in candidate["logprobsResult"]["chosenCandidates"]] == ["a", "b"]
    last = chunks(*exchange.events_of(answer(exchange.Text(text="ab"), logprobs=said)), at_once=True)[-1]
    assert last["candidates"][0]["logprobsResult"] == candidate["logprobsResult"]


def test_usage():
    said = exchange.Usage(prompt=100, completion=20, total=125, cached=40, reasoning=13, tool_prompt=5, audio_prompt=2)
    body, _ = whole(msgspec.structs.replace(answer(exchange.Text(text="a")), usage=said))
    assert body["usageMetadata"] == {
        "promptTokenCount": 95,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 7,
        "thoughtsTokenCount": 13,
        "toolUsePromptTokenCount": 5,
        "totalTokenCount": 125,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
    }


def test_a_count():
    encoded = CODEC.ingress["count_tokens"].encode(exchange.TokenCount(prompt=7, cached=2), REQUEST)
    assert json.loads(encoded.body) == {"totalTokens": 7, "cachedContentTokenCount": 2}


# ---- streamed --------------------------------------------------------------------------------------------------------


def test_a_stream():
    made = chunks(
        exchange.Start(id="r", model="m"),
        exchange.PartStart(0, exchange.Text(text="")),
        exchange.TextDelta(0, "a"),
        exchange.TextDelta(0, "b"),
        exchange.PartEnd(0),
        exchange.Finish(reason="length"),
        exchange.UsageReport(exchange.Usage(prompt=1, completion=2)),
        exchange.End(),
    )
    tail = {"modelVersion": "m", "responseId": "r"}
    content = [{"parts": [{"text": text}], "role": "model"} for text in ("a", "b", "")]
    assert made == [
        {"candidates": [{"content": content[0], "index": 0}], **tail},
        {"candidates": [{"content": content[1], "index": 0}], **tail},
        {
            "candidates": [{"content": content[2], "finishReason": "MAX_TOKENS", "index": 0}],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3},
            **tail,
        },
    ]


def test_what_comes_at_once_goes_at_once():
    made = chunks(
        *exchange.events_of(answer(exchange.Reasoning(text="t"), exchange.Text(text="a"), CALL)), at_once=True
    )
    assert len(made) == 1
    assert len(made[0]["candidates"][0]["content"]["parts"]) == 3


def test_calls_are_written_whole_when_they_end_even_interleaved():
    encoder = CHAT.stream_encoder(REQUEST)
    start = [exchange.PartStart(n, exchange.ToolCall(id=f"c{n}", name="f")) for n in (0, 1)]
    pieces = [
        exchange.ArgumentsDelta(0, '{"a":'),
        exchange.ArgumentsDelta(1, '{"b":'),
        exchange.ArgumentsDelta(0, "1}"),
    ]
    assert encoder.encode([*start, *pieces]) == b""
    first = json.loads(encoder.encode([exchange.PartEnd(0)])[6:])
    assert first["candidates"][0]["content"]["parts"][0]["functionCall"] == {"id": "c0", "name": "f", "args": {"a": 1}}
    second = json.loads(encoder.encode([exchange.ArgumentsDelta(1, "\n2}"), exchange.PartEnd(1)])[6:])
    assert second["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"b": 2}


def test_choices_are_candidates():
    made = chunks(
        exchange.PartStart(0, exchange.Text(text=""), 1),
        exchange.TextDelta(0, "b", 1),
        exchange.PartStart(0, exchange.Text(text=""), 0),
        exchange.TextDelta(0, "a", 0),
        exchange.PartEnd(0, 0),
        exchange.PartEnd(0, 1),
        exchange.Finish(reason="stop", choice=0),
        exchange.Finish(reason="length", choice=1),
        exchange.End(),
        at_once=True,
    )
    candidates = {each["index"]: each for each in made[-1]["candidates"]}
    assert [candidates[n]["content"]["parts"][0]["text"] for n in (0, 1)] == ["a", "b"]
    assert [candidates[n]["finishReason"] for n in (0, 1)] == ["STOP", "MAX_TOKENS"]


def test_an_array_is_one_as_it_comes():
    encoder = CHAT.stream_encoder(msgspec.structs.replace(REQUEST, own=Own(is_array=True)))
    events = exchange.events_of(answer(exchange.Text(text="a"), CALL))
    pieces = [encoder.encode([event]) for event in events]
    body = b"".join(pieces)
    assert [each["candidates"][0]["index"] for each in json.loads(body)] == [0, 0, 0]
    assert body.startswith(b"[{")
    assert body.endswith(b"}]")
    assert b"},\r\n{" in body or b"}\r\n," in body


PART = st.one_of(
    st.builds(lambda text: exchange.Text(text=text), st.text(min_size=1, max_size=4)),
    st.builds(lambda text: exchange.Text(text=text, seal=SEAL), st.text(min_size=1, max_size=4)),
    st.builds(lambda text: exchange.Reasoning(text=text, signature=SEAL), st.text(min_size=1, max_size=4)),
    st.just(exchange.Reasoning(encrypted=SEAL, id="rs", summary=True)),
    st.builds(
        lambda args: exchange.ToolCall(id="c", name="f", arguments=json.dumps(args)),
        st.dictionaries(st.text(max_size=2), st.integers(0, 9)),
    ),
    st.just(exchange.Image(source=exchange.Inline("AAAA"), media_type="image/png")),
    st.just(exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/wav")),
)


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(PART, max_size=6), at_once=st.booleans())
def test_what_a_client_sends_back_is_what_it_got(parts, at_once):
    """An answer, streamed, comes back as a turn of the history with all that is sealed in it."""
    made = chunks(*exchange.events_of(answer(*parts)), at_once=at_once)
    history = [chunk["candidates"][0]["content"] for chunk in made if "content" in chunk["candidates"][0]]
    body = {"contents": [{"role": "user", "parts": [{"text": "q"}]}, *history]}
    fields = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
    turns = CHAT.decode(fields, "m", False, b"").turns
    assert len(turns) == 2
    assert [key(part) for part in merged(turns[1].parts)] == [key(part) for part in merged(tuple(parts))]


@settings(deadline=None, max_examples=100)
@given(parts=st.lists(PART, max_size=6), at_once=st.booleans())
def test_streamed_is_whole(parts, at_once):
    asked = Asked(target=Target(model="m"))
    read = CODEC.upstream["chat"]
    streamed = [*chunks(*exchange.events_of(answer(*parts)), at_once=at_once)]
    one = read.decode(json.dumps(streamed).encode(), asked)
    other = read.decode(CHAT.encode(answer(*parts), REQUEST).body, asked)
    assert one.usage == other.usage
    assert one.choices[0].finish_reason == other.choices[0].finish_reason
    assert [key(part) for part in one.choices[0].parts] == [key(part) for part in other.choices[0].parts]


def merged(parts: tuple[exchange.Part, ...]) -> list[exchange.Part]:
    """Neighbours of one kind without a seal between them are one."""
    made: list[exchange.Part] = []
    for part in parts:
        last = made[-1] if made else None
        if isinstance(part, exchange.Text) and isinstance(last, exchange.Text) and last.seal is None:
            made[-1] = msgspec.structs.replace(part, text=last.text + part.text)
        else:
            made.append(part)
    return made


def key(part: exchange.Part) -> object:
    match part:
        case exchange.Reasoning():
            return part.text, part.signature, part.encrypted, part.id
        case exchange.ToolCall():
            return part.id, part.name, json.loads(part.arguments)
        case _:
            return part
