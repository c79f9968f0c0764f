"""The tools of a request, and which of them the model may call.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialects.bedrock_converse import names, reading
from trunkline_gateway.dialects.bedrock_converse.writing import Block, Writing
from trunkline_gateway.exchange import ChatRequest, HostedTool, Tool, ToolCall, ToolResult, losses

SYSTEM_TOOLS: Final[Mapping[str, str]] = {
    # https://docs.aws.amazon.com/nova/latest/nova2-userguide/built-in-tools.html
    "web_search": "nova_grounding",
    "code_execution": "nova_code_interpreter",
}

_NOTHING: Final = {"type": "object", "properties": {}}


def config_of(request: ChatRequest, writing: Writing, *, may_force: bool) -> Mapping[str, object] | None:
    """``toolConfig``; None: no tools. ``may_force``: the model can be made to call one (not while it thinks)."""
    choice = request.parameters.tool_choice
    needed = _calls_of(request, writing)
    if choice is not None and choice.mode == "none":
        # There is no word for it but to have no tools, which may not be while the turns have calls in them.
        if not needed:
            return None
        writing.lose("tool_choice")
    tools: list[Block] = []
    allowed = frozenset(choice.names if choice is not None and choice.mode != "named" else ())
    for tool in request.tools:
        if allowed and tool_name(tool) not in allowed:
            continue  # only those may be called
        tools.extend(_hosted(tool, writing) if isinstance(tool, HostedTool) else _tool(tool, writing))
    if not any("cachePoint" not in tool for tool in tools):
        tools = [_spec(name, None, _NOTHING) for name in sorted(needed)]
    if not tools:
        if choice is not None and choice.mode != "auto":
            writing.lose("tool_choice")
        return None
    config: dict[str, object] = {"tools": tools}
    chosen = _choice(request, writing, may_force=may_force)
    if chosen is not None:
        config["toolChoice"] = chosen
    return config


def tool_name(tool: Tool | HostedTool) -> str:
    """By which a choice names it."""
    return tool.kind if isinstance(tool, HostedTool) else tool.name


def _choice(request: ChatRequest, writing: Writing, *, may_force: bool) -> Mapping[str, object] | None:
    choice = request.parameters.tool_choice
    if choice is None or choice.mode == "none":
        return None
    if choice.mode == "auto":
        return {"auto": {}}
    model = writing.model
    if not may_force or not model.any_tool:
        writing.lose("tool_choice")
        return None
    if choice.mode == "required":
        return {"any": {}}
    if not model.named_tool or not choice.names:
        writing.lose("tool_choice")
        return {"any": {}}
    name = choice.names[0]
    namespaces = [tool.namespace for tool in request.tools if isinstance(tool, Tool) and tool.name == name]
    return {"tool": {"name": writing.names.write(name, namespaces[0] if namespaces else None)}}


def _tool(tool: Tool, writing: Writing) -> Sequence[Block]:
    if tool.namespace_description:
        writing.lose("tools.namespace")
    schema: object = _NOTHING
    if tool.custom:
        writing.lose("tools.custom")
        schema = names.input_schema()
    elif tool.parameters is not None:
        schema = _object_schema(tool.parameters)
    spec = _spec(writing.names.write(tool.name, tool.namespace), tool.description, schema)
    if tool.strict:
        if writing.model.strict:
            spec["toolSpec"]["strict"] = True
        else:
            writing.lose("tools.strict")
    point = writing.cache_point(tool.cache, among_tools=True)
    return [spec] if point is None else [spec, point]


def _spec(name: str, description: str | None, schema: object) -> dict[str, dict[str, object]]:
    said: dict[str, object] = {"name": name, "inputSchema": {"json": schema}}
    if description and description.strip():
        said["description"] = description
    return {"toolSpec": said}


def _object_schema(parameters: msgspec.Raw) -> object:
    """The schema as it is, with the type that is required there and that some leave out."""
    members = reading.object_of(parameters)
    if members is None:
        return _NOTHING
    return parameters if "type" in members else {"type": "object", **members}


def _hosted(tool: HostedTool, writing: Writing) -> Sequence[Block]:
    name = SYSTEM_TOOLS.get(tool.kind)
    if name is None or not writing.model.runs_tools:
        writing.lose(tool.kind if tool.kind in losses.FEATURES else "hosted_tool")
        return ()
    if any(each is not None for each in (tool.max_uses, tool.allowed_domains, tool.blocked_domains, tool.location)):
        writing.lose("web_search.options")
    return ({"systemTool": {"name": name}},)


def _calls_of(request: ChatRequest, writing: Writing) -> set[str]:
    """Converse's names of the tools that were called in the turns; results without a call count as well."""
    called: set[str] = set()
    for turn in request.turns:
        for part in turn.parts:
            if isinstance(part, ToolCall):
                called.add(writing.names.write(part.name, part.namespace))
            elif isinstance(part, ToolResult) and part.name:
                called.add(writing.names.write(part.name))
            elif isinstance(part, ToolResult):
                called.add("tool")
    return called - {"tool"} or called
