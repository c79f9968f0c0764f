"""JSON Schemas as the API takes them: of a tool's input, and of an answer.

https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from trunkline_gateway.dialects.anthropic_messages import upstream_json

NO_INPUT: Final = msgspec.Raw(b'{"type":"object","properties":{}}')

FREE_TEXT: Final = msgspec.Raw(
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input of the tool, as free '
    b'text."}},"required":["input"],"additionalProperties":false}'
)
"""For a tool that takes free text: all of it is one argument."""

_decoder: Final = msgspec.json.Decoder()
_encoder: Final = msgspec.json.Encoder()

# What the API refuses with a 400. The official SDK writes it into the description, for the model to read.
_NOT_TAKEN: Final = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "contains",
        "minContains",
        "maxContains",
    }
)
_IN_LIST: Final = ("anyOf", "oneOf", "allOf")
_IN_OBJECT: Final = ("properties", "$defs", "definitions")
_MAX_DEPTH: Final = 128


def of_input(parameters: msgspec.Raw | None) -> msgspec.Raw:
    """The schema of a tool's input: an object's, whatever was said."""
    said = upstream_json.members(parameters)
    if parameters is None or not said:
        return NO_INPUT
    if bytes(said.get("type", b"")) == b'"object"':
        return parameters
    return msgspec.Raw(_encoder.encode({**said, "type": "object"}))


def of_answer(schema: msgspec.Raw) -> tuple[msgspec.Raw, bool] | None:
    """The schema of an answer, closed as the API wants it, and whether something of it was given up; None: it is none.

    A schema that is taken as it is comes back byte for byte.
    """
    try:
        said = _decoder.decode(schema)
        if not isinstance(said, dict):
            return None
        walk = _Walk()
        made = walk.schema(said, 0)
        return (msgspec.Raw(_encoder.encode(made)) if walk.changed else schema), walk.lost
    except (*upstream_json.UNREADABLE, ValueError):
        return None


class _Walk:
    def __init__(self) -> None:
        self.changed = False
        self.lost = False

    def schema(self, said: Mapping[str, object], depth: int) -> dict[str, object]:
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deep")
        made: dict[str, object] = {}
        notes: list[str] = []
        for name, value in said.items():
            if name in _NOT_TAKEN or (name == "minItems" and value not in (0, 1)):
                notes.append(f"{name}: {_encoder.encode(value).decode()}")
            else:
                made[name] = self._member(name, value, depth)
        if notes:
            self.changed = self.lost = True
            before = made.get("description")
            note = "{" + ", ".join(notes) + "}"
            made["description"] = f"{before}\n\n{note}" if isinstance(before, str) and before else note
        if (made.get("type") == "object" or "properties" in made) and made.get("additionalProperties") is not False:
            self.lost = self.lost or "additionalProperties" in made
            self.changed = True
            made["additionalProperties"] = False
        return made

    def _member(self, name: str, value: object, depth: int) -> object:
        if name in _IN_OBJECT and isinstance(value, dict):
            return {key: self._below(each, depth) for key, each in value.items()}
        if name in _IN_LIST and isinstance(value, list):
            return [self._below(each, depth) for each in value]
        if name == "items":
            return self._below(value, depth)
        return value

    def _below(self, value: object, depth: int) -> object:
        return self.schema(value, depth + 1) if isinstance(value, dict) else value
