"""What the tests of the Messages API share: recordings, clients' requests, and the official SDK as the judge."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import pydantic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from anthropic.types.beta import message_create_params as beta_params

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.anthropic_messages import CODEC

SHARED = Path(__file__).parents[4].parent / "shared"
CORPUS = SHARED / "corpus" / "dev"
CLIENTS = SHARED / "clients"

CHAT_IN = CODEC.ingress["chat"]
COUNT_IN = CODEC.ingress["count_tokens"]
CHAT_UP = CODEC.upstream["chat"]
COUNT_UP = CODEC.upstream["count_tokens"]

ACCOUNT = "acc0unt0"
OLD = "claude-sonnet-4-5-20250929"
NEW = "claude-opus-4-8"

_EVENT: pydantic.TypeAdapter[object] = pydantic.TypeAdapter(RawMessageStreamEvent)
_REQUEST: pydantic.TypeAdapter[object] = pydantic.TypeAdapter(beta_params.MessageCreateParams)


def asked(request: exchange.Request | None = None) -> Asked:
    return Asked(target=target(), request=request, seed="s33d", now=1_700_000_000)


def target(model: str = OLD, *quirks: str, **capabilities: object) -> Target:
    known = msgspec.convert(capabilities, type(Target(model="").capabilities))
    return Target(model=model, account=ACCOUNT, quirks=frozenset(quirks), capabilities=known)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


def plain(value: object) -> object:
    """For comparing: bytes of JSON as the JSON that they are."""
    return json.loads(msgspec.json.encode(value))


# ---- requests --------------------------------------------------------------------------------------------------------


def fields(body: object) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, msgspec.Raw])


def decode(body: dict[str, object]) -> exchange.ChatRequest:
    body = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}], **body}
    request = CHAT_IN.decode(fields(body), str(body["model"]), bool(body.get("stream")), b"beta=true")
    assert isinstance(request, exchange.ChatRequest)
    return request


def chat(*turns: exchange.Turn, tools: Sequence[object] = (), **parameters: object) -> exchange.ChatRequest:
    said = turns or (user("hi"),)
    return exchange.ChatRequest(
        model="m",
        turns=said,
        tools=tuple(tools),  # type: ignore[arg-type]
        parameters=exchange.Parameters(**parameters),  # type: ignore[arg-type]
    )


def user(*parts: exchange.Part | str) -> exchange.Turn:
    return _turn("user", parts)


def assistant(*parts: exchange.Part | str) -> exchange.Turn:
    return _turn("assistant", parts)


def system(*parts: exchange.Part | str) -> exchange.Turn:
    return _turn("system", parts)


def _turn(role: exchange.Role, parts: Iterable[exchange.Part | str]) -> exchange.Turn:
    said = tuple(exchange.Text(text=part) if isinstance(part, str) else part for part in parts)
    return exchange.Turn(role=role, parts=said)


def encode(request: exchange.ChatRequest, to: Target | None = None) -> tuple[dict[str, object], set[str]]:
    """The body as JSON, which the official SDK takes, and what is lost, by names that are known."""
    encoded = CHAT_UP.encode(request, to or target())
    body = json.loads(encoded.body)
    _REQUEST.validate_python(body)
    return body, set(encoded.lost)


# ---- answers ---------------------------------------------------------------------------------------------------------


def frames(stream: bytes) -> Sequence[sse.ServerSentEvent]:
    return sse.EventSplitter().receive_data(stream)


def stream_of(events: Iterable[object]) -> bytes:
    """Events as the API frames them."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (str(event.get("type")).encode(), json.dumps(event).encode())
        for event in events
        if isinstance(event, dict)
    )


def read(stream: bytes, about: Asked | None = None) -> list[exchange.Event]:
    decoder = CHAT_UP.stream_decoder
    assert decoder is not None
    receiver = decoder(about or asked())
    events = [event for frame in frames(stream) for event in receiver.receive(frame)]
    return [*events, *receiver.receive_eof()]


def write(events: Sequence[exchange.Event], *, pieces: int = 1) -> tuple[bytes, tuple[str, ...]]:
    encoder = CHAT_IN.stream_encoder
    assert encoder is not None
    writer = encoder(chat())
    said = b"".join(writer.encode(events[at : at + pieces]) for at in range(0, len(events), pieces))
    return said, writer.lost


def payloads(stream: bytes) -> list[dict[str, object]]:
    """The events of a stream for a client, each of which its SDK must take."""
    said = [json.loads(frame.data) for frame in frames(stream)]
    for frame, event in zip(frames(stream), said, strict=True):
        assert frame.name.decode() == event["type"]
        if event["type"] not in ("ping", "error"):
            _EVENT.validate_python(event)
    return said


def accumulated(stream: bytes) -> dict[str, object]:
    """The message that the official SDK makes of a stream."""
    from anthropic.lib.streaming._messages import accumulate_event

    snapshot = None
    buffers: dict[int, bytes] = {}
    for event in payloads(stream):
        if event["type"] != "ping":
            parsed = _EVENT.validate_python(event)
            snapshot = accumulate_event(event=parsed, current_snapshot=snapshot, json_bufs=buffers)  # type: ignore[arg-type]
    assert snapshot is not None
    return snapshot.model_dump(exclude_none=True)


def message(body: bytes) -> dict[str, object]:
    return Message.model_validate(json.loads(body), strict=True).model_dump(exclude_none=True)


# ---- streams of the API and for clients, block by block ------------------------------------------------------------

START = {
    "type": "message_start",
    "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 3, "output_tokens": 1}},
}
STOPS = [
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
    {"type": "message_stop"},
]


def block(index: int, block: dict[str, object], *deltas: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def streamed(*blocks: list[dict[str, object]]) -> bytes:
    return stream_of([START, *(event for block in blocks for event in block), *STOPS])


def json_delta(text: str) -> dict[str, object]:
    return {"type": "input_json_delta", "partial_json": text}


def check_blocks(said: Sequence[dict[str, object]]) -> None:
    """One message, numbers without gaps, one start and one stop each, no delta outside, one text open at most."""
    assert [event["type"] for event in said].count("message_start") == 1
    assert said[0]["type"] == "message_start"
    assert [event["type"] for event in said[-2:]] == ["message_delta", "message_stop"]
    begun: dict[object, str] = {}
    open_: set[object] = set()
    for event in said:
        if event["type"] == "content_block_start":
            assert event["index"] == len(begun)
            kind = event["content_block"]["type"]  # type: ignore[index]
            if kind in ("text", "thinking"):
                assert not [each for each in open_ if begun[each] in ("text", "thinking")]
            begun[event["index"]] = kind
            open_.add(event["index"])
        elif event["type"] == "content_block_delta":
            assert event["index"] in open_
            delta = event["delta"]["type"]  # type: ignore[index]
            assert (
                delta
                in {
                    "text": ("text_delta", "citations_delta"),
                    "thinking": ("thinking_delta", "signature_delta"),
                    "tool_use": ("input_json_delta",),
                }[begun[event["index"]]]
            )
        elif event["type"] == "content_block_stop":
            open_.remove(event["index"])
    assert not open_


# ---- recordings ------------------------------------------------------------------------------------------------------


def recordings(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in CORPUS.glob(pattern))


def recorded(pattern: str) -> pytest.MarkDecorator:
    paths = recordings(pattern)
    skip = pytest.mark.skip(reason="the recordings of providers are not beside this checkout")
    cases = [pytest.param(path, id=path.stem) for path in paths] or [pytest.param(None, marks=skip)]
    return pytest.mark.parametrize("path", cases)


def bodies() -> Iterable[tuple[str, dict[str, object]]]:
    """Requests that clients have sent to the API."""
    for path in recordings("anthropic.messages.*", "vertex.raw_predict*"):
        body = (json.loads(path.read_text()).get("request") or {}).get("json")
        if isinstance(body, dict) and "messages" in body and "max_tokens" in body:
            yield path.stem, body
    for path in sorted(CLIENTS.glob("*.json")):
        for number, request in enumerate(json.loads(path.read_text())["requests"]):
            body = request.get("body_json")
            if "/v1/messages" in request["path"] and isinstance(body, dict) and "max_tokens" in body:
                yield f"{path.stem}-{number}", body
