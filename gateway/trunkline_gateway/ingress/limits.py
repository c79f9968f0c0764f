"""What one connection, and all of them together, may take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

BODY_IDLE_SECONDS: Final = 60.0
"""How long a client may be silent in the middle of its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """See the module.

    Attributes:
        head_bytes: Request line and headers; also the trailers; also what a chunked body may hold that is not body, all
            of it together, beside 256 bytes for each piece of body (not counted in the read that the head ended in).
        headers: How many; also how many trailers.
        head_seconds: From the first byte of a head (or from the connection's start) to its end.
        body_idle_seconds: How long a client may be silent in the middle of a body that is being read.
        body_seconds: How long a body that is being read may take in all.
        stall_seconds: How long a client may take nothing of what waits to be sent to it, once that is more than the
            transport likes to hold. At drain, no longer than the grace period.
        linger_seconds: How long the rest of a body is read and dropped once the request has its answer; how long a
            connection that ends may take to send what is left.
        pipelined: Requests that wait behind the one being answered. While any does nothing more is read, so that these
            can only be what one read has brought.
        in_flight: Requests that the handler may be busy with at once, over all connections of the listener; 0: any
            number. What is not for the handler (health) does not count.
    """

    head_bytes: int = 64 * 1024
    headers: int = 200
    head_seconds: float = 10.0
    body_idle_seconds: float = BODY_IDLE_SECONDS
    body_seconds: float = 600.0
    stall_seconds: float = 30.0
    linger_seconds: float = 30.0
    pipelined: int = 1024
    in_flight: int = 0


Refused: TypeAlias = Callable[[int, str], None]
"""Told the status and the code of each refusal."""
