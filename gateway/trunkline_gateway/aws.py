"""AWS's event stream: bytes in, whole messages out. What `sse` is for server-sent events.

https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html shows the frame, Smithy gives it in full:
https://smithy.io/2.0/aws/amazon-eventstream.html

    4 bytes  length of all of it    4 bytes  length of the headers    4 bytes  CRC-32 of these eight
    headers    payload    4 bytes  CRC-32 of all that stands before
"""

import struct
import zlib
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from trunkline_gateway.errors import UpstreamProtocolError
from trunkline_gateway.sse import MAX_EVENT_BYTES

HeaderValue: TypeAlias = bytes | int | bool
"""Text and UUIDs as their bytes, timestamps in milliseconds."""

MAX_HEADER_BYTES: Final = 128 * 1024

_PRELUDE: Final = struct.Struct(">III")
_CRC: Final = struct.Struct(">I")
_LEAST: Final = _PRELUDE.size + _CRC.size
_MAX_HEADS: Final = 64  # a stream has a dozen kinds of messages, whose headers are the same each time

_LENGTH: Final = struct.Struct(">H")
# https://smithy.io/2.0/aws/amazon-eventstream.html#header-value-types: what has a length before it, and the numbers.
_WITH_LENGTH: Final = frozenset({6, 7})
_NUMBERS: Final[Mapping[int, struct.Struct]] = {
    2: struct.Struct(">b"),
    3: struct.Struct(">h"),
    4: struct.Struct(">i"),
    5: struct.Struct(">q"),
    8: struct.Struct(">q"),
}
_UUID: Final = 9
_UUID_BYTES: Final = 16
_BOOLEANS: Final[Mapping[int, bool]] = {0: True, 1: False}

_encoder: Final = msgspec.json.Encoder()


class _Head(NamedTuple):
    """What the headers of a message say."""

    name: bytes
    failed: bool
    headers: Mapping[bytes, HeaderValue]


class EventStreamMessage:
    """One message of a stream, checked.

    Attributes:
        raw: Its bytes; all ``raw`` together are the stream.
        name: ``:event-type``; of what failed ``:exception-type`` or ``:error-code``.
        data: Its payload. An error without one has its ``:error-message`` there, as other failures have theirs.
        failed: It tells that the upstream failed (``:message-type`` is ``exception`` or ``error``).
        headers: All of them.
    """

    __slots__ = ("data", "failed", "headers", "name", "raw")

    def __init__(self, raw: bytes, head: _Head, data: bytes) -> None:
        self.raw = raw
        self.name = head.name
        self.failed = head.failed
        self.headers = head.headers
        self.data = data
        if head.failed and not data and isinstance(said := head.headers.get(b":error-message"), bytes):
            self.data = _encoder.encode({"message": said.decode("utf-8", "replace")})

    def __repr__(self) -> str:
        return f"EventStreamMessage({self.name!r}, {self.data!r})"


class EventStreamSplitter:
    """Bytes in, whole messages out, the same ones however the bytes are cut. One per response; holds no socket."""

    __slots__ = ("_buffer", "_due", "_heads", "_max_event_bytes")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Begin a stream; a message may be ``max_event_bytes`` long."""
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._due = _PRELUDE.size  # so many bytes the buffer must hold before there is something to be done
        self._heads: dict[bytes, _Head] = {}

    def receive_data(self, data: bytes) -> list[EventStreamMessage]:
        """Take any slice of the stream and give the messages that it completes.

        Raises:
            UpstreamProtocolError: It is no event stream, a sum does not match, or a message is longer than it may be.
        """
        buffer = self._buffer
        buffer += data
        if len(buffer) < self._due:
            return []
        block = bytes(buffer)
        messages: list[EventStreamMessage] = []
        start, end = 0, len(block)
        while True:
            if end - start < _PRELUDE.size:
                self._due = _PRELUDE.size
                break
            length, header_length = self._prelude(block, start)
            if end - start < length:
                self._due = length
                break
            messages.append(self._message(block[start : start + length], header_length))
            start += length
        del buffer[:start]
        return messages

    def receive_eof(self) -> None:
        """The end has come; what stands after the last whole message is of no use."""
        self._buffer.clear()
        self._due = _PRELUDE.size

    def _prelude(self, block: bytes, start: int) -> tuple[int, int]:
        length, header_length, crc = _PRELUDE.unpack_from(block, start)
        if zlib.crc32(block[start : start + 8]) != crc:
            raise UpstreamProtocolError("The upstream's answer is not an event stream: the sum of a prelude is wrong.")
        if header_length > MAX_HEADER_BYTES or length < _LEAST + header_length:
            raise UpstreamProtocolError("A message of the upstream's event stream has impossible lengths.")
        if length > self._max_event_bytes:
            raise UpstreamProtocolError(f"An event of the upstream's answer is over {self._max_event_bytes} bytes.")
        return length, header_length

    def _message(self, raw: bytes, header_length: int) -> EventStreamMessage:
        body = raw[: -_CRC.size]
        if zlib.crc32(body) != _CRC.unpack_from(raw, len(body))[0]:
            raise UpstreamProtocolError("The sum of a message of the upstream's event stream is wrong.")
        payload_at = _PRELUDE.size + header_length
        written = body[_PRELUDE.size : payload_at]
        head = self._heads.get(written)
        if head is None:
            head = _read_head(written)
            if len(self._heads) < _MAX_HEADS:
                self._heads[written] = head
        return EventStreamMessage(raw, head, body[payload_at:])


def encode(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Write a message whose headers are text."""
    written = b"".join(
        bytes([len(name)]) + name + b"\x07" + _LENGTH.pack(len(value)) + value
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    lengths = struct.pack(">II", _LEAST + len(written) + len(payload), len(written))
    body = lengths + _CRC.pack(zlib.crc32(lengths)) + written + payload
    return body + _CRC.pack(zlib.crc32(body))


def _read_head(written: bytes) -> _Head:
    headers = _read_headers(written)
    kind = headers.get(b":message-type", b"event")
    for name in (b":event-type",) if kind == b"event" else (b":exception-type", b":error-code", b":event-type"):
        value = headers.get(name)
        if isinstance(value, bytes):
            return _Head(value, kind != b"event", headers)
    return _Head(b"", kind != b"event", headers)


def _read_headers(written: bytes) -> Mapping[bytes, HeaderValue]:
    headers: dict[bytes, HeaderValue] = {}
    at = 0
    try:
        while at < len(written):
            name_end = at + 1 + written[at]
            name, kind = written[at + 1 : name_end], written[name_end]
            value, at = _read_value(written, name_end + 1, kind)
            headers[name] = value
    except (IndexError, struct.error) as failure:
        raise UpstreamProtocolError("A header of the upstream's event stream cannot be read.") from failure
    return headers


def _read_value(written: bytes, at: int, kind: int) -> tuple[HeaderValue, int]:
    """A value of ``kind`` at ``at``, and where the next header begins."""
    if kind in _BOOLEANS:
        return _BOOLEANS[kind], at
    if (number := _NUMBERS.get(kind)) is not None:
        value: int = number.unpack_from(written, at)[0]
        return value, at + number.size
    if kind in _WITH_LENGTH:
        end = at + _LENGTH.size + _LENGTH.unpack_from(written, at)[0]
        at += _LENGTH.size
    elif kind == _UUID:
        end = at + _UUID_BYTES
    else:
        raise IndexError(kind)
    if end > len(written):
        raise IndexError(end)
    return written[at:end], end
