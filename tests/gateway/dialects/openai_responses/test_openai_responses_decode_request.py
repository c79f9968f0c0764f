"""A client's request, read."""

import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.openai_responses.responses_support import INGRESS, decode, fields
from trunkline_gateway import errors, exchange
from trunkline_gateway.exchange import origin

SEAL = exchange.Seal(maker="anthropic", account="abcdefgh", value="sig==")


def _parts(item: object, *more: object) -> tuple[exchange.Part, ...]:
    turns = decode({"input": [item, *more]}).turns
    return tuple(part for turn in turns for part in turn.parts)


def _message(*content: object, role: str = "user") -> dict[str, object]:
    return {"type": "message", "role": role, "content": list(content)}


def test_a_string_is_a_turn_of_the_users() -> None:
    assert decode({"input": "Hi"}).turns == (exchange.Turn(role="user", parts=(exchange.Text(text="Hi"),)),)


def test_instructions_come_first() -> None:
    turns = decode({"instructions": "Be kind.", "input": [{"role": "developer", "content": "Hi"}]}).turns
    assert [(turn.role, turn.parts[0].text) for turn in turns] == [("system", "Be kind."), ("developer", "Hi")]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("piece", "part"),
    [
        ({"type": "input_text", "text": "a"}, exchange.Text(text="a")),
        ({"type": "text", "text": "a"}, exchange.Text(text="a")),
        (
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            exchange.Text(text="a", cache=exchange.CacheControl()),
        ),
        ({"type": "refusal", "refusal": "no"}, exchange.Refusal(text="no")),
        (
            {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"},
            exchange.Image(source=exchange.Url("https://a/b.png"), detail="low"),
        ),
        (
            {"type": "input_image", "image_url": "data:image/jpeg;base64,AAAA"},
            exchange.Image(source=exchange.Inline("AAAA"), media_type="image/jpeg"),
        ),
        ({"type": "input_image", "file_id": "file-1"}, exchange.Image(source=exchange.FileId("file-1"))),
        (
            {"type": "input_file", "filename": "a.csv", "file_data": "AAAA"},
            exchange.Document(source=exchange.Inline("AAAA"), media_type="text/csv", name="a.csv"),
        ),
        (
            {"type": "input_file", "filename": "a", "file_data": "data:application/pdf;base64,AAAA"},
            exchange.Document(source=exchange.Inline("AAAA"), media_type="application/pdf", name="a"),
        ),
        (
            {"type": "input_file", "file_url": "https://a/b.pdf"},
            exchange.Document(source=exchange.Url("https://a/b.pdf")),
        ),
        ({"type": "input_file", "file_id": "file-1"}, exchange.Document(source=exchange.FileId("file-1"))),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            exchange.Audio(source=exchange.Inline("AAAA"), media_type="audio/mp3"),
        ),
        (
            {
                "type": "output_text",
                "text": "a",
                "annotations": [
                    {"type": "url_citation", "url": "https://a", "title": "A", "start_index": 0, "end_index": 1},
                    {"type": "of the future"},
                ],
            },
            exchange.Text(text="a", citations=(exchange.UrlCitation(url="https://a", title="A", start=0, end=1),)),
        ),
    ],
    ids=lambda each: each["type"] if isinstance(each, dict) else "",
)
def test_content(piece: object, part: exchange.Part) -> None:
    assert _parts(_message(piece)) == (part,)


def test_a_turn_of_the_models_is_one_whatever_it_is_made_of() -> None:
    turns = decode(
        {
            "input": [
                {"role": "user", "content": "Go"},
                {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
                {"role": "assistant", "content": "I look."},
                {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}", "namespace": "n"},
                {"type": "custom_tool_call", "call_id": "b", "name": "g", "input": "x"},
                {"type": "function_call_output", "call_id": "a", "output": "1"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "b",
                    "output": [
                        {"type": "input_text", "text": "2"},
                        {"type": "input_image", "image_url": "https://a/b.png"},
                    ],
                },
                {"role": "user", "content": "And?"},
            ]
        }
    ).turns
    assert turns == (
        exchange.Turn(role="user", parts=(exchange.Text(text="Go"),)),
        exchange.Turn(
            role="assistant",
            parts=(
                exchange.Reasoning(text="Hm.", summary=True, id="rs_1"),
                exchange.Text(text="I look."),
                exchange.ToolCall(id="a", name="f", arguments="{}", namespace="n"),
                exchange.ToolCall(id="b", name="g", arguments="x", custom=True),
            ),
        ),
        exchange.Turn(
            role="user",
            parts=(
                exchange.ToolResult(call_id="a", content=(exchange.Text(text="1"),)),
                exchange.ToolResult(
                    call_id="b",
                    content=(exchange.Text(text="2"), exchange.Image(source=exchange.Url("https://a/b.png"))),
                    custom=True,
                ),
            ),
        ),
        exchange.Turn(role="user", parts=(exchange.Text(text="And?"),)),
    )


@pytest.mark.parametrize(
    ("item", "tool", "query"),
    [
        ({"type": "web_search_call", "action": {"type": "search", "query": "a"}}, "web_search", "a"),
        ({"type": "web_search_call", "action": {"queries": ["a", "b"]}}, "web_search", "a\nb"),
        ({"type": "web_search_call", "arguments": '{"query":"a"}'}, "web_search", "a"),
        ({"type": "file_search_call", "queries": ["a"]}, "file_search", "a"),
        ({"type": "code_interpreter_call", "code": "1+1"}, "code_execution", "1+1"),
        ({"type": "image_generation_call", "revised_prompt": "a cat"}, "image_generation", "a cat"),
        ({"type": "local_shell_call", "action": {"command": ["ls", "-l"]}}, "bash", "ls -l"),
        ({"type": "shell_call", "action": {"commands": ["ls", "pwd"]}}, "bash", "ls\npwd"),
        ({"type": "apply_patch_call", "operation": {"diff": "+a"}}, "text_editor", "+a"),
        ({"type": "mcp_call", "arguments": "{}"}, "mcp", "{}"),
        ({"type": "computer_call", "action": {"type": "click"}}, "computer", ""),
    ],
    ids=lambda each: each["type"] if isinstance(each, dict) else "",
)
def test_hosted_steps_stay_as_they_are(item: dict[str, object], tool: str, query: str) -> None:
    (turn,) = decode({"input": [{**item, "id": "x"}]}).turns
    (step,) = turn.parts
    assert turn.role == "assistant"
    assert isinstance(step, exchange.HostedStep)
    assert (step.tool, step.query, step.id, step.dialect) == (tool, query, "x", "openai_responses")
    assert json.loads(bytes(step.value)) == {**item, "id": "x"}


def test_items_that_nobody_knows_are_foreign() -> None:
    (part,) = _parts({"type": "compaction", "encrypted_content": "x"})
    assert isinstance(part, exchange.Foreign)
    assert part.kind == "compaction"


def test_results_of_the_clients_own_running_are_the_users() -> None:
    (turn,) = decode({"input": [{"type": "shell_call_output", "call_id": "a", "output": []}]}).turns
    assert turn.role == "user"


# ---- seals


def test_openais_own_reasoning_is_encrypted() -> None:
    part = _parts({"type": "reasoning", "summary": [], "encrypted_content": "gAAA"})
    assert part == (exchange.Reasoning(encrypted=exchange.Seal(maker="openai", value="gAAA")),)


def test_a_stamped_signature_comes_back() -> None:
    summary = [{"type": "summary_text", "text": "Hm."}]
    part = _parts({"type": "reasoning", "summary": summary, "encrypted_content": origin.stamp(SEAL)})
    assert part == (exchange.Reasoning(text="Hm.", signature=SEAL),)


def test_a_calls_seal_finds_its_call_wherever_it_stands() -> None:
    call = {"type": "function_call", "call_id": "call_1.2", "name": "f", "arguments": "{}"}
    seal = {"type": "reasoning", "summary": [], "encrypted_content": origin.stamp(SEAL) + ".c.call_1.2"}
    wanted = (exchange.ToolCall(id="call_1.2", name="f", arguments="{}", seal=SEAL),)
    assert _parts(call, seal) == wanted
    assert _parts(seal, call) == wanted


def test_a_texts_seal_finds_its_text() -> None:
    seal = {"type": "reasoning", "summary": [], "encrypted_content": origin.stamp(SEAL) + ".t"}
    assert _parts({"role": "assistant", "content": "a"}, seal) == (exchange.Text(text="a", seal=SEAL),)


# ---- tools and parameters


def test_tools() -> None:
    request = decode(
        {
            "input": "a",
            "tools": [
                {"type": "function", "name": "f", "description": "d", "parameters": {"a": 1.0}, "strict": True},
                {"type": "custom", "name": "g", "format": {"type": "text"}},
                {
                    "type": "namespace",
                    "name": "n",
                    "description": "N",
                    "tools": [{"type": "function", "name": "h", "parameters": None, "defer_loading": True}],
                },
                {
                    "type": "web_search_preview",
                    "user_location": {"type": "approximate", "city": "Bern", "region": None},
                    "filters": {"allowed_domains": ["a.org"]},
                },
                {"type": "tool_search"},
            ],
        }
    )
    function, custom, grouped, search, other = request.tools
    assert function == exchange.Tool(name="f", description="d", parameters=msgspec.Raw(b'{"a":1.0}'), strict=True)
    assert custom == exchange.Tool(name="g", custom=True, format=msgspec.Raw(b'{"type":"text"}'))
    assert grouped == exchange.Tool(name="h", namespace="n", namespace_description="N")
    assert isinstance(search, exchange.HostedTool)
    assert isinstance(other, exchange.HostedTool)
    assert (search.kind, search.allowed_domains) == ("web_search", ("a.org",))
    assert bytes(search.location or b"") == b'{"type":"approximate","city":"Bern"}'
    assert other.kind == "tool_search"
    assert request.unsaid == ("tools.defer_loading",)


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        ("auto", exchange.ToolChoice(mode="auto")),
        ("none", exchange.ToolChoice(mode="none")),
        ("required", exchange.ToolChoice(mode="required")),
        ({"type": "function", "name": "f"}, exchange.ToolChoice(mode="named", names=("f",))),
        ({"type": "custom", "name": "f"}, exchange.ToolChoice(mode="named", names=("f",))),
        ({"type": "web_search_preview"}, exchange.ToolChoice(mode="named", names=("web_search",))),
        ({"type": "mcp", "server_label": "a"}, exchange.ToolChoice(mode="named", names=("mcp",))),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]},
            exchange.ToolChoice(mode="required", names=("f",)),
        ),
        (None, None),
    ],
)
def test_tool_choice(choice: object, wanted: object) -> None:
    assert decode({"input": "a", "tool_choice": choice}).parameters.tool_choice == wanted


def test_parameters() -> None:
    request = decode(
        {
            "input": "a",
            "max_output_tokens": 20,
            "temperature": 1,
            "top_p": 0.5,
            "top_logprobs": 2,
            "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
            "text": {
                "format": {"type": "json_schema", "name": "n", "schema": {"x": 1}, "strict": True},
                "verbosity": "low",
            },
            "reasoning": {"effort": "xhigh", "generate_summary": "concise"},
            "parallel_tool_calls": False,
            "metadata": {"a": "b"},
            "user": "u",
            "safety_identifier": "s",
            "prompt_cache_key": "k",
            "prompt_cache_retention": "24h",
            "service_tier": "flex",
            "store": True,
            "truncation": "disabled",
            "background": False,
            "stream_options": {"include_obfuscation": False},
            "previous_response_id": None,
        }
    )
    assert request.parameters == exchange.Parameters(
        max_tokens=20,
        temperature=1,
        top_p=0.5,
        logprobs=True,
        top_logprobs=2,
        response_format=exchange.JsonSchema(schema=msgspec.Raw(b'{"x":1}'), name="n", strict=True),
        verbosity="low",
        reasoning_effort=exchange.ReasoningEffort(effort="xhigh", summary="concise"),
        parallel_tool_calls=False,
        metadata={"a": "b"},
        user="u",
        safety_identifier="s",
        prompt_cache_key="k",
        prompt_cache_retention="24h",
        service_tier="flex",
        store=True,
    )
    assert isinstance(request.parameters.temperature, int)
    assert request.unsaid == ()


def test_nothing_said_is_nothing_said() -> None:
    request = decode({"input": "a", "temperature": None, "tools": None, "text": None, "reasoning": None})
    assert request.parameters == exchange.Parameters()


def test_what_has_no_word_is_named() -> None:
    request = decode(
        {
            "input": [{"role": "assistant", "content": "a", "phase": "commentary"}],
            "client_metadata": {},
            "max_tool_calls": 3,
            "truncation": "auto",
            "include": ["web_search_call.action.sources"],
            "reasoning": {"context": "all_turns"},
        }
    )
    assert set(request.unsaid) == {
        "client_metadata",
        "max_tool_calls",
        "truncation",
        "include",
        "reasoning.context",
        "input.phase",
    }


# ---- errors


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": 1}, "input"),
        ({"input": [1]}, "input[0]"),
        ({"input": [{"role": "user", "content": 1}]}, "input[0].content"),
        ({"input": [{"role": "tool", "content": "a"}]}, "input[0].role"),
        ({"input": [_message({"type": "input_text"})]}, "input[0].content[0].text"),
        ({"input": [_message({"type": "input_image"})]}, "input[0].content[0]"),
        ({"input": [_message({"type": "input_image", "image_url": {}})]}, "input[0].content[0].image_url"),
        ({"input": [_message({"type": "input_image", "image_url": "data:a"})]}, "input[0].content[0].image_url"),
        ({"input": [_message({"type": "input_file"})]}, "input[0].content[0]"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call", "call_id": "a", "name": "f"}]}, "input[0].arguments"),
        ({"input": [{"type": "function_call_output", "call_id": "a"}]}, "input[0].output"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0]"),
        ({"input": [{"type": "reasoning", "summary": "a"}]}, "input[0].summary"),
        ({"input": "a", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "a", "conversation": "conv_1"}, "conversation"),
        ({"input": "a", "prompt": {"id": "a"}}, "prompt"),
        ({"input": "a", "background": True}, "background"),
        ({"input": "a", "tools": {}}, "tools"),
        ({"input": "a", "tools": [{}]}, "tools[0].type"),
        ({"input": "a", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "a", "tools": [{"type": "function", "name": "f", "parameters": 1}]}, "tools[0].parameters"),
        (
            {"input": "a", "tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
            "tools[0].tools[0].name",
        ),
        ({"input": "a", "tool_choice": "any"}, "tool_choice"),
        ({"input": "a", "tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"input": "a", "temperature": "hot"}, "temperature"),
        ({"input": "a", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "a", "max_output_tokens": 1.5}, "max_output_tokens"),
        ({"input": "a", "store": "yes"}, "store"),
        ({"input": "a", "metadata": {"a": 1}}, "metadata.a"),
        ({"input": "a", "reasoning": {"effort": "huge"}}, "reasoning.effort"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"input": "a", "text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
        ({"input": "a", "include": "all"}, "include"),
    ],
)
def test_errors_name_the_field(body: dict[str, object], param: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        decode(body)
    assert caught.value.param == param
    assert caught.value.status == 400


def test_what_is_stored_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(errors.InvalidRequestError, match="send the whole conversation in 'input', with store: false"):
        decode({"input": "a", "previous_response_id": "resp_1"})


def test_the_envelope() -> None:
    assert INGRESS.read_envelope(fields({"model": "a", "stream": True})) == ("a", True, True)
    assert INGRESS.read_envelope(fields({"model": "a", "stream": None})) == ("a", False, True)
    for body in ({}, {"model": ""}, {"model": 1}, {"model": "a", "stream": "yes"}):
        with pytest.raises(errors.InvalidRequestError):
            INGRESS.read_envelope(fields(body))


def test_half_characters_and_numbers_out_of_range_are_errors() -> None:
    for value in (b'"\\ud800"', b"[1e999]", b"{", b"[" * 100_000):
        for name in ("input", "tools", "text", "metadata", "tool_choice", "temperature", "instructions"):
            given_fields = {"input": msgspec.Raw(b'"a"'), name: msgspec.Raw(value)}
            with pytest.raises(errors.InvalidRequestError):
                INGRESS.decode(given_fields, "m", False, b"")


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**30) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_words = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "call_id",
        "name",
        "arguments",
        "output",
        "summary",
        "encrypted_content",
        "image_url",
        "file_data",
        "format",
        "schema",
        "tools",
        "effort",
        "mode",
        "namespace",
        "parameters",
    ]
)
_kinds = st.sampled_from(
    [
        "message",
        "function_call",
        "function_call_output",
        "reasoning",
        "web_search_call",
        "input_text",
        "input_image",
        "function",
        "namespace",
        "web_search",
        "allowed_tools",
        "json_schema",
        "user",
        "assistant",
        "input_file",
    ]
)
_shaped = st.recursive(
    _json | _kinds,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=6),
    max_leaves=20,
)
_members = st.sampled_from(
    [
        "input",
        "tools",
        "tool_choice",
        "text",
        "reasoning",
        "include",
        "metadata",
        "instructions",
        "temperature",
        "store",
        "user",
        "truncation",
        "x",
        "stream",
        "prompt",
    ]
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(_members, _shaped, max_size=5))
def test_any_body_is_a_request_or_an_error(body: dict[str, object]) -> None:
    with contextlib.suppress(errors.InvalidRequestError):
        decode(body)
