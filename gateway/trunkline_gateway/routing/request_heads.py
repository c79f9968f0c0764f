"""What is sent before the body of a request to an account: fixed by the table, made when it is first needed."""

import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Final, TypeAlias
from urllib.parse import quote

from trunkline_gateway.dialect import Upstream as UpstreamSide
from trunkline_gateway.exchange import Operation
from trunkline_gateway.http import Headers
from trunkline_gateway.upstream.client import Endpoint, RequestHead

BETAS: Final = frozenset({b"anthropic-beta", b"openai-beta"})
"""Headers of a client of which an upstream gets the values that it takes. No others: they tell who and where it is."""

MAX_HEADS: Final = 256
"""Of one key; where the model is part of the path, clients choose it."""

Kind: TypeAlias = tuple[str, str, bool]
"""A dialect, a path below its base URL, and whether a stream is asked for."""

_CONTENT_TYPE: Final = (b"content-type", b"application/json")
_IDENTITY: Final = (b"accept-encoding", b"identity")
_USER_AGENT: Final = (b"user-agent", f"trunkline/{metadata.version('trunkline')}".encode("ascii"))
_ACCEPT_STREAM: Final = (b"accept", b"text/event-stream")
_ACCEPT_AWS_STREAM: Final = (b"accept", b"application/vnd.amazon.eventstream")
_ACCEPT_JSON: Final = (b"accept", b"application/json")


class Place:
    """Where a key is used for a dialect, and how it proves itself there.

    Attributes:
        own: The dialect's headers; those of the account replace them.
        auth_header: The key's; nothing replaces it. None: it needs none.
    """

    __slots__ = ("auth_header", "endpoint", "own")

    def __init__(self, endpoint: Endpoint, own: Headers, auth_header: tuple[bytes, bytes] | None) -> None:
        self.endpoint = endpoint
        self.own = own
        self.auth_header = auth_header


class Heads(dict[Kind, RequestHead]):
    """The heads of one key, each made when it is first asked for.

    Args:
        default: Where a dialect is spoken that ``places`` does not name.
        own: The account's headers; they may replace ours.
        places: By dialect.
    """

    def __init__(self, default: Place, own: Headers = (), places: Mapping[str, Place] | None = None) -> None:
        super().__init__()
        self._default = default
        self._own = own
        self._places = places or {}

    def __repr__(self) -> str:
        return f"Heads({len(self)})"  # they hold keys

    def __missing__(self, kind: Kind) -> RequestHead:
        if len(self) >= MAX_HEADS:
            self.clear()
        dialect, path, stream = kind
        place = self._places.get(dialect, self._default)
        self[kind] = head = RequestHead(place.endpoint, "POST", path, self._headers(place, dialect, stream))
        return head

    def _headers(self, place: Place, dialect: str, stream: bool) -> Headers:
        replaced = {name for name, _ in self._own}
        accept = _ACCEPT_JSON
        if stream:
            accept = _ACCEPT_AWS_STREAM if dialect == "bedrock_converse" else _ACCEPT_STREAM
        ours = (_CONTENT_TYPE, accept, _IDENTITY, _USER_AGENT, *place.own)
        headers = [header for header in ours if header[0] not in replaced]
        auth = place.auth_header
        headers += [header for header in self._own if auth is None or header[0] != auth[0]]
        if auth is not None:
            headers.append(auth)
        return tuple(headers)


def kinds(
    dialect: str, side: UpstreamSide, paths: Mapping[str, str], operation: Operation, model: str
) -> tuple[Kind, Kind]:
    """What is asked of `Heads` for a whole answer, and for a stream.

    Args:
        dialect: That is spoken.
        side: The dialect's own paths.
        paths: The account's, by operation, and by operation and ``+stream``.
        operation: What is wanted.
        model: The upstream's name of it.
    """
    whole = paths.get(operation, side.path)
    streamed = paths.get(f"{operation}+stream") or paths.get(operation) or side.stream_path or side.path
    quoted = quote(model, safe="")
    # The same path is the same object for all models, so that looking up a head touches less memory.
    one, other = sys.intern(whole.replace("{model}", quoted)), sys.intern(streamed.replace("{model}", quoted))
    return (dialect, one, False), (dialect, other, True)


def crossing(first: Mapping[bytes, bytes]) -> Headers:
    """Of a client's headers those that an upstream may get; see `admitted`."""
    if BETAS.isdisjoint(first):
        return ()
    return tuple((name, first[name]) for name in sorted(BETAS & first.keys()))


def admitted(sent: Headers, patterns: tuple[str, ...]) -> tuple[Headers, tuple[str, ...]]:
    """Of what `crossing` gave those that this account takes; and the names of the headers that lost values.

    Args:
        sent: Of the client.
        patterns: ``header:value`` each, with ``*`` at most at the end.
    """
    headers: list[tuple[bytes, bytes]] = []
    lost: list[str] = []
    for name, value in sent:
        prefix = name.decode("ascii") + ":"
        own = [pattern.removeprefix(prefix) for pattern in patterns if pattern.startswith(prefix)]
        said = [each.strip() for each in value.decode("latin-1").split(",") if each.strip()]
        taken = [each for each in said if any(_fits(each, pattern) for pattern in own)]
        if taken:
            headers.append((name, ",".join(taken).encode("latin-1")))
        if len(taken) < len(said):
            lost.append(name.decode("ascii"))
    return tuple(headers), tuple(lost)


def _fits(value: str, pattern: str) -> bool:
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern
