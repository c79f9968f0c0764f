"""Cases of ModelGroup."""

from typing import Any

from protocol.cases import common
from protocol.cases.case import Case, case, edited, required


def target(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "credentialRef": {"name": "main"}, "model": "gpt-4o", **fields}


GROUP: dict[str, Any] = {
    "apiVersion": "trunkline.dev/v1alpha1",
    "kind": "ModelGroup",
    "metadata": {"name": "gpt-4o"},
    "spec": {"targets": [target("main")]},
}
GLOB = edited(GROUP, "spec.models", ["gpt-*"])
OPEN = edited(GROUP, "spec.access", [{"groups": ["vip"]}])


def targets() -> list[Case]:
    def some(count: int) -> list[dict[str, Any]]:
        return [target(f"t{i}") for i in range(count)]

    path, two = "spec.targets", some(2)
    star = "may hold '*' only where"
    return [
        required(GROUP, path),
        case(GROUP, path, "minItems", some(1), [], "1"),
        case(GROUP, path, "maxItems", some(64), some(65), "64"),
        case(GROUP, path, "unique", two, [two[0], two[0]], "Duplicate value", at="[1]"),
        required(GROUP, f"{path}[].name"),
        *common.dns_label(GROUP, f"{path}[].name"),
        required(GROUP, f"{path}[].credentialRef"),
        required(GROUP, f"{path}[].credentialRef.name"),
        case(GROUP, f"{path}[].credentialRef.name", "maxLength", "a" * 253, "a" * 254, "253"),
        case(GROUP, f"{path}[].credentialRef.name", "rule", "a.b", "a_b", "must be the name of an object"),
        *common.dns_label(GROUP, f"{path}[].credentialRef.namespace"),
        required(GROUP, f"{path}[].model"),
        *common.model_glob(GLOB, f"{path}[].model"),
        case(GROUP, f"{path}[].weight", "minimum", 0, -1, "0"),
        case(GROUP, f"{path}[].weight", "maximum", 1_000_000, 1_000_001, "1000000"),
        case(GROUP, f"{path}[].priority", "minimum", 0, -1, "0"),
        case(GROUP, f"{path}[].priority", "maximum", 100, 101, "100"),
        case(
            GROUP,
            "spec",
            "rule",
            {"models": ["gpt-*", "o1-*"], "targets": [target("a", model="*"), target("b")]},
            {"targets": [target("a", model="*")]},
            star,
            at=".targets",
        ),
        case(
            GROUP,
            "spec",
            "rule",
            {"models": ["gpt-4o", "gpt-*"], "targets": [target("a")]},
            {"models": ["gpt-4o", "gpt-*"], "targets": [target("a"), target("b", model="gpt-*")]},
            star,
            at=".targets",
        ),
    ]


def cases() -> list[Case]:
    """All of them."""
    entry = {"groups": ["vip"]}
    return [
        required(GROUP, "spec"),
        case(GROUP, "spec.models", "minItems", ["a"], [], "1"),
        case(GROUP, "spec.models", "maxItems", ["a"] * 64, ["a"] * 65, "64"),
        *common.model_glob(GROUP, "spec.models[]"),
        case(GROUP, "spec.displayName", "maxLength", "ä" * 253, "ä" * 254, "253"),
        case(GROUP, "spec.description", "maxLength", "ä" * 1024, "ä" * 1025, "1024"),
        case(GROUP, "spec.visibility", "enum", "Internal", "Private", "supported values"),
        case(GROUP, "spec.access", "minItems", [entry], [], "1"),
        case(GROUP, "spec.access", "maxItems", [entry] * 32, [entry] * 33, "32"),
        case(OPEN, "spec.access[].groups", "minItems", ["a"], [], "1"),
        case(OPEN, "spec.access[].groups", "maxItems", ["a"] * 32, ["a"] * 33, "32"),
        *common.word(OPEN, "spec.access[].groups[]"),
        *common.namespaces(OPEN, "spec.access[].namespaces"),
        *targets(),
    ]
