"""Gemini's own schema language and JSON Schema.

https://ai.google.dev/api/caching#Schema: a subset of OpenAPI 3.0 with types in capitals, numbers as strings and
``nullable``. Models of today take JSON Schema as well (``parametersJsonSchema``); what has the quirk ``old_schema``
takes only this.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from trunkline_gateway.dialects.gemini_generate import wire

_TYPES: Final = ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_WORDS: Final[Mapping[str, str]] = {name: name.lower() for name in _TYPES[1:]}
_COUNTS: Final = ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties")
_SPELLINGS: Final[Mapping[str, str]] = {
    "any_of": "anyOf",
    "min_items": "minItems",
    "max_items": "maxItems",
    "min_length": "minLength",
    "max_length": "maxLength",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
    "prefix_items": "prefixItems",
}
_MAX_DEPTH: Final = 64
_MAX_SCHEMAS: Final = 4096
"""Of one schema with its references written out: they could double at each level."""

_FORMATS: Final[Mapping[str, frozenset[str]]] = {
    "STRING": frozenset({"enum", "date-time"}),
    "NUMBER": frozenset({"float", "double"}),
    "INTEGER": frozenset({"int32", "int64"}),
}
_KEPT: Final = ("title", "description", "pattern", "minimum", "maximum", "default", "required", *_COUNTS)


def to_json_schema(raw: msgspec.Raw) -> msgspec.Raw:
    """Gemini's ``parameters`` or ``responseSchema`` as JSON Schema; what is one already stays as it is."""
    value = wire.value_of(raw)
    made = wire.raw_of(_standard(value, 0))
    return made if bytes(made) else raw


def to_subset(raw: msgspec.Raw) -> msgspec.Raw | None:
    """JSON Schema in Gemini's subset, without the keywords that it refuses. None: nothing is left of it."""
    value = wire.value_of(raw)
    if not isinstance(value, Mapping):
        return None
    made = _Subset(value).of(value)
    if made.get("type") == "OBJECT" and not made.get("properties"):
        # "should be non-empty for OBJECT type": a function that takes nothing has no schema.
        return None
    text = wire.raw_of(made)
    return text if made and bytes(text) else None


def _standard(value: object, depth: int) -> object:
    if not isinstance(value, Mapping) or depth > _MAX_DEPTH:
        return value
    made: dict[str, object] = {}
    for name, member in value.items():
        key = _SPELLINGS.get(str(name), str(name))
        if member is None and key != "default":
            continue
        if key == "type":
            kind = _kind(member)
            if kind is not None:
                made["type"] = kind
        elif key == "example":
            made["examples"] = [member]
        elif key not in ("nullable", "propertyOrdering"):
            made[key] = _member(key, member, depth + 1)
    _order(made, value.get("propertyOrdering") or value.get("property_ordering"))
    if value.get("nullable") is True:
        _nullable(made)
    return made


def _member(key: str, member: object, depth: int) -> object:
    """A keyword's value; schemas in it are written likewise."""
    if key in ("properties", "$defs", "defs") and isinstance(member, Mapping):
        return {str(each): _standard(schema, depth) for each, schema in member.items()}
    if key in ("items", "additionalProperties"):
        return _standard(member, depth)
    if key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(member, list):
        return [_standard(each, depth) for each in member]
    if key in _COUNTS and isinstance(member, str) and member.isascii() and member.isdigit() and len(member) < 19:
        return int(member)
    return member


def _kind(member: object) -> object:
    """A type's word in JSON Schema; None: there is none."""
    if isinstance(member, bool):
        return None
    if isinstance(member, int):
        return _WORDS.get(_TYPES[member]) if 0 < member < len(_TYPES) else None
    if isinstance(member, str):
        return None if member == _TYPES[0] else _WORDS.get(member.upper(), member)
    if isinstance(member, list):
        return [_kind(each) if isinstance(each, str) else each for each in member]
    return member


def _order(made: dict[str, object], ordering: object) -> None:
    """Properties in the order that the model shall write them in, which elsewhere is that of the schema."""
    properties = made.get("properties")
    if isinstance(properties, dict) and isinstance(ordering, list):
        first = [name for name in ordering if isinstance(name, str) and name in properties]
        made["properties"] = {name: properties[name] for name in dict.fromkeys([*first, *properties])}


def _nullable(made: dict[str, object]) -> None:
    kind, options, enum = made.get("type"), made.get("anyOf"), made.get("enum")
    if isinstance(kind, str) and kind != "null":
        made["type"] = [kind, "null"]
        if isinstance(enum, list) and None not in enum:
            made["enum"] = [*enum, None]
    elif isinstance(options, list) and {"type": "null"} not in options:
        made["anyOf"] = [*options, {"type": "null"}]


class _Subset:
    """Writes one schema; its references are those of its root."""

    def __init__(self, root: Mapping[object, object]) -> None:
        self._root = root
        self._left = _MAX_SCHEMAS

    def of(self, schema: object, depth: int = 0, seen: frozenset[str] = frozenset()) -> dict[str, object]:
        """One schema; ``seen``: the references that led to it, so that none goes in a circle."""
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or self._left < 0:
            return {}
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in seen:
                return {"type": "OBJECT"}
            return self.of(self._target(reference), depth + 1, seen | {reference})
        members: dict[str, object] = {str(name): member for name, member in schema.items()}
        for each in _list(members.get("allOf")):
            if isinstance(each, Mapping):
                members = {**{str(name): member for name, member in each.items()}, **members}
        made: dict[str, object] = {}
        self._type(made, members)
        for name in _KEPT:
            if members.get(name) is not None:
                made[name] = members[name]
        self._values(made, members)
        self._below(made, members, depth, seen)
        return made

    def _target(self, reference: str) -> object:
        at: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if step:
                name = step.replace("~1", "/").replace("~0", "~")
                at = at.get(name) if isinstance(at, Mapping) else None
        return at

    def _type(self, made: dict[str, object], members: Mapping[str, object]) -> None:
        given = members.get("type")
        kinds = [each.upper() for each in _list(given) if isinstance(each, str)]
        if isinstance(given, str):
            kinds = [given.upper()]
        known = [each for each in kinds if each in _WORDS and each != "NULL"]
        if ("NULL" in kinds and known) or members.get("nullable") is True:
            made["nullable"] = True
        if len(known) == 1:
            made["type"] = known[0]
        elif len(known) > 1:
            made["anyOf"] = [{"type": each} for each in known]
        elif "properties" in members:
            made["type"] = "OBJECT"
        elif "items" in members:
            made["type"] = "ARRAY"
        kind, form = made.get("type"), members.get("format")
        if isinstance(kind, str) and isinstance(form, str) and form in _FORMATS.get(kind, frozenset()):
            made["format"] = form

    def _values(self, made: dict[str, object], members: Mapping[str, object]) -> None:
        values = _list(members.get("enum")) or ([members["const"]] if "const" in members else [])
        texts = [each for each in values if isinstance(each, str)]
        if texts:
            made["enum"] = texts
            made.setdefault("type", "STRING")
            if made["type"] != "STRING":
                del made["enum"]
        if None in values and "type" in made:
            made["nullable"] = True

    def _below(self, made: dict[str, object], members: Mapping[str, object], depth: int, seen: frozenset[str]) -> None:
        options = _list(members.get("anyOf")) or _list(members.get("oneOf"))
        if options:
            several = [each for each in options if not (isinstance(each, Mapping) and each.get("type") == "null")]
            written = [self.of(each, depth + 1, seen) for each in several]
            if len(several) < len(options):
                made["nullable"] = True
            if len(written) == 1:
                for name, member in written[0].items():
                    made.setdefault(name, member)
            else:
                made["anyOf"] = [each for each in written if each]
        properties = members.get("properties")
        if isinstance(properties, Mapping) and properties:
            made["properties"] = {
                str(name): self.of(each, depth + 1, seen) or {"type": "STRING"} for name, each in properties.items()
            }
            required = made.get("required")
            if isinstance(required, list):
                made["required"] = [each for each in required if isinstance(each, str) and each in properties]
        if made.get("type") == "ARRAY":
            made["items"] = self.of(members.get("items"), depth + 1, seen) or {"type": "STRING"}
        if not made.get("required"):
            made.pop("required", None)


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else ()
