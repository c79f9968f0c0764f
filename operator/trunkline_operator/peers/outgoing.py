"""What a replica tells the writer: its table by versions, and what each of its gateways lacks of it. No I/O.

One `Outgoing` for each stream: the first report is complete, the later ones are differences to what was said before.
Nothing is queued: `next` looks at what is so at that moment, so that a slow writer gets the newest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from trunkline_operator.publish.fleet import Connection, Fleet
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_MAX_REASON: Final = 200
_MAX_REASONS: Final = 200
_NO_REASON: Final = "see the gateway's log"


@dataclass(slots=True)
class _Said:
    """What was said of one gateway; ``lacks``: name → why it was refused, empty: it is only behind."""

    connection: Connection
    counts: bool = False
    draining: bool = False
    lacks: dict[Name, str] = field(default_factory=dict)


class Outgoing:
    """The reports of one stream. Belongs to the fleet's thread."""

    def __init__(self, fleet: Fleet, identity: str, address: str = "") -> None:
        self._fleet = fleet
        self._identity = identity
        self._address = address
        self._ids: dict[Name, int] = {}
        self._versions: dict[Name, tuple[bytes, bool]] = {}
        self._gateways: dict[str, _Said] = {}
        self._nonce = 0
        publisher = fleet.publisher
        self._names = set(publisher.entries) | publisher.kept
        self._upstreams = {upstream for each in fleet.connections for upstream in each.keys}

    def changed(self, names: Iterable[Name], upstreams: Iterable[str]) -> None:
        """`Fleet` has notified: the table, gateways or keys may be something else now."""
        self._names.update(names)
        self._upstreams.update(upstreams)

    def next(self, *, always: bool = False) -> list[pb.PeerReport]:
        """The parts of the next report, to be sent and acknowledged before `next` is called again; empty: no news.

        Args:
            always: Make a report even if there is no news.
        """
        parts = _Parts()
        self._add_gateways(parts)
        self._add_table(parts)
        self._add_keys(parts)
        first = self._nonce == 0
        if not (first or parts.filled or always):
            return []
        self._nonce += 1
        return parts.finish(self._nonce, self._identity, self._address)

    def goodbye(self) -> pb.PeerReport:
        """The last report of the stream."""
        self._nonce += 1
        return pb.PeerReport(nonce=self._nonce, peer=self._identity, leaving=True)

    def _add_table(self, parts: "_Parts") -> None:
        """Names that changed, and those that gateways were said to lack for the first time."""
        publisher = self._fleet.publisher
        names, self._names = self._names, set()
        for name in names:
            now = (publisher.version_of(name) or b"", publisher.keeps(name))
            known = self._versions.get(name)
            if now == known or (known is None and name not in self._ids and now == (b"", False)):
                continue
            self._versions[name] = now
            version, kept = now
            said = pb.PeerName(id=self._id(name), type=name.type, name=name.name, version=version, kept=kept)
            parts.part(64 + len(name.name)).table.append(said)

    def _add_gateways(self, parts: "_Parts") -> None:
        now = self._fleet.now
        present = {each.session.node.name: each for each in self._fleet.connections}
        for gone in self._gateways.keys() - present.keys():
            del self._gateways[gone]
            parts.part(len(gone) + 4).left.append(gone)
        for node, connection in present.items():
            session = connection.session
            said = self._gateways.get(node)
            afresh = said is None or said.connection is not connection
            if said is None or afresh:
                said = self._gateways[node] = _Said(connection)
            lacks = dict(self._lacking(connection)) if session.counts and session.behind else {}
            same = (said.counts, said.draining) == (session.counts, session.draining)
            if same and not afresh and lacks == said.lacks:
                continue
            gateway = pb.PeerGateway(
                node=session.node,
                counts=session.counts,
                draining=session.draining,
                connected_millis=int((now - connection.since) * 1000),
                afresh=afresh,
            )
            for name, reason in lacks.items():
                if said.lacks.get(name) == reason:
                    continue
                if reason:
                    gateway.rejected.add(id=self._named(name), reason=reason)
                else:
                    gateway.behind.append(self._named(name))
            gateway.caught_up.extend(self._id(name) for name in said.lacks.keys() - lacks.keys())
            said.counts, said.draining, said.lacks = session.counts, session.draining, lacks
            parts.part(gateway.ByteSize() + 4).gateways.append(gateway)

    def _lacking(self, connection: Connection) -> Iterator[tuple[Name, str]]:
        session, publisher, reasons = connection.session, self._fleet.publisher, 0
        for name in session.behind:
            rejection = session.rejected.get(name)
            if rejection is None or rejection.version != publisher.version_of(name):
                yield name, ""
                continue
            reasons += 1
            yield name, (rejection.reason[:_MAX_REASON] or _NO_REASON) if reasons <= _MAX_REASONS else _NO_REASON

    def _add_keys(self, parts: "_Parts") -> None:
        upstreams, self._upstreams = self._upstreams, set()
        for upstream in upstreams:
            said = pb.PeerKeys(upstream=upstream)
            for key, health in self._fleet.key_states(upstream).items():
                said.keys.add(key=key, state=health.state, reason=health.reason[:_MAX_REASON], until=health.until)
            parts.part(said.ByteSize() + 4).keys.append(said)

    def _id(self, name: Name) -> int:
        return self._ids.setdefault(name, len(self._ids) + 1)

    def _named(self, name: Name) -> int:
        """The id of a name, which is told if it has not been."""
        if name not in self._versions:
            self._names.add(name)
        return self._id(name)


class _Parts:
    """A report that is cut where it becomes too long for one message."""

    def __init__(self) -> None:
        self._parts = [pb.PeerReport()]
        self._size = 0

    @property
    def filled(self) -> bool:
        return self._size > 0

    def part(self, size: int) -> pb.PeerReport:
        """Where something of this many bytes goes."""
        if self._size and self._size + size > table.STREAM_MESSAGE_BYTES:
            self._parts.append(pb.PeerReport())
            self._size = 0
        self._size += size
        return self._parts[-1]

    def finish(self, nonce: int, identity: str, address: str) -> list[pb.PeerReport]:
        self._parts[0].address = address
        for part in self._parts:
            part.nonce, part.peer, part.more = nonce, identity, part is not self._parts[-1]
        return self._parts
