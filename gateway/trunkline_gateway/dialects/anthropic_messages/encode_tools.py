"""Tools and the choice of them, for a request.

https://docs.anthropic.com/en/api/messages#body-tools
"""

from collections.abc import Sequence, Set
from typing import Final

from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.anthropic_messages import names, schema, upstream_json
from trunkline_gateway.dialects.anthropic_messages.encode_content import Block, Lost, marked, own
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT
from trunkline_gateway.exchange import HostedTool, Parameters, Tool, losses

WEB_SEARCH: Final = "web_search_20250305"
"""The first of them, which every platform has."""

MAX_CACHE_MARKS: Final = 4


class Tools:
    """What a request's tools become.

    Attributes:
        tools, mcp_servers: The members; empty: left out.
        choice: None: not said.
    """

    __slots__ = ("_lost", "_names", "_target", "choice", "mcp_servers", "tools")

    def __init__(self, tool_names: names.ToolNames, target: Target, lost: Lost) -> None:
        self._names = tool_names
        self._target = target
        self._lost = lost
        self.tools: list[Block] = []
        self.mcp_servers: list[Block] = []
        self.choice: Block | None = None

    def write(self, tools: Sequence[Tool | HostedTool], parameters: Parameters, *, thinks: bool) -> None:
        """Take them; a model that ``thinks`` cannot be forced to call any."""
        chosen = parameters.tool_choice
        allowed = frozenset(chosen.names if chosen is not None and chosen.mode in ("auto", "required") else ())
        for tool in tools:
            if allowed and isinstance(tool, Tool) and not _is_among(tool, allowed):
                continue
            block = self._hosted(tool) if isinstance(tool, HostedTool) else self._tool(tool)
            if block is not None:
                self.tools.append(block)
        self.choice = self._choice(parameters, thinks=thinks)

    def _tool(self, tool: Tool) -> Block:
        block: Block = {"name": self._names.wire(tool.name, tool.namespace)}
        described = "\n\n".join(each for each in (tool.namespace_description, tool.description) if each)
        if described:
            block["description"] = described
        if tool.custom:
            block["input_schema"] = schema.FREE_TEXT
            if tool.format is not None and not _is_plain_text(tool):
                self._lost["tools.custom"] = None  # that a grammar holds
        else:
            block["input_schema"] = schema.of_input(tool.parameters)
        if tool.strict and not tool.custom:
            if "no_strict_tools" in self._target.quirks:
                self._lost["tools.strict"] = None
            else:
                block["strict"] = True
        return marked(block, tool.cache)

    def _hosted(self, tool: HostedTool) -> Block | None:
        if tool.dialect == DIALECT:
            block = own(tool.value)
            if upstream_json.text(upstream_json.members(tool.value).get("type")) == "url":
                self.mcp_servers.append(block)
                return None
            return block
        if tool.kind != "web_search":
            self._lost[tool.kind if tool.kind in losses.FEATURES else "hosted_tool"] = None
            return None
        block = {"type": WEB_SEARCH, "name": "web_search"}
        if tool.max_uses is not None:
            block["max_uses"] = tool.max_uses
        if tool.allowed_domains:
            block["allowed_domains"] = tool.allowed_domains
            if tool.blocked_domains:
                self._lost["web_search.options"] = None  # one of the two
        elif tool.blocked_domains:
            block["blocked_domains"] = tool.blocked_domains
        if tool.location is not None:
            block["user_location"] = {"type": "approximate", **upstream_json.members(tool.location)}
        return block

    def _choice(self, parameters: Parameters, *, thinks: bool) -> Block | None:
        chosen, parallel = parameters.tool_choice, parameters.parallel_tool_calls
        if not self.tools and not self.mcp_servers:
            if chosen is not None and chosen.mode in ("required", "named"):
                self._lost["tool_choice"] = None  # without tools the API takes no choice
            return None
        choice: Block | None = None
        if chosen is not None:
            match chosen.mode:
                case "auto":
                    choice = {"type": "auto"}
                case "none":
                    return {"type": "none"}
                case "required":
                    choice = {"type": "any"}
                case "named":
                    name = self._names.chosen(chosen.names[0]) if chosen.names else ""
                    choice = {"type": "tool", "name": name} if name else {"type": "any"}
            if thinks and choice is not None and choice["type"] != "auto":
                choice = {"type": "auto"}
                self._lost["tool_choice"] = None
        if parallel is not None:
            choice = choice or {"type": "auto"}
            choice["disable_parallel_tool_use"] = not parallel
        return choice


def _is_among(tool: Tool, allowed: Set[str]) -> bool:
    return tool.name in allowed or names.flat(tool.name, tool.namespace) in allowed


def _is_plain_text(tool: Tool) -> bool:
    return upstream_json.text(upstream_json.members(tool.format).get("type")) == "text"
