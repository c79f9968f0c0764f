"""Cases of VirtualKey."""

from typing import Any

from protocol.cases import common
from protocol.cases.case import Case, case, edited, required

HASH = "sha256:" + "0123456789abcdef" * 4
BY_HASH: dict[str, Any] = {
    "apiVersion": "trunkline.dev/v1alpha1",
    "kind": "VirtualKey",
    "metadata": {"name": "alice"},
    "spec": {"keyHash": HASH, "models": ["*"]},
}
BY_SECRET = edited(BY_HASH, "spec", {"secretRef": {"name": "alice", "key": "key"}, "models": ["*"]})


def key_hashes() -> list[Case]:
    path, says = "spec.keyHash", "must be sha256: and the 64 hexadecimal digits"
    bad = ["sha256:" + "0" * 63, "0" * 64, "sha512:" + "0" * 64, HASH[:-1] + "g", "", HASH[:-1] + "\n"]
    return [
        case(BY_HASH, path, "maxLength", HASH, HASH + "0", "71"),
        *(case(BY_HASH, path, "rule", HASH.replace("abcdef", "ABCDEF"), text, says) for text in bad),
    ]


def cidrs() -> list[Case]:
    path, says = "spec.allowedCIDRs", "must be a range of addresses"
    longest = "0000:0000:0000:0000:0000:0001:255.255.255.255/128"
    pairs = [
        ("10.0.0.0/8", "10.0.0.0"),
        ("10.1.2.3/8", "10.0.0.0/33"),
        ("0.0.0.0/0", "10.0.0.0/-1"),
        ("192.0.2.7/32", "192.0.2.7/"),
        ("2001:db8::/32", "2001:db8::/129"),
        ("::/0", "::ffff:10.0.0.0/104"),
        ("fe80::1/64", "fe80::1%eth0/64"),
        ("10.0.0.0/8", "10.0.0.0/255.0.0.0"),
        ("10.0.0.0/8", "10.0.0.0/08"),
        ("10.0.0.0/8", "010.0.0.0/8"),
        ("10.0.0.0/8", "10/8"),
        ("10.0.0.0/8", " 10.0.0.0/8"),
        ("10.0.0.0/8", "10.0.0.0/8/8"),
        ("10.0.0.0/8", "10.0.0.0/٨"),
        ("10.0.0.0/8", ""),
    ]
    return [
        case(BY_HASH, path, "minItems", ["10.0.0.0/8"], [], "1"),
        case(BY_HASH, path, "maxItems", ["10.0.0.0/8"] * 32, ["10.0.0.0/8"] * 33, "32"),
        case(BY_HASH, f"{path}[]", "maxLength", longest, longest.replace("/", "0/"), "49"),
        *(case(BY_HASH, f"{path}[]", "rule", good, bad, says) for good, bad in pairs),
    ]


def cases() -> list[Case]:
    """All of them."""
    either = "give either secretRef"
    both = {**BY_HASH["spec"], **BY_SECRET["spec"]}
    return [
        required(BY_HASH, "spec"),
        case(BY_HASH, "spec", "rule", BY_SECRET["spec"], both, either),
        case(BY_HASH, "spec", "rule", BY_HASH["spec"], {"models": ["*"]}, either),
        *common.secret_ref(BY_SECRET, "spec.secretRef"),
        *key_hashes(),
        *common.word(BY_HASH, "spec.owner.team"),
        *common.word(BY_HASH, "spec.owner.user"),
        case(BY_HASH, "spec.groups", "maxItems", ["a"] * 32, ["a"] * 33, "32"),
        *common.word(BY_HASH, "spec.groups[]"),
        required(BY_HASH, "spec.models"),
        case(BY_HASH, "spec.models", "minItems", ["a"], [], "1"),
        case(BY_HASH, "spec.models", "maxItems", ["a"] * 64, ["a"] * 65, "64"),
        *common.grant_glob(BY_HASH, "spec.models[]"),
        *common.time(BY_HASH, "spec.expirationTime"),
        case(BY_HASH, "spec.state", "enum", "Disabled", "Revoked", "supported values"),
        *cidrs(),
    ]
