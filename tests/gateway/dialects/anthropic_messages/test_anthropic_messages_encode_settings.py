"""Parameters for the API, how much to think, and the form of the answer."""

import msgspec
import pytest

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.dialects.anthropic_messages.quirks import QUIRKS
from trunkline_gateway.exchange import (
    Effort,
    JsonObject,
    JsonSchema,
    Reasoning,
    ReasoningEffort,
    Seal,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)

OWN = Seal(maker="anthropic", account=wire.ACCOUNT, value="EqQ")
OTHERS = Seal(maker="anthropic", account="0ther000", value="EqQ")
GPT = Seal(maker="openai", account="", value="gAAA")
PNG = "iVBORw0KGgoAAAA="


F = Tool(name="f", parameters=wire.raw({"type": "object", "properties": {}}))


def _said(*turns: Turn, to: Target | None = None) -> tuple[list[tuple[str, list[dict[str, object]]]], set[str]]:
    body, lost = wire.encode(wire.chat(*turns), to)
    return [(message["role"], message["content"]) for message in body["messages"]], lost  # type: ignore[attr-defined]


def _text(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said", "lost"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}, ""),
        ({"temperature": 0.5}, {"temperature": 0.5}, ""),
        ({"temperature": 2.0}, {"temperature": 1}, "temperature"),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": None}, "top_p"),
        ({"top_p": 0.9, "top_k": 3}, {"top_p": 0.9, "top_k": 3}, ""),
        ({"stop": ("a", " ", "")}, {"stop_sequences": ["a"]}, "stop"),
        ({"stop": ("\n\n",)}, {"stop_sequences": None}, "stop"),
        ({"user": "u"}, {"metadata": {"user_id": "u"}}, ""),
        ({"user": "u" * 600}, {"metadata": None}, "user"),
        ({"safety_identifier": "u"}, {"metadata": {"user_id": "u"}}, ""),
        ({"user": "u", "safety_identifier": "v"}, {"metadata": {"user_id": "u"}}, "safety_identifier"),
        ({"service_tier": "default"}, {"service_tier": "standard_only"}, ""),
        ({"service_tier": "auto"}, {"service_tier": "auto"}, ""),
        ({"service_tier": "flex"}, {"service_tier": None}, "service_tier"),
        ({"seed": 1}, {}, "seed"),
        ({"n": 2}, {}, "n"),
        ({"n": 1, "logprobs": False, "presence_penalty": 0, "frequency_penalty": 0.0, "store": False}, {}, ""),
        ({"presence_penalty": 0.5}, {}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, {}, "frequency_penalty"),
        ({"repetition_penalty": 1.5}, {}, "repetition_penalty"),
        ({"min_p": 0.1}, {}, "min_p"),
        ({"logit_bias": {"1": 2}}, {}, "logit_bias"),
        ({"logprobs": True}, {}, "logprobs"),
        ({"top_logprobs": 2}, {}, "top_logprobs"),
        ({"verbosity": "low"}, {}, "verbosity"),
        ({"metadata": {"a": "b"}}, {}, "metadata"),
        ({"prompt_cache_key": "k"}, {}, "prompt_cache_key"),
        ({"prompt_cache_retention": "24h"}, {}, "prompt_cache_retention"),
        ({"store": True}, {}, "store"),
        ({"modalities": ("text",)}, {}, ""),
        ({"modalities": ("text", "audio")}, {}, "modalities"),
        ({"audio": wire.raw({"voice": "x"})}, {}, "audio"),
        ({"prediction": wire.raw({})}, {}, "prediction"),
        ({"safety_settings": wire.raw([])}, {}, "safety_settings"),
    ],
)
def test_each_parameter(parameters: dict[str, object], said: dict[str, object], lost: str) -> None:
    body, names = wire.encode(wire.chat(**parameters))
    assert {name: body.get(name) for name in said} == said
    assert names == ({lost} if lost else set())


def test_every_parameter_is_said_or_lost() -> None:
    unusual = {
        "max_tokens": 7, "temperature": 0.3, "top_p": 0.3, "top_k": 3, "min_p": 0.3, "stop": ("x",), "seed": 3,
        "presence_penalty": 0.3, "frequency_penalty": 0.3, "repetition_penalty": 1.3, "logit_bias": {"3": 3.0},
        "logprobs": True, "top_logprobs": 3, "n": 3, "response_format": JsonObject(), "verbosity": "high",
        "reasoning_effort": ReasoningEffort(effort="none"), "parallel_tool_calls": False, "service_tier": "auto",
        "tool_choice": ToolChoice(mode="required"), "user": "u", "metadata": {"a": "b"}, "safety_identifier": "i",
        "safety_settings": wire.raw([1]), "prompt_cache_key": "k", "prompt_cache_retention": "24h", "store": True,
        "modalities": ("audio",), "audio": wire.raw({}), "prediction": wire.raw({}),
    }  # fmt: skip
    assert set(unusual) == set(exchange.Parameters.__struct_fields__)
    for name, value in unusual.items():
        body, lost = wire.encode(wire.chat(tools=[F], **{name: value}))
        plain, _ = wire.encode(wire.chat(tools=[F]))
        assert body != plain or name in lost, name


@pytest.mark.parametrize(
    ("said", "most", "expected"), [(None, None, 4096), (None, 64000, 64000), (10, 64000, 10), (None, 0, 4096)]
)
def test_max_tokens_is_always_said(said: int | None, most: int | None, expected: int) -> None:
    known = {} if most is None else {"max_output_tokens": most}
    body, lost = wire.encode(wire.chat(max_tokens=said), wire.target(wire.OLD, **known))
    assert body["max_tokens"] == expected
    assert not lost


@pytest.mark.parametrize(
    ("asked", "max_tokens", "to", "said", "lost"),
    [
        (ReasoningEffort(effort="none"), 9000, wire.target(), {"thinking": {"type": "disabled"}}, set()),
        (ReasoningEffort(budget_tokens=0), 9000, wire.target(), {"thinking": {"type": "disabled"}}, set()),
        (
            ReasoningEffort(effort="high"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 8000}, "max_tokens": 10000},
            set(),
        ),
        (
            ReasoningEffort(effort="low"),
            500,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1524},
            {"max_tokens"},
        ),
        (
            ReasoningEffort(budget_tokens=5000),
            6000,
            wire.target(max_output_tokens=4000),
            {"thinking": {"type": "enabled", "budget_tokens": 5000}, "max_tokens": 6000},
            set(),
        ),
        (
            ReasoningEffort(budget_tokens=5000),
            3000,
            wire.target(max_output_tokens=4000),
            {"thinking": {"type": "enabled", "budget_tokens": 3999}, "max_tokens": 4000},
            {"max_tokens", "reasoning_budget"},
        ),
        (
            ReasoningEffort(effort="high"),
            500,
            wire.target(max_output_tokens=600),
            {"thinking": None, "max_tokens": 500},
            {"reasoning_effort"},
        ),
        (
            ReasoningEffort(budget_tokens=100),
            4000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
            {"reasoning_budget"},
        ),
        (
            ReasoningEffort(adaptive=True, effort="high", summary="auto"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 8000, "display": "summarized"}, "output_config": None},
            set(),
        ),
        (
            ReasoningEffort(budget_tokens=-1, summary="detailed"),
            10000,
            wire.target(),
            {"thinking": {"type": "enabled", "budget_tokens": 5000, "display": "summarized"}},
            {"reasoning_summary"},
        ),
        (
            ReasoningEffort(effort="high"),
            9000,
            wire.target(wire.NEW),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
            set(),
        ),
        (
            ReasoningEffort(effort="minimal", summary="none"),
            9000,
            wire.target("m", "adaptive_thinking"),
            {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
            {"reasoning_effort"},
        ),
        (
            ReasoningEffort(budget_tokens=4096),
            9000,
            wire.target(wire.NEW),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            {"reasoning_budget"},
        ),
        (
            ReasoningEffort(budget_tokens=4096),
            9000,
            wire.target("claude-opus-4-6"),
            {"thinking": {"type": "enabled", "budget_tokens": 4096}},
            set(),
        ),
        (
            ReasoningEffort(effort="high"),
            10000,
            wire.target(wire.NEW, "budget_thinking"),
            {"thinking": {"type": "enabled", "budget_tokens": 8000}},
            set(),
        ),
        (ReasoningEffort(effort="high"), 9000, wire.target(reasoning=False), {"thinking": None}, {"reasoning_effort"}),
    ],
)
def test_how_much_to_think(
    asked: ReasoningEffort, max_tokens: int, to: Target, said: dict[str, object], lost: set[str]
) -> None:
    body, names = wire.encode(wire.chat(reasoning_effort=asked, max_tokens=max_tokens), to)
    assert {name: body.get(name) for name in said} == said
    assert names == lost


@pytest.mark.parametrize(
    ("to", "asked", "said"),
    [
        (wire.target("claude-opus-4-6"), "max", "max"),
        (wire.target("claude-opus-4-6"), "xhigh", "high"),
        (wire.target("claude-sonnet-4-6"), "xhigh", "high"),
        (wire.target("claude-opus-4-7"), "xhigh", "xhigh"),
        (wire.target("claude-sonnet-5"), "max", "max"),
        (wire.target("claude-opus-4-5", "adaptive_thinking"), "max", "high"),
        (wire.target("m", "adaptive_thinking"), "xhigh", "xhigh"),
    ],
)
def test_a_model_is_told_no_effort_that_it_does_not_know(to: Target, asked: Effort, said: str) -> None:
    body, lost = wire.encode(wire.chat(reasoning_effort=ReasoningEffort(effort=asked)), to)
    assert body["output_config"] == {"effort": said}
    assert lost == (set() if said == asked else {"reasoning_effort"})


BEFORE_THINKING = (
    "claude-3-haiku-20240307",
    "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku@20241022",
    "claude-3-opus-latest",
    "anthropic/claude-3.5-sonnet",
    "claude-2.1",
    "claude-instant-1.2",
    "claude-instant",
)


@pytest.mark.parametrize("model", BEFORE_THINKING)
def test_models_from_before_thinking_are_told_nothing_of_it(model: str) -> None:
    body, lost = wire.encode(wire.chat(reasoning_effort=ReasoningEffort(effort="high"), top_k=5), wire.target(model))
    assert "thinking" not in body
    assert (body["top_k"], lost) == (5, {"reasoning_effort"})
    body, lost = wire.encode(wire.chat(reasoning_effort=ReasoningEffort(effort="none")), wire.target(model))
    assert ("thinking" in body, lost) == (False, set())


@pytest.mark.parametrize("model", ["claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514", "m"])
def test_later_models_and_unknown_ones_think(model: str) -> None:
    asked = ReasoningEffort(budget_tokens=2048)
    body, lost = wire.encode(wire.chat(reasoning_effort=asked, max_tokens=9000), wire.target(model))
    assert (body["thinking"], lost) == ({"type": "enabled", "budget_tokens": 2048}, set())


def test_who_thinks_is_not_sampled_otherwise() -> None:
    low = ReasoningEffort(effort="low")
    settings = {"temperature": 0.5, "top_p": 0.5, "top_k": 5, "max_tokens": 9000, "reasoning_effort": low}
    body, lost = wire.encode(wire.chat(**settings))
    assert not {"temperature", "top_p", "top_k"} & set(body)
    assert lost == {"temperature", "top_p", "top_k"}
    body, lost = wire.encode(wire.chat(temperature=1, max_tokens=9000, reasoning_effort=low))
    assert body["temperature"] == 1
    assert not lost
    body, lost = wire.encode(wire.chat(top_p=0.97, max_tokens=9000, reasoning_effort=low))
    assert body["top_p"] == 0.97
    assert not lost


def test_a_model_that_is_not_sampled() -> None:
    for to in (wire.target(wire.NEW), wire.target("m", "no_sampling")):
        body, lost = wire.encode(wire.chat(temperature=0.5, top_p=0.5, top_k=5), to)
        assert not {"temperature", "top_p", "top_k"} & set(body)
        assert lost == {"temperature", "top_p", "top_k"}


def test_a_turn_that_began_without_thinking_goes_on_without() -> None:
    call = ToolCall(id="t1", name="f", arguments="{}")
    result = wire.user(ToolResult(call_id="t1"))
    low = ReasoningEffort(effort="low")
    body, lost = wire.encode(
        wire.chat(wire.user("q"), wire.assistant(call), result, reasoning_effort=low, max_tokens=9000)
    )
    assert "thinking" not in body
    assert lost == {"reasoning_effort"}
    thought = wire.assistant(Reasoning(text="hm", signature=OWN), call)
    body, lost = wire.encode(wire.chat(wire.user("q"), thought, result, reasoning_effort=low, max_tokens=9000))
    assert "thinking" in body
    assert not lost
    turns = (wire.user("q"), wire.assistant(call), result)
    body, lost = wire.encode(wire.chat(*turns, reasoning_effort=low, max_tokens=9000), wire.target(wire.NEW))
    assert body["thinking"] == {"type": "adaptive"}


# ---- the form of the answer ------------------------------------------------------------------------------------------


def test_a_schema_that_the_api_takes_is_sent_as_it_is() -> None:
    schema = msgspec.Raw(
        b'{"type": "object", "properties": {"a": {"type": "number", "default": 1.0}}, "additionalProperties": false}'
    )
    request = wire.chat(response_format=JsonSchema(schema=schema))
    encoded = wire.CHAT_UP.encode(request, wire.target())
    assert bytes(schema) in encoded.body
    assert encoded.lost == ()


def test_a_schema_is_closed_and_what_is_not_taken_is_described() -> None:
    schema = {
        "type": "object",
        "properties": {
            "minimum": {"type": "integer", "minimum": 1, "description": "n"},
            "b": {"type": "array", "minItems": 2, "items": {"anyOf": [{"type": "object"}, {"$ref": "#/$defs/c"}]}},
        },
        "$defs": {"c": {"type": "object", "additionalProperties": True}},
    }
    body, lost = wire.encode(wire.chat(response_format=JsonSchema(schema=wire.raw(schema))))
    assert body["output_config"] == {
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "minimum": {"type": "integer", "description": "n\n\n{minimum: 1}"},
                    "b": {
                        "type": "array",
                        "items": {"anyOf": [{"type": "object", "additionalProperties": False}, {"$ref": "#/$defs/c"}]},
                        "description": "{minItems: 2}",
                    },
                },
                "$defs": {"c": {"type": "object", "additionalProperties": False}},
                "additionalProperties": False,
            },
        }
    }
    assert lost == {"response_format.strict"}


@pytest.mark.parametrize(
    ("wanted", "to"),
    [
        (JsonObject(), wire.target()),
        (JsonSchema(schema=None), wire.target()),
        (JsonSchema(schema=wire.raw({"type": "object"})), wire.target("m", "no_json_schema")),
        (JsonSchema(schema=wire.raw({"type": "object"})), wire.target(json_schema=False)),
        (JsonSchema(schema=wire.raw({"type": "object"})), wire.target("claude-3-7-sonnet-20250219")),
        (JsonSchema(schema=wire.raw({"type": "object"})), wire.target("claude-opus-4-20250514")),
        (JsonSchema(schema=wire.raw({"type": "object"})), wire.target("claude-instant-1.2")),
        (JsonSchema(schema=wire.raw([1])), wire.target()),
    ],
)
def test_json_is_asked_for_in_words_where_there_is_no_other_way(wanted: exchange.ResponseFormat, to: Target) -> None:
    body, lost = wire.encode(wire.chat(wire.system("s"), wire.user("q"), response_format=wanted), to)
    assert "output_config" not in body
    assert body["system"][0] == _text("s")  # type: ignore[index]
    assert "JSON object" in body["system"][1]["text"]  # type: ignore[index]
    assert lost == {"response_format"}


@pytest.mark.parametrize(
    "to",
    [
        *(wire.target(model) for model in ("claude-opus-4-1-20250805", "claude-haiku-4-5", "claude-sonnet-5", "m")),
        wire.target("claude-3-7-sonnet-20250219", json_schema=True),
    ],
)
def test_json_has_a_schema_where_the_model_takes_one(to: Target) -> None:
    body, lost = wire.encode(wire.chat(response_format=JsonSchema(schema=wire.raw({"type": "object"}))), to)
    assert body["output_config"]["format"]["type"] == "json_schema"  # type: ignore[index]
    assert "system" not in body
    assert lost <= {"response_format.strict"}


# ---- quirks ----------------------------------------------------------------------------------------------------------


def test_every_quirk_matters() -> None:
    request = wire.chat(
        wire.system("s"),
        wire.user("q", exchange.Image(source=exchange.Url("https://i"))),
        wire.system("later"),
        wire.assistant(exchange.Reasoning(text="hm"), "The answer:"),
        tools=[exchange.Tool(name="f", strict=True)],
        temperature=0.5,
        response_format=JsonSchema(schema=wire.raw({"type": "object"})),
    )
    thinks = wire.chat(reasoning_effort=ReasoningEffort(effort="high"))
    for quirk in QUIRKS:
        of = wire.NEW if quirk == "budget_thinking" else wire.OLD
        changed = [
            wire.encode(each, wire.target(of)) != wire.encode(each, wire.target(of, quirk))
            for each in (request, thinks)
        ]
        assert any(changed), quirk
