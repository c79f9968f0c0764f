"""What the HTTP client raises, turned into our errors at one place.

Messages go to clients and say nothing about the account. The library's own exceptions carry addresses and request
headers (the provider's key among them), so only those without either become the cause; see `cause_of`.
"""

import ssl

import aiohttp
from aiohttp import client_exceptions, http_exceptions

from trunkline_gateway import errors

CAUGHT = (aiohttp.ClientError, http_exceptions.HttpProcessingError, OSError, ValueError, RuntimeError)
"""Everything that a request can raise; `TimeoutError` and `ssl.SSLError` are kinds of `OSError`."""

_TIMEOUT = "The upstream took too long to answer."
_UNREACHABLE = "The upstream could not be reached."
_LOST = "The upstream closed the connection without an answer."
_NOT_HTTP = "The upstream's answer is not valid HTTP."
_CUT = "The upstream's answer was cut short."
_IDLE = "The upstream stopped sending in the middle of its answer."
_CANNOT_SEND = "The request could not be sent to the upstream."

# Most specific first: the first match wins. Before the head is complete.
_BEFORE_HEAD: tuple[tuple[type[BaseException], type[errors.UpstreamError], str], ...] = (
    (TimeoutError, errors.UpstreamTimeoutError, _TIMEOUT),
    (aiohttp.ClientConnectorCertificateError, errors.UpstreamConnectError, "The upstream's certificate is not valid."),
    (aiohttp.ServerFingerprintMismatch, errors.UpstreamConnectError, "The upstream's certificate is not valid."),
    (aiohttp.ClientSSLError, errors.UpstreamConnectError, "No TLS connection to the upstream could be made."),
    (aiohttp.ClientConnectorDNSError, errors.UpstreamConnectError, "The upstream's name could not be resolved."),
    (aiohttp.ClientProxyConnectionError, errors.UpstreamConnectError, "The upstream's proxy could not be reached."),
    (aiohttp.ClientHttpProxyError, errors.UpstreamConnectError, "The upstream's proxy refused the connection."),
    (aiohttp.ClientConnectorError, errors.UpstreamConnectError, _UNREACHABLE),
    (aiohttp.ClientConnectionError, errors.UpstreamConnectError, _LOST),
    (aiohttp.ClientResponseError, errors.UpstreamProtocolError, _NOT_HTTP),
    (aiohttp.ClientPayloadError, errors.UpstreamProtocolError, _CUT),
    (http_exceptions.HttpProcessingError, errors.UpstreamProtocolError, _NOT_HTTP),
    (aiohttp.InvalidURL, errors.UpstreamConnectError, "The upstream's address is not valid."),
    (aiohttp.ClientError, errors.UpstreamConnectError, _CANNOT_SEND),
    (ssl.SSLError, errors.UpstreamConnectError, "No TLS connection to the upstream could be made."),
    (OSError, errors.UpstreamConnectError, _UNREACHABLE),
)

# Their text holds a URL or the request's headers.
_TELLING = (aiohttp.ClientResponseError, aiohttp.InvalidURL, client_exceptions.RedirectClientError)


def before_head(failure: BaseException, *, received_bytes: int = 0, reused: bool = False) -> errors.UpstreamError:
    """What a failure to get the head of an answer is called.

    Args:
        failure: One of `CAUGHT`.
        received_bytes: What had come of an answer when the connection was lost.
        reused: Whether the connection had served a request before.
    """
    if _is_loss(failure):
        if received_bytes:
            return errors.UpstreamProtocolError(_NOT_HTTP)
        return errors.UpstreamConnectError(_LOST, reused=reused)
    for kind, error, message in _BEFORE_HEAD:
        if isinstance(failure, kind):
            return error(message)
    return errors.UpstreamConnectError(
        _CANNOT_SEND
    )  # ValueError, RuntimeError: a header or an address that nobody can send


def in_body(failure: BaseException) -> errors.UpstreamError:
    """What a failure after the head is called; losing the connection there is a cut answer."""
    if isinstance(failure, TimeoutError):
        return errors.UpstreamTimeoutError(_IDLE)
    return errors.UpstreamProtocolError(_CUT)


def cause_of(failure: BaseException) -> BaseException:
    """What may stand behind ``raise … from``: the failure, or only its kind if its text tells too much."""
    return aiohttp.ClientError(type(failure).__name__) if isinstance(failure, _TELLING) else failure


def _is_loss(failure: BaseException) -> bool:
    """Whether an open connection was lost, rather than none made."""
    return isinstance(failure, aiohttp.ClientConnectionError) and not isinstance(
        failure, aiohttp.ClientConnectorError | aiohttp.ServerTimeoutError | aiohttp.ServerFingerprintMismatch
    )
