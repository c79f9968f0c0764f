"""The wire, on bare sockets: what is refused, how, and that nothing of it reaches the handler."""

import asyncio
import select
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from harness.rawhttp import IncompleteError, Raw, connect
from harness.serving import served
from trunkline_gateway.http import NO_HEADERS, Block, Body, ClientGoneError, Head, Responder
from trunkline_gateway.ingress import rest
from trunkline_gateway.ingress.asgi import Application
from trunkline_gateway.ingress.limits import Limits
from trunkline_gateway.ingress.listener import Listener
from trunkline_gateway.timers import Timers

QUICK = Limits(head_seconds=0.4, linger_seconds=0.5, pipelined=64, stall_seconds=1.0)


class Handler:
    """Says what it got, or does what the path says."""

    def __init__(self) -> None:
        self.heads: list[Head] = []
        self.bodies: list[bytes] = []
        self.gone: list[str] = []
        self.written = 0

    def gathers(self, head: Head) -> bool:
        return False

    def at_once(self, head: Head, responder: object) -> bool:
        return False

    def serves(self, path: str) -> bool:
        return path not in rest.PATHS

    async def handle(self, head: Head, body: Body, responder: Responder) -> None:
        self.heads.append(head)
        try:
            await self.answer(head, body, responder)
        except ClientGoneError:
            self.gone.append(head.path)

    async def answer(self, head: Head, body: Body, responder: Responder) -> None:
        if head.path != "/early":
            self.bodies.append(await body.read(1 << 20))
        match head.path:
            case "/stream":
                await responder.start(200, Block([(b"content-type", b"text/plain")]), [])
                for _ in range(3):
                    await responder.write(b"x")
                    await asyncio.sleep(0.1)
                await responder.finish(b"y")
            case "/abort" | "/abort-sized":
                sized = [(b"content-length", b"100")] if head.path == "/abort-sized" else []
                await responder.start(200, NO_HEADERS, sized)
                await responder.write(b"partial")
                await responder.abort()
            case "/wait":
                gone = asyncio.Event()
                responder.watch(gone.set)
                async with asyncio.timeout(5):
                    await gone.wait()
                self.gone.append(head.path)
            case "/flood":
                self.written = 0
                await responder.start(200, NO_HEADERS, [])
                while self.written < 24 << 20:
                    await responder.write(b"z" * 65_536)
                    self.written += 65_536
                await responder.finish()
            case _:
                text = f"{head.method} {head.path} {len(self.bodies[-1]) if self.bodies else 0}".encode()
                await responder.answer(200, NO_HEADERS, [], text)


@pytest.fixture(scope="module")
def handler() -> Handler:
    return Handler()


@pytest.fixture(scope="module", params=["hot", "through ASGI"])
def port(handler: Handler, request: pytest.FixtureRequest) -> Iterator[int]:
    @asynccontextmanager
    async def listening() -> AsyncIterator[int]:
        timers = Timers(asyncio.get_running_loop())
        listener = Listener(
            Application(handler, rest.application()),
            handler=handler if request.param == "hot" else None,
            host="127.0.0.1",
            port=0,
            timers=timers,
            limits=QUICK,
            keep_alive_seconds=1,
            grace_seconds=1,
        )
        await listener.start()
        yield listener.port
        await listener.stop()
        timers.close()

    with served(listening) as (number, _):
        yield number


@pytest.fixture
def raw(port: int) -> Iterator[Raw]:
    with connect(port) as connection:
        yield connection


HOST = "Host: test\r\n"
TE, CL = "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n"
POST = f"POST /read HTTP/1.1\r\n{HOST}"
AMBIGUOUS = {
    "Content-Length with Transfer-Encoding": f"{POST}{CL}{TE}\r\n",
    "Transfer-Encoding with Content-Length": f"{POST}{TE}{CL}\r\n",
    "conflicting Content-Length": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "repeated Content-Length": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of Content-Lengths": f"POST / HTTP/1.1\r\n{HOST}Content-Length: 3, 3\r\n\r\nabc",
    "a signed Content-Length": f"POST / HTTP/1.1\r\n{HOST}Content-Length: +3\r\n\r\nabc",
    "an enormous Content-Length": f"POST / HTTP/1.1\r\n{HOST}Content-Length: {'9' * 30}\r\n\r\nabc",
    "a folded header": f"GET / HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n",
    "bare LF": "GET / HTTP/1.1\nHost: test\n\n",
    "bare LF in a header": "GET / HTTP/1.1\r\nHost: test\nX: a\r\n\r\n",
    "bare CR in a header": "GET / HTTP/1.1\r\nHost: test\rX: a\r\n\r\n",
    "NUL in a header": f"GET / HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n",
    "a blank before the colon": "GET / HTTP/1.1\r\nHost : test\r\n\r\n",
    "two Hosts": f"GET / HTTP/1.1\r\n{HOST}Host: other\r\n\r\n",
    "the same Host twice": f"GET / HTTP/1.1\r\n{HOST}{HOST}\r\n",
    "no Host": "GET / HTTP/1.1\r\n\r\n",
    "a Host with a path": "GET / HTTP/1.1\r\nHost: test/path\r\n\r\n",
    "a Host with a user": "GET / HTTP/1.1\r\nHost: me@test\r\n\r\n",
    "chunked, then identity": f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "gzip, then chunked": f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": f"{POST}{TE}{TE}\r\n0\r\n\r\n",
    "xchunked": f"POST / HTTP/1.1\r\n{HOST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in HTTP/1.0": "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "RTSP": "POST /x RTSP/1.0\r\nContent-Length: 0\r\n\r\n",
    "ICE": "SOURCE /x ICE/1.0\r\n\r\n",
    "no version": "GET /\r\n\r\n",
    "HTTP/1.2": f"GET / HTTP/1.2\r\n{HOST}\r\n",
    "HTTP/2 by prior knowledge": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an absolute target": f"GET http://elsewhere/v1/models HTTP/1.1\r\n{HOST}\r\n",
    "an asterisk": f"OPTIONS * HTTP/1.1\r\n{HOST}\r\n",
    "CONNECT": f"CONNECT elsewhere:443 HTTP/1.1\r\n{HOST}\r\n",
    "a fragment": f"GET /v1/models#x HTTP/1.1\r\n{HOST}\r\n",
    "dot segments": f"GET /v1/../admin HTTP/1.1\r\n{HOST}\r\n",
    "encoded dot segments": f"GET /v1/%2e%2E/admin HTTP/1.1\r\n{HOST}\r\n",
    "a dot segment at the end": f"GET /v1/models/%2e HTTP/1.1\r\n{HOST}\r\n",
    "a blank in the target": f"GET /v1 /models HTTP/1.1\r\n{HOST}\r\n",
    "bytes over 127 in the target": f"GET /v1/m\xf6dels HTTP/1.1\r\n{HOST}\r\n",
    "not a method": f"FETCH / HTTP/1.1\r\n{HOST}\r\n",
    "not HTTP": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_400_and_the_end_of_the_connection(
    raw: Raw, handler: Handler, case: str
) -> None:
    before = len(handler.heads)
    answer = raw.send(AMBIGUOUS[case].encode("latin-1")).answer()
    assert answer.status == 400, answer
    assert answer.error["type"] == "invalid_request_error"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].startswith("req_")
    assert raw.closed_within(3)
    assert len(handler.heads) == before


BAD_CHUNKS = {
    "not hexadecimal": b"zz\r\nabc\r\n0\r\n\r\n",
    "negative": b"-1\r\n\r\n",
    "with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "over 64 bits": b"fffffffffffffffff\r\n",
    "shorter than its chunk": b"2\r\nabc\r\n0\r\n\r\n",
    "ended by a bare LF": b"3\nabc\n0\n\n",
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_a_bad_chunk_size_is_400_while_the_handler_reads(raw: Raw, handler: Handler, case: str) -> None:
    raw.send(f"POST /read HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n".encode())
    time.sleep(0.05)
    gone = len(handler.gone)
    answer = raw.send(BAD_CHUNKS[case]).answer()
    assert answer.status == 400
    assert raw.closed_within(3)
    _eventually(lambda: len(handler.gone) == gone + 1)


def test_trailers_do_not_become_headers(raw: Raw, handler: Handler) -> None:
    raw.send(f"{POST}{TE}\r\n3;x=y\r\nabc\r\n0\r\nAuthorization: a\r\n\r\n")
    assert raw.answer().body == b"POST /read 3"
    assert handler.heads[-1].get(b"authorization") is None


def test_a_head_over_64_kib_is_431(raw: Raw, port: int) -> None:
    assert raw.get("/x", f"X-Big: {'a' * 65_000}").answer().status == 200
    answer = raw.get("/x", f"X-Big: {'a' * 65_536}").answer()
    assert answer.status == 431
    assert "65536 bytes" in answer.error["message"]
    assert raw.closed_within(3)
    with connect(port) as other:
        assert other.get(f"/{'a' * 70_000}").answer().status == 431


def test_a_head_over_64_kib_is_431_also_in_parts(raw: Raw) -> None:
    raw.send(f"GET /x HTTP/1.1\r\n{HOST}")
    for name in "abc":
        raw.send(f"{name}: {name * 22_000}\r\n")
        time.sleep(0.05)
    assert raw.send("\r\n").answer().status == 431


def test_a_header_that_never_ends_is_431_long_before_the_memory_is(raw: Raw) -> None:
    raw.send(f"GET / HTTP/1.1\r\n{HOST}X: ")
    sent = 0
    try:
        while sent < 4 << 20:
            raw.send(b"a" * 16_384)
            sent += 16_384
    except OSError:
        pass
    assert raw.answer().status == 431


def test_more_than_200_headers_are_431(raw: Raw) -> None:
    assert raw.get("/x", *(f"X-{number}: a" for number in range(199))).answer().status == 200
    answer = raw.get("/x", *(f"X-{number}: a" for number in range(200))).answer()
    assert answer.status == 431
    assert answer.error["code"] == "too_many_headers"


@pytest.mark.parametrize("first", ["", "GET / HT", f"GET / HTTP/1.1\r\n{HOST}X-Slow: 1\r\n"])
def test_a_head_that_does_not_come_is_408(raw: Raw, first: str) -> None:
    begun = time.monotonic()
    answer = raw.send(first).answer()
    assert answer.status == 408
    assert answer.error["code"] == "request_timeout"
    assert 0.3 < time.monotonic() - begun < 1.5
    assert raw.closed_within(3)


def test_a_head_that_trickles_is_408(raw: Raw) -> None:
    raw.send(f"GET / HTTP/1.1\r\n{HOST}X: ")
    begun = time.monotonic()
    while time.monotonic() - begun < 0.6:
        try:
            raw.send(b"a")
        except OSError:
            break
        time.sleep(0.02)
    assert raw.answer().status == 408


def test_the_second_head_of_a_connection_has_its_own_time(raw: Raw) -> None:
    assert raw.get("/x").answer().status == 200
    time.sleep(0.5)
    assert raw.get("/x").answer().status == 200
    assert raw.send("GET / HT").answer().status == 408


def test_an_idle_connection_is_closed_without_a_word(raw: Raw) -> None:
    assert raw.get("/x").answer().status == 200
    assert not raw.closed_within(0.7)
    assert raw.closed_within(1.5)


def test_line_breaks_do_not_keep_an_idle_connection_open(raw: Raw) -> None:
    assert raw.get("/x").answer().status == 200
    raw.send("\r\n")
    time.sleep(1.6)
    raw.sock.settimeout(2)
    rest_of_it = raw.sock.recv(65_536)
    assert rest_of_it == b"" or rest_of_it.startswith(b"HTTP/1.1 408")


def test_expect_100_continue_is_answered_when_the_body_is_wanted(raw: Raw) -> None:
    raw.send(f"POST /read HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert raw.answer().status == 100
    assert raw.send(b"abc").answer().body == b"POST /read 3"


def test_expect_100_continue_gets_the_refusal_instead_and_the_connection_ends(raw: Raw) -> None:
    raw.send(f"POST /early HTTP/1.1\r\n{HOST}Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    answer = raw.answer()
    assert answer.status == 200
    assert answer.headers["connection"] == "close"
    assert raw.closed_within(3)


def test_a_websocket_is_426(raw: Raw, handler: Handler) -> None:
    before = len(handler.heads)
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==")
    answer = raw.get("/v1/responses", *upgrade).answer()
    assert answer.status == 426
    assert answer.error["code"] == "upgrade_required"
    assert "upgrade" in answer.headers
    assert raw.closed_within(3)
    assert len(handler.heads) == before


def test_an_offer_of_h2c_is_declined_and_its_body_read(raw: Raw, handler: Handler) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    for _ in range(2):
        assert raw.request("POST", "/read", b"hello", *offer).answer().body == b"POST /read 5"
    assert {name for name, _ in handler.heads[-1].headers} == {b"host", b"content-length", b"connection"}
    assert raw.get("/x").answer().status == 200


def test_pipelined_requests_are_answered_in_order(raw: Raw) -> None:
    raw.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % number for number in range(20)))
    assert [raw.answer().body.split()[1] for _ in range(20)] == [b"/%d" % number for number in range(20)]


def test_a_broken_request_waits_for_the_answers_before_it(raw: Raw) -> None:
    raw.send(f"GET /stream HTTP/1.1\r\n{HOST}\r\nGET /x HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n\r\n")
    assert raw.answer().body == b"xxxy"
    assert raw.answer().status == 200
    assert raw.answer().status == 400
    assert raw.closed_within(3)


def test_a_broken_body_waits_for_the_answers_before_it(raw: Raw) -> None:
    raw.send(f"GET /stream HTTP/1.1\r\n{HOST}\r\nPOST /x HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert raw.answer().body == b"xxxy"
    assert raw.answer().status == 400
    assert raw.closed_within(3)


def test_endless_pipelining_is_refused(raw: Raw) -> None:
    raw.send(f"GET /stream HTTP/1.1\r\n{HOST}\r\n" + f"GET /x HTTP/1.1\r\n{HOST}\r\n" * 100)
    assert raw.answer().body == b"xxxy"
    statuses = [raw.answer().status for _ in range(65)]
    assert statuses == [200] * 64 + [429]
    assert raw.closed_within(3)


def test_a_client_that_leaves_a_pipelined_connection_is_noticed(port: int, handler: Handler) -> None:
    before = handler.gone.count("/wait")
    with connect(port) as raw:
        raw.send(f"GET /wait HTTP/1.1\r\n{HOST}\r\n")
        time.sleep(0.1)
    _eventually(lambda: handler.gone.count("/wait") == before + 1)


@pytest.mark.parametrize(
    "behind", [f"GET /x HTTP/1.1\r\n{HOST}\r\n", f"GET /health HTTP/1.1\r\n{HOST}\r\n", "GET / HTTP/1.1\r\n\r\n"]
)
@pytest.mark.skipif(sys.platform != "linux", reason="the state of a connection is asked of Linux")
def test_a_client_that_leaves_is_noticed_with_requests_unread_behind(port: int, handler: Handler, behind: str) -> None:
    before, heads = handler.gone.count("/wait"), len(handler.heads)
    with connect(port) as raw:
        raw.send(f"GET /wait HTTP/1.1\r\n{HOST}\r\n{behind}")
        _eventually(lambda: len(handler.heads) > heads)
    _eventually(lambda: handler.gone.count("/wait") == before + 1, 1)


def test_a_client_that_never_reads_loses_its_connection(raw: Raw) -> None:
    raw.get("/flood")
    ends = select.poll()
    ends.register(raw.sock, 0)  # a hang-up or an error is told all the same
    assert ends.poll(3000)


def test_head_gets_the_headers_alone(raw: Raw) -> None:
    answer = raw.request("HEAD", "/x").answer(head_only=True)
    assert answer.headers["content-length"] == str(len("HEAD /x 0"))
    assert raw.get("/y").answer().body == b"GET /y 0"


def test_an_aborted_answer_is_visibly_incomplete(port: int) -> None:
    for path in ("/abort", "/abort-sized"):
        with connect(port) as raw, pytest.raises(IncompleteError) as cut:
            raw.get(path).answer()
        assert cut.value.received == b"partial"


def test_a_reader_that_stalls_holds_the_writer_back(raw: Raw, handler: Handler) -> None:
    raw.get("/flood")
    time.sleep(0.5)
    stalled = handler.written
    assert stalled < 16 << 20
    time.sleep(0.2)
    assert handler.written == stalled
    received = sum(len(chunk) for chunk in _start(raw).chunks())
    assert received == handler.written == 24 << 20


def test_an_answer_before_the_body_lets_the_client_finish_but_not_for_ever(raw: Raw) -> None:
    raw.send(f"POST /early HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n").send(b"a" * 1000)
    assert raw.answer().status == 200
    raw.send(b"a" * 999_000)
    assert raw.get("/x").answer().status == 200
    raw.send(f"POST /early HTTP/1.1\r\n{HOST}Content-Length: 1000000\r\n\r\n")
    assert raw.answer().status == 200
    assert raw.closed_within(1.5)


def test_what_is_not_an_api_goes_on_and_has_a_request_id(raw: Raw) -> None:
    assert raw.get("/health", "X-Request-Id: mine").answer().headers["x-request-id"] == "mine"
    assert raw.request("HEAD", "/").answer(head_only=True).status == 200
    assert raw.get("/healthz").answer().headers["x-request-id"].startswith("req_")


def _start(raw: Raw) -> Raw:
    """Take the head of an answer off."""
    while b"\r\n\r\n" not in raw._buffer:
        raw._more(b"")
    raw._buffer = raw._buffer.partition(b"\r\n\r\n")[2]
    return raw


def _eventually(probe: object, seconds: float = 2) -> None:
    assert callable(probe)
    deadline = time.monotonic() + seconds
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)
