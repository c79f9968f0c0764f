"""From manifests to the table and the verdicts. A first line `# platform-namespaces: a, b` sets that flag.

A case's documents are its ages: what stands first is older.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict

from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.result import Compiled, Finding, Verdict
from trunkline_operator.watch import directory
from trunkline_operator.watch.world import World
from trunkline_protocol import table
from trunkline_protocol.v1 import routing_pb2 as pb

TESTDATA = Path(__file__).parent / "testdata"
PLATFORM = re.compile(r"# platform-namespaces: (.*)")


def name(path: Path) -> str:
    return path.name.partition(".")[0]


def compiled(case: Path) -> Compiled:
    loaded = directory.load(case, {}, lambda: 1)
    assert not loaded.problems
    world = World()
    directory.apply(loaded, world)
    flag = PLATFORM.match(case.read_text(encoding="utf-8"))
    platform = frozenset(flag[1].split(", ")) if flag else None
    return compile_world(world, platform_namespaces=platform)


def body_of(resource: pb.Resource) -> dict[str, Any]:
    body = table.BODY_TYPES[resource.type].FromString(resource.body)
    fields: dict[str, Any] = MessageToDict(body, preserving_proto_field_name=True)
    match body:
        case pb.Key():
            fields["sha256"] = body.sha256.hex()
        case pb.Secret():
            fields["entries"] = {entry.key: "[redacted]" for entry in body.entries}
    return fields


def finding(found: Finding) -> str:
    return f"{found.ok}/{found.reason}: {found.message}"


def verdict(of: Verdict) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "accepted": finding(of.accepted),
        "resolvedRefs": finding(of.resolved_refs),
        "display": dict(of.display),
        "programs": [str(each) for each in of.programs],
    }
    if of.held:
        shown["held"] = True
    if of.expires:
        shown["expires"] = of.expires
    if of.policy:
        shown["policy"] = of.policy
    if of.models:
        shown["models"] = list(of.models)
    if of.keys:
        shown["keys"] = [f"{key.name} {key.state} {key.expires or ''} {key.reason}".strip() for key in of.keys]
    return shown


def dump(of: Compiled) -> str:
    shown = {
        "table": {
            str(each): {"sources": [source.ref for source in resource.sources], **body_of(resource)}
            for each, resource in of.resources.items()
        },
        "holds": sorted(map(str, of.holds)),
        "denied": {str(each): sorted(sources) for each, sources in of.denied.items()},
        "verdicts": {str(ref): verdict(each) for ref, each in of.verdicts.items()},
    }
    return yaml.safe_dump(shown, sort_keys=True, width=120, allow_unicode=True)


CASES = sorted(TESTDATA.glob("*.in.yaml"))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_compiles_to_its_golden_table(case: Path, golden: Callable[[Path, str], None]) -> None:
    golden(case.with_name(f"{name(case)}.out.yaml"), dump(compiled(case)))


def test_no_golden_output_is_left_without_an_input() -> None:
    assert {name(path) for path in TESTDATA.glob("*.out.yaml")} == {name(path) for path in CASES}


REASONS: Mapping[str, frozenset[str]] = {
    "accepted": frozenset({"Accepted", "Invalid", "UnknownProvider", "Conflicted", "NamespaceNotAllowed"}),
    "resolved_refs": frozenset(
        {
            "ResolvedRefs",
            "SecretNotFound",
            "SecretKeyNotFound",
            "SecretNotLabelled",
            "CredentialNotFound",
            "ModelGroupNotFound",
            "RefNotPermitted",
        }
    ),
}
"""Of the API reference. Expired needs a clock (the report stage); the others belong to kinds that are not here yet."""


@pytest.mark.parametrize("condition", REASONS)
def test_every_reason_has_a_case(condition: str) -> None:
    found = {getattr(each, condition).reason for case in CASES for each in compiled(case).verdicts.values()}
    assert found == REASONS[condition]


@pytest.mark.parametrize("case", CASES, ids=name)
def test_whatever_has_no_resource_is_held_or_denied(case: Path) -> None:
    of = compiled(case)
    names = {each.programs[0] for each in of.verdicts.values()}
    assert names == {each for each in of.resources if each.type != pb.TYPE_SECRET} | of.holds | set(of.denied)
    assert not of.holds & set(of.denied)
    assert not set(of.resources) & (of.holds | set(of.denied))


@pytest.mark.parametrize("case", CASES, ids=name)
def test_no_secret_is_in_any_verdict(case: Path) -> None:
    of = compiled(case)
    values = [
        entry.value.decode()
        for resource in of.resources.values()
        if resource.type == pb.TYPE_SECRET
        for entry in pb.Secret.FromString(resource.body).entries
    ]
    said = repr(of.verdicts) + repr(of)
    assert not [value for value in values if value in said]
