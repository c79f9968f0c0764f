"""Wire resources to a snapshot: what fits together, what is missing, what cannot be used."""

import ipaddress
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import wire as make
from trunkline_gateway.dialect import Capabilities
from trunkline_gateway.routing import table as routing
from trunkline_gateway.routing.snapshot import DEFAULT_POLICY, EMPTY, Clamp, Policy, Spoken
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


def records(resources: Iterable[pb.Resource]) -> routing.Records:
    made = routing.Records({}, {}, {}, {}, {})
    into = {
        pb.TYPE_ROUTE: made.routes,
        pb.TYPE_UPSTREAM: made.upstreams,
        pb.TYPE_KEY: made.keys,
        pb.TYPE_SECRET: made.secrets,
        pb.TYPE_POLICY: made.policies,
    }
    for resource in resources:
        into[resource.type][resource.name] = routing.decode(resource)  # type: ignore[index]
    return made


def build(*resources: pb.Resource) -> routing.Built:
    return routing.build(records(resources), "v")


def policied(name: str, *, policy: str = "", target_policy: str = "", **target: object) -> pb.Resource:
    """A route with one target, of which more is said."""
    body = pb.Route(
        group="m",
        namespace="a",
        policy=policy,
        targets=[pb.Target(name="t", upstream="a/up", model="m", weight=1, policy=target_policy, **target)],  # type: ignore[arg-type]  # what a test says
    )
    return table.resource(Name(pb.TYPE_ROUTE, name), body, {f"ModelGroup/{name}": 1})


def test_nothing_is_the_empty_snapshot() -> None:
    assert build().snapshot == routing.build(records([]), "v").snapshot
    assert build().snapshot.exact == EMPTY.exact


def test_a_target_whose_credential_is_not_there_has_no_upstream() -> None:
    route = build(make.route("a/m", 1, "a/up", "a/gone"), make.upstream("a/up", 1)).snapshot.routes["a/m"]
    assert [target.upstream is not None for target in route.targets] == [True, False]


def test_keys_without_a_value_and_disabled_ones_drop_out() -> None:
    upstream = pb.Upstream(
        credential="up",
        base_url="https://up.test/v1/",
        auth_header="X-Api-Key",
        keys=[
            pb.UpstreamKey(name="there", secret=pb.SecretEntry(secret="a/s", key="key"), weight=2, expires=7),
            pb.UpstreamKey(name="missing", secret=pb.SecretEntry(secret="a/s", key="none"), weight=1),
            pb.UpstreamKey(name="no-secret", secret=pb.SecretEntry(secret="a/t", key="key"), weight=1),
            pb.UpstreamKey(name="off", secret=pb.SecretEntry(secret="a/s", key="key"), weight=1, disabled=True),
        ],
    )
    resource = table.resource(Name(pb.TYPE_UPSTREAM, "a/up"), upstream, {})
    built = build(resource, make.secret("a/s", 1, "sk-value\r\n")).snapshot.upstreams["a/up"]
    assert [(key.name, key.weight, key.expires, key.auth_header) for key in built.keys] == [
        ("there", 2, 7, (b"x-api-key", b"sk-value"))
    ]
    assert built.endpoint.base_url == "https://up.test/v1"
    assert set(built.secret_values) == {"sk-value"}
    assert "sk-value" not in repr(built)


def test_without_authentication_there_is_one_key_without_a_header() -> None:
    (key,) = build(make.upstream("a/up", 1)).snapshot.upstreams["a/up"].keys
    assert key.auth_header is None


@pytest.mark.parametrize("value", ["", "\n", "sk\r\nx-evil: 1", "sk\x00", "sk\x7f", "日本", b"\xff\xfe"])
def test_a_value_that_no_header_can_carry_makes_the_key_unusable_and_is_not_repeated(value: str | bytes) -> None:
    built = build(make.upstream("a/up", 1, secret="a/s"), make.secret("a/s", 1, value))
    assert built.snapshot.upstreams["a/up"].keys == ()
    (problem,) = built.problems
    assert (problem.upstream, problem.key) == ("a/up", "k")
    assert "evil" not in problem.reason


def test_latin_1_is_sent_as_such() -> None:
    (key,) = build(make.upstream("a/up", 1, secret="a/s"), make.secret("a/s", 1, "ké")).snapshot.upstreams["a/up"].keys
    assert key.auth_header == (b"authorization", b"Bearer k\xe9")


@pytest.mark.parametrize("pem", [None, "no PEM at all", "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----\n"])
def test_an_account_whose_ca_cannot_be_used_has_no_keys(pem: str | None) -> None:
    upstream = make.upstream("a/up", 1, secret="a/s", ca=pb.SecretEntry(secret="a/ca", key="key"))
    resources = [upstream, make.secret("a/s", 1, "sk-1")] + ([make.secret("a/ca", 1, pem)] if pem else [])
    built = build(*resources)
    assert built.snapshot.upstreams["a/up"].keys == ()
    assert "CA bundle" in built.problems[0].reason


BAD = {
    "an empty base URL": (make.upstream("a/x", 1, base_url=""), "base URL is empty"),
    "a file URL": (make.upstream("a/x", 1, base_url="file:///etc/passwd"), "not an http"),
    "a URL without a host": (make.upstream("a/x", 1, base_url="https:///v1"), "not an http"),
    "a bad port": (make.upstream("a/x", 1, base_url="https://a:99999/"), "not an http"),
    "a bad proxy": (make.upstream("a/x", 1, proxy_url="socks5://p"), "proxy URL"),
    "a header with a line break": (
        make.upstream("a/x", 1, headers=[pb.Header(name="x", value="a\r\nb")]),
        "cannot be sent",
    ),
    "a header with no name": (make.upstream("a/x", 1, headers=[pb.Header(name="", value="a")]), "cannot be sent"),
    "a short hash": (table.resource(Name(pb.TYPE_KEY, "a/x"), pb.Key(sha256=b"x" * 31), {}), "32 bytes"),
    "a bad CIDR": (make.key("a/x", 1, cidrs=["10.0.0.0/8", "nonsense"]), "'nonsense'"),
    "a dialect's base URL": (
        make.upstream("a/x", 1, spoken=[pb.Spoken(dialect="anthropic_messages", base_url="https://")]),
        "base URL for anthropic_messages",
    ),
    "a dialect's path": (make.upstream("a/x", 1, spoken=[pb.Spoken(paths={"chat": "/a b"})]), "not a path"),
    "a dialect's header": (
        make.upstream("a/x", 1, spoken=[pb.Spoken(headers=[pb.Header(name="x", value="a\n")])]),
        "cannot be sent",
    ),
    "a dialect's auth header": (make.upstream("a/x", 1, spoken=[pb.Spoken(auth_header="a b")]), "auth header for"),
    "defaults": (policied("a/x", parameters=pb.Parameters(defaults="[1]")), "defaults of one"),
    "overrides that are deep": (
        policied("a/x", parameters=pb.Parameters(overrides="{" + '"a":[' * 5000)),
        "overrides of one",
    ),
    "a bound": (policied("a/x", parameters=pb.Parameters(clamp=[pb.Clamp(name="n", min="1e9")])), "no number"),
    "a policy of the future": (table.resource(Name(pb.TYPE_POLICY, "a/x"), pb.Policy(lossy=9), {}), "not known"),  # type: ignore[arg-type]  # as a newer operator may say it
    "no group": (table.resource(Name(pb.TYPE_ROUTE, "a/x"), pb.Route(), {}), "no group"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_says_why(case: str) -> None:
    resource, reason = BAD[case]
    with pytest.raises(routing.UnusableError, match=reason):
        routing.decode(resource)


def test_a_body_that_is_no_protobuf_cannot_be_used() -> None:
    resource = make.key("a/x", 1)
    resource.body = b"\xff\xff\xff"
    with pytest.raises(routing.UnusableError, match="decoded"):
        routing.decode(resource)


def test_a_key_is_found_by_its_hash_with_all_that_it_says() -> None:
    resource = make.key("a/k", 1, cidrs=["10.0.0.0/8", "::1"], team="t", user="u", expires=5)
    ((digest, key),) = build(resource).snapshot.keys.items()
    assert len(digest) == 32
    assert (key.name, key.namespace, key.team, key.user, key.expires) == ("a/k", "a", "t", "u", 5)
    assert key.networks == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))


def test_names_resolve_exactly_then_folded_then_by_the_longest_glob() -> None:
    snapshot = build(
        make.route("a/one", 1, models=["GPT-4o", "gpt-*"], created=1),
        make.route("a/two", 1, models=["gpt-4o", "gpt-4*", "GPT-4o"], created=2),
        make.route("a/hidden", 1, models=["secret-model"], internal=True),
    ).snapshot
    assert {name: route.group for name, route in snapshot.exact.items()} == {"GPT-4o": "one", "gpt-4o": "two"}
    assert {name: route.group for name, route in snapshot.folded.items()} == {"gpt-4o": "one"}
    assert [(glob, route.group) for glob, route in snapshot.globs] == [("gpt-4*", "two"), ("gpt-*", "one")]
    assert "a/hidden" in snapshot.routes


@pytest.mark.parametrize(
    ("admitted", "served"),
    [
        (None, True),
        (pb.Namespaces(), False),
        (pb.Namespaces(names=["a"]), True),
        (pb.Namespaces(names=["b"]), False),
        (pb.Namespaces(all=True), True),
    ],
)
def test_a_route_has_no_upstream_that_does_not_admit_it(admitted: pb.Namespaces | None, served: bool) -> None:
    built = build(make.route("a/m", 1, "b/up"), make.upstream("b/up", 1, route_namespaces=admitted))
    assert [target.upstream is not None for target in built.snapshot.routes["a/m"].targets] == [served]


def test_consent_that_is_withdrawn_takes_the_upstream_from_a_route_that_stays() -> None:
    given_ = records([make.route("a/m", 1, "b/up"), make.upstream("b/up", 1, route_namespaces=pb.Namespaces(all=True))])
    before = routing.build(given_, "1")
    narrower = make.upstream("b/up", 2, route_namespaces=pb.Namespaces(names=["b"]))
    given_.upstreams["b/up"] = routing.decode(narrower)  # type: ignore[index]
    after = routing.build(given_, "2", previous=before, changed={Name(pb.TYPE_UPSTREAM, "b/up")})
    assert before.snapshot.routes["a/m"].targets[0].upstream is not None
    assert after.snapshot.routes["a/m"].targets[0].upstream is None


def test_in_another_case_the_name_of_the_oldest_group_is_meant() -> None:
    by_age = build(
        make.route("a/one", 1, models=["GPT-4o"], created=2), make.route("a/two", 1, models=["gpt-4o"], created=1)
    ).snapshot
    assert by_age.folded["gpt-4o"].group == "two"
    as_told = build(
        make.route("a/one", 1, models=["GPT-4o", "X-*"], exact_only=["GPT-4o", "X-*"]),
        make.route("a/two", 1, models=["gpt-4o", "x-*"]),
    ).snapshot
    assert {name: route.group for name, route in as_told.exact.items()} == {"GPT-4o": "one", "gpt-4o": "two"}
    assert {name: route.group for name, route in as_told.folded.items()} == {"gpt-4o": "two"}
    assert [(glob, route.group) for glob, route in as_told.globs] == [("x-*", "two")]


def test_accounts_are_called_directly_only_where_they_list_models() -> None:
    snapshot = build(make.upstream("a/x", 1, direct_models=["*"]), make.upstream("a/y", 1)).snapshot
    assert list(snapshot.direct) == ["x"]


def test_what_did_not_change_is_the_same_object() -> None:
    first = [make.secret("a/s", 1, "sk"), make.upstream("a/up", 1, secret="a/s"), make.route("a/m", 1, "a/up")]
    given_ = records([*first, make.key("a/k", 1)])
    before = routing.build(given_, "1")
    given_.keys["a/l"] = routing.decode(make.key("a/l", 1))  # type: ignore[index]
    after = routing.build(given_, "2", previous=before, changed={Name(pb.TYPE_KEY, "a/l")})
    assert after.snapshot.version == "2"
    assert after.snapshot.routes is before.snapshot.routes
    assert len(after.snapshot.keys) == 2
    assert len(before.snapshot.keys) == 1


def _resource(kind: str, n: int, variant: int) -> pb.Resource:
    match kind:
        case "key":
            return make.key(f"a/k{n}", 1, held_by=f"h{variant}", user=str(variant))
        case "route":
            return make.route(f"a/m{n}", 1, f"a/up{variant}", models=[f"m{n}", f"x{variant}", f"g{variant}*"])
        case "upstream":
            return make.upstream(f"a/up{n}", 1, secret=f"a/s{variant}", direct_models=["*"] * (variant % 2))
        case _:
            return make.secret(f"a/s{n}", 1, f"value-{variant}")


STEP = st.tuples(st.sampled_from(["key", "route", "upstream", "secret"]), st.integers(0, 2), st.integers(0, 3))


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(STEP, st.booleans()), min_size=1, max_size=4), max_size=8))
def test_step_by_step_gives_the_same_snapshot_as_all_at_once(
    batches: list[list[tuple[tuple[str, int, int], bool]]],
) -> None:
    held: dict[Name, pb.Resource] = {}
    stepwise = routing.NOTHING
    for batch in batches:
        changed = set()
        for step, remove in batch:
            resource = _resource(*step)
            name = make.name_of(resource)
            changed.add(name)
            if remove:
                held.pop(name, None)
            else:
                held[name] = resource
        stepwise = routing.build(records(held.values()), "v", previous=stepwise, changed=changed)
        at_once = routing.build(records(held.values()), "v")
        assert stepwise.snapshot == at_once.snapshot
        assert stepwise.problems == at_once.problems


def test_an_account_says_what_it_speaks_in_order_with_where_and_how() -> None:
    message = make.upstream(
        "a/up",
        1,
        spoken=[
            pb.Spoken(dialect="openai_chat"),
            pb.Spoken(
                dialect="anthropic_messages",
                base_url="https://up.test/anthropic",
                paths={"chat": "/v1/messages"},
                auth_header="X-Api-Key",
                headers=[pb.Header(name="Anthropic-Version", value="2023-06-01")],
            ),
        ],
        quirks=["no_stream_options"],
        beta_headers=["anthropic-beta:*"],
        pinnable=[pb.Spoken(dialect="gemini_generate")],
    )
    upstream = build(message).snapshot.upstreams["a/up"]
    assert list(upstream.spoken) == ["openai_chat", "anthropic_messages"]
    assert upstream.spoken["anthropic_messages"] == Spoken(
        "anthropic_messages",
        "https://up.test/anthropic",
        {"chat": "/v1/messages"},
        "x-api-key",
        "",
        ((b"anthropic-version", b"2023-06-01"),),
    )
    assert upstream.quirks == {"no_stream_options"}
    assert upstream.beta_headers == ("anthropic-beta:*",)
    assert upstream.pinnable == {"gemini_generate": Spoken("gemini_generate")}
    assert "gemini_generate" not in upstream.dialects


def test_an_older_operator_gives_the_names_of_the_dialects_alone() -> None:
    body = pb.Upstream(base_url="https://up.test", dialects=["b", "a"])
    upstream = build(table.resource(Name(pb.TYPE_UPSTREAM, "a/up"), body, {})).snapshot.upstreams["a/up"]
    assert list(upstream.spoken.items()) == [("b", Spoken("b")), ("a", Spoken("a"))]
    assert upstream.dialects == {"a", "b"}


def test_a_target_has_its_parameters_decoded_and_only_the_capabilities_that_are_known() -> None:
    parameters = pb.Parameters(
        defaults='{"max_tokens": 4096}',
        overrides='{"/a/b": {"c": null}}',
        drop=["logit_bias"],
        rename=[pb.Rename(name="/a", to="/b")],
        clamp=[pb.Clamp(name="temperature", max="1.0"), pb.Clamp(name="max_tokens", min="1")],
    )
    capabilities = pb.Capabilities(context_window=9, vision=False)
    resource = policied("a/m", parameters=parameters, capabilities=capabilities, dialect="anthropic_messages")
    (target,) = build(resource).snapshot.routes["a/m"].targets
    assert target.parameters is not None
    assert {name: bytes(raw) for name, raw in target.parameters.defaults.items()} == {"max_tokens": b"4096"}
    assert {name: bytes(raw) for name, raw in target.parameters.overrides.items()} == {"/a/b": b'{"c": null}'}
    assert target.parameters.drop == ("logit_bias",)
    assert target.parameters.rename == (("/a", "/b"),)
    assert target.parameters.clamp == (Clamp("temperature", None, 1.0), Clamp("max_tokens", 1, None))
    assert [type(each.min or each.max) for each in target.parameters.clamp] == [float, int]
    assert target.capabilities == Capabilities(context_window=9, vision=False)
    assert target.dialect == "anthropic_messages"


def policy(name: str, lossy: pb.Lossy.ValueType) -> pb.Resource:
    return table.resource(Name(pb.TYPE_POLICY, name), pb.Policy(lossy=lossy), {f"RoutePolicy/{name}": 1})


def test_a_route_has_its_policy_and_a_target_another_in_its_place() -> None:
    strict, lax = policy("a/strict", pb.LOSSY_REJECT), policy("a/lax", pb.LOSSY_ALLOW)
    snapshot = build(strict, lax, policied("a/m", policy="a/strict", target_policy="a/lax")).snapshot
    route = snapshot.routes["a/m"]
    assert route.policy == Policy("Reject", None, "a/strict")
    assert route.targets[0].policy == Policy("Allow", None, "a/lax")
    assert set(snapshot.policies) == {"a/strict", "a/lax"}


def test_without_a_policy_the_defaults_hold() -> None:
    for resource in (policied("a/m"), policied("a/m", policy="a/gone")):
        route = build(resource).snapshot.routes["a/m"]
        assert route.policy is DEFAULT_POLICY
        assert route.targets[0].policy is None


def test_a_changed_policy_changes_the_routes_that_name_it_and_no_other() -> None:
    given_ = records([policy("a/p", pb.LOSSY_ALLOW), policied("a/m", policy="a/p"), policied("a/n")])
    before = routing.build(given_, "1")
    changed = routing.Records(given_.routes, given_.upstreams, given_.keys, given_.secrets, dict(given_.policies))
    changed.policies["a/p"] = routing.decode(policy("a/p", pb.LOSSY_REJECT))  # type: ignore[index]
    after = routing.build(changed, "2", previous=before, changed={Name(pb.TYPE_POLICY, "a/p")})
    assert before.snapshot.routes["a/m"].policy.lossy == "Allow"
    assert after.snapshot.routes["a/m"].policy.lossy == "Reject"
    assert after.snapshot.routes["a/n"] is before.snapshot.routes["a/n"]
    again = routing.build(changed, "3", previous=after, changed={Name(pb.TYPE_POLICY, "b/q")})
    assert again.snapshot.routes["a/m"] is after.snapshot.routes["a/m"]
