"""Tools and the choice among them.

https://ai.google.dev/api/caching#Tool
https://ai.google.dev/api/caching#ToolConfig
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.gemini_generate import models, parts, schema, wire
from trunkline_gateway.dialects.gemini_generate.names import Names
from trunkline_gateway.dialects.gemini_generate.own import Own

Wire: TypeAlias = dict[str, object]

HOSTED: Final[Mapping[str, str]] = {
    "web_search": "googleSearch",
    "web_fetch": "urlContext",
    "url_context": "urlContext",
    "code_execution": "codeExecution",
    "maps": "googleMaps",
}
"""Hosted tools that can be asked for without saying more; others need what only their own dialect says."""

_INPUT: Final = msgspec.Raw(b'{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}')


def encode(request: exchange.ChatRequest, names: Names, target: Target, lost: dict[str, None]) -> Wire:
    """``tools`` and ``toolConfig``, as far as there are any."""
    body: Wire = {}
    declared = _declarations(request.tools, names, target, lost)
    hosted = _hosted(request.tools, target, lost, beside_functions=bool(declared))
    tools: list[object] = [{"functionDeclarations": declared}] if declared else []
    tools += hosted
    if tools:
        body["tools"] = tools
    config: Wire = dict(request.own.tool_config) if isinstance(request.own, Own) else {}
    asked = request.parameters.tool_choice
    choice = _choice(asked, names) if declared else None
    if choice is not None:
        config["functionCallingConfig"] = choice
    elif asked is not None and asked.mode in ("required", "named"):
        lost["tool_choice"] = None
    if declared and hosted and not models.is_vertex(target):
        # Without it Gemini 3 refuses the two together: https://ai.google.dev/gemini-api/docs/tool-combination
        config["includeServerSideToolInvocations"] = True
    if config:
        body["toolConfig"] = config
    return body


def _declarations(
    tools: Sequence[exchange.Tool | exchange.HostedTool], names: Names, target: Target, lost: dict[str, None]
) -> list[Wire]:
    made: list[Wire] = []
    seen: set[str] = set()
    for tool in tools:
        if not isinstance(tool, exchange.Tool):
            continue
        name = names.to_wire(tool.name, tool.namespace)
        if name in seen:
            continue
        seen.add(name)
        declared: Wire = {"name": name}
        described = "\n\n".join(each for each in (tool.namespace_description, tool.description) if each)
        if described:
            declared["description"] = described
        parameters = _INPUT if tool.custom else tool.parameters
        if parameters is not None:
            _put_schema(declared, "parameters", parameters, target)
        for feature, is_lost in (
            ("tools.custom", tool.custom and _has_grammar(tool)),
            ("tools.strict", tool.strict is True),
            ("cache_control", tool.cache is not None),
        ):
            if is_lost:
                lost[feature] = None
        made.append(declared)
    return made


def _has_grammar(tool: exchange.Tool) -> bool:
    """Whether its text must be of a form, which nothing here holds it to."""
    value = None if tool.format is None else wire.value_of(tool.format)
    return isinstance(value, Mapping) and value.get("type") != "text"


def _put_schema(declared: Wire, name: str, parameters: msgspec.Raw, target: Target) -> None:
    if "old_schema" not in target.quirks:
        if bytes(parameters) not in (b"null", b"{}"):
            declared[f"{name}JsonSchema"] = parameters
        return
    subset = schema.to_subset(parameters)
    if subset is not None:
        declared[name] = subset


def _hosted(
    tools: Sequence[exchange.Tool | exchange.HostedTool],
    target: Target,
    lost: dict[str, None],
    *,
    beside_functions: bool,
) -> list[object]:
    made: list[object] = []
    seen: set[str] = set()
    for tool in tools:
        if not isinstance(tool, exchange.HostedTool):
            continue
        if tool.dialect == parts.DIALECT:
            made.append(tool.value)
            continue
        name = HOSTED.get(tool.kind)
        if name is None or (beside_functions and not models.is_third(target)):
            lost[tool.kind if name is not None or tool.kind in _NAMED else "hosted_tool"] = None
            continue
        limits = (tool.max_uses, tool.allowed_domains, tool.blocked_domains, tool.location)
        if any(each is not None for each in limits):
            lost["web_search.options"] = None
        if name not in seen:
            seen.add(name)
            made.append({name: {}})
    return made


_NAMED: Final = frozenset(
    {"file_search", "image_generation", "computer", "bash", "text_editor", "memory", "mcp", *HOSTED}
)


def _choice(choice: exchange.ToolChoice | None, names: Names) -> Wire | None:
    if choice is None:
        return None
    allowed = [names.to_wire(name) for name in choice.names]
    match choice.mode:
        case "none":
            return {"mode": "NONE"}
        case "auto":
            # Only these two modes know allowed names.
            return {"mode": "VALIDATED", "allowedFunctionNames": allowed} if allowed else {"mode": "AUTO"}
        case "required" | "named":
            config: Wire = {"mode": "ANY"}
            if allowed:
                config["allowedFunctionNames"] = allowed
            return config
