"""Which name is meant, and for whom."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import fakes
from gateway.fakes import key, route, snapshot, target, upstream
from trunkline_gateway.errors import ModelNotFoundError
from trunkline_gateway.routing import resolve as resolving
from trunkline_gateway.routing.resolve import resolve
from trunkline_gateway.routing.snapshot import Namespaces

TEAM_A = Namespaces(False, frozenset({"team-a"}))
DIRECT = upstream("main", direct_models=("gpt-*", "Qwen/*"), direct_namespaces=TEAM_A)
TABLE = snapshot(
    route("gpt-4o", target("t", DIRECT, model="up"), models=("gpt-4o", "GPT-4o-Latest", "gpt-4o-2024-*")),
    route("any-gpt", target("t", DIRECT, model="*"), models=("gpt-*",)),
    route("llama", target("t", DIRECT, model="meta/*-instruct"), models=("llama3:8b", "team/*")),
    route("inner", target("t", DIRECT), models=("inner",), internal=True),
    route("vip", target("t", DIRECT), models=("vip",), groups=frozenset({"vip"})),
    route("near", target("t", DIRECT), models=("near",), namespaces=Namespaces(False, frozenset({"platform"}))),
)


def model_of(name: str, caller: fakes.Key | None = None) -> tuple[str, str]:
    resolved = resolve(TABLE, caller or key("*", "main:*"), name)
    return resolved.group, resolved.model_of(resolved.targets[0])


@pytest.mark.parametrize(
    ("name", "group", "model"),
    [
        ("gpt-4o", "gpt-4o", "up"),
        ("GPT-4O", "gpt-4o", "up"),
        ("gpt-4o-latest", "gpt-4o", "up"),
        ("gpt-4o-2024-08-06", "gpt-4o", "up"),
        ("gpt-4o-mini", "any-gpt", "4o-mini"),
        ("GPT-4o-Mini", "any-gpt", "4o-Mini"),
        ("gpt-", "any-gpt", ""),
        ("llama3:8b", "llama", "meta/llama3:8b-instruct"),
        ("LLAMA3:8B", "llama", "meta/llama3:8b-instruct"),
        ("team/a/B", "llama", "meta/a/B-instruct"),
        ("main:gpt-4o", "", "gpt-4o"),
        ("Main:GPT-4o", "", "GPT-4o"),
        ("main:qwen/Qwen3:8b", "", "qwen/Qwen3:8b"),
        ("main:gpt-*", "", "gpt-*"),
    ],
)
def test_exact_then_any_case_then_the_longest_glob_then_a_credential(name: str, group: str, model: str) -> None:
    assert model_of(name) == (group, model)


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (key("*", "main:*"), "unknown"),
        (key("*", "main:*"), "inner"),
        (key("*", "main:*"), "vip"),
        (key("*", "main:*"), "near"),
        (key("claude*"), "gpt-4o"),
        (key("gpt-4o"), "gpt-4o-latest"),
        (key("*"), "main:gpt-4o"),
        (key("*:*"), "main:gpt-4o"),
        (key("mai*"), "main:gpt-4o"),
        (key("main:gpt-3*"), "main:gpt-4o"),
        (key("main:*", namespace="team-b"), "main:gpt-4o"),
        (key("main:*"), "main:claude"),
        (key("*", "other:*"), "other:gpt-4o"),
        (key("*", "main:*"), "main:"),
        (key("*", "main:*"), ":gpt-4o"),
    ],
)
def test_what_does_not_exist_and_what_is_not_for_this_key_cannot_be_told_apart(caller: fakes.Key, name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        resolve(TABLE, caller, name)
    nowhere = ModelNotFoundError(name)
    for attribute in ("message", "status", "type", "code", "param"):
        assert getattr(caught.value, attribute) == getattr(nowhere, attribute)


@pytest.mark.parametrize(
    ("patterns", "name"),
    [
        (("GPT-4O*",), "gpt-4o-mini"),
        (("gpt-4o",), "GPT-4o"),
        (("*-mini",), "gpt-4o-mini"),
        (("main:GPT*",), "main:gpt-4o"),
    ],
)
def test_a_keys_patterns_ignore_case(patterns: tuple[str, ...], name: str) -> None:
    model_of(name, key(*patterns))


def test_a_key_is_let_in_by_an_entry_that_fits_its_group_and_its_namespace() -> None:
    assert model_of("vip", key("*", groups=frozenset({"vip"})))[0] == "vip"
    assert model_of("near", key("*", namespace="platform"))[0] == "near"


def test_a_name_whose_lower_case_is_longer_still_resolves() -> None:
    table = snapshot(route("g", target("t", DIRECT, model="*"), models=("x-*",)))
    resolved = resolve(table, key("*"), "X-İ")
    assert resolved.model_of(resolved.targets[0]) == "i̇"


@pytest.mark.parametrize(
    ("pattern", "name", "captured"),
    [
        ("a", "a", "a"),
        ("a", "b", None),
        ("*", "", ""),
        ("*", "x", "x"),
        ("a*", "a", ""),
        ("a*c", "abc", "b"),
        ("a*a", "a", None),
        ("ab*bc", "abc", None),
        ("a*b*c", "aXbYc", "X"),
        ("a*b*c", "abc", ""),
        ("*b*", "abc", "a"),
        ("**", "x", ""),
        ("a*b*b", "ab", None),
    ],
)
def test_a_glob_matches_with_its_stars_only(pattern: str, name: str, captured: str | None) -> None:
    assert resolving.match(pattern, name) == captured


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_glob_matches_what_a_naive_matcher_does(pattern: str, name: str) -> None:
    def naive(rest: str, text: str) -> bool:
        if not rest:
            return not text
        if rest[0] == "*":
            return any(naive(rest[1:], text[start:]) for start in range(len(text) + 1))
        return bool(text) and rest[0] == text[0] and naive(rest[1:], text[1:])

    assert (resolving.match(pattern, name) is not None) == naive(pattern, name)


def test_a_hostile_glob_is_no_slower() -> None:
    begun = time.perf_counter()
    assert resolving.match("*a" * 100 + "b", "a" * 253) is None
    assert time.perf_counter() - begun < 0.1


def test_among_a_thousand_groups_a_name_is_found_quickly() -> None:
    table = snapshot(
        *[route(f"g{each}", target("t", DIRECT), models=(f"g{each}", f"g{each}-*")) for each in range(1000)]
    )
    caller = key("*")
    begun = time.perf_counter()
    for _ in range(1000):
        resolve(table, caller, "g999")
    assert time.perf_counter() - begun < 0.5
