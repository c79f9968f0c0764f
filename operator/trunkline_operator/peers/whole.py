"""All gateways of all replicas, as the writer of statuses sees them. No I/O.

A peer's gateway serves a name as the writer's table has it when it is not behind with it at its peer *and* the peer's
version of that name is the writer's own: a peer that lags cannot make a status say what is not so. A gateway that
moves from one replica to another is seen at both for a moment; its newest connection that counts is the one that does.

A peer that says goodbye takes its gateways with it. One that is cut off, or killed, does not: they may well serve on,
so for a while they count as they were last known, and are behind with whatever changes.
"""

import logging
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from trunkline_operator.peers.bounds import MAX_GATEWAYS, MAX_KEYS, MAX_NAMES, TooLargeError
from trunkline_operator.publish.fleet import Connection, Fleet, Programmed, Scheduler, Timer, badness
from trunkline_operator.publish.publisher import Publisher
from trunkline_protocol.logs import fields
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_LOG: Final = logging.getLogger(__name__)

LINGER_SECONDS: Final = 3.0
"""For how long the gateways of a peer whose stream has ended still count: it, or they, are back within a moment."""

MISSING_SECONDS: Final = 120.0
"""The same where it has not said goodbye, for those gateways that have not been seen elsewhere since."""

TOLD_SECONDS: Final = 20.0
"""When it is said that such a peer is missing: those of one that was killed are elsewhere by then."""

_NAMED: Final = 5


@dataclass(slots=True)
class PeerGateway:
    """One gateway of a peer; ``lacks``: name → why it was refused, empty: it is only behind."""

    node: str
    instance: str
    counts: bool
    draining: bool
    since: float
    lacks: dict[Name, str] = field(default_factory=dict)


class Peer:
    """What one replica has said, on one stream."""

    def __init__(self, identity: str, now: float, replace: Callable[[], None], address: str) -> None:
        self.identity = identity
        self.address = address
        self.since = now
        self.seen = now
        self.replace = replace
        self.leaving: Timer | None = None
        self.table: dict[Name, bytes] = {}
        self.kept: set[Name] = set()
        self.gateways: dict[str, PeerGateway] = {}
        self.keys: dict[str, dict[str, pb.KeyHealth]] = {}
        self._names: dict[int, Name] = {}

    def agrees(self, name: Name, publisher: Publisher) -> bool:
        """Whether its table says of a name what ours says."""
        return (
            self.table.get(name) == publisher.version_of(name)
            or publisher.keeps(name)
            or (name in self.kept and publisher.is_held(name))
        )

    def differing(self, publisher: Publisher) -> set[Name]:
        """Names of which its table does not say what ours says."""
        return {name for name in self.table.keys() | publisher.entries.keys() if not self.agrees(name, publisher)}

    def take_table(self, said: Iterable[pb.PeerName]) -> set[Name]:
        """Take over versions; the names that it is about."""
        touched = set()
        for each in said:
            name = Name(each.type, each.name)
            self._names[each.id] = name
            touched.add(name)
            if each.version:
                self.table[name] = each.version
            else:
                self.table.pop(name, None)
            if each.kept:
                self.kept.add(name)
            else:
                self.kept.discard(name)
        if len(self._names) > MAX_NAMES:
            raise TooLargeError(f"more than {MAX_NAMES} names")
        return touched

    def take_gateway(self, said: pb.PeerGateway, now: float) -> set[Name]:
        """Take over what it says of a gateway; the names of which the gateway's state has changed."""
        node = said.node.name
        before = self.gateways.get(node)
        if before is None and len(self.gateways) >= MAX_GATEWAYS:
            raise TooLargeError(f"more than {MAX_GATEWAYS} gateways")
        lacks = {} if before is None or said.afresh else before.lacks
        touched = set(before.lacks) if before is not None and lacks is not before.lacks else set()
        for id_ in said.caught_up:
            if (name := self._names.get(id_)) is not None and lacks.pop(name, None) is not None:
                touched.add(name)
        lacking = [(id_, "") for id_ in said.behind] + [(each.id, each.reason) for each in said.rejected]
        for id_, reason in lacking:
            if (name := self._names.get(id_)) is not None:
                lacks[name] = reason
                touched.add(name)
        if before is not None and before.counts != said.counts:
            touched |= lacks.keys()
        since = now - said.connected_millis / 1000
        self.gateways[node] = PeerGateway(node, said.node.instance, said.counts, said.draining, since, lacks)
        return touched


class WholeFleet:
    """This replica's gateways and those of its peers. Belongs to the fleet's thread."""

    def __init__(
        self,
        fleet: Fleet,
        scheduler: Scheduler,
        notify: Callable[[frozenset[Name]], None] = lambda names: None,
        keys_changed: Callable[[frozenset[str]], None] = lambda upstreams: None,
        tell: Callable[[str, str], None] = lambda topic, sentence: None,
    ) -> None:
        """Make one without peers.

        Args:
            fleet: This replica's gateways.
            scheduler: The fleet's.
            notify: As that of `Fleet`, for what peers say.
            keys_changed: The same.
            tell: Told which peers are missing; `problems.Problems.tell`.
        """
        self._fleet = fleet
        self._scheduler = scheduler
        self._notify = notify
        self._keys_changed = keys_changed
        self._tell = tell
        self._peers: dict[str, Peer] = {}
        self._sequence = 0
        self._resolved_for = (-1, -1)
        self._elsewhere: frozenset[str] = frozenset()
        self._counted: tuple[tuple[Peer, tuple[PeerGateway, ...]], ...] = ()

    @property
    def publisher(self) -> Publisher:
        """The table."""
        return self._fleet.publisher

    @property
    def peers(self) -> Collection[Peer]:
        """Those with an open stream."""
        return [peer for peer in self._peers.values() if peer.leaving is None]

    @property
    def missing(self) -> Collection[Peer]:
        """Those whose stream has ended, and whose gateways count for a while."""
        return [peer for peer in self._peers.values() if peer.leaving is not None]

    @property
    def addresses(self) -> list[str]:
        """Where peers are reported to; those that are missing included."""
        return list(dict.fromkeys(peer.address for peer in self._peers.values() if peer.address))

    # ---- what peers do ----------------------------------------------------------------------------------------------

    def connect(self, identity: str, replace: Callable[[], None], address: str = "") -> Peer:
        """A peer has begun to report; nothing that it said on an older stream counts once it has said something new.

        Args:
            identity: Of the replica.
            replace: Called when a newer stream of the same replica has come.
            address: Where it is reported to.
        """
        return Peer(identity, self._scheduler.time(), replace, address)

    def report(self, peer: Peer, parts: Iterable[pb.PeerReport]) -> None:
        """A complete report.

        Raises:
            TooLargeError: It cannot be meant; the peer is to be disconnected.
        """
        peer.seen = now = self._scheduler.time()
        first = self._peers.get(peer.identity) is not peer
        counted = self._all_counted()
        before = self._peers.get(peer.identity)
        names: set[Name] = set()
        upstreams: set[str] = set()
        told = list(parts)
        for part in told:
            names |= peer.take_table(part.table)
        moved = first
        for part in told:
            for gone in part.left:
                if (gateway := peer.gateways.pop(gone, None)) is not None:
                    names |= gateway.lacks.keys()
                    moved |= gateway.counts
            for said in part.gateways:
                gateway = peer.gateways.get(said.node.name)
                moved |= said.counts != (gateway is not None and gateway.counts)
                names |= peer.take_gateway(said, now)
            for keys in part.keys:
                upstreams.add(keys.upstream)
                peer.keys[keys.upstream] = {each.key: each for each in keys.keys[:MAX_KEYS]}
        if first:
            # A report in the place of an older one of the same replica: what was said then and is not said now is over.
            names = set()
            if before is not None:
                names |= {name for gateway in before.gateways.values() for name in gateway.lacks}
                names |= before.differing(self.publisher)
                upstreams |= before.keys.keys()
                if before.leaving is not None:
                    before.leaving.cancel()
                    self._tell(f"missing {peer.identity}", "")
                else:
                    before.replace()
            names |= {name for gateway in peer.gateways.values() for name in gateway.lacks}
            self._peers[peer.identity] = peer
        if moved:
            names |= peer.differing(self.publisher)
        self._changed(names, upstreams, counted)

    def disconnect(self, peer: Peer, *, goodbye: bool = False) -> None:
        """Its stream has ended; ``goodbye``: it said so, and its gateways are to be found elsewhere."""
        if self._peers.get(peer.identity) is peer and peer.leaving is None:
            then = self._forget if goodbye else self._miss
            peer.leaving = self._scheduler.call_later(LINGER_SECONDS, lambda: then(peer))

    def _miss(self, peer: Peer) -> None:
        """It is not back."""
        if self._still_counted(peer):
            peer.leaving = self._scheduler.call_later(TOLD_SECONDS - LINGER_SECONDS, lambda: self._tell_missing(peer))
        else:
            self._forget(peer)

    def _tell_missing(self, peer: Peer) -> None:
        nodes = self._still_counted(peer)
        if not nodes:
            self._forget(peer)
            return
        some = ", ".join(nodes[:_NAMED]) + (f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else "")
        where = f" at {peer.address}" if peer.address else ""
        self._tell(
            f"missing {peer.identity}",
            f"the replica {peer.identity}{where} does not report any more and has not said goodbye; what its gateways "
            f"serve is not known ({some}); operators have to reach each other at that port (NetworkPolicy)",
        )

        def forget() -> None:
            gone = fields(peer=peer.identity, gateways=len(self._still_counted(peer)))
            _LOG.warning("The gateways of a replica that has not come back do not count any more", extra=gone)
            self._forget(peer)

        peer.leaving = self._scheduler.call_later(MISSING_SECONDS - TOLD_SECONDS, forget)

    def _still_counted(self, peer: Peer) -> list[str]:
        """Its gateways that have not been seen elsewhere since."""
        self._resolve()
        return sorted(gateway.node for each, counted in self._counted if each is peer for gateway in counted)

    def _forget(self, peer: Peer) -> None:
        self._tell(f"missing {peer.identity}", "")
        counted = self._all_counted()
        del self._peers[peer.identity]
        names = {name for gateway in peer.gateways.values() for name in gateway.lacks}
        names |= peer.differing(self.publisher)
        self._changed(names, set(peer.keys), counted)

    def _changed(self, names: set[Name], upstreams: set[str], counted: int) -> None:
        self._sequence += 1
        now = self._all_counted()
        if bool(now) != bool(counted):
            names = names | self.publisher.entries.keys()
        if names or now != counted:
            self._notify(frozenset(names))
        if upstreams:
            self._keys_changed(frozenset(upstreams))

    # ---- what is asked ----------------------------------------------------------------------------------------------

    def programmed(self, names: Collection[Name]) -> Programmed:
        """How far ``names`` have come with all gateways; see `Fleet.programmed`."""
        self._resolve()
        own = self._fleet.programmed(names, without=self._elsewhere)
        gateways = own.gateways + sum(len(counted) for _, counted in self._counted)
        behind: dict[str, float] = {}
        rejected: dict[str, str] = {}
        publisher = self.publisher
        for peer, counted in self._counted:
            lags = not all(peer.agrees(name, publisher) for name in names)
            for gateway in counted:
                if lags:
                    behind[gateway.node] = peer.seen
                elif gateway.lacks:
                    for name in names:
                        reason = None if publisher.keeps(name) else gateway.lacks.get(name)
                        if reason:
                            rejected[gateway.node] = reason
                        elif reason is not None:
                            behind.setdefault(gateway.node, peer.seen)
        for node in rejected:
            behind.pop(node, None)
        return Programmed(
            own.all and not behind and not rejected,
            gateways,
            tuple(sorted((*own.behind, *behind.items()))),
            tuple(sorted((*own.rejected, *rejected.items()))),
        )

    def behind(self) -> int:
        """How many of the peers' gateways lack something of the table. Compares whole tables: for a scrape."""
        self._resolve()
        return sum(
            len(counted) if peer.differing(self.publisher) else sum(bool(each.lacks) for each in counted)
            for peer, counted in self._counted
        )

    def key_states(self, upstream: str) -> dict[str, pb.KeyHealth]:
        """Key name → the worst that any gateway reports of it."""
        worst = self._fleet.key_states(upstream)
        for peer in self._peers.values():
            for name, health in peer.keys.get(upstream, {}).items():
                if name not in worst or badness(health) > badness(worst[name]):
                    worst[name] = health
        return worst

    def _all_counted(self) -> int:
        return self.programmed(()).gateways

    def _resolve(self) -> None:
        """Find out which connection of each gateway counts, where anything has changed."""
        if self._resolved_for == (now := (self._fleet.membership, self._sequence)):
            return
        self._resolved_for = now
        if not self._peers:
            self._elsewhere, self._counted = frozenset(), ()
            return
        own = {each.session.node.name: each for each in self._fleet.connections}
        seen: dict[str, list[tuple[Peer, PeerGateway]]] = {}
        for peer in self._peers.values():
            for node, gateway in peer.gateways.items():
                seen.setdefault(node, []).append((peer, gateway))
        elsewhere: set[str] = set()
        counted: dict[str, list[PeerGateway]] = {}
        for node, candidates in seen.items():
            chosen = _chosen(own.get(node), candidates)
            for peer, gateway in candidates:
                if peer.leaving is not None and (chosen is None or chosen[1] is not gateway):
                    # It has been seen elsewhere since; when it goes there, it is not back here.
                    del peer.gateways[node]
            if chosen is None and node in own:
                continue
            elsewhere.add(node)
            if chosen is not None and chosen[1].counts:
                counted.setdefault(chosen[0].identity, []).append(chosen[1])
        self._elsewhere = frozenset(elsewhere)
        self._counted = tuple((self._peers[identity], tuple(gateways)) for identity, gateways in counted.items())


def _chosen(own: Connection | None, candidates: list[tuple[Peer, PeerGateway]]) -> tuple[Peer, PeerGateway] | None:
    """The connection that stands for a gateway; None: our own, as it is."""
    newest = max(candidates, key=lambda each: each[1].since)
    if own is not None and own.since >= newest[1].since:
        instance, counts, draining = own.session.node.instance, own.session.counts, own.session.draining
        best: tuple[Peer, PeerGateway] | None = None
    else:
        instance, counts, draining = newest[1].instance, newest[1].counts, newest[1].draining
        best = newest
    if counts or draining:
        return best
    # It has just come and is not complete yet: it counts where it was, unless it is another process by now.
    older = [each for each in candidates if each[1].counts and each[1].instance == instance]
    last = max(older, key=lambda each: each[1].since) if older else None
    own_counts = own is not None and own.session.counts and own.session.node.instance == instance
    if own is not None and own_counts and (last is None or own.since >= last[1].since):
        return None
    return last or best
