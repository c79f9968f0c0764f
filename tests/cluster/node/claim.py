"""Whose node it is at the moment: one test run at a time, since tests stop its API server and kill its pods."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from harness.kube import StartError

# An abstract address: the kernel frees it with the process, however that ends, and no file stays behind. unix(7)
_ADDRESS = "\0trunkline-node"


@contextmanager
def claim() -> Iterator[None]:
    """Hold the machine's node for the length of a block.

    Raises:
        StartError: another process holds it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        try:
            holder.bind(_ADDRESS)
        except OSError:
            raise StartError("the node of this machine is in use by another test run: wait until it is done") from None
        yield
