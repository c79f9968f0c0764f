"""Objects in which every field stands, and values that are likely to be read in two ways."""

from collections.abc import Iterator
from typing import Any

from protocol.cases import provider_credential, route_policy, virtual_key
from protocol.cases.case import edited
from trunkline_protocol.resources import schema

_NAMESPACES = {
    "from": "Selector",
    "selector": {
        "matchLabels": {"app": "a"},
        "matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}],
    },
}

CREDENTIAL: dict[str, Any] = edited(
    provider_credential.OPENAI,
    "spec",
    {
        "provider": "openai-compatible",
        "endpoint": {
            "baseURL": "https://llm.example.com/v1",
            "proxyURL": "http://proxy.example.com:3128",
            "caSecretRef": {"name": "ca", "key": "ca.crt"},
            "headers": [{"name": "x-tenant", "value": "a"}],
        },
        "auth": {"type": "APIKey"},
        "keys": [
            {
                "name": "primary",
                "secretRef": {"name": "upstream", "key": "primary"},
                "weight": 2,
                "expirationTime": "2027-06-30T00:00:00Z",
                "state": "Disabled",
            }
        ],
        "directModels": ["gpt-*"],
        "allowedNamespaces": _NAMESPACES,
    },
)

GROUP: dict[str, Any] = {
    "apiVersion": "trunkline.dev/v1alpha1",
    "kind": "ModelGroup",
    "metadata": {"name": "whole"},
    "spec": {
        "models": ["gpt-*"],
        "displayName": "GPT",
        "description": "Writes.",
        "visibility": "Internal",
        "access": [{"groups": ["vip"], "namespaces": _NAMESPACES}],
        "targets": [
            {
                "name": "main",
                "credentialRef": {"name": "main", "namespace": "platform"},
                "model": "gpt-*",
                "weight": 3,
                "priority": 1,
                "dialect": "OpenAIResponses",
                "parameters": {
                    "defaults": {"max_tokens": 4096, "/a/b": {"c": [None, 1.5, "d"]}},
                    "overrides": {"temperature": 0.5},
                    "drop": ["logit_bias", "/metadata/internal"],
                    "rename": [{"from": "/a", "to": "/b"}],
                    "clamp": [{"name": "temperature", "min": "0", "max": "1.0"}],
                },
                "capabilities": {
                    "contextWindow": 200000,
                    "maxOutputTokens": 64000,
                    "vision": True,
                    "audio": False,
                    "tools": True,
                    "jsonSchema": True,
                    "reasoning": True,
                    "embeddings": False,
                },
            }
        ],
    },
}

KEY_BY_SECRET: dict[str, Any] = edited(
    virtual_key.BY_SECRET,
    "spec",
    {
        "secretRef": {"name": "alice", "key": "key"},
        "owner": {"team": "a", "user": "alice"},
        "groups": ["default", "vip"],
        "models": ["gpt-*", "main:*"],
        "expirationTime": "2027-06-30T00:00:00Z",
        "state": "Disabled",
        "allowedCIDRs": ["10.0.0.0/8"],
    },
)

AZURE: dict[str, Any] = edited(provider_credential.AZURE, "metadata.name", "azure")
SELECTING: dict[str, Any] = edited(route_policy.SELECTING, "metadata.name", "selecting")

POLICY: dict[str, Any] = edited(
    route_policy.NAMED,
    "spec",
    {
        "targetRefs": [{**route_policy.REF, "sectionName": "main"}],
        "default": False,
        "lossy": "Allow",
        "unsupportedParameters": "Reject",
    },
)

WHOLE = [CREDENTIAL, GROUP, POLICY, KEY_BY_SECRET, AZURE, SELECTING, virtual_key.BY_HASH]

AWKWARD: list[Any] = [
    None,
    True,
    0,
    1,
    1.0,
    1.5,
    -1,
    10**30,
    "",
    " a",
    "a\n",
    "1",
    "null",
    "\u00a0",
    "é\u0301",
    "😀",
    "*",
    "**",
    [],
    [None],
    ["a"],
    [[]],
    ["a", "a"],
    {},
    {"a": None},
    {"name": "a"},
]


def awkward(base: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """``base`` with each awkward value at each path of its schema, and an unknown field in each object."""
    spec = schema.structural_schema(base["kind"])["properties"]["spec"]
    for path, unknown in _paths(spec, "spec"):
        for value in ["a", None] if unknown else AWKWARD:
            yield f"{path} = {value!r}", edited(base, path, value)


def _paths(node: dict[str, Any], path: str) -> Iterator[tuple[str, bool]]:
    yield path, False
    if "properties" in node:
        yield f"{path}.unknown", True
    for name, child in node.get("properties", {}).items():
        yield from _paths(child, f"{path}.{name}")
    if "items" in node:
        yield from _paths(node["items"], f"{path}[]")
    if "additionalProperties" in node:
        yield from _paths(node["additionalProperties"], f"{path}{{app}}")
