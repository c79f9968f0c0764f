"""From SIGTERM to the end: who is still served, who is told what, and that nobody is lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from harness import hotpath, tables
from harness.answers import Answer
from harness.hotpath import BEARER, CHAT, World, until
from harness.load import Load
from harness.operator_double import OperatorDouble
from harness.outcomes import TOLD
from harness.ports import free_ports
from harness.rawhttp import Raw, RawAnswer, connect
from harness.serving import served
from harness.upstream import Upstream
from trunkline_gateway.ingress import backlog

PATH = "/v1/chat/completions"
STREAM = {**CHAT, "stream": True}
WHOLE = Answer.openai_chat()
WORDS = Answer.openai_stream(["one ", "two ", "three"])


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream(lambda _request: WHOLE) as double:
        yield double


@pytest.fixture
def made(upstream: Upstream) -> Iterator[World]:
    upstream.clear()
    with hotpath.world(*hotpath.targets(upstream), grace_seconds=1) as world:
        yield world
    upstream.clear()


def drain(made: World) -> None:
    on_the_loop(made, made.listener.drain)


def on_the_loop(made: World, call: Callable[[], None]) -> None:
    async def there() -> None:
        call()

    made.loop.run(there())


def stop(made: World) -> None:
    made.loop.run(made.listener.stop())


def post(raw: Raw, body: object = CHAT) -> Raw:
    return raw.request("POST", PATH, body, BEARER)


def is_last(answer: RawAnswer) -> bool:
    return answer.headers.get("connection") == "close"


# ---- while new requests are still served -----------------------------------------------------------------------------


def test_kept_and_new_connections_are_served_once_more_and_told_to_go(made: World) -> None:
    with connect(made.port) as kept, connect(made.port) as silent:
        assert not is_last(post(kept).answer())
        drain(made)
        answer = post(kept).answer()
        assert (answer.status, is_last(answer)) == (200, True)
        assert kept.closed_within(1)
        with connect(made.port) as new:
            answer = post(new).answer()
            assert (answer.status, is_last(answer)) == (200, True)
            assert new.closed_within(1)
        answer = post(silent).answer()
        assert (answer.status, is_last(answer)) == (200, True)


@pytest.mark.parametrize("path", ["/healthz", "/v1/models", "/v1/nowhere"])
def test_every_answer_of_the_port_says_so(made: World, path: str) -> None:
    drain(made)
    with connect(made.port) as raw:
        assert is_last(raw.get(path, BEARER).answer())
        assert raw.closed_within(1)


def test_answers_that_have_not_begun_say_so_too(made: World, upstream: Upstream) -> None:
    made.warm(upstream)
    upstream.script(WHOLE.after(0.3), WORDS.after(0.3))
    with connect(made.port) as whole, connect(made.port) as stream:
        post(whole)
        upstream.wait_for_requests(1)
        post(stream, STREAM)
        upstream.wait_for_requests(2)
        drain(made)
        for raw in (whole, stream):
            answer = raw.answer()
            assert (answer.status, is_last(answer)) == (200, True)
            assert raw.closed_within(1)


def test_a_stream_that_could_not_say_so_keeps_its_connection_for_another_request(
    made: World, upstream: Upstream
) -> None:
    upstream.script(Answer.openai_stream(["one ", "two ", "three"], delay=0.1))
    with connect(made.port) as raw:
        post(raw, STREAM)
        raw.sock.recv(1, socket.MSG_PEEK)
        drain(made)
        answer = raw.answer()
        assert answer.body.endswith(b"data: [DONE]\n\n")
        assert not is_last(answer)
        assert is_last(post(raw).answer())


def test_of_pipelined_requests_all_are_answered_and_the_last_says_so(made: World, upstream: Upstream) -> None:
    upstream.script(WHOLE.after(0.2))
    with connect(made.port) as raw:
        for _ in range(3):
            post(raw)
        upstream.wait_for_requests(1)
        drain(made)
        assert [is_last(raw.answer()) for _ in range(3)] == [False, False, True]
        assert raw.closed_within(1)


# ---- when the port closes --------------------------------------------------------------------------------------------


async def test_who_waits_to_be_accepted_is_let_in_and_nobody_comes_after_them() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as first, socket.socket() as late:
        listening.setblocking(False)
        first.connect(listening.getsockname())
        emptying = asyncio.create_task(backlog.empty(listening))
        await asyncio.sleep(0)  # it has told the system
        late.settimeout(0.3)
        with pytest.raises(TimeoutError):
            late.connect(listening.getsockname())
        assert not emptying.done()
        assert backlog.waiting(listening) == 1
        accepted, _ = listening.accept()
        await asyncio.wait_for(emptying, 1)
        first.sendall(b"hello")
        assert accepted.recv(5) == b"hello"
        accepted.close()


def test_requests_that_have_arrived_when_the_port_closes_are_answered(made: World) -> None:
    with connect(made.port) as new, connect(made.port) as kept, connect(made.port) as idle:
        for raw in (kept, idle):
            assert post(raw).answer().status == 200

        def close_after_they_have_come() -> None:
            post(new)
            post(kept)
            for connection in list(made.listener._server.server_state.connections):
                connection.shutdown()

        on_the_loop(made, close_after_they_have_come)
        for raw in (new, kept):
            answer = raw.answer()
            assert (answer.status, is_last(answer)) == (200, True)
        assert idle.closed_within(0.5)


def test_whoever_could_not_be_told_has_a_moment_for_another_request(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.openai_stream(["one ", "two ", "three"], delay=0.1))
    with connect(made.port) as streaming, connect(made.port) as new:
        post(streaming, STREAM)
        streaming.sock.recv(1, socket.MSG_PEEK)
        stopping = asyncio.run_coroutine_threadsafe(made.listener.stop(), made.loop._loop)
        assert not is_last(streaming.answer())
        assert is_last(post(streaming).answer())
        assert is_last(post(new).answer())
        stopping.result(5)


def test_a_connection_that_asks_for_nothing_is_closed_without_a_word(made: World) -> None:
    with connect(made.port) as silent:
        until(lambda: len(made.listener._server.server_state.connections) == 1, "the connection")
        begun = time.monotonic()
        stop(made)
        assert silent.closed_within(0.1)
        assert time.monotonic() - begun < 2


# ---- when the grace period is over -----------------------------------------------------------------------------------


def test_a_whole_answer_that_takes_too_long_is_503_with_retry_after(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.silent())
    with connect(made.port) as raw:
        post(raw)
        upstream.wait_for_requests(1)
        stop(made)
        answer = raw.answer()
        assert (answer.status, answer.error["code"]) == (503, "shutting_down")
        assert answer.headers["retry-after"] == "1"
        assert is_last(answer)
        assert raw.closed_within(1)
    assert upstream.requests[0].closed_by_client.wait(1)


def test_a_stream_that_takes_too_long_ends_with_an_error_that_says_why(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.openai_stream(["one ", *["two "] * 100], delay=0.05))
    with connect(made.port) as raw:
        post(raw, STREAM)
        raw.sock.recv(1, socket.MSG_PEEK)
        stop(made)
        *events, last, rest = raw.answer().body.split(b"\n\n")
        error = json.loads(last.removeprefix(b"data: "))["error"]
        assert error["code"] == "shutting_down"
        assert "shutting down" in error["message"]
        assert rest == b""
        assert b"data: [DONE]" not in events
        assert all(json.loads(event.removeprefix(b"data: "))["choices"] for event in events if event[:1] == b"d")
        assert raw.closed_within(1)
    (exchange,) = made.accounted()
    assert (exchange.status, exchange.error, exchange.truncated) == (200, "shutting_down", True)


def test_a_stream_of_which_nothing_is_out_yet_is_503(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.silent())
    with connect(made.port) as raw:
        post(raw, STREAM)
        upstream.wait_for_requests(1)
        stop(made)
        answer = raw.answer()
        assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "shutting_down", "1")
    assert [(each.status, each.error) for each in made.accounted()] == [(503, "shutting_down")]


def test_a_client_that_does_not_read_does_not_hold_up_the_end(made: World, upstream: Upstream) -> None:
    upstream.script(Answer.openai_stream(["x" * 100_000] * 400))
    with connect(made.port) as raw:
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        post(raw, STREAM)
        upstream.wait_for_requests(1)
        begun = time.monotonic()
        stop(made)
        assert time.monotonic() - begun < 6


# ---- the process -----------------------------------------------------------------------------------------------------

KEY = hotpath.KEY
TABLE = [tables.echo(), tables.route(), tables.route("default/slow", targets=[("only", "echo-100ms")]), tables.key(KEY)]


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[OperatorDouble]:
    @asynccontextmanager
    async def listening() -> AsyncIterator[OperatorDouble]:
        double = OperatorDouble(tmp_path / "operator.sock", TABLE)
        await double.start()
        yield double
        await double.stop()

    with served(listening) as (double, _):
        yield double


class Process:
    """A gateway."""

    def __init__(self, operator: OperatorDouble, *flags: str) -> None:
        self.port, self.admin_port = free_ports(2)
        argv = [
            sys.executable, "-m", "trunkline_gateway.main", f"--operator={operator.address}", "--host=127.0.0.1",
            f"--port={self.port}", f"--admin-port={self.admin_port}", *flags,
        ]  # fmt: skip
        environ = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
        self.child = subprocess.Popen(argv, stderr=subprocess.DEVNULL, env=environ)

    def readiness(self) -> tuple[int, bytes]:
        try:
            with connect(self.admin_port) as raw:
                answer = raw.get("/readyz").answer()
                return answer.status, answer.body
        except OSError:
            return 0, b""

    def wait_ready(self) -> Process:
        until(lambda: self.readiness()[0] == 200, "the gateway", 15)
        return self

    def end(self) -> None:
        self.child.kill()
        self.child.wait()


@pytest.fixture
def start(operator: OperatorDouble) -> Iterator[Callable[..., Process]]:
    processes: list[Process] = []

    def begin(*flags: str) -> Process:
        processes.append(Process(operator, *flags))
        return processes[-1]

    yield begin
    for process in processes:
        process.end()


def test_without_the_delay_being_over_the_process_goes_on_serving_and_says_that_it_is_not_ready(
    start: Callable[..., Process],
) -> None:
    process = start("--drain-delay=1s").wait_ready()
    begun = time.monotonic()
    process.child.send_signal(signal.SIGTERM)
    until(lambda: process.readiness()[0] == 503, "it to be unready", 1)
    assert b"shutting down" in process.readiness()[1]
    with connect(process.port) as raw:
        assert is_last(raw.request("POST", PATH, {**CHAT, "model": "echo"}, BEARER).answer())
    assert process.child.wait(5) == 0
    assert 1 < time.monotonic() - begun < 3


def test_a_gateway_that_never_was_ready_does_not_wait(start: Callable[..., Process], operator: OperatorDouble) -> None:
    process = start("--operator=unix:/nowhere", "--drain-delay=30s")
    until(lambda: process.readiness()[0] == 503, "the admin port", 15)
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(5) == 0


def test_after_kill_9_it_serves_what_it_has_kept_with_the_operator_away(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    state = f"--state-dir={tmp_path / 'state'}"
    first = start(state).wait_ready()
    until((tmp_path / "state" / "table").exists, "the last known good")
    first.end()
    again = start(state, "--operator=unix:/nowhere").wait_ready()
    with connect(again.port) as raw:
        assert raw.request("POST", PATH, {**CHAT, "model": "echo"}, BEARER).answer().status == 200


def test_a_second_signal_ends_the_delay_and_all(start: Callable[..., Process]) -> None:
    process = start("--drain-delay=30s").wait_ready()
    process.child.send_signal(signal.SIGTERM)
    until(lambda: process.readiness()[0] == 503, "it to be unready", 1)
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(2) == 1


def test_no_request_fails_when_one_of_two_goes_and_the_clients_hear_of_it_late(start: Callable[..., Process]) -> None:
    """200 kept connections that never pause, 60 new ones a second, streams of up to four seconds."""
    flags = ("--drain-delay=2s", "--shutdown-grace=2s")
    going, staying = start(*flags), start(*flags)
    endpoints = [("127.0.0.1", each.wait_ready().port) for each in (going, staying)]
    busy = Load(lambda: endpoints, key=KEY, words=(1, 3), streams=200, rate=120)
    streams = Load(lambda: endpoints, key=KEY, stream_model="slow", words=(1, 60), streams=40, rate=0)
    with busy, streams:
        until(lambda: streams.open_streams > 20, "the streams", 10)
        with busy.phase("drain") as requests, streams.phase("drain") as long:
            going.child.send_signal(signal.SIGTERM)
            until(lambda: going.readiness()[0] == 503, "it to be unready", 2)
            heard = time.monotonic() + 1.0  # as kube-proxy would
            until(lambda: time.monotonic() > heard, "the news", 2)
            del endpoints[0]
            assert going.child.wait(10) == 0
    assert requests.failures() == []
    assert requests.count() > 500
    assert long.failures() == []
    assert long.count("stream", TOLD) > 0
    assert long.count("stream", "ok") > 5
