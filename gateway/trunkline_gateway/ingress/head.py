"""What a request line and its headers must be like for the request to have one reading.

What the parser (llhttp, strict) refuses by itself: Content-Length with Transfer-Encoding, repeated or malformed
Content-Length, folded headers, bare CR or LF, bad chunk sizes, control characters. What is added here: one Host, one
spelling of a chunked body, targets in origin form without dot segments.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from trunkline_gateway.http import Headers
from trunkline_gateway.ingress.refusals import Refusal

_HOST: Final = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=%:\[\]-]*")
_DOT_SEGMENT: Final = re.compile(rb"(?i)(?:^|/)(?:\.|%2e){1,2}(?=/|$)")
_HOP_BY_HOP_UPGRADE: Final = frozenset({b"upgrade", b"http2-settings"})


def check_version(version: str) -> None:
    """Raise Refusal unless it is one that is spoken here."""
    if version not in {"1.0", "1.1"}:
        raise Refusal(400, "bad_request", "Send the request as HTTP/1.1.")


def check_protocol(data: bytes, url: bytes) -> None:
    """Raise Refusal unless ``data``, which a request of version 1.0 begins in, has it as one of HTTP.

    The parser takes RTSP/1.0 and ICE/1.0 as well, and says only the number.
    """
    if b" %b HTTP/1.0" % url not in data:
        raise Refusal(400, "bad_request", "Send the request as HTTP/1.1.")


def split_target(url: bytes) -> tuple[str, bytes]:
    """Give path and query.

    https://www.rfc-editor.org/rfc/rfc9112#section-3.2.1

    Raises:
        Refusal: It is not in origin form, or means another path than it spells.
    """
    if not url.startswith(b"/") or b"#" in url:
        raise Refusal(400, "bad_request", "The request target must be a path such as /v1/models.")
    path, _, query = url.partition(b"?")
    if (b"/." in path or b"%" in path) and _DOT_SEGMENT.search(path):
        raise Refusal(400, "bad_request", "The path must not hold dot segments.")
    if not url.isascii():
        raise Refusal(400, "bad_request", "The request target must be ASCII.")
    return path.decode("ascii"), query


def check_host(headers: Headers, first: Mapping[bytes, bytes], version: str) -> None:
    """Raise Refusal unless there is one valid Host (https://www.rfc-editor.org/rfc/rfc9112#section-3.2)."""
    host = first.get(b"host")
    if host is None:
        right = version == "1.0"
    else:
        many = len(first) != len(headers) and sum(name == b"host" for name, _ in headers) > 1
        right = not many and _HOST.fullmatch(host) is not None
    if not right:
        raise Refusal(400, "bad_request", "The request must have exactly one valid Host header.")


def check_transfer_encoding(headers: Headers, version: str) -> None:
    """Raise Refusal for what proxies read in different ways (https://www.rfc-editor.org/rfc/rfc9112#section-6.1)."""
    for name, value in headers:
        if name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
            raise Refusal(400, "bad_request", "The only Transfer-Encoding is chunked, in HTTP/1.1.")


def size(url: bytes, headers: Headers) -> int:
    """About how many bytes the head had."""
    # 16: the method, the version and the blanks of the request line.
    return 16 + len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def without_upgrade(method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Write a head of HTTP/1.1 again without its offer to switch protocols."""
    head = [method, b" ", url, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if name == b"connection":
            tokens = (token.strip() for token in value.split(b","))
            value = b", ".join(token for token in tokens if token.lower() not in _HOP_BY_HOP_UPGRADE)  # noqa: PLW2901
        if name not in _HOP_BY_HOP_UPGRADE:
            head += [name, b": ", value, b"\r\n"]
    return b"".join([*head, b"\r\n"])
