"""Answers as bytes in, head, body and end out: no socket, no clock. RFC 9112.

llhttp in its strict mode does the grammar. What it lets pass and a gateway must not is refused here: any coding but
``chunked``, codings in HTTP/1.0, versions other than 1.0 and 1.1, statuses under 100, and anything without a bound.
"""

from typing import Final

import httptools

from trunkline_gateway.http import Headers

MAX_HEAD_BYTES: Final = 64 * 1024
"""Interim answers and the head together."""

MAX_HEADERS: Final = 200
MAX_FIELD_BYTES: Final = 32 * 1024
MAX_INTERIM: Final = 16
MAX_FRAMING_BYTES: Final = 64 * 1024
"""Chunk sizes and extensions between two pieces of a body; all of its trailers. What came with the head is free."""

_FRAMING_PER_PIECE_BYTES = 256
_SWITCHING_PROTOCOLS = 101
_WITHOUT_BODY = frozenset({204, 304})


class FramingError(Exception):
    """The bytes are not the answer that they should be. The text is for people and repeats none of them.

    Attributes:
        switching: The upstream wants to speak another protocol.
    """

    def __init__(self, message: str, *, switching: bool = False) -> None:
        super().__init__(message)
        self.switching = switching


class ResponseParser:
    """Reads the answers that come on one connection, one at a time; of no use after a `FramingError`.

    Attributes:
        status: Of the final answer; 0 until its head is complete.
        headers: Names in lower case. A new list for each answer.
        pieces: Of the body, as they came; whoever takes them empties the list.
        complete: The framing said that the answer ends here.
        until_eof: Only the end of the connection ends it.
        keep_alive: Once complete: another request may follow, and nothing came after the end.
    """

    __slots__ = (
        "_chunked",
        "_framing_bytes",
        "_head_left",
        "_interim",
        "_is_1_1",
        "_parser",
        "_trailers",
        "complete",
        "headers",
        "keep_alive",
        "on_body",
        "pieces",
        "status",
        "until_eof",
    )

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.on_body = self.pieces.append  # called by the parser without a frame of ours between
        self.begin()
        self._parser = httptools.HttpResponseParser(self)

    def begin(self) -> None:
        """Expect the answer to another request."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.until_eof = False
        self.keep_alive = False
        self._head_left = MAX_HEAD_BYTES
        self._interim = 0
        self._is_1_1 = False
        self._chunked = False
        self._framing_bytes = 0
        self._trailers = 0

    @property
    def received(self) -> bool:
        """Whether any byte of the answer has come."""
        return self._head_left != MAX_HEAD_BYTES

    def feed(self, data: bytes) -> None:
        """Take what the socket gave, at least a byte; ``pieces`` hold what was good of it even if this raises.

        Raises:
            FramingError: Not valid, or over a bound.
        """
        if not self.status:
            left = self._head_left
            if left == MAX_HEAD_BYTES:
                self._is_1_1 = data.startswith(b"HTTP/1.1 ")
                if not self._is_1_1 and not data.startswith(b"H"):  # llhttp would also take RTSP, and empty lines
                    raise FramingError("not HTTP")
            if len(data) < left:
                self._head_left = left - len(data)
            else:
                data = self._fill_head(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as broken:
            self._judge(broken)
        if self._chunked and not self.complete:
            self._bound_framing(len(data))

    def _fill_head(self, data: bytes) -> bytes:
        """Parse as much as a head may still have; returns the rest, if it was one."""
        left, self._head_left = self._head_left, 0
        try:
            self._parser.feed_data(data[:left])
        except httptools.HttpParserError as broken:
            self._judge(broken)
        if not self.status:
            raise FramingError("the head is too long")
        return data[left:]

    def _judge(self, broken: httptools.HttpParserError) -> None:
        if self.complete:
            self.keep_alive = False  # something follows that nobody asked for
            return
        own = broken.__context__
        if isinstance(own, FramingError):
            raise own from None
        raise FramingError("malformed") from broken

    def _bound_framing(self, came_bytes: int) -> None:
        pieces = self.pieces
        framing = self._framing_bytes + came_bytes
        for piece in pieces:
            framing -= len(piece) + _FRAMING_PER_PIECE_BYTES
        if framing > MAX_FRAMING_BYTES:
            raise FramingError("the framing of the body is too long")
        self._framing_bytes = max(framing, 0)

    # What follows is called by httptools.

    def on_message_begin(self) -> None:
        """Called before each answer, interim ones included."""
        if self.complete:
            raise FramingError("bytes after the end")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or drop a trailer."""
        if self.status:
            self._trailers += 1
            if self._trailers > MAX_HEADERS or len(name) + len(value) > MAX_FIELD_BYTES:
                raise FramingError("too many trailers")
            return
        # Of the white space after a value, only blanks are left to us to cut.
        self.headers.append((name.lower(), value.rstrip(b" ")))

    def on_headers_complete(self) -> None:
        """Decide what the grammar leaves open, and how the body ends."""
        status = self._parser.get_status_code()
        version = "1.1" if self._is_1_1 else self._parser.get_http_version()
        headers = self.headers
        if status == _SWITCHING_PROTOCOLS:
            raise FramingError("switching protocols", switching=True)
        if status < 100 or (version != "1.1" and version != "1.0"):
            raise FramingError("not HTTP/1")
        if len(headers) > MAX_HEADERS:
            raise FramingError("too many headers")
        if MAX_HEAD_BYTES - self._head_left > MAX_FIELD_BYTES:
            for name, value in headers:
                if len(name) + len(value) > MAX_FIELD_BYTES:
                    raise FramingError("a header is too long")
        if status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM:
                raise FramingError("too many interim answers")
            return
        fields = dict(headers)
        coding = fields.get(b"transfer-encoding")
        if coding is not None:
            # What llhttp takes for chunked is a subset of this, or the answer would run to the end of the connection.
            if coding.lower() != b"chunked" or version == "1.0" or _count(headers, b"transfer-encoding") != 1:
                raise FramingError("an unknown transfer coding")
            self._chunked = True
        elif b"content-length" not in fields and status not in _WITHOUT_BODY:
            self.until_eof = True
        self.status = status

    def on_message_complete(self) -> None:
        """Called after each answer, interim ones included."""
        if not self.status:  # that was an interim answer
            self.headers = []
            self._is_1_1 = False
            return
        self.complete = True
        self.keep_alive = self._parser.should_keep_alive()


def _count(headers: Headers, name: bytes) -> int:
    return sum(1 for key, _ in headers if key == name)
