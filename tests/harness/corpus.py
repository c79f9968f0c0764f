"""Recorded provider traffic, as typed data. Third-party recordings are not part of the repository.

They are looked for in ``$TRUNKLINE_SHARED/corpus``, by default ``../shared/corpus`` beside the repository. Where they
are absent the tests that read them are skipped, with one line saying so.
"""

from __future__ import annotations

import base64
import functools
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pytest

from harness import eventstream

Form = Literal["json", "sse", "events", "eventstream", "ndjson", "text"]

_REPOSITORY = Path(__file__).resolve().parents[2]
_DEFAULT_CONTENT_TYPE: Mapping[Form, str] = {
    "json": "application/json",
    "sse": "text/event-stream",
    "events": "text/event-stream",
    "eventstream": eventstream.CONTENT_TYPE,
    "ndjson": "application/x-ndjson",
    "text": "text/plain",
}
# Their events name themselves in an ``event:`` line, and some SDKs skip an event without one.
_NAMED_EVENTS = frozenset({"messages", "responses", "raw_predict_stream"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recorded HTTP interaction.

    Attributes:
        id: 16 hex digits.
        provider: who answered: ``openai``, ``anthropic``, ``azure``, …
        endpoint: which API it was: ``chat``, ``messages``, ``responses``, ``embeddings``, …
        method: HTTP method.
        path: path of the request, with its query.
        request: the JSON body that was sent; ``None`` where only the answer was recorded.
        status: HTTP status of the answer.
        content_type: of the answer; a usual one for the form where it was not recorded.
        headers: a subset of the answer's headers, lower-case names; never ``content-type`` or framing.
        body: the answer's body. Recorded bytes for the forms ``sse``, ``eventstream`` and ``ndjson``; written by this
            module for ``json`` (compact, UTF-8) and ``events`` (the payloads are real, their framing is not).
        stream: whether the caller asked for a stream; the answer may still be a JSON error.
        features: tags of what occurs in it, such as ``fin:stop`` or ``usage_only_chunk``.
        file: name of its file, unique.
        form: in which form the body was recorded.
    """

    id: str
    provider: str
    endpoint: str
    method: str
    path: str
    request: Mapping[str, Any] | None
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    stream: bool
    features: frozenset[str]
    file: str
    form: Form


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedError:
    """An error answer copied from a public issue thread: no recording holds it.

    Attributes:
        provider: as in ``Recording``.
        endpoint: as in ``Recording``.
        status: HTTP status; 200 if ``in_stream``.
        content_type: of the answer.
        headers: those that were reported, lower-case names, without ``content-type``.
        body: the whole body, or what the stream holds from the error on if ``in_stream``.
        in_stream: the error comes as an event of a stream that had begun well.
        after_partial_output: it was seen after output had been sent.
        closes_after: the connection is closed after it, without the stream's usual end.
        note: what is remarkable about it; may be empty.
        source: the thread.
    """

    provider: str
    endpoint: str
    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes
    in_stream: bool
    after_partial_output: bool
    closes_after: bool
    note: str
    source: str


def directory_or_skip() -> Path:
    """Return the corpus folder, or skip the calling test, fixture or module."""
    found = _directory()
    if found is None:
        reason = "no recorded provider traffic: set TRUNKLINE_SHARED to the folder that holds corpus/"
        pytest.skip(reason, allow_module_level=True)
    return found


def recordings(endpoint: str | None = None, provider: str | None = None) -> tuple[Recording, ...]:
    """Return the recordings of one endpoint and provider (``None``: of all), sorted by file; skips if absent."""
    return tuple(
        each
        for each in _load_recordings(directory_or_skip())
        if endpoint in (None, each.endpoint) and provider in (None, each.provider)
    )


def recording(file_or_id: str) -> Recording:
    """Return one recording by the name of its file or by its id; skips if the corpus is absent.

    Raises:
        KeyError: there is no such recording.
    """
    for each in _load_recordings(directory_or_skip()):
        if file_or_id in (each.file, each.id):
            return each
    raise KeyError(file_or_id)


def reported_errors() -> tuple[ReportedError, ...]:
    """Return the error answers known only from issue threads; skips if the corpus is absent."""
    text = (directory_or_skip() / "errors_reported.json").read_text(encoding="utf-8")
    return tuple(_reported_error(entry) for entry in json.loads(text))


def compact_json(value: object) -> bytes:
    """Encode as this module does everywhere: no spaces, no escapes beyond the needed, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _directory() -> Path | None:
    shared = os.environ.get("TRUNKLINE_SHARED")
    folder = (Path(shared) if shared else _REPOSITORY.parent / "shared") / "corpus"
    return folder if (folder / "dev").is_dir() else None


@functools.cache
def _load_recordings(folder: Path) -> tuple[Recording, ...]:
    return tuple(_recording(path) for path in sorted((folder / "dev").glob("*.json")))


def _recording(path: Path) -> Recording:
    entry = json.loads(path.read_text(encoding="utf-8"))
    answer = entry["response"]
    form, body = _form_and_body(answer, endpoint=entry["endpoint"])
    # Every payload list was labelled as server-sent events, Bedrock's too.
    content_type = "" if "events" in answer else answer["content_type"]
    return Recording(
        id=entry["id"],
        provider=entry["provider"],
        endpoint=entry["endpoint"],
        method=entry["method"] or "POST",
        path=entry["path"] or "",
        request=entry["request"] and entry["request"]["json"],
        status=answer["status"],
        content_type=content_type or _content_type(form, entry["endpoint"]),
        headers=_without_framing(answer["headers"]),
        body=body,
        stream=path.name.split(".")[-3] == "s",
        features=frozenset(entry["features"]),
        file=path.name,
        form=form,
    )


def _form_and_body(answer: Mapping[str, Any], *, endpoint: str) -> tuple[Form, bytes]:
    match answer:
        case {"json": value}:
            return "json", compact_json(value)
        case {"sse": blocks}:
            return "sse", "".join(blocks).encode("utf-8")
        case {"eventstream_b64": encoded}:
            return "eventstream", base64.b64decode(encoded)
        case {"ndjson": lines}:
            return "ndjson", "".join(lines).encode("utf-8")
        case {"events": payloads}:
            return "events", frame_events(payloads, endpoint=endpoint)
        case {"text": text}:
            return "text", text.encode("utf-8")
    raise ValueError(f"no body in {sorted(answer)}")


def frame_events(payloads: Iterable[Mapping[str, Any]], *, endpoint: str) -> bytes:
    """Frame parsed payloads as the endpoint's provider would.

    ``data:`` events, with ``data: [DONE]`` at the end of ``chat``, and with an ``event:`` line of the payload's type
    where the protocol has one; AWS event-stream messages for Bedrock's two endpoints.
    """
    if endpoint == "converse_stream":
        return b"".join(
            eventstream.encode_event(kind, compact_json(value))
            for payload in payloads
            for kind, value in payload.items()
        )
    if endpoint == "invoke_stream":
        encoded = (base64.b64encode(compact_json(payload)).decode("ascii") for payload in payloads)
        return b"".join(eventstream.encode_event("chunk", compact_json({"bytes": each})) for each in encoded)
    framed = bytearray()
    for payload in payloads:
        if endpoint in _NAMED_EVENTS and "type" in payload:
            framed += f"event: {payload['type']}\n".encode()
        framed += b"data: " + compact_json(payload) + b"\n\n"
    if endpoint == "chat":
        framed += b"data: [DONE]\n\n"
    return bytes(framed)


def _content_type(form: Form, endpoint: str) -> str:
    if form == "events" and endpoint in ("converse_stream", "invoke_stream"):
        return eventstream.CONTENT_TYPE
    return _DEFAULT_CONTENT_TYPE[form]


def _without_framing(headers: Mapping[str, str]) -> Mapping[str, str]:
    framing = ("content-type", "content-length", "content-encoding", "transfer-encoding", "connection")
    return MappingProxyType({name.lower(): value for name, value in headers.items() if name.lower() not in framing})


def _reported_error(entry: Mapping[str, Any]) -> ReportedError:
    form, body = _reported_form_and_body(entry)
    headers = entry.get("headers", {})
    return ReportedError(
        provider=entry["provider"],
        endpoint=entry["endpoint"],
        status=entry["status"],
        content_type=headers.get("content-type") or _content_type(form, entry["endpoint"]),
        headers=_without_framing(headers),
        body=body,
        in_stream=entry.get("in_stream", False),
        after_partial_output=entry.get("after_partial_output", False),
        closes_after="connection closed" in entry.get("then", ""),
        note=entry.get("note", ""),
        source=entry["source"],
    )


def _reported_form_and_body(entry: Mapping[str, Any]) -> tuple[Form, bytes]:
    match entry:
        case {"json_in_error_event": error}:
            # What the SDK raised is the member ``error`` of an event; the event itself was not reported.
            name = b"event: error\n" if entry["endpoint"] == "responses" else b""
            return "sse", name + b"data: " + compact_json({"error": error}) + b"\n\n"
        case {"eventstream": messages}:
            framed = (eventstream.encode_message(each["headers"], compact_json(each["payload"])) for each in messages)
            return "eventstream", b"".join(framed)
    return _form_and_body(entry, endpoint=entry["endpoint"])
