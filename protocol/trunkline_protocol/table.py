"""The routing table: what the operator compiles and the gateways serve from.

A table is a set of resources, each immutable and versioned by the hash of its content; `routing.proto` has the shapes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from trunkline_protocol.v1 import routing_pb2 as pb

KINDS: Final[Mapping["ResourceType", str]] = {
    pb.TYPE_ROUTE: "ModelGroup",
    pb.TYPE_POLICY: "RoutePolicy",
    pb.TYPE_UPSTREAM: "ProviderCredential",
    pb.TYPE_KEY: "VirtualKey",
    pb.TYPE_SECRET: "Secret",
}
"""The kind of the object that a resource is named after: the first part of the ref of its primary source."""

ALWAYS_APPLIED: Final = frozenset({pb.TYPE_KEY, pb.TYPE_SECRET})
"""Applied whatever ``min_reader`` says, and taken away where they cannot be read: no upgrade may stop a revocation."""

READER_VERSION: Final = 1
"""The newest ``min_reader`` that this code understands."""

STREAM_MESSAGE_BYTES: Final = 1 << 20
"""An update is cut into parts of about this size."""

MAX_MESSAGE_BYTES: Final = 8 << 20
"""gRPC's own bound on a message, both ways: a Secret may hold 1 MiB, a part holds at most one more resource."""

ResourceType: TypeAlias = pb.Type.ValueType

Body: TypeAlias = pb.Route | pb.Policy | pb.Upstream | pb.Key | pb.Secret

BODY_TYPES: Final[Mapping[ResourceType, type[Body]]] = {
    pb.TYPE_ROUTE: pb.Route,
    pb.TYPE_POLICY: pb.Policy,
    pb.TYPE_UPSTREAM: pb.Upstream,
    pb.TYPE_KEY: pb.Key,
    pb.TYPE_SECRET: pb.Secret,
}


class Name(NamedTuple):
    """What identifies a resource in a table."""

    type: ResourceType
    name: str

    def __str__(self) -> str:
        return f"{pb.Type.Name(self.type).removeprefix('TYPE_').lower()} {self.name}"


def resource(name: Name, body: Body, sources: Mapping[str, int], *, min_reader: int = 1) -> pb.Resource:
    """Wrap ``body``; ``sources`` maps refs such as ``VirtualKey/team-a/alice`` to revisions."""
    encoded = body.SerializeToString(deterministic=True)
    return pb.Resource(
        type=name.type,
        name=name.name,
        version=content_version(name, encoded),
        sources=[pb.Source(ref=ref, revision=revision) for ref, revision in sorted(sources.items())],
        min_reader=min_reader,
        body=encoded,
    )


def content_version(name: Name, body: bytes) -> bytes:
    """The 16-byte version of a resource with this name and encoded body."""
    digest = hashlib.sha256(b"%d\0%s\0" % (name.type, name.name.encode()))
    digest.update(body)
    return digest.digest()[:16]


class Fingerprint:
    """The version of a whole table, kept up to date at the cost of what changes.

    The same set of resources gives the same version, in any order: it is the sum of a hash of each. It tells tables
    apart; it proves nothing about who wrote them.
    """

    __slots__ = ("_sum",)

    def __init__(self, versions: Iterable[tuple[Name, bytes]] = ()) -> None:
        self._sum = 0
        for name, version in versions:
            self.add(name, version)

    def add(self, name: Name, version: bytes) -> None:
        """A resource that is in the table from now on."""
        self._sum = (self._sum + _entry(name, version)) & _MASK

    def remove(self, name: Name, version: bytes) -> None:
        """A resource that was in the table and no longer is."""
        self._sum = (self._sum - _entry(name, version)) & _MASK

    def __str__(self) -> str:
        return f"{self._sum:016x}"


_MASK: Final = (1 << 64) - 1


def _entry(name: Name, version: bytes) -> int:
    digest = hashlib.sha256(b"%d\0%s\0%s" % (name.type, name.name.encode(), version))
    return int.from_bytes(digest.digest()[:8])


def table_version(versions: Iterable[tuple[Name, bytes]]) -> str:
    """The version of a whole table, 16 hex digits; see `Fingerprint`."""
    return str(Fingerprint(versions))
