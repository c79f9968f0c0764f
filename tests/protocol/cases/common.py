"""Cases of what several kinds have: references to Secrets, sets of namespaces, words, times."""

from collections.abc import Mapping
from typing import Any

from protocol.cases.case import Case, case, edited, required

CONTROL = "a\x07b"


def secret_ref(base: Mapping[str, Any], path: str) -> list[Case]:
    """``base`` has a whole reference at ``path``."""
    name, key = f"{path}.name", f"{path}.key"
    return [
        required(base, name),
        required(base, key),
        case(base, name, "maxLength", "a" * 253, "a" * 254, "253"),
        case(base, name, "rule", "team-a.keys", "Keys", "must be the name of an object"),
        case(base, name, "rule", "a", "", "must be the name of an object"),
        case(base, key, "maxLength", "a" * 253, "a" * 254, "253"),
        case(base, key, "rule", "gcp_1.json", "a/b", "must be a key of the Secret's data"),
    ]


def word(base: Mapping[str, Any], path: str) -> list[Case]:
    """A name that somebody else chose."""
    return [
        case(base, path, "maxLength", "a" * 253, "a" * 254, "253"),
        case(base, path, "rule", "a@b/c:d", "a b", "without white space"),
        case(base, path, "rule", "Großhandel", "a\u2003b", "without white space"),
        case(base, path, "rule", "a", "", "without white space"),
        case(base, path, "rule", "ab", CONTROL, "without white space"),
    ]


def model_glob(base: Mapping[str, Any], path: str) -> list[Case]:
    return [*word(base, path), case(base, path, "rule", "gpt-*-mini", "*gpt*", "may hold one '*'")]


def grant_glob(base: Mapping[str, Any], path: str) -> list[Case]:
    return [*word(base, path), case(base, path, "rule", "*:*", "*a*b*", "may hold two '*'")]


def dns_label(base: Mapping[str, Any], path: str, says: str = "must be a DNS label") -> list[Case]:
    return [
        case(base, path, "maxLength", "a" * 63, "a" * 64, "63"),
        case(base, path, "rule", "a-1", "a.1", says),
        case(base, path, "rule", "a", "A", says),
        case(base, path, "rule", "1", "-1", says),
        case(base, path, "rule", "1", "", says),
    ]


def time(base: Mapping[str, Any], path: str) -> list[Case]:
    longest, wrong = "2027-06-30T00:00:00.123456789+00:00", "must be an existing time in RFC 3339"
    good = "2027-06-30T00:00:00Z"
    return [
        case(base, path, "maxLength", longest, longest.replace(".1", ".01"), "35"),
        case(base, path, "rule", good, "tomorrow", wrong),
        case(base, path, "rule", good, "2027-06-30", wrong),
        case(base, path, "rule", "2027-06-30T23:59:59+02:00", "2027-06-30T24:00:00Z", wrong),
        case(base, path, "rule", good, "2027-06-30T00:00:00", wrong),
        case(base, path, "rule", good, "2027-06-30 00:00:00Z", wrong),
        case(base, path, "rule", "2028-02-29T00:00:00Z", "2027-02-29T00:00:00Z", wrong),
        case(base, path, "rule", "2400-02-29T00:00:00Z", "2100-02-29T00:00:00Z", wrong),
        case(base, path, "rule", "2027-07-31T00:00:00Z", "2027-06-31T00:00:00Z", wrong),
        case(base, path, "rule", "9999-12-31T23:59:59-01:00", "1999-12-31T23:59:59Z", "the year 2000 or later"),
    ]


def namespaces(base: Mapping[str, Any], path: str) -> list[Case]:
    """A set of namespaces; nothing has to stand at ``path``."""
    labels, expressions = f"{path}.selector.matchLabels", f"{path}.selector.matchExpressions"
    exists = {"key": "team", "operator": "Exists"}
    chosen = edited(base, path, {"from": "Selector", "selector": {"matchLabels": {"app": "a"}}})
    matched = edited(base, path, {"from": "Selector", "selector": {"matchExpressions": [exists]}})
    listed = edited(
        base,
        path,
        {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["a"]}]}},
    )
    together, empty = "belong together", "an empty selector would mean every namespace"
    label, key = "must be the value of a label", "must be the key of a label"
    return [
        case(chosen, f"{path}.from", "enum", "Selector", "Everyone", "supported values"),
        case(base, path, "rule", {"from": "All"}, {"from": "Selector"}, together, at=".selector"),
        case(
            base, path, "rule", {}, {"from": "All", "selector": {"matchLabels": {"a": "b"}}}, together, at=".selector"
        ),
        case(chosen, f"{path}.selector", "rule", {"matchExpressions": [exists]}, {}, empty),
        case(chosen, f"{path}.selector", "rule", {"matchLabels": {"a": ""}}, {"matchLabels": {}}, empty),
        case(chosen, labels, "maxProperties", numbered(16), numbered(17), "16"),
        case(chosen, f"{labels}{{app}}", "maxLength", "a" * 63, "a" * 64, "63"),
        case(chosen, f"{labels}{{app}}", "rule", "A.b-c_d", "a b", label),
        case(chosen, f"{labels}{{app}}", "rule", "", "-", label),
        case(matched, expressions, "maxItems", [exists] * 16, [exists] * 17, "16"),
        required(matched, f"{expressions}[].key"),
        case(matched, f"{expressions}[].key", "maxLength", f"{'a' * 253}/{'b' * 63}", f"{'a' * 254}/{'b' * 63}", "317"),
        case(matched, f"{expressions}[].key", "rule", "kubernetes.io/metadata.name", "a b", key),
        case(matched, f"{expressions}[].key", "rule", "a" * 63, "a" * 64, key),
        required(matched, f"{expressions}[].operator"),
        case(matched, f"{expressions}[].operator", "enum", "DoesNotExist", "Gt", "supported values"),
        case(listed, f"{expressions}[].operator", "enum", "NotIn", "in", "supported values"),
        case(listed, f"{expressions}[].values", "maxItems", ["a"] * 16, ["a"] * 17, "16"),
        case(listed, f"{expressions}[].values[]", "maxLength", "a" * 63, "a" * 64, "63"),
        case(listed, f"{expressions}[].values[]", "rule", "a", "a/b", label),
        case(
            matched,
            f"{expressions}[]",
            "rule",
            {"key": "a", "operator": "NotIn", "values": ["b"]},
            {"key": "a", "operator": "In"},
            "In and NotIn need values",
            at=".values",
        ),
        case(
            matched,
            f"{expressions}[]",
            "rule",
            {"key": "a", "operator": "Exists", "values": []},
            {"key": "a", "operator": "Exists", "values": ["b"]},
            "In and NotIn need values",
            at=".values",
        ),
    ]


def numbered(count: int) -> dict[str, str]:
    return {f"label-{i}": "x" for i in range(count)}
