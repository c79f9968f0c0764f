"""Who is asking, from the head alone."""

import ipaddress

import pytest

from harness import tables
from trunkline_gateway import errors
from trunkline_gateway.http import Head
from trunkline_gateway.ingress.authenticate import authenticate, client_address, presented_key
from trunkline_gateway.routing.snapshot import Network

SECRET = "sk-tl-canary"
NOW = 1_800_000_000.0


def head(*headers: tuple[bytes, bytes], query: bytes = b"", client: str = "192.0.2.1") -> Head:
    return Head(method="GET", path="/v1/models", query=query, headers=headers, client=client)


BEARER = (b"authorization", b"Bearer " + SECRET.encode())


@pytest.mark.parametrize(
    "asked",
    [
        head(BEARER),
        head((b"authorization", b"bearer  " + SECRET.encode() + b" ")),
        head((b"authorization", b"BEARER " + SECRET.encode())),
        head((b"x-api-key", SECRET.encode())),
        head((b"api-key", SECRET.encode())),
        head((b"x-goog-api-key", SECRET.encode())),
        head(query=b"alt=sse&key=" + SECRET.encode()),
        head(query=b"key=sk%2Dtl%2dcanary"),
        head((b"authorization", b"Basic abc"), (b"x-api-key", SECRET.encode())),
        head((b"authorization", b"Bearer "), (b"x-goog-api-key", SECRET.encode())),
    ],
)
def test_the_key_is_found_wherever_sdks_put_it(asked: Head) -> None:
    assert presented_key(asked) == SECRET.encode()


def test_the_order_is_authorization_then_x_api_key_then_api_key_then_x_goog_api_key_then_the_query() -> None:
    rest = [(b"x-goog-api-key", b"three"), (b"api-key", b"azure"), (b"x-api-key", b"two")]
    assert presented_key(head(*rest, (b"authorization", b"Bearer one"), query=b"key=four")) == b"one"
    assert presented_key(head(*rest, query=b"key=four")) == b"two"
    assert presented_key(head(*rest[:2], query=b"key=four")) == b"azure"
    assert presented_key(head(rest[0], query=b"key=four")) == b"three"


@pytest.mark.parametrize(
    "asked", [head(), head((b"authorization", b"Bearer")), head(query=b"key="), head(query=b"akey=x")]
)
def test_no_key_is_a_401_that_says_how_to_send_one(asked: Head) -> None:
    with pytest.raises(
        errors.AuthenticationError, match=r"Authorization: Bearer.*x-api-key, api-key and x-goog"
    ) as refused:
        authenticate(asked, tables.snapshot([tables.key(SECRET)]), wall=lambda: NOW)
    assert refused.value.status == 401


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        (tables.key("other"), "Incorrect API key"),
        (tables.key(SECRET, disabled=True), "disabled"),
        (tables.key(SECRET, expires=int(NOW)), "expired"),
    ],
)
def test_a_key_that_does_not_work_is_a_401(resource: object, says: str) -> None:
    with pytest.raises(errors.AuthenticationError, match=says) as refused:
        authenticate(head(BEARER), tables.snapshot([resource]), wall=lambda: NOW)  # type: ignore[list-item]
    assert refused.value.code == "invalid_api_key"
    assert SECRET not in str(refused.value)


def test_a_key_that_works_is_found() -> None:
    snapshot = tables.snapshot(
        [tables.key(SECRET, "team-a/alice", expires=int(NOW) + 1), tables.key("b", "team-b/bob")]
    )
    assert authenticate(head(BEARER), snapshot, wall=lambda: NOW).name == "team-a/alice"


@pytest.mark.parametrize(
    ("client", "admitted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("192.0.2.1", False),
        ("", False),
        ("/run/socket", False),
    ],
)
def test_allowed_cidrs_admit_by_the_peer_address(client: str, admitted: bool) -> None:
    snapshot = tables.snapshot([tables.key(SECRET, allowed_cidrs=["10.0.0.0/8", "2001:db8::/32"])])
    if admitted:
        authenticate(head(BEARER, client=client), snapshot, wall=lambda: NOW)
    else:
        with pytest.raises(errors.ForbiddenAddressError):
            authenticate(head(BEARER, client=client), snapshot, wall=lambda: NOW)


PROXIES: tuple[Network, ...] = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("client", "forwarded", "seen"),
    [
        ("203.0.113.9", [b"10.0.0.1"], "203.0.113.9"),  # not a proxy of ours: its word counts for nothing
        ("192.0.2.1", [b"10.0.0.1"], "10.0.0.1"),
        ("192.0.2.1", [b"10.9.9.9, 10.0.0.1"], "10.0.0.1"),  # what is left of that may be invented
        ("192.0.2.1", [b"10.9.9.9", b"10.0.0.1, 192.0.2.7"], "10.0.0.1"),
        ("192.0.2.1", [b"10.0.0.1:4711"], "10.0.0.1"),
        ("192.0.2.1", [b"[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:192.0.2.1", [b"::ffff:10.0.0.1"], "10.0.0.1"),
        ("fd00::1", [b"192.0.2.9"], "192.0.2.9"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", [b"unknown"], None),
        ("192.0.2.1", [b"10.0.0.1, "], None),
    ],
)
def test_forwarded_for_is_read_from_right_to_left_through_trusted_proxies(
    client: str, forwarded: list[bytes], seen: str | None
) -> None:
    asked = head(*((b"x-forwarded-for", value) for value in forwarded), client=client)
    found = client_address(asked, PROXIES)
    assert (found and str(found)) == seen


def test_nobody_is_trusted_by_default() -> None:
    asked = head((b"x-forwarded-for", b"10.0.0.1"), client="192.0.2.1")
    assert str(client_address(asked, ())) == "192.0.2.1"
