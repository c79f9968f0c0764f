"""Signatures and encrypted reasoning travel through clients of every dialect, and come back to who can read them.

One turn: a provider thinks, seals it and calls a tool; the client sends back what it got, with the result. The same
account gets its seals again, byte for byte; another one does not, and it is named.
"""

import base64
import json
from collections.abc import Callable, Mapping, Sequence

import msgspec
import pytest

from corpus import codecs_here, sdks
from corpus.codecs_here import TARGET
from corpus.requests import PROVIDERS
from trunkline_gateway import exchange
from trunkline_gateway.dialect import Target
from trunkline_gateway.exchange import origin

SEAL = base64.b64encode(b"sealed by the provider").decode()
ARGUMENTS = {"city": "Rome"}
TOOL = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}

ANSWERS: Mapping[str, object] = {
    "openai_responses": {
        "id": "resp_1", "object": "response", "status": "completed", "model": "model", "created_at": 1_700_000_000,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "a thought"}],
             "encrypted_content": SEAL},
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather",
             "arguments": json.dumps(ARGUMENTS), "status": "completed"},
        ],
    },
    "anthropic_messages": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "model", "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "content": [
            {"type": "thinking", "thinking": "a thought", "signature": SEAL},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": ARGUMENTS},
        ],
    },
    "gemini_generate": {
        "candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [
            {"text": "a thought", "thought": True},
            {"functionCall": {"name": "get_weather", "args": ARGUMENTS}, "thoughtSignature": SEAL},
        ]}}],
    },
    "bedrock_converse": {
        "output": {"message": {"role": "assistant", "content": [
            {"reasoningContent": {"reasoningText": {"text": "a thought", "signature": SEAL}}},
            {"toolUse": {"toolUseId": "tooluse_1", "name": "get_weather", "input": ARGUMENTS}},
        ]}},
        "stopReason": "tool_use", "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    },
}  # fmt: skip
MODELS = {**PROVIDERS, "bedrock_converse": "anthropic.claude-sonnet-4-5-20250929-v1:0"}


def _chat(body: dict[str, object]) -> Mapping[str, object]:
    message = body["choices"][0]["message"]
    call = message["tool_calls"][0]["id"]
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": TOOL}}
    result = {"role": "tool", "tool_call_id": call, "content": "sunny"}
    return {"model": "m", "messages": [{"role": "user", "content": "hello"}, message, result], "tools": [tool]}


def _responses(body: dict[str, object]) -> Mapping[str, object]:
    output = body["output"]
    call = next(item["call_id"] for item in output if item["type"] == "function_call")
    tool = {"type": "function", "name": "get_weather", "parameters": TOOL, "strict": False}
    result = {"type": "function_call_output", "call_id": call, "output": "sunny"}
    first = {"role": "user", "content": "hello"}
    return {"model": "m", "input": [first, *output, result], "tools": [tool], "store": False}


def _messages(body: dict[str, object]) -> Mapping[str, object]:
    call = next(block["id"] for block in body["content"] if block["type"] == "tool_use")
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": body["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "sunny"}]},
    ]
    tool = {"name": "get_weather", "input_schema": TOOL}
    return {"model": "m", "max_tokens": 9000, "messages": turns, "tools": [tool]}


def _gemini(body: dict[str, object]) -> Mapping[str, object]:
    content = body["candidates"][0]["content"]
    call = next(part["functionCall"] for part in content["parts"] if "functionCall" in part)
    result = {
        "functionResponse": {
            **{key: call[key] for key in ("id", "name") if key in call},
            "response": {"output": "sunny"},
        }
    }
    turns = [{"role": "user", "parts": [{"text": "hello"}]}, content, {"role": "user", "parts": [result]}]
    declared = {"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": TOOL}]}
    return {"contents": turns, "tools": [declared]}


NEXT_TURN: Mapping[str, Callable[[dict[str, object]], Mapping[str, object]]] = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic_messages": _messages,
    "gemini_generate": _gemini,
}
"""What a client sends next: the answer as it is, and the result."""


def _next_request(upstream: str, ingress: str, target: Target, *, stream: bool) -> exchange.ChatRequest:
    raw = json.dumps(ANSWERS[upstream]).encode()
    answer = codecs_here.upstream(upstream).decode(raw, codecs_here.asked(target=target))
    assert isinstance(answer, exchange.Answer)
    return codecs_here.decode_request(ingress, NEXT_TURN[ingress](_as_clients_get_it(ingress, answer, stream=stream)))


def _as_clients_get_it(ingress: str, answer: exchange.Answer, *, stream: bool) -> dict[str, object]:
    if stream:
        written = codecs_here.stream_encoder(ingress).encode(exchange.events_of(answer))
        return {**sdks.PUT_TOGETHER[ingress](written)}
    body: dict[str, object] = json.loads(codecs_here.encode_whole(ingress, answer).body)
    return body


def _seals(dialect: str, body: Mapping[str, object]) -> Sequence[object]:
    """All that is sealed in a request, wherever it is."""
    found: list[object] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            found.extend(value[key] for key in ("signature", "thoughtSignature", "encrypted_content") if key in value)
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    walk(body)
    return [each for each in found if each != "skip_thought_signature_validator"]


def _sealed_text(value: object) -> object:
    """What stands beside the seal."""
    if isinstance(value, dict):
        if SEAL in value.values():
            shown = value.get("thinking", value.get("text", value.get("summary")))
            return "".join(each["text"] for each in shown) if isinstance(shown, list) else shown
        value = list(value.values())
    if isinstance(value, list):
        return next((found for each in value if (found := _sealed_text(each)) is not None), None)
    return None


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ingress", codecs_here.INGRESSES)
@pytest.mark.parametrize("upstream", sorted(ANSWERS))
def test_the_same_account_gets_its_seal_back(upstream: str, ingress: str, stream: bool) -> None:
    target = at_account(codecs_here.target(PROVIDERS[upstream], MODELS[upstream]))
    request = _next_request(upstream, ingress, target, stream=stream)
    encoded = codecs_here.upstream(upstream).encode(request, target)
    body = json.loads(encoded.body)
    assert _seals(upstream, body) == [SEAL]
    if upstream in (
        "anthropic_messages",
        "bedrock_converse",
    ):  # elsewhere the seal is of the call, or holds the thought
        assert _sealed_text(body) == "a thought", "a seal is of its text"
    assert "reasoning_signature" not in encoded.lost
    assert "reasoning_encrypted" not in encoded.lost


@pytest.mark.parametrize("ingress", codecs_here.INGRESSES)
@pytest.mark.parametrize("upstream", sorted(ANSWERS))
def test_another_account_does_not_get_it(upstream: str, ingress: str) -> None:
    target = at_account(codecs_here.target(PROVIDERS[upstream], MODELS[upstream]))
    request = _next_request(upstream, ingress, target, stream=False)
    for other in codecs_here.CHAT_DIALECTS:
        elsewhere = codecs_here.target(PROVIDERS[other], MODELS[other])
        elsewhere = at_account(elsewhere, account=origin.fingerprint("another account"))
        encoded = codecs_here.upstream(other).encode(request, elsewhere)
        assert SEAL not in encoded.body.decode()
        assert origin.MARK not in encoded.body.decode(), "a stamped seal is for the gateway"
        assert {"reasoning_signature", "reasoning_encrypted", "reasoning"} & set(encoded.lost), other


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("ingress", ["anthropic_messages", "gemini_generate", "openai_responses"])
def test_what_nobody_sealed_is_marked_and_nothing_is_lost_with_the_mark(ingress: str, stream: bool) -> None:
    """Passed on unmarked to the client's own provider, it would be refused."""
    parts = (
        exchange.Reasoning(text="a thought", id="rs_1"),
        exchange.ToolCall(id="call_1", name="get_weather", arguments=json.dumps(ARGUMENTS)),
    )
    answer = exchange.Answer(choices=(exchange.Choice(parts=parts, finish_reason="tool_calls"),), id="1", model="m")
    sent = NEXT_TURN[ingress](_as_clients_get_it(ingress, answer, stream=stream))
    assert f'"{origin.MARK}' in json.dumps(sent)
    request = codecs_here.decode_request(ingress, sent)
    assert not origin.has_seals(request)
    target = at_account(codecs_here.target(PROVIDERS[ingress], MODELS[ingress]))
    encoded = codecs_here.upstream(ingress).encode(request, target)
    assert origin.MARK not in encoded.body.decode()
    assert _seals(ingress, json.loads(encoded.body)) == []
    assert not {"reasoning_signature", "reasoning_encrypted"} & set(encoded.lost)


def at_account(target: Target, account: str = TARGET.account) -> Target:
    """The target at another account."""
    return Target(model=target.model, provider=target.provider, quirks=target.quirks, account=account)


def test_a_seal_of_nobody_known_is_taken_for_its_dialects_own() -> None:
    """A client that spoke to the provider itself before."""
    blocks = [{"type": "thinking", "thinking": "a thought", "signature": SEAL}, {"type": "text", "text": "answer"}]
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": blocks},
        {"role": "user", "content": "go on"},
    ]
    request = codecs_here.decode_request("anthropic_messages", {"model": "m", "max_tokens": 9000, "messages": turns})
    reasoning = next(part for turn in request.turns for part in turn.parts if isinstance(part, exchange.Reasoning))
    assert reasoning.signature == exchange.Seal(maker="anthropic", account="", value=SEAL)
    assert msgspec.structs.asdict(reasoning)["encrypted"] is None
