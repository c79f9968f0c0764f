"""The process: how it starts, what it takes over, how it ends."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness import tables
from harness.operator_double import OperatorDouble
from harness.ports import free_ports
from harness.rawhttp import RawAnswer, connect
from harness.serving import Loop, served

KEY = "sk-tl-canary-77aa"
BEARER = f"Authorization: Bearer {KEY}"
SLOW = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "a b c d e f g h i j k l m n o p"}]}
TABLE = [tables.echo(), tables.route(), tables.route("default/slow", targets=[("only", "echo-100ms")]), tables.key(KEY)]


@dataclass
class Process:
    directory: Path
    port: int
    admin_port: int
    child: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self, *flags: str, stderr: int | None = None) -> "Process":
        argv = [
            sys.executable, "-m", "trunkline_gateway.main", f"--operator=unix:{self.directory / 'operator.sock'}",
            "--host=127.0.0.1", f"--port={self.port}", f"--admin-port={self.admin_port}",
            f"--state-dir={self.directory / 'state'}", "--drain-delay=0s", *flags,
        ]  # fmt: skip
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        with (self.directory / "log").open("ab") as log:
            self.child = subprocess.Popen(argv, stdout=log, stderr=log if stderr is None else stderr, env=environ)
        return self

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text(encoding="utf-8")

    def admin(self, path: str) -> RawAnswer:
        with connect(self.admin_port) as raw:
            return raw.get(path).answer()

    def wait(self, status: int, path: str = "/readyz", seconds: float = 10) -> RawAnswer:
        deadline = time.monotonic() + seconds
        while True:
            assert self.child is not None
            assert self.child.poll() is None, self.log
            try:
                if (answer := self.admin(path)).status == status:
                    return answer
            except OSError:
                pass
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def says(self, text: str, seconds: float = 10) -> None:
        """Wait for it to stand in the log, which a thread of its own writes."""
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, self.log
            time.sleep(0.01)

    def signal(self, number: int = signal.SIGTERM) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def ended(self, seconds: float = 10) -> int:
        assert self.child is not None
        return self.child.wait(seconds)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path, *free_ports(2))
    yield made
    if made.child is not None and made.child.poll() is None:
        made.child.kill()
        made.child.wait()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[tuple[OperatorDouble, Loop]]:
    @asynccontextmanager
    async def listening() -> AsyncIterator[OperatorDouble]:
        double = OperatorDouble(tmp_path / "operator.sock", TABLE)
        await double.start()
        yield double
        await double.stop()

    with served(listening) as made:
        yield made


def test_sigterm_makes_it_unready_and_lets_running_streams_finish(
    process: Process, operator: tuple[OperatorDouble, Loop]
) -> None:
    process.start().wait(200)
    with connect(process.port) as raw, connect(process.port) as idle:
        assert idle.get("/healthz").answer().status == 200
        raw.request("POST", "/v1/chat/completions", SLOW, BEARER)
        raw.sock.recv(1, socket.MSG_PEEK)
        process.signal()
        assert b"shutting down" in process.wait(503).body
        assert idle.closed_within(1)
        with pytest.raises(OSError), connect(process.port) as late:
            late.get("/healthz").answer()
        answer = raw.answer()
        assert answer.body.endswith(b"data: [DONE]\n\n")
    assert process.ended() == 0
    assert "Traceback" not in process.log


def test_a_stream_that_outlasts_the_grace_period_ends_with_an_error_that_says_why(
    process: Process, operator: tuple[OperatorDouble, Loop]
) -> None:
    process.start("--shutdown-grace=1s").wait(200)
    with connect(process.port) as raw:
        raw.request(
            "POST", "/v1/chat/completions", {**SLOW, "messages": [{"role": "user", "content": "x " * 200}]}, BEARER
        )
        raw.sock.recv(1, socket.MSG_PEEK)
        process.signal()
        asked = time.monotonic()
        *events, last, rest = raw.answer().body.split(b"\n\n")
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["code"] == "shutting_down"
        assert "shutting down" in error["message"]
        assert (rest, b"data: [DONE]" in events) == (b"", False)
        assert raw.closed_within(1)
    assert process.ended() == 0
    assert time.monotonic() - asked < 4


def test_the_second_signal_ends_it_at_once(process: Process, operator: tuple[OperatorDouble, Loop]) -> None:
    process.start().wait(200)
    with connect(process.port) as raw:
        raw.request("POST", "/v1/chat/completions", SLOW, BEARER)
        raw.sock.recv(1, socket.MSG_PEEK)
        process.signal()
        process.wait(503)
        process.signal()
        assert process.ended(1) == 1


def test_a_restarted_process_serves_the_last_known_good_without_an_operator(
    process: Process, operator: tuple[OperatorDouble, Loop]
) -> None:
    process.start().wait(200)
    process.signal()
    assert process.ended() == 0
    double, loop = operator
    loop.run(double.stop())
    process.start().wait(200)
    with connect(process.port) as raw:
        body = {"model": "echo", "messages": [{"role": "user", "content": "still here"}]}
        assert raw.request("POST", "/v1/chat/completions", body, BEARER).answer().status == 200
    assert process.admin("/debug/table").json["connected"] is False
    assert KEY not in process.log


def test_without_a_table_it_is_live_at_once_and_says_why_it_is_not_ready(process: Process) -> None:
    process.start().wait(200, "/healthz")
    assert b"no routing table yet" in process.wait(503).body
    with connect(process.port) as raw:
        assert raw.get("/health").answer().status == 200
        refused = raw.get("/v1/models", BEARER).answer()
        assert refused.status == 503
        assert refused.error["code"] == "not_ready"
        assert refused.headers["retry-after"] == "1"


def test_a_redis_is_said_not_to_be_used_and_its_password_is_not_said(process: Process) -> None:
    process.start("--redis-url=redis://:canary-4711@redis/0").wait(200, "/healthz")
    process.says("the Redis of --redis-url is not used")
    assert "canary-4711" not in process.log


def test_a_port_that_is_taken_is_said_in_a_line(process: Process) -> None:
    with socket.create_server(("127.0.0.1", process.port)):
        process.start()
        assert process.ended() == 1
    assert "Traceback" not in process.log
    assert str(process.port) in process.log


@pytest.fixture
def unread() -> Iterator[int]:
    """The end to write to of a pipe that nobody reads."""
    reading, writing = os.pipe()
    yield writing
    os.close(reading)
    os.close(writing)


def test_a_log_that_nobody_reads_stops_nothing(
    process: Process, operator: tuple[OperatorDouble, Loop], unread: int
) -> None:
    process.start("--shutdown-grace=5s", stderr=unread).wait(200)
    with connect(process.port) as raw:
        for _ in range(2500):  # each is a line of the log, and needs no key
            assert raw.get("/v1/models").answer().status == 401
        raw.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
        assert raw.answer().status == 400
    assert select.select([], [unread], [], 0)[1] == [], "the pipe is not full"
    began = time.monotonic()
    with connect(process.port) as raw:
        body = {"model": "echo", "messages": [{"role": "user", "content": "still here"}]}
        assert raw.request("POST", "/v1/chat/completions", body, BEARER).answer().status == 200
    assert process.admin("/healthz").status == 200
    assert time.monotonic() - began < 1
    process.signal()
    assert process.ended(5) == 0


def test_a_log_whose_reader_is_gone_stops_nothing_and_is_counted(
    process: Process, operator: tuple[OperatorDouble, Loop]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process.start(stderr=writing)
    os.close(writing)
    process.wait(200)
    with connect(process.port) as raw:
        assert raw.get("/v1/models", BEARER).answer().status == 200
    deadline = time.monotonic() + 5
    while b"log_lines_dropped_total 0.0" in process.admin("/metrics").body:
        assert time.monotonic() < deadline
    process.signal()
    assert process.ended() == 0
