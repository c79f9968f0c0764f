"""A content block of an answer to a part; the same for whole and streamed answers.

https://docs.anthropic.com/en/api/messages#response-content
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialect import Asked
from trunkline_gateway.dialects.anthropic_messages import citations, names, upstream_json
from trunkline_gateway.dialects.anthropic_messages.decode_content import hosted_step
from trunkline_gateway.dialects.anthropic_messages.vocabulary import DIALECT
from trunkline_gateway.exchange import Foreign, Part, Reasoning, Seal, Text, ToolCall

NO_ARGUMENTS: Final = "{}"


class Blocks:
    """Reads the blocks of one answer."""

    __slots__ = ("_asked", "_calls", "_names")

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._names = names.ToolNames(asked.request)
        self._calls = 0

    def part(self, raw: msgspec.Raw) -> Part | None:
        """A whole block; None where it is none."""
        block = upstream_json.members(raw)
        kind = upstream_json.text(block.get("type"))
        match kind:
            case None | "":
                return None
            case "text":
                text = upstream_json.text(block.get("text")) or ""
                return Text(text=text, citations=citations.read_all(block.get("citations")))
            case "thinking":
                text = upstream_json.text(block.get("thinking")) or ""
                return Reasoning(text=text, signature=self.seal(upstream_json.text(block.get("signature"))))
            case "redacted_thinking":
                return Reasoning(encrypted=self.seal(upstream_json.text(block.get("data"))))
            case "tool_use":
                call = self.call(block)
                return msgspec.structs.replace(call, arguments=self.arguments(call, arguments_of(block) or ""))
            case _:
                value = upstream_json.clean(raw)
                return hosted_step(kind, value) or Foreign(dialect=DIALECT, kind=kind, value=value)

    def seal(self, value: str | None) -> Seal | None:
        """What only Anthropic's models can read."""
        return Seal(maker="anthropic", account=self._asked.target.account, value=value) if value else None

    def call(self, block: Mapping[str, msgspec.Raw]) -> ToolCall:
        """A call, as the client knows the tool, without its arguments."""
        id = upstream_json.text(block.get("id")) or self._asked.new_id(self._calls)
        self._calls += 1
        tool = self._names.known(upstream_json.text(block.get("name")) or "")
        return ToolCall(id=id, name=tool.name, namespace=tool.namespace, custom=tool.custom)

    def arguments(self, call: ToolCall, text: str) -> str:
        """A call's arguments from what the model wrote; of a tool for free text just that."""
        if not call.custom:
            return text or NO_ARGUMENTS
        said = upstream_json.text(upstream_json.members(text.encode("utf-8", "replace")).get("input"))
        return text if said is None else said


def arguments_of(block: Mapping[str, msgspec.Raw]) -> str | None:
    """The ``input`` of a call as text; None: it is none."""
    input = block.get("input")
    if input is None or not upstream_json.is_object(bytes(input)):
        return None
    return bytes(upstream_json.clean(input)).decode()
