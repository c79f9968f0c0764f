"""What a target's parameters change, in bodies and in the exchange."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_gateway import envelope, exchange, registry
from trunkline_gateway.routing import parameters
from trunkline_gateway.routing.snapshot import Clamp, Parameters

PLACES = {"max_tokens": "/max_tokens", "temperature": "/temperature", "top_p": "/top_p"}


def raws(**values: object) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def sent(body: dict[str, object], dialect: str = "anthropic_messages") -> envelope.Request:
    return envelope.parse(json.dumps(body).encode(), "chat", dialect, registry.INGRESS[dialect, "chat"].read_envelope)


def changed(body: dict[str, object], change: Parameters, dialect: str = "anthropic_messages") -> dict[str, object]:
    request = parameters.passed_on(sent(body, dialect), change, PLACES)
    assert json.loads(request.body) == {name: json.loads(bytes(raw)) for name, raw in request.fields.items()}
    value = json.loads(request.body)
    assert isinstance(value, dict)
    return value


def test_defaults_fill_what_is_missing_and_overrides_replace() -> None:
    change = Parameters(defaults=raws(max_tokens=10, temperature=0.5), overrides=raws(top_p=0.9))
    body: dict[str, object] = {"model": "m", "max_tokens": 5, "temperature": None, "top_p": 0.1}
    assert changed(body, change) == {"model": "m", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9}


def test_numbers_are_clamped_and_others_left_alone() -> None:
    change = Parameters(clamp=(Clamp("temperature", None, 1), Clamp("max_tokens", 16, None)))
    assert changed({"model": "m", "temperature": 1.7, "max_tokens": 3}, change) == {
        "model": "m",
        "temperature": 1,
        "max_tokens": 16,
    }
    body: dict[str, object] = {"model": "m", "temperature": "hot"}
    assert changed(body, change) == body


def test_pointers_reach_into_the_body() -> None:
    change = Parameters(
        defaults={"/a/b/c": msgspec.Raw(b"1")},
        overrides={"/list/0/x": msgspec.Raw(b'"new"'), "/list/-": msgspec.Raw(b"{}")},
        drop=("/metadata/internal", "/gone", "/list/1"),
        rename=(("/old", "/new~1name"),),
    )
    body: dict[str, object] = {
        "model": "m", "old": [1], "metadata": {"internal": 1, "kept": 2}, "list": [{"x": "old"}, {"y": 1}],
    }  # fmt: skip
    assert changed(body, change) == {
        "model": "m", "new/name": [1], "metadata": {"kept": 2}, "list": [{"x": "new"}, {}], "a": {"b": {"c": 1}},
    }  # fmt: skip


def test_members_that_are_not_touched_keep_their_bytes() -> None:
    body = b'{"model": "m",  "messages" : [ {"role":"user", "content":"\\u00e9 1.0e0"} ], "temperature": 2.50}'
    request = envelope.parse(body, "chat", "openai_chat", registry.INGRESS["openai_chat", "chat"].read_envelope)
    after = parameters.passed_on(request, Parameters(drop=("seed",), overrides=raws(top_p=1)), {})
    assert b'[ {"role":"user", "content":"\\u00e9 1.0e0"} ]' in after.body
    assert b"2.50" in after.body


def test_a_request_that_nothing_changes_is_the_same() -> None:
    request = sent({"model": "m", "max_tokens": 5})
    assert parameters.passed_on(request, Parameters(drop=("seed",), defaults=raws(max_tokens=7)), PLACES) is request


@pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens"])
def test_the_length_of_a_chat_answer_is_found_under_either_name(given: str) -> None:
    change = Parameters(clamp=(Clamp("max_tokens", None, 100),), defaults=raws(max_tokens=50))
    assert changed({"model": "m", given: 4000}, change, "openai_chat") == {"model": "m", given: 100}


def test_in_the_exchange_names_are_changed_whatever_the_dialects() -> None:
    request = exchange.ChatRequest(model="m", turns=(), parameters=exchange.Parameters(temperature=1.5, seed=3))
    change = Parameters(
        defaults=raws(max_tokens=4096, temperature=0.1, stop="END"),
        overrides=raws(reasoning_effort="low", response_format={"type": "json_object"}),
        clamp=(Clamp("temperature", None, 1),),
        drop=("seed", "/metadata/internal"),
    )
    after = parameters.neutral(request, change)
    assert isinstance(after, exchange.ChatRequest)
    said = after.parameters
    assert (said.max_tokens, said.temperature, said.seed, said.stop) == (4096, 1, None, ("END",))
    assert said.reasoning_effort == exchange.ReasoningEffort(effort="low")
    assert said.response_format == exchange.JsonObject()


def test_bytes_are_passed_on_only_where_all_names_have_a_place() -> None:
    change = Parameters(overrides=raws(reasoning_effort="low"))
    assert not parameters.stand_in_body(change, "anthropic_messages", PLACES)
    assert parameters.stand_in_body(change, "openai_chat", {})
    assert parameters.stand_in_body(Parameters(drop=("/x", "top_p")), "anthropic_messages", PLACES)


def test_pointers_change_what_was_written_for_an_upstream_and_names_do_not() -> None:
    change = Parameters(defaults=raws(temperature=1), overrides={"/extra": msgspec.Raw(b"true")})
    assert json.loads(parameters.pointed(b'{"model":"m"}', change, PLACES)) == {"model": "m", "extra": True}
    only_names = Parameters(defaults=raws(temperature=1))
    assert parameters.pointed(b'{"model" : "m"}', only_names, PLACES) == b'{"model" : "m"}'


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc/~0"), inner, max_size=3),
    max_leaves=8,
)
pointers = st.lists(st.sampled_from(["a", "b", "c", "0", "1", "-", "~1", "~0"]), min_size=1, max_size=4).map(
    lambda tokens: "/" + "/".join(tokens)
)


@given(st.dictionaries(st.sampled_from("abc"), json_values), pointers, json_values)
def test_any_pointer_into_any_body_is_harmless_and_what_was_set_is_there(
    body: dict[str, object], pointer: str, value: object
) -> None:
    change = Parameters(overrides={pointer: msgspec.Raw(json.dumps(value).encode())})
    after = changed({"model": "m", **body}, change)
    again = changed(after, change)
    if not pointer.endswith("-"):
        assert again == after
    changed(after, Parameters(drop=(pointer,)))


def test_what_a_dialect_has_no_word_for_does_not_keep_bytes_from_passing() -> None:
    """As in a target of Claude's whose ``drop`` names what OpenAI's clients send."""
    change = Parameters(
        defaults=raws(max_tokens=4096),
        clamp=(Clamp("temperature", None, 1), Clamp("top_p", None, 1)),
        drop=("logit_bias", "seed", "/metadata/internal"),
    )
    assert parameters.stand_in_body(change, "anthropic_messages", PLACES)
    body: dict[str, object] = {
        "model": "m",
        "max_tokens": 3,
        "new_field": 1,
        "metadata": {"internal": 1, "user_id": "u"},
    }
    assert changed(body, change) == {"model": "m", "max_tokens": 3, "new_field": 1, "metadata": {"user_id": "u"}}


@pytest.mark.parametrize("dialect", ["anthropic_messages", "openai_responses", "gemini_generate", "bedrock_converse"])
def test_what_has_no_place_is_known_to_be_sayable_or_not(dialect: str) -> None:
    places = registry.UPSTREAM[dialect, "chat"].parameters
    unsayable = {name for name in exchange.Parameters.__struct_fields__ if not parameters.can_say(dialect, name)}
    assert "logit_bias" in unsayable
    assert not unsayable & places.keys()
    assert parameters.can_say(dialect, "reasoning_effort")
    assert parameters.can_say(dialect, "response_format")


@pytest.mark.parametrize(
    ("config", "limit"), [("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")]
)
def test_a_clamp_holds_however_proto_json_is_spelled(config: str, limit: str) -> None:
    change = Parameters(clamp=(Clamp("max_tokens", None, 100),), defaults=raws(temperature=0.5))
    body = {"contents": [], config: {limit: 99_999, "temperature": 0.1}}
    request = envelope.parse(
        json.dumps(body).encode(), "chat", "gemini_generate",
        registry.INGRESS["gemini_generate", "chat"].read_envelope, model="m", stream=False,
    )  # fmt: skip
    after = parameters.passed_on(request, change, registry.UPSTREAM["gemini_generate", "chat"].parameters)
    assert json.loads(after.body) == {"contents": [], config: {limit: 100, "temperature": 0.1}}


def test_a_rename_to_a_pointer_reaches_upstreams_whose_dialect_has_no_such_parameter() -> None:
    """Who renames ``seed`` to a field of his server's own means that field, whatever dialect is spoken to it."""
    said = exchange.Parameters(seed=7, stop=("a", "b"), temperature=0.5, reasoning_effort=exchange.ReasoningEffort())
    request = exchange.ChatRequest(model="m", turns=(), parameters=said)
    change = Parameters(
        rename=(
            ("seed", "/own/seed"),
            ("stop", "/own/stop"),
            ("temperature", "/heat"),
            ("reasoning_effort", "/effort"),
            ("top_k", "/top_k"),
        )
    )
    moved = parameters.moved(request, change, PLACES)
    assert moved == {"seed": 7, "stop": ("a", "b")}
    body = parameters.pointed(b'{"model":"m","temperature":0.5}', change, PLACES, moved)
    assert json.loads(body) == {"model": "m", "heat": 0.5, "own": {"seed": 7, "stop": ["a", "b"]}}
    assert parameters.moved(request, Parameters(drop=("seed",)), PLACES) == {}
