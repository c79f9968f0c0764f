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
TUNED = edited(
    GROUP,
    "spec.targets[].parameters",
    {"drop": ["stop"], "rename": [{"from": "/a", "to": "/b"}], "clamp": [{"name": "top_p", "max": "1.0"}]},
)
TUNED["spec"]["targets"] = [{**target("main"), "parameters": TUNED["spec"]["targets"][0]["parameters"]}]
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


def parameters() -> list[Case]:
    path = "spec.targets[].parameters"
    name, pointer, reserved = "must be a parameter of OpenAI's", "must be a JSON Pointer", "must not point at model"
    number, decimal = "must be a parameter that is a number", "must be a number in quotes"

    def names(at: str) -> list[Case]:
        return [
            case(TUNED, at, "maxLength", "/" + "a" * 255, "/" + "a" * 256, "256"),
            case(TUNED, at, "rule", "logit_bias", "logit_bais", name),
            case(TUNED, at, "rule", "/top", "model", name),
            case(TUNED, at, "rule", "/a~0b/c~1d", "/a~2b", pointer),
            case(TUNED, at, "rule", "/", "/~", pointer),
            case(TUNED, at, "rule", "/models", "/model", reserved),
            case(TUNED, at, "rule", "/a/stream", "/stream/a", reserved),
        ]

    def renames(count: int) -> list[dict[str, str]]:
        return [{"from": f"/a{i}", "to": f"/b{i}"} for i in range(count)]

    def clamps(count: int) -> list[dict[str, str]]:
        return [{"name": f"/a{i}", "min": "0"} for i in range(count)]

    clamp = f"{path}.clamp[]"
    return [
        case(TUNED, f"{path}.defaults", "maxProperties", common.numbered(64), common.numbered(65), "64"),
        case(TUNED, f"{path}.overrides", "maxProperties", common.numbered(64), common.numbered(65), "64"),
        case(TUNED, f"{path}.drop", "maxItems", ["stop"] * 32, ["stop"] * 33, "32"),
        *names(f"{path}.drop[]"),
        case(TUNED, f"{path}.rename", "maxItems", renames(32), renames(33), "32"),
        required(TUNED, f"{path}.rename[].from"),
        required(TUNED, f"{path}.rename[].to"),
        *names(f"{path}.rename[].from"),
        *names(f"{path}.rename[].to"),
        case(TUNED, f"{path}.clamp", "maxItems", clamps(32), clamps(33), "32"),
        case(TUNED, f"{path}.clamp", "unique", clamps(2), [clamps(1)[0]] * 2, "Duplicate value", at="[1]"),
        required(TUNED, f"{clamp}.name"),
        case(TUNED, f"{clamp}.name", "maxLength", "/" + "a" * 255, "/" + "a" * 256, "256"),
        case(TUNED, f"{clamp}.name", "rule", "max_tokens", "stop", number),
        case(TUNED, f"{clamp}.name", "rule", "/a~1b", "/a~", pointer),
        case(TUNED, f"{clamp}.name", "rule", "/options/num_ctx", "/stream", reserved),
        case(TUNED, f"{clamp}.min", "maxLength", "-123456789012.123456789", "-" + "0" * 24, "24"),
        case(TUNED, f"{clamp}.min", "rule", "-0.5", ".5", decimal),
        case(TUNED, f"{clamp}.max", "maxLength", "123456789012.123456789", "0" * 25, "24"),
        case(TUNED, f"{clamp}.max", "rule", "4096", "4e3", decimal),
        case(TUNED, clamp, "rule", {"name": "top_p", "max": "1"}, {"name": "top_p"}, "give min, max or both"),
        case(
            TUNED,
            clamp,
            "rule",
            {"name": "top_p", "min": "0.50", "max": "0.5"},
            {"name": "top_p", "min": "10", "max": "9"},
            "min must not be greater",
            at=".min",
        ),
    ]


def capabilities() -> list[Case]:
    path = "spec.targets[].capabilities"
    return [
        case(GROUP, f"{path}.{name}", keyword, accepted, refused, str(accepted))
        for name in ("contextWindow", "maxOutputTokens")
        for keyword, accepted, refused in (("minimum", 1, 0), ("maximum", 1_000_000_000, 1_000_000_001))
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
        case(GROUP, "spec.targets[].dialect", "enum", "AnthropicMessages", "anthropic_messages", "supported values"),
        *parameters(),
        *capabilities(),
    ]
