"""AWS's event stream: whole messages out, however the bytes are cut; what is damaged is refused."""

import base64
import contextlib
import json
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_gateway import aws
from trunkline_gateway.errors import UpstreamProtocolError

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "corpus" / "dev"

EVENT = {":event-type": "contentBlockDelta", ":content-type": "application/json", ":message-type": "event"}
MESSAGES = [
    (EVENT, b'{"delta":{"text":"a"}}'),
    ({**EVENT, ":event-type": "messageStop"}, b'{"stopReason":"end_turn"}'),
    ({}, b""),
    ({":message-type": "exception", ":exception-type": "throttlingException"}, b'{"message":"slow"}'),
    (EVENT, b"x" * 3000),
]
STREAM = b"".join(aws.encode(headers, payload) for headers, payload in MESSAGES)


def frame(headers: bytes, payload: bytes = b"") -> bytes:
    """A message with headers of any kind."""
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def read(data: bytes) -> aws.EventStreamMessage:
    (message,) = aws.EventStreamSplitter().receive_data(data)
    return message


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_a_stream_gives_the_same_messages_however_it_is_cut(cuts: list[int]) -> None:
    splitter = aws.EventStreamSplitter()
    found = [
        message
        for start, end in pairwise([0, *cuts, len(STREAM)])
        for message in splitter.receive_data(STREAM[start:end])
    ]
    assert [message.data for message in found] == [payload for _, payload in MESSAGES]
    assert b"".join(message.raw for message in found) == STREAM


def test_a_stream_in_single_bytes() -> None:
    splitter = aws.EventStreamSplitter()
    found = [message for byte in STREAM for message in splitter.receive_data(bytes([byte]))]
    assert [message.name for message in found] == [
        b"contentBlockDelta",
        b"messageStop",
        b"",
        b"throttlingException",
        b"contentBlockDelta",
    ]


@pytest.mark.parametrize(
    ("headers", "name", "failed", "data"),
    [
        ({":message-type": "event", ":event-type": "metadata"}, b"metadata", False, b"{}"),
        ({":event-type": "metadata"}, b"metadata", False, b"{}"),
        ({":message-type": "exception", ":exception-type": "validationException"}, b"validationException", True, b"{}"),
        ({":message-type": "error", ":error-code": "Internal", ":error-message": "no"}, b"Internal", True, b"{}"),
        ({":message-type": "exception"}, b"", True, b"{}"),
    ],
)
def test_what_a_message_is_stands_in_its_headers(headers, name, failed, data) -> None:
    message = read(aws.encode(headers, data))
    assert (message.name, message.failed, message.data) == (name, failed, data)


def test_an_error_without_a_payload_has_its_message_as_one() -> None:
    message = read(aws.encode({":message-type": "error", ":error-code": "500", ":error-message": 'It "broke"'}, b""))
    assert json.loads(message.data) == {"message": 'It "broke"'}


def test_headers_of_every_type() -> None:
    written = b"".join(
        [
            b"\x01a\x00",
            b"\x01b\x01",
            b"\x01c\x02\xff",
            b"\x01d\x03\x00\x02",
            b"\x01e\x04\x00\x00\x00\x03",
            b"\x01f\x05" + struct.pack(">q", -4),
            b"\x01g\x06\x00\x02\x00\xff",
            b"\x01h\x07\x00\x02hi",
            b"\x01i\x08" + struct.pack(">q", 1_700_000_000_000),
            b"\x01j\x09" + bytes(range(16)),
        ]
    )
    assert read(frame(written)).headers == {
        b"a": True,
        b"b": False,
        b"c": -1,
        b"d": 2,
        b"e": 3,
        b"f": -4,
        b"g": b"\x00\xff",
        b"h": b"hi",
        b"i": 1_700_000_000_000,
        b"j": bytes(range(16)),
    }


@pytest.mark.parametrize(
    "written",
    [b"\x01", b"\x05ab", b"\x01a", b"\x01a\x0a", b"\x01a\x07\x00\x09hi", b"\x01a\x04\x00", b"\x01a\x09\x00"],
)
def test_headers_that_cannot_be_read_are_refused(written: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="header"):
        read(frame(written))


@pytest.mark.parametrize("at", range(0, len(aws.encode(*MESSAGES[0])), 3))
def test_a_message_with_a_flipped_bit_is_refused(at: int) -> None:
    data = bytearray(aws.encode(*MESSAGES[0]))
    data[at] ^= 1
    with pytest.raises(UpstreamProtocolError):
        aws.EventStreamSplitter().receive_data(bytes(data))


@pytest.mark.parametrize(("length", "header_length"), [(0, 0), (15, 0), (16, 1), (1 << 20, 1 << 19), (0xFFFFFFFF, 0)])
def test_lengths_that_cannot_be_are_refused_before_anything_is_waited_for(length: int, header_length: int) -> None:
    lengths = struct.pack(">II", length, header_length)
    with pytest.raises(UpstreamProtocolError):
        aws.EventStreamSplitter().receive_data(lengths + struct.pack(">I", zlib.crc32(lengths)))


def test_a_message_that_is_too_long_is_refused_at_its_first_bytes() -> None:
    splitter = aws.EventStreamSplitter(max_event_bytes=100)
    assert len(splitter.receive_data(aws.encode({}, b"x" * 84))) == 1
    with pytest.raises(UpstreamProtocolError, match="over 100 bytes"):
        splitter.receive_data(aws.encode({}, b"x" * 85)[:12])


def test_half_a_message_at_the_end_is_dropped() -> None:
    splitter = aws.EventStreamSplitter()
    assert splitter.receive_data(STREAM[:-1])
    splitter.receive_eof()
    assert next(message.name for message in splitter.receive_data(STREAM)) == b"contentBlockDelta"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=300))
def test_any_bytes_are_messages_or_refused(data: bytes) -> None:
    splitter = aws.EventStreamSplitter()
    try:
        splitter.receive_data(data)
        splitter.receive_data(data)
    except UpstreamProtocolError:
        pass


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60))
def test_any_headers_are_read_or_refused(written: bytes) -> None:
    with contextlib.suppress(UpstreamProtocolError):
        read(frame(written))


def recordings() -> list[Path]:
    return sorted(CORPUS.glob("bedrock.*_stream.*.json"))


@pytest.mark.skipif(not recordings(), reason="the recordings are not here")
def test_recorded_streams() -> None:
    seen = 0
    for path in recordings():
        response = json.loads(path.read_text())["response"]
        if "eventstream_b64" not in response:
            continue
        seen += 1
        data = base64.b64decode(response["eventstream_b64"])
        messages = aws.EventStreamSplitter().receive_data(data)
        assert b"".join(message.raw for message in messages) == data
        for message, expected in zip(messages, response["eventstream"], strict=True):
            assert {name.decode(): value.decode() for name, value in message.headers.items()} == expected["headers"]
            if isinstance(expected["payload"], dict):
                assert json.loads(message.data) == expected["payload"]
    assert seen > 20
