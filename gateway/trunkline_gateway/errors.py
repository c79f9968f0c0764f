"""What can go wrong with a request, as a small tree.

    GatewayError                      500
      InvalidRequestError             400   the client's body or head is wrong; names the field
        BodyTooLargeError             413
        UnsupportedFeatureError       400   no target can be told all of it, and nothing of it may be lost
      AuthenticationError             401   no key, an unknown, expired or disabled one
      ForbiddenAddressError           403   the key may not be used from there
      ModelNotFoundError              404   unknown, or not for this key: the same sentence
      MethodNotAllowedError           405
      NotReadyError                   503   no routing table yet
      UpstreamError                   502   every target failed; carries the status that helps most
        UpstreamConnectError          502   no connection, or lost before the first byte
        UpstreamTimeoutError          504
        UpstreamProtocolError         502   not HTTP, not the dialect, cut short
        UpstreamStatusError           its status; 401/402/403 of an upstream are 502 for the client

A class exists only if somebody reacts to it differently. Messages go to clients: they never hold a credential's
name, a key, an upstream host, or an exception's own text. ``dialects/*/errors.py`` writes them in the caller's dialect.
"""

from collections.abc import Sequence
from typing import ClassVar


class GatewayError(Exception):
    """Base: an answer to the client. ``message`` is a sentence for people.

    Attributes:
        status: HTTP status of the answer.
        type: The error's type in OpenAI's vocabulary; other dialects map it.
        code: A machine-readable code, or None.
        param: The request field that is wrong, or None.
        retry_after_seconds: When trying again makes sense, or None.
    """

    default_status: ClassVar[int] = 500
    default_type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or self.default_status
        self.type = type or self.default_type
        self.code = code or self.default_code
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidRequestError(GatewayError):
    """The client's request is wrong; ``param`` names the field where there is one."""

    default_status = 400
    default_type = "invalid_request_error"


class BodyTooLargeError(InvalidRequestError):
    """The body is over the bound that the message names."""

    default_status = 413
    default_code = "request_too_large"


class UnsupportedFeatureError(InvalidRequestError):
    """A target cannot be told all of the request, and the policy does not allow it to be lost; another one may do."""

    default_code = "unsupported_feature"


class AuthenticationError(GatewayError):
    """No key, or one that does not work; the message does not say which keys exist."""

    default_status = 401
    default_type = "invalid_request_error"
    default_code = "invalid_api_key"


class ForbiddenAddressError(GatewayError):
    """The key is right but may not be used from this address."""

    default_status = 403
    default_type = "permission_error"
    default_code = "address_not_allowed"


class ModelNotFoundError(GatewayError):
    """Unknown, or not for this key; nobody can tell the two apart."""

    default_status = 404
    default_type = "invalid_request_error"
    default_code = "model_not_found"

    def __init__(self, model: str) -> None:
        # The name comes from the client: cut, so that an error cannot be made arbitrarily large.
        shown = model if len(model) <= 253 else model[:253] + "…"
        super().__init__(f"The model '{shown}' does not exist or you do not have access to it.", param="model")


class MethodNotAllowedError(InvalidRequestError):
    """The path exists, for another method: one of ``allowed``."""

    default_status = 405
    default_code = "method_not_allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"{method} is not for this path; use {' or '.join(allowed)}.")
        self.allowed = tuple(allowed)


class NotReadyError(GatewayError):
    """There is no routing table yet."""

    default_status = 503
    default_code = "not_ready"


class UpstreamError(GatewayError):
    """An attempt failed, or all of them did."""

    default_status = 502
    default_type = "upstream_error"
    default_code = "upstream_error"


class UpstreamConnectError(UpstreamError):
    """No connection, or it was lost before the first byte of an answer.

    Attributes:
        reused: The connection had served a request before and closed with zero response bytes: safe to send once more.
    """

    default_code = "upstream_unreachable"

    def __init__(self, message: str, *, reused: bool = False) -> None:
        super().__init__(message)
        self.reused = reused


class UpstreamTimeoutError(UpstreamError):
    """Connecting, the first byte, the next byte or the whole took too long."""

    default_status = 504
    default_code = "upstream_timeout"


class UpstreamProtocolError(UpstreamError):
    """The answer is not HTTP, not the dialect, or was cut short."""

    default_code = "upstream_protocol_error"


class UpstreamStatusError(UpstreamError):
    """The upstream answered with an error status; ``status`` is what the client gets."""


def shutting_down() -> GatewayError:
    """The grace period of a stop is over, and the answer is not."""
    message = "The gateway is shutting down and could not wait for the end of the answer; try again."
    return GatewayError(message, status=503, code="shutting_down", retry_after_seconds=1)
