"""Answers to clients, whole and streamed, which come to the same."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.exchange import (
    Answer,
    Audio,
    Choice,
    DocumentCitation,
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
    losses,
    origin,
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
        (
            Reasoning(text="hm"),
            [{"type": "thinking", "thinking": "hm", "signature": origin.stamp(origin.UNSEALED)}],
            "",
        ),
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
        (HostedStep(tool="web_search", dialect="anthropic_messages", value=wire.raw(_OWN)), [_OWN], ""),
        (
            HostedStep(
                tool="web_search", dialect="anthropic_messages", value=msgspec.Raw(json.dumps(_OWN, indent=1).encode())
            ),
            [_OWN],
            "",
        ),
        (HostedStep(tool="web_search", dialect="openai_responses", value=wire.raw({})), [], "answer.hosted_step"),
        (Foreign(dialect="gemini_generate", kind="x", value=wire.raw({})), [], "answer.foreign"),
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
    choice = Choice(parts=(), finish_reason="refusal", safety=wire.raw(details), stop_sequence="x")
    said, lost = _both(Answer(choices=(choice,), id="i", model="m"))
    assert (said["stop_details"], said["stop_sequence"], lost) == (details, "x", set())
    choice = Choice(parts=(), finish_reason="content_filter", safety=wire.raw([{"category": "HARM"}]))
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
