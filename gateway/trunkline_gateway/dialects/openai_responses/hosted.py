"""Tools that the provider runs itself: their calls and results as items, and the tools in a request.

https://platform.openai.com/docs/guides/tools
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialects.openai_responses import reading
from trunkline_gateway.exchange import Foreign, HostedStep

DIALECT: Final = "openai_responses"

TOOL_OF_ITEM: Final[Mapping[str, str]] = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_execution",
    "image_generation_call": "image_generation",
    "computer_call": "computer",
    "computer_call_output": "computer",
    "mcp_list_tools": "mcp",
    "mcp_call": "mcp",
    "mcp_approval_request": "mcp",
    "mcp_approval_response": "mcp",
    "local_shell_call": "bash",
    "local_shell_call_output": "bash",
    "shell_call": "bash",
    "shell_call_output": "bash",
    "apply_patch_call": "text_editor",
    "apply_patch_call_output": "text_editor",
    "tool_search_call": "tool_search",
    "tool_search_output": "tool_search",
}
"""Items by type; the tool in neutral words where there are some."""

CLIENTS: Final = frozenset(
    {
        "computer_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "apply_patch_call_output",
        "mcp_approval_response",
    }
)
"""Of these, what a client adds: results of what it ran itself."""

_CONTENT: Final = frozenset({"computer_screenshot", "summary_text", "reasoning_text"})

KIND_OF_TOOL: Final[Mapping[str, str]] = {
    "web_search": "web_search",
    "web_search_2025_08_26": "web_search",
    "web_search_preview": "web_search",
    "web_search_preview_2025_03_11": "web_search",
    "file_search": "file_search",
    "code_interpreter": "code_execution",
    "image_generation": "image_generation",
    "computer": "computer",
    "computer_use_preview": "computer",
    "mcp": "mcp",
    "local_shell": "bash",
    "shell": "bash",
    "apply_patch": "text_editor",
}
"""Tools of a request by type; the rest keep their own word."""


def is_content(part: Foreign) -> bool:
    """Whether it stands within a message and is no item of its own."""
    return part.dialect == DIALECT and (part.kind.startswith(("input_", "output_")) or part.kind in _CONTENT)


def step(item: reading.Object, value: msgspec.Raw) -> HostedStep | Foreign:
    """An item that stays as it is: of a hosted tool, or of a kind that nobody knows yet."""
    kind = reading.text(item.get("type"))
    tool = TOOL_OF_ITEM.get(kind)
    if tool is None:
        return Foreign(dialect=DIALECT, kind=kind or "item", value=value)
    return HostedStep(
        tool=tool, dialect=DIALECT, value=value, id=reading.text(item.get("id")), query=_query(kind, item)
    )


def _query(kind: str, item: reading.Object) -> str:
    """What was searched for or run."""
    action = reading.mapping(item.get("action"))
    match kind:
        case "web_search_call":
            found = (
                reading.text(action.get("query")) or _lines(action.get("queries")) or reading.text(action.get("url"))
            )
            # xAI writes the arguments of its search as a function's.
            return found or reading.text(reading.mapping(reading.parse(_arguments(item))).get("query"))
        case "file_search_call":
            return _lines(item.get("queries"))
        case "code_interpreter_call":
            return reading.text(item.get("code"))
        case "image_generation_call":
            return reading.text(item.get("revised_prompt")) or reading.text(item.get("prompt"))
        case "local_shell_call" | "shell_call":
            command = action.get("command")
            return _lines(action.get("commands")) or (_lines(command, " ") if command is not None else "")
        case "apply_patch_call":
            return reading.text(reading.mapping(item.get("operation")).get("diff"))
        case "mcp_call":
            return reading.text(item.get("arguments"))
        case _:
            return ""


def _arguments(item: reading.Object) -> bytes:
    return reading.text(item.get("arguments")).encode("utf-8", "replace")


def _lines(value: object, between: str = "\n") -> str:
    return between.join(each for each in value if isinstance(each, str)) if isinstance(value, list) else ""
