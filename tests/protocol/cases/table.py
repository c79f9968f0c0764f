"""The table of cases: for each rule and bound of the resources, objects that are accepted and refused.

Whatever judges resources is tried with it: the models themselves, the API server with the CRDs, `trunkline validate`.
"""

from collections.abc import Iterator
from typing import Any

from protocol.cases import model_group, provider_credential, route_policy, virtual_key
from protocol.cases.case import Case
from trunkline_protocol.resources import schema

CASES: list[Case] = [
    *provider_credential.cases(),
    *model_group.cases(),
    *route_policy.cases(),
    *virtual_key.cases(),
]

_BOUNDS = (
    "enum",
    "format",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "pattern",
)


def points(kind: str) -> Iterator[tuple[str, str, str]]:
    """Each rule and bound in the schema of ``kind`` as path, keyword and (of a rule) message."""
    yield "spec", "required", ""
    yield from _points(schema.structural_schema(kind)["properties"]["spec"], "spec")


def _points(node: dict[str, Any], path: str) -> Iterator[tuple[str, str, str]]:
    for keyword in _BOUNDS:
        if keyword in node:
            yield path, keyword, ""
    for name in node.get("required", ()):
        yield f"{path}.{name}", "required", ""
    if "x-kubernetes-list-map-keys" in node:
        yield path, "unique", ""
    for validation in node.get("x-kubernetes-validations", ()):
        yield path, "rule", validation["message"]
    for name, child in node.get("properties", {}).items():
        yield from _points(child, f"{path}.{name}")
    if "items" in node:
        yield from _points(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from _points(node["additionalProperties"], f"{path}{{app}}")
