"""In which order targets are tried, and with which keys."""

import dataclasses
import random
from collections import Counter

import pytest

from gateway import fakes
from gateway.fakes import target, upstream, upstream_key
from trunkline_gateway.dialect import Capabilities
from trunkline_gateway.exchange import Operation
from trunkline_gateway.routing import plan as planning
from trunkline_gateway.routing.health import Health
from trunkline_gateway.routing.plan import Plan
from trunkline_gateway.routing.resolve import Resolved

NOW = 1000.0


def new_health() -> Health:
    return Health(clock=lambda: NOW, wall=lambda: fakes.WALL_SECONDS)


def planned(
    *targets: fakes.Target,
    health: Health | None = None,
    chance: planning.Chance = fakes.in_order,
    operation: Operation = "chat",
) -> Plan:
    dialect = "openai_chat" if operation == "chat" else "openai_embeddings"
    resolved = Resolved("platform/g", "g", targets, "g")
    return planning.plan(resolved, operation, dialect, health or new_health(), chance)


def names(order: Plan) -> list[str]:
    return [candidate.target.name for candidate in order.candidates]


def fail(health: Health, order: Plan, name: str, *, status: int = 500, key: int = 0) -> None:
    candidate = next(each for each in order.candidates if each.target.name == name)
    ticket = health.begin(candidate.name, candidate.upstream, candidate.keys[key])
    assert ticket is not None
    with ticket:
        if status in (401, 402, 403, 429):
            ticket.key_failed(status)
        else:
            ticket.target_failed(status)


def test_a_lower_priority_comes_first_whatever_its_weight() -> None:
    order = planned(target("b", priority=1, weight=1000), target("a", priority=0), target("c", priority=7))
    assert names(order) == ["a", "b", "c"]


def test_weight_zero_takes_no_part_not_even_at_last() -> None:
    assert names(planned(target("a", weight=0), target("b"))) == ["b"]
    assert names(planned(target("a", weight=0))) == []


# Twenty thousand draws: the standard deviation of a share is below 0.36 %, the bound is over five of them.
DRAWS, BOUND = 20_000, 0.02


def test_shares_within_a_priority_follow_the_weights() -> None:
    weights = {"a": 6, "b": 3, "c": 1}
    targets = [target(name, weight=weight) for name, weight in weights.items()]
    rng = random.Random(7)
    orders = [names(planned(*targets, chance=rng.random)) for _ in range(DRAWS)]
    first = Counter(order[0] for order in orders)
    for name, weight in weights.items():
        assert first[name] / DRAWS == pytest.approx(weight / 10, abs=BOUND)
    # Without replacement: what follows "a" is shared 3 to 1.
    second = Counter(order[1] for order in orders if order[0] == "a")
    assert second["b"] / (second["b"] + second["c"]) == pytest.approx(0.75, abs=BOUND)
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_shares_of_keys_follow_their_weights() -> None:
    account = upstream("main", upstream_key("one", weight=2), upstream_key("two", weight=1))
    rng = random.Random(11)
    first = Counter(planned(target("t", account), chance=rng.random).candidates[0].keys[0].name for _ in range(DRAWS))
    assert first["one"] / DRAWS == pytest.approx(2 / 3, abs=BOUND)


def test_extreme_weights_and_chances_are_no_trouble() -> None:
    targets = target("a", weight=1_000_000), target("b", weight=1)
    for chance in (0.0, 1.0 - 2**-53):
        assert sorted(names(planned(*targets, chance=lambda value=chance: value))) == ["a", "b"]


def test_what_cools_comes_after_all_that_is_healthy_the_soonest_first() -> None:
    health = new_health()
    targets = target("a"), target("b"), target("c", priority=5)
    order = planned(*targets, health=health)
    fail(health, order, "a")
    fail(health, order, "b")
    health._targets[order.candidates[0].name].until += 100
    assert names(planned(*targets, health=health)) == ["c", "b", "a"]


def test_a_target_on_trial_stands_back_for_others() -> None:
    health = new_health()
    targets = target("a"), target("b", priority=1)
    order = planned(*targets, health=health)
    fail(health, order, "a")
    health._targets[order.candidates[0].name].until = NOW
    assert names(planned(*targets, health=health)) == ["a", "b"]
    trial = health.begin(order.candidates[0].name, order.candidates[0].upstream, order.candidates[0].keys[0])
    assert trial is not None
    with trial:
        assert names(planned(*targets, health=health)) == ["b", "a"]


@pytest.mark.parametrize(("status", "rejected", "soonest"), [(429, False, NOW + 5), (401, True, None)])
def test_keys_that_cool_or_were_refused_are_not_tried(status: int, rejected: bool, soonest: float | None) -> None:
    health = new_health()
    account = upstream("main", upstream_key("one"), upstream_key("two"))
    order = planned(target("t", account), health=health)
    assert [key.name for key in order.candidates[0].keys] == ["one", "two"]
    fail(health, order, "t", status=status)
    order = planned(target("t", account), health=health)
    assert [key.name for key in order.candidates[0].keys] == ["two"]
    assert (order.rejected, order.soonest) == (rejected, soonest)
    fail(health, order, "t", status=status)
    assert planned(target("t", account), health=health).candidates == ()


def test_a_key_on_trial_comes_last() -> None:
    health = new_health()
    account = upstream("main", upstream_key("one"), upstream_key("two"))
    order = planned(target("t", account), health=health)
    fail(health, order, "t", status=429)
    next(iter(health._keys.values())).until = NOW
    candidate = order.candidates[0]
    trial = health.begin(candidate.name, candidate.upstream, candidate.keys[0])
    assert trial is not None
    with trial:
        order = planned(target("t", account), health=health)
        assert [key.name for key in order.candidates[0].keys] == ["two", "one"]


def test_an_expired_key_is_not_tried() -> None:
    past, future = int(fakes.WALL_SECONDS), int(fakes.WALL_SECONDS) + 1
    account = upstream("main", upstream_key("old", expires=past), upstream_key("new", expires=future))
    assert [key.name for key in planned(target("t", account)).candidates[0].keys] == ["new"]


def test_only_targets_that_speak_the_dialect_are_tried() -> None:
    chat_only = upstream("chat", dialects=frozenset({"openai_chat"}))
    targets = target("chat", chat_only), target("both")
    assert names(planned(*targets, operation="embeddings")) == ["both"]
    assert planned(target("chat", chat_only), operation="embeddings").spoken is False


@pytest.mark.parametrize(
    ("made", "after", "keys"), [(0, 0, 16), (0, 3, 13), (0, 63, 8), (10, 3, 3), (15, 3, 1), (16, 0, 0)]
)
def test_attempts_are_shared_out(made: int, after: int, keys: int) -> None:
    assert planning.keys_left(made, after) == keys


@pytest.mark.parametrize(
    ("model", "name", "most"),
    [("*", "claude-sonnet-4-5", 64_000), ("claude-*", "haiku-4-5", 64_000), ("*", "claude-of-tomorrow", None)],
)
def test_of_a_model_behind_a_glob_is_known_what_is_known_of_its_name(model: str, name: str, most: int | None) -> None:
    """Direct models and groups of globs: the operator cannot tell which model it will be."""
    account = upstream("a", provider="anthropic")
    resolved = Resolved("platform/g", "g", (target("a", account, model=model),), name)
    (candidate,) = planning.line_up(resolved, "chat", "openai_chat").candidates
    assert candidate.written_for.capabilities.max_output_tokens == most


def test_what_a_target_says_of_its_models_goes_before_what_is_known() -> None:
    said = dataclasses.replace(
        target("a", upstream("a", provider="anthropic"), model="*"), capabilities=Capabilities(max_output_tokens=5)
    )
    resolved = Resolved("platform/g", "g", (said,), "claude-sonnet-4-5")
    (candidate,) = planning.line_up(resolved, "chat", "openai_chat").candidates
    capabilities = candidate.written_for.capabilities
    assert (capabilities.max_output_tokens, capabilities.vision) == (5, True)
