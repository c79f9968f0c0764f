"""The framing of AWS event streams, for answers whose bytes were not recorded.

https://docs.aws.amazon.com/transcribe/latest/dg/streaming-setting-up.html — a message is a 12-byte prelude (total
length, length of the headers, CRC-32 of those eight bytes), headers, payload, and the CRC-32 of all before it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7  # the type byte of a header whose value is a string


def encode_message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Frame one message. Every header is written as a string, as Bedrock's are."""
    encoded = bytearray()
    for name, value in headers.items():
        name_bytes, value_bytes = name.encode("ascii"), value.encode("utf-8")
        encoded += struct.pack("!B", len(name_bytes)) + name_bytes
        encoded += struct.pack("!BH", _STRING, len(value_bytes)) + value_bytes
    prelude = struct.pack("!II", 12 + len(encoded) + len(payload) + 4, len(encoded))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + bytes(encoded) + payload
    return message + struct.pack("!I", zlib.crc32(message))


def encode_event(event_type: str, payload: bytes) -> bytes:
    """Frame one event of Bedrock's ConverseStream or InvokeModelWithResponseStream; ``payload`` is JSON."""
    headers = {":event-type": event_type, ":content-type": "application/json", ":message-type": "event"}
    return encode_message(headers, payload)
