"""Requests for the API: what it takes, what it refuses, and what of a request is named as lost."""

import base64
import json
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import (
    Audio,
    CacheControl,
    Document,
    DocumentCitation,
    FileId,
    Foreign,
    HostedStep,
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
    UrlCitation,
    Video,
    losses,
)

OWN = Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")
OTHERS = Seal(maker="anthropic", account="0ther000", value="EqQ")
GPT = Seal(maker="openai", account="", value="gAAA")
PNG = "iVBORw0KGgoAAAA="


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


F = Tool(name="f", parameters=_raw({"type": "object", "properties": {}}))


def _said(*turns: Turn, to: Target | None = None) -> tuple[list[tuple[str, list[dict[str, object]]]], set[str]]:
    body, lost = wire.encode(wire.chat(*turns), to)
    return [(message["role"], message["content"]) for message in body["messages"]], lost  # type: ignore[attr-defined]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


# ---- parts -----------------------------------------------------------------------------------------------------------

_RESULT = ToolResult(call_id="t1", content=(Text(text="ok"),))
_OWN_STEP = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
_OWN_BLOCK = {"type": "container_upload", "file_id": "file_1"}


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Text(text="a"), _text("a"), ""),
        (
            Text(text="a", cache=CacheControl(ttl="1h")),
            _text("a") | {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
            "",
        ),
        (Text(text="", cache=CacheControl()), None, "cache_control"),
        (Text(text=" \n"), None, ""),
        (Refusal(text="no"), _text("no"), "refusal"),
        (Image(source=Url("https://i")), {"type": "image", "source": {"type": "url", "url": "https://i"}}, ""),
        (Image(source=Url("gs://i")), None, "image_url"),
        (
            Image(source=Inline(PNG)),
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            "",
        ),
        (
            Image(source=Inline("/9j/AAAA"), media_type="image/png", detail="high"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/AAAA"}},
            "image_detail",
        ),
        (
            Image(source=Inline("AAAA"), media_type="image/jpg"),
            {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}},
            "",
        ),
        (Image(source=Inline("AAAA"), media_type="image/tiff"), None, "image"),
        (Image(source=FileId("file_1")), {"type": "image", "source": {"type": "file", "file_id": "file_1"}}, ""),
        (Image(source=FileId("file-openai")), None, "image_file"),
        (
            Document(source=Inline("JVBERi0x"), name="n.pdf", context="c", citations=True),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0x"},
                "title": "n.pdf",
                "context": "c",
                "citations": {"enabled": True},
            },
            "",
        ),
        (
            Document(source=Inline(base64.b64encode("größer".encode()).decode()), media_type="text/csv"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "größer"}},
            "",
        ),
        (Document(source=Inline("/////w=="), media_type="application/zip"), None, "file"),
        (
            Document(text="x"),
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
            "",
        ),
        (Document(source=Url("https://d")), {"type": "document", "source": {"type": "url", "url": "https://d"}}, ""),
        (Document(source=Url("s3://d")), None, "file_url"),
        (Document(source=FileId("file-x")), None, "file_id"),
        (Document(text=""), None, ""),
        (Audio(source=Inline("AAAA"), media_type="audio/wav"), None, "audio_input"),
        (Video(source=Inline("AAAA")), None, "video"),
        (_RESULT, {"type": "tool_result", "tool_use_id": "t1", "content": [_text("ok")]}, ""),
        (ToolResult(call_id="a.b c"), {"type": "tool_result", "tool_use_id": "a_b_c_8640d2e2"}, ""),
        (
            ToolResult(call_id="t1", is_error=True, structured=_raw({"a": 1}), cache=CacheControl()),
            {
                "type": "tool_result",
                "tool_use_id": "t1",
                "content": [_text('{"a":1}')],
                "is_error": True,
                "cache_control": {"type": "ephemeral"},
            },
            "",
        ),
        (
            ToolResult(call_id="t1", content=(Image(source=Inline("AAAA"), media_type="image/bmp"), Text(text=""))),
            {"type": "tool_result", "tool_use_id": "t1"},
            "tool_result_image",
        ),
        (
            ToolResult(call_id="t1", content=(Audio(source=Inline("AAAA")),)),
            {"type": "tool_result", "tool_use_id": "t1"},
            "tool_result_file",
        ),
        (Foreign(dialect="anthropic_messages", kind="container_upload", value=_raw(_OWN_BLOCK)), _OWN_BLOCK, ""),
        (Foreign(dialect="gemini_generate", kind="executableCode", value=_raw({})), None, "executableCode"),
    ],
)
def test_each_part_of_a_user(part: exchange.Part, block: dict[str, object] | None, lost: str) -> None:
    said, names = _said(wire.user("before", part))
    expected = [_text("before")] if block is None else [_text("before"), block]
    assert sorted(map(str, said[0][1])) == sorted(map(str, expected))
    assert names == ({lost} if lost else set())


@pytest.mark.parametrize(
    ("part", "block", "lost"),
    [
        (Reasoning(text="hm", signature=OWN), {"type": "thinking", "thinking": "hm", "signature": "EqQ"}, set()),
        (Reasoning(signature=OWN), {"type": "thinking", "thinking": "", "signature": "EqQ"}, set()),
        (Reasoning(encrypted=OWN), {"type": "redacted_thinking", "data": "EqQ"}, set()),
        (Reasoning(text="hm", signature=OTHERS), None, {"reasoning", "reasoning_signature"}),
        (Reasoning(text="hm", encrypted=GPT), None, {"reasoning", "reasoning_encrypted"}),
        (Reasoning(text="hm"), None, {"reasoning"}),
        (
            ToolCall(id="t1", name="f", arguments=' {"a": 1.0}'),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1.0}},
            set(),
        ),
        (ToolCall(id="t1", name="f"), {"type": "tool_use", "id": "t1", "name": "f", "input": {}}, set()),
        (
            ToolCall(id="t1", name="f", arguments='{"a": '),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"input": '{"a": '}},
            {"tool_arguments"},
        ),
        (
            ToolCall(id="t1", name="f", arguments="[1]"),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"input": "[1]"}},
            {"tool_arguments"},
        ),
        (
            ToolCall(id="t1", name="patch", arguments="*** Begin", custom=True),
            {"type": "tool_use", "id": "t1", "name": "patch", "input": {"input": "*** Begin"}},
            set(),
        ),
        (
            ToolCall(id="t1", name="open", namespace="files", arguments="{}"),
            {"type": "tool_use", "id": "t1", "name": "files__open", "input": {}},
            set(),
        ),
        (
            ToolCall(id="t1", name="f", seal=Seal(maker="google", value="x")),
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            {"reasoning_signature"},
        ),
        (HostedStep(tool="web_search", dialect="anthropic_messages", value=_raw(_OWN_STEP)), _OWN_STEP, set()),
        (HostedStep(tool="web_search", dialect="openai_responses", value=_raw({})), None, {"hosted_step"}),
        (Text(text="a", citations=(UrlCitation(url="https://u"),)), _text("a"), {"citations"}),
        (
            Text(text="a", citations=(DocumentCitation(document=0, cited_text="c", unit="character", start=0, end=1),)),
            _text("a")
            | {
                "citations": [
                    {
                        "type": "char_location",
                        "cited_text": "c",
                        "document_index": 0,
                        "document_title": None,
                        "start_char_index": 0,
                        "end_char_index": 1,
                    }
                ]
            },
            set(),
        ),
    ],
)
def test_each_part_of_an_assistant(part: exchange.Part, block: dict[str, object] | None, lost: set[str]) -> None:
    said, names = _said(wire.user("q"), wire.assistant(part, "a"), wire.user("go on"))
    assert said[1][1] == ([_text("a")] if block is None else [block, _text("a")])
    assert names == lost


# ---- the conversation ------------------------------------------------------------------------------------------------


def test_neighbours_are_joined_and_results_of_tools_come_first() -> None:
    calls = wire.assistant(ToolCall(id="a", name="f"), ToolCall(id="b", name="f"))
    said, lost = _said(
        wire.user("1"),
        wire.user("2"),
        calls,
        wire.user("see:", ToolResult(call_id="a")),
        wire.user(ToolResult(call_id="b"), "and?"),
    )
    assert [role for role, _ in said] == ["user", "assistant", "user"]
    assert said[0][1] == [_text("1"), _text("2")]
    assert [block["type"] for block in said[2][1]] == ["tool_result", "tool_result", "text", "text"]
    assert [block.get("tool_use_id") for block in said[2][1]] == ["a", "b", None, None]
    assert not lost


def test_turns_that_say_nothing_are_left_out() -> None:
    said, _ = _said(wire.user("1"), wire.assistant(""), wire.user(" ", "2"))
    assert said == [("user", [_text("1"), _text("2")])]


@pytest.mark.parametrize(
    "turns", [[wire.assistant("hello"), wire.user("hi")], [wire.system("s")], [wire.assistant(" x")]]
)
def test_the_first_turn_is_the_users(turns: list[Turn]) -> None:
    said, lost = _said(*turns)
    assert said[0] == ("user", [_text(".")])
    assert not lost


def test_a_prefill_does_not_end_in_spaces() -> None:
    said, lost = _said(wire.user("q"), wire.assistant("The answer: \n"))
    assert said[1] == ("assistant", [_text("The answer:")])
    assert not lost


@pytest.mark.parametrize("to", [wire.target(wire.NEW), wire.target("m", "no_prefill")])
def test_a_model_that_takes_no_prefill_is_told_to_go_on(to: Target) -> None:
    said, lost = _said(wire.user("q"), wire.assistant("The answer:"), to=to)
    assert said[1:] == [("assistant", [_text("The answer:")]), ("user", [_text("Continue.")])]
    assert lost == {"assistant_prefill"}


def test_a_turn_that_was_paused_is_no_prefill() -> None:
    step = HostedStep(tool="web_search", dialect="anthropic_messages", value=_raw(_OWN_STEP))
    said, lost = _said(wire.user("q"), wire.assistant("a", step), to=wire.target(wire.NEW))
    assert [role for role, _ in said] == ["user", "assistant"]
    assert not lost


def test_what_the_system_says_first_and_later() -> None:
    turns = (
        Turn(role="developer", parts=(Text(text="d", cache=CacheControl()),)),
        wire.system("s"),
        wire.user("q"),
        wire.system("later"),
        wire.user("r"),
    )
    body, lost = wire.encode(wire.chat(*turns))
    assert body["system"] == [_text("d") | {"cache_control": {"type": "ephemeral"}}, _text("s"), _text("later")]
    assert lost == {"system_position"}
    body, lost = wire.encode(wire.chat(*turns), wire.target(wire.NEW))
    assert [message["role"] for message in body["messages"]] == ["user", "system", "user"]  # type: ignore[attr-defined]
    assert not lost
    _, lost = wire.encode(
        wire.chat(wire.system("s", Image(source=Url("https://i")), Document(text="x")), wire.user("q"))
    )
    assert lost == {"image", "file"}


def test_names_of_participants_are_lost() -> None:
    assert _said(Turn(role="user", parts=(Text(text="a"),), name="ann"))[1] == {"message_name"}


def test_at_most_four_marks_of_a_cache_are_kept() -> None:
    tools = [Tool(name=f"f{number}", cache=CacheControl()) for number in range(3)]
    turn = wire.user(*(Text(text=str(number), cache=CacheControl()) for number in range(4)))
    body, lost = wire.encode(wire.chat(wire.system(Text(text="s", cache=CacheControl())), turn, tools=tools))
    marks = ["cache_control" in block for block in [*body["tools"], *body["system"], *body["messages"][0]["content"]]]  # type: ignore[misc,index]
    assert marks == [True, False, False, False, False, True, True, True]
    assert lost == {"cache_control"}


# ---- tools -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "said", "lost"),
    [
        (
            Tool(name="f", description="d"),
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            "",
        ),
        (Tool(name="f", parameters=_raw({"a": 1})), {"name": "f", "input_schema": {"a": 1, "type": "object"}}, ""),
        (
            Tool(name="f", parameters=_raw(True)),
            {"name": "f", "input_schema": {"type": "object", "properties": {}}},
            "",
        ),
        (
            Tool(name="f", parameters=_raw({"type": ["object", "null"]}), strict=True),
            {"name": "f", "input_schema": {"type": "object"}, "strict": True},
            "",
        ),
        (Tool(name="f", strict=False), {"name": "f", "input_schema": {"type": "object", "properties": {}}}, ""),
        (
            HostedTool(
                kind="web_search",
                dialect="openai_responses",
                value=_raw({}),
                max_uses=3,
                allowed_domains=("a",),
                blocked_domains=("b",),
                location=_raw({"city": "Ulm"}),
            ),
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 3,
                "allowed_domains": ["a"],
                "user_location": {"type": "approximate", "city": "Ulm"},
            },
            "web_search.options",
        ),
        (
            HostedTool(
                kind="bash", dialect="anthropic_messages", value=_raw({"type": "bash_20250124", "name": "bash"})
            ),
            {"type": "bash_20250124", "name": "bash"},
            "",
        ),
    ],
)
def test_each_tool(tool: Tool | HostedTool, said: dict[str, object], lost: str) -> None:
    body, names = wire.encode(wire.chat(tools=[tool]))
    assert body["tools"] == [said]
    assert names == ({lost} if lost else set())


def test_tools_that_have_no_counterpart_are_lost_by_name() -> None:
    tools = [HostedTool(kind=kind, dialect="x", value=_raw({})) for kind in ("file_search", "maps", "google_thing")]
    body, lost = wire.encode(wire.chat(tools=tools))
    assert "tools" not in body
    assert lost == {"file_search", "maps", "hosted_tool"}


def test_strict_tools_where_there_are_none() -> None:
    body, lost = wire.encode(wire.chat(tools=[Tool(name="f", strict=True)]), wire.target("m", "no_strict_tools"))
    assert "strict" not in body["tools"][0]  # type: ignore[index]
    assert lost == {"tools.strict"}


def test_servers_of_mcp_stand_beside_the_tools() -> None:
    server = {"type": "url", "url": "https://m", "name": "s"}
    body, lost = wire.encode(
        wire.chat(tools=[HostedTool(kind="mcp", dialect="anthropic_messages", value=_raw(server))])
    )
    assert body["mcp_servers"] == [server]
    assert "tools" not in body
    assert not lost


def test_a_tool_for_free_text_has_one_argument_and_comes_back_as_it_was() -> None:
    grammar = _raw({"type": "grammar", "syntax": "lark"})
    request = wire.chat(tools=[Tool(name="apply.patch", custom=True, format=grammar)])
    body, lost = wire.encode(request)
    tool = body["tools"][0]  # type: ignore[index]
    assert tool["input_schema"]["required"] == ["input"]
    assert lost == {"tools.custom"}
    block = {"type": "tool_use", "id": "t1", "name": tool["name"], "input": {"input": "*** Begin\n"}}
    answer = wire.CHAT_UP.decode(json.dumps({"content": [block]}).encode(), wire.asked(request))
    assert isinstance(answer, exchange.Answer)
    assert answer.choices[0].parts == (ToolCall(id="t1", name="apply.patch", arguments="*** Begin\n", custom=True),)


def test_names_are_made_to_fit_and_found_again() -> None:
    tools = [
        Tool(name="open", namespace="files"),
        Tool(name="files__open"),
        Tool(name="wetter.heute"),
        Tool(name="wetter_heute"),
        Tool(name="x" * 200),
        Tool(name="größe"),
        Tool(name=""),
        Tool(name="plain"),
    ]
    request = wire.chat(tools=tools)
    body, _ = wire.encode(request)
    names = [tool["name"] for tool in body["tools"]]  # type: ignore[attr-defined]
    assert len(set(names)) == len(names)
    assert names[0] == "files__open"
    assert names[-1] == "plain"
    content = [{"type": "tool_use", "id": "t", "name": name, "input": {}} for name in names]
    answer = wire.CHAT_UP.decode(json.dumps({"content": content}).encode(), wire.asked(request))
    assert isinstance(answer, exchange.Answer)
    calls = [part for part in answer.choices[0].parts if isinstance(part, ToolCall)]
    assert [(call.name, call.namespace) for call in calls] == [(tool.name, tool.namespace) for tool in tools]


@pytest.mark.parametrize(
    ("parameters", "choice", "lost"),
    [
        ({"tool_choice": ToolChoice(mode="auto")}, {"type": "auto"}, ""),
        ({"tool_choice": ToolChoice(mode="none"), "parallel_tool_calls": True}, {"type": "none"}, ""),
        ({"tool_choice": ToolChoice(mode="required")}, {"type": "any"}, ""),
        ({"tool_choice": ToolChoice(mode="named", names=("f",))}, {"type": "tool", "name": "f"}, ""),
        ({"tool_choice": ToolChoice(mode="named")}, {"type": "any"}, ""),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}, ""),
        (
            {"tool_choice": ToolChoice(mode="required"), "parallel_tool_calls": True},
            {"type": "any", "disable_parallel_tool_use": False},
            "",
        ),
        (
            {"tool_choice": ToolChoice(mode="required"), "reasoning_effort": ReasoningEffort(effort="low")},
            {"type": "auto"},
            "tool_choice",
        ),
    ],
)
def test_each_choice_of_tools(parameters: dict[str, object], choice: dict[str, object], lost: str) -> None:
    body, names = wire.encode(wire.chat(tools=[F], max_tokens=9000, **parameters))
    assert body["tool_choice"] == choice
    assert names == ({lost} if lost else set())


def test_a_choice_among_some_tools_leaves_the_others_out() -> None:
    body, lost = wire.encode(wire.chat(tools=[F, Tool(name="g")], tool_choice=ToolChoice(mode="auto", names=("g",))))
    assert [tool["name"] for tool in body["tools"]] == ["g"]  # type: ignore[attr-defined]
    assert not lost


def test_a_choice_without_tools_is_not_said() -> None:
    body, lost = wire.encode(wire.chat(tool_choice=ToolChoice(mode="required"), parallel_tool_calls=False))
    assert "tool_choice" not in body
    assert lost == {"tool_choice"}


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said", "lost"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}, ""),
        ({"temperature": 0.5}, {"temperature": 0.5}, ""),
        ({"temperature": 2.0}, {"temperature": 1}, "temperature"),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": None}, "top_p"),
        ({"top_p": 0.9, "top_k": 3}, {"top_p": 0.9, "top_k": 3}, ""),
        ({"stop": ("a", " ", "")}, {"stop_sequences": ["a"]}, "stop"),
        ({"stop": ("\n\n",)}, {"stop_sequences": None}, "stop"),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}, ""),
        ({"user": "u" * 600}, {"metadata": None}, "user"),
        ({"safety_identifier": "u"}, {"metadata": {"user_id": "u"}}, ""),
        ({"user": "u", "safety_identifier": "v"}, {"metadata": {"user_id": "u"}}, "safety_identifier"),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}, ""),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, ""),
        ({"service_tier": "flex"}, {"service_tier": None}, "service_tier"),
        ({"seed": 1}, {}, "seed"),
        ({"n": 2}, {}, "n"),
        ({"n": 1, "logprobs": False, "presence_penalty": 0, "frequency_penalty": 0.0, "store": False}, {}, ""),
        ({"presence_penalty": 0.5}, {}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, {}, "frequency_penalty"),
        ({"repetition_penalty": 1.5}, {}, "repetition_penalty"),
        ({"min_p": 0.1}, {}, "min_p"),
        ({"logit_bias": {"1": 2}}, {}, "logit_bias"),
        ({"logprobs": True}, {}, "logprobs"),
        ({"top_logprobs": 2}, {}, "top_logprobs"),
        ({"verbosity": "low"}, {}, "verbosity"),
        ({"metadata": {"a": "b"}}, {}, "metadata"),
        ({"prompt_cache_key": "k"}, {}, "prompt_cache_key"),
        ({"prompt_cache_retention": "24h"}, {}, "prompt_cache_retention"),
        ({"store": True}, {}, "store"),
        ({"modalities": ("text",)}, {}, ""),
        ({"modalities": ("text", "audio")}, {}, "modalities"),
        ({"audio": _raw({"voice": "x"})}, {}, "audio"),
        ({"prediction": _raw({})}, {}, "prediction"),
        ({"safety_settings": _raw([])}, {}, "safety_settings"),
    ],
)
def test_each_parameter(parameters: dict[str, object], said: dict[str, object], lost: str) -> None:
    body, names = wire.encode(wire.chat(**parameters))
    assert {name: body.get(name) for name in said} == said
    assert names == ({lost} if lost else set())


def test_every_parameter_is_said_or_lost() -> None:
    unusual = {
        "max_tokens": 7, "temperature": 0.3, "top_p": 0.3, "top_k": 3, "min_p": 0.3, "stop": ("x",), "seed": 3,
        "presence_penalty": 0.3, "frequency_penalty": 0.3, "repetition_penalty": 1.3, "logit_bias": {"3": 3.0},
        "logprobs": True, "top_logprobs": 3, "n": 3, "response_format": JsonObject(), "verbosity": "high",
        "reasoning_effort": ReasoningEffort(effort="none"), "parallel_tool_calls": False, "service_tier": "auto",
        "tool_choice": ToolChoice(mode="required"), "user": "u", "metadata": {"a": "b"}, "safety_identifier": "i",
        "safety_settings": _raw([1]), "prompt_cache_key": "k", "prompt_cache_retention": "24h", "store": True,
        "modalities": ("audio",), "audio": _raw({}), "prediction": _raw({}),
    }  # fmt: skip
    assert set(unusual) == set(exchange.Parameters.__struct_fields__)
    for name, value in unusual.items():
        body, lost = wire.encode(wire.chat(tools=[F], **{name: value}))
        plain, _ = wire.encode(wire.chat(tools=[F]))
        assert body != plain or name in lost, name


@pytest.mark.parametrize(
    ("said", "most", "expected"), [(None, None, 4096), (None, 64000, 64000), (10, 64000, 10), (None, 0, 4096)]
)
def test_max_tokens_is_always_said(said: int | None, most: int | None, expected: int) -> None:
    known = {} if most is None else {"max_output_tokens": most}
    body, lost = wire.encode(wire.chat(max_tokens=said), wire.target(wire.OLD, **known))
    assert body["max_tokens"] == expected
    assert not lost


@pytest.mark.parametrize(
    ("asked", "max_tokens", "to", "said", "lost"),
    [
        (ReasoningEffort(effort="none"), 9000, wire.target(), {"thinking": {"type": "disabled"}}, set()),
        (ReasoningEffort(budget_tokens=0), 9000, wire.target(), {"thinking": {"type": "disabled"}}, set()),
        (
            ReasoningEffort(effort="high"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 8000}, "max_tokens": 10000},
            set(),
        ),
        (
            ReasoningEffort(effort="low"),
            500,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1524},
            {"max_tokens"},
        ),
        (
            ReasoningEffort(budget_tokens=5000),
            6000,
            wire.target(max_output_tokens=4000),
            {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 6000},
            set(),
        ),
        (
            ReasoningEffort(budget_tokens=5000),
            3000,
            wire.target(max_output_tokens=4000),
            {"thinking": {"type": "enabled", "budget_tokens": 3999}, "max_tokens": 4000},
            {"max_tokens", "reasoning_budget"},
        ),
        (
            ReasoningEffort(effort="high"),
            500,
            wire.target(max_output_tokens=600),
            {"thinking": None, "max_tokens": 500},
            {"reasoning_effort"},
        ),
        (
            ReasoningEffort(budget_tokens=100),
            4000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"reasoning_budget"},
        ),
        (
            ReasoningEffort(adaptive=True, effort="high", summary="auto"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 8000, "display": "summarized"}, "output_config": None},
            set(),
        ),
        (
            ReasoningEffort(budget_tokens=-1, summary="detailed"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 5000, "display": "summarized"}},
            {"reasoning_summary"},
        ),
        (
            ReasoningEffort(effort="high"),
            9000,
            wire.target(wire.NEW),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            set(),
        ),
        (
            ReasoningEffort(effort="minimal", summary="none"),
            9000,
            wire.target("m", "adaptive_thinking"),
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
            {"reasoning_effort"},
        ),
        (
            ReasoningEffort(budget_tokens=4096),
            9000,
            wire.target(wire.NEW),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            {"reasoning_budget"},
        ),
        (
            ReasoningEffort(budget_tokens=4096),
            9000,
            wire.target("claude-opus-4-6"),
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            set(),
        ),
        (
            ReasoningEffort(effort="high"),
            10000,
            wire.target(wire.NEW, "budget_thinking"),
            {"thinking": {"type": "enabled", "budget_tokens": 8000}},
            set(),
        ),
        (ReasoningEffort(effort="high"), 9000, wire.target(reasoning=False), {"thinking": None}, {"reasoning_effort"}),
    ],
)
def test_how_much_to_think(
    asked: ReasoningEffort, max_tokens: int, to: Target, said: dict[str, object], lost: set[str]
) -> None:
    body, names = wire.encode(wire.chat(reasoning_effort=asked, max_tokens=max_tokens), to)
    assert {name: body.get(name) for name in said} == said
    assert names == lost


def test_who_thinks_is_not_sampled_otherwise() -> None:
    low = ReasoningEffort(effort="low")
    settings = {"temperature": 0.5, "top_p": 0.5, "top_k": 5, "max_tokens": 9000, "reasoning_effort": low}
    body, lost = wire.encode(wire.chat(**settings))
    assert not {"temperature", "top_p", "top_k"} & set(body)
    assert lost == {"temperature", "top_p", "top_k"}
    body, lost = wire.encode(wire.chat(temperature=1, max_tokens=9000, reasoning_effort=low))
    assert body["temperature"] == 1
    assert not lost
    body, lost = wire.encode(wire.chat(top_p=0.97, max_tokens=9000, reasoning_effort=low))
    assert body["top_p"] == 0.97
    assert not lost


def test_a_model_that_is_not_sampled() -> None:
    for to in (wire.target(wire.NEW), wire.target("m", "no_sampling")):
        body, lost = wire.encode(wire.chat(temperature=0.5, top_p=0.5, top_k=5), to)
        assert not {"temperature", "top_p", "top_k"} & set(body)
        assert lost == {"temperature", "top_p", "top_k"}


def test_a_turn_that_began_without_thinking_goes_on_without() -> None:
    call = ToolCall(id="t1", name="f", arguments="{}")
    result = wire.user(ToolResult(call_id="t1"))
    low = ReasoningEffort(effort="low")
    body, lost = wire.encode(
        wire.chat(wire.user("q"), wire.assistant(call), result, reasoning_effort=low, max_tokens=9000)
    )
    assert "thinking" not in body
    assert lost == {"reasoning_effort"}
    thought = wire.assistant(Reasoning(text="hm", signature=OWN), call)
    body, lost = wire.encode(wire.chat(wire.user("q"), thought, result, reasoning_effort=low, max_tokens=9000))
    assert "thinking" in body
    assert not lost
    turns = (wire.user("q"), wire.assistant(call), result)
    body, lost = wire.encode(wire.chat(*turns, reasoning_effort=low, max_tokens=9000), wire.target(wire.NEW))
    assert body["thinking"] == {"type": "adaptive"}


# ---- the form of the answer ------------------------------------------------------------------------------------------


def test_a_schema_that_the_api_takes_is_sent_as_it_is() -> None:
    schema = msgspec.Raw(
        b'{"type": "object", "properties": {"a": {"type": "number", "default": 1.0}}, "additionalProperties": false}'
    )
    request = wire.chat(response_format=JsonSchema(schema=schema))
    encoded = wire.CHAT_UP.encode(request, wire.target())
    assert bytes(schema) in encoded.body
    assert encoded.lost == ()


def test_a_schema_is_closed_and_what_is_not_taken_is_described() -> None:
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "n"},
            "b": {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "object"}, {"$ref": "#/$defs/c"}]}},
        },
        "$defs": {"c": {"type": "object", "additionalProperties": True}},
    }
    body, lost = wire.encode(wire.chat(response_format=JsonSchema(schema=_raw(schema))))
    assert body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "minimum": {"type": "integer", "description": "n\n\n{minimum: 1}"},
                    "b": {
                        "type": "array",
                        "items": {"anyOf": [{"type": "object", "additionalProperties": False}, {"$ref": "#/$defs/c"}]},
                        "description": "{minItems: 2}",
                    },
                },
                "$defs": {"c": {"type": "object", "additionalProperties": False}},
                "additionalProperties": False,
            },
        }
    }
    assert lost == {"response_format.strict"}


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        (JsonObject(), wire.target()),
        (JsonSchema(schema=None), wire.target()),
        (JsonSchema(schema=_raw({"type": "object"})), wire.target("m", "no_json_schema")),
        (JsonSchema(schema=_raw({"type": "object"})), wire.target(json_schema=False)),
        (JsonSchema(schema=_raw([1])), wire.target()),
    ],
)
def test_json_is_asked_for_in_words_where_there_is_no_other_way(wanted: exchange.ResponseFormat, to: Target) -> None:
    body, lost = wire.encode(wire.chat(wire.system("s"), wire.user("q"), response_format=wanted), to)
    assert "output_config" not in body
    assert body["system"][0] == _text("s")  # type: ignore[index]
    assert "JSON object" in body["system"][1]["text"]  # type: ignore[index]
    assert lost == {"response_format"}


# ---- anything at all -------------------------------------------------------------------------------------------------

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
    encoded = wire.CHAT_UP.encode(request, to)
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
