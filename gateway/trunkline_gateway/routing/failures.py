"""What a failed attempt was, whose fault it is, and what the client gets when all of them failed."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeAlias

from trunkline_gateway import errors
from trunkline_gateway.http import Headers
from trunkline_gateway.routing.call import Result
from trunkline_gateway.routing.health import MAX_RETRY_AFTER_SECONDS, Ticket

Kind: TypeAlias = Literal["answer", "key", "rate", "target", "redirect", "unknown"]
"""What a status means: it is the answer; the key is refused; the key has done enough; the target is not well; it
points elsewhere, which is not followed; nothing in HTTP."""

REJECTED: Final = "The upstream did not accept the gateway's own credentials. Tell whoever runs the gateway."
RATE_LIMITED: Final = "The model is rate limited at the moment; try again later."
NO_TARGET: Final = "The model has no upstream that could serve it at the moment."
UNKNOWN: Final = "The upstream answered with a status that HTTP does not know."
REDIRECTED: Final = "The upstream answered with a redirect, which is not followed."
CUT: Final = "The upstream's answer was cut short."

# The failure that helps most: what tells the client to come back, and when; then what is likely to pass.
_RANK: Final = {429: 0, 503: 1, 529: 2, 504: 3, 408: 4, 500: 5, 502: 7}
_OTHER_RANK: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An attempt that gave no answer.

    Attributes:
        status: As the client gets it, should this be the one.
        upstream_status: As the upstream said; 0: it said none.
        target: At which target; empty: at none, or a direct model's.
        seals: It is about sealed reasoning: to be tried again without.
        body: `error` as it is written in the client's dialect; None: not yet.
    """

    status: int
    upstream_status: int
    result: Result
    target: str
    error: errors.GatewayError
    body: bytes | None = None
    retry_after_seconds: float | None = None
    seals: bool = False

    @property
    def code(self) -> str:
        """For logs and metrics: a word of ours, whatever the upstream calls it."""
        if self.result == "rate_limited":
            return "rate_limit_exceeded"
        if self.result == "server_error":
            return "upstream_error"
        return self.error.code or self.error.type


def kind_of(status: int) -> Kind:
    """What an upstream's status means for the loop."""
    if status == 429:
        return "rate"
    if status in (401, 402, 403):
        return "key"
    if not 200 <= status < 600:
        return "unknown"
    if status == 408 or status >= 500:
        return "target"
    return "redirect" if 300 <= status < 400 else "answer"


def of_status(
    status: int,
    *,
    target: str,
    said: errors.GatewayError | None = None,
    body: bytes | None = None,
    retry_after_seconds: float | None = None,
) -> Failure:
    """The failure that a status is, unless it is the answer. ``said``: the upstream's own words."""
    kind = kind_of(status)
    if kind == "key":
        return Failure(
            status=502,
            upstream_status=status,
            result="key_rejected",
            target=target,
            error=errors.UpstreamError(REJECTED, code="upstream_rejected_credentials"),
        )
    if kind in ("redirect", "unknown"):
        message = REDIRECTED if kind == "redirect" else UNKNOWN
        return of_exception(errors.UpstreamProtocolError(message), target=target)
    if kind == "rate":
        result: Result = "rate_limited"
        error = said or rate_limited(None)
    else:
        result = "server_error"
        error = said or errors.UpstreamStatusError(f"The upstream answered with status {status}.", status=status)
    return Failure(
        status=status,
        upstream_status=status,
        result=result,
        target=target,
        error=error,
        body=body,
        retry_after_seconds=retry_after_seconds,
    )


def about_seals(error: errors.GatewayError, *, target: str) -> Failure:
    """The upstream could not read sealed reasoning of another account; without it, it may answer."""
    return Failure(
        status=error.status, upstream_status=error.status, result="refused", target=target, error=error, seals=True
    )


_SEALS: Final = re.compile(
    rb"(?i)signature|encrypted[_ ]content|encrypted reasoning|thinking[^.]{0,60}(?:cannot be modified|invalid)"
)


def mentions_seals(body: bytes) -> bool:
    """Whether an error may be about signed or encrypted reasoning. Providers have no common code for it."""
    return _SEALS.search(body) is not None


def of_exception(error: errors.UpstreamError, *, target: str) -> Failure:
    """The failure that one of the client's exceptions is."""
    result: Result = "protocol_error"
    if isinstance(error, errors.UpstreamTimeoutError):
        result = "timeout"
    elif isinstance(error, errors.UpstreamConnectError):
        result = "connect_error"
    return Failure(status=error.status, upstream_status=0, result=result, target=target, error=error)


def account(failure: Failure, ticket: Ticket) -> None:
    """Tell health whose fault it is."""
    if failure.result == "refused":
        ticket.succeeded()
        return
    if failure.result in ("key_rejected", "rate_limited"):
        ticket.key_failed(failure.upstream_status, failure.retry_after_seconds)
    else:
        ticket.target_failed(failure.upstream_status or failure.status)


def ends_target(failure: Failure) -> bool:
    """Whether the account's other keys need not be tried at this target."""
    return failure.result not in ("key_rejected", "rate_limited")


def most_helpful(failures: Sequence[Failure]) -> Failure:
    """The failure that the client gets; the first one among equals."""
    return min(failures, key=lambda each: _RANK.get(each.status, _OTHER_RANK))


def rate_limited(retry_after_seconds: float | None) -> errors.GatewayError:
    """Nothing but keys that cool down."""
    return errors.UpstreamStatusError(
        RATE_LIMITED,
        status=429,
        type="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_seconds=retry_after_seconds,
    )


def with_retry_after(failure: Failure, seconds: float) -> Failure:
    """The same failure, with the time after which something is to be had."""
    return replace(failure, retry_after_seconds=seconds)


def without_attempt(error: errors.GatewayError, *, target: str = "") -> Failure:
    """A failure for which nothing needed to be sent, or that is not what was sent's fault."""
    return Failure(
        status=error.status,
        upstream_status=0,
        result="rate_limited" if error.status == 429 else "protocol_error",
        target=target,
        error=error,
        retry_after_seconds=error.retry_after_seconds,
    )


def retry_after(headers: Headers, *, wall_seconds: float) -> float | None:
    """Seconds to wait, by ``retry-after-ms`` or ``retry-after`` (seconds or a date), within reason; None: not said."""
    milliseconds = _number(_values(headers, b"retry-after-ms"))
    seconds = None if milliseconds is None else milliseconds / 1000.0
    if seconds is None:
        values = list(_values(headers, b"retry-after"))
        seconds = _number(values)
        if seconds is None:
            seconds = _until(values, wall_seconds)
    return None if seconds is None else min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _values(headers: Headers, name: bytes) -> Iterable[str]:
    return [value.decode("latin-1").strip() for key, value in headers if key == name]


def _number(values: Iterable[str]) -> float | None:
    for value in values:
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return None


def _until(values: Iterable[str], wall_seconds: float) -> float | None:
    for value in values:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, IndexError, OverflowError):
            continue
        # A date without a zone ("-0000") is in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall_seconds
    return None
