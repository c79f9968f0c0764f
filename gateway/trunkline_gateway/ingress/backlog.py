"""Closing a port without losing whoever has got a connection.

Closing a listening socket resets the connections that wait to be accepted, and there is always a moment between the
last look at them and the close. So the system is first told to take no new ones, by a filter on the socket that drops
the first packet of a connection (a client tries again a second later, and finds the port closed); then whoever is there
already is let in.
"""

import asyncio
import ctypes
import math
import socket
import struct
import sys
from typing import Final

_HANDSHAKE_SECONDS: Final = 0.1
"""For those whose first packet is through and whose third is on its way."""

_LONGEST_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.01

# https://docs.kernel.org/networking/filter.html; not among Python's constants.
_SO_ATTACH_FILTER: Final = 26
_DROP_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte of flags; the packet begins with TCP's header here
    (0x54, 0, 0, 0x12),  # of these, SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then drop,
    (0x06, 0, 0, 0xFFFFFFFF),  # else keep
)

_UNACKED_OFFSET: Final = 24
"""In ``tcp_info``: of a listening socket it is the length of the accept queue."""


async def empty(listening: socket.socket) -> None:
    """Return when nobody waits to be accepted, and nobody can come any more; the loop accepts meanwhile.

    Bounded: a loop that is too busy to accept for two seconds is not waited for. Linux only; elsewhere it returns at
    once.
    """
    if sys.platform != "linux" or not _refuse_newcomers(listening):
        return
    await asyncio.sleep(_HANDSHAKE_SECONDS)
    for _ in range(math.ceil(_LONGEST_SECONDS / _LOOK_SECONDS)):
        if not waiting(listening):
            return
        await asyncio.sleep(_LOOK_SECONDS)


def waiting(listening: socket.socket) -> int:
    """How many connections wait to be accepted."""
    try:
        info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_OFFSET + 4)
    except OSError:
        return 0
    return int(struct.unpack_from("I", info, _UNACKED_OFFSET)[0]) if len(info) >= _UNACKED_OFFSET + 4 else 0


def _refuse_newcomers(listening: socket.socket) -> bool:
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in _DROP_SYN))
    try:
        described = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
    except OSError:  # a system that only looks like Linux
        return False
    return True
