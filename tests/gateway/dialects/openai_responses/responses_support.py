"""What the tests of OpenAI responses share."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from trunkline_gateway import exchange, sse
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.openai_responses import CODEC

ROOT = Path(__file__).parents[4]
SHARED = ROOT.parent / "shared"
RECORDINGS = sorted((SHARED / "corpus" / "dev").glob("*.responses.*.json"))

UPSTREAM = CODEC.upstream["chat"]
INGRESS = CODEC.ingress["chat"]
ACCOUNT = "abcdefgh"
TARGET = Target(model="gpt-5", provider="openai", account=ACCOUNT)
ASKED = Asked(target=TARGET, seed="s", now=7)
REQUEST = exchange.ChatRequest(model="m", turns=(), stream=True)

_EVENT = TypeAdapter(ResponseStreamEvent)


def fields(body: object) -> Mapping[str, msgspec.Raw]:
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, msgspec.Raw])


def decode(body: Mapping[str, object]) -> exchange.ChatRequest:
    return INGRESS.decode(fields({"model": "m", **body}), "m", bool(body.get("stream")), b"")


def encode(request: exchange.ChatRequest, target: Target = TARGET) -> tuple[Mapping[str, object], tuple[str, ...]]:
    found = UPSTREAM.encode(request, target)
    return json.loads(found.body), found.lost


def chat(*turns: exchange.Turn, **more: object) -> exchange.ChatRequest:
    return exchange.ChatRequest(model="m", turns=turns, **more)


def said(*parts: exchange.Part) -> exchange.Turn:
    return exchange.Turn(role="assistant", parts=parts)


def asked(*parts: exchange.Part) -> exchange.Turn:
    return exchange.Turn(role="user", parts=parts)


def sse_of(events: Iterable[object], named: bool = True) -> bytes:
    return b"".join(
        (b"event: " + str(event["type"]).encode() + b"\n" if named and isinstance(event, dict) else b"")
        + b"data: "
        + msgspec.json.encode(event)
        + b"\n\n"
        for event in events
    )


def receive(body: bytes, asked: Asked = ASKED) -> list[exchange.Event]:
    assert UPSTREAM.stream_decoder is not None
    decoder = UPSTREAM.stream_decoder(asked)
    splitter = sse.EventSplitter()
    events = [event for frame in splitter.receive_data(body) for event in decoder.receive(frame)]
    return [*events, *decoder.receive_eof()]


def written(events: Sequence[exchange.Event], request: exchange.ChatRequest = REQUEST) -> list[dict[str, object]]:
    """The events of a stream for a client, each checked with the SDK's models."""
    assert INGRESS.stream_encoder is not None
    encoder = INGRESS.stream_encoder(request)
    frames = sse.EventSplitter().receive_data(b"".join(encoder.encode([event]) for event in events))
    found = []
    for number, frame in enumerate(frames):
        value = json.loads(frame.data)
        assert value["sequence_number"] == number
        assert value["type"] == frame.name.decode()
        found.append(value)
    return found


def check(events: Iterable[Mapping[str, object]]) -> None:
    for event in events:
        _EVENT.validate_python(event)


def check_whole(body: bytes) -> Response:
    return Response.model_validate_json(body)


def body_of(recording: Path) -> tuple[bytes, bool]:
    """A recorded answer: its bytes, and whether it is a stream."""
    response = json.loads(recording.read_text())["response"]
    if "json" in response:
        return json.dumps(response["json"]).encode(), False
    if "sse" in response:
        return "".join(response["sse"]).encode(), True
    return sse_of(response["events"], named=False), True


def answer(*parts: exchange.Part, reason: exchange.FinishReason = "stop", **more: object) -> exchange.Answer:
    choice = exchange.Choice(parts=parts, finish_reason=reason)
    return exchange.Answer(choices=(choice,), id="resp_1", model="gpt-5", created=3, **more)
