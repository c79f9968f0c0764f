"""Tools and the choice among them, for an upstream.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.openai_responses import hosted, names, reading, targets
from trunkline_gateway.dialects.openai_responses.lost import Lost
from trunkline_gateway.exchange import ChatRequest, HostedTool, Tool, ToolChoice
from trunkline_gateway.exchange.losses import FEATURES

Wire = Mapping[str, object]

_NOTHING_TAKEN: Final[Wire] = {"type": "object", "properties": {}}

# Hosted tools of others that can be asked for without knowing more.
_PLAIN: Final[Mapping[str, Wire]] = {
    "code_execution": {"type": "code_interpreter", "container": {"type": "auto"}},
    "image_generation": {"type": "image_generation"},
}


def encode(request: ChatRequest, target: Target, lost: Lost) -> list[Wire | msgspec.Raw]:
    """All tools; those of a namespace stand together where its first stands."""
    flat = not targets.knows_namespaces(target)
    wire: list[Wire | msgspec.Raw] = []
    groups: dict[str, list[Wire]] = {}
    for tool in request.tools:
        if isinstance(tool, HostedTool):
            found = _hosted(tool, lost)
            if found is not None:
                wire.append(found)
            continue
        lost.add_if(tool.cache, "cache_control")
        if tool.namespace is None or flat:
            lost.add_if(tool.namespace, "tools.namespace")
            wire.append(_tool(tool, tool.namespace if flat else None))
            continue
        group = groups.get(tool.namespace)
        if group is None:
            group = groups[tool.namespace] = []
            wire.append(
                {
                    "type": "namespace",
                    "name": tool.namespace,
                    "description": tool.namespace_description or "",
                    "tools": group,
                }
            )
        group.append(_tool(tool, None))
    return wire


def encode_choice(choice: ToolChoice, request: ChatRequest, target: Target, lost: Lost) -> object:
    """The choice; None where there is nothing to choose from, which OpenAI refuses to be told."""
    if not request.tools:
        lost.add_if(choice.mode in ("required", "named"), "tool_choice")
        return None
    flat = not targets.knows_namespaces(target)
    tools: dict[str, Tool | HostedTool] = {}  # by name; functions first, and of the same name the first
    for tool in sorted(request.tools, key=lambda each: isinstance(each, HostedTool)):
        tools.setdefault(tool.kind if isinstance(tool, HostedTool) else tool.name, tool)
    if choice.mode == "named" and choice.names:
        return _named(choice.names[0], tools, flat)
    if choice.names and choice.mode in ("auto", "required"):
        allowed = [_named(name, tools, flat) for name in choice.names]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": allowed}
    return "required" if choice.mode == "named" else choice.mode


def _named(name: str, tools: Mapping[str, Tool | HostedTool], flat: bool) -> Wire:
    tool = tools.get(name)
    if tool is None:
        return {"type": "function", "name": names.name(name)}
    if isinstance(tool, Tool):
        kind = "custom" if tool.custom else "function"
        return {"type": kind, "name": names.name(name, tool.namespace if flat else None)}
    if tool.dialect == hosted.DIALECT:
        value = reading.mapping(reading.parse(tool.value))
        label = {"server_label": value["server_label"]} if "server_label" in value else {}
        return {"type": value.get("type"), **label}
    return {"type": _PLAIN.get(name, {"type": name})["type"]}


def _tool(tool: Tool, namespace: str | None) -> Wire:
    name = names.name(tool.name, namespace)
    described = {} if tool.description is None else {"description": tool.description}
    if tool.custom:
        form = {} if tool.format is None else {"format": tool.format}
        return {"type": "custom", "name": name, **described, **form}
    return {
        "type": "function",
        "name": name,
        **described,
        "parameters": _NOTHING_TAKEN if tool.parameters is None else tool.parameters,
        # Where it is not said, Responses would be strict, and refuse most schemas.
        "strict": bool(tool.strict),
    }


def _hosted(tool: HostedTool, lost: Lost) -> Wire | msgspec.Raw | None:
    if tool.dialect == hosted.DIALECT:
        return tool.value
    if tool.kind == "web_search":
        wire: dict[str, object] = {"type": "web_search"}
        if tool.allowed_domains is not None:
            wire["filters"] = {"allowed_domains": tool.allowed_domains}
        if tool.location is not None:
            wire["user_location"] = {"type": "approximate", **reading.mapping(reading.parse(tool.location))}
        lost.add_if(tool.max_uses is not None or tool.blocked_domains, "web_search.options")
        return wire
    found = _PLAIN.get(tool.kind)
    if found is None:
        lost.add(tool.kind if tool.kind in FEATURES else "hosted_tool")
    return found
