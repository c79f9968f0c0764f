"""What the tests of Converse share: frames, recordings, and the service's own model as the judge of requests."""

import base64
import functools
import gzip
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from trunkline_gateway import aws, exchange
from trunkline_gateway.dialect import Asked, Target
from trunkline_gateway.dialects.bedrock_converse import CODEC

SHARED = Path(__file__).parents[4].parent / "shared"
CORPUS = SHARED / "corpus" / "dev"
SPEC = SHARED / "specs" / "bedrock-runtime.service-2.json.gz"

CHAT = CODEC.upstream["chat"]
COUNT = CODEC.upstream["count_tokens"]

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"


def asked(model: str = CLAUDE, request: exchange.Request | None = None) -> Asked:
    return Asked(target=Target(model=model, account="acc0unt0"), request=request, seed="s33d", now=1_700_000_000)


def frame(name: str, payload: object) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return aws.encode({":event-type": name, ":content-type": "application/json", ":message-type": "event"}, data)


def exception(name: str, payload: object) -> bytes:
    return aws.encode({":message-type": "exception", ":exception-type": name}, json.dumps(payload).encode())


def frames(events: Iterable[dict[str, object]]) -> bytes:
    return b"".join(frame(name, payload) for event in events for name, payload in event.items())


def events_of(data: bytes | Sequence[bytes], asked_for: Asked | None = None) -> list[exchange.Event]:
    assert CHAT.stream_decoder is not None
    decoder, splitter = CHAT.stream_decoder(asked_for or asked()), aws.EventStreamSplitter()
    pieces = [data] if isinstance(data, bytes) else data
    events = [
        event for piece in pieces for message in splitter.receive_data(piece) for event in decoder.receive(message)
    ]
    splitter.receive_eof()
    return [*events, *decoder.receive_eof()]


def stream(events: Iterable[dict[str, object]], asked_for: Asked | None = None) -> exchange.Answer:
    return exchange.assemble(events_of(frames(events), asked_for))


def whole(content: list[object], asked_for: Asked | None = None, **more: object) -> exchange.Answer:
    body = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn", **more}
    answer = CHAT.decode(json.dumps(body).encode(), asked_for or asked())
    assert isinstance(answer, exchange.Answer)
    return answer


def recordings(pattern: str) -> list[Path]:
    return sorted(CORPUS.glob(f"bedrock.{pattern}.*.json"))


def recorded_stream(response: dict) -> bytes:
    if "eventstream_b64" in response:
        return base64.b64decode(response["eventstream_b64"])
    return frames(response["events"])


# ---- the service's own model ----------------------------------------------------------------------------------------


@functools.cache
def shapes() -> dict:
    return json.loads(gzip.decompress(SPEC.read_bytes()))["shapes"]


def check(value: object, shape_name: str = "ConverseRequest", at: str = "$") -> None:
    """Hold a request against the service's model; what it does not name is wrong, too."""
    shape = shapes()[shape_name]
    kind = shape["type"]
    if shape.get("document"):
        return
    if kind == "structure":
        assert isinstance(value, dict), at
        members = shape["members"]
        assert set(value) <= set(members), f"{at}: {set(value) - set(members)}"
        required = set(shape.get("required", ())) - {"modelId"}
        assert required <= set(value), f"{at}: without {required - set(value)}"
        assert not shape.get("union") or len(value) == 1, f"{at}: a union of {sorted(value)}"
        for name, each in value.items():
            check(each, members[name]["shape"], f"{at}.{name}")
    elif kind == "list":
        assert isinstance(value, list), at
        assert shape.get("min", 0) <= len(value) <= shape.get("max", 10_000), at
        for index, each in enumerate(value):
            check(each, shape["member"]["shape"], f"{at}[{index}]")
    elif kind == "map":
        assert isinstance(value, dict), at
        assert shape.get("min", 0) <= len(value) <= shape.get("max", 10_000), at
        for key, each in value.items():
            check(key, shape["key"]["shape"], f"{at} key")
            check(each, shape["value"]["shape"], f"{at}.{key}")
    elif kind in ("string", "blob"):
        assert isinstance(value, str), at
        assert shape.get("min", 0) <= len(value) <= shape.get("max", 1 << 30), at
        assert "enum" not in shape or value in shape["enum"], f"{at}: {value}"
        assert "pattern" not in shape or re.fullmatch(shape["pattern"], value), f"{at}: {value}"
        if kind == "blob":
            base64.b64decode(value, validate=True)
    elif kind in ("integer", "float", "long", "double"):
        assert isinstance(value, int | float), at
        assert shape.get("min", -(1 << 60)) <= value <= shape.get("max", 1 << 60), f"{at}: {value}"
    elif kind == "boolean":
        assert isinstance(value, bool), at
    else:
        raise AssertionError(f"{at}: {kind}")
