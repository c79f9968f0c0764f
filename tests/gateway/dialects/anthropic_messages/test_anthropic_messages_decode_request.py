"""Requests of clients: what every block and parameter becomes, and what is refused, by its path."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import (
    CacheControl,
    Document,
    DocumentCitation,
    FileId,
    Foreign,
    HostedStep,
    HostedTool,
    Image,
    Inline,
    JsonSchema,
    Reasoning,
    ReasoningEffort,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
    UrlCitation,
    origin,
)

_SEARCH = {"type": "server_tool_use", "id": "srv1", "name": "web_search", "input": {"query": "q"}}
_FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv1", "content": []}
_MCP = {"type": "mcp_tool_use", "id": "m1", "name": "ask", "server_name": "s", "input": {}}
_UPLOAD = {"type": "container_upload", "file_id": "file_1"}
_OPENAI = origin.stamp(Seal(maker="openai", account="acc", value="gAAA"))
_CITED = {
    "type": "page_location",
    "cited_text": "c",
    "document_index": 1,
    "document_title": "t",
    "start_page_number": 2,
    "end_page_number": 3,
}
_WEB = {
    "type": "web_search_result_location",
    "cited_text": "c",
    "url": "https://a",
    "title": "t",
    "encrypted_index": "e",
}
_EPHEMERAL = {"type": "ephemeral"}

_USER_BLOCKS: list[tuple[dict[str, object], exchange.Part]] = [
    ({"type": "text", "text": "a"}, Text(text="a")),
    (
        {"type": "text", "text": "a", "cache_control": {**_EPHEMERAL, "ttl": "1h"}},
        Text(text="a", cache=CacheControl(ttl="1h")),
    ),
    ({"type": "text", "text": "a", "cache_control": _EPHEMERAL}, Text(text="a", cache=CacheControl())),
    ({"type": "text", "text": "a", "cache_control": None, "citations": None}, Text(text="a")),
    (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aQ=="}},
        Image(source=Inline("aQ=="), media_type="image/png"),
    ),
    ({"type": "image", "source": {"type": "url", "url": "https://i"}}, Image(source=Url("https://i"))),
    (
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}, "cache_control": _EPHEMERAL},
        Image(source=FileId("file_1"), cache=CacheControl()),
    ),
    (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="},
            "title": "t",
            "context": "c",
            "citations": {"enabled": True},
        },
        Document(source=Inline("JVBERi0="), media_type="application/pdf", name="t", context="c", citations=True),
    ),
    (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
        Document(text="x", media_type="text/plain"),
    ),
    (
        {"type": "document", "source": {"type": "url", "url": "https://d"}},
        Document(source=Url("https://d"), media_type="application/pdf"),
    ),
    ({"type": "document", "source": {"type": "file", "file_id": "file_2"}}, Document(source=FileId("file_2"))),
    (
        {"type": "document", "source": {"type": "content", "content": "whole"}},
        Document(text="whole", media_type="text/plain"),
    ),
    (
        {"type": "tool_result", "tool_use_id": "t1", "content": "ok"},
        ToolResult(call_id="t1", content=(Text(text="ok"),)),
    ),
    ({"type": "tool_result", "tool_use_id": "t1"}, ToolResult(call_id="t1")),
    (
        {
            "type": "tool_result",
            "tool_use_id": "t1",
            "is_error": True,
            "content": [
                {"type": "text", "text": "bad"},
                {"type": "image", "source": {"type": "url", "url": "https://i"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            ],
        },
        ToolResult(
            call_id="t1",
            is_error=True,
            content=(
                Text(text="bad"),
                Image(source=Url("https://i")),
                Document(text="x", media_type="text/plain"),
            ),
        ),
    ),
    (_UPLOAD, Foreign(dialect="anthropic_messages", kind="container_upload", value=wire.raw(_UPLOAD))),
]

_ASSISTANT_BLOCKS: list[tuple[dict[str, object], exchange.Part]] = [
    (
        {"type": "thinking", "thinking": "hm", "signature": "EqQ"},
        Reasoning(text="hm", signature=Seal(maker="anthropic", value="EqQ")),
    ),
    ({"type": "thinking", "thinking": "hm", "signature": ""}, Reasoning(text="hm")),
    ({"type": "thinking", "thinking": "hm", "signature": origin.stamp(origin.UNSEALED)}, Reasoning(text="hm")),
    (
        {"type": "thinking", "thinking": "hm", "signature": _OPENAI},
        Reasoning(text="hm", encrypted=Seal(maker="openai", account="acc", value="gAAA")),
    ),
    (
        {"type": "redacted_thinking", "data": "EmwK"},
        Reasoning(encrypted=Seal(maker="anthropic", value="EmwK")),
    ),
    (
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0, "b": 1}, "caller": {"type": "direct"}},
        ToolCall(id="t1", name="f", arguments='{"a":1.0,"b":1}'),
    ),
    (
        {"type": "text", "text": "a", "citations": [_CITED, _WEB]},
        Text(
            text="a",
            citations=(
                DocumentCitation(document=1, title="t", cited_text="c", unit="page", start=2, end=3),
                UrlCitation(url="https://a", title="t", cited_text="c", seal="e"),
            ),
        ),
    ),
    (
        _SEARCH,
        HostedStep(tool="web_search", dialect="anthropic_messages", value=wire.raw(_SEARCH), id="srv1", query="q"),
    ),
    (_FOUND, HostedStep(tool="web_search", dialect="anthropic_messages", value=wire.raw(_FOUND), id="srv1")),
    (_MCP, HostedStep(tool="mcp", dialect="anthropic_messages", value=wire.raw(_MCP), id="m1")),
]


@pytest.mark.parametrize(
    ("role", "block", "part"),
    [("user", *case) for case in _USER_BLOCKS] + [("assistant", *case) for case in _ASSISTANT_BLOCKS],
)
def test_each_block_becomes_its_part(role: str, block: dict[str, object], part: exchange.Part) -> None:
    request = wire.decode({"messages": [{"role": role, "content": [block]}]})
    assert wire.plain(request.turns[0].parts) == wire.plain((part,))
    assert type(request.turns[0].parts[0]) is type(part)
    assert request.unsaid == ()


def test_the_seal_of_a_call_is_found_again_behind_it() -> None:
    seal = Seal(maker="google", account="acc", value="sig")
    blocks = [
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        {"type": "redacted_thinking", "data": origin.stamp(seal)},
    ]
    request = wire.decode({"messages": [{"role": "assistant", "content": blocks}]})
    assert request.turns[0].parts == (ToolCall(id="t1", name="f", arguments="{}", seal=seal),)


def test_the_system_is_the_first_turn_and_may_speak_again() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]
    blocks = [{"type": "text", "text": "billing: 1"}, {"type": "text", "text": "s", "cache_control": _EPHEMERAL}]
    request = wire.decode({"system": blocks, "messages": messages})
    assert [turn.role for turn in request.turns] == ["system", "user", "system"]
    assert request.turns[0].parts == (Text(text="billing: 1"), Text(text="s", cache=CacheControl()))
    assert wire.decode({"system": "s"}).turns[0].parts == (Text(text="s"),)


@pytest.mark.parametrize(
    ("body", "name", "value"),
    [
        ({"max_tokens": 7}, "max_tokens", 7),
        ({"temperature": 1}, "temperature", 1),
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"top_p": 0.9}, "top_p", 0.9),
        ({"top_k": 4}, "top_k", 4),
        ({"stop_sequences": ["a", "b"]}, "stop", ("a", "b")),
        ({"stop_sequences": []}, "stop", None),
        ({"metadata": {"user_id": '{"device":"x"}'}}, "user", '{"device":"x"}'),
        ({"service_tier": "auto"}, "service_tier", "auto"),
        ({"service_tier": "standard_only"}, "service_tier", "default"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice", ToolChoice(mode="auto")),
        ({"tool_choice": {"type": "any"}}, "tool_choice", ToolChoice(mode="required")),
        ({"tool_choice": {"type": "none"}}, "tool_choice", ToolChoice(mode="none")),
        ({"tool_choice": {"type": "tool", "name": "f"}}, "tool_choice", ToolChoice(mode="named", names=("f",))),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, "parallel_tool_calls", False),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            "reasoning_effort",
            ReasoningEffort(budget_tokens=2048),
        ),
        (
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "max"}},
            "reasoning_effort",
            ReasoningEffort(effort="max", adaptive=True, summary="none"),
        ),
        ({"thinking": {"type": "disabled"}}, "reasoning_effort", ReasoningEffort(effort="none")),
        ({"output_config": {"effort": "xhigh"}}, "reasoning_effort", ReasoningEffort(effort="xhigh")),
        ({"thinking": None, "temperature": None, "stop_sequences": None}, "reasoning_effort", None),
    ],
)
def test_each_parameter(body: dict[str, object], name: str, value: object) -> None:
    request = wire.decode(body)
    found = getattr(request.parameters, name)
    assert found == value
    assert type(found) is type(value)
    assert request.unsaid == ()


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_a_schema_of_the_answer(place: str) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    said = {"type": "json_schema", "schema": schema}
    request = wire.decode({place: {"format": said} if place == "output_config" else said})
    wanted = request.parameters.response_format
    assert isinstance(wanted, JsonSchema)
    assert wire.plain(wanted.schema) == schema


def test_tools_of_every_kind() -> None:
    tools = [
        {"name": "f", "input_schema": {"$schema": "x", "type": "object"}, "description": "d", "strict": True},
        {"type": "custom", "name": "g", "input_schema": {"type": "object"}, "cache_control": _EPHEMERAL},
        {
            "type": "web_search_20250305",
            "name": "web_search",
            "max_uses": 2,
            "allowed_domains": ["a.b"],
            "user_location": {"type": "approximate", "city": "Ulm"},
        },
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "advisor_20260301", "name": "advisor", "model": "m"},
    ]
    request = wire.decode({"tools": tools, "mcp_servers": [{"type": "url", "url": "https://m", "name": "s"}]})
    assert wire.plain(request.tools[:2]) == wire.plain(
        (
            Tool(name="f", description="d", parameters=wire.raw({"$schema": "x", "type": "object"}), strict=True),
            Tool(name="g", parameters=wire.raw({"type": "object"}), cache=CacheControl()),
        )
    )
    hosted = [tool for tool in request.tools if isinstance(tool, HostedTool)]
    assert [tool.kind for tool in hosted] == [
        "web_search",
        "bash",
        "text_editor",
        "code_execution",
        "advisor_20260301",
        "mcp",
    ]
    assert (hosted[0].max_uses, hosted[0].allowed_domains) == (2, ("a.b",))
    assert wire.plain(hosted[0].location) == {"type": "approximate", "city": "Ulm"}
    assert request.unsaid == ()


def test_what_has_no_place_is_named_once() -> None:
    request = wire.decode(
        {
            "context_management": {"edits": []},
            "inference_geo": "eu",
            "speed": None,
            "metadata": {"user_id": "u", "team": "t"},
            "output_config": {"task_budget": 1},
            "tools": [
                {"name": n, "input_schema": {}, "defer_loading": True, "eager_input_streaming": False} for n in "ab"
            ],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "a", "new": 1}] * 2, "extra": True},
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "9h"}}],
                },
            ],
        }
    )
    assert set(request.unsaid) == {
        "context_management",
        "inference_geo",
        "metadata.team",
        "output_config.task_budget",
        "tools.defer_loading",
        "messages.content.new",
        "messages.extra",
        "cache_control.ttl",
    }


def _content(*blocks: object, role: str = "user") -> dict[str, object]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": "1"}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (_content("x"), "messages[0].content[0]"),
        (_content({"text": "x"}), "messages[0].content[0].type"),
        (_content({"type": "text"}), "messages[0].content[0].text"),
        (_content({"type": "text", "text": 1}), "messages[0].content[0].text"),
        (_content({"type": "text", "text": "a"}, {"type": "image"}), "messages[0].content[1].source"),
        (_content({"type": "image", "source": {"type": "x"}}), "messages[0].content[0].source.type"),
        (_content({"type": "image", "source": {"type": "url"}}), "messages[0].content[0].source.url"),
        (_content({"type": "tool_use", "id": "i", "name": "n", "input": {}}), "messages[0].content[0].type"),
        (
            _content({"type": "tool_use", "id": "i", "name": "n", "input": "x"}, role="assistant"),
            "messages[0].content[0].input",
        ),
        (_content({"type": "tool_result", "tool_use_id": "i"}, role="assistant"), "messages[0].content[0].type"),
        (_content({"type": "tool_result", "tool_use_id": "i", "content": 1}), "messages[0].content[0].content"),
        (_content({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        ({"system": 1}, "system"),
        ({"system": [{"type": "image", "source": {"type": "url", "url": "u"}}]}, "system[0].type"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": 10**60}, "temperature"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"stop_sequences": [1]}, "stop_sequences[0]"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema"),
        ({"tools": [{"name": "", "input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "adaptive", "display": "loud"}}, "thinking.display"),
        ({"output_config": {"effort": "immense"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "yaml"}}}, "output_config.format.type"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
        ({"mcp_servers": ["x"]}, "mcp_servers[0]"),
        ({"thread": "x"}, "thread"),
        ({"thread": {}}, "thread.type"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(body: dict[str, object], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as raised:
        wire.decode(body)
    assert raised.value.param == param
    assert raised.value.message.startswith(f"{param}: ")
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "model"), ({"model": 1}, "model"), ({"model": ""}, "model"), ({"model": "m", "stream": 1}, "stream")],
)
def test_an_envelope_that_is_wrong(body: dict[str, object], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as raised:
        wire.CHAT_IN.read_envelope(wire.fields(body))
    assert raised.value.param == param


def test_an_envelope() -> None:
    envelope = wire.CHAT_IN.read_envelope(wire.fields({"model": "m", "stream": True}))
    assert (envelope.model, envelope.stream, envelope.include_usage) == ("m", True, True)
    assert not wire.CHAT_IN.read_envelope(wire.fields({"model": "m"})).stream


# ---- anything at all -------------------------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    [
        "type",
        "text",
        "thinking",
        "signature",
        "data",
        "source",
        "id",
        "name",
        "input",
        "content",
        "tool_use_id",
        "url",
        "media_type",
        "file_id",
        "role",
        "title",
        "cache_control",
        "citations",
        "is_error",
        "schema",
        "format",
        "effort",
        "budget_tokens",
        "user_id",
        "input_schema",
        "caller",
    ]
)
_WORDS = st.sampled_from(
    [
        "text",
        "image",
        "document",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        "search_result",
        "server_tool_use",
        "base64",
        "url",
        "file",
        "content",
        "enabled",
        "adaptive",
        "disabled",
        "user",
        "assistant",
        "system",
        "auto",
        "any",
        "tool",
        "json_schema",
        "ephemeral",
        "custom",
        "VEwx",
    ]
)
_VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**25) | st.floats(allow_nan=False, allow_infinity=False) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=5),
    max_leaves=12,
)
_BLOCK = st.fixed_dictionaries({"type": _WORDS}, optional={"text": _VALUES, "source": _VALUES, "content": _VALUES})
_MEMBERS = [
    "model",
    "max_tokens",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
    "metadata",
    "service_tier",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "mcp_servers",
    "container",
]


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.sampled_from(_MEMBERS), _VALUES, max_size=4),
    st.lists(st.fixed_dictionaries({"role": _WORDS, "content": _VALUES | st.lists(_BLOCK | _VALUES, max_size=3)})),
)
def test_any_json_is_a_request_or_a_mapped_error(members: dict[str, object], messages: list[object]) -> None:
    body = {"max_tokens": 5, **members, "messages": messages}
    try:
        request = wire.CHAT_IN.decode(wire.fields(body), "m", False, b"")
    except errors.InvalidRequestError:
        return
    encoded = wire.CHAT_UP.encode(request, wire.target())
    msgspec.json.decode(encoded.body)
    wire.COUNT_UP.encode(request, wire.target(wire.NEW))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([*_MEMBERS, "messages"]), st.binary(min_size=1, max_size=60))
def test_any_bytes_are_a_request_or_a_mapped_error(name: str, value: bytes) -> None:
    fields = {
        **wire.fields({"max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}),
        name: msgspec.Raw(value),
    }
    with contextlib.suppress(errors.InvalidRequestError):
        wire.CHAT_IN.decode(fields, "m", False, b"")


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00x", "a\\ud83d"])
def test_half_a_character_is_refused_as_the_api_does(text: str) -> None:
    fields = wire.fields({"max_tokens": 5}) | {
        "messages": msgspec.Raw(f'[{{"role":"user","content":"{text}"}}]'.encode())
    }
    with pytest.raises(errors.InvalidRequestError) as raised:
        wire.CHAT_IN.decode(fields, "m", False, b"")
    assert raised.value.param == "messages"


def test_deep_nesting_is_no_crash() -> None:
    deep = msgspec.Raw(b'[{"role":"user","content":' + b"[" * 100_000 + b"]" * 100_000 + b"}]")
    with pytest.raises(errors.InvalidRequestError):
        wire.CHAT_IN.decode(wire.fields({"max_tokens": 5}) | {"messages": deep}, "m", False, b"")
