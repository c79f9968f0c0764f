"""Flow control that notices when the client does not read, or has left, where the transport cannot tell.

A socket that nobody reads from shows no end of the connection, and one whose client reads nothing shows nothing at all.
So while either side is paused, the connection is looked at now and then; while none is, there is no timer.
"""

import asyncio
import contextlib
import fcntl
import socket
import struct
import sys
import termios
from collections.abc import Callable
from typing import Final

from uvicorn.protocols.http.flow_control import FlowControl

from trunkline_gateway.timers import Timer, Timers

_LOOK_SECONDS: Final = 0.5

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_LEFT: Final = frozenset({7, 8, 9, 11})
"""The states of Linux's TCP (net/tcp_states.h) after the peer's end: CLOSE, CLOSE_WAIT, LAST_ACK, CLOSING."""


class Flow(FlowControl):
    """uvicorn's, with an eye on the client.

    Args:
        stall_seconds: How long a client may take nothing of what is written while writing is paused; then the
            connection is reset. Noticed up to half a second late.
        answering: Whether a request is being answered.
        left: Called when the client has left although reading is paused, while a request is being answered. Linux only,
            and only if the system has room for all that came before the end.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        timers: Timers,
        *,
        stall_seconds: float,
        answering: Callable[[], bool],
        left: Callable[[], None],
    ) -> None:
        super().__init__(transport)
        self._timers = timers
        self._stall_seconds = stall_seconds
        self._answering = answering
        self._left = left
        self._timer: Timer | None = None
        self._moved_at = 0.0  # when something of what is written was last seen to go
        self._unsent = -1  # at the last look; -1: there was none since writing was paused

    def pause_reading(self) -> None:
        """Stop, and begin to look."""
        super().pause_reading()
        if self._timer is None:
            self._arm()

    def pause_writing(self) -> None:
        """From the transport: more than enough waits to be sent."""
        super().pause_writing()
        self._moved_at = self._timers.time()
        self._unsent = -1
        if self._timer is None:
            self._arm()

    def hurry(self, stall_seconds: float) -> None:
        """Allow less time than before."""
        self._stall_seconds = min(self._stall_seconds, stall_seconds)

    def close(self) -> None:
        """Look no more, and let go of the connection."""
        self._answering, self._left = bool, _nothing
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._timer = self._timers.after(min(_LOOK_SECONDS, self._stall_seconds / 2), self._look)

    def _look(self) -> None:
        self._timer = None
        if self._transport.is_closing() or not (self.read_paused or self.write_paused):
            return
        if self.write_paused and self._has_stalled():
            reset(self._transport)  # else the system would keep what is unsent, and go on trying
        elif self.read_paused and self._answering() and _has_left(self._transport):
            self._left()
        else:
            self._arm()

    def _has_stalled(self) -> bool:
        before, unsent, now = self._unsent, _unsent(self._transport), self._timers.time()
        self._unsent = unsent
        if unsent < before:
            self._moved_at = now
        return now - self._moved_at >= self._stall_seconds


def reset(transport: asyncio.Transport) -> None:
    """Close at once: what is not sent is dropped, and the peer is told that this is no end."""
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def _unsent(transport: asyncio.Transport) -> int:
    """How many bytes the client has not taken: the system holds megabytes of them that the transport is rid of."""
    waiting = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return waiting
    try:
        (held,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except OSError:
        return waiting
    return waiting + int(held)


def cork(transport: asyncio.Transport) -> None:
    """Send what is written next together with the end of the connection.

    A client that has the end of an answer before it has that of the connection may use the connection again.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sys.platform == "linux":
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)


def has_unread(transport: asyncio.Transport) -> bool:
    """Whether something has arrived that the loop has not read yet. Closing on it would reset the connection."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return False
    try:
        (arrived,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))
    except OSError:
        return False
    return int(arrived) > 0


def _has_left(transport: asyncio.Transport) -> bool:
    sock = transport.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return False
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT
    except OSError:
        return False


def _nothing() -> None:
    pass
