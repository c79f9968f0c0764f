"""Everything that was recorded of the API, and of clients that speak it."""

import json
from pathlib import Path

import pytest

from gateway.dialects.anthropic_messages import anthropic_wire as wire
from trunkline_gateway import errors, exchange
from trunkline_gateway.dialects.anthropic_messages import CODEC

_NOT_HERE = pytest.mark.skip(reason="the recordings of providers are not beside this checkout")


def _stream(response: dict[str, object]) -> bytes:
    if "sse" in response:
        return "".join(response["sse"]).encode()  # type: ignore[arg-type]
    return wire.stream_of(response["events"])  # type: ignore[arg-type]


def _expected(message: dict[str, object]) -> list[object]:
    """What the SDK reads, block by block, in words of the exchange."""
    said: list[object] = []
    for block in message["content"]:  # type: ignore[attr-defined]
        kind = block["type"]
        if kind == "text":
            said.append(block["text"])
        elif kind == "thinking":
            said.append(("thinking", block["thinking"], block.get("signature") or None))
        elif kind == "redacted_thinking":
            said.append(("redacted", block["data"]))
        elif kind == "tool_use":
            said.append(("call", block["id"], block["name"], block["input"]))
        else:
            said.append(kind)
    return said


def _found(answer: exchange.Answer) -> list[object]:
    said: list[object] = []
    for part in answer.choices[0].parts:
        match part:
            case exchange.Text():
                said.append(part.text)
            case exchange.Reasoning(encrypted=exchange.Seal() as seal):
                said.append(("redacted", seal.value))
            case exchange.Reasoning():
                said.append(("thinking", part.text, part.signature.value if part.signature else None))
            case exchange.ToolCall():
                said.append(("call", part.id, part.name, json.loads(part.arguments)))
            case exchange.HostedStep() | exchange.Foreign():
                said.append(json.loads(bytes(part.value))["type"])
            case _:
                pytest.fail(f"{part}")
    return said


def _sdk(stream: bytes) -> dict[str, object]:  # noqa: C901  # one branch for each kind of event
    """Blocks and all as the events say, accumulated in the plainest way."""
    message: dict[str, object] = {}
    blocks: list[dict[str, object]] = []
    arguments: dict[int, str] = {}
    for frame in wire.frames(stream):
        if not frame.data:
            continue
        event = json.loads(frame.data)
        if event["type"] == "message":
            return event
        if event["type"] == "message_start":
            message |= event["message"]
        elif event["type"] == "content_block_start":
            blocks.append(event["content_block"])
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            for name in ("text", "thinking", "signature"):
                if name in delta:
                    block[name] = block.get(name, "") + delta[name]
            if "partial_json" in delta:
                arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
        elif event["type"] == "message_delta":
            message |= event["delta"]
            message["usage"] = {**message["usage"], **event["usage"]}  # type: ignore[dict-item]
    for index, text in arguments.items():
        if text:
            blocks[index]["input"] = json.loads(text)
    return {**message, "content": blocks}


@wire.recorded("anthropic.messages.*")
def test_what_was_recorded_is_read_as_the_sdk_reads_it(path: Path) -> None:
    _check(path)


@wire.recorded("vertex.raw_predict*")
def test_what_was_recorded_of_vertex_is_read(path: Path) -> None:
    _check(path)


def _check(path: Path) -> None:
    response = json.loads(path.read_text())["response"]
    if response["status"] != 200:
        error = wire.CHAT_UP.read_error(response["status"], json.dumps(response["json"]).encode())
        assert error.message == response["json"]["error"]["message"]
        assert error.type == response["json"]["error"]["type"]
        return
    if "json" in response:
        message = response["json"]
        answer = wire.CHAT_UP.decode(json.dumps(message).encode(), wire.asked())
    else:
        stream = _stream(response)
        message = _sdk(stream)
        answer = exchange.assemble(wire.read(stream))
    assert isinstance(answer, exchange.Answer)
    assert _found(answer) == _expected(message)
    assert answer.id == message["id"]
    assert answer.model == message["model"]
    choice = answer.choices[0]
    assert choice.finish_reason != "other"
    assert choice.stop_sequence == message["stop_sequence"]
    said = message["usage"]
    beside = (said.get("cache_read_input_tokens") or 0) + (said.get("cache_creation_input_tokens") or 0)
    assert answer.usage is not None
    assert answer.usage.prompt == said["input_tokens"] + beside
    assert answer.usage.completion == said["output_tokens"]
    _comes_out_again(answer)


def _comes_out_again(answer: exchange.Answer) -> None:
    """Whole and streamed, a client gets one and the same message."""
    whole = wire.CHAT_IN.encode(answer, wire.chat())
    assert whole.lost == ()
    streamed, lost = wire.write(exchange.events_of(answer))
    assert lost == ()
    again = wire.CHAT_UP.decode(whole.body, wire.asked())
    after = exchange.assemble(wire.read(streamed))
    assert isinstance(again, exchange.Answer)
    assert wire.plain(again.choices) == wire.plain(after.choices)
    assert again.usage == after.usage == answer.usage


@wire.recorded("anthropic.count_tokens.*")
def test_counts_that_were_recorded_are_read(path: Path) -> None:
    response = json.loads(path.read_text())["response"]
    body = json.dumps(response["json"]).encode()
    if response["status"] == 200:
        count = wire.COUNT_UP.decode(body, wire.asked())
        assert count == exchange.TokenCount(prompt=response["json"]["input_tokens"])
        assert json.loads(wire.COUNT_IN.encode(count, wire.chat()).body) == response["json"]
    else:
        assert wire.COUNT_UP.read_error(response["status"], body).type == response["json"]["error"]["type"]


_BODIES = [pytest.param(body, id=name) for name, body in wire.bodies()] or [pytest.param(None, marks=_NOT_HERE)]
_MAY_BE_UNSAID = {
    "cache_control",
    "container",
    "context_management",
    "messages.content.caller",
    "messages.content.content.tool_reference",
    "messages.content.search_result",
    "messages.content.source.content",
    "tools.allowed_callers",
    "tools.defer_loading",
}


@pytest.mark.parametrize("body", _BODIES)
def test_what_clients_have_sent_comes_out_as_it_was(body: dict[str, object]) -> None:
    model = str(body.get("model", wire.OLD))
    if body.get("thinking") == {"type": "adaptive"} and "claude" not in model:
        model = wire.NEW  # Claude Code does not know the name, and takes it for that of a new model
    request = wire.CHAT_IN.decode(wire.fields(body), model, bool(body.get("stream")), b"")
    assert isinstance(request, exchange.ChatRequest)
    assert set(request.unsaid) <= _MAY_BE_UNSAID
    out, lost = wire.encode(request, wire.target(model))
    assert lost <= {"reasoning_effort", "system_position"}
    assert out["model"] == model
    for name in ("max_tokens", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "tool_choice"):
        if name in body:
            assert out[name] == body[name]
    if "system_position" not in lost and not request.unsaid:
        assert _texts(out["messages"]) == (_texts(body["messages"]) or ["."])  # one that says nothing is refused
    assert _tool_names(out) == _tool_names(body)
    if "thinking" in body and "reasoning_effort" not in lost:
        assert out["thinking"] == body["thinking"]


def _tool_names(body: dict[str, object]) -> list[object]:
    return [tool.get("name") for tool in body.get("tools") or []]  # type: ignore[attr-defined]


def _texts(value: object) -> list[str]:
    """All that is said in messages, and all calls, wherever it stands."""
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    if isinstance(value, dict):
        own = [value[name] for name in ("text", "thinking", "data", "url", "id", "tool_use_id") if name in value]
        own += [json.dumps(value["input"], sort_keys=True)] if "input" in value else []
        inside = value.get("content")
        below = _texts([{"type": "text", "text": inside}] if isinstance(inside, str) else inside)
        return [text for text in own if isinstance(text, str) and text] + below + _texts(value.get("source"))
    return []


def test_a_count_needs_no_max_tokens_and_says_none() -> None:
    body = {
        "model": "m",
        "system": "s",
        "messages": [{"role": "user", "content": "hi"}],
        "thinking": {"type": "adaptive"},
    }
    request = wire.COUNT_IN.decode(wire.fields(body), "m", False, b"")
    out = json.loads(wire.COUNT_UP.encode(request, wire.target()).body)
    assert set(out) == {"model", "system", "messages", "thinking"}


def test_the_dialect_says_what_it_is() -> None:
    assert CODEC.name == "anthropic_messages"
    assert set(CODEC.ingress) == set(CODEC.upstream) == {"chat", "count_tokens"}
    assert (wire.CHAT_UP.path, wire.COUNT_UP.path) == ("/v1/messages", "/v1/messages/count_tokens")
    assert wire.CHAT_UP.framing == "sse"


def test_only_conversations_are_encoded() -> None:
    with pytest.raises(errors.InvalidRequestError):
        wire.CHAT_UP.encode(exchange.EmbeddingsRequest(model="m", inputs=("a",)), wire.target())
