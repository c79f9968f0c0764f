"""There and back: what a client got comes back as it was, and what is asked in the API's words stays what it is."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.exchange import (
    CacheControl,
    Choice,
    Document,
    HostedStep,
    HostedTool,
    Image,
    Inline,
    JsonSchema,
    Parameters,
    Part,
    Reasoning,
    ReasoningEffort,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
    UrlCitation,
)

_WORDS = st.text('abc é😀\n"\\', min_size=1, max_size=8).filter(lambda text: not text.isspace())
_IDS = st.text("abcXYZ019_-", min_size=1, max_size=8)
_SEALED = st.builds(
    Seal,
    maker=st.sampled_from(["anthropic", "google", "other"]),
    account=st.sampled_from(["", "acc0unt0"]),
    value=st.text("abcé/+=", min_size=1, max_size=12),
)
_ENCRYPTED = st.builds(
    Seal,
    maker=st.just("openai"),
    account=st.sampled_from(["", "acc0unt0"]),
    value=st.text("abc/+=", min_size=1, max_size=12),
)
_ARGUMENTS = st.dictionaries(_WORDS, st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _WORDS).map(
    lambda value: msgspec.json.encode(value).decode()
)
_STEP = msgspec.Raw(b'{"type":"server_tool_use","id":"s1","name":"web_search","input":{"query":"q"}}')
_CITED = st.builds(UrlCitation, url=_WORDS, title=st.none() | _WORDS, cited_text=_WORDS, seal=st.none() | _WORDS)

_ANSWERED: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=_WORDS, citations=st.lists(_CITED, max_size=2).map(tuple)),
    st.builds(Reasoning, text=_WORDS, signature=st.none() | _SEALED),
    st.builds(Reasoning, text=_WORDS, encrypted=_ENCRYPTED),
    st.builds(Reasoning, encrypted=_ENCRYPTED),
    st.builds(
        ToolCall,
        id=_IDS,
        name=_IDS,
        arguments=_ARGUMENTS,
        seal=st.none() | st.builds(Seal, maker=st.just("google"), value=st.text("abc", min_size=1)),
    ),
    st.just(HostedStep(tool="web_search", dialect="anthropic_messages", value=_STEP, id="s1", query="q")),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_ANSWERED, min_size=1, max_size=5).map(tuple), st.booleans())
def test_what_a_client_got_it_sends_back_as_it_was(parts: tuple[Part, ...], streamed: bool) -> None:
    answer = exchange.Answer(choices=(Choice(parts=parts, finish_reason="stop"),), id="i", model="m")
    if streamed:
        content = wire.accumulated(wire.write(exchange.events_of(answer))[0])["content"]
    else:
        content = json.loads(wire.CHAT_IN.encode(answer, wire.chat()).body)["content"]
    request = wire.decode({"messages": [{"role": "assistant", "content": content}]})
    assert [_comparable(part) for part in request.turns[0].parts] == [_comparable(part) for part in parts]
    assert request.unsaid == ()


def _comparable(part: Part) -> object:
    if isinstance(part, ToolCall):
        part = msgspec.structs.replace(part, arguments=json.dumps(json.loads(part.arguments)))
    return wire.plain(part)


_MARKS = st.none() | st.builds(CacheControl, ttl=st.sampled_from([None, "1h"]))
_SAID: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, text=_WORDS),
    st.builds(Image, source=st.just(Url("https://i"))),
    st.builds(Image, source=st.just(Inline("iVBORw0KGgo=")), media_type=st.just("image/png")),
    st.builds(
        Document,
        text=_WORDS,
        media_type=st.just("text/plain"),
        name=st.none() | _WORDS,
        context=st.none() | _WORDS,
        citations=st.booleans(),
    ),
)
_RESULTS = st.builds(
    ToolResult, call_id=_IDS, content=st.lists(_SAID, max_size=2).map(tuple), is_error=st.booleans(), cache=_MARKS
)
_TOOLS = st.lists(
    st.builds(
        Tool,
        name=_IDS,
        description=st.none() | _WORDS,
        parameters=st.just(msgspec.Raw(b'{"type": "object", "properties": {"a": {"const": 1.0}}}')),
        strict=st.sampled_from([None, True]),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda tool: tool.name,
)
_OWN_TOOL = HostedTool(
    kind="web_search",
    dialect="anthropic_messages",
    value=msgspec.Raw(b'{"type":"web_search_20260318","name":"web_search","max_uses":2}'),
    max_uses=2,
)
_PARAMETERS = st.builds(
    Parameters,
    max_tokens=st.just(20000),
    temperature=st.sampled_from([None, 0, 1, 0.25]),
    top_k=st.none() | st.integers(1, 50),
    stop=st.sampled_from([None, ("a", "b\n")]),
    user=st.none() | _WORDS,
    service_tier=st.sampled_from([None, "auto", "default"]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    tool_choice=st.sampled_from([ToolChoice(mode="auto"), ToolChoice(mode="required")]),
    response_format=st.none()
    | st.just(JsonSchema(schema=msgspec.Raw(b'{"type": "object", "additionalProperties": false}'))),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_SAID, min_size=1, max_size=3), st.lists(_RESULTS, max_size=2), _TOOLS, _PARAMETERS, st.booleans())
def test_what_the_api_can_say_is_said_without_loss(
    said: list[Part], results: list[ToolResult], tools: list[Tool], parameters: Parameters, stream: bool
) -> None:
    request = exchange.ChatRequest(
        model=wire.OLD,
        turns=(
            wire.system("s", Text(text="t", cache=CacheControl())),
            wire.user(*said),
            wire.assistant("a"),
            Turn(role="user", parts=(*results, Text(text="z"))),
        ),
        tools=(*tools, _OWN_TOOL),
        parameters=parameters,
        stream=stream,
    )
    _stays(request)


def _stays(request: exchange.ChatRequest) -> None:
    body, lost = wire.encode(request, wire.target(request.model))
    assert not lost
    again = wire.CHAT_IN.decode(wire.fields(body), request.model, bool(body.get("stream")), b"")
    assert wire.plain(again) == wire.plain(request)


def test_thinking_in_every_way_is_said_without_loss() -> None:
    for effort, model in (
        (ReasoningEffort(budget_tokens=2048), wire.OLD),
        (ReasoningEffort(budget_tokens=2048, summary="none"), wire.OLD),
        (ReasoningEffort(effort="none"), wire.OLD),
        (ReasoningEffort(adaptive=True), wire.NEW),
        (ReasoningEffort(adaptive=True, effort="xhigh", summary="auto"), wire.NEW),
    ):
        parameters = Parameters(max_tokens=20000, reasoning_effort=effort)
        _stays(exchange.ChatRequest(model=model, turns=(wire.user("q"),), parameters=parameters))


def test_thoughts_of_the_same_account_go_back_to_who_thought_them_and_to_no_other() -> None:
    said = {"type": "message", "content": [{"type": "thinking", "thinking": "hm", "signature": "EqQ"}], "model": "c"}
    answer = wire.CHAT_UP.decode(json.dumps(said).encode(), wire.asked())
    content = json.loads(wire.CHAT_IN.encode(answer, wire.chat()).body)["content"]
    assert content[0]["signature"].startswith(exchange.origin.MARK)
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content},
        {"role": "user", "content": "r"},
    ]
    request = wire.decode({"messages": messages})
    body, lost = wire.encode(request)
    assert body["messages"][1]["content"] == said["content"]  # type: ignore[index]
    assert not lost
    elsewhere = wire.CHAT_UP.encode(request, wire.Target(model=wire.OLD, account="0ther000"))
    assert elsewhere.lost == ("reasoning_signature", "reasoning")
    assert b"EqQ" not in elsewhere.body
