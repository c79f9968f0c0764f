"""What this gateway holds of the table: updates in, snapshots and ACKs out. Pure; the clock is injected.

An update is applied as one swap, and nothing ever goes back. For each object that anything was compiled from, the store
keeps the highest revision that it has seen (its mark) and refuses what rests on an older view. A mark that nothing held
refers to any more is kept for an hour, and so is the memory of what was removed: that is what keeps a revoked key
revoked when a gateway reconnects to an operator replica that lags.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from trunkline_gateway.routing import table as routing
from trunkline_gateway.routing.snapshot import Snapshot
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

TOMBSTONE_SECONDS: Final = 3600.0
MAX_PENDING_BYTES: Final = 512 << 20
_PURGE_SECONDS: Final = 60.0
_MAX_REASON: Final = 300


class WireError(Exception):
    """The operator has broken the protocol; the stream has to begin anew. A sentence without secrets."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What came of an update.

    Attributes:
        ack: To be sent now.
        snapshot: To be served from now on; None where nothing changed.
        parts: The update.
    """

    ack: pb.Ack
    snapshot: Snapshot | None
    parts: tuple[pb.Update, ...] = ()


class Store:
    """The resources that are held. Belongs to one thread.

    Attributes:
        received: How many resources were ever sent to it by an operator.
        rejected: What cannot be used of what the operator has last sent, and why.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        reader: int = table.READER_VERSION,
        max_pending_bytes: int = MAX_PENDING_BYTES,
    ) -> None:
        self.received = 0
        self.rejected: dict[Name, str] = {}
        self._clock = clock
        self._reader = reader
        self._max_pending_bytes = max_pending_bytes
        self._resources: dict[Name, pb.Resource] = {}
        self._routes: dict[str, routing.RouteRecord] = {}
        self._upstreams: dict[str, routing.UpstreamRecord] = {}
        self._keys: dict[str, routing.KeyRecord] = {}
        self._secrets: dict[str, routing.SecretRecord] = {}
        self._policies: dict[str, routing.PolicyRecord] = {}
        self._records = routing.Records(self._routes, self._upstreams, self._keys, self._secrets, self._policies)
        self._fingerprint = table.Fingerprint()
        self._built = routing.NOTHING
        self._marks: dict[str, int] = {}
        self._references: Counter[str] = Counter()
        self._orphans: dict[str, float] = {}  # marks that nothing refers to → since when
        self._removed: dict[Name, tuple[float, Mapping[str, int]]] = {}
        self._purged = clock()
        self._parts: list[pb.Update] = []
        self._part_bytes = 0
        self._decoded: dict[bytes, routing.Record | str] = {}

    @property
    def snapshot(self) -> Snapshot:
        """What is served."""
        return self._built.snapshot

    @property
    def problems(self) -> tuple[routing.Problem, ...]:
        """Keys of upstreams that cannot be used."""
        return self._built.problems

    def __len__(self) -> int:
        return len(self._resources)

    def held(self) -> list[pb.Held]:
        """For the Hello of a new stream, which also forgets what has come of an unfinished update."""
        self._forget_parts()
        return [
            pb.Held(type=name.type, name=name.name, version=resource.version)
            for name, resource in self._resources.items()
        ]

    def receive(self, update: pb.Update) -> Applied | None:
        """Take one part of an update; None while more has to come.

        Raises:
            WireError: Parts of different updates, or too much; what came of the update is forgotten.
        """
        self.received += len(update.resources)
        self._part_bytes += update.ByteSize()
        if self._parts and self._parts[0].nonce != update.nonce:
            self._forget_parts()
            raise WireError("the operator began an update before it had finished the last one")
        if self._part_bytes > self._max_pending_bytes:
            self._forget_parts()
            raise WireError(f"an update is larger than {self._max_pending_bytes} bytes")
        self._parts.append(update)
        # Decoded as the parts come, so that the swap itself is short.
        for resource in update.resources:
            self._decoded[resource.version] = self._decode(resource)
        if update.more:
            return None
        parts = self._parts
        try:
            return self._apply(parts)
        finally:
            self._forget_parts()

    def saved(self) -> "Saved":
        """What has to outlive the process. Cheap; the resources are shared and never change."""
        tombstones = {name: sources for name, (_, sources) in self._removed.items()}
        return Saved(self.snapshot.version, tuple(self._resources.values()), dict(self._marks), tombstones)

    def restore(self, saved: "Saved") -> Snapshot:
        """Take over what an earlier process held. To be called first; what it forgot an hour ago counts from now.

        The journal may begin before the resources were captured: what is older than the marks changes nothing.
        """
        now = self._clock()
        for ref, revision in saved.marks.items():
            self._raise(ref, revision, now)
        for name, sources in saved.tombstones.items():
            self._removed[name] = (now, sources)
        for resource in saved.resources:
            record = self._decode(resource)
            if not isinstance(record, str):
                self._put(Name(resource.type, resource.name), resource, record, now)
        for update in saved.journal:
            self._decoded = {resource.version: self._decode(resource) for resource in update.resources}
            self._merge([update], now)
        self._forget_parts()
        self._built = routing.build(self._records, str(self._fingerprint))
        return self.snapshot

    def _apply(self, parts: list[pb.Update]) -> Applied:
        now = self._clock()
        ack, changed = self._merge(parts, now)
        self._purge(now)
        version = str(self._fingerprint)
        swapped = version != self.snapshot.version
        if swapped:
            self._built = routing.build(self._records, version, previous=self._built, changed=changed)
        ack.table_version = version
        return Applied(ack, self.snapshot if swapped else None, tuple(parts))

    def _merge(self, parts: list[pb.Update], now: float) -> tuple[pb.Ack, set[Name]]:
        """Change what is held; nothing is built."""
        ack = pb.Ack(nonce=parts[0].nonce)
        # Everything in one update rests on one view of the world: it is judged by what was known before it.
        messages: list[pb.Resource | pb.Removal] = []
        for part in parts:
            messages += part.removals
            messages += part.resources
        judged = [(message, self._is_stale(message)) for message in messages]
        changed: set[Name] = set()
        for message, stale in judged:
            name = Name(message.type, message.name)
            if not (isinstance(message, pb.Resource) and message.held):
                for source in message.sources:
                    self._raise(source.ref, source.revision, now)
            if stale:
                ack.stale.append(pb.Stale(type=name.type, name=name.name, held_version=self._version(name)))
            elif isinstance(message, pb.Removal):
                self._remove(name, message.sources, now)
                self.rejected.pop(name, None)
                changed.add(name)
            else:
                record = self._decoded[message.version]
                if isinstance(record, str):
                    ack.rejected.append(self._reject(name, message, record, now))
                else:
                    self._put(name, message, record, now)
                    self.rejected.pop(name, None)
                changed.add(name)
        for part in parts:
            for source in part.marks:
                self._raise(source.ref, source.revision, now)
        return ack, changed

    def _is_stale(self, message: pb.Resource | pb.Removal) -> bool:
        if isinstance(message, pb.Resource) and message.held:
            known = self._sources(Name(message.type, message.name))
            return any(source.revision < known.get(source.ref, 0) for source in message.sources)
        marks = self._marks
        return any(source.revision < marks.get(source.ref, 0) for source in message.sources)

    def _sources(self, name: Name) -> Mapping[str, int]:
        if (resource := self._resources.get(name)) is not None:
            return {source.ref: source.revision for source in resource.sources}
        return self._removed[name][1] if name in self._removed else {}

    def _decode(self, resource: pb.Resource) -> routing.Record | str:
        """What it says, or why it cannot be used."""
        name = Name(resource.type, resource.name)
        if resource.min_reader > self._reader and name.type not in table.ALWAYS_APPLIED:
            return "it needs a newer gateway"
        if table.content_version(name, resource.body) != resource.version:
            return "its content does not have the version that it claims"
        try:
            return routing.decode(resource)
        except routing.UnusableError as error:
            return str(error)[:_MAX_REASON]

    def _reject(self, name: Name, resource: pb.Resource, reason: str, now: float) -> pb.Reject:
        self.rejected[name] = reason
        if name.type in table.ALWAYS_APPLIED:
            # The version that we have is not what it should be any more, and it may be one that should be revoked.
            self._remove(name, resource.sources, now)
        held = self._version(name)
        return pb.Reject(type=name.type, name=name.name, version=resource.version, reason=reason, held_version=held)

    def _version(self, name: Name) -> bytes:
        resource = self._resources.get(name)
        return resource.version if resource is not None else b""

    def _put(self, name: Name, resource: pb.Resource, record: routing.Record, now: float) -> None:
        self._take_out(name, now)
        self._removed.pop(name, None)
        self._resources[name] = resource
        self._fingerprint.add(name, resource.version)
        for source in resource.sources:
            self._references[source.ref] += 1
            self._orphans.pop(source.ref, None)
            if not resource.held:
                self._raise(source.ref, source.revision, now)
        match record:
            case routing.RouteRecord():
                self._routes[name.name] = record
            case routing.UpstreamRecord():
                self._upstreams[name.name] = record
            case routing.KeyRecord():
                self._keys[name.name] = record
            case routing.SecretRecord():
                self._secrets[name.name] = record
            case routing.PolicyRecord():
                self._policies[name.name] = record

    def _remove(self, name: Name, sources: Iterable[pb.Source], now: float) -> None:
        known = dict(self._sources(name))
        for source in sources:
            known[source.ref] = max(source.revision, known.get(source.ref, 0))
        self._take_out(name, now)
        self._removed[name] = (now, known)

    def _take_out(self, name: Name, now: float) -> None:
        resource = self._resources.pop(name, None)
        if resource is None:
            return
        self._fingerprint.remove(name, resource.version)
        for source in resource.sources:
            self._references[source.ref] -= 1
            if not self._references[source.ref]:
                del self._references[source.ref]
                self._orphans[source.ref] = now
        match name.type:
            case pb.TYPE_ROUTE:
                self._routes.pop(name.name, None)
            case pb.TYPE_UPSTREAM:
                self._upstreams.pop(name.name, None)
            case pb.TYPE_KEY:
                self._keys.pop(name.name, None)
            case pb.TYPE_SECRET:
                self._secrets.pop(name.name, None)
            case pb.TYPE_POLICY:
                self._policies.pop(name.name, None)

    def _raise(self, ref: str, revision: int, now: float) -> None:
        if revision > self._marks.get(ref, 0):
            self._marks[ref] = revision
            if ref not in self._references:
                self._orphans[ref] = now

    def _purge(self, now: float) -> None:
        if now - self._purged < _PURGE_SECONDS:
            return
        self._purged = now
        for ref in [ref for ref, since in self._orphans.items() if now - since > TOMBSTONE_SECONDS]:
            del self._orphans[ref]
            self._marks.pop(ref, None)
        for name in [name for name, (since, _) in self._removed.items() if now - since > TOMBSTONE_SECONDS]:
            del self._removed[name]

    def _forget_parts(self) -> None:
        self._parts = []
        self._part_bytes = 0
        self._decoded.clear()


@dataclass(frozen=True, slots=True)
class Saved:
    """What a store holds, to be taken over by the next process; secrets included.

    Attributes:
        journal: Updates that came later, in their order; also some that came before.
        first_journal: See `lastgood`.
    """

    version: str
    resources: tuple[pb.Resource, ...]
    marks: Mapping[str, int]
    tombstones: Mapping[Name, Mapping[str, int]]
    journal: tuple[pb.Update, ...] = ()
    first_journal: int = 0

    def __repr__(self) -> str:
        return f"Saved({self.version!r}, {len(self.resources)} resources)"
