"""The OpenAPI schema of a kind, as CustomResourceDefinitions take it ("structural"): without references and unions."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from trunkline_protocol.resources.kinds import KINDS, Kind

Schema: TypeAlias = dict[str, Any]
"""A node of JSON Schema: what stands under its keys depends on the key."""

_LEFT_OUT: Final = frozenset({"title", "$ref", "anyOf", "const", "default", "additionalProperties", "propertyNames"})


@cache
def structural_schema(kind: str) -> Schema:
    """The schema of a whole object of this kind. It is shared: do not change it."""
    row = KINDS[kind]
    spec = _model_schema(row)["properties"]["spec"]
    generated = row.status.model_json_schema()
    status = _inline(generated, generated.get("$defs", {}), defaults=False)
    return {
        "type": "object",
        "description": row.model.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Group and version of the kind, `trunkline.dev/v1alpha1`."},
            "kind": {"type": "string", "description": f"`{kind}`."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": {**status, "description": "What the operator has found; not for users to write."},
        },
    }


def field_names(kind: str, location: Sequence[int | str]) -> Sequence[str]:
    """The fields that the schema knows at ``location``; none where it is not in the schema."""
    node = structural_schema(kind)
    for step in location:
        node = node.get("items", {}) if isinstance(step, int) else node.get("properties", {}).get(step, {})
    return tuple(node.get("properties", ()))


def _model_schema(row: Kind) -> Schema:
    generated = row.model.model_json_schema()
    return _inline(generated, generated.get("$defs", {}), defaults=True)


def _inline(node: Schema, definitions: Mapping[str, Schema], *, defaults: bool) -> Schema:
    """Resolve references and "or null", and drop what Kubernetes does not take or need."""
    if "anyOf" in node:
        variants = [variant for variant in node["anyOf"] if variant.get("type") != "null"]
        if len(variants) != 1:
            raise ValueError(f"a union has no structural schema: {variants}")
        merged = {**variants[0], **{key: value for key, value in node.items() if key != "anyOf"}}
        return _inline(merged, definitions, defaults=defaults)
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        merged = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
        return _inline(merged, definitions, defaults=defaults)

    result = {key: value for key, value in node.items() if key not in _LEFT_OUT and key != "$defs"}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "properties" in node:
        result["properties"] = {
            name: _inline(field, definitions, defaults=defaults) for name, field in node["properties"].items()
        }
    if "items" in node:
        result["items"] = _inline(node["items"], definitions, defaults=defaults)
    if isinstance(node.get("additionalProperties"), dict):
        result["additionalProperties"] = _inline(node["additionalProperties"], definitions, defaults=defaults)
    # An absent list or object stays absent: a default would only be noise in what users read back.
    if defaults and node.get("default") not in (None, [], {}, ""):
        result["default"] = node["default"]
    return result
