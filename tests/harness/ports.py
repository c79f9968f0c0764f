"""Free TCP ports on the loopback interface, for servers that must come back on the port they had."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 15_000
_HIGHEST = 29_999  # Kubernetes hands out 30000-32767 as node ports


def free_ports(count: int) -> tuple[int, ...]:
    """Pick ``count`` different ports that nothing listens on at 127.0.0.1.

    They lie below the kernel's ephemeral range. A port inside it could, while its server is down for a restart,
    become the source port of somebody's connection; a client that keeps dialling it would in the end reach itself.

    Raises:
        OSError: no free port was found.
    """
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            held.append(_hold_a_free_port())
        return tuple(sock.getsockname()[1] for sock in held)
    finally:
        for sock in held:
            sock.close()


def free_port() -> int:
    """Pick one port as ``free_ports`` does."""
    return free_ports(1)[0]


def _hold_a_free_port() -> socket.socket:
    highest = min(_HIGHEST, _lowest_ephemeral_port() - 1)
    if highest <= _LOWEST:
        return _bind(0)
    for _ in range(200):
        try:
            return _bind(random.randint(_LOWEST, highest))
        except OSError:
            continue
    return _bind(0)


def _bind(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def _lowest_ephemeral_port() -> int:
    try:
        return int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768
