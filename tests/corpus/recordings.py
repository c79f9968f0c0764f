"""Recorded traffic of providers, read from ``../shared/corpus/dev`` where it is there."""

import base64
import csv
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from trunkline_gateway import sse

ROOT: Final = Path(__file__).resolve().parents[2]
SHARED: Final = ROOT.parent / "shared"
CORPUS: Final = SHARED / "corpus" / "dev"
CLIENTS: Final = SHARED / "clients"
REPORTED_ERRORS: Final = SHARED / "corpus" / "errors_reported.json"

ABSENT: Final = "the recordings of providers are not on this machine"

_CHAT_FAMILY: Final[Mapping[str, str]] = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "raw_predict": "anthropic_messages",
    "raw_predict_stream": "anthropic_messages",
    "invoke": "anthropic_messages",
    "invoke_stream": "anthropic_messages",
    "generate": "gemini_generate",
    "stream_generate": "gemini_generate",
    "converse": "bedrock_converse",
    "converse_stream": "bedrock_converse",
}
"""Endpoint → the dialect that reads its answers."""

OUT_OF_FAMILY: Final[Mapping[str, str]] = {
    "cohere_chat": "Cohere's own chat API: reached by its OpenAI-compatible endpoint",
    "cohere_embed": "Cohere's own embeddings API",
    "ollama_chat": "Ollama's own chat API: reached by its OpenAI-compatible endpoint",
    "ollama_embed": "Ollama's own embeddings API",
    "completions": "legacy text completions: passed on in bytes only",
    "models": "a list of models is not an exchange",
    "moderations": "not an exchange",
    "rerank": "not an exchange",
    "predict": "Vertex's own embeddings API",
    "embeddings": "no chat; judged with the embeddings dialects",
    "embed": "no chat; judged with the embeddings dialects",
    "count_tokens": "no chat; judged with the counts",
}
"""Endpoints that are no chat, each with its reason."""

_NOT_CLAUDE: Final = "another maker's own body through Bedrock's InvokeModel"


class Row(NamedTuple):
    """A line of the index."""

    id: str
    file: str
    provider: str
    endpoint: str
    status: int

    def __str__(self) -> str:
        return self.file.removesuffix(".json")


class Frame(NamedTuple):
    """One event of a recorded stream."""

    name: bytes
    data: bytes


class Recording:
    """One request and its answer."""

    def __init__(self, row: Row) -> None:
        self.row = row
        with (CORPUS / row.file).open(encoding="utf-8") as file:
            self._data = json.load(file)
        self.response: Mapping[str, object] = self._data["response"]
        request = self._data.get("request")
        self.request: Mapping[str, object] | None = (request or {}).get("json") or None
        self.request_headers: Mapping[str, str] = (request or {}).get("headers") or {}
        self.path: str = self._data.get("path") or ""

    @property
    def dialect(self) -> str:
        """That reads its answer; empty: none of ours (`why_out`)."""
        return "" if self.why_out else _CHAT_FAMILY[self.row.endpoint]

    @property
    def why_out(self) -> str:
        """Why it is not of the chat family; empty if it is."""
        if self.row.endpoint in OUT_OF_FAMILY:
            return OUT_OF_FAMILY[self.row.endpoint]
        if self.row.endpoint.startswith("invoke") and not self._is_claude():
            return _NOT_CLAUDE
        return ""

    def _is_claude(self) -> bool:
        request = self.request or {}
        if "anthropic_version" in request:
            return True
        json_body = self.response.get("json")
        if isinstance(json_body, dict):
            return json_body.get("type") == "message"
        frames = self.frames() or ()
        return any(b'"message_start"' in frame.data for frame in frames)

    @property
    def is_error(self) -> bool:
        """Whether HTTP said so."""
        return self.row.status >= 400

    @property
    def body(self) -> bytes | None:
        """Of a whole answer."""
        if self.row.endpoint == "raw_predict_stream" and self._whole_in_events() is not None:
            return json.dumps(self._whole_in_events(), ensure_ascii=False).encode()
        if self.row.endpoint == "stream_generate" and isinstance(self.response.get("json"), list):
            return None
        if "json" in self.response:
            return json.dumps(self.response["json"], ensure_ascii=False).encode()
        if "text" in self.response:
            return str(self.response["text"]).encode()
        return None

    def _whole_in_events(self) -> object:
        """One source kept whole answers in a list of events."""
        events = self.response.get("events")
        if isinstance(events, list) and len(events) == 1 and isinstance(events[0], dict):
            return events[0] if events[0].get("type") == "message" else None
        return None

    def raw_stream(self) -> bytes:
        """The stream as server-sent events, as it was recorded or would have been sent."""
        recorded = self.response.get("sse")
        if isinstance(recorded, list):
            return "".join(recorded).encode()
        made = []
        for frame in self.frames() or ():
            name = b"event: " + frame.name + b"\n" if frame.name else b""
            made.append(name + b"data: " + frame.data + b"\n\n")
        if self.row.endpoint == "chat":
            made.append(b"data: [DONE]\n\n")
        return b"".join(made)

    def frames(self) -> Sequence[Frame] | None:
        """Of a streamed answer; None: it is a whole one."""
        endpoint = self.row.endpoint
        if "sse" in self.response:
            splitter = sse.EventSplitter()
            events = [*splitter.receive_data(self.raw_stream()), splitter.receive_eof()]
            return [Frame(event.name, event.data) for event in events if event is not None]
        if (recorded := self.response.get("eventstream")) is not None:
            assert isinstance(recorded, list)
            return [_aws_frame(each, endpoint) for each in recorded]
        if endpoint == "stream_generate" and isinstance(self.response.get("json"), list):
            return [Frame(b"", _dump(each)) for each in self.response["json"]]
        events = self.response.get("events")
        if not isinstance(events, list) or self._whole_in_events() is not None:
            return None
        if endpoint == "chat":
            return [*(Frame(b"", _dump(each)) for each in events), Frame(b"", b"[DONE]")]
        return [_unframed(each, endpoint) for each in events]


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _aws_frame(message: Mapping[str, object], endpoint: str) -> Frame:
    headers, payload = message["headers"], message["payload"]
    assert isinstance(headers, dict)
    name = headers.get(":event-type") or headers.get(":exception-type") or ""
    if endpoint == "invoke_stream" and isinstance(payload, dict) and "bytes" in payload:
        data = base64.b64decode(payload["bytes"])
        return Frame(str(json.loads(data).get("type", "")).encode(), data)
    return Frame(str(name).encode(), _dump(payload))


def _unframed(payload: Mapping[str, object], endpoint: str) -> Frame:
    """An event of which only the payload was recorded, with the name that goes with it."""
    if endpoint == "converse_stream":
        ((name, inner),) = payload.items()
        return Frame(name.encode(), _dump(inner))
    if endpoint == "stream_generate":
        return Frame(b"", _dump(payload))
    return Frame(str(payload.get("type", "")).encode(), _dump(payload))


@functools.cache
def rows() -> tuple[Row, ...]:
    """All recordings; empty where there are none."""
    if not CORPUS.is_dir():
        return ()
    with (CORPUS / "index.csv").open(encoding="utf-8") as file:
        return tuple(
            Row(each["id"], each["file"], each["provider"], each["endpoint"], int(each["status"]))
            for each in csv.DictReader(file)
        )


@functools.lru_cache(maxsize=8)
def load(row: Row) -> Recording:
    """One of them."""
    return Recording(row)


def chat_rows() -> tuple[Row, ...]:
    """Those whose endpoint is of the chat family."""
    return tuple(row for row in rows() if row.endpoint in _CHAT_FAMILY)
