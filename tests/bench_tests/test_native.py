"""The load generator and the upstream double, against each other and against a server that stalls."""

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench import machine, wire

from harness.children import Child
from harness.ports import free_port

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return machine.native(tmp_path_factory.mktemp("native"))


@pytest.fixture
def double(programs: Path, tmp_path: Path) -> Iterator[int]:
    port = free_port()
    child = Child("double", [str(programs / "double"), str(port), "20", "0", "1"], log=tmp_path / "log")
    until = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            assert time.monotonic() < until, child.log_tail()
            time.sleep(0.01)
    yield port
    child.kill()


def load(
    programs: Path, port: int, requests: list[bytes], *, connections: int = 4, seconds: float = 0.3, rate: float = 0
) -> dict[str, Any]:
    file = wire.write(programs / f"{port}.requests", requests)
    said = subprocess.run(
        [str(programs / "load"), str(port), str(connections), "0", str(seconds), str(rate), str(file)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(said.stdout)


def answer(port: int, *parts: bytes) -> bytes:
    """What the double sends to a request that comes in parts, until it is silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.3) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            client.sendall(part)
        got = b""
        try:
            while more := client.recv(65536):
                got += more
        except TimeoutError:
            pass
        return got


@pytest.mark.parametrize("size", [1024, 115_000])
def test_whole_answers_are_counted(programs: Path, double: int, size: int) -> None:
    seen = load(programs, double, [wire.request("k", "m", body_bytes=size)])
    assert seen["answers"] > 10
    assert seen["total_failures"] == 0


def test_every_event_of_a_stream_is_counted(programs: Path, double: int) -> None:
    seen = load(programs, double, [wire.request("k", "m", stream=True)])
    begun = 4 * 22  # of the streams that were cut off at the end
    assert seen["total_failures"] == 0
    assert 22 * seen["total_answers"] <= seen["total_events"] <= 22 * seen["total_answers"] + begun


def test_a_constant_rate_is_kept(programs: Path, double: int) -> None:
    seen = load(programs, double, [wire.request("k", "m")], seconds=0.5, rate=1000)
    assert 490 <= seen["answers"] + seen["unanswered"] <= 501


def test_the_double_answers_a_whole_request_however_it_is_cut(double: int) -> None:
    request = wire.request("k", "m")
    head, body = answer(double, request[:20], request[20:-1], request[-1:]).split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["usage"]["total_tokens"] == 386


def test_a_stream_of_the_double_is_what_providers_send(double: int) -> None:
    got = answer(double, wire.request("k", "m", stream=True))
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    events = [json.loads(line[6:]) for line in got.splitlines() if line.startswith(b"data: {")]
    assert len(events) == 21
    assert [each["choices"][0]["finish_reason"] for each in events[:-1]] == [None] * 19 + ["stop"]
    assert events[-1]["choices"] == []


def test_the_double_speaks_the_messages_api_too(double: int) -> None:
    head, body = answer(double, wire.request("k", "m", dialect="anthropic_messages")).split(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert json.loads(body)["usage"]["output_tokens"] == 175
    got = answer(double, wire.request("k", "m", dialect="anthropic_messages", stream=True))
    assert got.endswith(b"\r\n0\r\n\r\n")
    events = [json.loads(line[6:]) for line in got.splitlines() if line.startswith(b"data: {")]
    assert [each["type"] for each in events[:3]] == ["message_start", "content_block_start", "content_block_delta"]
    assert [each["type"] for each in events[-3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert len(events) == 23


def serve(listener: socket.socket, *, status: bytes = b"200 OK", stall_at: int = -1) -> None:
    """Answer one connection's requests one after the other; before number ``stall_at``, be away for 0.4 s."""
    connection, _ = listener.accept()
    with connection:
        for number in range(1_000_000):
            if not connection.recv(65536):
                return
            if number == stall_at:
                time.sleep(0.4)
            connection.sendall(ANSWER.replace(b"200 OK", status))


def test_a_server_that_stalls_pays_for_all_that_waited(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), kwargs={"stall_at": 10}, daemon=True)
        server.start()
        request = wire.request("k", "m", body_bytes=200)
        seen = load(programs, listener.getsockname()[1], [request], connections=1, seconds=1, rate=100)
        server.join(10)
    # One request met the stall, but forty were due in the meantime.
    assert seen["max"] >= 390_000
    assert seen["p90"] >= 200_000


def test_errors_are_failures_and_not_answers(programs: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            while True:
                try:
                    serve(listener, status=b"503 Busy")
                except OSError:
                    return

        threading.Thread(target=refuse, daemon=True).start()
        seen = load(programs, listener.getsockname()[1], [wire.request("k", "m")], connections=1, seconds=0.2)
    assert seen["answers"] == 0
    assert seen["failures"] > 0
