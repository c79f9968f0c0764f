"""Cases of RoutePolicy."""

from typing import Any

from protocol.cases import common
from protocol.cases.case import Case, case, edited, required

REF: dict[str, Any] = {"group": "trunkline.dev", "kind": "ModelGroup", "name": "gpt-4o"}
NAMED: dict[str, Any] = {
    "apiVersion": "trunkline.dev/v1alpha1",
    "kind": "RoutePolicy",
    "metadata": {"name": "strict"},
    "spec": {"targetRefs": [REF], "lossy": "Reject"},
}
SELECTING = edited(NAMED, "spec", {"targetSelector": {"matchLabels": {"team": "search"}}})
DEFAULT = edited(NAMED, "spec", {"default": True})


def attachment() -> list[Case]:
    refs, labels = "spec.targetRefs", "spec.targetSelector.matchLabels"
    selects, which = {"matchLabels": {"a": "b"}}, "say which ModelGroups it is for"
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"default": True}, {}),
        ({"targetRefs": [REF]}, {"targetRefs": []}),
        ({"targetRefs": [REF], "default": False}, {"targetRefs": [REF], "default": True}),
        ({"targetSelector": selects}, {"targetSelector": selects, "default": True}),
        ({"targetSelector": selects, "targetRefs": []}, {"targetSelector": selects, "targetRefs": [REF]}),
        ({"default": True, "lossy": "Warn"}, {"default": False, "lossy": "Warn"}),
    ]
    return [
        *(case(NAMED, "spec", "rule", good, bad, which) for good, bad in pairs),
        case(NAMED, refs, "maxItems", [REF] * 64, [REF] * 65, "64"),
        *(required(NAMED, f"{refs}[].{name}") for name in ("group", "kind", "name")),
        case(NAMED, f"{refs}[].group", "enum", "trunkline.dev", "", "upported value"),
        case(NAMED, f"{refs}[].kind", "enum", "ModelGroup", "ProviderCredential", "upported value"),
        case(NAMED, f"{refs}[].name", "maxLength", "a" * 253, "a" * 254, "253"),
        case(NAMED, f"{refs}[].name", "rule", "a.b", "a_b", "must be the name of an object"),
        *common.dns_label(NAMED, f"{refs}[].sectionName"),
        required(SELECTING, labels),
        case(SELECTING, labels, "maxProperties", common.numbered(16), common.numbered(17), "16"),
        case(SELECTING, f"{labels}{{app}}", "maxLength", "a" * 63, "a" * 64, "63"),
        case(SELECTING, f"{labels}{{app}}", "rule", "A.b-c_d", "a b", "must be the value of a label"),
        case(
            SELECTING,
            "spec.targetSelector",
            "rule",
            selects,
            {"matchLabels": {}},
            "an empty selector would mean",
            at=".matchLabels",
        ),
    ]


def cases() -> list[Case]:
    """All of them."""
    return [
        required(NAMED, "spec"),
        *attachment(),
        case(DEFAULT, "spec.lossy", "enum", "Allow", "allow", "supported values"),
        case(DEFAULT, "spec.unsupportedParameters", "enum", "Drop", "Warn", "supported values"),
    ]
