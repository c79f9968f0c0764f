"""Long conversations and answers of one shape over and over, read and written in linear time.

Where something looks at all that came before it, these take up to half a minute, and else a fraction of a second. The
bound is far above that, and below what a square is.
"""

import json
import time
from collections.abc import Callable, Mapping

import msgspec
import pytest

from trunkline_gateway import exchange, registry, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.exchange import Seal, Tool, origin

MANY = 12_000
SECONDS = 4.0

MODELS = {
    "openai_chat": "gpt-5",
    "openai_responses": "gpt-5",
    "anthropic_messages": "claude-sonnet-4-5",
    "gemini_generate": "gemini-3-pro",
    "bedrock_converse": "anthropic.claude-sonnet-4-5-v1:0",
}


def decode(dialect: str, body: Mapping[str, object]) -> exchange.Request:
    fields = msgspec.json.decode(json.dumps(body), type=dict[str, msgspec.Raw])
    return registry.INGRESS[dialect, "chat"].decode(fields, "m", False, b"")


def results_between_texts() -> tuple[str, Mapping[str, object]]:
    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "f", "arguments": "{}"}} for n in range(MANY)]
    messages: list[object] = [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": calls}]
    for number in range(MANY):
        messages.append({"role": "tool", "tool_call_id": f"c{number}", "content": "r"})
        messages.append({"role": "user", "content": "x"})
    return "openai_chat", {"model": "m", "messages": messages}


def allowed_tools() -> tuple[str, Mapping[str, object]]:
    named = [{"type": "function", "function": {"name": f"f{number}"}} for number in range(MANY)]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": named}}
    messages = [{"role": "user", "content": "q"}]
    return "openai_chat", {"model": "m", "messages": messages, "tools": named, "tool_choice": choice}


def marked_documents() -> tuple[str, Mapping[str, object]]:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    document = {"type": "document", "source": source, "cache_control": {"type": "ephemeral"}}
    return "anthropic_messages", {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [document] * MANY}],
    }


def thoughts_in_pieces() -> tuple[str, Mapping[str, object]]:
    details = [{"type": "reasoning.text", "text": "abcd", "index": 0}] * MANY
    said = {"role": "assistant", "content": "x", "reasoning_details": details}
    return "openai_chat", {"model": "m", "messages": [{"role": "user", "content": "q"}, said]}


def seals_of_a_text_before_calls() -> tuple[str, Mapping[str, object]]:
    sealed = origin.stamp(Seal(maker="google", account="acc0unt0", value="Zm9v")) + ".t"
    items: list[object] = [{"type": "message", "role": "assistant", "content": "a"}]
    for number in range(MANY):
        items.append({"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": "{}"})
        items.append({"type": "reasoning", "summary": [], "encrypted_content": sealed})
    return "openai_responses", {"model": "m", "input": [*items, {"role": "user", "content": "q"}]}


@pytest.mark.parametrize(
    "made",
    [
        results_between_texts,
        allowed_tools,
        marked_documents,
        thoughts_in_pieces,
        seals_of_a_text_before_calls,
    ],
)
def test_requests(made: Callable[[], tuple[str, Mapping[str, object]]]) -> None:
    dialect, body = made()
    began = time.process_time()
    request = decode(dialect, body)
    read = time.process_time() - began
    assert read < SECONDS
    for name, model in MODELS.items():
        began = time.process_time()
        registry.UPSTREAM[name, "chat"].encode(request, Target(model=model, account="acc0unt0"))
        assert time.process_time() - began < SECONDS, name


@pytest.mark.parametrize("arguments", ["{}", "{"])
def test_calls_of_a_stream(arguments: str) -> None:
    side = registry.UPSTREAM["openai_chat", "chat"]
    assert side.stream_decoder is not None
    decoder = side.stream_decoder(Asked(target=Target(model="m"), seed="s"))
    began = time.process_time()
    events: list[exchange.Event] = []
    for number in range(MANY):
        call = {"index": number, "id": f"c{number}", "function": {"name": "f", "arguments": arguments}}
        chunk = {"id": "1", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}
        events += decoder.receive(sse.ServerSentEvent(b"data: " + json.dumps(chunk).encode() + b"\n\n"))
    events += decoder.receive(sse.ServerSentEvent(b"data: [DONE]\n\n"))
    assert time.process_time() - began < SECONDS
    assert len(exchange.assemble(events).choices[0].parts) == MANY


def test_the_budget_of_a_word_is_exact_however_many_tokens_there_may_be() -> None:
    low, high = exchange.ReasoningEffort(effort="low"), exchange.ReasoningEffort(effort="xhigh")
    assert exchange.effort.budget_of(low, 10**400) == 2 * 10**399
    assert exchange.effort.budget_of(high, 20_000) == 19_000


def test_results_of_all_the_users_turns_come_before_what_is_said_beside_them() -> None:
    dialect, body = results_between_texts()
    messages = body["messages"]
    assert isinstance(messages, list)
    calls = messages[1]["tool_calls"][:3]
    few = {**body, "messages": [messages[0], {**messages[1], "tool_calls": calls}, *messages[2:8]]}
    encoded = registry.UPSTREAM["anthropic_messages", "chat"].encode(
        decode(dialect, few), Target(model="claude-3-opus")
    )
    content = json.loads(encoded.body)["messages"][2]["content"]
    assert [each.get("tool_use_id") or each["text"] for each in content] == ["c0", "c1", "c2", "x", "x", "x"]


def test_marks_of_the_cache_within_results_count() -> None:
    marked = {"type": "text", "text": "r", "cache_control": {"type": "ephemeral"}}
    calls = [{"type": "tool_use", "id": f"t{number}", "name": "f", "input": {}} for number in range(6)]
    results = [{"type": "tool_result", "tool_use_id": each["id"], "content": [marked]} for each in calls]
    messages = [
        {"role": "user", "content": [marked]},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    request = decode("anthropic_messages", {"model": "m", "max_tokens": 9, "messages": messages})
    encoded = registry.UPSTREAM["anthropic_messages", "chat"].encode(request, Target(model="claude-sonnet-4-5"))
    assert encoded.body.count(b'"cache_control"') == 4
    assert "cache_control" in encoded.lost


def test_a_name_that_a_schema_requires_and_is_none_is_left_out() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a", {}, ["b"], 3]}
    request = exchange.ChatRequest(
        model="m",
        turns=(exchange.Turn(role="user", parts=(exchange.Text(text="q"),)),),
        tools=(Tool(name="f", parameters=msgspec.Raw(json.dumps(schema).encode())),),
    )
    target = Target(model="gemini-2.0-flash", quirks=frozenset({"old_schema"}))
    body = json.loads(registry.UPSTREAM["gemini_generate", "chat"].encode(request, target).body)
    assert body["tools"][0]["functionDeclarations"][0]["parameters"]["required"] == ["a"]


@pytest.mark.parametrize(
    ("dialect", "frames"),
    [
        (
            "gemini_generate",
            [
                rb'{"candidates":[{"content":{"parts":[{"text":"a\ud83d"}]}}]}',
                rb'{"candidates":[{"content":{"parts":[{"text":"\ude00 b"}]},"finishReason":"STOP"}]}',
            ],
        ),
        (
            "openai_responses",
            [
                b'{"type":"response.created","response":{"id":"r"}}',
                rb'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a\ud83d"}',
                rb'{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"\ude00 b"}',
                b'{"type":"response.completed","response":{"status":"completed","output":[]}}',
            ],
        ),
    ],
)
def test_halves_of_a_character_take_nothing_with_them(dialect: str, frames: list[bytes]) -> None:
    side = registry.UPSTREAM[dialect, "chat"]
    assert side.stream_decoder is not None
    decoder = side.stream_decoder(Asked(target=Target(model="m"), seed="s"))
    events = [event for data in frames for event in decoder.receive(sse.ServerSentEvent(b"data: " + data + b"\n\n"))]
    answer = exchange.assemble([*events, *decoder.receive_eof()])
    assert answer.choices[0].parts == (exchange.Text(text="a\ufffd\ufffd b"),)


def test_what_openai_thought_goes_back_to_it_as_a_summary_whoever_carried_it() -> None:
    seal = origin.stamp(Seal(maker="openai", account="acc0unt0", value="gAAAA"))
    said = [{"type": "thinking", "thinking": "S", "signature": seal}, {"type": "text", "text": "a"}]
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "go"},
    ]
    request = decode("anthropic_messages", {"model": "m", "max_tokens": 99, "messages": messages})
    target = Target(model="gpt-5", provider="openai", account="acc0unt0")
    body = json.loads(registry.UPSTREAM["openai_responses", "chat"].encode(request, target).body)
    wanted = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}], "encrypted_content": "gAAAA"}
    assert body["input"][1] == wanted


def test_items_of_a_response_have_each_their_own_id() -> None:
    part = exchange.Reasoning(text="a", summary=True, id="rs_1")
    answer = exchange.Answer(choices=(exchange.Choice(parts=(part, part), finish_reason="stop"),), id="r", model="m")
    request = decode("openai_responses", {"model": "m", "input": "q"})
    body = json.loads(registry.INGRESS["openai_responses", "chat"].encode(answer, request).body)
    assert body["output"][0]["id"] == "rs_1"
    assert len({item["id"] for item in body["output"]}) == 2


def test_a_users_name_that_responses_would_refuse_is_shortened() -> None:
    body = {
        "model": "m",
        "max_tokens": 99,
        "messages": [{"role": "user", "content": "q"}],
        "metadata": {"user_id": "u" * 200},
    }
    encoded = registry.UPSTREAM["openai_responses", "chat"].encode(
        decode("anthropic_messages", body), Target(model="gpt-5", provider="openai")
    )
    assert len(json.loads(encoded.body)["user"]) == 64
