"""The upstream double: it records what came and plays what it was told, byte for byte."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPSConnection, IncompleteRead, RemoteDisconnected
from pathlib import Path

import pytest

from harness import certificates, corpus, ports
from harness.upstream import Answer, Cut, Hang, Upstream

CHAT = "/v1/chat/completions"
TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def client(upstream: Upstream) -> Iterator[HTTPConnection]:
    client = HTTPConnection("127.0.0.1", upstream.port, timeout=5)
    yield client
    client.close()


def ask(client: HTTPConnection, body: object = None, path: str = CHAT, **headers: str) -> tuple[int, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request("POST", path, json.dumps(body or {"model": "m"}), named)
    answer = client.getresponse()
    return answer.status, answer.read()


def raw(upstream: Upstream, request: bytes = b"GET /v1/models HTTP/1.1\r\n\r\n") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", upstream.port), timeout=5)
    sock.sendall(request)
    return sock


def read_all(sock: socket.socket) -> bytes:
    with sock, sock.makefile("rb") as stream:
        return stream.read()


def test_a_request_is_recorded_as_it_was_sent(upstream: Upstream, client: HTTPConnection) -> None:
    client.request("POST", f"{CHAT}?a=1", b'{"model": "m" }', {"X-One": "1", "Authorization": "Bearer sk-1"})
    client.getresponse().read()
    [request] = upstream.requests
    assert (request.method, request.path, request.query) == ("POST", CHAT, {"a": "1"})
    assert request.body == b'{"model": "m" }'
    assert [name for name, _ in request.headers][-2:] == ["X-One", "Authorization"]
    assert (request.key, request.model) == ("sk-1", "m")
    assert request.answered.wait(1)
    assert not request.closed_by_client.is_set()


@pytest.mark.parametrize("name", ["api_key", "x_api_key", "x_goog_api_key"])
def test_a_key_is_found_in_every_providers_header(upstream: Upstream, client: HTTPConnection, name: str) -> None:
    ask(client, **{name: "sk-2"})
    assert upstream.requests[0].key == "sk-2"


def test_a_chunked_request_body_is_joined(upstream: Upstream, client: HTTPConnection) -> None:
    client.request("POST", CHAT, iter([b'{"mod', b'el":"m"}']), encode_chunked=True)
    assert client.getresponse().status == 200
    assert upstream.requests[0].body == b'{"model":"m"}'


def test_connections_are_kept_alive_and_counted(upstream: Upstream, client: HTTPConnection) -> None:
    ask(client)
    ask(client)
    assert [request.connection for request in upstream.requests] == [1, 1]
    assert (upstream.open_connections, upstream.connections_total) == (1, 1)
    client.close()
    upstream.wait_for_open_connections(0, 1)


def test_requests_of_a_pipeline_are_answered_in_order(upstream: Upstream) -> None:
    upstream.script(Answer.json(1).after(0.05), Answer.json(2))
    one = b"GET / HTTP/1.1\r\n\r\n"
    with raw(upstream, one + one) as sock:
        upstream.wait_for_requests(2)
        upstream.requests[1].answered.wait(1)
        received = sock.recv(65536)
    assert received.split(b"\r\n\r\n")[1].startswith(b"1HTTP/1.1")
    assert received.endswith(b"\r\n\r\n2")


def test_the_most_exact_script_answers_then_the_handler(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.handler = lambda request: Answer.json(f"handler {request.model}")
    upstream.script(Answer.json("any"))
    upstream.script(Answer.json("model"), model="m")
    upstream.script(Answer.json("path"), path=CHAT)
    upstream.script(Answer.json("both"), path=CHAT, model="m")
    said = [json.loads(ask(client)[1]) for _ in range(5)]
    assert said == ["both", "path", "model", "any", "handler m"]
    assert upstream.unused_answers == 0


def test_a_failing_handler_is_told(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.handler = lambda request: Answer.json(request.json()["absent"])
    status, body = ask(client)
    assert status == 500
    assert b"KeyError" in body
    assert isinstance(upstream.failures[0], KeyError)


def test_the_default_is_an_openai_like_server(client: HTTPConnection) -> None:
    assert b'"object":"chat.completion"' in ask(client)[1]
    streamed = ask(client, {"model": "m", "stream": True, "stream_options": {"include_usage": True}})[1]
    events = streamed.decode().removesuffix("\n\n").split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[-2].removeprefix("data: "))["usage"]["completion_tokens"] == 2
    assert len(json.loads(ask(client, {"model": "m", "input": ["a", "b"]}, "/v1/embeddings")[1])["data"]) == 2
    client.request("GET", "/v1/models")
    assert b"double-1" in client.getresponse().read()
    assert ask(client, path="/elsewhere")[0] == 404


def test_chunks_are_sent_as_they_were_cut(upstream: Upstream) -> None:
    upstream.script(Answer(200, [], [b"abc", b"", 0.01, b"d"], "chunked"))
    with raw(upstream) as sock, sock.makefile("rb") as stream:
        head_and_body = stream.read(
            len(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")
        )
    assert head_and_body.endswith(b"\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n")


def test_a_body_may_end_with_the_connection(upstream: Upstream) -> None:
    upstream.script(Answer(200, [("a", "b")], [b"all"], "close"))
    received = read_all(raw(upstream))
    assert received == b"HTTP/1.1 200 OK\r\na: b\r\nconnection: close\r\n\r\nall"


def test_a_cut_breaks_the_body_off(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.script(Answer.json("0123456789").cut_after(4))
    with pytest.raises(IncompleteRead) as broken:
        ask(client)
    assert broken.value.partial == b'"012'
    client.close()
    upstream.script(Answer.openai_stream(["a", "b"]).cut_after(30))
    with pytest.raises(IncompleteRead):
        ask(client)


def test_a_reset_is_a_reset(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.script(Answer(200, [], [b"ab", 0.05, Cut(reset=True), b"cd"]))
    with pytest.raises(ConnectionResetError):
        ask(client)


def test_a_connection_can_be_dropped_without_an_answer(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.script(Answer.dropped())
    with pytest.raises(RemoteDisconnected):
        ask(client)


def test_what_is_not_http_can_be_answered(upstream: Upstream) -> None:
    upstream.script(Answer(before=[b"220 smtp ready\r\n", Cut()]))
    assert read_all(raw(upstream)) == b"220 smtp ready\r\n"


def test_what_is_not_http_is_recorded_as_a_failure(upstream: Upstream) -> None:
    assert read_all(raw(upstream, b"nonsense\r\n\r\n")) == b""
    assert isinstance(upstream.failures[0], ValueError)


@pytest.mark.parametrize(
    "answer",
    [
        Answer.silent(),
        Answer.json(1).after(60),
        Answer.sse([b"data: 1\n\n", b"data: 2\n\n"], delay=60),
        Answer.sse([b"data: 1\n\n"]).cut_after(3, Hang()),
        Answer.sse([b"x" * 65536] * 1000),  # more than the sockets' buffers hold, to a client that reads nothing
    ],
    ids=["silent", "late", "between events", "inside an event", "not reading"],
)
def test_the_clients_close_is_seen_at_once(upstream: Upstream, answer: Answer) -> None:
    upstream.script(answer)
    sock = raw(upstream)
    [request] = upstream.wait_for_requests(1)
    time.sleep(0.05)
    assert not request.closed_by_client.is_set()
    closed_at = time.monotonic()
    sock.close()
    assert request.closed_by_client.wait(1)
    assert request.closed_at is not None
    assert 0 <= request.closed_at - closed_at < 0.5
    assert not request.answered.is_set()
    upstream.wait_for_open_connections(0, 1)


def test_delays_are_between_events(upstream: Upstream, client: HTTPConnection) -> None:
    upstream.script(Answer.sse([b"a", b"b", b"c"], delay=0.1))
    client.request("POST", CHAT, b"{}")
    began = time.monotonic()
    answer = client.getresponse()
    assert answer.read(1) == b"a"
    assert time.monotonic() - began < 0.1
    assert answer.read() == b"bc"
    assert 0.2 <= time.monotonic() - began < 1.0


def test_a_recording_is_replayed_however_it_is_cut(upstream: Upstream, client: HTTPConnection) -> None:
    for recording in (corpus.recordings("chat", "groq")[0], *corpus.recordings("messages", "anthropic")[-3:]):
        upstream.script(Answer.replay(recording), Answer.replay(recording, cuts=[1, 2, 3, 17, 10**9]))
        assert ask(client) == ask(client) == (recording.status, recording.body)
    client.request("POST", CHAT, b"{}")
    for error in corpus.reported_errors():
        client.getresponse().read()
        upstream.script(Answer.replay(error))
        client.request("POST", CHAT, b"{}")
    assert client.getresponse().read() == error.body


def test_a_stopped_double_refuses_and_comes_back_on_its_port(upstream: Upstream, client: HTTPConnection) -> None:
    ask(client)
    upstream.script(Answer.silent())
    client.request("POST", CHAT, b"{}")
    upstream.wait_for_requests(2)
    upstream.stop()
    upstream.stop()
    assert upstream.open_connections == 0
    assert not upstream.requests[1].closed_by_client.is_set()
    with pytest.raises(RemoteDisconnected):
        client.getresponse()
    with pytest.raises(ConnectionRefusedError):
        raw(upstream)
    upstream.start()
    client.close()
    assert ask(client)[0] == 200
    assert len(upstream.requests) == 3


def test_a_taken_port_is_an_error_at_the_start(upstream: Upstream) -> None:
    with pytest.raises(OSError, match="in use"):
        Upstream(port=upstream.port).start()


def test_waiting_in_vain_says_what_there_is(upstream: Upstream) -> None:
    with pytest.raises(TimeoutError, match="for 1 requests; there are 0 requests, 0 open connections"):
        upstream.wait_for_requests(1, 0.01)


def test_it_speaks_tls(tmp_path: Path) -> None:
    files = certificates.serving_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(files.ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with Upstream(tls_cert=files.cert, tls_key=files.key) as upstream:
        client = HTTPSConnection("localhost", upstream.port, context=context, timeout=5)
        assert ask(client)[0] == 200
        client.close()
        upstream.wait_for_open_connections(0, 2)


def test_the_command_line_serves() -> None:
    port = ports.free_port()
    program = [sys.executable, str(TESTS / "harness" / "upstream.py"), "--port", str(port), "--words", "3"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            assert running.stdout.readline() == f"listening on http://127.0.0.1:{port}/v1\n"
            client = HTTPConnection("127.0.0.1", port, timeout=5)
            assert b"word0 word1 word2" in ask(client)[1]
            client.close()
        finally:
            running.terminate()
