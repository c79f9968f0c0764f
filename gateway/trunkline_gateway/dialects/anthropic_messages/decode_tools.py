"""Tools and the choice of them, as a client says them.

https://docs.anthropic.com/en/api/messages#body-tools
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from trunkline_gateway.dialects.anthropic_messages import client_json
from trunkline_gateway.dialects.anthropic_messages.client_json import Members, wrong
from trunkline_gateway.dialects.anthropic_messages.decode_content import Unsaid, cache
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT, hosted_kind
from trunkline_gateway.exchange import HostedTool, Tool, ToolChoice

_Mode: TypeAlias = Literal["auto", "none", "required", "named"]

_MODES: Final[Mapping[str, _Mode]] = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}


def tools(items: Sequence[msgspec.Raw], unsaid: Unsaid) -> tuple[Tool | HostedTool, ...]:
    """All tools. Raises InvalidRequestError."""
    return tuple(_tool(raw, f"tools[{number}]", unsaid) for number, raw in enumerate(items))


def mcp_servers(items: Sequence[msgspec.Raw]) -> tuple[HostedTool, ...]:
    """Servers whose tools Anthropic calls by itself. Raises InvalidRequestError."""
    for number, raw in enumerate(items):
        Members.of(raw, f"mcp_servers[{number}]")
    return tuple(HostedTool(kind="mcp", dialect=DIALECT, value=raw) for raw in items)


def choice(said: Members | None) -> tuple[ToolChoice | None, bool | None]:
    """Which tools are called, and whether several at once may be. Raises InvalidRequestError."""
    if said is None:
        return None, None
    kind = said.need_text("type")
    if kind not in _MODES:
        raise wrong("tool_choice.type", f"Input should be one of {', '.join(_MODES)}")
    names = (said.need_text("name"),) if kind == "tool" else ()
    one = said.boolean("disable_parallel_tool_use")
    return ToolChoice(mode=_MODES[kind], names=names), None if one is None else not one


def _tool(raw: msgspec.Raw, path: str, unsaid: Unsaid) -> Tool | HostedTool:
    tool = Members.of(raw, path)
    kind = tool.text("type")
    if kind is not None and kind != "custom":
        return _hosted(kind, tool, raw)
    name = tool.need_text("name")
    if not name:
        raise wrong(tool.at("name"), "String should have at least 1 character")
    schema = tool.need("input_schema")
    if not client_json.is_object(schema):
        raise wrong(tool.at("input_schema"), "Input should be a valid dictionary")
    callers = tool.texts("allowed_callers")
    if callers is not None and callers != ("direct",):
        unsaid.append("tools.allowed_callers")
    made = Tool(
        name=name,
        description=tool.text("description"),
        parameters=schema,
        strict=tool.boolean("strict"),
        cache=cache(tool, unsaid),
    )
    unsaid.rest(tool, "tools")
    return made


def _hosted(kind: str, tool: Members, raw: msgspec.Raw) -> HostedTool:
    neutral = hosted_kind(kind)
    if neutral != "web_search":
        return HostedTool(kind=neutral, dialect=DIALECT, value=raw)
    location = tool.object("user_location")
    return HostedTool(
        kind=neutral,
        dialect=DIALECT,
        value=raw,
        max_uses=tool.integer("max_uses"),
        allowed_domains=tool.texts("allowed_domains"),
        blocked_domains=tool.texts("blocked_domains"),
        location=None if location is None else tool.raw("user_location"),
    )
