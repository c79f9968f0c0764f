"""The HTTP/1.1 client as a whole: names, memory, secrets, and being cancelled at any moment."""

import asyncio
import contextlib
import gc
import select
import socket
import ssl
from pathlib import Path

import pytest
import uvloop

from trunkline_gateway import errors
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.http1 import dial
from trunkline_gateway.upstream.http1.client import Http1Client

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
QUICK = Timeouts(connect=2.0, first_byte=2.0, stream_idle=2.0)
LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@contextlib.asynccontextmanager
async def serving(handle):
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    timers = Timers(asyncio.get_running_loop())
    client = Http1Client(timers)
    try:
        yield server.sockets[0].getsockname()[1], client
    finally:
        await client.close()
        timers.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was accepted just now is closed by the loop


async def answering(reader, writer):
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


def get(port, *, host="127.0.0.1", timeouts=QUICK):
    return Request(RequestHead(Endpoint(f"http://{host}:{port}"), "GET", "/", []), None, timeouts)


async def whole(client, request):
    response = await client.send(request)
    body = b""
    while data := await response.read():
        body += data
    await response.close()
    return body


def run(loop, test):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(test, 60))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@LOOPS
def test_memory_stays_flat_while_readers_stall_and_while_they_read(loop):
    total, streams = 64 * 1024 * 1024, 4
    piece = b"x" * 65536

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // len(piece)):
            writer.write(piece)
            await writer.drain()

    async def test():
        async with serving(handle) as (port, client):
            gc.collect()
            before = highest = resident_bytes()
            responses = [await client.send(get(port)) for _ in range(streams)]
            async with asyncio.timeout(5):
                while any(response.buffered_bytes < 128 * 1024 for response in responses):  # noqa: ASYNC110  says nothing
                    await asyncio.sleep(0.01)
            highest = max(highest, resident_bytes())
            for response in responses:
                size = 0
                while data := await response.read():
                    size += len(data)
                    highest = max(highest, resident_bytes())
                assert size == total
                await response.close()
            assert highest - before < 24 * 1024 * 1024

    run(loop, test())


def test_many_connections_at_once_ask_for_a_name_once(monkeypatch):
    async def test():
        async with serving(answering) as (port, client):
            loop, asked = asyncio.get_running_loop(), []

            async def getaddrinfo(host, port, **_):
                asked.append(host)
                await asyncio.sleep(0)
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            bodies = await asyncio.gather(*(whole(client, get(port, host="upstream.test")) for _ in range(8)))
            assert bodies == [b"ok"] * 8
            assert asked == ["upstream.test"]

    run(asyncio.new_event_loop, test())


async def answering_once(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))


@pytest.mark.parametrize("how", ["silent", "failing"])
def test_without_dns_a_name_keeps_the_addresses_that_it_had(monkeypatch, how):
    async def test():
        monkeypatch.setattr(dial, "ADDRESSES_SECONDS", 0.0)
        monkeypatch.setattr(dial, "_PATIENCE_SECONDS", 0.05)
        async with serving(answering_once) as (port, client):
            loop, asked, gone = asyncio.get_running_loop(), [], asyncio.Event()

            async def getaddrinfo(host, port, **_):
                asked.append(host)
                if len(asked) == 1:
                    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
                if how == "silent":
                    await gone.wait()
                raise socket.gaierror(socket.EAI_AGAIN, "no answer")

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            bodies = [await whole(client, get(port, host="upstream.test")) for _ in range(4)]
            assert bodies == [b"ok"] * 4
            if how == "silent":
                assert len(asked) == 2, "each question holds a thread"
            gone.set()

    run(asyncio.new_event_loop, test())


def test_a_name_that_is_gone_is_not_reached_at_the_addresses_that_it_had(monkeypatch):
    async def test():
        monkeypatch.setattr(dial, "ADDRESSES_SECONDS", 0.0)
        async with serving(answering_once) as (port, client):
            answers = [[(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]]

            async def getaddrinfo(host, port, **_):
                if answers:
                    return answers.pop()
                raise socket.gaierror(socket.EAI_NONAME, "no such name")

            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
            assert await whole(client, get(port, host="upstream.test")) == b"ok"
            with pytest.raises(errors.UpstreamConnectError, match="could not be resolved"):
                await client.send(get(port, host="upstream.test"))

    run(asyncio.new_event_loop, test())


def test_an_address_that_does_not_answer_does_not_hide_the_next(monkeypatch):
    async def test():
        async with serving(answering) as (port, client):
            loop = asyncio.get_running_loop()

            async def getaddrinfo(host, port, **_):
                families = ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET, "127.0.0.1"))
                return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in families]

            monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
            assert await whole(client, get(port, host="upstream.test")) == b"ok"

    run(asyncio.new_event_loop, test())


@LOOPS
def test_a_name_that_no_name_can_be_is_a_connect_error(loop):
    async def test():
        async with serving(answering) as (port, client):
            for host in ("a" * 64 + ".test", "no-such-host.invalid"):
                head = RequestHead(Endpoint("https://x.invalid", proxy_url=f"http://{host}:{port}"), "GET", "/", [])
                with pytest.raises(errors.UpstreamConnectError):
                    await client.send(Request(head, None, QUICK))

    run(loop, test())


def test_the_systems_certificates_are_read_once(monkeypatch):
    made = []
    create = ssl.create_default_context

    def counted(**arguments):
        made.append(arguments)
        return create(**arguments)

    monkeypatch.setattr(dial.ssl, "create_default_context", counted)

    async def no_tls(reader, writer):
        await reader.read(16)
        writer.write(OK)

    async def test():
        async with serving(no_tls) as (port, client):
            for host in ("127.0.0.1", "localhost"):
                head = RequestHead(Endpoint(f"https://{host}:{port}"), "GET", "/", [])
                with pytest.raises(errors.UpstreamConnectError):
                    await client.send(Request(head, None, QUICK))
            assert len(made) == 1

    run(asyncio.new_event_loop, test())


@pytest.mark.parametrize("steps", range(12))
@LOOPS
def test_cancelled_after_any_number_of_steps_nothing_stays_open_or_unsaid(loop, steps):
    async def test():
        complaints = []
        running = asyncio.get_running_loop()
        running.set_exception_handler(lambda _, context: complaints.append(context))
        with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel accepts; nobody answers
            timers = Timers(running)
            client = Http1Client(timers)
            sending = asyncio.ensure_future(whole(client, get(listener.getsockname()[1])))
            for _ in range(steps):
                await asyncio.sleep(0)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            listener.setblocking(False)
            while select.select([listener], [], [], 0)[0]:
                accepted, _ = listener.accept()
                with accepted, contextlib.suppress(ConnectionError):
                    accepted.setblocking(False)
                    while await asyncio.wait_for(running.sock_recv(accepted, 1000), 1):
                        pass
            await client.close()
            timers.close()
        gc.collect()
        assert complaints == []

    run(loop, test())


@LOOPS
def test_a_request_that_is_cancelled_as_its_connection_is_lost_leaves_no_complaint(loop):
    async def test():
        complaints = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        asked = asyncio.Event()

        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            await reader.read()

        async with serving(handle) as (port, client):
            sending = asyncio.ensure_future(client.send(get(port)))
            await asked.wait()
            await client.close()  # fails the answer ...
            sending.cancel()  # ... and the request is cancelled before it hears of that
            with pytest.raises((asyncio.CancelledError, errors.UpstreamConnectError)):
                await sending
        gc.collect()
        assert complaints == []

    run(loop, test())


@LOOPS
def test_a_closed_client_sends_nothing(loop):
    async def test():
        async with serving(answering) as (port, client):
            assert await whole(client, get(port)) == b"ok"
            await client.close()
            with pytest.raises(errors.UpstreamConnectError):
                await client.send(get(port))

    run(loop, test())


# ---- begun without waiting -------------------------------------------------------------------------------------------


async def test_nothing_is_begun_without_a_connection_that_is_there():
    async with serving(answering) as (port, client):
        request = get(port)
        assert client.start(request) is None
        response = await client.send(request)
        assert client.start(request) is not None or response.complete
        await response.close()


async def test_what_was_begun_is_finished_on_the_same_connection():
    peers = set()

    async def handle(reader, writer):
        peers.add(writer.get_extra_info("peername"))
        await answering(reader, writer)

    async with serving(handle) as (port, client):
        request = get(port)
        assert await whole(client, request) == b"ok"
        begun = client.start(request)
        assert client.start(request) is None  # that one is in use
        response = await client.finish(request, begun)
        assert response is begun
        assert (response.status, await response.read()) == (200, b"ok")
        assert len(peers) == 1
        assert client.start(request) is not None


@pytest.mark.parametrize("when", ["before it is waited for", "while it is waited for"])
async def test_what_was_begun_on_a_stale_connection_is_sent_again_on_a_new_one(when):
    connections, asked = [], asyncio.Event()

    async def handle(reader, writer):
        connections.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        if len(connections) == 1:
            await reader.readuntil(b"\r\n\r\n")
            asked.set()
            writer.transport.abort()

    async with serving(handle) as (port, client):
        request = get(port)
        assert await whole(client, request) == b"ok"
        begun, over = client.start(request), asyncio.Event()
        begun.notify(over.set)
        if when == "before it is waited for":
            await asyncio.wait_for(over.wait(), 2)
            assert begun.failure is not None
        response = await client.finish(request, begun)
        assert response is not begun
        assert (response.status, await response.read()) == (200, b"ok")
        assert asked.is_set()
        assert len(connections) == 2


async def test_finishing_that_is_cancelled_closes_the_connection():
    gone = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        gone.set()

    async with serving(handle) as (port, client):
        request = get(port)
        assert await whole(client, request) == b"ok"
        finishing = asyncio.ensure_future(client.finish(request, client.start(request)))
        await asyncio.sleep(0)
        finishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        await asyncio.wait_for(gone.wait(), 1)


async def test_what_cannot_be_sent_is_not_begun():
    async with serving(answering) as (port, client):
        assert await whole(client, get(port)) == b"ok"
        head = RequestHead(Endpoint(f"http://127.0.0.1:{port}"), "GET", "/", [(b"x", b"a\r\nevil: 1")])
        with pytest.raises(errors.UpstreamConnectError):
            client.start(Request(head, None, QUICK))
        assert await whole(client, get(port)) == b"ok"
