"""What others say two dialects' requests and answers are to each other: pairs from two projects' own tests.

- lingua (https://github.com/braintrustdata/lingua): one case in several dialects, written by people; recorded answers
  of providers to requests that lingua translated; and which translations it refuses.
- agentgateway (https://github.com/agentgateway/agentgateway): golden files of what it writes for what it reads.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from corpus.recordings import SHARED, Frame
from trunkline_gateway import sse

LINGUA: Final = SHARED / "oracles" / "lingua"
AGENTGATEWAY: Final = SHARED / "oracles" / "agentgateway-golden" / "crates" / "llm" / "src" / "tests"
ABSENT: Final = "the oracles are not on this machine"

_LINGUA_NAMES: Final[Mapping[str, str]] = {
    "chat-completions": "openai_chat",
    "responses": "openai_responses",
    "anthropic": "anthropic_messages",
    "google": "gemini_generate",
    "bedrock": "bedrock_converse",
}
_GOLDEN_SOURCES: Final[Mapping[str, str]] = {
    "completions": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "gemini": "gemini_generate",
}
_GOLDEN_TARGETS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic_messages",
    "vertex": "anthropic_messages",
    "bedrock": "bedrock_converse",
    "vertex-gemini": "gemini_generate",
    "gemini": "gemini_generate",
    "gemini-native": "gemini_generate",
    "completions": "openai_chat",
    "responses": "openai_responses",
    "openai": "openai_responses",
}
_GOLDEN_UPSTREAMS: Final[Mapping[str, str]] = {
    "bedrock": "bedrock_converse",
    "messages": "anthropic_messages",
    "completions": "openai_chat",
    "responses": "openai_responses",
    "vertex-gemini": "gemini_generate",
}


class RequestPair(NamedTuple):
    """The same request in two dialects."""

    name: str
    source: str
    body: Mapping[str, object]
    target: str
    theirs: Mapping[str, object]

    def __str__(self) -> str:
        return self.name


class AnswerPair(NamedTuple):
    """An answer of a provider, and what it is for a client of another dialect.

    Attributes:
        raw: The provider's: a body, or a stream.
        theirs: A body, or a stream of server-sent events.
    """

    name: str
    upstream: str
    raw: bytes
    ingress: str
    theirs: bytes
    stream: bool

    def __str__(self) -> str:
        return self.name


class Transformed(NamedTuple):
    """A provider's answer to a request that lingua had translated."""

    name: str
    upstream: str
    answer: Path

    def __str__(self) -> str:
        return self.name


def lingua_requests() -> Sequence[RequestPair]:
    """Each case in each of its dialects, to each of the others."""
    found = []
    for path in sorted(LINGUA.glob("*.json")):
        formats = json.loads(path.read_text(encoding="utf-8"))["formats"]
        here = {ours: formats[theirs] for theirs, ours in _LINGUA_NAMES.items() if theirs in formats}
        for source, said in here.items():
            for target, wanted in here.items():
                if source == target or source == "bedrock_converse":
                    continue
                for kind in ("request", "followup_request"):
                    if said.get(kind) and wanted.get(kind):
                        name = f"{path.stem}.{kind.removesuffix('_request')}.{source}.{target}"
                        found.append(RequestPair(name, source, said[kind], target, wanted[kind]))
    return found


class Refusal(NamedTuple):
    """A translation that lingua does not make."""

    name: str
    source: str
    body: Mapping[str, object]
    target: str
    why: str

    def __str__(self) -> str:
        return self.name


def lingua_refusals() -> Sequence[Refusal]:
    """All of them whose request is there."""
    path = LINGUA / "_transforms" / "transform_errors.json"
    found = []
    for pair, cases in (json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}).items():
        source, _, target = pair.partition("_to_")
        if source not in _LINGUA_NAMES or target not in _LINGUA_NAMES:
            continue
        for case, why in cases.items():
            formats = json.loads((LINGUA / f"{case}.json").read_text(encoding="utf-8"))["formats"]
            if source in formats and "request" in formats[source]:
                body = formats[source]["request"]
                name = f"{case}.{source}.{target}"
                found.append(Refusal(name, _LINGUA_NAMES[source], body, _LINGUA_NAMES[target], why))
    return found


def lingua_answers() -> Sequence[Transformed]:
    """What providers answered."""
    names = {**_LINGUA_NAMES, "vertex-anthropic": "anthropic_messages"}
    found = []
    for path in sorted((LINGUA / "_transforms").glob("*/*.json")):
        target = path.parent.name.partition("_to_")[2]
        with path.open(encoding="utf-8") as file:
            if '"error": "Con' in file.read(64):
                continue  # it was not translated: see `lingua_refusals`
        upstream = "openai_chat" if path.parent.name.startswith("baseten") else names[target]
        found.append(Transformed(f"{path.parent.name}/{path.stem}", upstream, path))
    return found


def golden_requests() -> Sequence[RequestPair]:
    """Of agentgateway."""
    found = []
    for path in sorted(AGENTGATEWAY.glob("requests/*/*.snap")):
        case, _, target = path.stem.rpartition(".")
        kind = path.parent.name
        if kind not in _GOLDEN_SOURCES or target not in _GOLDEN_TARGETS:
            continue  # counts, embeddings, rerank, policies, and what only looks at messages
        body = json.loads((path.parent / f"{case}.json").read_text(encoding="utf-8"))
        theirs = json.loads(_after_head(path)).get("request")
        dialect = _GOLDEN_TARGETS[target]
        if isinstance(theirs, dict) and "messages" in theirs and dialect == "gemini_generate":
            dialect = "openai_chat"  # Gemini through its OpenAI-compatible endpoint
        if isinstance(theirs, dict) and case != "assistant-history":  # that one tests a policy
            found.append(RequestPair(f"{kind}/{path.stem}", _GOLDEN_SOURCES[kind], body, dialect, theirs))
    return found


def golden_answers() -> Sequence[AnswerPair]:
    """Likewise."""
    found = []
    for path in sorted(AGENTGATEWAY.glob("response/*/*.snap")):
        case, _, pair = path.stem.rpartition(".")
        stream = pair.endswith("-streaming")
        pair = pair.removesuffix("-streaming")
        upstream, _, ingress = pair.rpartition("-")
        if upstream not in _GOLDEN_UPSTREAMS or ingress not in _GOLDEN_SOURCES:
            continue
        suffix = ".bin" if stream and upstream == "bedrock" else ".json"
        raw = (path.parent / f"{case}{suffix}").read_bytes()
        theirs = _after_head(path)
        if not stream:
            theirs = json.dumps(json.loads(theirs)["response"])
        found.append(
            AnswerPair(
                f"{path.parent.name}/{path.stem}",
                _GOLDEN_UPSTREAMS[upstream],
                raw,
                _GOLDEN_SOURCES[ingress],
                theirs.encode(),
                stream,
            )
        )
    return found


def _after_head(path: Path) -> str:
    return path.read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n", 1)[1]


def frames_of(raw: bytes, upstream: str) -> Sequence[Frame]:
    """Of a stream as it came."""
    if upstream == "bedrock_converse":
        return _aws_frames(raw)
    splitter = sse.EventSplitter()
    events = [*splitter.receive_data(raw), splitter.receive_eof()]
    return [Frame(event.name, event.data) for event in events if event is not None]


def _aws_frames(raw: bytes) -> list[Frame]:
    """https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html#streaming-event-stream."""
    found = []
    while raw:
        total, head = struct.unpack(">II", raw[:8])
        headers, payload = raw[12 : 12 + head], raw[12 + head : total - 4]
        names = {}
        while headers:
            size = headers[0]
            name = headers[1 : 1 + size].decode()
            (length,) = struct.unpack(">H", headers[2 + size : 4 + size])
            names[name] = headers[4 + size : 4 + size + length]
            headers = headers[4 + size + length :]
        found.append(Frame(names.get(":event-type") or names.get(":exception-type") or b"", payload))
        raw = raw[total:]
    return found
