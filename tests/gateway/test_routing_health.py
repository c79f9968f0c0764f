"""Cooling down, being refused, being tried again."""

import pytest

from gateway import fakes
from gateway.fakes import route, snapshot, target, upstream, upstream_key
from trunkline_gateway.routing.health import Health, TargetName, Ticket
from trunkline_protocol.v1 import routing_pb2 as pb

ONE, TWO = upstream_key("one"), upstream_key("two")
ACCOUNT = upstream("main", ONE, TWO)
TARGET = TargetName("platform/gpt-4o", "first", "platform/main")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock=clock, wall=lambda: 1_700_000_000.0 + clock.now)


def begin(health: Health, key: fakes.UpstreamKey = ONE) -> Ticket:
    ticket = health.begin(TARGET, ACCOUNT, key)
    assert ticket is not None
    return ticket


def fail_target(health: Health) -> None:
    with begin(health) as ticket:
        ticket.target_failed(500)


def fail_key(health: Health, status: int, retry_after: float | None = None) -> None:
    with begin(health) as ticket:
        ticket.key_failed(status, retry_after)


def succeed(health: Health) -> None:
    with begin(health) as ticket:
        ticket.succeeded()


def test_a_target_cools_for_five_seconds_doubling_to_five_minutes(health: Health, clock: Clock) -> None:
    waits = []
    for _ in range(9):
        fail_target(health)
        until = health.target_until(TARGET)
        assert until is not None
        waits.append(until - clock.now)
        clock.now = until
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    succeed(health)
    fail_target(health)
    assert health.target_until(TARGET) == clock.now + 5


def test_failures_of_one_incident_are_one_step(health: Health, clock: Clock) -> None:
    tickets = [begin(health) for _ in range(5)]
    for ticket in tickets:
        with ticket:
            ticket.target_failed(500)
    assert health.target_until(TARGET) == clock.now + 5


def test_a_target_out_of_cooldown_gets_one_request_at_a_time_until_one_succeeds(health: Health, clock: Clock) -> None:
    fail_target(health)
    clock.now += 5
    assert health.target_until(TARGET) is None
    with begin(health):
        assert health.target_until(TARGET) == clock.now
    assert health.target_until(TARGET) is None  # nothing was found out
    with begin(health) as ticket:
        ticket.succeeded()
    with begin(health):
        assert health.target_until(TARGET) is None


def test_a_success_begun_before_a_failure_does_not_take_it_back(health: Health, clock: Clock) -> None:
    with begin(health) as early:
        fail_target(health)
        fail_key(health, 429, 60)
        early.succeeded()
    assert health.target_until(TARGET) is not None
    assert health.key_state(ACCOUNT, ONE) == "cooling"


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 5), (30, 30), (0.2, 1), (0, 1), (-5, 1), (86_400, 3600)])
def test_a_429_cools_the_key_as_long_as_it_says_within_reason(
    health: Health, clock: Clock, retry_after: float | None, seconds: float
) -> None:
    fail_key(health, 429, retry_after)
    assert health.key_state(ACCOUNT, ONE) == "cooling"
    assert health.key_until(ACCOUNT, ONE) == clock.now + seconds
    assert health.begin(TARGET, ACCOUNT, ONE) is None
    assert health.key_state(ACCOUNT, TWO) == "active"
    assert health.target_until(TARGET) is None
    clock.now += seconds
    assert health.key_state(ACCOUNT, ONE) == "active"


def test_a_429_without_a_hint_doubles_until_a_success(health: Health, clock: Clock) -> None:
    waits = []
    for _ in range(8):
        fail_key(health, 429)
        waits.append(health.key_until(ACCOUNT, ONE) - clock.now)
        clock.now = health.key_until(ACCOUNT, ONE)
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300]
    succeed(health)
    fail_key(health, 429)
    assert health.key_until(ACCOUNT, ONE) == clock.now + 5


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refused_key_is_probed_at_most_once_in_five_minutes(health: Health, clock: Clock, status: int) -> None:
    fail_key(health, status)
    probes = 0
    for _ in range(1000):
        clock.now += 3
        ticket = health.begin(TARGET, ACCOUNT, ONE)
        if ticket is not None:
            probes += 1
            with ticket:
                ticket.key_failed(status)
    assert probes == 3000 // 300
    clock.now += 300
    with begin(health) as ticket:
        assert health.begin(TARGET, ACCOUNT, ONE) is None  # the probe is under way
        ticket.succeeded()
    assert health.key_state(ACCOUNT, ONE) == "active"


def test_a_probe_that_finds_nothing_out_is_a_probe(health: Health, clock: Clock) -> None:
    fail_key(health, 401)
    clock.now += 300
    with begin(health):
        pass
    assert health.key_state(ACCOUNT, ONE) == "rejected"
    assert health.begin(TARGET, ACCOUNT, ONE) is None


def test_a_refused_key_that_is_accepted_but_busy_only_cools(health: Health, clock: Clock) -> None:
    fail_key(health, 401)
    clock.now += 300
    fail_key(health, 429, 10)
    assert health.key_state(ACCOUNT, ONE) == "cooling"
    assert health.key_until(ACCOUNT, ONE) == clock.now + 10


def test_a_rotated_secret_starts_clean(health: Health) -> None:
    fail_key(health, 401)
    rotated = upstream("main", upstream_key("one", value="sk-another-one"), TWO)
    assert health.key_state(rotated, rotated.keys[0]) == "active"
    assert health.key_state(ACCOUNT, ONE) == "rejected"
    health.prune(snapshot(route("gpt-4o", target("first", rotated))))
    assert health.report() == []


def test_a_late_answer_to_a_rotated_key_says_nothing_of_the_new_one(health: Health) -> None:
    rotated = upstream("main", upstream_key("one", value="sk-another-one"), TWO)
    with begin(health) as ticket:
        health.prune(snapshot(route("gpt-4o", target("first", rotated))))
        ticket.key_failed(401)
    assert health.report() == []
    assert health.key_state(rotated, rotated.keys[0]) == "active"


def test_what_is_known_survives_swaps_and_goes_with_what_it_is_about(health: Health) -> None:
    fail_key(health, 401)
    with begin(health, TWO) as ticket:
        ticket.target_failed(500)
    same = upstream("main", ONE, TWO)  # equal, another object
    health.prune(snapshot(route("gpt-4o", target("first", same, model="changed"))))
    assert health.key_state(same, same.keys[0]) == "rejected"
    assert health.target_until(TARGET) is not None
    health.prune(snapshot(route("gpt-4o", target("renamed", same))))
    assert health.target_until(TARGET) is None
    assert health.key_state(same, same.keys[0]) == "rejected"
    health.prune(snapshot())
    assert health.key_state(same, same.keys[0]) == "active"


def test_the_report_names_every_key_that_is_not_active(health: Health, clock: Clock) -> None:
    fail_key(health, 403)
    with begin(health, TWO) as ticket:
        ticket.key_failed(429, 60)
    assert health.report() == [
        pb.KeyHealth(
            upstream="platform/main",
            key="one",
            state=pb.HEALTH_STATE_REJECTED,
            reason="the provider forbids the key (403)",
            until=1_700_000_400,
        ),
        pb.KeyHealth(
            upstream="platform/main",
            key="two",
            state=pb.HEALTH_STATE_COOLING_DOWN,
            reason="rate limited (429)",
            until=1_700_000_160,
        ),
    ]
    clock.now += 60
    assert [each.key for each in health.report()] == ["one"]
    before = health.report()
    clock.now += 500.7  # the probe is due: nothing to report until it was made
    assert health.report() == before


def test_nothing_is_kept_of_what_is_well(health: Health) -> None:
    for _ in range(10):
        succeed(health)
    assert not health._keys
    assert not health._targets


@pytest.mark.parametrize("status", [401, 429])
def test_an_account_without_a_key_is_not_blamed_for_one_model(health: Health, status: int) -> None:
    nobody = fakes.UpstreamKey(name="", weight=1, expires=0, auth_header=None)
    keyless = upstream("main", nobody)
    ticket = health.begin(TARGET, keyless, nobody)
    assert ticket is not None
    with ticket:
        ticket.key_failed(status, 30)
    assert health.key_state(keyless, nobody) == "active"
    assert health.target_until(TARGET) is not None
    assert health.report() == []
