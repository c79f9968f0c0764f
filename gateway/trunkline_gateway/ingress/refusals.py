"""Answers that the connection gives by itself, in OpenAI's error shape."""

import logging
import math
from typing import Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from trunkline_gateway import errors
from trunkline_gateway.dialects.openai_chat import errors as openai_errors
from trunkline_gateway.http import Headers
from trunkline_gateway.ingress import request_ids
from trunkline_gateway.timers import Timer, Timers
from trunkline_protocol import logs

_logger = logging.getLogger(__name__)

LINES_PER_SECOND: Final = 10
"""Refusals that are logged one by one; the others of the second are only counted."""


class Refusal(Exception):  # noqa: N818  # not an error of ours: an answer
    """Ends the parsing of a connection with this answer."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        self.request_id: Final = request_ids.make()

    def encode(self, preface: bytes) -> bytes:
        """Write the whole answer; ``preface`` follows the status line."""
        error = errors.InvalidRequestError(self.message, status=self.status, code=self.code)
        body = openai_errors.render(error)
        lines = [STATUS_LINE[self.status], preface, b"content-type: application/json\r\n"]
        lines.append(b"content-length: %d\r\nx-request-id: %s\r\n" % (len(body), self.request_id.encode()))
        lines.extend(b"%s: %s\r\n" % header for header in self.headers)
        if not any(name == b"connection" for name, _ in self.headers):
            lines.append(b"connection: close\r\n")
        return b"".join([*lines, b"\r\n", body])


class RefusalLog:
    """One line for each refusal; a flood of them does not drown what else is logged."""

    __slots__ = ("_count", "_second", "_timers")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._count = 0  # in the second that runs
        self._second: Timer | None = None

    def write(self, status: int, code: str, request_id: str, client: str) -> None:
        """Log one; ``client`` is the address of the peer."""
        if self._second is None:
            self._second = self._timers.after(1.0, self._over)
        self._count += 1
        if self._count <= LINES_PER_SECOND:
            said = logs.fields(request_id=request_id, client=client, status=status, code=code)
            _logger.info("request refused", extra=said)

    def _over(self) -> None:
        left_out = self._count - LINES_PER_SECOND
        self._count = 0
        self._second = None
        if left_out > 0:
            _logger.info("more requests were refused than are logged", extra=logs.fields(left_out=left_out))


def overloaded() -> errors.GatewayError:
    """Too much is going on already; the next moment may be better."""
    message = "The gateway is answering as many requests as it may; try again soon."
    return errors.GatewayError(message, status=503, code="overloaded", retry_after_seconds=1)


def internal_error() -> errors.GatewayError:
    """The handler failed in a way that it should not."""
    return errors.GatewayError("Something went wrong in the gateway.", code="internal_error")


def request_timeout(seconds: float) -> errors.GatewayError:
    """The body stopped coming."""
    return _timeout(f"Nothing of the request's body arrived for {seconds:g} seconds.")


def body_too_slow(seconds: float) -> errors.GatewayError:
    """The body took too long in all."""
    return _timeout(f"The request's body was not complete within {seconds:g} seconds.")


def _timeout(message: str) -> errors.GatewayError:
    return errors.InvalidRequestError(message, status=408, code="request_timeout")


def body_too_large(limit: int) -> errors.GatewayError:
    """The body is longer than ``limit`` bytes."""
    return errors.BodyTooLargeError(f"The request's body is over the limit of {limit} bytes.")


def headers_of(error: errors.GatewayError, request_id: str) -> Headers:
    """The headers of an answer to a request that was not refused but failed."""
    headers = [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode("ascii"))]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", b"%d" % math.ceil(error.retry_after_seconds)))
    return headers
