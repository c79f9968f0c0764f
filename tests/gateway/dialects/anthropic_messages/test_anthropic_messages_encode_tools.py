"""Tools for the API, their names, and the choice of them."""

import json

import pytest

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import (
    HostedTool,
    ReasoningEffort,
    Seal,
    Tool,
    ToolCall,
    ToolChoice,
    Turn,
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


@pytest.mark.parametrize(
    ("tool", "said", "lost"),
    [
        (
            Tool(name="f", description="d"),
            {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            "",
        ),
        (Tool(name="f", parameters=wire.raw({"a": 1})), {"name": "f", "input_schema": {"a": 1, "type": "object"}}, ""),
        (
            Tool(name="f", parameters=wire.raw(True)),
            {"name": "f", "input_schema": {"type": "object", "properties": {}}},
            "",
        ),
        (
            Tool(name="f", parameters=wire.raw({"type": ["object", "null"]}), strict=True),
            {"name": "f", "input_schema": {"type": "object"}, "strict": True},
            "",
        ),
        (Tool(name="f", strict=False), {"name": "f", "input_schema": {"type": "object", "properties": {}}}, ""),
        (
            HostedTool(
                kind="web_search",
                dialect="openai_responses",
                value=wire.raw({}),
                max_uses=3,
                allowed_domains=("a",),
                blocked_domains=("b",),
                location=wire.raw({"city": "Ulm"}),
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
                kind="bash", dialect="anthropic_messages", value=wire.raw({"type": "bash_20250124", "name": "bash"})
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
    tools = [HostedTool(kind=kind, dialect="x", value=wire.raw({})) for kind in ("file_search", "maps", "google_thing")]
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
        wire.chat(tools=[HostedTool(kind="mcp", dialect="anthropic_messages", value=wire.raw(server))])
    )
    assert body["mcp_servers"] == [server]
    assert "tools" not in body
    assert not lost


def test_a_tool_for_free_text_has_one_argument_and_comes_back_as_it_was() -> None:
    grammar = wire.raw({"type": "grammar", "syntax": "lark"})
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
