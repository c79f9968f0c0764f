"""``tools`` and ``toolConfig`` of a client.

https://ai.google.dev/api/caching#Tool
https://ai.google.dev/api/caching#ToolConfig
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway import exchange
from trunkline_gateway.dialects.gemini_generate import parts, schema, wire
from trunkline_gateway.dialects.gemini_generate.reader import Message
from trunkline_gateway.errors import InvalidRequestError

_HOSTED: Final[Mapping[str, str]] = {
    "googleSearch": "web_search",
    "googleSearchRetrieval": "web_search",
    "enterpriseWebSearch": "web_search",
    "urlContext": "url_context",
    "codeExecution": "code_execution",
    "googleMaps": "maps",
    "fileSearch": "file_search",
    "computerUse": "computer",
    "mcpServers": "mcp",
}
_MODES: Final = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED")


def tools(body: Message, unsaid: dict[str, None]) -> tuple[exchange.Tool | exchange.HostedTool, ...]:
    """All tools, in order; each object in the list may hold several."""
    made: list[exchange.Tool | exchange.HostedTool] = []
    for tool in body.messages("tools"):
        for name in tool.names:
            if name == "functionDeclarations":
                made += [_function(each, unsaid) for each in tool.messages(name)]
            else:
                raw = tool.raw(name)
                value = wire.raw_of({name: raw})
                made.append(exchange.HostedTool(kind=_HOSTED.get(name, name), dialect=parts.DIALECT, value=value))
    return tuple(made)


def _function(declared: Message, unsaid: dict[str, None]) -> exchange.Tool:
    name = declared.text("name")
    if not name:
        raise InvalidRequestError(f"'{declared.at('name')}' is required.", param=declared.at("name"))
    given = declared.message("parameters")
    own = declared.raw("parameters")
    parameters = declared.raw("parametersJsonSchema")
    if parameters is None and given is not None and own is not None:
        parameters = schema.to_json_schema(own)
    for each in declared.unread:
        if each != "description":
            unsaid[f"tools.functionDeclarations.{each}"] = None
    return exchange.Tool(name=name, description=declared.text("description"), parameters=parameters)


def choice(body: Message, unsaid: dict[str, None]) -> exchange.ToolChoice | None:
    """``toolConfig.functionCallingConfig``."""
    config = body.message("toolConfig")
    calling = None if config is None else config.message("functionCallingConfig")
    if config is not None:
        for each in config.unread:
            unsaid[f"toolConfig.{each}"] = None
    if calling is None:
        return None
    mode = calling.enum("mode", _MODES) or "AUTO"
    names = calling.texts("allowedFunctionNames") or ()
    for each in calling.unread:
        unsaid[f"toolConfig.functionCallingConfig.{each}"] = None
    match mode:
        case "NONE":
            return exchange.ToolChoice(mode="none")
        case "ANY":
            return exchange.ToolChoice(mode="named" if len(names) == 1 else "required", names=names)
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            if mode == "VALIDATED" and not names:  # what it calls shall fit the schema: nobody else has that
                unsaid["toolConfig.functionCallingConfig.mode"] = None
            # Allowed names are said to count in the other modes only.
            return exchange.ToolChoice(mode="auto", names=names if mode == "VALIDATED" else ())
        case _:
            path = calling.at("mode")
            raise InvalidRequestError(f"'{path}' must be one of {', '.join(_MODES[1:])}.", param=path)


def kept(body: Message) -> Mapping[str, msgspec.Raw]:
    """``toolConfig`` without the choice, for an upstream that is Gemini as well."""
    config = body.message("toolConfig")
    names: Sequence[str] = () if config is None else [each for each in config.names if each != "functionCallingConfig"]
    return {} if config is None else {name: raw for name in names if (raw := config.raw(name)) is not None}
