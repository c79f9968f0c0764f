"""Requests that the handler answers straight from the parser, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.rawhttp import IncompleteError, Raw, connect
from harness.serving import Loop, served
from trunkline_gateway import errors
from trunkline_gateway.http import NO_HEADERS, Block, Body, ClientGoneError, Head, Responder
from trunkline_gateway.ingress import rest
from trunkline_gateway.ingress.asgi import Application
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.ingress.listener import Listener
from trunkline_gateway.timers import Timers

HOST = "Host: test\r\n"
BLOCK = Block([(b"content-type", b"text/plain"), (b"x-block", b"1")])


class Handler:
    """Does what the test gives it for a path; keeps what came of it."""

    def __init__(self) -> None:
        self.does: dict[str, Callable[[Head, Body, Responder], Awaitable[None]]] = {"/echo": self.echo}
        self.heads: list[Head] = []
        self.raised: list[BaseException] = []
        self.events: list[str] = []

    def gathers(self, head: Head) -> bool:
        return False

    def at_once(self, head: Head, responder: object) -> bool:
        return False

    def serves(self, path: str) -> bool:
        return path not in rest.PATHS

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        self.heads.append(head)
        try:
            await self.does[head.path](head, body, responder)
        except (errors.GatewayError, ClientGoneError) as error:
            self.raised.append(error)
            if isinstance(error, errors.GatewayError):
                await responder.answer(error.status, NO_HEADERS, (), b"")

    async def echo(self, head: Head, body: Body, responder: Responder) -> None:
        sent = await body.read(1 << 20)
        await responder.answer(200, BLOCK, ((b"x-own", b"2"),), head.method.encode() + b" " + head.query + b" " + sent)


@contextmanager
def listening(handler: Handler, *, limits: Limits | None = None, **more: Any) -> Iterator[tuple[Listener, Loop]]:
    @asynccontextmanager
    async def life() -> AsyncIterator[Listener]:
        timers = Timers(asyncio.get_running_loop())
        app = Application(handler, rest.application())
        kept = {"keep_alive_seconds": 5, "grace_seconds": 1} | more
        listener = Listener(app, handler=handler, host="127.0.0.1", port=0, timers=timers, limits=limits, **kept)
        await listener.start()
        yield listener
        await listener.stop()
        timers.close()

    with served(life) as (listener, loop):
        yield listener, loop


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Handler, int]]:
    handler = Handler()
    limits = Limits(body_idle_seconds=0.3, linger_seconds=0.5, head_seconds=0.5)
    with listening(handler, limits=limits) as (listener, _):
        yield handler, listener.port


@pytest.fixture
def handler(shared: tuple[Handler, int]) -> Handler:
    return shared[0]


@pytest.fixture
def port(shared: tuple[Handler, int]) -> int:
    return shared[1]


@pytest.fixture
def raw(port: int) -> Iterator[Raw]:
    with connect(port) as connection:
        yield connection


# ---- what the handler sees, and what goes out ------------------------------------------------------------------------


def test_the_head_is_as_it_was_sent_with_names_in_lower_case(raw: Raw, handler: Handler) -> None:
    raw.send(f"GET /echo?a=%2F&b HTTP/1.1\r\n{HOST}X-Some: Value\r\nx-some: other\r\n\r\n").answer()
    head = handler.heads[-1]
    assert (head.method, head.path, head.query, head.client) == ("GET", "/echo", b"a=%2F&b", "127.0.0.1")
    assert list(head.headers) == [(b"host", b"test"), (b"x-some", b"Value"), (b"x-some", b"other")]
    assert head.get(b"x-some") == b"Value"


def test_an_answer_has_the_drivers_headers_the_block_and_its_own(raw: Raw) -> None:
    answer = raw.request("POST", "/echo?q", b"hello").answer()
    assert answer.body == b"POST q hello"
    assert list(answer.headers) == ["date", "content-type", "x-block", "x-own", "content-length"]


def test_every_request_of_a_connection_is_told_apart(raw: Raw, handler: Handler) -> None:
    for number, method in enumerate(("GET", "POST", "PUT", "DELETE", "PURGE", "GET")):
        assert raw.request(method, f"/echo?{number}", b"x").answer().body == f"{method} {number} x".encode()


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none_and_no_length(raw: Raw, handler: Handler, status: int) -> None:
    async def bodiless(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.answer(status, NO_HEADERS, (), b"")

    handler.does["/bodiless"] = bodiless
    answer = raw.get("/bodiless").answer()
    assert answer.status == status
    assert "content-length" not in answer.headers
    assert raw.get("/echo").answer().status == 200


def test_a_large_answer_arrives_whole(raw: Raw, handler: Handler) -> None:
    async def large(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.answer(200, BLOCK, (), bytes(range(256)) * 4096)

    handler.does["/large"] = large
    for _ in range(3):
        assert raw.get("/large").answer().body == bytes(range(256)) * 4096


def stream(*parts: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Callable[..., Awaitable[None]]:
    async def streaming(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.start(200, BLOCK, headers)
        for part in parts:
            await responder.write(part)
        await responder.finish(b"end")

    return streaming


def test_a_streamed_answer_is_chunked(raw: Raw, handler: Handler) -> None:
    handler.does["/stream"] = stream(b"one", b"", b"x" * 20_000)
    answer = raw.get("/stream").answer()
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.body == b"one" + b"x" * 20_000 + b"end"
    assert raw.request("HEAD", "/stream").answer(head_only=True).status == 200
    assert raw.get("/echo").answer().status == 200


def test_a_streamed_answer_with_a_length_is_not_chunked(raw: Raw, handler: Handler) -> None:
    handler.does["/sized"] = stream(b"one", headers=((b"content-length", b"6"),))
    answer = raw.get("/sized").answer()
    assert "transfer-encoding" not in answer.headers
    assert answer.body == b"oneend"
    assert raw.get("/echo").answer().status == 200


@pytest.mark.parametrize("length", [b"5", b"7"])
def test_an_answer_that_is_not_as_long_as_it_said_ends_the_connection(
    raw: Raw, handler: Handler, length: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    handler.does["/wrong"] = stream(b"one", headers=((b"content-length", length),))
    raw.get("/wrong")
    head = raw.sock.recv(65_536)
    assert head.startswith(b"HTTP/1.1 200")
    assert raw.closed_within(3) or raw._buffer in (b"one", b"oneend")
    assert [record.message for record in caplog.records if record.levelno == logging.ERROR] == ["the handler failed"]


# ---- the life of a connection ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_head", [f"GET /echo HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n", "GET /echo HTTP/1.0\r\n\r\n"]
)
def test_a_client_that_wants_to_close_is_closed(raw: Raw, request_head: str) -> None:
    answer = raw.send(request_head).answer()
    assert answer.body == b"GET  "
    assert answer.headers["connection"] == "close"
    assert raw.closed_within(2)


def test_http_1_0_gets_a_stream_that_ends_with_the_connection(raw: Raw, handler: Handler) -> None:
    handler.does["/stream"] = stream(b"one")
    raw.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    received = b""
    while data := raw.sock.recv(65_536):
        received += data
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert body == b"oneend"


def test_http_1_0_can_tell_an_aborted_stream_from_one_that_ended(raw: Raw, handler: Handler) -> None:
    async def aborting(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.start(200, BLOCK, ())
        await responder.write(b"one")
        await asyncio.sleep(0.1)
        await responder.abort()

    handler.does["/abort"] = aborting
    raw.send("GET /abort HTTP/1.0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        _ = [raw.sock.recv(65_536) for _ in range(3)]


def test_hot_and_cold_requests_are_answered_in_their_order(raw: Raw, handler: Handler) -> None:
    async def slow(_head: Head, _body: Body, responder: Responder) -> None:
        handler.events.append("slow")
        await asyncio.sleep(0.1)
        await responder.answer(200, BLOCK, (), b"slow")
        handler.events.append("slow over")

    async def next_one(_head: Head, _body: Body, responder: Responder) -> None:
        handler.events.append("next")
        await responder.answer(200, BLOCK, (), b"next")

    handler.does |= {"/slow": slow, "/next": next_one}
    handler.events.clear()
    raw.get("/slow").get("/health").get("/next").get("/health").get("/slow").get("/next")
    bodies = [raw.answer().body for _ in range(6)]
    assert bodies == [b"slow", b'{"status":"ok"}', b"next", b'{"status":"ok"}', b"slow", b"next"]
    assert handler.events.index("next") > handler.events.index("slow over")


def test_a_client_that_leaves_is_noticed_once(port: int, handler: Handler) -> None:
    async def watching(_head: Head, _body: Body, responder: Responder) -> None:
        gone = asyncio.Event()

        def left() -> None:
            handler.events.append("gone")
            gone.set()

        responder.watch(lambda: handler.events.append("forgotten"))
        responder.watch(None)
        responder.watch(left)
        await gone.wait()
        responder.watch(lambda: handler.events.append("gone already"))
        await responder.answer(200, BLOCK, (), b"to nobody")
        await responder.finish(b"to nobody")
        with pytest.raises(ClientGoneError):
            await responder.write(b"to nobody")
        handler.events.append("over")

    handler.does["/watch"] = watching
    handler.events.clear()
    with connect(port) as raw:
        raw.get("/watch")
        eventually(lambda: handler.heads[-1].path == "/watch")
    eventually(lambda: "over" in handler.events)
    assert handler.events == ["gone", "gone already", "over"]


def test_a_client_that_leaves_after_its_answer_is_nobodys_business(port: int, handler: Handler) -> None:
    async def lingering(_head: Head, _body: Body, responder: Responder) -> None:
        responder.watch(lambda: handler.events.append("gone"))
        await responder.answer(200, BLOCK, (), b"")
        await asyncio.sleep(0.2)
        handler.events.append("over")

    handler.does["/linger"] = lingering
    handler.events.clear()
    with connect(port) as raw:
        assert raw.get("/linger").answer().status == 200
        assert raw.get("/echo").answer().status == 200  # the next need not wait for what the handler still does
        assert handler.events == []
    eventually(lambda: "over" in handler.events)
    assert handler.events == ["over"]


# ---- bodies ----------------------------------------------------------------------------------------------------------


def test_the_handler_can_refuse_before_the_body_has_come(raw: Raw, handler: Handler) -> None:
    async def refusing(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.answer(401, NO_HEADERS, (), b"no")

    handler.does["/refuse"] = refusing
    raw.send(f"POST /refuse HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\n")
    assert raw.answer().status == 401
    assert raw.send(b"x" * 1000).get("/echo").answer().status == 200


def test_a_body_that_declares_too_much_is_refused_at_once(raw: Raw, handler: Handler) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 2000000\r\n\r\n")
    assert raw.answer().status == 413


def test_a_body_that_is_too_long_is_refused_as_soon_as_it_is(raw: Raw, handler: Handler) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(17):
        raw.send(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
    assert raw.answer().status == 413
    assert raw.send("0\r\n\r\n").get("/echo").answer().status == 200


def test_a_body_of_exactly_the_limit_is_taken(raw: Raw) -> None:
    assert len(raw.request("POST", "/echo", b"x" * (1 << 20)).answer().body) == (1 << 20) + 6


def test_a_body_that_stalls_is_408(raw: Raw, handler: Handler) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\n").send(b"x")
    begun = time.monotonic()
    assert raw.answer().status == 408
    assert 0.25 < time.monotonic() - begun < 1.5


def test_a_slow_body_is_not_one_that_stalls(raw: Raw) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 4\r\n\r\n")
    for _ in range(4):
        time.sleep(0.15)
        raw.send(b"x")
    assert raw.answer().body == b"POST  xxxx"


def test_a_client_that_leaves_within_its_body_is_gone(port: int, handler: Handler) -> None:
    handler.raised.clear()
    with connect(port) as raw:
        raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 10\r\n\r\n").send(b"x")
        eventually(lambda: handler.heads[-1].get(b"content-length") == b"10")
    eventually(lambda: bool(handler.raised))
    assert isinstance(handler.raised[0], ClientGoneError)


def test_a_body_that_nobody_reads_is_held_back(raw: Raw, handler: Handler) -> None:
    async def late(_head: Head, body: Body, responder: Responder) -> None:
        await asyncio.sleep(0.5)
        await responder.answer(200, BLOCK, (), b"%d" % len(await body.read(64 << 20)))

    handler.does["/late"] = late
    size = 32 << 20
    raw.send(f"POST /late HTTP/1.1\r\n{HOST}Content-Length: {size}\r\n\r\n")
    raw.sock.setblocking(False)
    sent, until = 0, time.monotonic() + 0.3
    while time.monotonic() < until:
        try:
            sent += raw.sock.send(b"x" * min(size - sent, 1 << 16))
        except BlockingIOError:
            time.sleep(0.01)
    assert sent < size // 2
    raw.sock.settimeout(10)
    raw.send(b"x" * (size - sent))
    assert raw.answer().body == b"%d" % size


@pytest.mark.parametrize("never_ending", ["3;ext=", "3\r\nabc\r\n0\r\nX-Trailer: "])
def test_chunk_extensions_and_trailers_are_bounded(raw: Raw, never_ending: str) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{never_ending}")
    sent = 0
    try:
        while sent < 4 << 20:
            raw.send(b"a" * 16_384)
            sent += 16_384
    except OSError:
        pass
    assert raw.answer().status == 431


CHUNKED = f"POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n"


def test_chunk_extensions_are_bounded_in_sum_whatever_body_comes_between(raw: Raw) -> None:
    raw.send(CHUNKED)
    sent = 0
    try:
        while sent < 1 << 20:
            raw.send(b"1;" + b"a" * 8_192 + b"\r\nx\r\n")
            sent += 8_192
    except OSError:
        pass
    assert raw.answer().status == 431


def test_many_small_chunks_are_no_framing_to_speak_of(raw: Raw) -> None:
    raw.send(CHUNKED)
    for _ in range(40):
        raw.send(b"1;signature=" + b"a" * 64 + b"\r\nx\r\n")
    raw.send(b"1\r\nx\r\n" * 30_000 + b"0\r\n\r\n")
    assert len(raw.answer().body) == 30_046


@pytest.mark.parametrize("trailers", ["x: y\r\n" * 201, f"x: {'y' * 66_000}\r\n"])
def test_trailers_are_bounded_also_where_they_come_with_the_head(raw: Raw, trailers: str) -> None:
    raw.send(f"{CHUNKED}3\r\nabc\r\n0\r\n{trailers}\r\n")
    assert raw.answer().status == 431


def test_trailers_within_the_bounds_are_counted_for_each_request(raw: Raw) -> None:
    for _ in range(3):
        raw.send(f"{CHUNKED}3\r\nabc\r\n0\r\n" + "x: y\r\n" * 150 + "\r\n")
        assert raw.answer().body == b"POST  abc"


def test_a_body_that_trickles_is_408_in_the_end() -> None:
    with (
        listening(Handler(), limits=Limits(body_idle_seconds=5, body_seconds=0.3)) as (listener, _),
        connect(listener.port) as raw,
    ):
        raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\n")
        begun = time.monotonic()
        raw.sock.settimeout(0.05)
        while time.monotonic() - begun < 2:
            raw.send(b"x")
            try:
                raw._more(b"")
                break
            except TimeoutError:
                continue
        raw.sock.settimeout(2)
        answer = raw.answer(head_only=True)
        assert answer.status == 408
        assert 0.25 < time.monotonic() - begun < 1.5


def test_a_burst_of_small_requests_is_answered_whole(raw: Raw) -> None:
    raw.send(f"GET /echo HTTP/1.1\r\n{HOST}\r\n" * 800)
    assert [raw.answer().status for _ in range(800)] == [200] * 800


def test_a_burst_over_the_limit_of_requests_in_flight_is_refused_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    handler = Handler()
    release = asyncio.Event()
    handler.does["/held"] = held(handler, release)
    caplog.set_level(logging.INFO)
    with (
        listening(handler, limits=Limits(in_flight=1)) as (listener, loop),
        connect(listener.port) as one,
        connect(listener.port) as burst,
    ):
        one.get("/held")
        eventually(lambda: handler.events == ["begun"])
        # The first is answered by ASGI, so that the others wait and are then refused in one go.
        burst.send(f"GET /health HTTP/1.1\r\n{HOST}\r\n" + f"GET /echo HTTP/1.1\r\n{HOST}\r\n" * 900)
        assert burst.answer().status == 200
        answers = [burst.answer() for _ in range(900)]
        assert {answer.status for answer in answers} == {503}
        eventually(lambda: any("left_out" in fields_of(record) for record in caplog.records))
        loop._loop.call_soon_threadsafe(release.set)
        assert one.answer().status == 200
    said = [fields_of(record) for record in caplog.records if record.message.startswith("request refused")]
    told = [fields_of(record)["left_out"] for record in caplog.records if "left_out" in fields_of(record)]
    assert len(said) + sum(told) == 900
    assert len(said) <= 10 * (len(told) + 1)
    assert said[0] == {
        "request_id": answers[0].headers["x-request-id"],
        "client": "127.0.0.1",
        "status": 503,
        "code": "overloaded",
    }


def test_a_refusal_can_be_found_in_the_log_by_its_request_id(raw: Raw, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = raw.send("GET /secret HTTP/1.1\r\n\r\n").answer()
    eventually(lambda: any("request_id" in fields_of(record) for record in caplog.records) or len(caplog.records) > 9)
    said = next(fields_of(record) for record in caplog.records if "request_id" in fields_of(record))
    assert said == {
        "request_id": answer.headers["x-request-id"],
        "client": "127.0.0.1",
        "status": 400,
        "code": "bad_request",
    }


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    given: dict[str, object] = getattr(record, "fields", {})
    return given


# ---- clients that do not read, or leave ------------------------------------------------------------------------------


def test_a_client_that_reads_nothing_does_not_hold_requests_for_ever() -> None:
    handler = Handler()
    with (
        listening(handler, limits=Limits(stall_seconds=0.4)) as (listener, _),
        connect(listener.port) as raw,
    ):
        handler.does["/flood"] = flood
        raw.get("/flood")
        eventually(lambda: bool(handler.raised), 2)
        assert isinstance(handler.raised[0], ClientGoneError)
        begun = time.monotonic()
        with pytest.raises((ConnectionResetError, IncompleteError)):
            raw.answer()
        assert time.monotonic() - begun < 2


def test_answers_that_wait_for_a_client_that_reads_nothing_are_lost_with_it() -> None:
    handler = Handler()
    handler.does["/large"] = large
    with (
        listening(handler, limits=Limits(stall_seconds=0.4, in_flight=1)) as (listener, _),
        connect(listener.port) as raw,
        connect(listener.port) as other,
    ):
        raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.send(f"GET /large HTTP/1.1\r\n{HOST}\r\n" * 8)
        eventually(lambda: other.get("/echo").answer().status == 503)
        eventually(lambda: other.get("/echo").answer().status == 200)


def test_a_client_that_reads_slowly_lives_on() -> None:
    handler = Handler()
    handler.does["/flood"] = flood
    with (
        listening(handler, limits=Limits(stall_seconds=0.3)) as (listener, _),
        connect(listener.port) as raw,
    ):
        raw.get("/flood")
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            raw._buffer += raw.sock.recv(131_072)
            time.sleep(0.05)
        assert len(raw.answer().body) == 16 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="the state of a connection is asked of Linux")
def test_a_client_that_leaves_behind_a_body_that_nobody_reads_is_noticed(port: int, handler: Handler) -> None:
    async def waiting(_head: Head, _body: Body, responder: Responder) -> None:
        gone = asyncio.Event()
        responder.watch(gone.set)
        handler.events.append("waiting")
        async with asyncio.timeout(5):
            await gone.wait()
        handler.events.append("gone")

    handler.does["/waiting"] = waiting
    handler.events.clear()
    with connect(port) as raw:
        raw.send(f"POST /waiting HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n").send(b"x" * 100_000)
        eventually(lambda: handler.events == ["waiting"])
    eventually(lambda: handler.events == ["waiting", "gone"], 1)


async def flood(_head: Head, _body: Body, responder: Responder) -> None:
    await responder.start(200, BLOCK, ())
    for _ in range(256):
        await responder.write(b"z" * 65_536)
    await responder.finish()


async def large(_head: Head, _body: Body, responder: Responder) -> None:
    await responder.answer(200, BLOCK, (), b"z" * (4 << 20))


def test_a_body_begun_behind_a_long_one_is_not_blamed_for_its_length(raw: Raw) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-")
    time.sleep(0.05)
    raw.send(f"Length: 90000\r\n\r\n{'x' * 90_000}POST /echo HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
    assert len(raw.answer().body) == 90_006
    assert raw.send("3\r\nabc\r\n0\r\n\r\n").answer().body == b"POST  abc"


def test_a_head_begun_behind_a_long_body_is_not_blamed_for_its_length(raw: Raw) -> None:
    raw.send(f"POST /echo HTTP/1.1\r\n{HOST}Content-")
    time.sleep(0.05)
    raw.send(f"Length: 90000\r\n\r\n{'x' * 90_000}GET /echo HTT")
    assert len(raw.answer().body) == 90_006
    assert raw.send(f"P/1.1\r\n{HOST}\r\n").answer().status == 200


# ---- cut anywhere ----------------------------------------------------------------------------------------------------

WIRE = (
    f"GET /echo?1 HTTP/1.1\r\n{HOST}\r\n"
    f"POST /echo?2 HTTP/1.1\r\n{HOST}Content-Length: 5\r\n\r\nhello"
    f"GET /health HTTP/1.1\r\n{HOST}\r\n\r\n"
    f"POST /echo?3 HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"
    f"POST /echo?4 HTTP/1.1\r\n{HOST}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"
    f"Content-Length: 2\r\n\r\nhi"
    f"DELETE /echo?5 HTTP/1.1\r\n{HOST}\r\n"
).encode()
ANSWERS = [b"GET 1 ", b"POST 2 hello", b'{"status":"ok"}', b"POST 3 abcde", b"POST 4 hi", b"DELETE 5 "]


@settings(deadline=None, max_examples=60)
@given(cuts=st.lists(st.integers(0, len(WIRE)), max_size=6).map(sorted))
def test_requests_mean_the_same_however_they_are_cut(shared: tuple[Handler, int], cuts: list[int]) -> None:
    edges = [0, *cuts, len(WIRE)]
    with connect(shared[1]) as raw:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for a, b in pairwise(edges):
            raw.send(WIRE[a:b])
            time.sleep(0.002)  # so that the parts arrive as parts; nothing depends on it
        assert [raw.answer().body for _ in ANSWERS] == ANSWERS


def test_requests_mean_the_same_byte_by_byte(raw: Raw) -> None:
    raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for index in range(len(WIRE)):
        raw.send(WIRE[index : index + 1])
    assert [raw.answer().body for _ in ANSWERS] == ANSWERS


@settings(deadline=None, max_examples=150)
@given(
    at=st.integers(0, len(WIRE)),
    taken=st.integers(0, 12),
    put=st.binary(max_size=12)
    | st.sampled_from([b"\r\n", b"\n", b"\0", b": ", b"Transfer-Encoding: chunked\r\n", b"\xff"]),
)
def test_whatever_is_sent_gets_answers_and_an_end(shared: tuple[Handler, int], at: int, taken: int, put: bytes) -> None:
    handler, port = shared
    seen = len(handler.heads)
    with connect(port, timeout_seconds=3) as raw:
        raw.send(WIRE[:at] + put + WIRE[at + taken :])
        raw.sock.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while data := raw.sock.recv(65_536):
                received += data
        except ConnectionResetError:
            pass
    assert received == b"" or received.startswith(b"HTTP/1.1 ")
    for head in handler.heads[seen:]:
        names = [name for name, _ in head.headers]
        assert names.count(b"host") == 1
        assert not (b"content-length" in names and b"transfer-encoding" in names)
        assert head.path.startswith("/")
    with connect(port, timeout_seconds=3) as raw:
        assert raw.get("/echo").answer().status == 200


# ---- bugs, load, and the end -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/bug", "/silent"])
def test_a_bug_in_the_handler_is_500_without_detail_and_logged_once(
    raw: Raw, handler: Handler, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    async def failing(_head: Head, _body: Body, _responder: Responder) -> None:
        raise RuntimeError("a detail")

    async def silent(_head: Head, _body: Body, _responder: Responder) -> None: ...

    handler.does |= {"/bug": failing, "/silent": silent}
    answer = raw.get(path, "X-Request-Id: mine").answer()
    assert answer.status == 500
    assert "detail" not in answer.error["message"]
    assert answer.headers["x-request-id"] == "mine"
    assert raw.closed_within(2)
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1


def test_a_bug_in_the_middle_of_an_answer_leaves_it_incomplete(raw: Raw, handler: Handler) -> None:
    async def failing(_head: Head, _body: Body, responder: Responder) -> None:
        await responder.start(200, BLOCK, ())
        await responder.write(b"partial")
        raise RuntimeError

    handler.does["/half"] = failing
    with pytest.raises(IncompleteError):
        raw.get("/half").answer()


def held(handler: Handler, release: asyncio.Event) -> Callable[..., Awaitable[None]]:
    async def holding(_head: Head, _body: Body, responder: Responder) -> None:
        handler.events.append("begun")
        try:
            await release.wait()
            await responder.answer(200, BLOCK, (), b"held")
        except asyncio.CancelledError:
            handler.events.append("cancelled")
            raise

    return holding


def test_over_the_limit_of_requests_in_flight_is_503_and_the_connection_lives() -> None:
    handler = Handler()
    release = asyncio.Event()
    handler.does["/held"] = held(handler, release)
    refused: list[tuple[int, str]] = []
    with (
        listening(handler, limits=Limits(in_flight=2), refused=lambda *what: refused.append(what)) as (listener, loop),
        connect(listener.port) as one,
        connect(listener.port) as two,
        connect(listener.port) as three,
    ):
        one.get("/held")
        two.get("/held")
        eventually(lambda: handler.events == ["begun", "begun"])
        for _ in range(2):
            answer = three.request("POST", "/echo", b"x" * 100_000).answer()
            assert answer.status == 503
            assert answer.error["code"] == "overloaded"
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-request-id"].startswith("req_")
        assert three.get("/health").answer().status == 200
        loop._loop.call_soon_threadsafe(release.set)
        assert (one.answer().body, two.answer().body) == (b"held", b"held")
        assert three.get("/echo").answer().status == 200
    assert refused == [(503, "overloaded")] * 2


def test_drain_closes_idle_connections_and_finishes_what_was_asked() -> None:
    handler = Handler()
    release = asyncio.Event()
    handler.does["/held"] = held(handler, release)
    with (
        listening(handler, grace_seconds=5) as (listener, loop),
        connect(listener.port) as idle,
        connect(listener.port) as fresh,
        connect(listener.port) as half,
        connect(listener.port) as busy,
        connect(listener.port) as piped,
    ):
        half.send("GET /echo HTT")
        assert idle.get("/echo").answer().status == 200
        busy.get("/held")
        # In one piece: what is still on its way when the server stops is not answered.
        piped.send("".join(f"GET {path} HTTP/1.1\r\n{HOST}\r\n" for path in ("/held", "/echo", "/health")))
        eventually(lambda: handler.events == ["begun", "begun"])
        stopping = asyncio.run_coroutine_threadsafe(listener.stop(), loop._loop)
        assert idle.closed_within(2)
        assert fresh.closed_within(2)
        answer = half.send(f"P/1.1\r\n{HOST}\r\n").answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        busy.get("/echo")  # too late
        loop._loop.call_soon_threadsafe(release.set)
        answer = busy.answer()
        assert (answer.body, answer.headers["connection"]) == (b"held", "close")
        assert [piped.answer().status for _ in range(2)] == [200, 200]
        assert piped.answer().headers["connection"] == "close"
        stopping.result(5)


def test_what_outlasts_the_grace_period_is_cancelled_and_told() -> None:
    handler = Handler()
    release = asyncio.Event()
    handler.does["/held"] = held(handler, release)
    with listening(handler, grace_seconds=1) as (listener, loop), connect(listener.port) as busy:
        busy.get("/held")
        eventually(lambda: handler.events == ["begun"])
        loop.run(listener.stop())
        assert handler.events == ["begun", "cancelled"]
        assert busy.answer().status == 503
        assert busy.closed_within(2)


def test_no_task_and_no_connection_is_left_behind() -> None:
    handler = Handler()
    with listening(handler) as (listener, loop):

        async def count() -> tuple[int, int]:
            return len(asyncio.all_tasks()), len(listener._server.server_state.connections)

        before = loop.run(count())
        for _ in range(20):
            with connect(listener.port) as raw:
                assert raw.get("/echo").get("/echo").answer().status == 200
        eventually(lambda: loop.run(count()) == before)


def eventually(probe: Callable[[], bool], seconds: float = 3) -> None:
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)
