"""The upstream client over TLS and through proxies, on both event loops."""

import asyncio
import contextlib
import ssl

import pytest
import uvloop

from harness import certificates
from trunkline_gateway import errors
from trunkline_gateway.timers import Timers
from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.http1.client import Http1Client

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
QUICK = Timeouts(connect=2.0, first_byte=2.0, stream_idle=2.0)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return certificates.serving_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return certificates.serving_certificate(tmp_path_factory.mktemp("stranger"), names=["elsewhere"], addresses=[])


def run(loop, test):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(test, 20))


def new_client():
    return Http1Client(Timers(asyncio.get_running_loop(), tick_seconds=0.01))


@contextlib.asynccontextmanager
async def serving(handle, certificate=None, newest=ssl.TLSVersion.TLSv1_3):
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        context.load_cert_chain(certificate.cert, certificate.key)
    open_connections = set()

    async def connected(reader, writer):
        open_connections.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            open_connections.discard(asyncio.current_task())

    timeouts = {"ssl_shutdown_timeout": 0.5} if context else {}
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context, **timeouts)
    client = new_client()
    try:
        yield server.sockets[0].getsockname()[1], client, open_connections
    finally:
        await client.close()
        server.close()
        if open_connections:
            await asyncio.wait(open_connections, timeout=2)
        await asyncio.sleep(0.02)


def answering(*parts, end=None):
    async def handle(reader, writer):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
            if end is not None:
                return await end(writer)

    return handle


async def close_notify(writer):
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def no_close_notify(writer):
    await asyncio.sleep(0.05)
    writer.transport.abort()


def get(url, *, ca=None, proxy=""):
    endpoint = Endpoint(url, proxy_url=proxy, ca_pem=ca.read_text() if ca else "")
    return Request(RequestHead(endpoint, "GET", "/models", [(b"authorization", b"Bearer canary")]), None, QUICK)


async def whole(client, request):
    response = await client.send(request)
    body = b""
    try:
        while data := await response.read():
            body += data
    finally:
        await response.close()
    return body


async def refused(client, request):
    with pytest.raises(errors.UpstreamError) as caught:
        await whole(client, request)
    assert "127.0.0.1" not in caught.value.message
    return type(caught.value)


@LOOPS
def test_a_custom_ca_is_trusted_and_the_connection_used_again(loop, certificate):
    async def test():
        async with serving(answering(OK), certificate) as (port, client, open_connections):
            for name in ("127.0.0.1", "localhost"):
                for _ in range(2):
                    assert await whole(client, get(f"https://{name}:{port}", ca=certificate.ca)) == b"ok"
            assert len(open_connections) == 2

    run(loop, test())


@LOOPS
def test_a_certificate_of_another_authority_or_name_is_refused(loop, certificate, stranger):
    async def test():
        async with serving(answering(OK), certificate) as (port, client, _):
            url = f"https://127.0.0.1:{port}"
            assert await refused(client, get(url)) is errors.UpstreamConnectError
            assert await refused(client, get(url, ca=stranger.ca)) is errors.UpstreamConnectError
        async with serving(answering(OK), stranger) as (port, client, _):
            wrong_name = await refused(client, get(f"https://127.0.0.1:{port}", ca=stranger.ca))
            assert wrong_name is errors.UpstreamConnectError

    run(loop, test())


@LOOPS
def test_a_ca_bundle_without_certificates_is_a_connect_error(loop):
    async def test():
        client = new_client()
        for pem in ("nonsense", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "näh"):
            request = Request(RequestHead(Endpoint("https://127.0.0.1:1", ca_pem=pem), "GET", "/", []), None, QUICK)
            assert await refused(client, request) is errors.UpstreamConnectError
        await client.close()

    run(loop, test())


@LOOPS
def test_speaking_tls_to_a_plain_server_is_a_connect_error_and_the_reverse_fails_too(loop, certificate):
    async def test():
        async def bad_request(reader, writer):
            await reader.read(16)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        async with serving(bad_request) as (port, client, _):
            assert await refused(client, get(f"https://127.0.0.1:{port}")) is errors.UpstreamConnectError
        async with serving(answering(OK), certificate) as (port, client, _):
            assert issubclass(await refused(client, get(f"http://127.0.0.1:{port}")), errors.UpstreamError)

    run(loop, test())


@LOOPS
def test_a_handshake_that_never_ends_is_a_timeout(loop):
    async def test():
        async def handle(reader, writer):
            await reader.read(-1)

        async with serving(handle) as (port, client, open_connections):
            endpoint = Endpoint(f"https://127.0.0.1:{port}")
            request = Request(RequestHead(endpoint, "GET", "/", []), None, Timeouts(connect=0.3, first_byte=9))
            assert await refused(client, request) is errors.UpstreamTimeoutError
            await asyncio.sleep(0.1)
            assert not open_connections

    run(loop, test())


UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@LOOPS
def test_a_body_until_close_is_complete_only_with_a_close_notify(loop, certificate, version):
    async def test():
        async with serving(answering(UNTIL_CLOSE, end=close_notify), certificate, version) as (port, client, _):
            assert await whole(client, get(f"https://127.0.0.1:{port}", ca=certificate.ca)) == b"hello"
        async with serving(answering(UNTIL_CLOSE, end=no_close_notify), certificate, version) as (port, client, _):
            response = await client.send(get(f"https://127.0.0.1:{port}", ca=certificate.ca))
            assert await response.read() == b"hello"
            with pytest.raises(errors.UpstreamProtocolError):
                await response.read()
            await response.close()

    run(loop, test())


@pytest.mark.parametrize("end", [close_notify, no_close_notify])
@LOOPS
def test_the_end_of_a_tls_body_is_judged_the_same_behind_a_stalled_reader(loop, certificate, end):
    async def test():
        megabytes = answering(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 3_000_000, end=end)
        async with serving(megabytes, certificate) as (port, client, _):
            response = await client.send(get(f"https://127.0.0.1:{port}", ca=certificate.ca))
            await asyncio.sleep(0.3)
            size = 0
            with contextlib.nullcontext() if end is close_notify else pytest.raises(errors.UpstreamProtocolError):
                while data := await response.read():
                    size += len(data)
            if end is close_notify:
                assert size == 3_000_000
            await response.close()

    run(loop, test())


@LOOPS
def test_a_body_with_its_length_needs_no_close_notify(loop, certificate):
    async def test():
        async with serving(answering(OK, end=no_close_notify), certificate) as (port, client, _):
            for _ in range(2):
                assert await whole(client, get(f"https://127.0.0.1:{port}", ca=certificate.ca)) == b"ok"

    run(loop, test())


@LOOPS
def test_closing_an_answer_early_closes_the_socket_at_once_over_tls(loop, certificate):
    async def test():
        closed = asyncio.Event()

        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello")
            with contextlib.suppress(ConnectionError):
                await reader.read(-1)
            closed.set()

        async with serving(handle, certificate) as (port, client, _):
            response = await client.send(get(f"https://127.0.0.1:{port}", ca=certificate.ca))
            assert await response.read() == b"hello"
            await response.close()
            await asyncio.wait_for(closed.wait(), 1)

    run(loop, test())


class Proxy:
    """A small proxy: CONNECT tunnels, absolute URLs are answered by itself."""

    def __init__(self, status=b"200 Connection established", then=b"", before=b""):
        self.heads = []
        self._status = status
        self._then = then
        self._before = before

    async def __call__(self, reader, writer):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            if head.startswith(b"CONNECT "):
                break
            writer.write(OK)
        writer.write(self._before + b"HTTP/1.1 " + self._status + b"\r\n\r\n" + self._then)
        if not self._status.startswith(b"200"):
            return
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, back), pipe(there, writer))


async def pipe(reader, writer):
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
    writer.close()


@LOOPS
def test_https_goes_through_a_tunnel_and_the_tunnel_is_used_again(loop, certificate, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")  # the environment's are not used

    async def test():
        proxy = Proxy()
        async with (
            serving(answering(OK), certificate) as (port, client, _),
            serving(proxy) as (proxy_port, _, tunnels),
        ):
            url = f"https://localhost:{port}"
            for _ in range(2):
                request = get(url, ca=certificate.ca, proxy=f"http://user:pass@127.0.0.1:{proxy_port}")
                assert await whole(client, request) == b"ok"
            assert await whole(client, get(url, ca=certificate.ca)) == b"ok"
            assert len(proxy.heads) == 1
            assert proxy.heads[0].startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n".encode())
            assert b"canary" not in proxy.heads[0]
            assert b"roxy-authorization: basic dxnlcjpwyxnz" in proxy.heads[0].lower()
            await client.prune([])
            await asyncio.sleep(0.1)
            assert not tunnels

    run(loop, test())


@LOOPS
def test_http_goes_through_a_proxy_by_its_absolute_url(loop, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    async def test():
        proxy = Proxy()
        async with serving(proxy) as (port, client, _):
            for _ in range(2):
                request = get("http://upstream.invalid/v1", proxy=f"http://user:pass@127.0.0.1:{port}")
                assert await whole(client, request) == b"ok"
            assert all(b"\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n" in head for head in proxy.heads)
            assert [head.split(b"\r\n")[0] for head in proxy.heads] == [
                b"GET http://upstream.invalid/v1/models HTTP/1.1"
            ] * 2
        async with serving(answering(OK)) as (port, client, _):
            assert await whole(client, get(f"http://127.0.0.1:{port}")) == b"ok"

    run(loop, test())


@LOOPS
def test_a_proxy_that_refuses_or_is_not_there_is_a_connect_error(loop):
    async def test():
        async with serving(Proxy(b"407 Proxy Authentication Required")) as (port, client, open_connections):
            url = "https://upstream.invalid"
            assert await refused(client, get(url, proxy=f"http://127.0.0.1:{port}")) is errors.UpstreamConnectError
            await asyncio.sleep(0.05)
            assert not open_connections
            assert await refused(client, get(url, proxy="http://127.0.0.1:1")) is errors.UpstreamConnectError

    run(loop, test())


REFUSALS = {
    "endless-head": Proxy(b"200 OK\r\nx: " + b"a" * 100_000),
    "not-http": Proxy(before=b"SSH-2.0-OpenSSH\r\n"),
    "talks-first": Proxy(then=b"\x15\x03\x01\x00\x02\x02\x28"),
    "redirect": Proxy(b"302 Found\r\nlocation: http://elsewhere.invalid"),
    "server-error": Proxy(b"502 Bad Gateway\r\ncontent-length: 0"),
}


@pytest.mark.parametrize("name", REFUSALS)
@LOOPS
def test_a_proxy_that_does_not_open_a_tunnel_is_a_connect_error(loop, name):
    async def test():
        async def handle(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"CONNECT ")
            proxy = REFUSALS[name]
            writer.write(proxy._before + b"HTTP/1.1 " + proxy._status + b"\r\n\r\n" + proxy._then)
            with contextlib.suppress(ConnectionError):
                await reader.read()

        async with serving(handle) as (port, client, open_connections):
            request = get("https://upstream.invalid", proxy=f"http://127.0.0.1:{port}")
            assert await refused(client, request) is errors.UpstreamConnectError
            await asyncio.sleep(0.05)
            assert not open_connections

    run(loop, test())


@LOOPS
def test_a_tunnel_may_be_announced_with_interim_answers_and_framing_that_means_nothing(loop, certificate):
    async def test():
        proxy = Proxy(b"200 OK\r\ncontent-length: 0", before=b"HTTP/1.1 102 Processing\r\n\r\n")
        async with (
            serving(answering(OK), certificate) as (port, client, _),
            serving(proxy) as (proxy_port, _, _),
        ):
            request = get(f"https://localhost:{port}", ca=certificate.ca, proxy=f"http://127.0.0.1:{proxy_port}")
            assert await whole(client, request) == b"ok"

    run(loop, test())


@LOOPS
def test_a_large_body_goes_through_tls_in_both_directions(loop, certificate):
    async def test():
        body = bytes(range(256)) * 40_000
        got = bytearray()

        async def handle(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            got.extend(await reader.readexactly(len(body)))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()

        async with serving(handle, certificate) as (port, client, _):
            endpoint = Endpoint(f"https://127.0.0.1:{port}", ca_pem=certificate.ca.read_text())
            assert await whole(client, Request(RequestHead(endpoint, "POST", "/", []), body, QUICK)) == body
            assert bytes(got) == body

    run(loop, test())


@LOOPS
def test_cancelling_a_handshake_closes_the_socket_at_once(loop):
    async def test():
        asked, closed = asyncio.Event(), asyncio.Event()

        async def handle(reader, writer):
            await reader.readexactly(16)
            asked.set()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            closed.set()

        async with serving(handle) as (port, client, _):
            sending = asyncio.ensure_future(client.send(get(f"https://127.0.0.1:{port}")))
            await asked.wait()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await asyncio.wait_for(closed.wait(), 1)

    run(loop, test())


@LOOPS
def test_a_proxy_that_hangs_is_a_timeout(loop):
    async def test():
        async def handle(reader, writer):
            await reader.read(-1)

        async with serving(handle) as (port, client, open_connections):
            endpoint = Endpoint("https://upstream.invalid", proxy_url=f"http://127.0.0.1:{port}")
            request = Request(RequestHead(endpoint, "GET", "/", []), None, Timeouts(connect=0.3, first_byte=9))
            assert await refused(client, request) is errors.UpstreamTimeoutError
            await asyncio.sleep(0.1)
            assert not open_connections

    run(loop, test())
