"""What goes into the attempt loop and what comes out of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from trunkline_gateway import envelope
from trunkline_gateway.dialect import Ingress
from trunkline_gateway.exchange import Usage
from trunkline_gateway.http import Headers
from trunkline_gateway.routing import pictures
from trunkline_gateway.routing.resolve import Resolved
from trunkline_gateway.upstream.client import Timeouts

Result: TypeAlias = Literal[
    "ok",  # answered
    "refused",  # answered with an error that is the client's own: 400, 404, …
    "key_rejected",  # 401, 402, 403
    "rate_limited",  # 429
    "server_error",  # 408, 5xx
    "connect_error",
    "timeout",
    "protocol_error",  # not HTTP, not the dialect, cut before content
    "truncated",  # cut after content
    "cancelled",  # the client has gone, or the whole took too long
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a RoutePolicy would say; these are the defaults.

    Attributes:
        total_seconds: For the whole request, all attempts and the answer's last byte included.
        open_seconds: After so long without content a streamed answer is opened: status 200, headers, keep-alives.
        keep_alive_seconds: Between two keep-alives, and of silence after the last bytes.
        max_held_bytes: What is held of a streamed answer without content; with more it is committed.
        max_whole_bytes: What is held of a whole answer; a longer one is passed on as it comes.
        fetch_picture: How pictures behind URLs are had for targets that take no URLs; None: they are not, and lost.
    """

    timeouts: Timeouts = field(default_factory=lambda: Timeouts(connect=3.0, first_byte=60.0, stream_idle=60.0))
    total_seconds: float = 600.0
    open_seconds: float = 10.0
    keep_alive_seconds: float = 10.0
    max_held_bytes: int = 256 * 1024
    max_whole_bytes: int = 8 * 1024 * 1024
    fetch_picture: pictures.Fetch | None = None


class Call(msgspec.Struct, frozen=True, gc=False):
    """A request that may be served: who asks and for what is settled.

    Attributes:
        ingress: The client's side of its dialect.
        crossing: The client's headers that an upstream may get; see `request_heads.crossing`.
        wall: Gives Unix seconds, for answers that come without a time.
    """

    request: envelope.Request
    resolved: Resolved
    request_id: str
    ingress: Ingress
    crossing: Headers = ()
    wall: Callable[[], float] = float


class Attempt(NamedTuple):
    """One try at one target. ``upstream`` and ``key`` are for logs and never for clients."""

    target: str
    upstream: str
    key: str
    result: Result
    status: int
    duration_seconds: float


class Outcome(msgspec.Struct, kw_only=True):
    """What happened to a request. Filled in as it happens, so that a request that was cancelled still has one.

    Attributes:
        status: What the client got; 0: nothing yet.
        group: The ModelGroup's name; empty for direct models.
        target: Which one answered; empty: none, or a direct model's.
        provider: Of the target that answered.
        attempts: In order.
        upstream_dialect: That was spoken to it.
        lost: Names of what the request, or the answer, lost on the way; see `exchange.losses`.
        usage: The upstream's own figures; None where it gave none.
        ttft_seconds: To the first content of the answer, streamed or whole; None: there was none.
        streamed: The answer was a stream of events.
        truncated: It broke off after content had been sent.
        client_gone: The client left before the end.
        error: Code of the error that was sent, in the answer or in its stream; empty: none.
    """

    status: int = 0
    group: str = ""
    target: str = ""
    provider: str = ""
    attempts: list[Attempt] = []
    upstream_dialect: str = ""
    lost: tuple[str, ...] = ()
    usage: Usage | None = None
    ttft_seconds: float | None = None
    duration_seconds: float = 0.0
    streamed: bool = False
    truncated: bool = False
    client_gone: bool = False
    error: str = ""
