"""Images behind strangers' URLs: fetched where anybody could, and nowhere else."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import certificates
from trunkline_gateway import errors
from trunkline_gateway.upstream import images
from trunkline_gateway.upstream.images import Fetched, Fetcher

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100
JPEG = b"\xff\xd8\xff\xe0" + b"x" * 100
HOME = ipaddress.ip_address("127.0.0.1")
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def answer(body: bytes = PNG, *, status: str = "200 OK", kind: str = "image/png", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}\r\n".encode() + body


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()


class Names:
    """A resolver: each name has a list of answers, given in turn; the last one stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): each for name, each in answers.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int):
        self.asked.append(host)
        given = self.answers.get(host)
        if given is None:
            try:
                ipaddress.ip_address(host)
            except ValueError:
                raise socket.gaierror(socket.EAI_NONAME, "unknown") from None
            given = [[host]]
        addresses = given.pop(0) if len(given) > 1 else given[0]
        return [info(address, port) for address in addresses]


def info(address: str, port: int):
    if ":" in address:
        plain, _, scope = address.partition("%")
        return (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (plain, port, 0, int(scope or 0)))
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))


class Server:
    """Answers requests in turn, the last one again and again; keeps what it was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.port = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            await self.reply(writer)
            await reader.read()
        writer.close()

    async def reply(self, writer: asyncio.StreamWriter) -> None:
        said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(said.replace(b"{port}", str(self.port).encode()))
        await writer.drain()
        if b"content-length" not in said and b"chunked" not in said:
            writer.write_eof()


@contextlib.asynccontextmanager
async def serving(server: Server, context: ssl.SSLContext | None = None):
    tasks = set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        await server.handle(reader, writer)

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server.port
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was accepted just now is closed by the loop


@contextlib.contextmanager
def fetching(names: Names | None = None, **arguments):
    given = {"ports": None, "trust": NO_TRUST, "allow": lambda address: address == HOME, **arguments}
    fetcher = Fetcher(resolve=names or Names(a_example=[["127.0.0.1"]]), **given)
    try:
        yield fetcher
    finally:
        fetcher.close()


async def refused(fetcher: Fetcher, url: str, message: str = "") -> str:
    with pytest.raises(errors.InvalidRequestError, match=message) as caught:
        await fetcher.fetch(url)
    assert caught.value.code == "image_not_fetched"
    for told in ("example", "127.0.0", "169.254"):
        assert told not in caught.value.message
    return caught.value.message


def run(loop, test):
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(test, 30))


@LOOPS
def test_an_image_is_fetched(loop) -> None:
    async def test() -> None:
        server = Server(answer(kind="image/PNG; charset=x"))
        async with serving(server) as port:
            with fetching() as fetcher:
                found = await fetcher.fetch(f"http://A.example:{port}/p/ä?q=1#part")
        assert found == Fetched("image/png", PNG)
        (head,) = server.asked
        lines = head.decode().split("\r\n")
        assert lines[0] == "GET /p/%C3%A4?q=1 HTTP/1.1"
        assert f"host: a.example:{port}" in lines
        assert "accept-encoding: identity" in lines
        assert not [line for line in lines if line.lower().startswith(("authorization", "cookie", "referer"))]

    run(loop, test())


@LOOPS
def test_over_tls_the_name_is_what_the_certificate_is_for(loop, tmp_path) -> None:
    good = certificates.serving_certificate(tmp_path, names=["a.example"], addresses=[])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.cert, good.key)
    shown: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: shown.append(name)
    trust = ssl.create_default_context(cafile=str(good.ca))

    async def test() -> None:
        names = Names(a_example=[["127.0.0.1"]], b_example=[["127.0.0.1"]])
        server = Server(answer())
        async with serving(server, context) as port:
            with fetching(names, trust=trust) as fetcher:
                assert (await fetcher.fetch(f"https://a.example:{port}/")).data == PNG
                await refused(fetcher, f"https://b.example:{port}/", "could not be fetched")
            with fetching(names, trust=ssl.create_default_context()) as fetcher:
                await refused(fetcher, f"https://a.example:{port}/", "could not be fetched")

    run(loop, test())
    assert shown == ["a.example", "b.example", "a.example"]


def test_the_systems_authorities_are_trusted_unless_others_are_given() -> None:
    async def test() -> None:
        fetcher = Fetcher()
        assert fetcher._trust.verify_mode == ssl.CERT_REQUIRED
        assert fetcher._trust.check_hostname
        fetcher.close()

    asyncio.run(test())


# ---- where it may go -------------------------------------------------------------------------------------------------

FORBIDDEN = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700::1%1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "172.32.0.1",
    "192.0.1.1",
    "2606:4700::1111",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not images.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_that_are(address: str) -> None:
    assert images.is_public(ipaddress.ip_address(address))


@settings(deadline=None, max_examples=100)
@given(st.ip_addresses())
def test_what_the_standard_library_knows_to_be_private_is_not_public(address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_link_local:
        assert not images.is_public(address)


def no_connections(monkeypatch) -> list[object]:
    tried: list[object] = []

    async def connect(found, **_arguments):
        tried.append(found)
        raise OSError("nobody is there")

    monkeypatch.setattr(images, "start_connection", connect)
    return tried


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_no_connection_is_tried_to_them(address: str, monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    scoped = address.replace("%eth0", "%2")
    for answers in ([[scoped]], [["1.1.1.1", scoped]], [[scoped, "2606:4700::1111"]]):
        with fetching(Names(a_example=answers), allow=images.is_public) as fetcher:
            await refused(fetcher, "https://a.example/a.png", "could not be fetched")
    assert tried == []


async def test_all_addresses_that_were_found_are_tried(monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    with fetching(Names(a_example=[["1.1.1.1", "2606:4700::1111"]]), allow=images.is_public) as fetcher:
        await refused(fetcher, "https://a.example/a.png", "could not be fetched")
    assert tried == [[info("1.1.1.1", 443), info("2606:4700::1111", 443)]]


async def test_what_a_resolver_may_give_and_is_not_taken(monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    odd = [
        [],
        [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", ("1.1.1.1", 443))],
        [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 22))],
        [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("nonsense", 443))],
    ]
    for found in odd:

        async def resolve(_host, _port, found=found):
            return found

        with fetching(resolve, allow=images.is_public) as fetcher:
            await refused(fetcher, "https://a.example/", "could not be fetched")
    assert tried == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.png",
        "//a.example/a.png",
        "file:///etc/passwd",
        "ftp://a.example/a.png",
        "gopher://a.example/",
        "unix:///run/x.sock",
        "http:///a.png",
        "http://",
        "http://localhost/",
        "http://kubernetes/",
        "http://user@a.example/",
        "http://user:secret@a.example/",
        "http://@a.example/",
        "http://a.example@127.0.0.1/",
        "http://a.example:22/",
        "http://a.example:0/",
        "http://a.example:99999/",
        "http://a.example:x/",
        "http://a.example\\@127.0.0.1/",
        "http://a.example/ b",
        "http://a.example/\r\nhost: b",
        " http://a.example/",
        "http://a.exa\tmple/",
        "http://a.example/\x00",
        "http://a.example/\ud800",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1.0x1/",
        "http://1.1.1.01/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://[v1.a]/",
        "http://a..example/",
        "http://.example/",
        "http://-a.example/",
        "http://a%2eexample/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://a.example/" + "x" * 9000,
    ],
)
async def test_urls_that_are_not_fetched(url: str, monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    names = Names(a_example=[["1.1.1.1"]])
    with fetching(names, allow=images.is_public, ports=images.PORTS) as fetcher:
        await refused(fetcher, url, "not one that is fetched")
    assert (tried, names.asked) == ([], [])


@pytest.mark.parametrize("port", sorted(images.PORTS))
async def test_the_usual_ports(port: int, monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    with fetching(Names(a_example=[["1.1.1.1"]]), allow=images.is_public, ports=images.PORTS) as fetcher:
        await refused(fetcher, f"http://a.example:{port}/", "could not be fetched")
    assert len(tried) == 1


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "\uff11\uff12\uff17.0.0.1"]
)
async def test_addresses_in_urls_are_judged_as_well(host: str, monkeypatch) -> None:
    tried = no_connections(monkeypatch)
    for resolve in (Names(), None):  # the second: the system's
        fetcher = Fetcher(resolve=resolve, trust=NO_TRUST)
        await refused(fetcher, f"http://{host}/", "could not be fetched")
        fetcher.close()
    assert tried == []


async def test_the_systems_resolver_is_asked_for_names_of_the_internet(monkeypatch) -> None:
    tried, asked = no_connections(monkeypatch), []

    def resolve(host, port, **arguments):
        asked.append((host, port, arguments["flags"]))
        return [info("1.1.1.1", port)]

    monkeypatch.setattr(images.socket, "getaddrinfo", resolve)
    fetcher = Fetcher(trust=NO_TRUST)
    await refused(fetcher, "http://a.example/", "could not be fetched")
    await refused(fetcher, "http://1.1.1.1/", "could not be fetched")
    fetcher.close()
    assert asked == [("a.example.", 80, 0), ("1.1.1.1", 80, socket.AI_NUMERICHOST)]
    assert len(tried) == 2


@LOOPS
def test_a_second_answer_of_dns_has_no_say(loop) -> None:
    async def test() -> None:
        # Rebinding: what was judged is what is connected to; to ask again would lead elsewhere.
        names = Names(a_example=[["127.0.0.1"], ["169.254.169.254"]])
        server = Server(answer())
        async with serving(server) as port:
            with fetching(names) as fetcher:
                assert (await fetcher.fetch(f"http://a.example:{port}/")).data == PNG
                assert names.asked == ["a.example"]
                await refused(fetcher, f"http://a.example:{port}/", "could not be fetched")
        assert len(server.asked) == 1

    run(loop, test())


# ---- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int) -> None:
    server = Server(redirect("/second", status), redirect("http://b.example:{port}/third"), answer())
    names = Names(a_example=[["127.0.0.1"]], b_example=[["127.0.0.1"]])
    async with serving(server) as port:
        with fetching(names) as fetcher:
            assert (await fetcher.fetch(f"http://a.example:{port}/first")).data == PNG
    assert [head.split(b" ")[1] for head in server.asked] == [b"/first", b"/second", b"/third"]
    assert names.asked == ["a.example", "a.example", "b.example"]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://169.254.169.254/latest/meta-data/", "could not be fetched"),
        ("//169.254.169.254/", "could not be fetched"),
        ("http://[::1]/", "could not be fetched"),
        ("http://unknown.example/", "could not be fetched"),
        ("http://user@a.example/", "not one that is fetched"),
        ("file:///etc/passwd", "not one that is fetched"),
        ("http://[", "not one that is fetched"),
        ("\x01\xff", "not one that is fetched|could not be fetched"),
        ("http://2852039166/", "not one that is fetched"),
        ("http://a.example/ b", "not one that is fetched"),
    ],
)
async def test_redirects_are_judged_anew(location: str, message: str) -> None:
    server = Server(redirect(location))
    async with serving(server) as port:
        with fetching() as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", message)
    assert len(server.asked) == 1


async def test_a_redirect_to_a_name_that_has_moved_is_judged_anew() -> None:
    server = Server(redirect("/again"), answer())
    async with serving(server) as port:
        with fetching(Names(a_example=[["127.0.0.1"], ["10.0.0.1"]])) as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", "could not be fetched")
    assert len(server.asked) == 1


@pytest.mark.parametrize("location", ["/again", ""])
async def test_there_are_not_many_redirects(location: str) -> None:
    server = Server(redirect(location))
    async with serving(server) as port:
        with fetching() as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", "redirects too often")
    assert len(server.asked) == images.MAX_REDIRECTS + 1


async def test_a_redirect_does_not_leave_tls(tmp_path) -> None:
    good = certificates.serving_certificate(tmp_path, names=["a.example"], addresses=[])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.cert, good.key)
    server = Server(redirect("http://a.example:{port}/"))
    async with serving(server, context) as port:
        with fetching(trust=ssl.create_default_context(cafile=str(good.ca))) as fetcher:
            await refused(fetcher, f"https://a.example:{port}/", "not one that is fetched")
    assert len(server.asked) == 1


# ---- what comes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF87a...", "image/gif"),
        (b"GIF89a...", "image/gif"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "image/webp"),
    ],
)
async def test_kinds_of_images(body: bytes, kind: str) -> None:
    async with serving(Server(answer(body, kind=kind))) as port:
        with fetching() as fetcher:
            assert await fetcher.fetch(f"http://a.example:{port}/") == Fetched(kind, body)


async def test_a_usual_misspelling() -> None:
    async with serving(Server(answer(JPEG, kind="image/jpg"))) as port:
        with fetching() as fetcher:
            assert (await fetcher.fetch(f"http://a.example:{port}/")).media_type == "image/jpeg"


CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        CHUNKED + b"6c\r\n" + PNG + b"\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-type: image/png\r\n\r\n" + PNG,
        b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + answer(),
        answer(more="content-encoding: identity\r\n"),
    ],
)
async def test_framings(said: bytes) -> None:
    async with serving(Server(said)) as port:
        with fetching() as fetcher:
            assert (await fetcher.fetch(f"http://a.example:{port}/")).data == PNG


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (answer(kind="text/html"), "not a PNG"),
        (answer(kind="image/svg+xml"), "not a PNG"),
        (answer(kind="application/octet-stream"), "not a PNG"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "not a PNG"),
        (answer(b'{"AccessKeyId": "x"}'), "not a PNG"),
        (answer(b""), "not a PNG"),
        (answer(JPEG), "not a PNG"),
        (answer(more="content-encoding: gzip\r\n"), "not a PNG"),
        (answer(status="404 Not Found"), "could not be fetched"),
        (answer(status="206 Partial Content"), "could not be fetched"),
        (answer(status="304 Not Modified"), "could not be fetched"),
        (answer(status="101 Switching Protocols"), "could not be fetched"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ntransfer-encoding: gzip\r\n\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "could not be fetched"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", "could not be fetched"),
        (b"", "could not be fetched"),
    ],
)
async def test_answers_that_are_no_image(said: bytes, message: str) -> None:
    async with serving(Server(said)) as port:
        with fetching(seconds=3.0) as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", message)


async def test_an_image_that_was_cut_short_is_none() -> None:
    class Cut(Server):
        async def reply(self, writer) -> None:
            writer.write(self.answers[0])
            writer.write_eof()

    for said in (answer()[:-1], CHUNKED + b"6c\r\n" + PNG + b"\r\n", answer()[:20]):
        async with serving(Cut(said)) as port:
            with fetching() as fetcher:
                await refused(fetcher, f"http://a.example:{port}/", "could not be fetched")


class Endless(Server):
    """Never stops."""

    sent = 0

    async def reply(self, writer) -> None:
        writer.write(self.answers[0])
        while True:
            writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n" if b"chunked" in self.answers[0] else b"x" * 4096)
            self.sent += 4096
            await writer.drain()


@pytest.mark.parametrize("head", [CHUNKED, b"HTTP/1.0 200 OK\r\ncontent-type: image/png\r\n\r\n"])
async def test_a_body_without_end_is_read_up_to_the_bound(head: bytes) -> None:
    server = Endless(head)
    async with serving(server) as port:
        with fetching(max_bytes=100_000) as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", "over 100000 bytes")
    assert server.sent < 20_000_000  # what the sockets hold


async def test_a_body_that_is_too_long_by_its_own_word_is_not_read() -> None:
    for length in (b"101", b"9" * 18, b"9" * 30):
        said = b"HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: " + length + b"\r\n\r\n"
        async with serving(Server(said)) as port:
            with fetching(max_bytes=100, seconds=3.0) as fetcher:
                await refused(fetcher, f"http://a.example:{port}/", "over 100 bytes|could not be fetched")


async def test_a_body_of_just_the_bound() -> None:
    async with serving(Server(answer())) as port:
        with fetching(max_bytes=len(PNG)) as fetcher:
            assert (await fetcher.fetch(f"http://a.example:{port}/")).data == PNG


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", CHUNKED])
@LOOPS
def test_whoever_drips_is_left(loop, head: bytes) -> None:
    class Dripping(Server):
        async def reply(self, writer) -> None:
            writer.write(self.answers[0])
            while True:
                await asyncio.sleep(0.02)
                writer.write(b"1\r\nx\r\n" if self.answers[0] == CHUNKED else b"")

    async def test() -> None:
        async with serving(Dripping(head)) as port:
            with fetching(seconds=0.3) as fetcher:
                began = asyncio.get_running_loop().time()
                await refused(fetcher, f"http://a.example:{port}/", "took too long")
                assert asyncio.get_running_loop().time() - began < 2

    run(loop, test())


async def test_the_time_covers_names_and_redirects() -> None:
    async def silent(_host, _port):
        await asyncio.sleep(60)

    with fetching(silent, seconds=0.1) as fetcher:
        await refused(fetcher, "http://a.example/", "took too long")

    class Slow(Server):
        async def reply(self, writer) -> None:
            await asyncio.sleep(0.15)
            await super().reply(writer)

    async with serving(Slow(redirect("/again"), redirect("/again"), answer())) as port:
        with fetching(seconds=0.35) as fetcher:
            await refused(fetcher, f"http://a.example:{port}/", "took too long")


async def test_only_so_many_at_a_time() -> None:
    class Counting(Server):
        now = most = 0

        async def reply(self, writer) -> None:
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(0.02)
            await super().reply(writer)
            self.now -= 1

    server = Counting(answer())
    async with serving(server) as port:
        with fetching() as fetcher:
            found = await asyncio.gather(*(fetcher.fetch(f"http://a.example:{port}/") for _ in range(40)))
    assert {each.data for each in found} == {PNG}
    assert server.most <= images.MAX_CONCURRENT


async def test_giving_up_closes_the_socket() -> None:
    closed = asyncio.Event()

    class Waiting(Server):
        async def reply(self, writer) -> None:
            pass

        async def handle(self, reader, writer) -> None:
            await super().handle(reader, writer)
            closed.set()

    async with serving(Waiting()) as port:
        with fetching() as fetcher:
            task = asyncio.create_task(fetcher.fetch(f"http://a.example:{port}/"))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with asyncio.timeout(2):
                await closed.wait()


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=30) | st.text("htps:/.@[]%1a\\#?", max_size=30).map(lambda text: f"http://{text}"))
def test_any_text_is_a_place_or_refused(url: str) -> None:
    async def test() -> None:
        with fetching(Names(), allow=lambda address: False) as fetcher, pytest.raises(errors.InvalidRequestError):
            await fetcher.fetch(url)

    asyncio.run(test())
