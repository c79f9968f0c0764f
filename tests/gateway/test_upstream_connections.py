"""The upstream client against raw sockets: what an upstream can do to a connection, on both event loops."""

import asyncio
import contextlib
import functools
import inspect
import socket
import struct
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import uvloop

from trunkline_gateway import errors
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.http1.client import Http1Client

QUICK = Timeouts(connect=2.0, first_byte=2.0, stream_idle=2.0)
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def on_both_loops(test):
    """Run an async test on asyncio's loop and on uvloop."""

    @pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
    @functools.wraps(test)
    def run(loop, **fixtures):
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(test(**fixtures), 20))

    signature = inspect.signature(test)
    loop = inspect.Parameter("loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), loop])
    del run.__wrapped__
    return run


class Server:
    """Connections are handled by the nth handler, the last one for all that follow."""

    def __init__(self, *handlers: Handler) -> None:
        self._handlers = handlers
        self.connections = 0
        self.open = 0
        self.all_closed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = self._handlers[min(self.connections, len(self._handlers) - 1)]
        self.connections += 1
        self.open += 1
        self.all_closed.clear()
        self.tasks.add(asyncio.current_task())
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()
            writer.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def new_client(**bounds: float) -> Http1Client:
    return Http1Client(Timers(asyncio.get_running_loop(), tick_seconds=0.01), **bounds)


@contextlib.asynccontextmanager
async def serving(*handlers: Handler, **client: float) -> AsyncIterator[tuple[Server, Http1Client]]:
    serve = Server(*handlers)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    serve.port = server.sockets[0].getsockname()[1]
    upstream = new_client(**client)
    try:
        yield serve, upstream
    finally:
        await upstream.close()
        server.close()
        for task in serve.tasks:
            task.cancel()
        await asyncio.gather(*serve.tasks, return_exceptions=True)
        await asyncio.sleep(0.01)


async def one_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            head += await reader.readexactly(int(line.partition(b":")[2]))
    return head


def answers(*parts: bytes | float, then: str = "close") -> Handler:
    """Read one request, write the parts (pausing for numbers), then ``close``, ``reset``, ``hold`` or ``repeat``."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await one_request(reader)
            for part in parts:
                if isinstance(part, bytes):
                    writer.write(part)
                    await writer.drain()
                else:
                    await asyncio.sleep(part)
            if then == "repeat":
                continue
            if then == "hold":
                await reader.read()
            if then == "reset":
                await asyncio.sleep(0.05)
                reset(writer)
            return

    return handle


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def post(
    url: str, *, path: str = "/chat/completions", body: bytes | None = b"{}", timeouts: Timeouts = QUICK
) -> Request:
    method = "GET" if body is None else "POST"
    return Request(RequestHead(Endpoint(url), method, path, [(b"authorization", b"Bearer k")]), body, timeouts)


async def whole(client: Http1Client, request: Request) -> tuple[int, bytes]:
    response = await client.send(request)
    try:
        body = b""
        while data := await response.read():
            body += data
        return response.status, body
    finally:
        await response.close()


async def received_until_failure(client: Http1Client, request: Request) -> tuple[bytes, errors.UpstreamError]:
    response = await client.send(request)
    body = b""
    try:
        while data := await response.read():
            body += data
    except errors.UpstreamError as failure:
        with pytest.raises(type(failure)):  # and it stays that way
            await response.read()
        return body, failure
    finally:
        await response.close()
    raise AssertionError(f"a complete answer: {body!r}")


async def refused(client: Http1Client, request: Request) -> errors.UpstreamError:
    with pytest.raises(errors.UpstreamError) as caught:
        await whole(client, request)
    return caught.value


@on_both_loops
async def test_a_request_goes_out_as_it_was_given_and_nothing_is_added():
    seen = []

    async def handle(reader, writer):
        seen.append(await one_request(reader))
        writer.write(OK)
        await writer.drain()
        await reader.read()

    async with serving(handle) as (server, client):
        headers = [(b"content-type", b"application/json"), (b"x-note", "naïve".encode())]
        head = RequestHead(Endpoint(server.url + "/v1"), "POST", "/a%2Fb?x=1", headers)
        request = Request(head, b'{"a":1}', QUICK, [(b"x-request-id", b"7")])
        assert await whole(client, request) == (200, b"ok")
        head, _, body = seen[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == b"POST /v1/a%2Fb?x=1 HTTP/1.1"
        assert sorted(line.lower() for line in lines[1:]) == sorted(
            [
                f"host: 127.0.0.1:{server.port}".encode(),
                b"x-request-id: 7",
                b"content-type: application/json",
                "x-note: naïve".encode(),
                b"content-length: 7",
            ]
        )
        assert body == b'{"a":1}'


@on_both_loops
async def test_a_get_has_no_body():
    async with serving(answers(OK, then="repeat")) as (server, client):
        assert await whole(client, post(server.url, body=None)) == (200, b"ok")


@on_both_loops
async def test_a_large_body_arrives_whole():
    body = bytes(range(256)) * 4096 * 5
    got = []

    async def handle(reader, writer):
        got.append((await one_request(reader)).partition(b"\r\n\r\n")[2])
        writer.write(OK)
        await writer.drain()

    async with serving(handle) as (server, client):
        assert await whole(client, post(server.url, body=body)) == (200, b"ok")
        assert got == [body]


@pytest.mark.parametrize("end", ["hold", "close", "reset"])
@on_both_loops
async def test_an_answer_before_the_whole_body_was_taken_is_an_answer(end):
    early = b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno"

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(early)
        await writer.drain()
        await asyncio.sleep(0.1)
        if end == "hold":
            await gone.wait()
        if end == "reset":
            reset(writer)

    gone = asyncio.Event()
    async with serving(handle, answers(OK)) as (server, client):
        response = await client.send(post(server.url, body=b"x" * 20_000_000))
        assert response.status == 413
        assert await response.read() == b"no"
        await response.close()
        assert await whole(client, post(server.url)) == (200, b"ok")  # on another connection
        assert server.connections == 2
        gone.set()


@on_both_loops
async def test_connections_are_used_again():
    async with serving(answers(OK, then="repeat")) as (server, client):
        for _ in range(5):
            assert await whole(client, post(server.url)) == (200, b"ok")
        assert server.connections == 1


@on_both_loops
async def test_a_connection_past_its_age_is_not_used_again():
    async with serving(answers(OK, then="repeat"), max_age_seconds=0.01) as (server, client):
        for _ in range(3):
            await whole(client, post(server.url))
            await asyncio.sleep(0.02)
        assert server.connections == 3


@on_both_loops
async def test_an_unused_connection_is_closed_after_a_while():
    async with serving(answers(OK, then="repeat"), idle_seconds=0.05) as (server, client):
        await whole(client, post(server.url))
        await asyncio.wait_for(server.all_closed.wait(), 1)


@on_both_loops
async def test_only_so_many_unused_connections_are_kept():
    async with serving(answers(0.05, OK, then="repeat"), max_idle=2) as (server, client):
        await asyncio.gather(*(whole(client, post(server.url)) for _ in range(6)))
        await asyncio.sleep(0.05)
        assert (server.connections, server.open) == (6, 2)


@on_both_loops
async def test_bytes_come_as_they_are_sent_and_are_not_decoded():
    gzip = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nX-A: 1\r\nX-A: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(answers(gzip, b"3\r\nnot\r\n", 0.05, b"4\r\ngzip\r\n", 0.05, b"0\r\nt: x\r\n\r\n")) as (
        server,
        client,
    ):
        response = await client.send(post(server.url))
        assert (b"content-encoding", b"gzip") in response.headers
        assert [value for name, value in response.headers if name == b"x-a"] == [b"1", b"2"]
        assert [await response.read() for _ in range(4)] == [b"not", b"gzip", b"", b""]
        await response.close()


@on_both_loops
async def test_redirects_and_cookies_are_not_followed():
    redirect = b"HTTP/1.1 307 Go\r\nlocation: /elsewhere\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n"
    seen = []

    async def handle(reader, writer):
        while True:
            seen.append(await one_request(reader))
            writer.write(redirect)
            await writer.drain()

    async with serving(handle) as (server, client):
        for _ in range(2):
            assert await whole(client, post(server.url)) == (307, b"")
        assert len(seen) == 2
        assert b"cookie" not in b"".join(seen).lower()


@on_both_loops
async def test_interim_answers_are_skipped():
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with serving(answers(interim, 0.02, OK)) as (server, client):
        assert await whole(client, post(server.url)) == (200, b"ok")


@on_both_loops
async def test_a_body_that_is_ended_by_a_clean_close_is_complete():
    async with serving(answers(b"HTTP/1.1 200 OK\r\n\r\n", b"to the end")) as (server, client):
        assert await whole(client, post(server.url)) == (200, b"to the end")


CUTS = {
    "content-length": b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "in-a-chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
}


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("cut", CUTS)
@on_both_loops
async def test_a_body_that_ends_before_its_framing_is_cut_but_what_came_is_given(cut, end):
    async with serving(answers(CUTS[cut], then=end)) as (server, client):
        body, failure = await received_until_failure(client, post(server.url))
        assert type(failure) is errors.UpstreamProtocolError
        assert body == b"half"


@on_both_loops
async def test_a_reset_never_completes_a_body_without_length():
    async with serving(answers(b"HTTP/1.1 200 OK\r\n\r\nhalf", then="reset")) as (server, client):
        body, failure = await received_until_failure(client, post(server.url))
        assert type(failure) is errors.UpstreamProtocolError
        assert body == b"half"


@pytest.mark.parametrize("wait_seconds", [0.0, 0.1])
@on_both_loops
async def test_what_was_sent_before_a_cut_is_read_even_late(wait_seconds):
    async with serving(answers(CUTS["chunked"])) as (server, client):
        response = await client.send(post(server.url))
        await asyncio.sleep(wait_seconds)
        assert await response.read() == b"half"
        with pytest.raises(errors.UpstreamProtocolError):
            await response.read()
        await response.close()


GARBAGE = {
    "not-http": b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    "binary": bytes(range(256)),
    "no-status": b"HTTP/1.1 \r\n\r\n",
    "two-lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
    "bad-length": b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
    "cut-head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "nul": b"HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n",
    "long-header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n",
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"x: a\r\n" * 5_000 + b"\r\n",
    "upgrade": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("head", GARBAGE)
@on_both_loops
async def test_a_head_that_is_not_http_is_a_protocol_error(head):
    async with serving(answers(GARBAGE[head])) as (server, client):
        failure = await refused(client, post(server.url))
        assert type(failure) is errors.UpstreamProtocolError
        assert server.connections == 1  # and was not tried again
        await asyncio.wait_for(server.all_closed.wait(), 1)


@on_both_loops
async def test_length_and_chunked_together_never_mix_up_the_next_answer():
    both = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"
    body = b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    async with serving(answers(both, body, then="hold"), answers(OK)) as (server, client):
        with contextlib.suppress(errors.UpstreamProtocolError):
            assert await whole(client, post(server.url)) == (200, b"ok")
        assert await whole(client, post(server.url)) == (200, b"ok")
        assert server.connections == 2


@on_both_loops
async def test_bytes_on_an_idle_connection_are_not_the_next_answer():
    evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    async with serving(answers(OK, 0.05, evil, then="hold"), answers(OK)) as (server, client):
        assert await whole(client, post(server.url)) == (200, b"ok")
        await asyncio.sleep(0.15)
        assert server.open == 0
        assert await whole(client, post(server.url)) == (200, b"ok")


@on_both_loops
async def test_no_answer_at_all_is_a_connect_error_and_not_sent_again():
    for end in ("close", "reset"):
        async with serving(answers(then=end)) as (server, client):
            for body in (b"{}", None):
                failure = await refused(client, post(server.url, body=body))
                assert type(failure) is errors.UpstreamConnectError
                assert not failure.reused
            assert server.connections == 2


@on_both_loops
async def test_nobody_listening_is_a_connect_error():
    async with serving(answers()) as (_, client):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            failure = await refused(client, post(url))
        assert type(failure) is errors.UpstreamConnectError
        assert "127.0.0.1" not in failure.message


@pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1", "http://127.1:1", "http://no-such-host.invalid", "//"])
@on_both_loops
async def test_an_address_that_leads_nowhere_is_a_connect_error(url):
    client = new_client()
    failure = await refused(client, post(url))
    assert type(failure) is errors.UpstreamConnectError
    await client.close()


@on_both_loops
async def test_a_header_that_cannot_be_sent_is_an_error_without_the_header():
    got = []

    async def handle(reader, _):
        got.append(await reader.read())

    async with serving(handle) as (server, client):
        for end in (b"\r\nx: y", b"\nx: y", b"\r", b"\0"):
            bad = [(b"authorization", b"Bearer canary" + end)]
            for fixed, own in ((bad, []), ([], bad)):
                request = Request(RequestHead(Endpoint(server.url), "POST", "/", fixed), b"", QUICK, own)
                failure = await refused(client, request)
                assert type(failure) is errors.UpstreamConnectError
                assert "canary" not in "".join(traceback.format_exception(failure))
        await asyncio.sleep(0.02)
        assert got in ([], [b""])


def once_then(*steps: object, end: str) -> Handler:
    """Answer one request; end the connection as the second one has come."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await one_request(reader)
        writer.write(OK)
        await writer.drain()
        await one_request(reader)
        for step in steps:
            writer.write(step)
            await writer.drain()
        if end == "reset":
            reset(writer)

    return handle


@pytest.mark.parametrize("size", [2, 300_000])
@pytest.mark.parametrize("end", ["close", "reset"])
@on_both_loops
async def test_a_stale_connection_is_replaced_once_and_by_a_new_one(end, size):
    stale = once_then(end=end)
    async with serving(stale, stale, answers(OK, then="repeat")) as (server, client):
        await asyncio.gather(whole(client, post(server.url)), whole(client, post(server.url)))
        assert server.connections == 2  # both idle now, both stale
        assert await whole(client, post(server.url, body=b"x" * size)) == (200, b"ok")
        assert server.connections == 3


@on_both_loops
async def test_the_replacement_of_a_stale_connection_is_not_replaced():
    async with serving(once_then(end="close"), answers()) as (server, client):
        await whole(client, post(server.url))
        failure = await refused(client, post(server.url))
        assert type(failure) is errors.UpstreamConnectError
        assert not failure.reused
        assert server.connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
@on_both_loops
async def test_one_byte_of_an_answer_on_a_reused_connection_forbids_sending_again(end):
    async def handle(reader, writer):
        await one_request(reader)
        writer.write(OK)
        await one_request(reader)
        writer.write(b"H")
        await writer.drain()
        await asyncio.sleep(0.05)
        if end == "reset":
            reset(writer)

    async with serving(handle, answers(OK)) as (server, client):
        await whole(client, post(server.url))
        assert type(await refused(client, post(server.url))) is errors.UpstreamProtocolError
        assert server.connections == 1


@on_both_loops
async def test_a_connection_that_closed_while_idle_is_not_used():
    async with serving(answers(OK), answers(OK)) as (server, client):
        for _ in range(2):
            assert await whole(client, post(server.url)) == (200, b"ok")
            await asyncio.sleep(0.02)
        assert server.connections == 2


def within(low: float, high: float, started: float) -> bool:
    return low <= time.monotonic() - started <= high


HEAD = b"HTTP/1.1 200 OK\r\n"
LATE_HEADS = {"silent": (5.0,), "half": (HEAD, 5.0), "trickle": (HEAD, *(b"x: y\r\n", 0.05) * 50)}


@pytest.mark.parametrize("head", LATE_HEADS)
@on_both_loops
async def test_a_head_that_does_not_come_in_time_is_a_timeout_and_closes_the_socket(head):
    async with serving(answers(*LATE_HEADS[head])) as (server, client):
        started = time.monotonic()
        failure = await refused(client, post(server.url, timeouts=Timeouts(first_byte=0.3)))
        assert type(failure) is errors.UpstreamTimeoutError
        assert within(0.25, 2.0, started)


@on_both_loops
async def test_a_connection_that_cannot_be_made_in_time_is_a_timeout():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        filler = [socket.socket() for _ in range(4)]
        for each in filler:
            each.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                each.connect(full.getsockname())
        client = new_client()
        started = time.monotonic()
        request = post(f"http://127.0.0.1:{full.getsockname()[1]}", timeouts=Timeouts(connect=0.3))
        failure = await refused(client, request)
        assert type(failure) is errors.UpstreamTimeoutError
        assert within(0.25, 2.0, started)
        await client.close()
        for each in filler:
            each.close()


@on_both_loops
async def test_silence_in_a_body_is_a_timeout_but_what_came_is_given():
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(answers(chunked, b"1\r\na\r\n", 0.2, b"1\r\nb\r\n", 5.0)) as (server, client):
        started = time.monotonic()
        request = post(server.url, timeouts=Timeouts(stream_idle=0.4))
        body, failure = await received_until_failure(client, request)
        assert type(failure) is errors.UpstreamTimeoutError
        assert body == b"ab"
        assert within(0.5, 1.5, started)


@on_both_loops
async def test_silence_right_after_the_head_is_a_timeout():
    async with serving(answers(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", then="hold")) as (server, client):
        body, failure = await received_until_failure(client, post(server.url, timeouts=Timeouts(stream_idle=0.2)))
        assert (body, type(failure)) == (b"", errors.UpstreamTimeoutError)
        await asyncio.wait_for(server.all_closed.wait(), 1)


@on_both_loops
async def test_the_silence_of_an_idle_connection_is_no_timeout():
    async with serving(answers(OK, then="repeat")) as (server, client):
        request = post(server.url, timeouts=Timeouts(stream_idle=0.1, first_byte=0.1))
        for _ in range(2):
            assert await whole(client, request) == (200, b"ok")
            await asyncio.sleep(0.25)
        assert server.connections == 1


@pytest.mark.parametrize("size", [2, 8_000_000])  # the second is still being sent
@on_both_loops
async def test_cancelling_before_the_head_closes_the_socket_at_once(size):
    asked = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await asyncio.sleep(0.3)
        while await reader.read(65536):
            pass

    async with serving(handle) as (server, client):
        sending = asyncio.create_task(client.send(post(server.url, body=b"x" * size)))
        await asked.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await asyncio.wait_for(server.all_closed.wait(), 1)


@on_both_loops
async def test_closing_an_answer_before_its_end_closes_the_socket_at_once():
    endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    async with serving(answers(endless, then="hold")) as (server, client):
        response = await client.send(post(server.url))
        assert await response.read() == b"hello"
        waiting = asyncio.create_task(response.read())
        await asyncio.sleep(0.02)
        await response.close()
        await response.close()
        await asyncio.wait_for(server.all_closed.wait(), 1)
        with pytest.raises(errors.UpstreamProtocolError):
            await waiting


@on_both_loops
async def test_a_cancelled_read_can_be_followed_by_close():
    endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(answers(endless, then="hold")) as (server, client):
        response = await client.send(post(server.url))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.read(), 0.05)
        await response.close()
        await asyncio.wait_for(server.all_closed.wait(), 1)


@on_both_loops
async def test_a_reader_that_stalls_stops_the_upstream():
    written = 0

    async def handle(reader, writer):
        nonlocal written
        await one_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n")
        for _ in range(1024):
            writer.write(b"x" * 65536)
            await writer.drain()
            written += 65536

    async with serving(handle) as (server, client):
        response = await client.send(post(server.url, timeouts=Timeouts(stream_idle=0.3)))
        await asyncio.sleep(0.6)  # longer than stream_idle: it is us who are slow
        stalled = written
        assert stalled < 16 * 1024 * 1024  # what the kernel's buffers take
        size = 0
        while data := await response.read():
            assert len(data) <= 1024 * 1024
            size += len(data)
        await response.close()
        assert size == 67108864


@on_both_loops
async def test_endpoints_that_are_gone_keep_no_connections_but_finish_what_they_do():
    go_on = asyncio.Event()

    async def handle(reader, writer):
        while True:
            slow = b"/slow" in await one_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na")
            if slow:
                await go_on.wait()
            writer.write(b"b")

    async with serving(handle) as (gone, client), serving(handle) as (kept, _):
        slow = post(gone.url, path="/slow")
        running = [await client.send(slow) for _ in range(2)]
        await whole(client, post(gone.url))
        await whole(client, post(kept.url))
        assert (gone.open, kept.open) == (3, 1)  # one of each idle
        await client.prune([Endpoint(kept.url)])
        await asyncio.sleep(0.05)
        assert (gone.open, kept.open) == (2, 1)
        go_on.set()
        for response in running:
            body = b""
            while data := await response.read():
                body += data
            assert body == b"ab"
            await response.close()
        await asyncio.wait_for(gone.all_closed.wait(), 1)
        assert kept.open == 1
        assert await whole(client, post(gone.url)) == (200, b"ab")  # by somebody who has not seen the new table
        await client.prune([Endpoint(gone.url), Endpoint(kept.url)])
        assert await whole(client, post(gone.url)) == (200, b"ab")  # it is back
        await whole(client, post(gone.url))
        assert (gone.open, gone.connections) == (1, 4)


@on_both_loops
async def test_closing_the_client_closes_everything():
    endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(answers(endless, then="hold")) as (server, client):
        response = await client.send(post(server.url))
        await client.close()
        await asyncio.wait_for(server.all_closed.wait(), 1)
        with pytest.raises(errors.UpstreamProtocolError):
            await response.read()
        await response.close()
