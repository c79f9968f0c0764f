"""HTTP/1.1 over a bare socket, for what no HTTP client would send or show."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


class IncompleteError(Exception):
    """The connection ended before the answer did; ``received`` is what there was of its body."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"cut short after {len(received)} bytes")
        self.received = received


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer read to the end that its framing gives."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of OpenAI's shape; asserts the shape."""
        assert self.headers["content-type"].startswith("application/json"), self
        found = self.json["error"]
        assert set(found) == {"message", "type", "param", "code"}, self
        assert found["message"].endswith((".", ")")), found
        return dict(found)


class Raw:
    """A connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""

    def send(self, data: bytes | str) -> Raw:
        """Send ``data`` as it is."""
        self.sock.sendall(data.encode() if isinstance(data, str) else data)
        return self

    def get(self, path: str, *headers: str) -> Raw:
        """Send a GET."""
        return self.request("GET", path, None, *headers)

    def request(self, method: str, path: str, body: object = None, *headers: str) -> Raw:
        """Send a request; ``body`` bytes as they are, else as JSON."""
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: test", *headers]
        if sent is not None:
            lines.append(f"Content-Length: {len(sent)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + (sent or b""))

    def answer(self, *, head_only: bool = False) -> RawAnswer:
        """Read one answer.

        Raises:
            IncompleteError: The connection ended first.
        """
        while b"\r\n\r\n" not in self._buffer:
            self._more(b"")
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        status = int(status_line.split()[1])
        if head_only or status in (100, 204, 304):
            return RawAnswer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return RawAnswer(status, headers, b"".join(self.chunks()))
        length = int(headers["content-length"])
        while len(self._buffer) < length:
            self._more(self._buffer)
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return RawAnswer(status, headers, body)

    def chunks(self) -> Iterator[bytes]:
        """The chunks of a body, as they come.

        Raises:
            IncompleteError: There was no last chunk.
        """
        received = b""
        while True:
            while b"\r\n" not in self._buffer:
                self._more(received)
            size, _, self._buffer = self._buffer.partition(b"\r\n")
            while len(self._buffer) < int(size, 16) + 2:
                self._more(received)
            chunk, self._buffer = self._buffer[: int(size, 16)], self._buffer[int(size, 16) + 2 :]
            if not chunk:
                return
            received += chunk
            yield chunk

    def closed_within(self, seconds: float) -> bool:
        """Whether the server closes the connection, sending nothing more."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65_536)
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            if not data:
                return not self._buffer
            self._buffer += data
        return False

    def _more(self, received: bytes) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise IncompleteError(received)
        self._buffer += data


@contextmanager
def connect(port: int, *, timeout_seconds: float = 10) -> Iterator[Raw]:
    """Connect to 127.0.0.1."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as sock:
        yield Raw(sock)
