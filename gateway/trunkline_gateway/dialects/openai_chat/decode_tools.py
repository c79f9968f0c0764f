"""Tools of a client's request, and which of them may be called.

https://platform.openai.com/docs/api-reference/chat/create#chat-create-tools
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_chat import custom_format, decode_parts, vocabulary
from trunkline_gateway.dialects.openai_chat.members import Members, kind_of, text_of
from trunkline_gateway.exchange import HostedTool, Tool, ToolChoice

_KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "web_search": "web_search",
        "web_search_preview": "web_search",
        "openrouter:web_search": "web_search",
        "browser_search": "web_search",  # Groq
        "code_interpreter": "code_execution",
        "code_execution": "code_execution",
        "file_search": "file_search",
        "image_generation": "image_generation",
        "mcp": "mcp",
    }
)
"""Tools that providers run themselves, by the names that they have in the field."""

_encoder: Final = msgspec.json.Encoder()


def tools_of(request: Members) -> tuple[Tool | HostedTool, ...]:
    """All tools: ``tools``, the older ``functions``, and the search that has options of its own."""
    tools: list[Tool | HostedTool] = []
    for value, at in request.items("tools") or ():
        tools.append(_tool(request.object_of(value, at), value))
    tools.extend(_function(function) for function in request.objects("functions") or ())
    options = request.raw("web_search_options")
    if options is not None:
        tools.append(_search(request.object_of(options, "web_search_options"), options))
    return tuple(tools)


def choice_of(request: Members) -> ToolChoice | None:
    """``tool_choice``, or the older ``function_call``; None: not said."""
    older = _older_choice(request)
    if request.kind("tool_choice") == "text":
        word = request.text("tool_choice")
        match word:
            case "auto" | "none" | "required":
                return ToolChoice(mode=word)
            case "any":  # Mistral
                return ToolChoice(mode="required")
        raise request.refusal("tool_choice", "must be none, auto, required or an object")
    choice = request.object("tool_choice")
    if choice is None:
        return older
    kind = choice.needed_text("type")
    match kind:
        case "function" | "custom":
            return _named(choice, kind)
        case "allowed_tools":
            return _allowed(choice)
        case "auto" | "none" | "required":
            return ToolChoice(mode=kind)
    raise choice.refusal("type", "must be function, custom or allowed_tools")


def _tool(tool: Members, value: msgspec.Raw) -> Tool | HostedTool:
    kind = tool.text("type") or "function"
    made: Tool
    match kind:
        case "function":
            # Some clients write it flat, as the Responses API has it.
            function = tool if not tool.has("function") and tool.has("name") else tool.object("function")
            if function is None:
                raise tool.refusal("function", "is missing")
            made = _function(function)
        case "custom":
            custom = tool.object("custom")
            if custom is None:
                raise tool.refusal("custom", "is missing")
            form = custom.raw("format")
            made = Tool(
                name=custom.needed_text("name"),
                description=custom.text("description"),
                format=None if form is None else custom_format.read(form),
                custom=True,
            )
            custom.close()
        case _:
            return HostedTool(kind=_KINDS.get(kind, kind), dialect=vocabulary.DIALECT, value=value)
    cache = decode_parts.cache_of(tool)
    tool.close()
    return made if cache is None else msgspec.structs.replace(made, cache=cache)


def _function(function: Members) -> Tool:
    parameters = function.raw("parameters")
    if parameters is not None and kind_of(parameters) != "object":
        raise function.refusal("parameters", "must be an object")
    tool = Tool(
        name=function.needed_text("name"),
        description=function.text("description"),
        parameters=parameters,
        strict=function.boolean("strict"),
        cache=decode_parts.cache_of(function),
    )
    function.close()
    return tool


def _search(options: Members, value: msgspec.Raw) -> HostedTool:
    location = None
    given = options.object("user_location")
    if given is not None:
        approximate = given.object("approximate")
        if approximate is not None:
            flat = {"type": "approximate"}
            for name in ("city", "region", "country", "timezone"):
                said = approximate.text(name)
                if said is not None:
                    flat[name] = said
            location = msgspec.Raw(_encoder.encode(flat))
    return HostedTool(kind="web_search", dialect=vocabulary.DIALECT, value=value, location=location)


def _named(choice: Members, kind: str) -> ToolChoice:
    holder = choice.object(kind) or choice
    made = ToolChoice(mode="named", names=(holder.needed_text("name"),))
    choice.close()
    return made


def _allowed(choice: Members) -> ToolChoice:
    allowed = choice.object("allowed_tools") or choice
    mode = allowed.text("mode") or "auto"
    names: list[str] = []
    for tool in allowed.objects("tools") or ():
        kind = tool.text("type") or "function"
        holder = tool.object(kind) if kind in ("function", "custom") else None
        names.append((holder or tool).needed_text("name"))
    if not names:
        raise allowed.refusal("tools", "is empty")
    choice.close()
    match mode:
        case "auto" | "required":
            return ToolChoice(mode=mode, names=tuple(names))
    raise allowed.refusal("mode", "must be auto or required")


def _older_choice(request: Members) -> ToolChoice | None:
    raw = request.raw("function_call")
    if raw is None:
        return None
    if kind_of(raw) == "text":
        match text_of(raw, "function_call"):
            case "auto" | "none" as word:
                return ToolChoice(mode=word)
        raise request.refusal("function_call", "must be none, auto or an object")
    return ToolChoice(mode="named", names=(request.object_of(raw, "function_call").needed_text("name"),))
