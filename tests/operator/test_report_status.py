"""Statuses say exactly what the API reference says, and nothing changes that has not changed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trunkline_operator.compile.result import Finding, KeyFinding, Verdict
from trunkline_operator.report.status import (
    KeyHealth,
    Rollout,
    Subject,
    Waits,
    differs,
    merge_patch,
    next_instant,
    status,
)
from trunkline_operator.report.transitions import transitions
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
SETTLED = Waits(60.0, 60.0)
FRESH = Waits(0.1, 0.1)
GOOD = Verdict(
    accepted=Finding(True, "Accepted", "It is valid."),
    resolved_refs=Finding(True, "ResolvedRefs", "Everything it names exists."),
    programs=(Name(pb.TYPE_ROUTE, "team-a/gpt-4o"),),
    display={"models": "1", "targets": "1/1", "policy": "default"},
    models=("gpt-4o",),
)
INVALID = replace(GOOD, accepted=Finding(False, "Invalid", "spec.targets: Required value"), held=True)
SERVED = Rollout(gateways=2)


def build(verdict=GOOD, rollout=SERVED, *, there=None, waits=SETTLED, now=NOW, generation=3, kind="ModelGroup", **more):
    subject = Subject(kind=kind, generation=generation, status=there or {})
    return status(subject, verdict, rollout, now=now, waits=waits, **more)


def condition(built, kind):
    return next((each for each in built["conditions"] if each["type"] == kind), None)


def programmed(*args, **kwargs):
    found = condition(build(*args, **kwargs), "Programmed")
    return found and (found["status"], found["reason"])


def test_all_is_well():
    built = build()
    assert [(each["type"], each["status"], each["reason"]) for each in built["conditions"]] == [
        ("Accepted", "True", "Accepted"),
        ("ResolvedRefs", "True", "ResolvedRefs"),
        ("Programmed", "True", "Programmed"),
    ]
    assert {each["observedGeneration"] for each in built["conditions"]} == {3}
    assert built["observedGeneration"] == 3
    assert built["models"] == ["gpt-4o"]
    assert built["display"] == {"models": "1", "targets": "1/1", "policy": "default"}


@pytest.mark.parametrize(
    ("verdict", "rollout", "expected"),
    [
        (GOOD, Rollout(), ("Unknown", "NoGateways")),
        (GOOD, Rollout(gateways=3, behind=("gw-2",)), ("False", "Pending")),
        (GOOD, Rollout(gateways=3, behind=("gw-2",), rejected=(("gw-1", "no"),)), ("False", "Rejected")),
        (INVALID, replace(SERVED, kept=True), ("False", "ServingPreviousVersion")),
        (INVALID, replace(SERVED, kept=False), ("False", "NotAccepted")),
        (replace(INVALID, held=False, programs=()), SERVED, ("False", "NotAccepted")),
        (replace(GOOD, programs=()), SERVED, ("False", "NotAccepted")),
    ],
)
def test_reasons_of_programmed(verdict, rollout, expected):
    assert programmed(verdict, rollout) == expected


def test_counts_and_names_stand_in_the_message_only_while_something_is_missing():
    missing = condition(build(GOOD, Rollout(gateways=3, behind=("gw-2",))), "Programmed")
    assert missing["message"] == "2 of 3 gateways serve this version; missing: gw-2."
    many = condition(build(GOOD, Rollout(gateways=9, behind=tuple(f"gw-{n}" for n in range(9)))), "Programmed")
    assert many["message"] == "0 of 9 gateways serve this version; missing: gw-0, gw-1, gw-2 and 6 more."
    two, fifty = (build(GOOD, Rollout(gateways=count)) for count in (2, 50))
    assert two == fifty


def test_a_refusal_names_the_gateway_and_why():
    refused = condition(build(GOOD, Rollout(gateways=2, rejected=(("gw-1", "needs a newer gateway"),))), "Programmed")
    assert "gw-1: needs a newer gateway" in refused["message"]


def test_pending_is_not_written_in_the_first_two_seconds():
    on_its_way = Rollout(gateways=2, behind=("gw-1",))
    assert programmed(GOOD, on_its_way, waits=Waits(1.9, 0)) is None
    served = build(generation=2)
    kept = condition(build(GOOD, on_its_way, waits=Waits(1.9, 0), there=served), "Programmed")
    assert (kept["status"], kept["observedGeneration"]) == ("True", 2)
    assert programmed(GOOD, on_its_way, waits=Waits(2.1, 0), there=served) == ("False", "Pending")


def test_no_gateways_waits_for_those_that_reconnect_after_a_restart():
    served = build()
    nobody = Rollout()
    assert programmed(GOOD, nobody, waits=Waits(3, 3), there=served) == ("True", "Programmed")
    assert programmed(GOOD, nobody, waits=Waits(11, 11), there=served) == ("Unknown", "NoGateways")
    assert programmed(GOOD, nobody, waits=Waits(5, 5)) == ("Unknown", "NoGateways")
    assert programmed(GOOD, nobody, waits=Waits(1, 5)) is None


def test_a_restarted_operator_believes_the_status_that_gateways_have_an_older_version():
    unknown = replace(SERVED, kept=None)
    assert programmed(INVALID, unknown, there=build(generation=2)) == ("False", "ServingPreviousVersion")
    assert programmed(INVALID, unknown) == ("False", "NotAccepted")
    held = build(INVALID, replace(SERVED, kept=True))
    assert programmed(INVALID, unknown, there=held) == ("False", "ServingPreviousVersion")


def test_a_key_expires_by_the_clock():
    key = replace(GOOD, expires=int(LATER.timestamp()))
    assert condition(build(key), "Accepted")["status"] == "True"
    assert next_instant(key, NOW) == LATER.timestamp()
    expired = build(key, now=LATER)
    assert condition(expired, "Accepted")["reason"] == "Expired"
    assert condition(expired, "Programmed")["reason"] == "NotAccepted"
    assert next_instant(key, LATER) is None


def test_the_transition_time_moves_only_when_the_status_flips():
    first = build()
    again = build(there=first, now=LATER, generation=4)
    assert condition(again, "Accepted")["lastTransitionTime"] == "2026-05-01T12:00:00Z"
    flipped = build(INVALID, there=first, now=LATER)
    assert condition(flipped, "Accepted")["lastTransitionTime"] == "2026-05-01T12:05:00Z"
    assert condition(flipped, "ResolvedRefs")["lastTransitionTime"] == "2026-05-01T12:00:00Z"


def test_only_a_difference_is_written():
    first = build()
    moved = {**first, "conditions": [{**each, "lastTransitionTime": "x"} for each in first["conditions"]]}
    assert not differs(first, moved)
    assert differs(build(generation=4), first)
    assert differs(first, {})
    assert differs(first, {**first, "surplus": "of another version"})


def test_a_patch_removes_what_is_not_wanted():
    there = {"a": 1, "display": {"x": "1", "y": "2"}, "old": []}
    wanted = {"a": 1, "display": {"x": "3"}}
    assert merge_patch(wanted, there) == {"a": 1, "display": {"x": "3", "y": None}, "old": None}


def test_the_state_of_a_key_is_the_worst_that_is_known():
    verdict = replace(
        GOOD,
        display={},
        keys=(
            KeyFinding(name="a", state="Active"),
            KeyFinding(name="b", state="Active", expires=int(NOW.timestamp())),
            KeyFinding(name="c", state="Missing", reason="There is no Secret c."),
            KeyFinding(name="d", state="Active"),
            KeyFinding(name="e", state="Disabled"),
        ),
    )
    health = {
        "a": KeyHealth("Active"),
        "c": KeyHealth("Rejected", "401"),
        "d": KeyHealth("CoolingDown", "429", int(LATER.timestamp())),
    }
    built = build(verdict, kind="ProviderCredential", health=health)
    assert [key["state"] for key in built["keys"]] == ["Active", "Expired", "Missing", "CoolingDown", "Disabled"]
    assert built["keys"][3] == {"name": "d", "state": "CoolingDown", "reason": "429", "until": "2026-05-01T12:05:00Z"}
    assert built["display"]["keys"] == "1/5"


def test_long_texts_are_cut_to_the_bounds_of_the_schema():
    wordy = replace(GOOD, accepted=Finding(False, "Invalid", "x" * 5000))
    assert len(condition(build(wordy), "Accepted")["message"]) == 1024


def test_events_tell_of_transitions_only():
    fine, broken = build(), build(INVALID, replace(SERVED, kept=True))
    assert transitions({}, fine) == ()
    assert transitions(fine, fine) == ()
    told = transitions(fine, broken)
    assert [(each.type, each.reason) for each in told] == [("Warning", "Invalid")]
    assert transitions(broken, broken) == ()
    recovered = transitions(broken, fine)
    assert {each.type for each in recovered} == {"Normal"}
    assert "Accepted" in {each.reason for each in recovered}
    pending = build(GOOD, Rollout(gateways=1, behind=("gw-1",)))
    assert transitions(fine, pending) == transitions(pending, fine) == ()
    refused = build(GOOD, Rollout(gateways=1, rejected=(("gw-1", "no"),)))
    assert [each.reason for each in transitions(fine, refused)] == ["Rejected"]


def test_the_policy_of_a_group_is_said_and_taken_back():
    there = build(replace(GOOD, policy="strict", display={"policy": "strict"}))
    assert there["effectivePolicy"] == "strict"
    assert there["display"]["policy"] == "strict"
    wanted = build(there=there)
    assert "effectivePolicy" not in wanted
    assert merge_patch(wanted, there)["effectivePolicy"] is None


def test_a_policy_shows_what_it_is_for():
    built = build(replace(GOOD, models=(), display={"applies": "default", "groups": "2"}), kind="RoutePolicy")
    assert built["display"] == {"applies": "default", "groups": "2"}
    assert "models" not in built
