"""What of a stream's form depends on the query that it was asked for with.

https://cloud.google.com/apis/docs/system-parameters: ``alt=sse`` is server-sent events; without it a stream is a JSON
array. ``$alt=json;enum-encoding=int`` asks for numbers in place of an enum's names; proto JSON has every client read
names, too, so they are what it gets.
"""

from collections.abc import Callable
from typing import Final

from trunkline_gateway.dialect import Fields
from trunkline_gateway.dialects.gemini_generate import errors
from trunkline_gateway.dialects.gemini_generate.decode_request import is_array
from trunkline_gateway.errors import GatewayError

KEEP_ALIVE: Final = b"\n\n"
"""An empty line: google-genai for Python takes a comment for JSON and fails."""

STREAM_TYPE: Final = b"text/event-stream"
_ARRAY_TYPE: Final = b"application/json; charset=UTF-8"


def is_passable(_fields: Fields, query: bytes, stream: bool) -> bool:
    """Whether a request can be passed on as it is: an upstream is always asked for events."""
    return not (stream and is_array(query))


def stream_type_of(query: bytes) -> bytes:
    """``content-type`` of a stream."""
    return _ARRAY_TYPE if is_array(query) else STREAM_TYPE


def keep_alive_of(query: bytes) -> bytes:
    """What may be sent while nothing is said. Nothing in an array: google-generativeai wants its ``[`` first."""
    return b"" if is_array(query) else KEEP_ALIVE


def error_event_of(query: bytes) -> Callable[[GatewayError, bool], bytes]:
    """How a stream that fails is ended."""
    return errors.array_event if is_array(query) else errors.event
