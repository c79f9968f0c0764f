"""Dialect, parameters and capabilities of targets: what CEL cannot judge, and what depends on the provider."""

import json
import math
from typing import Any

import pytest

from builders import world as gen
from trunkline_operator.compile import tuning
from trunkline_operator.compile.compiler import compile as compile_world
from trunkline_operator.compile.result import Compiled
from trunkline_operator.watch.world import Ref
from trunkline_protocol.models import known
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

GROUP = Ref("ModelGroup", "team", "gpt-4o")
ROUTE = Name(pb.TYPE_ROUTE, "team/gpt-4o")
SECRET = gen.secret(primary="sk-1")


def compiled(*credentials: dict[str, Any], **target: Any) -> Compiled:
    accounts = credentials or (gen.credential(),)
    return compile_world(gen.world(SECRET, *accounts, gen.group(targets=[gen.target(**target)])))


def target_of(of: Compiled) -> pb.Target:
    (target,) = pb.Route.FromString(of.resources[ROUTE].body).targets
    return target


def refusal(of: Compiled) -> str:
    found = of.verdicts[GROUP]
    assert (found.accepted.ok, found.accepted.reason) == (False, "Invalid")
    assert ROUTE in of.holds
    return found.accepted.message


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"max_tokenz": 1}, "defaults.max_tokenz: unknown parameter; did you mean max_tokens?"),
        ({"zzz": 1}, "defaults.zzz: unknown parameter: what is not known by name is reached by a JSON Pointer"),
        ({"max_tokens": "4096"}, "defaults.max_tokens: must be a whole number"),
        ({"temperature": True}, "defaults.temperature: must be a number"),
        ({"top_p": None}, "defaults.top_p: must be a number"),
        ({"/model": "x"}, "defaults./model: must be a JSON Pointer that does not point at model or stream"),
        ({"/stream/a": 1}, "does not point at model or stream"),
        ({"/a~b": 1}, "must be a JSON Pointer"),
        ({"": 1}, "unknown parameter"),
        ({"\n" + "x" * 100: 1}, "defaults.?" + "x" * 63 + ": unknown parameter"),
        ({"/a": deep(40)}, "must not be nested deeper than 32"),
        ({"/a": deep(5000)}, "must not be nested deeper than 32"),
        ({"/a": "x" * (17 << 10)}, "parameters.defaults: Too long: may not be more than 16384 bytes"),
        ({"/a": math.nan}, "parameters.defaults: must be JSON"),
        ({"temperature": math.inf}, "parameters.defaults: must be JSON"),
        ({"/a": "\ud800"}, "parameters.defaults: must be JSON"),
        ({"/a": {1, 2}}, "parameters.defaults: must be JSON"),
        ({"/a": {1: 1, "a": 1}}, "parameters.defaults: must be JSON"),
    ],
)
def test_what_cel_cannot_look_into_is_judged_when_compiling(members: dict[str, Any], says: str) -> None:
    assert says in refusal(compiled(parameters={"defaults": members}))


def test_every_problem_is_named_by_its_target() -> None:
    targets = [
        gen.target("a", parameters={"defaults": {"stop": 1}, "overrides": {"n": "1"}}),
        gen.target("b"),
        gen.target("c", parameters={"overrides": {"user": 1}}),
    ]
    said = refusal(compile_world(gen.world(SECRET, gen.credential(), gen.group(targets=targets))))
    assert "spec.targets[0].parameters.defaults.stop: must be a string or a list of strings" in said
    assert "spec.targets[0].parameters.overrides.n: must be a whole number" in said
    assert "spec.targets[2].parameters.overrides.user: must be a string" in said


def test_parameters_travel_as_json_that_is_the_same_in_any_order() -> None:
    one = {"max_tokens": 4096, "/a/b": {"c": [1.5, None, True, "é"]}}
    other = dict(reversed(one.items()))
    first, second = (target_of(compiled(parameters={"defaults": each})) for each in (one, other))
    assert (
        first.parameters.defaults
        == second.parameters.defaults
        == '{"/a/b":{"c":[1.5,null,true,"é"]},"max_tokens":4096}'
    )
    assert json.loads(first.parameters.defaults) == one
    assert first.parameters.overrides == ""


def test_numbers_keep_their_kind() -> None:
    members = target_of(compiled(parameters={"overrides": {"temperature": 1.0, "seed": 1, "/big": 2**62}})).parameters
    assert members.overrides == '{"/big":4611686018427387904,"seed":1,"temperature":1.0}'


def test_parameters_that_say_nothing_do_not_travel() -> None:
    target = target_of(compiled(parameters={"defaults": {}, "drop": []}))
    assert not target.HasField("parameters")


DIALECTS = [
    ("openai", {}, "OpenAIResponses", "openai_responses"),
    ("openai", {}, "AnthropicMessages", None),
    ("openrouter", {}, "OpenAIResponses", "openai_responses"),
    ("deepseek", {}, "AnthropicMessages", "anthropic_messages"),
    ("deepseek", {"endpoint": {"baseURL": "http://proxy/v1"}}, "AnthropicMessages", None),
    ("openai-compatible", {"endpoint": {"baseURL": "http://any/v1"}}, "GeminiGenerate", "gemini_generate"),
    ("openai-compatible", {"endpoint": {"baseURL": "http://any/v1"}}, "BedrockConverse", None),
    ("nobody-has-heard-of", {}, "BedrockConverse", "bedrock_converse"),
]


@pytest.mark.parametrize(("provider", "more", "dialect", "wanted"), DIALECTS)
def test_a_target_is_pinned_to_what_its_provider_may_speak(
    provider: str, more: dict[str, Any], dialect: str, wanted: str | None
) -> None:
    of = compiled(gen.credential(provider=provider, **more), dialect=dialect)
    if wanted is None:
        assert f"spec.targets[0].dialect: provider {provider} does not speak {dialect}; it speaks " in refusal(of)
    else:
        assert target_of(of).dialect == wanted


def test_a_pin_survives_an_account_that_is_held() -> None:
    """Its gateways may speak it still; what its provider speaks is all that can be told."""
    broken = gen.credential(provider="deepseek", directModels=[""])
    assert target_of(compiled(broken, dialect="AnthropicMessages")).dialect == "anthropic_messages"
    assert "does not speak" in refusal(compiled(broken, dialect="GeminiGenerate"))


def test_a_group_whose_access_and_dialect_are_wrong_is_denied() -> None:
    group = gen.group(targets=[gen.target(dialect="GeminiEmbed")], access=[{"groups": []}])
    of = compile_world(gen.world(SECRET, gen.credential(), group))
    assert ROUTE in of.denied
    message = of.verdicts[GROUP].accepted.message
    assert "spec.access[0].groups" in message
    assert "spec.targets[0].dialect" in message


def test_capabilities_are_what_is_said_and_else_what_is_known() -> None:
    facts = known("openai", "gpt-4o")
    plain = target_of(compiled()).capabilities
    assert (plain.context_window, plain.max_output_tokens) == (facts.context_window, facts.max_output_tokens)
    said = target_of(compiled(capabilities={"contextWindow": 5, "vision": False, "embeddings": True})).capabilities
    assert (said.context_window, said.vision, said.embeddings) == (5, False, True)
    assert said.max_output_tokens == facts.max_output_tokens
    assert not said.HasField("reasoning")


@pytest.mark.parametrize(
    ("provider", "more", "model"),
    [
        ("openai", {}, "my-own"),
        ("openai-compatible", {"endpoint": {"baseURL": "http://any/v1"}}, "gpt-4o"),
        ("nobody-has-heard-of", {}, "gpt-4o"),
    ],
)
def test_nothing_is_assumed_of_a_model_that_is_not_known(provider: str, more: dict[str, Any], model: str) -> None:
    of = compiled(gen.credential(provider=provider, **more), model=model)
    assert not target_of(of).HasField("capabilities")


def test_what_is_known_of_a_model_stays_while_its_account_is_held() -> None:
    whole = compiled()
    held = compiled(gen.credential(directModels=[""]))
    assert held.resources[ROUTE].version == whole.resources[ROUTE].version


def test_a_key_that_goes_elsewhere_than_the_accounts_is_said_only_where_there_is_one() -> None:
    bare = gen.credential(
        provider="anthropic-compatible", endpoint={"baseURL": "http://any"}, auth={"type": "None"}, keys=[]
    )
    upstream = compiled(bare).resources[Name(pb.TYPE_UPSTREAM, "team/main")]
    body = pb.Upstream.FromString(upstream.body)
    assert body.auth_header == ""
    assert not any(each.auth_header or each.auth_scheme for each in (*body.spoken, *body.pinnable))


def test_the_problems_of_no_parameters_are_none() -> None:
    assert tuning.problems(()) == ()
