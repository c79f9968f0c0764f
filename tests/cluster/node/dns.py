"""CoreDNS in a pod behind its Service, and one question to it."""

from __future__ import annotations

import secrets
import socket
import struct
import time
from pathlib import Path

from cluster.node.controlplane import ControlPlane
from cluster.node.layout import DNS_ADDRESS
from harness.kube import StartError

_MANIFEST = Path(__file__).with_name("coredns.yaml")
_API_NAME = "kubernetes.default.svc.cluster.local"


def apply(control_plane: ControlPlane) -> None:
    """Create CoreDNS; it starts as soon as there is a node."""
    control_plane.kubectl("apply", "-f", "-", input=_MANIFEST.read_text(encoding="utf-8"))


def wait_until_answering(*, timeout_seconds: float = 40) -> None:
    """Return once the DNS Service resolves the API server's name.

    Raises:
        StartError: time is up.
    """
    deadline = time.monotonic() + timeout_seconds
    while not answers():
        if time.monotonic() > deadline:
            raise StartError(f"CoreDNS does not answer at {DNS_ADDRESS}")
        time.sleep(0.1)


def answers() -> bool:
    """Ask the DNS Service for the API server's address once; whether it gave one within half a second."""
    question = b"".join(bytes([len(label)]) + label.encode() for label in _API_NAME.split(".")) + b"\0"
    identifier = secrets.token_bytes(2)
    # One question of type A, class IN, with recursion desired: RFC 1035, section 4.1.
    query = identifier + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0) + question + struct.pack("!HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((DNS_ADDRESS, 53))
            sock.send(query)
            answer = sock.recv(512)
        except OSError:
            return False
    code, count = answer[3] & 0x0F, struct.unpack("!H", answer[6:8])[0]
    return answer[:2] == identifier and code == 0 and count > 0
