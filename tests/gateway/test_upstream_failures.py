"""Whatever the network raises has one of our names, a sentence of our own, and no secret behind it."""

import socket
import ssl

import pytest

from trunkline_gateway import errors
from trunkline_gateway.upstream.client import Endpoint, Request, RequestHead, Timeouts
from trunkline_gateway.upstream.http1 import dial, failures
from trunkline_gateway.upstream.http1.parse import FramingError

CONNECT, PROTOCOL = errors.UpstreamConnectError, errors.UpstreamProtocolError

NETWORK = [
    ConnectionRefusedError(111, "canary"),
    ConnectionResetError(104, "canary"),
    BrokenPipeError(32, "canary"),
    TimeoutError(110, "canary"),
    socket.gaierror(-2, "canary"),
    ssl.SSLError("canary"),
    ssl.SSLCertVerificationError("canary"),
    OSError("canary"),
    UnicodeError("canary"),
    ValueError("canary"),
]


@pytest.mark.parametrize("failure", NETWORK, ids=lambda failure: type(failure).__name__)
def test_no_connection_is_a_connect_error_whatever_the_reason(failure):
    for mapped in (
        failures.resolving(failure),
        failures.connecting(failure, to_proxy=False),
        failures.connecting(failure, to_proxy=True),
        failures.securing(failure),
        failures.tunnelling(failure),
    ):
        assert type(mapped) is CONNECT
        assert not mapped.reused
        assert mapped.message.endswith(".")
        assert "canary" not in mapped.message
        assert mapped.__cause__ is failure


def test_the_sentence_says_which_step_failed():
    refused = ConnectionRefusedError(111, "canary")
    assert failures.connecting(refused, to_proxy=False).message == "The upstream could not be reached."
    assert failures.connecting(refused, to_proxy=True).message == "The upstream's proxy could not be reached."
    unknown = failures.connecting(socket.gaierror(-2, "x"), to_proxy=False)
    assert unknown.message == "The upstream's name could not be resolved."
    untrusted = failures.securing(ssl.SSLCertVerificationError("x"))
    assert untrusted.message == "The upstream's certificate is not valid."
    assert failures.securing(refused).message == "No TLS connection to the upstream could be made."


@pytest.mark.parametrize("how", [None, ConnectionResetError(104, "canary"), OSError("canary")])
def test_a_lost_connection_is_named_by_what_had_come_of_the_answer(how):
    nothing = failures.lost(how, received=False, in_body=False, reused=True)
    assert type(nothing) is CONNECT
    assert nothing.reused
    some = failures.lost(how, received=True, in_body=False, reused=True)
    assert type(some) is PROTOCOL
    assert some.message == "The upstream's answer is not valid HTTP."
    cut = failures.lost(how, received=True, in_body=True, reused=True)
    assert type(cut) is PROTOCOL
    assert cut.message == "The upstream's answer was cut short."


def test_wrong_framing_is_a_protocol_error():
    for in_body in (False, True):
        assert type(failures.framing(FramingError("x"), in_body=in_body)) is PROTOCOL
    switched = failures.framing(FramingError("x", switching=True), in_body=False)
    assert switched.message == "The upstream switched to another protocol unasked."


def test_neither_a_request_nor_a_route_shows_its_secrets():
    endpoint = Endpoint("https://upstream.invalid", ca_pem="canary")
    head = RequestHead(endpoint, "POST", "/", [(b"authorization", b"Bearer canary")])
    request = Request(head, b"canary", Timeouts(), [(b"x", b"canary")])
    assert "canary" not in repr(request)
    for scheme in ("http", "https"):
        through = Endpoint(f"{scheme}://upstream.invalid", proxy_url="http://u:canary@proxy.invalid")
        shown = repr(dial.route(through))
        assert "canary" not in shown
        assert "dTpj" not in shown


@pytest.mark.parametrize(
    "url", ["", "//", "http://", "ftp://x", "https://x:99999", "https://x:y", "https://[::1", "https://canary@:1"]
)
def test_an_address_that_leads_nowhere_is_a_connect_error(url):
    for endpoint in (Endpoint(url), Endpoint("https://upstream.invalid", proxy_url=url or "canary")):
        with pytest.raises(CONNECT) as caught:
            dial.route(endpoint)
        assert "canary" not in caught.value.message


def test_a_proxy_that_is_spoken_to_over_tls_is_refused():
    with pytest.raises(CONNECT):
        dial.route(Endpoint("https://upstream.invalid", proxy_url="https://proxy.invalid"))


def test_a_route_names_the_peer_of_the_socket():
    assert dial.route(Endpoint("http://a.test/v1")) == dial.Route("a.test", 80, False, b"", "", b"")
    assert dial.route(Endpoint("https://[::1]:8443")) == dial.Route("::1", 8443, False, b"", "::1", b"")
    plain = dial.route(Endpoint("http://a.test", proxy_url="http://u:p%40@proxy.test:3128"))
    assert (plain.host, plain.port, plain.via_proxy, plain.tunnel) == ("proxy.test", 3128, True, b"")
    assert plain.proxy_lines == b"proxy-authorization: Basic dTpwQA==\r\n"
    tunnel = dial.route(Endpoint("https://[::1]", proxy_url="http://proxy.test"))
    assert (tunnel.host, tunnel.port, tunnel.server_name) == ("proxy.test", 80, "::1")
    assert tunnel.tunnel == b"CONNECT [::1]:443 HTTP/1.1\r\nhost: [::1]:443\r\n\r\n"
