"""A request for an upstream, written."""

import json
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.openai_responses.responses_support import (
    ASKED,
    CODEC,
    TARGET,
    UPSTREAM,
    asked,
    chat,
    decode,
    encode,
    said,
)
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Capabilities, Target
from trunkline_gateway.dialects.openai_responses import names
from trunkline_gateway.exchange import losses

DEEPSEEK = Target(model="deepseek-chat", provider="deepseek", account="abcdefgh")
OPENAIS = exchange.Seal(maker="openai", account="abcdefgh", value="gAAA")
GOOGLES = exchange.Seal(maker="google", account="abcdefgh", value="g==")


def _items(*turns: exchange.Turn, target: Target = TARGET) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    body, lost = encode(chat(*turns), target)
    items = body["input"]
    assert isinstance(items, list)
    return items, lost


def test_the_least() -> None:
    body, lost = encode(chat(asked(exchange.Text(text="Hi"))), replace(TARGET, model="gpt-4o"))
    assert body == {
        "model": "gpt-4o",
        "input": [{"type": "message", "role": "user", "content": "Hi"}],
        "store": False,
    }
    assert lost == ()


def test_a_conversation() -> None:
    items, lost = _items(
        exchange.Turn(role="system", parts=(exchange.Text(text="Be kind."),)),
        asked(exchange.Text(text="Go"), exchange.Image(source=exchange.Inline("AAAA"), media_type="image/jpeg")),
        said(
            exchange.Reasoning(text="Hm.", summary=True, encrypted=OPENAIS, id="rs_1"),
            exchange.Text(text="I look."),
            exchange.ToolCall(id="a", name="f", arguments='{"x":1}', item_id="fc_1"),
            exchange.ToolCall(id="b", name="g", arguments="x", custom=True),
        ),
        asked(
            exchange.ToolResult(call_id="a", content=(exchange.Text(text="1"),)),
            exchange.ToolResult(call_id="b", content=(exchange.Text(text="2"), exchange.Text(text="3"))),
            exchange.Text(text="And?"),
        ),
    )
    assert items == [
        {"type": "message", "role": "system", "content": "Be kind."},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Go"},
                {"type": "input_image", "detail": "auto", "image_url": "data:image/jpeg;base64,AAAA"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "gAAA",
        },
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "a", "name": "f", "arguments": '{"x":1}'},
        {"type": "custom_tool_call", "call_id": "b", "name": "g", "input": "x"},
        {"type": "function_call_output", "call_id": "a", "output": "1"},
        {
            "type": "custom_tool_call_output",
            "call_id": "b",
            "output": [{"type": "input_text", "text": "2"}, {"type": "input_text", "text": "3"}],
        },
        {"type": "message", "role": "user", "content": "And?"},
    ]
    assert lost == ()


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        (
            exchange.Image(source=exchange.FileId("file-1"), detail="low"),
            {"type": "input_image", "detail": "low", "file_id": "file-1"},
        ),
        (
            exchange.Document(source=exchange.Inline("AAAA"), media_type="text/csv"),
            {"type": "input_file", "file_data": "data:text/csv;base64,AAAA", "filename": "document.csv"},
        ),
        (
            exchange.Document(source=exchange.Url("https://a/b.pdf")),
            {"type": "input_file", "file_url": "https://a/b.pdf"},
        ),
        (exchange.Document(source=exchange.FileId("file-1")), {"type": "input_file", "file_id": "file-1"}),
    ],
)
def test_content(part: exchange.Part, wanted: object) -> None:
    items, lost = _items(asked(part))
    assert items == [{"type": "message", "role": "user", "content": [wanted]}]
    assert lost == ()


def test_a_document_of_text_is_text() -> None:
    items, _ = _items(asked(exchange.Document(text="Body", name="T", context="C")))
    assert items[0]["content"] == "T\n\nC\n\nBody"


@pytest.mark.parametrize(
    ("turn", "lost"),
    [
        (said(exchange.Reasoning(text="Hm.")), ("reasoning",)),
        (said(exchange.Reasoning(text="Hm.", signature=GOOGLES)), ("reasoning_signature", "reasoning")),
        (said(exchange.Reasoning(encrypted=GOOGLES)), ("reasoning_encrypted",)),
        (
            said(exchange.Reasoning(encrypted=exchange.Seal(maker="openai", account="another1", value="x"))),
            ("reasoning_encrypted",),
        ),
        (said(exchange.ToolCall(id="a", name="f", seal=GOOGLES)), ("reasoning_signature",)),
        (said(exchange.Text(text="a", seal=GOOGLES)), ("reasoning_signature",)),
        (said(exchange.Text(text="a", cache=exchange.CacheControl())), ("cache_control",)),
        (said(exchange.Text(text="a", citations=(exchange.DocumentCitation(document=0),))), ("citations",)),
        (asked(exchange.ToolResult(call_id="a", is_error=True)), ("tool_result_error",)),
        (asked(exchange.Video(source=exchange.Url("https://a"))), ("video",)),
        (asked(exchange.Audio(source=exchange.Inline("A"), media_type="audio/wav")), ("audio_input",)),
        (
            said(exchange.HostedStep(tool="web_search", dialect="other", value=msgspec.Raw(b"{}"))),
            ("hosted_step",),
        ),
        (said(exchange.Foreign(dialect="other", kind="compaction", value=msgspec.Raw(b"{}"))), ("compaction",)),
        (exchange.Turn(role="user", parts=(exchange.Text(text="a"),), name="Bo"), ("message_name",)),
        (asked(exchange.Document(source=exchange.FileId("a"), citations=True)), ("file_citations",)),
        (asked(exchange.Document(source=exchange.FileId("a"), name="b.pdf")), ("file_name",)),
    ],
)
def test_what_cannot_be_said_is_named(turn: exchange.Turn, lost: tuple[str, ...]) -> None:
    assert _items(asked(exchange.Text(text="Hi")), turn)[1] == lost


def test_thoughts_go_as_text_to_those_who_read_them() -> None:
    items, lost = _items(said(exchange.Reasoning(text="Hm.", id="x")), target=DEEPSEEK)
    assert items == [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}], "id": "x"}
    ]
    assert lost == ()


def test_own_steps_are_written_as_they_are() -> None:
    raw = msgspec.Raw(b'{"type":"web_search_call","id":"ws_1","status":"completed","n":1.0}')
    body = UPSTREAM.encode(
        chat(said(exchange.HostedStep(tool="web_search", dialect="openai_responses", value=raw))), TARGET
    ).body
    assert bytes(raw) in body


def test_content_that_nobody_knows_stays_in_its_message() -> None:
    piece = {"type": "input_smell", "smell": "rose"}
    request = decode({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}, piece]}]})
    assert encode(request)[0]["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}, piece]}
    ]


# ---- names


def test_names_and_ids_are_made_to_fit_and_found_again() -> None:
    long, dotted = "n" * 80, "a.b c"
    tools = (exchange.Tool(name=long), exchange.Tool(name=dotted))
    request = chat(
        said(exchange.ToolCall(id="i" * 90, name=long), exchange.ToolCall(id="é", name=dotted)),
        asked(exchange.ToolResult(call_id="i" * 90)),
        tools=tools,
        parameters=exchange.Parameters(tool_choice=exchange.ToolChoice(mode="named", names=(dotted,))),
    )
    body, _ = encode(request)
    sent = [tool["name"] for tool in body["tools"]]  # type: ignore[attr-defined,index]
    assert all(names.name(each) == each for each in sent)
    call, second, result = body["input"]  # type: ignore[misc]
    assert (call["name"], second["name"], body["tool_choice"]["name"]) == (sent[0], sent[1], sent[1])  # type: ignore[index]
    assert call["call_id"] == result["call_id"]
    assert len(call["call_id"]) <= 64
    answer = {"output": [{"type": "function_call", "call_id": "c", "name": each, "arguments": "{}"} for each in sent]}
    found = UPSTREAM.decode(json.dumps(answer).encode(), replace(ASKED, request=request))
    assert isinstance(found, exchange.Answer)
    assert [part.name for part in found.choices[0].parts if isinstance(part, exchange.ToolCall)] == [long, dotted]


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=100))
def test_any_name_is_made_to_fit(given_name: str) -> None:
    made = names.name(given_name)
    assert made == names.name(made)
    assert 0 < len(made) <= 64
    assert len(names.call_id(given_name)) <= 64


def test_namespaces_are_groups_for_openai_and_part_of_the_name_for_others() -> None:
    tools = (
        exchange.Tool(name="a", namespace="n", namespace_description="N"),
        exchange.Tool(name="b"),
        exchange.Tool(name="c", namespace="n", namespace_description="N"),
    )
    request = chat(said(exchange.ToolCall(id="1", name="a", namespace="n")), tools=tools)
    body, lost = encode(request)
    grouped, plain = body["tools"]  # type: ignore[misc]
    assert (grouped["name"], grouped["description"]) == ("n", "N")
    assert [tool["name"] for tool in grouped["tools"]] == ["a", "c"]
    assert plain["name"] == "b"
    assert body["input"][0]["namespace"] == "n"  # type: ignore[index]
    assert lost == ()

    body, lost = encode(request, DEEPSEEK)
    assert [tool["name"] for tool in body["tools"]] == ["n__a", "b", "n__c"]  # type: ignore[attr-defined,index]
    assert body["input"][0]["name"] == "n__a"  # type: ignore[index]
    assert lost == ("tools.namespace",)
    answer = {"output": [{"type": "function_call", "call_id": "c", "name": "n__c", "arguments": "{}"}]}
    found = UPSTREAM.decode(json.dumps(answer).encode(), replace(ASKED, target=DEEPSEEK, request=request))
    assert isinstance(found, exchange.Answer)
    (call,) = found.choices[0].parts
    assert isinstance(call, exchange.ToolCall)
    assert (call.name, call.namespace) == ("c", "n")


# ---- tools and parameters


def test_tools_are_not_strict_unless_it_is_said() -> None:
    schema = msgspec.Raw(b'{"type":"object","properties":{"x":{"type":"number"}}}')
    body, _ = encode(
        chat(
            tools=(
                exchange.Tool(name="f", description="d", parameters=schema, strict=True),
                exchange.Tool(name="g"),
                exchange.Tool(name="h", custom=True, format=msgspec.Raw(b'{"type":"text"}')),
            )
        )
    )
    assert body["tools"] == [
        {
            "type": "function",
            "name": "f",
            "description": "d",
            "parameters": json.loads(bytes(schema)),
            "strict": True,
        },
        {"type": "function", "name": "g", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "custom", "name": "h", "format": {"type": "text"}},
    ]


def test_hosted_tools() -> None:
    raw = msgspec.Raw(b"{}")
    body, lost = encode(
        chat(
            tools=(
                exchange.HostedTool(
                    kind="web_search",
                    dialect="other",
                    value=raw,
                    max_uses=3,
                    allowed_domains=("a.org",),
                    location=msgspec.Raw(b'{"type":"approximate","city":"Bern"}'),
                ),
                exchange.HostedTool(kind="code_execution", dialect="other", value=raw),
                exchange.HostedTool(kind="url_context", dialect="other", value=raw),
                exchange.HostedTool(kind="made_up", dialect="other", value=raw),
                exchange.HostedTool(kind="mcp", dialect="openai_responses", value=msgspec.Raw(b'{"type":"mcp"}')),
            )
        )
    )
    assert body["tools"] == [
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.org"]},
            "user_location": {"type": "approximate", "city": "Bern"},
        },
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "mcp"},
    ]
    assert lost == ("web_search.options", "url_context", "hosted_tool")


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (exchange.ToolChoice(mode="auto"), "auto"),
        (exchange.ToolChoice(mode="none"), "none"),
        (exchange.ToolChoice(mode="required"), "required"),
        (exchange.ToolChoice(mode="named", names=("f",)), {"type": "function", "name": "f"}),
        (exchange.ToolChoice(mode="named", names=("h",)), {"type": "custom", "name": "h"}),
        (exchange.ToolChoice(mode="named", names=("mcp",)), {"type": "mcp", "server_label": "x"}),
        (
            exchange.ToolChoice(mode="auto", names=("f", "h")),
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "h"}],
            },
        ),
    ],
)
def test_tool_choice(choice: exchange.ToolChoice, wanted: object) -> None:
    mcp = msgspec.Raw(b'{"type":"mcp","server_label":"x"}')
    tools = (
        exchange.Tool(name="f"),
        exchange.Tool(name="h", custom=True),
        exchange.HostedTool(kind="mcp", dialect="openai_responses", value=mcp),
    )
    parameters = exchange.Parameters(tool_choice=choice)
    assert encode(chat(tools=tools, parameters=parameters))[0]["tool_choice"] == wanted
    body, lost = encode(chat(parameters=parameters))
    assert "tool_choice" not in body
    assert lost == (("tool_choice",) if choice.mode in ("required", "named") else ())


def _with(model: str = "gpt-4.1", **parameters: object) -> tuple[dict[str, object], tuple[str, ...]]:
    request = chat(parameters=exchange.Parameters(**parameters))  # type: ignore[arg-type]
    body, lost = encode(request, replace(TARGET, model=model))
    return {name: value for name, value in body.items() if name not in ("model", "input")}, lost


@pytest.mark.parametrize(
    ("parameters", "wanted", "lost"),
    [
        ({"max_tokens": 100}, {"max_output_tokens": 100}, ()),
        ({"max_tokens": 1}, {"max_output_tokens": 16}, ("max_tokens",)),
        ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 0.5}, ()),
        (
            {"response_format": exchange.JsonObject()},
            {"text": {"format": {"type": "json_object"}}},
            (),
        ),
        (
            {"response_format": exchange.JsonSchema(schema=msgspec.Raw(b"{}"), name="a b")},
            {"text": {"format": {"type": "json_schema", "name": "a_b", "schema": {}, "strict": False}}},
            (),
        ),
        ({"verbosity": "low"}, {"text": {"verbosity": "low"}}, ()),
        (
            {"reasoning_effort": exchange.ReasoningEffort(effort="low", summary="auto")},
            {"reasoning": {"effort": "low", "summary": "auto"}},
            (),
        ),
        (
            {"reasoning_effort": exchange.ReasoningEffort(budget_tokens=8000, summary="none")},
            {"reasoning": {"effort": "medium"}},
            ("reasoning_budget",),
        ),
        (
            {"reasoning_effort": exchange.ReasoningEffort(budget_tokens=8000)},
            {"reasoning": {"effort": "medium", "summary": "auto"}},
            ("reasoning_budget",),
        ),
        ({"reasoning_effort": exchange.ReasoningEffort(budget_tokens=0)}, {"reasoning": {"effort": "none"}}, ()),
        ({"reasoning_effort": exchange.ReasoningEffort(adaptive=True)}, {}, ("reasoning_effort",)),
        ({"service_tier": "flex"}, {"service_tier": "flex"}, ()),
        ({"service_tier": "standard_only"}, {}, ("service_tier",)),
        (
            {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k"},
            {"user": "u", "metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k"},
            (),
        ),
        ({"n": 1, "modalities": ("text",)}, {}, ()),
        ({"n": 2, "modalities": ("text", "audio")}, {}, ("n", "modalities")),
        (
            {
                "stop": ("a",),
                "seed": 1,
                "top_k": 3,
                "min_p": 0.1,
                "presence_penalty": 1.0,
                "frequency_penalty": 1.0,
                "repetition_penalty": 1.0,
                "logit_bias": {"1": 2.0},
                "prediction": msgspec.Raw(b"{}"),
                "audio": msgspec.Raw(b"{}"),
                "safety_settings": msgspec.Raw(b"[]"),
            },
            {},
            (
                "top_k",
                "min_p",
                "stop",
                "seed",
                "presence_penalty",
                "frequency_penalty",
                "repetition_penalty",
                "logit_bias",
                "safety_settings",
                "audio",
                "prediction",
            ),
        ),
    ],
)
def test_parameters(parameters: dict[str, object], wanted: dict[str, object], lost: tuple[str, ...]) -> None:
    body, found = _with(**parameters)
    assert {name: value for name, value in body.items() if name not in ("store", "include")} == wanted
    assert found == lost
    assert all(name in losses.FEATURES for name in found)


def test_storing_has_to_be_asked_for() -> None:
    assert _with()[0]["store"] is False
    assert _with(store=True)[0]["store"] is True


@pytest.mark.parametrize(
    ("target", "effort", "included"),
    [
        (TARGET, None, True),
        (replace(TARGET, model="o3-mini"), None, True),
        (replace(TARGET, model="openai.gpt-5.5", provider="bedrock"), None, True),
        (replace(DEEPSEEK, model="deepseek-reasoner"), exchange.ReasoningEffort(effort="high"), False),
        (replace(TARGET, model="gpt-4o"), None, False),
        (replace(TARGET, model="gpt-4o"), exchange.ReasoningEffort(effort="low"), True),
        (TARGET, exchange.ReasoningEffort(effort="none"), False),
        (replace(TARGET, model="mine", capabilities=Capabilities(reasoning=True)), None, True),
        (replace(TARGET, capabilities=Capabilities(reasoning=False)), None, False),
    ],
)
def test_encrypted_reasoning_is_asked_for_where_there_may_be_some(
    target: Target, effort: exchange.ReasoningEffort | None, included: bool
) -> None:
    body, _ = encode(chat(parameters=exchange.Parameters(reasoning_effort=effort)), target)
    assert ("reasoning.encrypted_content" in (body.get("include") or ())) is included  # type: ignore[operator]


def test_logprobs_are_included() -> None:
    body, _ = _with(logprobs=True, top_logprobs=2)
    assert "message.output_text.logprobs" in body["include"]  # type: ignore[operator]
    assert body["top_logprobs"] == 2


def test_models_that_think_are_not_told_how_to_sample() -> None:
    asked_for = {"temperature": 0.2, "top_p": 0.9, "logprobs": True, "top_logprobs": 2}
    body, lost = _with("gpt-5", **asked_for)
    assert "message.output_text.logprobs" not in body["include"]  # type: ignore[operator]
    assert not body.keys() & asked_for.keys()
    assert set(lost) == set(asked_for)
    none = exchange.ReasoningEffort(effort="none")
    body, lost = _with("gpt-5.6", reasoning_effort=none, **asked_for)
    assert (body["temperature"], body["top_p"], body["top_logprobs"], lost) == (0.2, 0.9, 2, ())


@pytest.mark.parametrize(
    ("model", "xhigh", "max_"),
    [
        ("gpt-5", "high", "high"),
        ("gpt-5.1-codex", "high", "high"),
        ("gpt-5.1-codex-max", "xhigh", "xhigh"),
        ("gpt-5.2-2025-12-11", "xhigh", "xhigh"),
        ("gpt-5.6", "xhigh", "max"),
        ("o3", "high", "high"),
        ("my-deployment", "xhigh", "high"),
    ],
)
def test_a_model_is_told_no_effort_that_it_does_not_know(model: str, xhigh: str, max_: str) -> None:
    for asked_for, wanted in (("xhigh", xhigh), ("max", max_)):
        body, lost = _with(model, reasoning_effort=exchange.ReasoningEffort(effort=asked_for))  # type: ignore[arg-type]
        assert body["reasoning"] == {"effort": wanted}
        assert lost == (() if wanted == asked_for else ("reasoning_effort",))


@pytest.mark.parametrize("model", ["gpt-5", "gpt-4.1"])
def test_what_asks_for_nothing_is_not_lost(model: str) -> None:
    body, lost = _with(model, temperature=1.0, presence_penalty=0.0, frequency_penalty=0, logit_bias={}, logprobs=False)
    assert "temperature" not in body if model == "gpt-5" else body["temperature"] == 1.0
    assert lost == ()


def test_counting_sends_what_counts() -> None:
    count = CODEC.upstream["count_tokens"]
    request = chat(
        asked(exchange.Text(text="Hi")),
        tools=(exchange.Tool(name="f"),),
        parameters=exchange.Parameters(max_tokens=5, temperature=1.0, stop=("a",)),
        stream=True,
    )
    found = count.encode(request, TARGET)
    assert set(json.loads(found.body)) == {"model", "input", "tools"}
    assert found.lost == ()
    assert count.decode(b'{"object":"response.input_tokens","input_tokens":11}', ASKED) == exchange.TokenCount(
        prompt=11
    )


def test_parameters_point_into_the_body() -> None:
    for name, pointer in UPSTREAM.parameters.items():
        assert name in losses.FEATURES or name == "max_completion_tokens"
        assert pointer.startswith("/")


# ---- there and back


_text = st.text(max_size=8)
_id = st.text("abc123_", min_size=1, max_size=8)
_user_part = st.one_of(
    st.builds(lambda text: exchange.Text(text=text), _text),
    st.builds(
        lambda data, kind: exchange.Image(source=exchange.Inline(data), media_type=kind, detail="auto"),
        st.sampled_from(["AAAA", "AA=="]),
        st.sampled_from(["image/png", "image/webp"]),
    ),
    st.builds(lambda url: exchange.Image(source=exchange.Url("https://" + url), detail="low"), _id),
    st.builds(
        lambda name: exchange.Document(source=exchange.Inline("AAAA"), media_type="application/pdf", name=name), _id
    ),
)
_model_part = st.one_of(
    st.builds(lambda text: exchange.Text(text=text), _text),
    st.builds(lambda text: exchange.Refusal(text=text), _text),
    st.builds(
        lambda text, item: exchange.Reasoning(text=text, summary=bool(text), encrypted=OPENAIS, id=item), _text, _id
    ),
    st.builds(
        lambda call, name, text, group: exchange.ToolCall(id=call, name=name, arguments=text or "{}", namespace=group),
        _id,
        _id,
        _text,
        st.none() | _id,
    ),
    st.builds(lambda call, text: exchange.ToolCall(id=call, name="g", arguments=text, custom=True), _id, _text),
)
_turns = st.lists(
    st.one_of(
        st.builds(lambda parts: asked(*parts), st.lists(_user_part, min_size=1, max_size=3)),
        st.builds(
            lambda text: exchange.Turn(role="developer", parts=(exchange.Text(text=text),)),
            _text,
        ),
        st.builds(lambda parts: said(*parts), st.lists(_model_part, min_size=1, max_size=4)),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=100)
@given(_turns)
def test_what_is_written_is_read_again(turns: list[exchange.Turn]) -> None:
    body, _ = encode(chat(*turns))
    again = decode({"input": body["input"]})

    def known(turn: exchange.Turn) -> exchange.Turn:
        parts = [
            msgspec.structs.replace(part, encrypted=exchange.Seal(maker="openai", value="gAAA"))
            if isinstance(part, exchange.Reasoning)
            else part
            for part in turn.parts
        ]
        return msgspec.structs.replace(turn, parts=tuple(parts))

    models = [turn for turn in exchange.joined(tuple(known(turn) for turn in turns)) if turn.role == "assistant"]
    assert [turn for turn in again.turns if turn.role == "assistant"] == models
    others = [turn for turn in turns if turn.role != "assistant"]
    assert [turn for turn in again.turns if turn.role != "assistant"] == others
