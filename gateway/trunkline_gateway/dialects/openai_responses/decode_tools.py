"""A client's tools and its choice among them.

https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import hosted, reading, strict
from trunkline_gateway.exchange import HostedTool, Tool, ToolChoice

_KNOWN: Final = frozenset({"type", "name", "description", "parameters", "strict", "format"})
_MODES: Final = ("auto", "none", "required")


def decode(raw: msgspec.Raw | None) -> tuple[tuple[Tool | HostedTool, ...], tuple[str, ...]]:
    """The tools, and the names of what could not be kept.

    Raises:
        InvalidRequestError: Naming the field.
    """
    if raw is None or bytes(raw).strip() == b"null":
        return (), ()
    unsaid: dict[str, None] = {}
    tools: list[Tool | HostedTool] = []
    for number, each in enumerate(strict.raw_list(raw, "tools")):
        path = f"tools[{number}]"
        members = strict.raw_object(each, path)
        kind = strict.needed_text(strict.value(members.get("type"), f"{path}.type"), f"{path}.type")
        if kind in ("function", "custom"):
            tools.append(_tool(members, kind == "custom", path, unsaid))
        elif kind == "namespace":
            tools.extend(_namespace(members, path, unsaid))
        else:
            tools.append(_hosted(kind, each, path))
    return tuple(tools), tuple(unsaid)


def decode_choice(raw: msgspec.Raw | None) -> ToolChoice | None:
    """The choice.

    Raises:
        InvalidRequestError: Naming the field.
    """
    choice = strict.value(raw, "tool_choice")
    if choice is None:
        return None
    if isinstance(choice, str):
        for mode in _MODES:
            if choice == mode:
                return ToolChoice(mode=mode)
        raise strict.wrong("tool_choice", "'none', 'auto', 'required' or an object")
    if not isinstance(choice, dict):
        raise strict.wrong("tool_choice", "a string or an object")
    if choice.get("type") == "allowed_tools":
        allowed = strict.items(choice.get("tools"), "tool_choice.tools")
        names = tuple(_named(each, f"tool_choice.tools[{number}]") for number, each in enumerate(allowed))
        return ToolChoice(mode="required" if choice.get("mode") == "required" else "auto", names=names)
    return ToolChoice(mode="named", names=(_named(choice, "tool_choice"),))


def _named(value: object, path: str) -> str:
    """A function by its name, a hosted tool by its neutral one."""
    tool = strict.mapping(value, path)
    kind = strict.needed_text(tool.get("type"), f"{path}.type")
    if kind in ("function", "custom"):
        return strict.needed_text(tool.get("name"), f"{path}.name")
    return hosted.KIND_OF_TOOL.get(kind, kind)


def _tool(members: Mapping[str, msgspec.Raw], custom: bool, path: str, unsaid: dict[str, None]) -> Tool:
    for name in members:
        if name not in _KNOWN:
            unsaid[f"tools.{name}"] = None
    values = {name: strict.value(members.get(name), f"{path}.{name}") for name in ("name", "description", "strict")}
    parameters = members.get("parameters")
    if parameters is not None and not isinstance(strict.value(parameters, f"{path}.parameters"), dict):
        raise strict.wrong(f"{path}.parameters", "an object")
    form = members.get("format") if custom else None
    if form is not None and not isinstance(strict.value(form, f"{path}.format"), dict):
        raise strict.wrong(f"{path}.format", "an object")
    return Tool(
        name=strict.needed_text(values["name"], f"{path}.name"),
        description=strict.text(values["description"], f"{path}.description"),
        parameters=None if custom else parameters,
        strict=None if custom else strict.boolean(values["strict"], f"{path}.strict"),
        custom=custom,
        format=form,
    )


def _namespace(members: Mapping[str, msgspec.Raw], path: str, unsaid: dict[str, None]) -> list[Tool]:
    name = strict.needed_text(strict.value(members.get("name"), f"{path}.name"), f"{path}.name")
    described = strict.text(strict.value(members.get("description"), f"{path}.description"), f"{path}.description")
    tools: list[Tool] = []
    for number, each in enumerate(strict.raw_list(members.get("tools", msgspec.Raw(b"[]")), f"{path}.tools")):
        inner = f"{path}.tools[{number}]"
        found = strict.raw_object(each, inner)
        kind = strict.value(found.get("type"), f"{inner}.type")
        if kind not in ("function", "custom"):
            raise strict.wrong(f"{inner}.type", "'function' or 'custom'")
        tool = _tool(found, kind == "custom", inner, unsaid)
        tools.append(msgspec.structs.replace(tool, namespace=name, namespace_description=described))
    return tools


def _hosted(kind: str, raw: msgspec.Raw, path: str) -> HostedTool:
    value = strict.mapping(strict.value(raw, path), path)
    neutral = hosted.KIND_OF_TOOL.get(kind, kind)
    if neutral != "web_search":
        return HostedTool(kind=neutral, dialect=hosted.DIALECT, value=raw)
    filters = strict.mapping(value.get("filters"), f"{path}.filters")
    location = strict.mapping(value.get("user_location"), f"{path}.user_location")
    return HostedTool(
        kind=neutral,
        dialect=hosted.DIALECT,
        value=raw,
        allowed_domains=_domains(filters.get("allowed_domains"), f"{path}.filters.allowed_domains"),
        blocked_domains=_domains(filters.get("blocked_domains"), f"{path}.filters.blocked_domains"),
        location=reading.raw({name: each for name, each in location.items() if each is not None}) if location else None,
    )


def _domains(value: object, path: str) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(strict.needed_text(each, path) for each in strict.items(value, path))
