"""What a hold must not carry, and what is said of whom gateways serve from an older version."""

from typing import Any

import pytest

from builders import world as gen
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.memo import Memo
from trunkline_operator.compile.result import Compiled
from trunkline_operator.watch.world import Ref
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

GROUP = Ref("ModelGroup", "team", "gpt-4o")
UPSTREAM = Name(pb.TYPE_UPSTREAM, "team/main")
GOLD = {"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}}


def upstream(compiled: Compiled) -> pb.Upstream:
    return pb.Upstream.FromString(compiled.resources[UPSTREAM].body)


@pytest.mark.parametrize(
    ("consent", "admitted"),
    [
        ({}, pb.Namespaces(names=["team"])),
        ({"allowedNamespaces": {"from": "Same"}}, pb.Namespaces(names=["team"])),
        ({"allowedNamespaces": {"from": "All"}}, pb.Namespaces(all=True)),
        ({"allowedNamespaces": GOLD}, pb.Namespaces(names=["rich"])),
        ({"allowedNamespaces": {"from": "Nonsense"}}, pb.Namespaces()),
    ],
)
def test_an_upstream_says_whose_routes_may_use_it(consent: dict[str, Any], admitted: pb.Namespaces) -> None:
    world = gen.world(
        gen.credential(**consent), gen.namespace("rich", revision=7, tier="gold"), gen.namespace("poor", tier="free")
    )
    body = upstream(compile_world(world))
    assert body.HasField("route_namespaces")
    assert body.route_namespaces == admitted


def test_a_selected_namespace_is_a_source_and_losing_its_label_is_a_mark() -> None:
    world, memo = gen.world(gen.credential(allowedNamespaces=GOLD), gen.namespace(revision=7, tier="gold")), Memo()
    before = compile_world(world, memo)
    assert upstream(before).route_namespaces.names == ["team"]
    assert {source.ref: source.revision for source in before.resources[UPSTREAM].sources}[
        str(Ref("Namespace", "", "team"))
    ] == 7
    world.put(gen.namespace(revision=8, tier="free"))
    after = compile_world(world, memo)
    assert upstream(after).route_namespaces == pb.Namespaces()
    assert after.marks == {str(Ref("Namespace", "", "team")): 8}


@pytest.mark.parametrize(
    ("account", "entries", "targets"),
    [
        ({}, {"primary": "sk"}, "1/1"),
        ({}, {}, "0/1"),
        ({"keys": [{"name": "a", "state": "Disabled", "secretRef": {"name": "upstream", "key": "primary"}}]},
         {"primary": "sk"}, "0/1"),
        ({"provider": "echo", "keys": []}, {}, "1/1"),
        ({"provider": "nobody"}, {"primary": "sk"}, "1/1"),
        ({"provider": "nobody"}, {}, "0/1"),
        ({"directModels": "*"}, {"primary": "sk"}, "1/1"),
        ({"directModels": "*"}, {}, "0/1"),
        ({"allowedNamespaces": {"from": "Nonsense"}}, {"primary": "sk"}, "0/1"),
    ],
)  # fmt: skip
def test_targets_count_those_whose_account_can_serve(
    account: dict[str, Any], entries: dict[str, str], targets: str
) -> None:
    compiled = compile_world(gen.world(gen.credential(**account), gen.secret(**entries), gen.group()))
    assert compiled.verdicts[GROUP].display["targets"] == targets


@pytest.mark.parametrize("models", [[""], ["a", "b"], "a", None])
def test_of_a_held_group_nothing_is_said_that_only_its_invalid_spec_says(models: Any) -> None:
    verdict = compile_world(gen.world(gen.group(models=models, targets=[]))).verdicts[GROUP]
    assert verdict.held
    assert verdict.models == ()
    assert (verdict.display["models"], verdict.display["targets"]) == ("-", "-")


def test_a_target_of_weight_0_may_be_the_only_one() -> None:
    compiled = compile_world(gen.world(gen.credential(), gen.group(targets=[gen.target(weight=0)])))
    assert compiled.verdicts[GROUP].accepted.ok
    route = pb.Route.FromString(compiled.resources[Name(pb.TYPE_ROUTE, "team/gpt-4o")].body)
    assert [target.weight for target in route.targets] == [0]


def test_what_an_older_group_has_in_another_case_is_meant_only_as_it_is_written() -> None:
    world = gen.world()
    world.put(gen.group("young", models=["GPT-4o", "own", "X-*"]), created=2e-6)
    world.put(gen.group("old", models=["gpt-4o", "x-*"]), created=1e-6)
    compiled = compile_world(world)
    young = compiled.resources[Name(pb.TYPE_ROUTE, "team/young")]
    old = compiled.resources[Name(pb.TYPE_ROUTE, "team/old")]
    assert pb.Route.FromString(young.body).exact_only == ["GPT-4o", "X-*"]
    assert not pb.Route.FromString(old.body).exact_only
    assert "ModelGroup/team/old" in {source.ref for source in young.sources}
    assert "ModelGroup/team/young" not in {source.ref for source in old.sources}
