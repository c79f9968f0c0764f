"""Answers from bytes: what is HTTP/1.1, what only looks like it, and that no cut of the bytes makes a difference."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trunkline_gateway.upstream.http1 import parse
from trunkline_gateway.upstream.http1.parse import FramingError, ResponseParser

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Outcome:
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    complete: bool
    keep_alive: bool
    until_eof: bool
    refused: bool


def fed(*parts: bytes, parser: ResponseParser | None = None) -> Outcome:
    parser = parser or ResponseParser()
    refused = False
    try:
        for part in parts:
            parser.feed(part)
            if parser.complete:
                break
    except FramingError:
        refused = True
    outcome = Outcome(
        parser.status,
        tuple(parser.headers) if parser.status else (),
        b"".join(parser.pieces),
        parser.complete,
        parser.keep_alive,
        parser.until_eof,
        refused,
    )
    parser.pieces.clear()
    return outcome


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a != b]


ANSWERS = {
    "length": OK + b"Content-Length: 5\r\nX-A: 1\r\nx-a:2 \r\n\r\nhello",
    "empty": OK + b"content-length: 0\r\n\r\n",
    "no-reason": b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok",
    "http-1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    "http-1.0-kept": b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
    "close": OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok",
    "close-in-a-list": OK + b"connection: keep-alive, close\r\ncontent-length: 2\r\n\r\nok",
    "chunked": CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n",
    "chunked-capital": OK + b"Transfer-Encoding: Chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "trailers": CHUNKED + b"A\r\n0123456789\r\n000\r\nx-t: 1\r\nx-status: 500\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n"
    + OK
    + b"content-length: 1\r\n\r\na",
    "interim-then-1.0": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\na",
    "no-content": b"HTTP/1.1 204 No Content\r\nx: y\r\n\r\n",
    "not-modified": b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    "until-eof": OK + b"x: y\r\n\r\nto the end",
    "other-status": b"HTTP/1.1 999 Own\r\ncontent-length: 0\r\n\r\n",
    "latin-1": OK + b"x: na\xefve\r\ncontent-length: 0\r\n\r\n",
    "upgrade-offered": OK + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n\r\nok",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read(name):
    outcome = fed(ANSWERS[name])
    assert not outcome.refused
    assert outcome.complete != outcome.until_eof


@pytest.mark.parametrize(
    ("name", "status", "body", "keep_alive"),
    [
        ("length", 200, b"hello", True),
        ("empty", 200, b"", True),
        ("no-reason", 200, b"ok", True),
        ("http-1.0", 200, b"ok", False),
        ("http-1.0-kept", 200, b"ok", True),
        ("close", 200, b"ok", False),
        ("close-in-a-list", 200, b"ok", False),
        ("chunked", 200, b"hello world", True),
        ("chunked-capital", 200, b"ok", True),
        ("trailers", 200, b"0123456789", True),
        ("interim", 200, b"a", True),
        ("no-content", 204, b"", True),
        ("not-modified", 304, b"", True),
        ("until-eof", 200, b"to the end", False),
        ("other-status", 999, b"", True),
        ("upgrade-offered", 200, b"ok", True),
    ],
)
def test_what_an_answer_says(name, status, body, keep_alive):
    outcome = fed(ANSWERS[name])
    assert (outcome.status, outcome.body, outcome.keep_alive) == (status, body, keep_alive)


def test_headers_are_in_lower_case_and_in_order_and_trailers_are_dropped():
    assert fed(ANSWERS["length"]).headers == ((b"content-length", b"5"), (b"x-a", b"1"), (b"x-a", b"2"))
    assert fed(ANSWERS["trailers"]).headers == ((b"transfer-encoding", b"chunked"),)
    assert fed(ANSWERS["interim"]).headers == ((b"content-length", b"1"),)
    assert fed(ANSWERS["latin-1"]).headers[0] == (b"x", b"na\xefve")


REFUSED = {
    # conflicting or unclear lengths
    "two-lengths": OK + b"content-length: 2\r\ncontent-length: 3\r\n\r\nokk",
    "same-length-twice": OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nok",
    "length-list": OK + b"content-length: 2, 2\r\n\r\nok",
    "length-plus": OK + b"content-length: +2\r\n\r\nok",
    "length-minus": OK + b"content-length: -2\r\n\r\nok",
    "length-hex": OK + b"content-length: 0x2\r\n\r\nok",
    "length-empty": OK + b"content-length: \r\n\r\nok",
    "length-gap": OK + b"content-length: 1 2\r\n\r\nok",
    "length-overflow": OK + b"content-length: 18446744073709551616\r\n\r\nok",
    "length-and-chunked": OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked-and-length": OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n0\r\n\r\n",
    # codings
    "gzip": OK + b"transfer-encoding: gzip\r\n\r\n",
    "identity": OK + b"transfer-encoding: identity\r\n\r\n",
    "gzip-chunked": OK + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked-identity": OK + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked-twice": OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "identity-and-chunked": OK + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "xchunked": OK + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked-vt": OK + b"transfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked-tab": OK + b"transfer-encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "chunked-quoted": OK + b'transfer-encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "chunked-in-1.0": b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    # start line
    "not-http": b"SSH-2.0-OpenSSH_9.7\r\n\r\n",
    "tls-alert": b"\x15\x03\x01\x00\x02\x02\x28",
    "rtsp": b"RTSP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "icecast": b"ICY 200 OK\r\n\r\n",
    "empty-line-first": b"\r\n" + OK + b"content-length: 0\r\n\r\n",
    "lower-case": b"http/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "version-0.9": b"HTTP/0.9 200 OK\r\ncontent-length: 0\r\n\r\n",
    "version-1.2": b"HTTP/1.2 200 OK\r\ncontent-length: 0\r\n\r\n",
    "version-2.0": b"HTTP/2.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    "version-1.10": b"HTTP/1.10 200 OK\r\ncontent-length: 0\r\n\r\n",
    "status-short": b"HTTP/1.1 99 OK\r\ncontent-length: 0\r\n\r\n",
    "status-099": b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
    "status-000": b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n",
    "status-long": b"HTTP/1.1 1000 OK\r\ncontent-length: 0\r\n\r\n",
    "status-missing": b"HTTP/1.1 \r\n\r\n",
    "status-text": b"HTTP/1.1 abc OK\r\n\r\n",
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nabc",
    "switching-bare": b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "interim-of-another-version": b"HTTP/2.0 100 Continue\r\n\r\n" + OK + b"\r\n",
    "interim-then-another-version": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2.0 200 OK\r\n\r\n",
    "interim-closes": b"HTTP/1.1 103 Hints\r\nconnection: close\r\n\r\n" + OK + b"content-length: 0\r\n\r\n",
    # lines
    "folded": OK + b"a: b\r\n c\r\ncontent-length: 0\r\n\r\n",
    "folded-tab": OK + b"a: b\r\n\tc\r\ncontent-length: 0\r\n\r\n",
    "folded-empty": OK + b"a:\r\n c\r\ncontent-length: 0\r\n\r\n",
    "folded-first": OK + b" a: b\r\ncontent-length: 0\r\n\r\n",
    "bare-lf-status": b"HTTP/1.1 200 OK\ncontent-length: 0\r\n\r\n",
    "bare-lf-header": OK + b"a: b\ncontent-length: 0\r\n\r\n",
    "bare-lf-end": OK + b"content-length: 0\r\n\n",
    "bare-cr-header": OK + b"a: b\rcontent-length: 0\r\n\r\n",
    "bare-cr-status": b"HTTP/1.1 200 O\rK\r\ncontent-length: 0\r\n\r\n",
    "nul": OK + b"a: b\0c\r\ncontent-length: 0\r\n\r\n",
    "control": OK + b"a: b\x01c\r\ncontent-length: 0\r\n\r\n",
    "delete": OK + b"a: b\x7fc\r\ncontent-length: 0\r\n\r\n",
    "blank-in-name": OK + b"a : b\r\ncontent-length: 0\r\n\r\n",
    "no-name": OK + b": b\r\ncontent-length: 0\r\n\r\n",
    "no-colon": OK + b"abc\r\ncontent-length: 0\r\n\r\n",
    "name-not-ascii": OK + b"n\xc3\xa4me: b\r\ncontent-length: 0\r\n\r\n",
    # chunks
    "chunk-lf": CHUNKED + b"2\nok\r\n0\r\n\r\n",
    "chunk-data-lf": CHUNKED + b"2\r\nok\n0\r\n\r\n",
    "chunk-too-long": CHUNKED + b"2\r\nokk\r\n0\r\n\r\n",
    "chunk-blank": CHUNKED + b"2 \r\nok\r\n0\r\n\r\n",
    "chunk-0x": CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
    "chunk-minus": CHUNKED + b"-2\r\nok\r\n0\r\n\r\n",
    "chunk-empty-size": CHUNKED + b"\r\nok\r\n0\r\n\r\n",
    "chunk-overflow": CHUNKED + b"10000000000000000\r\nok\r\n0\r\n\r\n",
    "chunk-extension-lf": CHUNKED + b"2;a\nb\r\nok\r\n0\r\n\r\n",
    "trailer-folded": CHUNKED + b"2\r\nok\r\n0\r\nt: x\r\n y\r\n\r\n",
    "trailer-length": CHUNKED + b"2\r\nok\r\n0\r\ncontent-length: 4\r\n\r\n",
    "trailer-nul": CHUNKED + b"2\r\nok\r\n0\r\nt: \0\r\n\r\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_exactly_http_is_refused_whole_and_byte_by_byte(name):
    data = REFUSED[name]
    whole = fed(data)
    assert whole.refused
    assert not whole.complete
    bytewise = fed(*cut(data, list(range(1, len(data)))))
    assert bytewise == whole


LONG = b"a" * parse.MAX_HEAD_BYTES
OVER = {
    "status-line": b"HTTP/1.1 200 " + LONG,
    "header-name": OK + LONG,
    "header-value": OK + b"x: " + LONG,
    "field": OK + b"x: " + b"a" * (parse.MAX_FIELD_BYTES + 1) + b"\r\ncontent-length: 0\r\n\r\n",
    "many-headers": OK + b"x: y\r\n" * (parse.MAX_HEADERS + 1) + b"\r\n",
    "endless-headers": OK + b"x: y\r\n" * 20_000,
    "interim-count": b"HTTP/1.1 102 Processing\r\n\r\n" * (parse.MAX_INTERIM + 1) + OK + b"content-length: 0\r\n\r\n",
    "interim-bytes": (b"HTTP/1.1 102 P\r\nx: " + b"a" * 8000 + b"\r\n\r\n") * 9 + OK + b"content-length: 0\r\n\r\n",
    "chunk-size": CHUNKED + b"0" * (3 * parse.MAX_FRAMING_BYTES),
    "chunk-extension": CHUNKED + b"2;" + b"a" * (3 * parse.MAX_FRAMING_BYTES) + b"\r\nok\r\n",
    "trailer-name": CHUNKED + b"0\r\n" + b"a" * (3 * parse.MAX_FRAMING_BYTES),
    "trailer-value": CHUNKED + b"0\r\nx: " + b"a" * (3 * parse.MAX_FRAMING_BYTES),
    "trailers": CHUNKED + b"0\r\n" + b"x: y\r\n" * (parse.MAX_HEADERS + 2),
}


@pytest.mark.parametrize("step", [1, 1000, 65536, 1 << 30])
@pytest.mark.parametrize("name", OVER)
def test_whatever_never_ends_is_refused_at_its_bound(name, step):
    data = OVER[name]
    assert fed(*cut(data, list(range(step, len(data), step)))).refused


def test_a_head_of_just_the_allowed_size_is_read():
    fields = b"".join(b"x-%d: %b\r\n" % (n, b"a" * 16_000) for n in range(4))
    end = b"content-length: 2\r\n\r\n"
    filling = b"y: " + b"a" * (parse.MAX_HEAD_BYTES - len(OK + fields + end) - 5) + b"\r\n"
    head = OK + fields + filling + end
    assert len(head) == parse.MAX_HEAD_BYTES
    assert fed(head + b"ok").body == b"ok"
    assert fed(head.replace(b"y: ", b"y: a") + b"ok").refused


def test_a_long_stream_of_small_chunks_with_extensions_is_read():
    parser = ResponseParser()
    parser.feed(CHUNKED)
    for _ in range(5_000):
        parser.feed(b"1;signature=%b\r\nx\r\n" % (b"f" * 64) * 4)
        assert parser.pieces == [b"x"] * 4
        parser.pieces.clear()


@pytest.mark.parametrize("surplus", [b"x", b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil", b"H"])
@pytest.mark.parametrize("name", ["length", "chunked", "close", "no-content", "not-modified"])
def test_bytes_after_the_end_do_not_change_the_answer_but_end_the_connection(name, surplus):
    clean, followed = fed(ANSWERS[name]), fed(ANSWERS[name] + surplus)
    assert followed.complete
    assert not followed.keep_alive
    assert (followed.status, followed.headers, followed.body) == (clean.status, clean.headers, clean.body)


@given(st.lists(st.sampled_from([name for name in ANSWERS if fed(ANSWERS[name]).keep_alive]), min_size=1, max_size=6))
def test_one_parser_reads_one_answer_after_the_other_as_a_new_one_would(names):
    parser = ResponseParser()
    for name in names:
        parser.begin()
        assert fed(ANSWERS[name], parser=parser) == fed(ANSWERS[name])


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 200), max_size=8))
def test_cut_anywhere_an_answer_stays_the_same(name, cuts):
    data = ANSWERS[name]
    assert fed(*cut(data, [min(edge, len(data)) for edge in cuts])) == fed(data)


FRAGMENTS = [
    *(
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"200 OK",
        b"100 Continue",
        b"204 ",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"0\r\n\r\n",
    ),
    *(
        b"content-length: ",
        b"transfer-encoding: chunked",
        b"connection: close",
        b"2",
        b"ok",
        b"a: b",
        b";",
        b"\0",
        b" ",
    ),
]


@given(
    st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=8)), max_size=30).map(b"".join),
    st.lists(st.integers(0, 300), max_size=6),
)
@example(OK, [])
def test_whatever_comes_is_read_or_refused_and_no_cut_changes_which(data, cuts):
    data = data or b"H"
    whole = fed(data)
    parts = fed(*cut(data, [min(edge, len(data)) for edge in cuts]))
    # Bytes after the end are seen only if they come with it.
    assert (parts.status, parts.headers, parts.body, parts.complete) == (
        whole.status,
        whole.headers,
        whole.body,
        whole.complete,
    )
    assert parts.refused == whole.refused
