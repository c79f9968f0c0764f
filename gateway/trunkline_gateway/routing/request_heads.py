"""What is sent before the body of a request to an account: fixed by the table, so made once for it."""

from collections.abc import Mapping, Sequence
from importlib import metadata
from types import MappingProxyType
from typing import Final

from trunkline_gateway.dialects.openai_chat import request as openai_request
from trunkline_gateway.exchange import Operation
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream.client import Endpoint, RequestHead

CROSSING: Final = frozenset({b"openai-beta"})
"""Headers of the client that an upstream gets. No others: they tell who and where the client is."""

KINDS: Final[Sequence[tuple[Operation, bool]]] = (("chat", False), ("chat", True), ("embeddings", False))
"""An operation, and whether a stream is asked for."""

_CONTENT_TYPE: Final = (b"content-type", b"application/json")
_IDENTITY: Final = (b"accept-encoding", b"identity")
_USER_AGENT: Final = (b"user-agent", f"trunkline/{metadata.version('trunkline')}".encode("ascii"))
_ACCEPT_STREAM: Final = (b"accept", b"text/event-stream")
_ACCEPT_JSON: Final = (b"accept", b"application/json")


def make(
    endpoint: Endpoint, own: Headers, auth_header: tuple[bytes, bytes] | None
) -> Mapping[tuple[Operation, bool], RequestHead]:
    """One head for each of `KINDS`.

    Args:
        endpoint: Of the account.
        own: The account's headers; they may replace ours.
        auth_header: The key's; nothing replaces it.
    """
    return MappingProxyType(
        {
            (operation, stream): RequestHead(
                endpoint, "POST", openai_request.PATHS[operation], _headers(stream, own, auth_header)
            )
            for operation, stream in KINDS
        }
    )


def crossing(first: Mapping[bytes, bytes]) -> Headers:
    """Of a client's headers those that an upstream gets."""
    if CROSSING.isdisjoint(first):
        return ()
    return tuple((name, first[name]) for name in sorted(CROSSING & first.keys()))


def _headers(stream: bool, own: Headers, auth_header: tuple[bytes, bytes] | None) -> Headers:
    replaced = {name for name, _ in own}
    ours = (_CONTENT_TYPE, _ACCEPT_STREAM if stream else _ACCEPT_JSON, _IDENTITY, _USER_AGENT)
    headers = [header for header in ours if header[0] not in replaced]
    headers += [header for header in own if auth_header is None or header[0] != auth_header[0]]
    if auth_header is not None:
        headers.append(auth_header)
    return tuple(headers)
