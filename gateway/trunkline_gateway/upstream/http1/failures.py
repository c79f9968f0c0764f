"""What the network raises, turned into our errors at one place.

Messages go to clients and say nothing about the account. Causes are of the network, TLS and framing; none of these
knows a request, so that none can hold a key.
"""

import socket
import ssl
from typing import TypeVar

from trunkline_gateway import errors
from trunkline_gateway.upstream.http1.parse import FramingError

TOO_LONG_TO_CONNECT = "The upstream took too long to accept the connection."
TOO_LONG_TO_BEGIN = "The upstream took too long to begin its answer."
IDLE = "The upstream stopped sending in the middle of its answer."
CANNOT_SEND = "The request could not be sent to the upstream."
BAD_ADDRESS = "The upstream's address is not valid."
BAD_CA = "The upstream's CA bundle cannot be read."
PROXY_REFUSED = "The upstream's proxy refused the connection."

_LOST = "The upstream closed the connection without an answer."
_NOT_HTTP = "The upstream's answer is not valid HTTP."
_SWITCHED = "The upstream switched to another protocol unasked."
_CUT = "The upstream's answer was cut short."
UNKNOWN_NAME = "The upstream's name could not be resolved."
_UNREACHABLE = "The upstream could not be reached."
_NO_PROXY = "The upstream's proxy could not be reached."
_BAD_CERTIFICATE = "The upstream's certificate is not valid."
_NO_TLS = "No TLS connection to the upstream could be made."

_E = TypeVar("_E", bound=errors.UpstreamError)


def resolving(failure: Exception) -> errors.UpstreamConnectError:
    """A name without an address: an OSError, or a UnicodeError for what cannot be a name."""
    return _caused(errors.UpstreamConnectError(UNKNOWN_NAME), failure)


def connecting(failure: Exception, *, to_proxy: bool) -> errors.UpstreamConnectError:
    """No TCP connection."""
    if isinstance(failure, socket.gaierror):
        return resolving(failure)
    return _caused(errors.UpstreamConnectError(_NO_PROXY if to_proxy else _UNREACHABLE), failure)


def securing(failure: Exception) -> errors.UpstreamConnectError:
    """TCP but no TLS: the peer's certificate, its versions and ciphers, or no TLS at all."""
    message = _BAD_CERTIFICATE if isinstance(failure, ssl.SSLCertVerificationError) else _NO_TLS
    return _caused(errors.UpstreamConnectError(message), failure)


def tunnelling(failure: Exception) -> errors.UpstreamConnectError:
    """The proxy did not open a tunnel."""
    return _caused(errors.UpstreamConnectError(PROXY_REFUSED), failure)


def lost(failure: BaseException | None, *, received: bool, in_body: bool, reused: bool) -> errors.UpstreamError:
    """The connection ended before the answer did.

    Args:
        failure: How, or None for an orderly end.
        received: Whether any byte of the answer had come.
        in_body: Whether its head was complete.
        reused: Whether the connection had served a request before.
    """
    if in_body:
        return _caused(errors.UpstreamProtocolError(_CUT), failure)
    if received:
        return _caused(errors.UpstreamProtocolError(_NOT_HTTP), failure)
    return _caused(errors.UpstreamConnectError(_LOST, reused=reused), failure)


def framing(failure: FramingError, *, in_body: bool) -> errors.UpstreamProtocolError:
    """The upstream does not speak HTTP/1.1, or does it wrongly."""
    if failure.switching:
        return errors.UpstreamProtocolError(_SWITCHED)
    return _caused(errors.UpstreamProtocolError(_CUT if in_body else _NOT_HTTP), failure)


def _caused(error: _E, cause: BaseException | None) -> _E:
    error.__cause__ = cause
    return error
