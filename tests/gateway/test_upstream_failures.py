"""Every exception of the HTTP client has one of our names, and none of its text gets out."""

import inspect
import ssl
import traceback

import aiohttp
import pytest
from aiohttp import client_exceptions, http_exceptions
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from trunkline_gateway import errors
from trunkline_gateway.upstream import failures

CONNECT, TIMEOUT, PROTOCOL = errors.UpstreamConnectError, errors.UpstreamTimeoutError, errors.UpstreamProtocolError

# What each is before the head of an answer is complete. In a body a timeout stays one and the rest is a cut answer.
EXPECTED = {
    "ClientError": CONNECT,
    "ClientConnectionError": CONNECT,
    "ClientConnectionResetError": CONNECT,
    "ClientOSError": CONNECT,
    "ClientConnectorError": CONNECT,
    "ClientConnectorDNSError": CONNECT,
    "ClientConnectorSSLError": CONNECT,
    "ClientConnectorCertificateError": CONNECT,
    "ClientProxyConnectionError": CONNECT,
    "ClientSSLError": CONNECT,
    "UnixClientConnectorError": CONNECT,
    "ServerConnectionError": CONNECT,
    "ServerDisconnectedError": CONNECT,
    "ServerFingerprintMismatch": CONNECT,
    "ServerTimeoutError": TIMEOUT,
    "ConnectionTimeoutError": TIMEOUT,
    "SocketTimeoutError": TIMEOUT,
    "ClientHttpProxyError": CONNECT,
    "ClientResponseError": PROTOCOL,
    "ContentTypeError": PROTOCOL,
    "TooManyRedirects": PROTOCOL,
    "WSServerHandshakeError": PROTOCOL,
    "ClientPayloadError": PROTOCOL,
    "UploadAbortedError": CONNECT,
    "InvalidURL": CONNECT,
    "InvalidUrlClientError": CONNECT,
    "InvalidUrlRedirectClientError": CONNECT,
    "NonHttpUrlClientError": CONNECT,
    "NonHttpUrlRedirectClientError": CONNECT,
    "RedirectClientError": CONNECT,
    "HttpProcessingError": PROTOCOL,
    "BadHttpMessage": PROTOCOL,
    "BadHttpMethod": PROTOCOL,
    "BadStatusLine": PROTOCOL,
    "ContentEncodingError": PROTOCOL,
    "ContentLengthError": PROTOCOL,
    "DecompressSizeError": PROTOCOL,
    "HttpBadRequest": PROTOCOL,
    "InvalidHeader": PROTOCOL,
    "InvalidURLError": PROTOCOL,
    "LineTooLong": PROTOCOL,
    "PayloadEncodingError": PROTOCOL,
    "TransferEncodingError": PROTOCOL,
}

# Not raised by requests: they belong to WebSockets.
ELSEWHERE = {"WSMessageTypeError"}


def _exceptions():
    return {
        name: found
        for module in (client_exceptions, http_exceptions)
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, Exception) and found.__module__ == module.__name__ and name not in ELSEWHERE
    }


def test_every_exception_of_aiohttp_is_known():
    assert set(_exceptions()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_each_is_mapped(name):
    kind = _exceptions()[name]
    failure = kind.__new__(kind)
    assert isinstance(failure, failures.CAUGHT)
    assert type(failures.before_head(failure)) is EXPECTED[name]
    in_body = TIMEOUT if EXPECTED[name] is TIMEOUT else PROTOCOL
    assert type(failures.in_body(failure)) is in_body


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (ConnectionRefusedError(111, "canary"), CONNECT),
        (OSError("canary"), CONNECT),
        (ssl.SSLError("canary"), CONNECT),
        (TimeoutError("canary"), TIMEOUT),
        (ValueError("canary"), CONNECT),
        (RuntimeError("canary"), CONNECT),
    ],
)
def test_what_python_raises_is_mapped_too(failure, expected):
    assert isinstance(failure, failures.CAUGHT)
    mapped = failures.before_head(failure)
    assert type(mapped) is expected
    assert "canary" not in mapped.message


def test_a_lost_connection_is_named_by_what_had_come_of_the_answer():
    lost = aiohttp.ServerDisconnectedError()
    assert failures.before_head(lost, reused=True).reused
    assert type(failures.before_head(lost, received_bytes=1, reused=True)) is PROTOCOL


def test_messages_are_sentences_of_our_own():
    for kind in _exceptions().values():
        message = failures.before_head(kind.__new__(kind)).message
        assert message.endswith(".")
        assert "aiohttp" not in message


def test_the_cause_of_a_failure_shows_neither_key_nor_address():
    url = URL("https://canary.example/?key=canary")
    info = aiohttp.RequestInfo(url, "POST", CIMultiDictProxy(CIMultiDict(authorization="canary")), url)
    for failure in (aiohttp.ClientResponseError(info, (), message="bad"), aiohttp.InvalidURL(url)):
        with pytest.raises(errors.UpstreamError) as caught:
            raise failures.before_head(failure) from failures.cause_of(failure)
        assert "canary" not in "".join(traceback.format_exception(caught.value))
        assert "canary" not in repr(caught.value.__cause__)
