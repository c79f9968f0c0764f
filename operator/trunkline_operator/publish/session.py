"""One gateway's stream, without the stream: what it holds, what it lacks, what it refused. Pure.

A session never queues snapshots. It knows which names the gateway may lack; `next` looks up what they are at that
moment, so that a slow gateway gets the newest and skips what was in between. One ordinary update is in flight at a
time; what changes or removes something that was there may overtake its ACK, up to ``MAX_IN_FLIGHT`` updates.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from trunkline_operator.publish.publisher import Change, Publisher
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

MAX_IN_FLIGHT: Final = 4
_MAX_REASON: Final = 500
_MARKS_IN_PART: Final = 10_000

NEWER_GATEWAY: Final = "needs a newer gateway"

_Offered: TypeAlias = pb.Resource | pb.Removal


class Behind(NamedTuple):
    """What a gateway holds of a name that is something else in the table.

    Attributes:
        version: As acknowledged; None: nothing.
        since: On the clock of whoever calls.
    """

    version: bytes | None
    since: float


class Rejection(NamedTuple):
    """A version that a gateway cannot use."""

    version: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class _Flight:
    nonce: int
    items: dict[Name, _Offered]


class Session:
    """What is known of one gateway.

    Attributes:
        node: As it introduced itself.
        behind: Names of which it does not hold what the table says; for a joining gateway, all that it lacks.
        rejected: Names → the version that it cannot use, and why. They are in ``behind``, too.
        complete: It has acknowledged its first update. From then on it counts.
        draining: It has said that it is about to exit.
    """

    def __init__(self, publisher: Publisher, hello: pb.Hello, now: float) -> None:
        self.node = hello.node
        self.behind: dict[Name, Behind] = {}
        self.rejected: dict[Name, Rejection] = {}
        self.complete = False
        self.draining = False
        self._publisher = publisher
        self._reader = hello.reader
        self._kept: dict[Name, bytes] = {}
        self._stale: dict[Name, _Offered] = {}
        self._flights: deque[_Flight] = deque()
        self._nonce = 0
        self._urgent: set[Name] = set()
        self._marked = 0
        held = {Name(each.type, each.name): each.version for each in hello.held}
        for name, entry in publisher.entries.items():
            if (version := held.get(name)) != entry.version:
                self.behind[name] = Behind(version or None, now)
        for name in held.keys() - publisher.entries.keys():
            if name.type not in table.KINDS:
                continue  # from a newer operator; not ours to judge
            if publisher.keeps(name):
                self._kept[name] = held[name]
            else:
                self.behind[name] = Behind(held[name], now)
        self._dirty: dict[Name, None] = dict.fromkeys(self.behind)
        self._fresh = not held

    @property
    def counts(self) -> bool:
        """Whether it counts for Programmed."""
        return self.complete and not self.draining

    @property
    def idle(self) -> bool:
        """Whether nothing that was sent waits for its ACK."""
        return not self._flights

    def table_changed(self, change: Change, now: float) -> None:
        """Take note of a `Publisher.set`."""
        publisher = self._publisher
        for name, before in change.changed.items():
            if name in self._kept:
                held: bytes | None = self._kept.pop(name)
            elif name in self.behind:
                held = self.behind[name].version
            else:
                held = before
            self._settle(name, held, now)
        self._urgent |= change.urgent
        for name in self._stale.keys() - change.changed.keys():
            # Offered again once our own view has moved on; a removal rests on LISTs as well.
            if name in change.moved or publisher.version_of(name) is None:
                self._dirty[name] = None

    def next(self) -> list[pb.Update]:
        """The parts of the next update, to be sent in this order before `next` is called again; empty: nothing now."""
        if not self._flights:
            due: Iterable[Name] = self._dirty
            # The first one always goes out: it tells the gateway that it is up to date.
            first = self._nonce == 0
        elif self._urgent and len(self._flights) < MAX_IN_FLIGHT:
            due = [name for name in self._dirty if name in self._urgent]
            first = False
        else:
            return []
        offers: dict[Name, _Offered] = {}
        later: dict[Name, None] = {}
        for name in list(due):
            del self._dirty[name]
            offer = self._offer(name)
            if offer is not None:
                offers[name] = offer
            elif (
                self._publisher.version_of(name) is None
                and self._expected(name) is not None
                and not self._is_moot(name)
            ):
                later[name] = None
        self._dirty |= later
        self._urgent &= self._dirty.keys()
        marks: list[pb.Source] = []
        if not self._flights and self._marked < self._publisher.sequence:
            publisher = self._publisher
            marks = publisher.absent_marks() if first and self._fresh else publisher.marks(self._marked)
            self._marked = self._publisher.sequence
        if not offers and not marks and not first:
            return []
        self._nonce += 1
        self._flights.append(_Flight(self._nonce, offers))
        return self._parts(offers.values(), marks)

    def acknowledge(self, ack: pb.Ack, now: float) -> frozenset[Name]:
        """Take note of an ACK; what is not the answer to an update in flight is ignored.

        Returns:
            The names that were in the update.
        """
        if not any(flight.nonce == ack.nonce for flight in self._flights):
            return frozenset()
        names: set[Name] = set()
        while self._flights:
            flight = self._flights.popleft()
            names |= flight.items.keys()
            if flight.nonce == ack.nonce:
                break
            # Updates are applied in order: what stands behind an acknowledged one was applied, its own ACK is lost.
            for name, offered in flight.items.items():
                self._settle(name, _version(offered), now)
        rejected = {Name(each.type, each.name): each for each in ack.rejected}
        stale = {Name(each.type, each.name): each for each in ack.stale}
        for name, offered in flight.items.items():
            self.rejected.pop(name, None)
            self._stale.pop(name, None)
            if (reject := rejected.get(name)) is not None:
                self.rejected[name] = Rejection(reject.version, reject.reason[:_MAX_REASON])
                self._settle(name, reject.held_version or None, now)
            elif (kept := stale.get(name)) is not None:
                self._stale[name] = offered
                self._settle(name, kept.held_version or None, now)
            else:
                self._settle(name, _version(offered), now)
        self.complete = True
        return frozenset(names)

    def _settle(self, name: Name, held: bytes | None, now: float) -> None:
        """The gateway is known to hold this version now."""
        target = self._publisher.version_of(name)
        if target is None and self._publisher.keeps(name):
            self.behind.pop(name, None)
            self._dirty.pop(name, None)
            if held is not None:
                self._kept[name] = held
            else:
                self._kept.pop(name, None)
            return
        if held == target:
            self.behind.pop(name, None)
            self.rejected.pop(name, None)
        else:
            before = self.behind.get(name)
            self.behind[name] = Behind(held, before.since if before is not None else now)
        # Even when it holds what it should: something else may be in flight.
        if held != target or self._flights:
            self._dirty[name] = None

    def _expected(self, name: Name) -> bytes | None:
        """What the gateway will hold when it has applied what is in flight."""
        for flight in reversed(self._flights):
            if (offered := flight.items.get(name)) is not None:
                return _version(offered)
        if (behind := self.behind.get(name)) is not None:
            return behind.version
        return self._kept.get(name) or self._publisher.version_of(name)

    def _is_moot(self, name: Name) -> bool:
        """Whether a removal was refused as stale and would be again."""
        return name in self._stale or self._publisher.keeps(name)

    def _offer(self, name: Name) -> _Offered | None:
        """What to send of ``name``, if anything."""
        entry = self._publisher.entries.get(name)
        if self._expected(name) == (entry.version if entry is not None else None):
            return None
        refused = self._stale.get(name)
        if entry is None:
            removal = None if self._publisher.keeps(name) else self._publisher.removal(name)
            if removal is not None and refused is not None and _same(refused, removal):
                return None
            return removal
        if refused is not None and _same(refused, entry.resource):
            return None
        rejection = self.rejected.get(name)
        if rejection is not None and rejection.version == entry.version:
            return None
        if entry.resource.min_reader > self._reader and name.type not in table.ALWAYS_APPLIED:
            self.rejected[name] = Rejection(entry.version, NEWER_GATEWAY)
            return None
        return entry.resource

    def _parts(self, offers: Iterable[_Offered], marks: list[pb.Source]) -> list[pb.Update]:
        entries = self._publisher.entries
        parts = [pb.Update(marks=part) for part in _batched(marks, _MARKS_IN_PART)] or [pb.Update()]
        size = 0
        for offer in offers:
            if isinstance(offer, pb.Removal):
                parts[-1].removals.append(offer)
                size += offer.ByteSize()
                continue
            added = entries[Name(offer.type, offer.name)].size
            if size and size + added > table.STREAM_MESSAGE_BYTES:
                parts.append(pb.Update())
                size = 0
            parts[-1].resources.append(offer)
            size += added
        for part in parts:
            part.nonce = self._nonce
            part.table_version = self._publisher.version
            part.more = part is not parts[-1]
        return parts


def _batched(marks: list[pb.Source], size: int) -> Iterator[list[pb.Source]]:
    for start in range(0, len(marks), size):
        yield marks[start : start + size]


def _version(offered: _Offered) -> bytes | None:
    return offered.version if isinstance(offered, pb.Resource) else None


def _same(refused: _Offered, offered: _Offered) -> bool:
    return _version(refused) == _version(offered) and refused.sources == offered.sources
