"""Every recorded answer comes through the processes unchanged; every bad request gets a clear refusal."""

import random
import socket
import time

import pytest

from harness import corpus
from harness.basic import KEY
from harness.system import Gateway, request
from harness.upstream import Answer, Upstream

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


def test_every_recorded_openai_answer_passes_unchanged(gateway: Gateway, upstream: Upstream) -> None:
    chosen = [*corpus.recordings(endpoint="chat"), *corpus.recordings(endpoint="embeddings")]
    # These move the attempt on to another key or target, and cool it; the attempt loop has tests of its own for them.
    final = [each for each in chosen if each.status not in (401, 402, 403, 429)]
    assert len(final) > 400
    rng = random.Random(7)
    different = []
    for recording in final:
        cuts = sorted(rng.randrange(len(recording.body)) for _ in range(rng.randrange(6))) if recording.body else []
        upstream.script(Answer.replay(recording, cuts))
        path = "/v1/chat/completions" if recording.endpoint == "chat" else "/v1/embeddings"
        model = "gpt-4o" if recording.endpoint == "chat" else "text-embedding-3-small"
        body = {**CHAT} if recording.endpoint == "chat" else {"input": "hi"}
        if recording.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        reply = gateway.post(path, {**body, "model": model}, key=KEY)
        if (reply.status, reply.body) != (recording.status, recording.body):
            different.append((recording.file, reply.status, reply.body[:200], recording.body[:200]))
    assert different == []


BAD = {
    "not JSON": b"{",
    "empty": b"",
    "a list": b"[]",
    "no model": b'{"messages":[]}',
    "model is a number": b'{"model":4,"messages":[]}',
    "model is empty": b'{"model":"","messages":[]}',
    "stream is a string": b'{"model":"gpt-4o","stream":"yes","messages":[]}',
    "invalid UTF-8": b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xff\xfe"}]}',
    "a lone surrogate's bytes": b'{"model":"gpt-4o","messages":[{"role":"user","content":"\xed\xa0\x80"}]}',
    "duplicate keys": b'{"model":"gpt-4o","model":"other","messages":[]}',
    "deep nesting": b'{"model":"gpt-4o","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "trailing bytes": b'{"model":"gpt-4o","messages":[]} x',
    "NaN": b'{"model":"gpt-4o","messages":[],"temperature":NaN}',
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_clear_400(gateway: Gateway, upstream: Upstream, case: str) -> None:
    reply = gateway.post("/v1/chat/completions", BAD[case], key=KEY)
    assert reply.status == 400, reply.body
    error = reply.json["error"]
    assert error["type"] == "invalid_request_error"
    assert len(error["message"]) > 15
    assert upstream.requests == []
    assert gateway.chat("gpt-4o", key=KEY).status == 200


def test_100_mb_is_refused_and_the_process_unharmed(gateway: Gateway) -> None:
    before = _resident_bytes(gateway)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        raw.sendall(f"{head}Content-Length: {100 << 20}\r\n\r\n".encode())
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
        raw.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
        answer = b""
        try:
            for _ in range(100):
                raw.sendall(chunk)
            answer = raw.recv(4096)
        except OSError:
            answer = answer or b"refused while it was sent"
        assert answer.startswith((b"HTTP/1.1 413", b"refused"))
    assert gateway.chat("gpt-4o", key=KEY).status == 200
    assert _resident_bytes(gateway) - before < 200 << 20


def test_forbidden_and_unknown_models_are_the_same_404(gateway: Gateway) -> None:
    unknown = request(gateway.port, "GET", "/v1/models/aaaaaa", key=KEY, headers={"x-request-id": "r"})
    assert unknown.status == 404
    assert unknown.json["error"]["code"] == "model_not_found"
    assert request(gateway.port, "GET", "/v1/models/main:any", key=KEY).status == 200
    assert request(gateway.port, "GET", "/v1/models/meta-llama/Llama-3", key=KEY).status == 404


def test_a_client_that_leaves_takes_the_upstream_request_with_it(gateway: Gateway, upstream: Upstream) -> None:
    for stream in ("true", "false"):
        upstream.clear()
        upstream.script(Answer.openai_stream(["x"] * 100, delay=0.2) if stream == "true" else Answer.silent())
        body = f'{{"model":"gpt-4o","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}'.encode()
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as raw:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
            raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            seen = upstream.wait_for_requests(1)[0]
        assert seen.closed_by_client.wait(1.0), f"stream={stream}"


def test_an_event_stream_for_a_whole_request_is_no_answer(gateway: Gateway, upstream: Upstream) -> None:
    telling = b'data: {"error": {"message": "overloaded sk-upstream-1"}}\n\n'
    upstream.script(Answer.sse([telling]), Answer.sse([b"data: {}\n\n"]))
    reply = gateway.chat("gpt-4o", key=KEY)
    assert reply.status == 502
    assert b"sk-upstream" not in reply.body
    assert reply.json["error"]["type"] == "upstream_error"


@pytest.mark.parametrize("stream", [True, False])
def test_framing_that_breaks_in_the_middle_ends_at_once(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ntransfer-encoding: chunked\r\n\r\n" % (
        b"text/event-stream" if stream else b"application/json"
    )
    event = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
    good = b"%x\r\n%s\r\n" % (len(event), event)
    upstream.script(Answer(before=[head, good, 0.4, b"QQ\r\n???", 30.0]))
    begun = time.monotonic()
    reply = gateway.chat("gpt-4o", key=KEY, stream=stream)
    assert time.monotonic() - begun < 5
    if stream:
        assert b'"error"' in reply.body
        assert b"[DONE]" not in reply.body
    else:
        assert reply.status == 502


def _resident_bytes(gateway: Gateway) -> int:
    assert gateway.child is not None
    with open(f"/proc/{gateway.child.pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * 4096
