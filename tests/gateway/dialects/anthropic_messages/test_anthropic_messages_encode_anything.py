"""Requests for the API, whatever is asked."""

import json
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.errors import UnsupportedFeatureError
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Document,
    FileId,
    Image,
    Inline,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Turn,
    Url,
    losses,
)

OWN = Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")
OTHERS = Seal(maker="anthropic", account="0ther000", value="EqQ")
GPT = Seal(maker="openai", account="", value="gAAA")
PNG = "iVBORw0KGgoAAAA="


F = Tool(name="f", parameters=wire.raw({"type": "object", "properties": {}}))


def _said(*turns: Turn, to: Target | None = None) -> tuple[list[tuple[str, list[dict[str, object]]]], set[str]]:
    body, lost = wire.encode(wire.chat(*turns), to)
    return [(message["role"], message["content"]) for message in body["messages"]], lost  # type: ignore[attr-defined]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


_TEXTS = st.text(max_size=8)
_SEALS = st.none() | st.builds(
    Seal,
    maker=st.sampled_from(["anthropic", "openai"]),
    account=st.sampled_from(["", wire.ACCOUNT, "x"]),
    value=st.text("abc", min_size=1),
)
_MARKS = st.none() | st.builds(CacheControl, ttl=st.sampled_from([None, "5m", "1h"]))
_SOURCES = st.builds(Url, _TEXTS) | st.builds(Inline, _TEXTS) | st.builds(FileId, _TEXTS)
_PARTS = (
    st.builds(Text, text=_TEXTS, cache=_MARKS)
    | st.builds(Reasoning, text=_TEXTS, signature=_SEALS, encrypted=_SEALS)
    | st.builds(Image, source=_SOURCES, media_type=st.sampled_from([None, "image/png", "x"]))
    | st.builds(Document, source=st.none() | _SOURCES, text=st.none() | _TEXTS, name=st.none() | _TEXTS)
    | st.builds(ToolCall, id=_TEXTS, name=_TEXTS, arguments=_TEXTS | st.just('{"a":1}'), custom=st.booleans())
    | st.builds(ToolResult, call_id=_TEXTS, content=st.tuples(st.builds(Text, text=_TEXTS)), is_error=st.booleans())
    | st.builds(Refusal, text=_TEXTS)
    | st.just(Audio(source=Inline("AAAA")))
)
_TURNS = st.builds(
    Turn,
    role=st.sampled_from(["system", "developer", "user", "assistant"]),
    parts=st.lists(_PARTS, max_size=4).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(_TURNS, max_size=6).map(tuple),
    st.lists(
        st.builds(Tool, name=_TEXTS, namespace=st.none() | _TEXTS, custom=st.booleans(), cache=_MARKS), max_size=3
    ),
    st.sampled_from([wire.target(), wire.target(wire.NEW), wire.target("x", "no_json_schema", "no_prefill")]),
    st.none()
    | st.builds(
        ReasoningEffort,
        effort=st.sampled_from([None, "none", "low", "max"]),
        budget_tokens=st.none() | st.integers(-1, 90000),
        adaptive=st.booleans(),
    ),
    st.none() | st.integers(1, 70000),
)
def test_whatever_is_asked_the_api_gets_what_it_takes(
    turns: tuple[Turn, ...], tools: list[Tool], to: Target, effort: ReasoningEffort | None, most: int | None
) -> None:
    request = exchange.ChatRequest(
        model="m",
        turns=turns,
        tools=tuple(tools),
        parameters=exchange.Parameters(reasoning_effort=effort, max_tokens=most),
    )
    try:
        encoded = wire.CHAT_UP.encode(request, to)
    except UnsupportedFeatureError:
        return  # nothing was left of it
    assert set(encoded.lost) <= set(losses.FEATURES)
    body = json.loads(encoded.body)
    messages = body["messages"]
    assert messages[0]["role"] == "user"
    for before, after in pairwise(messages):
        assert before["role"] != after["role"]
    marks = 0
    for block in [
        *body.get("tools", []),
        *body.get("system", []),
        *(each for message in messages for each in message["content"]),
    ]:
        marks += "cache_control" in block
        assert block.get("text", "x").strip()
    assert marks <= 4
    for message in messages:
        kinds = [block["type"] for block in message["content"]]
        assert kinds
        results = kinds.count("tool_result")
        assert kinds[:results] == ["tool_result"] * results
    if body.get("thinking", {}).get("type") == "enabled":
        assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]
    assert encoded == wire.CHAT_UP.encode(request, to)
