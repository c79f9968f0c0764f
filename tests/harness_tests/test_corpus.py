"""Recordings as typed data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import corpus, eventstream


def test_every_recording_has_a_body_and_a_content_type() -> None:
    every = corpus.recordings()
    assert len({each.file for each in every}) == len(every) > 1000
    assert [each.file for each in every] == sorted(each.file for each in every)
    assert all(each.content_type for each in every)
    assert all(each.body for each in every)


def test_they_are_chosen_by_endpoint_and_provider() -> None:
    chosen = corpus.recordings(endpoint="messages", provider="anthropic")
    assert {(each.endpoint, each.provider) for each in chosen} == {("messages", "anthropic")}
    assert corpus.recording(chosen[0].id) == chosen[0] == corpus.recording(chosen[0].file)


def test_server_sent_events_are_the_recorded_bytes() -> None:
    folder = corpus.directory_or_skip() / "dev"
    recorded = [each for each in corpus.recordings(endpoint="chat") if each.form == "sse"]
    for each in recorded:
        answer = json.loads((folder / each.file).read_text(encoding="utf-8"))["response"]
        assert each.body.decode("utf-8") == "".join(answer["sse"])
    assert any(b"\r\n" in each.body for each in corpus.recordings() if each.form == "sse")


def test_json_keeps_its_characters() -> None:
    assert corpus.compact_json({"a": ["é", 1]}) == '{"a":["é",1]}'.encode()


def test_payloads_are_framed_as_their_protocol_does() -> None:
    payloads = [{"type": "ping"}]
    assert corpus.frame_events(payloads, endpoint="chat") == b'data: {"type":"ping"}\n\ndata: [DONE]\n\n'
    assert corpus.frame_events(payloads, endpoint="messages") == b'event: ping\ndata: {"type":"ping"}\n\n'
    assert corpus.frame_events(payloads, endpoint="stream_generate") == b'data: {"type":"ping"}\n\n'


def test_event_stream_messages_are_framed_as_the_recorded_ones_are() -> None:
    folder = corpus.directory_or_skip() / "dev"
    recorded = [each for each in corpus.recordings() if each.form == "eventstream"]
    assert recorded
    for each in recorded:
        messages = json.loads((folder / each.file).read_text(encoding="utf-8"))["response"]["eventstream"]
        framed = (eventstream.encode_message(m["headers"], corpus.compact_json(m["payload"])) for m in messages)
        assert b"".join(framed) == each.body, each.file


def test_every_reported_error_has_a_body() -> None:
    errors = corpus.reported_errors()
    assert {429, 500, 503, 529} <= {each.status for each in errors}
    assert all(each.body and each.source for each in errors)
    assert all(each.status == 200 for each in errors if each.in_stream)


def test_without_a_corpus_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUNKLINE_SHARED", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="TRUNKLINE_SHARED"):
        corpus.recordings()
