"""Server-sent events: bytes in, whole events out, each with its own bytes untouched.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import re
from typing import Final

from trunkline_gateway.errors import UpstreamProtocolError

MAX_EVENT_BYTES: Final = 8 << 20

KEEP_ALIVE: Final = b": keep-alive\n\n"
"""A comment: every client skips it."""

# The end of a line and an empty line. A lone CR that is the last byte may be half of a CRLF, so it waits for more.
_EVENT_END: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
_LONGEST_END: Final = 4
# After these there is an end, whatever stands before: the last of the line ends ends an empty line.
_SURE_ENDS: Final = (b"\n\n", b"\r\n\r\n")
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_BOM: Final = b"\xef\xbb\xbf"


class ServerSentEvent:
    """One event, comment or empty line of a stream; its fields are read when they are asked for.

    Attributes:
        raw: Its bytes with the empty line that ends it; all ``raw`` together are the stream.
    """

    __slots__ = ("_data", "_name", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self._data: bytes | None = None
        self._name = b""

    def __repr__(self) -> str:
        return f"ServerSentEvent({self.raw!r})"

    @property
    def data(self) -> bytes:
        """Its ``data:`` lines, joined by line feeds; empty for a comment."""
        return self._read() if self._data is None else self._data

    @property
    def name(self) -> bytes:
        """Its ``event:`` line; empty where it has none."""
        if self._data is None:
            self._read()
        return self._name

    def _read(self) -> bytes:
        raw = self.raw
        if raw.startswith(b"data: ") and raw.find(b"\n") == len(raw) - 2 and raw.endswith(b"\n\n") and b"\r" not in raw:
            self._data = raw[6:-2]
            return self._data
        if (
            raw.startswith(b"data: ")
            and raw.endswith(b"\r\n\r\n")
            and raw.find(b"\r") == len(raw) - 4
            and raw.find(b"\n") == len(raw) - 3
        ):
            self._data = raw[6:-4]
            return self._data
        lines: list[bytes] = []
        for line in _LINE_END.split(self.raw.removeprefix(_BOM)):
            field, _, value = line.partition(b":")
            if field == b"data":
                lines.append(value.removeprefix(b" "))
            elif field == b"event":
                self._name = value.removeprefix(b" ")
        self._data = b"\n".join(lines)
        return self._data


class EventSplitter:
    """Bytes in, whole events out, the same ones however the bytes are cut. One per response; holds no socket."""

    __slots__ = ("_buffer", "_max_event_bytes", "_only_line_feeds", "_searched")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        """Begin a stream; an unfinished event may hold ``max_event_bytes``."""
        self._max_event_bytes = max_event_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._only_line_feeds = True

    def receive_data(self, data: bytes) -> list[ServerSentEvent]:
        """Take any slice of the stream, even half a character, and give the events that it completes.

        Raises:
            UpstreamProtocolError: An event is longer than it may be.
        """
        return self.split(self.take(data))

    def take(self, data: bytes) -> bytes:
        """Take any slice of the stream and give the events that it completes in one piece, unread.

        Where it ends with an event and nothing was left of the last one, that is ``data`` itself.

        Raises:
            UpstreamProtocolError: An unfinished event is longer than it may be.
        """
        buffer = self._buffer
        if b"\r" in data:
            self._only_line_feeds = False
        if not buffer and data.endswith(_SURE_ENDS):
            return data
        before = len(buffer)
        buffer += data
        end = self._end_of_last_event(before)
        if end:
            block = bytes(buffer[:end])
            del buffer[:end]
        else:
            block = b""
        # What was searched is not searched again, so that an event in many small pieces takes linear time.
        self._searched = max(len(buffer) - _LONGEST_END + 1, 0)
        self._check_size(len(buffer))
        return block

    def split(self, block: bytes) -> list[ServerSentEvent]:
        """The events of a piece that `take` gave.

        Raises:
            UpstreamProtocolError: An event is longer than it may be.
        """
        if 0 < block.find(b"\n\n") == len(block) - 2 and b"\r" not in block and not block.startswith(b"\n"):
            self._check_size(len(block))  # the usual case: it is one
            return [ServerSentEvent(block)]
        events: list[ServerSentEvent] = []
        start = 0
        while start < len(block):
            end = _end_of_event(block, start, start)
            if end < 0:  # a lone CR at the end: `take` has seen what follows it
                end = len(block)
            self._check_size(end - start)
            events.append(ServerSentEvent(block[start:end]))
            start = end
        return events

    def receive_eof(self) -> ServerSentEvent | None:
        """Give what stands after the last whole event; by the letter of the standard it is to be ignored."""
        rest, self._buffer, self._searched = bytes(self._buffer), bytearray(), 0
        return ServerSentEvent(rest) if rest else None

    def _end_of_last_event(self, before: int) -> int:
        """Where the last whole event of the buffer ends; its first ``before`` bytes hold no end."""
        buffer = self._buffer
        if self._only_line_feeds:
            end = buffer.rfind(b"\n\n", max(before - 1, 0)) + 2
            return end if end > 1 else int(buffer.startswith(b"\n"))
        start, search_from = 0, self._searched
        while (end := _end_of_event(buffer, start, max(search_from, start))) >= 0:
            start = end
        return start

    def _check_size(self, size: int) -> None:
        if size > self._max_event_bytes:
            raise UpstreamProtocolError(f"An event of the upstream's answer is over {self._max_event_bytes} bytes.")


def _end_of_event(buffer: bytes | bytearray, start: int, search_from: int) -> int:
    """Where the event that begins at ``start`` ends; -1: not yet known. An empty line is an event of its own."""
    first = buffer[start : start + 1]
    if first == b"\n":
        return start + 1
    if first == b"\r":
        following = buffer[start + 1 : start + 2]
        if following:
            return start + 2 if following == b"\n" else start + 1
        return -1
    end = _EVENT_END.search(buffer, search_from)
    return end.end() if end else -1
