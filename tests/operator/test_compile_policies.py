"""Which RoutePolicy is in force for what, and what the others say."""

from typing import Any

import pytest

from builders import world as gen
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.result import Compiled, Verdict
from trunkline_operator.watch.world import Ref
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

OLD, NEW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
ACCOUNT = gen.credential("main", provider="echo", keys=[])


def group(name: str, *targets: str, **labels: str) -> dict[str, Any]:
    made = gen.group(name, targets=[gen.target(each) for each in targets or ("t",)])
    made["metadata"]["labels"] = labels
    return made


def compiled(*objects: dict[str, Any], platform: frozenset[str] | None = None) -> Compiled:
    return compile_world(gen.world(ACCOUNT, *objects), platform_namespaces=platform)


def route(of: Compiled, name: str = "g") -> pb.Route:
    return pb.Route.FromString(of.resources[Name(pb.TYPE_ROUTE, f"team/{name}")].body)


def verdict(of: Compiled, name: str) -> Verdict:
    return of.verdicts[Ref("RoutePolicy", "team", name)]


NAMED = gen.policy("named", groups=["g"])
SELECTING = gen.policy("selecting", targetSelector={"matchLabels": {"team": "a"}})
DEFAULT = gen.policy("default", default=True)


@pytest.mark.parametrize(
    ("policies", "wanted"),
    [
        ([], ""),
        ([DEFAULT], "team/default"),
        ([DEFAULT, SELECTING], "team/selecting"),
        ([DEFAULT, SELECTING, NAMED], "team/named"),
        ([DEFAULT, NAMED], "team/named"),
    ],
)
def test_a_name_goes_before_labels_and_they_before_a_default(policies: list[dict[str, Any]], wanted: str) -> None:
    for order in (policies, policies[::-1]):
        of = compiled(group("g", team="a"), *order)
        assert route(of).policy == wanted
        verdict_of_group = of.verdicts[Ref("ModelGroup", "team", "g")]
        assert verdict_of_group.policy == wanted.removeprefix("team/")
        assert verdict_of_group.display["policy"] == (wanted.removeprefix("team/") or "default")


def test_all_labels_have_to_be_there_with_their_values() -> None:
    selecting = gen.policy("p", targetSelector={"matchLabels": {"team": "a", "tier": "gold"}})
    of = compiled(
        selecting,
        group("one", team="a", tier="gold", more="x"),
        group("two", team="a"),
        group("three", team="a", tier="free"),
    )
    assert [route(of, name).policy for name in ("one", "two", "three")] == ["team/p", "", ""]


def test_a_policy_of_a_target_stands_beside_that_of_its_group() -> None:
    of = compiled(group("g", "a", "b"), DEFAULT, gen.policy("of-b", groups=["g/b"]))
    assert route(of).policy == "team/default"
    assert [target.policy for target in route(of).targets] == ["", "team/of-b"]
    assert verdict(of, "of-b").display == {"applies": 'target "b" of g', "groups": "1"}
    assert verdict(of, "of-b").accepted.ok


def test_policies_are_for_their_own_namespace_only() -> None:
    elsewhere = [gen.policy("default", namespace="other", default=True), gen.policy(namespace="other", groups=["g"])]
    of = compiled(group("g"), *elsewhere)
    assert route(of).policy == ""
    found = of.verdicts[Ref("RoutePolicy", "other", "strict")].resolved_refs
    assert (found.ok, found.reason) == (False, "ModelGroupNotFound")


def test_of_two_of_one_rank_the_older_is_in_force_and_then_the_first_by_name() -> None:
    older = gen.policy("z", groups=["g"], created=OLD)
    younger = gen.policy("a", groups=["g"], created=NEW)
    of = compiled(group("g"), younger, older)
    assert route(of).policy == "team/z"
    found = verdict(of, "a")
    assert (found.accepted.ok, found.accepted.reason) == (False, "Conflicted")
    assert "RoutePolicy team/z is for g" in found.accepted.message
    assert Name(pb.TYPE_POLICY, "team/a") in of.denied
    assert route(compiled(group("g"), gen.policy("b", default=True), gen.policy("a", default=True))).policy == "team/a"


def test_one_that_has_something_left_is_in_force_for_that() -> None:
    of = compiled(
        group("g"),
        group("h"),
        gen.policy("z", groups=["g"], created=OLD),
        gen.policy("a", groups=["g", "h"], created=NEW),
    )
    assert (route(of, "g").policy, route(of, "h").policy) == ("team/z", "team/a")
    found = verdict(of, "a").accepted
    assert found.ok
    assert "RoutePolicy team/z is for g" in found.message


def test_one_of_lower_rank_is_in_no_conflict() -> None:
    of = compiled(group("g", team="a"), NAMED, SELECTING, DEFAULT)
    assert all(verdict(of, name).accepted.ok for name in ("named", "selecting", "default"))
    assert [verdict(of, name).display["groups"] for name in ("named", "selecting", "default")] == ["1", "0", "0"]


def test_what_it_names_has_to_be_there() -> None:
    of = compiled(group("g"), gen.policy("p", groups=["g", "gone", "g/gone"]))
    found = verdict(of, "p")
    assert found.accepted.ok
    assert found.resolved_refs.reason == "ModelGroupNotFound"
    assert "ModelGroup team/gone not found" in found.resolved_refs.message
    assert 'ModelGroup team/g has no target "gone"' in found.resolved_refs.message
    assert route(of).policy == "team/p"


def test_a_group_that_is_invalid_is_there_all_the_same() -> None:
    broken = group("g", "t")
    broken["spec"]["targets"][0]["weight"] = -1
    of = compiled(broken, gen.policy("p", groups=["g/t"]))
    assert verdict(of, "p").resolved_refs.ok


@pytest.mark.parametrize(
    "broken",
    [
        gen.policy("broken", groups=["g"], lossy="Never"),
        gen.policy("broken", targetSelector={"matchLabels": {"team": "a"}}, lossy="Never"),
        gen.policy("broken", default=True, lossy="Never"),
    ],
    ids=["named", "selecting", "default"],
)
def test_an_invalid_one_is_held_with_what_it_is_for(broken: dict[str, Any]) -> None:
    of = compiled(group("g", team="a"), broken)
    assert of.holds == {Name(pb.TYPE_POLICY, "team/broken")}
    assert route(of).policy == "team/broken"
    assert verdict(of, "broken").held
    assert verdict(of, "broken").accepted.reason == "Invalid"


@pytest.mark.parametrize(
    "spec",
    [
        {"targetSelector": {"matchLabels": {}}},
        {"targetSelector": {"matchLabels": {"team": 1}}},
        {"targetSelector": {"matchLabels": [1]}},
        {"targetSelector": 1},
        {"targetRefs": [1, {"name": 1}, {"sectionName": "t"}]},
        {"targetRefs": "g"},
        {"default": "yes"},
    ],
)
def test_an_invalid_one_whose_purpose_makes_no_sense_is_for_nothing(spec: dict[str, Any]) -> None:
    of = compiled(group("g", team="a"), gen.policy("broken", **spec))
    assert route(of).policy == ""
    assert verdict(of, "broken").held


def test_policies_are_taken_from_platform_namespaces_only() -> None:
    of = compiled(group("g"), DEFAULT, platform=frozenset({"other"}))
    found = verdict(of, "default").accepted
    assert (found.ok, found.reason) == (False, "NamespaceNotAllowed")
    assert "RoutePolicies are not taken from namespace team" in found.message
    assert Name(pb.TYPE_POLICY, "team/default") in of.denied


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, pb.Policy()),
        ({"lossy": "Allow"}, pb.Policy(lossy=pb.LOSSY_ALLOW)),
        ({"lossy": "Warn"}, pb.Policy(lossy=pb.LOSSY_WARN)),
        (
            {"lossy": "Reject", "unsupportedParameters": "Drop"},
            pb.Policy(lossy=pb.LOSSY_REJECT, unsupported_parameters=pb.UNSUPPORTED_PARAMETERS_DROP),
        ),
        (
            {"unsupportedParameters": "Reject"},
            pb.Policy(unsupported_parameters=pb.UNSUPPORTED_PARAMETERS_REJECT),
        ),
    ],
)
def test_what_a_policy_says_travels(spec: dict[str, Any], wanted: pb.Policy) -> None:
    of = compiled(gen.policy("p", default=True, **spec))
    assert pb.Policy.FromString(of.resources[Name(pb.TYPE_POLICY, "team/p")].body) == wanted


def test_an_edit_of_what_it_says_changes_no_route() -> None:
    groups = [group(f"g{n}") for n in range(20)]
    before = compiled(*groups, gen.policy("p", default=True)).resources
    after = compiled(*groups, gen.policy("p", revision=2, default=True, lossy="Reject")).resources
    changed = {name for name, each in after.items() if before[name].version != each.version}
    assert changed == {Name(pb.TYPE_POLICY, "team/p")}


def test_a_selector_that_nothing_fits_says_so() -> None:
    found = verdict(compiled(SELECTING), "selecting")
    assert found.accepted.ok
    assert "no ModelGroup of its namespace has these labels" in found.accepted.message


def test_a_long_selector_is_cut_to_its_column() -> None:
    labels = {f"label-{n}": "value" for n in range(16)}
    shown = verdict(compiled(gen.policy("p", targetSelector={"matchLabels": labels})), "p").display["applies"]
    assert len(shown) == 64
    assert shown.endswith("…")
