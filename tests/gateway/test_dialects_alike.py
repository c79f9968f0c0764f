"""What every dialect does in the same way: nothing left to send, halves of characters, models that refuse sampling."""

import json
from typing import NamedTuple

import msgspec
import pytest

from trunkline_gateway import exchange, openai_models
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.errors import UnsupportedFeatureError
from trunkline_gateway.exchange import ReasoningEffort, characters, origin
from trunkline_gateway.registry import INGRESS, UPSTREAM

CHATS = sorted(name for name, operation in UPSTREAM if operation == "chat")
HI = exchange.Text(text="hi")
FOREIGN = exchange.Foreign(dialect="nobody", kind="computer", value=msgspec.Raw(b"{}"))
STEP = exchange.HostedStep(tool="web_search", dialect="nobody", value=msgspec.Raw(b"{}"))


def _turn(role: exchange.request.Role, *parts: exchange.Part) -> exchange.Turn:
    return exchange.Turn(role=role, parts=parts)


# ---- nothing left to send


@pytest.mark.parametrize("dialect", CHATS)
@pytest.mark.parametrize(
    ("turns", "param"),
    [
        ((_turn("user", FOREIGN),), "computer"),
        ((_turn("user", STEP),), "hosted_step"),
        ((_turn("system", HI), _turn("user", FOREIGN)), "computer"),
        ((_turn("system", FOREIGN),), "computer"),
    ],
)
def test_a_request_of_which_nothing_is_left_is_refused(
    dialect: str, turns: tuple[exchange.Turn, ...], param: str
) -> None:
    for operation in ("chat", "count_tokens"):
        if side := UPSTREAM.get((dialect, operation)):  # type: ignore[call-overload]  # by name
            with pytest.raises(UnsupportedFeatureError) as caught:
                side.encode(exchange.ChatRequest(model="m", turns=turns), Target(model="claude-sonnet-4-5"))
            assert caught.value.param == param
            assert caught.value.status == 400


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_responses"])
def test_sound_alone_is_nothing_to_who_cannot_hear(dialect: str) -> None:
    sound = exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/wav")
    request = exchange.ChatRequest(model="m", turns=(_turn("user", sound),))
    with pytest.raises(UnsupportedFeatureError) as caught:
        UPSTREAM[dialect, "chat"].encode(request, Target(model="m"))
    assert caught.value.param == "audio_input"


@pytest.mark.parametrize("quirk", ["content_as_string", "no_image_urls"])
def test_a_picture_alone_is_nothing_to_who_takes_only_text(quirk: str) -> None:
    picture = exchange.Image(source=exchange.Url("https://example.com/a.png"))
    request = exchange.ChatRequest(model="m", turns=(_turn("user", picture),))
    with pytest.raises(UnsupportedFeatureError):
        UPSTREAM["openai_chat", "chat"].encode(request, Target(model="m", quirks=frozenset({quirk, "no_image_urls"})))


@pytest.mark.parametrize("dialect", CHATS)
@pytest.mark.parametrize(
    "turns",
    [
        (_turn("system", HI),),
        (_turn("user", HI, FOREIGN),),
        (_turn("user", FOREIGN), _turn("user", HI)),
        (_turn("user", exchange.Text(text="")),),
        (_turn("system", HI), _turn("user")),
        (_turn("user", exchange.ToolResult(call_id="a")),),
    ],
)
def test_what_leaves_something_is_sent(dialect: str, turns: tuple[exchange.Turn, ...]) -> None:
    assert UPSTREAM[dialect, "chat"].encode(exchange.ChatRequest(model="m", turns=turns), Target(model="m")).body


# ---- halves of characters


class _Frame(NamedTuple):
    name: bytes
    data: bytes


_ANTHROPIC_START = b'{"type":"message_start","message":{"id":"a","type":"message","role":"assistant","content":[]}}'
_ANTHROPIC_BLOCK = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
_ITEM = b'"output_index":0,"content_index":0,"item_id":"m"'
_MESSAGE = b'{"type":"message","id":"m","role":"assistant","status":"in_progress","content":[]}'

# What comes before a delta, the delta with its text left out, and a whole answer likewise; and the delta's event.
STREAMS: dict[str, tuple[tuple[bytes, ...], bytes, bytes, bytes]] = {
    "openai_chat": (
        (),
        b'{"id":"a","choices":[{"index":0,"delta":{"content":"%s"}}]}',
        b'{"id":"a","choices":[{"index":0,"message":{"content":"%s"},"finish_reason":"stop"}]}',
        b"",
    ),
    "openai_responses": (
        (
            b'{"type":"response.created","response":{"id":"r","status":"in_progress","output":[]}}',
            b'{"type":"response.output_item.added","output_index":0,"item":' + _MESSAGE + b"}",
            b'{"type":"response.content_part.added",' + _ITEM + b',"part":{"type":"output_text","text":""}}',
        ),
        b'{"type":"response.output_text.delta",' + _ITEM + b',"delta":"%s"}',
        b'{"id":"r","object":"response","status":"completed","output":[{"type":"message","id":"m","role":"assistant",'
        b'"content":[{"type":"output_text","text":"%s","annotations":[]}]}]}',
        b"",
    ),
    "anthropic_messages": (
        (_ANTHROPIC_START, _ANTHROPIC_BLOCK),
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"%s"}}',
        b'{"id":"a","type":"message","role":"assistant","content":[{"type":"text","text":"%s"}],"stop_reason":"end_turn"}',
        b"",
    ),
    "gemini_generate": (
        (),
        b'{"candidates":[{"content":{"role":"model","parts":[{"text":"%s"}]}}]}',
        b'{"candidates":[{"content":{"role":"model","parts":[{"text":"%s"}]},"finishReason":"STOP"}]}',
        b"",
    ),
    "bedrock_converse": (
        (),
        b'{"contentBlockIndex":0,"delta":{"text":"%s"}}',
        b'{"output":{"message":{"role":"assistant","content":[{"text":"%s"}]}},"stopReason":"end_turn"}',
        b"contentBlockDelta",
    ),
}
HALVES = [
    (rb"a\ud83d", "a\ufffd"),
    (rb"\ude00b", "\ufffdb"),
    (rb"\ud83d\ude00", "\U0001f600"),
    (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
    (rb"\\ud83d", r"\ud83d"),
    (rb"\uDE00\uD83D", "\ufffd\ufffd"),
]


def test_every_chat_is_tried_with_halves() -> None:
    assert sorted(STREAMS) == CHATS


@pytest.mark.parametrize("dialect", CHATS)
def test_a_character_cut_in_two_loses_no_event(dialect: str) -> None:
    before, delta, _, name = STREAMS[dialect]
    side = UPSTREAM[dialect, "chat"]
    assert side.stream_decoder is not None
    for first in (True, False):  # as the first that comes, and after good ones
        decoder = side.stream_decoder(Asked(target=Target(model="m"), stream=True))
        events = [event for data in before for event in decoder.receive(_Frame(b"", data))]
        for written in ([] if first else [b"ok"]) + [written for written, _ in HALVES]:
            events += decoder.receive(_Frame(name, delta.replace(b"%s", written)))
        said = "".join(event.text for event in events if isinstance(event, exchange.TextDelta))
        assert said == ("" if first else "ok") + "".join(text for _, text in HALVES)


@pytest.mark.parametrize("dialect", CHATS)
@pytest.mark.parametrize(("written", "text"), HALVES)
def test_a_whole_answer_with_half_a_character(dialect: str, written: bytes, text: str) -> None:
    body = STREAMS[dialect][2].replace(b"%s", written)
    answer = UPSTREAM[dialect, "chat"].decode(body, Asked(target=Target(model="m")))
    assert isinstance(answer, exchange.Answer)
    (part,) = answer.choices[0].parts
    assert isinstance(part, exchange.Text)
    assert part.text == text


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (b'"plain"', b'"plain"'),
        (b'"\xff"', '"\ufffd"'.encode()),
        ('"ü"'.encode(), '"ü"'.encode()),
        (rb'"\ud83d\ude00 \ud83d"', rb'"\ud83d\ude00 \ufffd"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (b'"\\', b'"\\'),
        (rb'"\u', rb'"\u'),
    ],
)
def test_only_what_is_broken_is_repaired(data: bytes, wanted: bytes) -> None:
    assert characters.repaired(data) == wanted


# ---- models that refuse sampling

ALL = frozenset(openai_models.HARMLESS)
SOME = frozenset({"presence_penalty", "frequency_penalty", "logit_bias"})
NOTHING = frozenset[str]()


@pytest.mark.parametrize(
    ("models", "unsaid", "off", "low"),
    [
        ("o1 o1-mini o1-pro-2025-03-19 o3 o3-mini o3-deep-research o4-mini o4-mini-2025-04-16 O3", ALL, ALL, ALL),
        ("gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-nano gpt-5-nano-2025-08-07 gpt-5-pro gpt-5-codex", ALL, ALL, ALL),
        ("gpt-5.1-codex gpt-5.1-codex-max gpt-5.2-pro gpt-5.3-codex ft:o4-mini:org openai/gpt-5-mini", ALL, ALL, ALL),
        ("gpt-5.1 gpt-5.1-2025-11-13 gpt-5.2 gpt-5.4 gpt-5.4-mini", SOME, SOME, ALL),
        ("gpt-5.5 gpt-5.6 gpt-5.6-luna gpt-6 gpt-6.1-mini", ALL, SOME, ALL),
        ("gpt-5-chat gpt-5-chat-latest gpt-5.1-chat-latest gpt-4o gpt-4.1 gpt-4 gpt-4-0613", NOTHING, NOTHING, NOTHING),
        ("chatgpt-4o-latest gpt-oss-120b o2 o1x omni gpt-50x claude-o3 my-deployment gpt-audio", *(NOTHING,) * 3),
    ],
)
def test_which_models_refuse_sampling(
    models: str, unsaid: frozenset[str], off: frozenset[str], low: frozenset[str]
) -> None:
    for model in models.split():
        for provider in ("openai", "azure-openai"):
            target = Target(model=model, provider=provider)
            assert openai_models.refused(target, None) == unsaid, model
            assert openai_models.refused(target, ReasoningEffort(summary="auto")) == unsaid, model
            assert openai_models.refused(target, ReasoningEffort(effort="none")) == off, model
            assert openai_models.refused(target, ReasoningEffort(budget_tokens=0)) == off, model
            assert openai_models.refused(target, ReasoningEffort(effort="low")) == low, model
            assert openai_models.refused(target, ReasoningEffort(budget_tokens=5000)) == low, model
        assert openai_models.refused(Target(model=model, provider="openrouter"), None) == NOTHING


# ---- another try, without seals


@pytest.mark.parametrize(
    "own",
    [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"toolCall": {"toolType": "URL_CONTEXT", "id": "t"}},
        {"toolResponse": {"toolType": "URL_CONTEXT", "id": "t"}},
    ],
)
def test_a_seal_within_a_step_is_taken_out_of_it(own: dict[str, object]) -> None:
    ingress = INGRESS["gemini_generate", "chat"]
    signature = origin.stamp(exchange.Seal(maker="google", account="", value="c2ln"))
    for sealed in (True, False):
        part = {**own, "thoughtSignature": signature} if sealed else own
        contents = [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [part]}]
        fields = {"contents": msgspec.Raw(json.dumps(contents).encode())}
        request = ingress.decode(fields, "m", False, b"")
        assert origin.has_seals(request) is sealed
        side, target = UPSTREAM["gemini_generate", "chat"], Target(model="gemini-3-pro")
        assert (b'"c2ln"' in side.encode(request, target).body) is sealed
        bare = origin.without_seals(request)
        assert not origin.has_seals(bare)
        assert json.loads(side.encode(bare, target).body)["contents"][1]["parts"] == [own]
