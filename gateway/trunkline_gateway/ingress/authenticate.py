"""Who is asking: the virtual key of a request, found by its SHA-256 in the table.

The key itself is hashed and forgotten here; nothing that leaves this module holds it.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote_to_bytes

from trunkline_gateway import errors
from trunkline_gateway.http import Head
from trunkline_gateway.routing.snapshot import Key, Network, Snapshot

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_MISSING: Final = (
    "You didn't provide an API key. Send it in the Authorization header, as 'Authorization: Bearer YOUR_KEY' "
    "(x-api-key, api-key and x-goog-api-key work too)."
)
_UNKNOWN: Final = "Incorrect API key provided. Ask whoever runs this gateway for a key."
_EXPIRED: Final = "This API key has expired."
_DISABLED: Final = "This API key is disabled."
_FORBIDDEN: Final = "This API key may not be used from your address."


def authenticate(
    head: Head, snapshot: Snapshot, *, wall: Callable[[], float], trusted_proxies: Sequence[Network] = ()
) -> Key:
    """Give the key of a request.

    Args:
        head: Looked at in this order: ``Authorization: Bearer``, ``x-api-key``, ``api-key`` (Azure's SDKs),
            ``x-goog-api-key``, ``?key=``.
        snapshot: The table that the request is served from.
        wall: Unix seconds; asked for keys that expire.
        trusted_proxies: Whose ``X-Forwarded-For`` is believed.

    Raises:
        AuthenticationError: None sent, unknown, expired or disabled.
        ForbiddenAddressError: Not from this address.
    """
    sent = presented_key(head)
    if sent is None:
        raise errors.AuthenticationError(_MISSING)
    key = snapshot.keys.get(hashlib.sha256(sent).digest())
    if key is None:
        raise errors.AuthenticationError(_UNKNOWN)
    if key.disabled:
        raise errors.AuthenticationError(_DISABLED)
    if key.expires and key.expires <= wall():
        raise errors.AuthenticationError(_EXPIRED)
    if key.networks:
        address = client_address(head, trusted_proxies)
        if address is None or not _within(address, key.networks):
            raise errors.ForbiddenAddressError(_FORBIDDEN)
    return key


def presented_key(head: Head) -> bytes | None:
    """What the client sent as its key, or None. The first header that holds one decides."""
    first = head.first
    scheme, _, token = first.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == b"bearer" and (token := token.strip()):
        return token
    candidates = (first.get(b"x-api-key"), first.get(b"api-key"), first.get(b"x-goog-api-key"))
    for candidate in candidates:
        if candidate and (stripped := candidate.strip()):
            return stripped
    for field in head.query.split(b"&"):
        name, _, value = field.partition(b"=")
        if name == b"key" and value:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None


def client_address(head: Head, trusted_proxies: Sequence[Network]) -> Address | None:
    """Where the request comes from: the peer or, behind trusted proxies, the nearest address that is not one of them.

    None where that cannot be told: a Unix socket, or a trusted proxy that says nothing readable.
    """
    address = _parse(head.client)
    if not trusted_proxies or address is None or not _within(address, trusted_proxies):
        return address
    for hop in _forwarded_for(head):
        address = _parse(hop)
        if address is None or not _within(address, trusted_proxies):
            return address
    return address


def _forwarded_for(head: Head) -> Iterator[str]:
    """From the nearest to the farthest; several headers are one list."""
    for name, value in reversed(head.headers):
        if name == b"x-forwarded-for":
            for hop in reversed(value.decode("latin-1").split(",")):
                yield hop.strip()


def _parse(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    # A dual-stack listener sees IPv4 peers as ::ffff:192.0.2.1.
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
