"""Whatever the world is and however it came about: the same world compiles to the same, with and without a memo."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import world as gen
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.memo import Memo
from trunkline_operator.compile.result import Compiled
from trunkline_operator.watch.world import Ref, World
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

NAMESPACES = st.sampled_from(["a", "b"])
NAMES = st.sampled_from(["one", "two", "three"])
CONSENT = st.sampled_from(
    [
        {"from": "Same"},
        {"from": "All"},
        {"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}},
        {"from": "Nonsense"},
    ]
)
LABELS = st.sampled_from([{}, {"tier": "gold"}, {"tier": "gold", "team": "a"}, {"team": "a"}])
LOSSY = st.sampled_from(["Allow", "Warn", "Reject", "Nonsense"])
AGES = st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"])


@st.composite
def credentials(draw: st.DrawFn) -> dict[str, Any]:
    key = {"name": "k", "secretRef": {"name": draw(NAMES), "key": draw(st.sampled_from(["x", "y"]))}}
    spec = {"keys": [key], "provider": draw(st.sampled_from(["openai", "echo", "nobody", ""]))}
    if draw(st.booleans()):
        spec["allowedNamespaces"] = draw(CONSENT)
    if draw(st.booleans()):
        spec["directModels"] = ["*"]
    return gen.credential(draw(NAMES), namespace=draw(NAMESPACES), **spec)


@st.composite
def groups(draw: st.DrawFn) -> dict[str, Any]:
    targets = [
        {"name": f"t{index}", "credentialRef": {"name": name, "namespace": draw(NAMESPACES)}, "model": "m"}
        for index, name in enumerate(draw(st.lists(NAMES, min_size=1, max_size=2)))
    ]
    spec: dict[str, Any] = {"targets": targets}
    if draw(st.booleans()):
        spec["models"] = draw(st.lists(st.sampled_from(["m", "M", "m-*", "n"]), min_size=1, max_size=3))
    if draw(st.booleans()):
        spec["access"] = [{"groups": ["default"], "namespaces": draw(CONSENT)}]
    if draw(st.integers(0, 4)) == 0:
        spec["targets"][0]["weight"] = -1
    if draw(st.integers(0, 4)) == 0:
        spec["visibility"] = "Internal"
    if draw(st.integers(0, 3)) == 0:
        spec["targets"][0]["dialect"] = draw(st.sampled_from(["OpenAIChat", "BedrockConverse"]))
    if draw(st.integers(0, 3)) == 0:
        spec["targets"][0]["parameters"] = {"defaults": draw(st.sampled_from([{"top_p": 1}, {"/a": 1}, {"nope": 1}]))}
    drawn = gen.group(draw(NAMES), namespace=draw(NAMESPACES), **spec)
    drawn["metadata"]["labels"] = draw(LABELS)
    return drawn


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = draw(
        st.one_of(
            st.builds(lambda names: {"groups": names}, st.lists(st.sampled_from(["one", "two", "one/t0"]), min_size=1)),
            st.builds(lambda labels: {"targetSelector": {"matchLabels": labels}}, LABELS),
            st.just({"default": True}),
            st.just({}),
        )
    )
    return gen.policy(draw(NAMES), namespace=draw(NAMESPACES), lossy=draw(LOSSY), **spec)


@st.composite
def keys(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if draw(st.booleans()):
        spec["secretRef"] = {"name": draw(NAMES), "key": "x"}
    if draw(st.integers(0, 4)) == 0:
        spec["models"] = []
    return gen.key(draw(NAMES), namespace=draw(NAMESPACES), digit=draw(st.sampled_from("01")), **spec)


@st.composite
def secrets(draw: st.DrawFn) -> dict[str, Any]:
    entries = draw(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2", "1\n", ""])))
    return gen.secret(draw(NAMES), namespace=draw(NAMESPACES), labelled=draw(st.booleans()), **entries)


@st.composite
def namespaces(draw: st.DrawFn) -> dict[str, Any]:
    return gen.namespace(draw(NAMESPACES), tier=draw(st.sampled_from(["gold", "free"])))


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    drawn: dict[str, Any] = draw(st.one_of(credentials(), groups(), keys(), secrets(), namespaces(), policies()))
    drawn["metadata"]["creationTimestamp"] = draw(AGES)
    return drawn


Step = Callable[[World, int], None]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    obj = draw(objects())
    metadata = obj["metadata"]
    what = draw(st.sampled_from(["put", "put", "put", "delete", "status", "relist"]))
    ref = Ref(obj["kind"], metadata.get("namespace", ""), metadata["name"])

    def step(world: World, revision: int) -> None:
        match what:
            case "put":
                world.put({**obj, "metadata": {**metadata, "resourceVersion": str(revision), "generation": revision}})
            case "delete":
                world.delete(ref, revision)
            case "status" if ref in world.objects:
                before = world.objects[ref]
                as_it_is = {"resourceVersion": str(revision), "generation": before.generation, "uid": before.uid}
                world.put({**obj, "metadata": {**metadata, **as_it_is}, "spec": before.raw, "status": {"a": revision}})
            case "relist":
                world.relist(ref.kind, "", {each: 0 for each in world.objects if each != ref}, revision)

    return step


def everything(compiled: Compiled) -> tuple[object, ...]:
    """What it says, the order in which it says it included."""
    resources = {name: each.SerializeToString(deterministic=True) for name, each in compiled.resources.items()}
    return list(resources.items()), compiled.holds, list(compiled.verdicts.items()), compiled.denied, compiled.marks


@settings(max_examples=300, deadline=None)
@given(st.lists(steps(), max_size=25), st.sampled_from([None, frozenset({"a"})]))
def test_a_memo_cannot_be_seen(sequence: list[Step], platform: frozenset[str] | None) -> None:
    world, memo = World(), Memo()
    for revision, step in enumerate(sequence, 1):
        step(world, revision)
        remembered = compile_world(world, memo, platform_namespaces=platform)
        assert everything(remembered) == everything(compile_world(world, platform_namespaces=platform))


@settings(max_examples=300, deadline=None)
@given(st.lists(objects(), max_size=20), st.randoms())
def test_the_order_of_arrival_cannot_be_seen(drawn: list[dict[str, Any]], random: Any) -> None:
    unique = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]): each for each in drawn}
    shuffled = list(unique.values())
    random.shuffle(shuffled)
    assert everything(compile_world(gen.world(*unique.values()))) == everything(compile_world(gen.world(*shuffled)))


@settings(max_examples=300, deadline=None)
@given(st.lists(objects(), max_size=20))
def test_every_object_has_a_verdict_and_every_name_one_fate(drawn: list[dict[str, Any]]) -> None:
    world = gen.world(*drawn)
    compiled = compile_world(world)
    assert set(compiled.verdicts) == set(world.objects)
    own = {verdict.programs[0] for verdict in compiled.verdicts.values()}
    fates = [compiled.holds, set(compiled.denied), {each for each in compiled.resources if each.type != pb.TYPE_SECRET}]
    assert set().union(*fates) == own
    assert sum(map(len, fates)) == len(own)


@settings(max_examples=300, deadline=None)
@given(st.lists(objects(), max_size=20))
def test_nobody_is_routed_to_an_account_that_did_not_consent(drawn: list[dict[str, Any]]) -> None:
    world = gen.world(*drawn)
    for name, resource in compile_world(world).resources.items():
        if name.type != pb.TYPE_ROUTE:
            continue
        route = pb.Route.FromString(resource.body)
        for each in route.targets:
            namespace, _, credential = each.upstream.partition("/")
            allowed: Any = world.objects[Ref("ProviderCredential", namespace, credential)].raw.get("allowedNamespaces")
            kind = (allowed or {"from": "Same"})["from"]
            labels = world.namespaces.get(route.namespace, (0, {}))[1]
            assert kind == "All" or (kind == "Same" and namespace == route.namespace) or labels.get("tier") == "gold"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(groups(), policies()), max_size=20))
def test_every_policy_of_a_route_is_one_that_was_accepted_or_held_and_says_so(drawn: list[dict[str, Any]]) -> None:
    world = gen.world(*drawn)
    compiled = compile_world(world)
    used: dict[str, set[str]] = {}
    for name, resource in compiled.resources.items():
        if name.type == pb.TYPE_ROUTE:
            route = pb.Route.FromString(resource.body)
            for policy in {route.policy, *(target.policy for target in route.targets)} - {""}:
                used.setdefault(policy, set()).add(route.group)
                assert policy.startswith(route.namespace + "/")
                assert Name(pb.TYPE_POLICY, policy) in compiled.resources.keys() | compiled.holds
                assert f"RoutePolicy/{policy}" in {source.ref for source in resource.sources}
    for ref, verdict in compiled.verdicts.items():
        if ref.kind == "RoutePolicy":
            in_force = len(used.get(f"{ref.namespace}/{ref.name}", ()))
            # Groups that are held or denied have a policy too, but no Route that says so.
            assert in_force <= int(verdict.display["groups"])


@settings(max_examples=200, deadline=None)
@given(st.lists(groups(), max_size=8))
def test_no_two_routes_have_one_name(drawn: list[dict[str, Any]]) -> None:
    compiled = compile_world(gen.world(*drawn))
    owned = [model for verdict in compiled.verdicts.values() for model in verdict.models]
    assert len(owned) == len(set(owned))


# ---- what a memo saves ----------------------------------------------------------------------------------------------


def fleet() -> World:
    """Two accounts, groups at each of them, keys by Secret and by hash."""
    world = gen.world(gen.namespace(), *(gen.secret(f"s{n}", primary=f"sk-{n}") for n in range(2)))
    for number in range(2):
        account = gen.credential(f"c{number}")
        account["spec"]["keys"][0]["secretRef"]["name"] = f"s{number}"
        world.put(account)
    for number in range(10):
        world.put(gen.group(f"g{number}", targets=[gen.target(credential_name=f"c{number % 2}")]))
        world.put(gen.secret(f"k{number}", key=f"sk-tl-{number}"))
        world.put(gen.key(f"v{number}", secretRef={"name": f"k{number}", "key": "key"}))
    return world


@pytest.mark.parametrize(
    ("change", "made_anew"),
    [
        (gen.key("v1", revision=9, models=["x"], secretRef={"name": "k1", "key": "key"}), {"key team/v1"}),
        (gen.secret("k1", revision=9, key="sk-tl-new"), {"key team/v1"}),
        (gen.secret("s1", revision=9, primary="sk-new"), {"secret team/s1", "upstream team/c1"}),
        (gen.group("g1", revision=9, targets=[gen.target(credential_name="c1")], models=["z"]), {"route team/g1"}),
        (gen.namespace(revision=9, tier="gold"), set()),
        (gen.policy("named", revision=9, groups=["g1"]), {"policy team/named", "route team/g1"}),
    ],
    ids=["key", "key's secret", "account's secret", "group", "namespace", "policy"],
)
def test_one_change_makes_anew_only_what_rests_on_it(change: dict[str, Any], made_anew: set[str]) -> None:
    world, memo = fleet(), Memo()
    before = compile_world(world, memo).resources
    world.put(change)
    after = compile_world(world, memo).resources
    assert {str(name) for name, each in after.items() if before.get(name) is not each} == made_anew


def test_a_newer_view_of_an_account_that_changed_nothing_reaches_the_sources_of_its_routes() -> None:
    world, memo = fleet(), Memo()
    before = compile_world(world, memo).resources
    account = gen.credential("c1", revision=9)
    account["metadata"]["generation"] = 1
    world.put(account)
    route = Name(pb.TYPE_ROUTE, "team/g1")
    after = compile_world(world, memo).resources[route]
    assert after.version == before[route].version
    assert {source.ref: source.revision for source in after.sources}["ProviderCredential/team/c1"] == 9


def test_namespaces_travel_as_marks_where_selectors_looked_at_them() -> None:
    selected = {"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}}
    world = gen.world(gen.namespace("gold", revision=5, tier="gold"), gen.namespace("free", revision=6), gen.group())
    assert compile_world(world).marks == {}
    world.put(gen.group(revision=2, access=[{"groups": ["default"], "namespaces": selected}]))
    compiled = compile_world(world)
    assert compiled.marks == {"Namespace//gold": 5, "Namespace//free": 6}
    sources = {source.ref for source in compiled.resources[Name(pb.TYPE_ROUTE, "team/gpt-4o")].sources}
    assert "Namespace//gold" in sources
    assert "Namespace//free" not in sources
