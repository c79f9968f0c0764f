"""Tools that a provider has no word for get another form on the way there, and their own again on the way back.

Codex declares its tools in namespaces and as free text: whatever the provider, it must get calls of those.
"""

import json
from collections.abc import Mapping

import pytest

from corpus import codecs_here, sdks
from corpus.requests import PROVIDERS
from trunkline_gateway import exchange

_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

REQUEST = {
    "model": "model",
    "input": "hello",
    "tools": [
        {"type": "namespace", "name": "weather", "description": "Of the sky", "tools": [
            {"type": "function", "name": "look", "description": "Up", "parameters": _SCHEMA},
        ]},
        {"type": "namespace", "name": "files", "description": "On the disk", "tools": [
            {"type": "function", "name": "look", "description": "Into", "parameters": _SCHEMA},
        ]},
        {"type": "custom", "name": "apply_patch", "description": "Free text"},
    ],
}  # fmt: skip


def _names_of(dialect: str, body: Mapping[str, object]) -> list[str]:
    """The tools' names as the provider reads them."""
    tools = body.get("tools") or body["toolConfig"]["tools"]
    found = []
    for tool in tools:
        declarations = tool.get("functionDeclarations")
        for each in declarations if declarations is not None else [tool]:
            inner = each.get("function") or each.get("custom") or each.get("toolSpec") or each
            found.append(inner["name"])
    return found


def _answer(dialect: str, body: Mapping[str, object], name: str, arguments: str) -> bytes:
    """A provider's answer that calls a tool by the name it was told."""
    custom = next((each for each in body.get("tools", ()) if each.get("type") == "custom" and name in str(each)), None)
    if dialect == "bedrock_converse":
        call = {"toolUseId": "call_1", "name": name, "input": json.loads(arguments)}
        message = {"role": "assistant", "content": [{"toolUse": call}]}
        return json.dumps({"output": {"message": message}, "stopReason": "tool_use", "usage": {}}).encode()
    answer = exchange.Answer(
        id="answer",
        model="model",
        choices=(
            exchange.Choice(
                parts=(
                    exchange.ToolCall(
                        id="call_1",
                        name=name,
                        arguments=json.loads(arguments)["input"] if custom else arguments,
                        custom=bool(custom),
                    ),
                ),
                finish_reason="tool_calls",
            ),
        ),
    )
    return codecs_here.encode_whole(dialect, answer).body


@pytest.mark.parametrize("dialect", [each for each in codecs_here.CHAT_DIALECTS if each != "openai_responses"])
def test_a_call_is_of_the_tool_that_the_client_declared(dialect: str) -> None:
    request = codecs_here.decode_request("openai_responses", REQUEST)
    target = codecs_here.target(PROVIDERS[dialect])
    body = json.loads(codecs_here.upstream(dialect).encode(request, target).body)
    names = _names_of(dialect, body)
    assert len(names) == len(set(names)) == 3, names
    wanted = [
        ("function_call", "look", "weather", '{"city":"Rome"}'),
        ("function_call", "look", "files", '{"city":"Rome"}'),
        ("custom_tool_call", "apply_patch", None, "*** Begin Patch"),
    ]
    for name, (kind, own, namespace, said) in zip(names, wanted, strict=True):
        arguments = json.dumps({"input": said}) if kind == "custom_tool_call" else said
        raw = _answer(dialect, body, name, arguments)
        answer = codecs_here.upstream(dialect).decode(raw, codecs_here.asked(request, target=target))
        assert isinstance(answer, exchange.Answer)
        written = codecs_here.ingress("openai_responses").encode(answer, request).body
        sdks.response(written)
        (item,) = [each for each in json.loads(written)["output"] if each["type"] != "reasoning"]
        assert (item["type"], item["name"], item.get("namespace")) == (kind, own, namespace), name
        assert item.get("input", item.get("arguments")).replace(" ", "") == said.replace(" ", "")
