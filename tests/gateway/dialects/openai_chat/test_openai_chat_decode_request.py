"""What clients send, in the neutral form."""

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.openai_chat import CODEC
from trunkline_gateway.errors import InvalidRequestError
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    ChatRequest,
    Document,
    FileId,
    Foreign,
    HostedTool,
    Image,
    Inline,
    JsonObject,
    JsonSchema,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Seal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
    Url,
    Video,
)
from trunkline_gateway.exchange.origin import stamp

ROOT = Path(__file__).parents[4]
CORPUS = ROOT.parent / "shared" / "corpus" / "dev"
DECODE = CODEC.ingress["chat"].decode
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
SEAL = Seal(maker="anthropic", account="12345678", value="c2VhbA==")


def decode(**fields: object) -> ChatRequest:
    fields = {"messages": [{"role": "user", "content": "hi"}], **fields}
    raw = msgspec.json.decode(json.dumps(fields), type=dict[str, msgspec.Raw])
    return DECODE(raw, "m", bool(fields.get("stream")), b"")


def turns(*messages: object) -> tuple[Turn, ...]:
    return decode(messages=messages).turns


def user(*parts: object) -> tuple[exchange.Part, ...]:
    return turns({"role": "user", "content": list(parts)})[0].parts


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def plain(value: object) -> object:
    """The same with raw JSON as bytes, to be compared."""
    return msgspec.json.encode(value)


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_content_may_be_a_string_or_parts_for_every_role(role: str) -> None:
    as_string = turns({"role": role, "content": "a", "name": "n"})
    as_parts = turns({"role": role, "content": [{"type": "text", "text": "a"}], "name": "n"})
    assert as_string == as_parts == (Turn(role=role, parts=(Text(text="a"),), name="n"),)


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        ({"type": "text", "text": "a"}, Text(text="a")),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            Text(text="a", cache=CacheControl(ttl="1h")),
        ),
        (
            {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            Text(text="a", cache=CacheControl()),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://h/x.png", "detail": "low"}},
            Image(source=Url("https://h/x.png"), detail="low"),
        ),
        ({"type": "image_url", "image_url": "https://h/x.png"}, Image(source=Url("https://h/x.png"))),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            Image(source=Inline(PNG), media_type="image/png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}},
            Image(source=Inline(PNG), media_type="image/png"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": PNG, "format": "wav"}},
            Audio(source=Inline(PNG), media_type="audio/wav"),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
            Document(source=Inline(PDF), media_type="application/pdf", name="a.pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": PDF.rstrip("="), "filename": "a"}},
            Document(source=Inline(PDF), media_type="application/pdf", name="a"),
        ),
        (
            {"type": "file", "file": {"file_data": "https://h/a.pdf", "filename": "a.pdf"}},
            Document(source=Url("https://h/a.pdf"), media_type="application/pdf", name="a.pdf"),
        ),
        ({"type": "file", "file": {"file_id": "f-1"}}, Document(source=FileId("f-1"))),
        ({"type": "video_url", "video_url": {"url": "https://h/v.mp4"}}, Video(source=Url("https://h/v.mp4"))),
        (
            {"type": "document_url", "document_url": "https://h/a.pdf", "document_name": "a"},
            Document(source=Url("https://h/a.pdf"), name="a"),
        ),
        ({"type": "refusal", "refusal": "no"}, Refusal(text="no")),
        ({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, Reasoning(text="hm")),
    ],
)
def test_parts(wire: object, part: exchange.Part) -> None:
    assert user(wire) == (part,)


def test_a_part_that_nobody_knows_is_kept_for_the_same_dialect() -> None:
    (part,) = user({"type": "hologram", "hologram": 3})
    assert isinstance(part, Foreign)
    assert (part.dialect, part.kind) == ("openai_chat", "hologram")
    assert json.loads(bytes(part.value)) == {"type": "hologram", "hologram": 3}


def test_an_assistant_says_text_refuses_and_calls() -> None:
    (turn,) = turns(
        {
            "role": "assistant",
            "content": "a",
            "refusal": "no",
            "audio": {"id": "audio_1"},
            "annotations": [],
            "function_call": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                },
                {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        }
    )
    assert turn.parts == (
        Text(text="a"),
        Refusal(text="no"),
        Audio(id="audio_1"),
        ToolCall(id="c1", name="f", arguments="{}", seal=Seal(maker="google", value="c2ln")),
        ToolCall(id="c2", name="g", arguments="x", custom=True),
    )


def test_results_of_tools_that_follow_each_other_are_one_turn() -> None:
    call = {"id": "c2", "type": "custom", "custom": {"name": "g", "input": "x"}}
    image = {"type": "image_url", "image_url": {"url": "https://h/x.png"}}
    found = turns(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "1", "name": "f"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "2"}, image]},
        {"role": "user", "content": "go on"},
    )
    assert found[1:] == (
        Turn(
            role="user",
            parts=(
                ToolResult(call_id="c1", content=(Text(text="1"),), name="f"),
                ToolResult(call_id="c2", content=(Text(text="2"), Image(source=Url("https://h/x.png"))), custom=True),
            ),
        ),
        Turn(role="user", parts=(Text(text="go on"),)),
    )


def test_functions_of_the_older_api() -> None:
    request = decode(
        messages=[
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        functions=[{"name": "f", "parameters": {"type": "object"}}],
        function_call={"name": "f"},
    )
    call, result = request.turns[0].parts[0], request.turns[1].parts[0]
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert call.id == result.call_id
    assert request.parameters.tool_choice == ToolChoice(mode="named", names=("f",))
    assert request.parameters.parallel_tool_calls is False
    assert [tool.name for tool in request.tools] == ["f"]
    assert decode(functions=[{"name": "f"}], function_call="none").parameters.tool_choice == ToolChoice(mode="none")


@pytest.mark.parametrize(
    ("message", "thoughts"),
    [
        ({"reasoning_content": "hm"}, [Reasoning(text="hm")]),
        ({"reasoning": "hm"}, [Reasoning(text="hm")]),
        (
            {
                "reasoning_content": "hm",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "hm", "signature": stamp(SEAL), "format": "x", "index": 0}
                ],
            },
            [Reasoning(text="hm", signature=SEAL)],
        ),
        (
            {"reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1"}]},
            [Reasoning(signature=Seal(maker="anthropic", value="c2ln"))],
        ),
        (
            {
                "reasoning_content": "hm",
                "reasoning_details": [{"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1"}],
            },
            [Reasoning(text="hm", signature=Seal(maker="anthropic", value="c2ln"))],
        ),
        (
            {
                "reasoning_details": [
                    {
                        "type": "reasoning.summary",
                        "summary": "s",
                        "id": "rs",
                        "format": "openai-responses-v1",
                        "index": 0,
                    },
                    {
                        "type": "reasoning.encrypted",
                        "data": "ZW4=",
                        "id": "rs",
                        "format": "openai-responses-v1",
                        "index": 0,
                    },
                ]
            },
            [Reasoning(text="s", summary=True, encrypted=Seal(maker="openai", value="ZW4="), id="rs")],
        ),
        (
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "a", "index": 0},
                    {"type": "reasoning.text", "text": "b", "index": 0},
                    {"type": "reasoning.text", "signature": "c2ln", "index": 0},
                    {"type": "reasoning.text", "text": "c", "index": 1},
                ]
            },
            [Reasoning(text="ab", signature=Seal(maker="other", value="c2ln")), Reasoning(text="c")],
        ),
        (
            {
                "thinking_blocks": [
                    {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "cmVk"},
                ]
            },
            [
                Reasoning(text="hm", signature=Seal(maker="anthropic", value="c2ln")),
                Reasoning(encrypted=Seal(maker="anthropic", value="cmVk")),
            ],
        ),
    ],
)
def test_thoughts_come_back(message: dict[str, object], thoughts: list[Reasoning]) -> None:
    request = decode(messages=[{"role": "assistant", "content": "a", **message}])
    assert list(request.turns[0].parts) == [*thoughts, Text(text="a")]
    assert request.unsaid == ()


def test_the_seal_of_a_call_may_stand_among_the_details() -> None:
    (turn,) = turns(
        {
            "role": "assistant",
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "c2ln", "id": "c1", "format": "google-gemini-v1"}
            ],
            "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}],
        }
    )
    assert turn.parts == (ToolCall(id="c1", name="f", arguments='{"a": 1}', seal=Seal(maker="google", value="c2ln")),)


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"max_tokens": 3}, "max_tokens", 3),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens", 4),
        ({"temperature": 1}, "temperature", 1),
        ({"temperature": 0.5}, "temperature", 0.5),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"top_k": 5}, "top_k", 5),
        ({"min_p": 0.1}, "min_p", 0.1),
        ({"repetition_penalty": 1.1}, "repetition_penalty", 1.1),
        ({"presence_penalty": 1}, "presence_penalty", 1),
        ({"frequency_penalty": 1}, "frequency_penalty", 1),
        ({"stop": "a"}, "stop", ("a",)),
        ({"stop": ["a", "b"]}, "stop", ("a", "b")),
        ({"stop": None}, "stop", None),
        ({"seed": 7}, "seed", 7),
        ({"logit_bias": {"5": -100}}, "logit_bias", {"5": -100}),
        ({"logprobs": True}, "logprobs", True),
        ({"top_logprobs": 2}, "top_logprobs", 2),
        ({"n": 2}, "n", 2),
        ({"verbosity": "low"}, "verbosity", "low"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls", False),
        ({"service_tier": "flex"}, "service_tier", "flex"),
        ({"user": "u"}, "user", "u"),
        ({"metadata": {"a": "b"}}, "metadata", {"a": "b"}),
        ({"safety_identifier": "s"}, "safety_identifier", "s"),
        ({"prompt_cache_key": "k"}, "prompt_cache_key", "k"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention", "24h"),
        ({"store": True}, "store", True),
        ({"modalities": ["text", "audio"]}, "modalities", ("text", "audio")),
        ({"response_format": {"type": "text"}}, "response_format", None),
        ({"response_format": {"type": "json_object"}}, "response_format", JsonObject()),
        ({"reasoning_effort": "xhigh"}, "reasoning_effort", ReasoningEffort(effort="xhigh")),
        ({"reasoning_effort": "default"}, "reasoning_effort", None),
        ({"reasoning": {"effort": "low"}}, "reasoning_effort", ReasoningEffort(effort="low")),
        ({"reasoning": {"max_tokens": 9}}, "reasoning_effort", ReasoningEffort(budget_tokens=9)),
        ({"reasoning": {"enabled": True}}, "reasoning_effort", ReasoningEffort(adaptive=True)),
        ({"reasoning": {"enabled": False}}, "reasoning_effort", ReasoningEffort(effort="none")),
        (
            {"reasoning": {"effort": "low", "exclude": True}},
            "reasoning_effort",
            ReasoningEffort(effort="low", summary="none"),
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, "reasoning_effort", ReasoningEffort(budget_tokens=9)),
        ({"thinking": {"type": "enabled"}}, "reasoning_effort", ReasoningEffort(adaptive=True)),
        ({"thinking": {"type": "disabled"}}, "reasoning_effort", ReasoningEffort(effort="none")),
        (
            {"thinking": {"type": "adaptive"}, "reasoning_effort": "high"},
            "reasoning_effort",
            ReasoningEffort(effort="high"),
        ),
        ({"enable_thinking": False}, "reasoning_effort", ReasoningEffort(effort="none")),
        ({"enable_thinking": True, "thinking_budget": 5}, "reasoning_effort", ReasoningEffort(budget_tokens=5)),
        ({"tool_choice": "required"}, "tool_choice", ToolChoice(mode="required")),
        ({"tool_choice": "any"}, "tool_choice", ToolChoice(mode="required")),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
            ToolChoice(mode="named", names=("f",)),
        ),
        (
            {"tool_choice": {"type": "custom", "custom": {"name": "f"}}},
            "tool_choice",
            ToolChoice(mode="named", names=("f",)),
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [{"type": "function", "function": {"name": "f"}}]},
                }
            },
            "tool_choice",
            ToolChoice(mode="required", names=("f",)),
        ),
    ],
)
def test_parameters(fields: dict[str, object], name: str, value: object) -> None:
    request = decode(**fields)
    found = getattr(request.parameters, name)
    assert found == value
    assert type(found) is type(value)
    assert request.unsaid == ()


def test_json_that_needs_no_look_stays_as_it_is() -> None:
    schema, audio, prediction = {"type": "object", "x": 1.50}, {"voice": "a", "format": "wav"}, {"type": "content"}
    request = decode(
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}},
        audio=audio,
        prediction=prediction,
    )
    asked = request.parameters.response_format
    assert isinstance(asked, JsonSchema)
    assert (asked.name, asked.strict) == ("n", True)
    assert bytes(asked.schema) == json.dumps(schema).encode()
    assert bytes(request.parameters.audio) == json.dumps(audio).encode()
    assert bytes(request.parameters.prediction) == json.dumps(prediction).encode()


def test_tools() -> None:
    request = decode(
        tools=[
            {"type": "function", "function": {"name": "f", "description": "d", "strict": True, "parameters": {}}},
            {"type": "function", "name": "flat"},
            {"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}},
            {"type": "function", "function": {"name": "g"}, "cache_control": {"type": "ephemeral"}},
            {"type": "openrouter:web_search"},
        ],
        web_search_options={"user_location": {"type": "approximate", "approximate": {"city": "Oslo"}}},
    )
    first, flat, custom, cached, hosted, search = request.tools
    assert plain(first) == plain(Tool(name="f", description="d", strict=True, parameters=raw({})))
    assert flat == Tool(name="flat")
    assert plain(custom) == plain(Tool(name="c", custom=True, format=raw({"type": "text"})))
    assert cached == Tool(name="g", cache=CacheControl())
    assert isinstance(hosted, HostedTool)
    assert isinstance(search, HostedTool)
    assert (hosted.kind, search.kind) == ("web_search", "web_search")
    assert json.loads(bytes(search.location)) == {"type": "approximate", "city": "Oslo"}


def test_the_grammar_of_a_custom_tool_is_wrapped_in_this_dialect_only() -> None:
    grammar = {"syntax": "lark", "definition": "x"}
    wire = {"type": "custom", "custom": {"name": "c", "format": {"type": "grammar", "grammar": grammar}}}
    request = decode(tools=[wire])
    (tool,) = request.tools
    assert isinstance(tool, Tool)
    assert json.loads(bytes(tool.format)) == {"type": "grammar", **grammar}
    body = json.loads(CODEC.upstream["chat"].encode(request, Target(model="m")).body)
    assert body["tools"] == [wire]


def test_what_nobody_has_a_word_for_is_named() -> None:
    request = decode(
        messages=[{"role": "user", "content": [{"type": "text", "text": "a", "odd": 1}], "strange": 1, "blank": None}],
        moderation={"model": "x"},
        nothing=None,
        stream_options={"include_usage": True, "other": 1},
    )
    assert request.unsaid == ("stream_options.other", "messages.content.odd", "messages.strange", "moderation")
    assert request.include_usage
    assert not decode().include_usage


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [3]}, "messages[0]"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].image_url"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "data:;base64,!!!"}]}]},
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
            "messages[0].content[0].file.file_data",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "%"}}]}]},
            "messages[0].content[0].input_audio.data",
        ),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "a"}]}]}, "messages[0].tool_calls[0].function"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": True}, "n"),
        ({"stop": 3}, "stop"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"logit_bias": {"5": "x"}}, "logit_bias.5"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"reasoning_effort": "very"}, "reasoning_effort"),
        ({"verbosity": "loud"}, "verbosity"),
        ({"response_format": {"type": "poem"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": 3}}]}, "tools[0].function.parameters"),
        ({"tools": [{"type": 3}]}, "tools[0].type"),
        ({"tool_choice": "maybe"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"thinking": {"type": "often"}}, "thinking.type"),
        ({"reasoning": "low"}, "reasoning"),
        ({"audio": 3}, "audio"),
    ],
)
def test_a_wrong_field_is_refused_by_its_path(fields: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        decode(**fields)
    assert refused.value.param == param


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the recordings are not here")
def test_what_real_clients_send_is_read() -> None:
    count = 0
    for path in sorted(CORPUS.glob("*.chat.*.json")):
        recording = json.loads(path.read_bytes())
        body = (recording.get("request") or {}).get("json")
        if not isinstance(body, dict) or not body.get("messages") or recording["response"]["status"] != 200:
            continue
        fields = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
        request = DECODE(fields, str(body.get("model")), False, b"")
        assert request.turns
        count += 1
    assert count > 300


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        "role",
        "content",
        "type",
        "text",
        "image_url",
        "url",
        "file",
        "file_data",
        "tool_calls",
        "function",
        "name",
        "id",
        "arguments",
        "reasoning_details",
        "signature",
        "data",
        "thinking_blocks",
        "audio",
        "annotations",
        "extra_content",
        "google",
        "cache_control",
    ]
)
VALUES = st.sampled_from(
    ["user", "assistant", "tool", "text", "image_url", "file", "input_audio", "function", "custom", "data:,x"]
)
SHAPED = st.recursive(
    JSON | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
TOP = st.sampled_from(
    [
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "response_format",
        "stop",
        "reasoning",
        "thinking",
        "logit_bias",
        "metadata",
        "x",
        "stream_options",
        "web_search_options",
        "temperature",
        "max_tokens",
        "seed",
        "modalities",
        "audio",
    ]
)


@settings(max_examples=100, deadline=None)
@given(messages=st.lists(SHAPED, max_size=3), fields=st.dictionaries(TOP, SHAPED, max_size=5))
def test_whatever_is_sent_is_read_or_refused(messages: list[object], fields: dict[str, object]) -> None:
    try:
        decode(messages=messages, **fields)
    except InvalidRequestError as failure:
        refused = failure
    else:
        return
    assert refused.param
