"""Images behind URLs, fetched for upstreams that take no URLs, without being led where only we can go.

The URL is a stranger's. So a name is resolved once, all of its addresses have to be public ones, and the socket goes
to one of exactly these: a second answer of DNS has no say (rebinding). Each redirect begins anew. What comes has to be
an image by its type and by its first bytes, within a bound of bytes and of time. What went wrong on the way is one
sentence whatever it was, so that nobody can map a network by it.

https://cheatsheetseries.owasp.org/cheatsheets/Server_Side_Request_Forgery_Prevention_Cheat_Sheet.html
https://www.iana.org/assignments/iana-ipv4-special-registry/ and iana-ipv6-special-registry/
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple, TypeAlias, cast
from urllib.parse import quote, urljoin, urlsplit

from aiohappyeyeballs import AddrInfoType, start_connection

from trunkline_gateway import errors
from trunkline_gateway.upstream.client import Endpoint
from trunkline_gateway.upstream.http1 import dial
from trunkline_gateway.upstream.http1.parse import FramingError, ResponseParser

MAX_BYTES: Final = 20 << 20
MAX_SECONDS: Final = 10.0
"""For all of it: name, connections, redirects and bytes."""

MAX_REDIRECTS: Final = 3
MAX_URL_CHARACTERS: Final = 8192
MAX_CONCURRENT: Final = 16
"""Fetches at a time, so that memory has a bound; others wait, and their time runs."""

PORTS: Final = frozenset({80, 443, 8080, 8443})

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[AddrInfoType]]]
"""Host and port to what `socket.getaddrinfo` gives."""

_RESOLVING_THREADS: Final = 4  # of our own: slow names of strangers must not keep the names of providers waiting
_HAPPY_EYEBALLS_SECONDS: Final = 0.25
_READ_BYTES: Final = 64 * 1024
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_TYPES: Final[Mapping[str, str]] = {
    "image/png": "image/png",
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}

_UNSAFE: Final = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_PUBLIC_IPV6: Final = ipaddress.IPv6Network("2000::/3")
_FORBIDDEN: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT, and Alibaba's metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's metadata, with a public address
        "169.254.0.0/16",  # the metadata of all others
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        # Of IPv6 only 2000::/3 is public; within it:
        "2001::/23",  # Teredo and others that lead elsewhere
        "2001:db8::/32",
        "2002::/16",  # 6to4 holds any IPv4 address
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)

_UNREACHABLE: Final = "The image could not be fetched from its URL."
_BAD_URL: Final = "The image's URL is not one that is fetched: http or https, a public host, a usual port, no login."
_TOO_SLOW: Final = "Fetching the image from its URL took too long."
_TOO_MANY: Final = "The image's URL redirects too often."
_NOT_AN_IMAGE: Final = "What the image's URL leads to is not a PNG, JPEG, GIF or WebP image."


class Fetched(NamedTuple):
    """An image. ``media_type`` is one of image/png, image/jpeg, image/gif, image/webp."""

    media_type: str
    data: bytes


class _Place(NamedTuple):
    """What a URL says, checked. ``host`` is ASCII, in lower case, without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def is_public(address: Address) -> bool:
    """Whether an address is one that anybody on the internet can reach."""
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id is not None or address not in _PUBLIC_IPV6):
        return False
    return not any(address.version == network.version and address in network for network in _FORBIDDEN)


class Fetcher:
    """Fetches images. Made and used in one event loop; every fetch has a connection of its own."""

    def __init__(
        self,
        *,
        allow: Callable[[Address], bool] = is_public,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
        ports: Collection[int] | None = PORTS,
        max_bytes: int = MAX_BYTES,
        seconds: float = MAX_SECONDS,
    ) -> None:
        """Make a fetcher.

        Args:
            allow: Which addresses it may connect to; all of a name's have to be.
            resolve: None: the system's resolver.
            trust: None: the system's authorities.
            ports: None: any.
            max_bytes: Of an image.
            seconds: Of a fetch.
        """
        self._allow = allow
        self._threads = ThreadPoolExecutor(_RESOLVING_THREADS, thread_name_prefix="image-names")
        self._resolve = resolve or self._ask
        self._trust = dial.trust(Endpoint("")) if trust is None else trust
        self._ports = ports
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._turns = asyncio.Semaphore(MAX_CONCURRENT)

    def close(self) -> None:
        """Ask for no more names; fetches under way may still end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def fetch(self, url: str) -> Fetched:
        """Fetch an image.

        Raises:
            InvalidRequestError: There is none to be had; the message does not say where it was looked for.
        """
        try:
            async with asyncio.timeout(self._seconds), self._turns:
                return await self._follow(url)
        except TimeoutError as failure:
            raise _refusal(_TOO_SLOW) from failure

    async def _follow(self, url: str) -> Fetched:
        place = self._place(url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._get(place)
            if isinstance(answer, Fetched):
                return answer
            url = _joined(url, answer)
            following = self._place(url)
            if place.scheme == "https" and following.scheme != "https":
                raise _refusal(_BAD_URL)
            place = following
        raise _refusal(_TOO_MANY)

    def _place(self, url: str) -> _Place:
        if len(url) > MAX_URL_CHARACTERS or _UNSAFE.search(url):
            raise _refusal(_BAD_URL)
        try:
            parts = urlsplit(url)
            port = parts.port
            host = _host(parts.hostname or "")
        except (ValueError, UnicodeError) as failure:
            raise _refusal(_BAD_URL) from failure
        bracketed = "[" in parts.netloc and ":" not in host
        if parts.scheme not in _DEFAULT_PORTS or "@" in parts.netloc or bracketed or not host:
            raise _refusal(_BAD_URL)
        port = _DEFAULT_PORTS[parts.scheme] if port is None else port
        if port == 0 or (self._ports is not None and port not in self._ports):
            raise _refusal(_BAD_URL)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _Place(parts.scheme, host, port, quote(target, safe="!$%&'()*+,/:;=?@[]~-._"))

    async def _get(self, place: _Place) -> Fetched | str:
        """The image, or where it is instead."""
        try:
            sock = await self._connect(place)
            secure = place.scheme == "https"
            # The name stays what it was, for the certificate and for the host that serves many.
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=self._trust if secure else None, server_hostname=place.host if secure else None
            )
            try:
                writer.write(_request(place))
                return await self._read(reader)
            finally:
                writer.transport.abort()
        except (OSError, ValueError, RuntimeError, FramingError) as failure:
            if isinstance(failure, TimeoutError):
                raise
            raise _refusal(_UNREACHABLE) from failure

    async def _connect(self, place: _Place) -> socket.socket:
        found = await self._resolve(place.host, place.port)
        # One address that may not be, and the name is not to be trusted at all.
        if not found or not all(self._may_go_to(info, place.port) for info in found):
            raise _refusal(_UNREACHABLE)
        return await start_connection(
            found,
            happy_eyeballs_delay=_HAPPY_EYEBALLS_SECONDS,
            interleave=1,
            loop=asyncio.get_running_loop(),
        )

    def _may_go_to(self, info: AddrInfoType, port: int) -> bool:
        family, place = info[0], info[4]
        if family not in (socket.AF_INET, socket.AF_INET6) or place[1] != port:
            return False
        if len(place) == 4 and place[3]:
            return False  # a scope: the address means something on one link only
        try:
            address = ipaddress.ip_address(place[0])
        except ValueError:
            return False
        return self._allow(address)

    async def _ask(self, host: str, port: int) -> Sequence[AddrInfoType]:
        numeric = _is_address(host)
        # With the dot at its end it is a name of the internet, and not one that is looked for in the cluster first.
        name = host if numeric else f"{host}."
        found = await asyncio.get_running_loop().run_in_executor(
            self._threads,
            lambda: socket.getaddrinfo(
                name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST if numeric else 0
            ),
        )
        return cast(Sequence[AddrInfoType], found)

    async def _read(self, reader: asyncio.StreamReader) -> Fetched | str:
        parser = ResponseParser()
        pieces: list[bytes] = []
        held = 0
        media_type = ""
        while not parser.complete:
            data = await reader.read(_READ_BYTES)
            if not data:
                break
            parser.feed(data)
            if parser.status and not media_type:
                location = _location(parser)
                if location is not None:
                    return location
                media_type = self._media_type(parser)
            held += sum(map(len, parser.pieces))
            if held > self._max_bytes:
                raise self._too_large()
            pieces += parser.pieces
            parser.pieces.clear()
        # A body that only the end of the connection ends is taken as it is: a cut picture harms nobody.
        if not parser.complete and not (parser.until_eof and parser.status):
            raise _refusal(_UNREACHABLE)
        image = b"".join(pieces)
        if _sniffed(image) != media_type:
            raise _refusal(_NOT_AN_IMAGE)
        return Fetched(media_type, image)

    def _media_type(self, parser: ResponseParser) -> str:
        """What the head says that it is, if it is to be read at all."""
        if parser.status != 200:
            raise _refusal(_UNREACHABLE)
        fields = dict(parser.headers)
        media_type = _TYPES.get(_text(fields.get(b"content-type", b"")))
        if media_type is None or _text(fields.get(b"content-encoding", b"identity")) != "identity":
            raise _refusal(_NOT_AN_IMAGE)
        length = fields.get(b"content-length", b"")
        if length.isdigit() and (len(length) > 18 or int(length) > self._max_bytes):
            raise self._too_large()
        return media_type

    def _too_large(self) -> errors.InvalidRequestError:
        return _refusal(f"The image behind the URL is over {self._max_bytes} bytes.")


def _host(host: str) -> str:
    """The host as it is asked for and named; empty: it is none that is asked for.

    Numbers are addresses only as everybody writes them: what ``0x7f.1`` is, parsers do not agree about.
    """
    if ":" in host:
        return "" if "%" in host else str(ipaddress.IPv6Address(host))
    host = host.encode("idna").decode("ascii").lower().removesuffix(".")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return str(ipaddress.IPv4Address(host))
    return host if len(host) <= 253 and _NAME.fullmatch(host) else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _request(place: _Place) -> bytes:
    return (
        f"GET {place.target} HTTP/1.1\r\nhost: {place.authority}\r\nuser-agent: trunkline\r\n"
        "accept: image/png, image/jpeg, image/gif, image/webp\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
    ).encode("ascii")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as failure:
        raise _refusal(_BAD_URL) from failure


def _location(parser: ResponseParser) -> str | None:
    if parser.status not in _REDIRECTS:
        return None
    return dict(parser.headers).get(b"location", b"").decode("utf-8", "replace")


def _text(value: bytes) -> str:
    return value.decode("latin-1").partition(";")[0].strip().lower()


def _sniffed(data: bytes) -> str:
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return ""


def _refusal(message: str) -> errors.InvalidRequestError:
    return errors.InvalidRequestError(message, code="image_not_fetched")
