"""The table as it is published: the last compilation, with the last good version of what is held. Pure.

`Publisher` says what the table is and what has changed; a `session.Session` says what one gateway lacks of it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from types import MappingProxyType
from typing import Final, NamedTuple

from trunkline_operator.compile.result import Compiled
from trunkline_operator.watch.world import Ref, World
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_MAX_GONE: Final = 50_000
_TYPES: Final = {kind: type_ for type_, kind in table.KINDS.items()}


class Entry(NamedTuple):
    """A resource of the table, with what is asked of it often."""

    version: bytes
    resource: pb.Resource
    size: int


@dataclass(frozen=True, slots=True)
class Change:
    """What one `Publisher.set` has changed.

    Attributes:
        changed: Names with another version than before, or none → the version before; None: there was none.
        urgent: Those of them that change or remove something that was there: it may be a revocation.
        moved: Names whose version stayed while the view of their sources became newer.
    """

    changed: Mapping[Name, bytes | None]
    urgent: frozenset[Name]
    moved: frozenset[Name]


def primary(name: Name) -> Ref:
    """The object that a resource is named after."""
    namespace, _, object_name = name.name.partition("/")
    return Ref(table.KINDS[name.type], namespace, object_name)


class Publisher:
    """The current table. Belongs to one thread, the same as the world's."""

    def __init__(self) -> None:
        self._entries: dict[Name, Entry] = {}
        self._fingerprint = table.Fingerprint()
        self._compiled = Compiled(resources={}, holds=frozenset(), verdicts={})
        self._world = World()
        # ref → (revision, sequence), in the order of the sequence, so that "since" reads from the end.
        self._marks: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._sequence = 0
        self._all_marks: tuple[int, list[pb.Source]] = (0, [])
        self._gone: dict[Name, tuple[Ref, ...]] = {}
        self._absent: tuple[str, ...] = ()

    @property
    def entries(self) -> Mapping[Name, Entry]:
        """The table."""
        return MappingProxyType(self._entries)

    @property
    def version(self) -> str:
        """Of the whole table."""
        return str(self._fingerprint)

    @property
    def sequence(self) -> int:
        """Grows by one with each `set`."""
        return self._sequence

    def version_of(self, name: Name) -> bytes | None:
        """The version of a resource; None where the table has none."""
        entry = self._entries.get(name)
        return entry.version if entry is not None else None

    def keeps(self, name: Name) -> bool:
        """Whether the name is held and no good version was ever seen: a gateway keeps what it has."""
        return name in self._compiled.holds and name not in self._entries

    def is_held(self, name: Name) -> bool:
        """Whether gateways keep an older version of it than the one that somebody wants."""
        return name in self._compiled.holds

    @property
    def kept(self) -> frozenset[Name]:
        """All names that `keeps` is true of."""
        return frozenset(name for name in self._compiled.holds if name not in self._entries)

    def set(self, compiled: Compiled, world: World) -> Change:
        """Take over a compilation and the world that it was made from.

        To be called after each LIST too, even if nothing came of it: removals rest on it.
        """
        changed: dict[Name, bytes | None] = {}
        moved: set[Name] = set()
        self._sequence += 1
        for name, resource in compiled.resources.items():
            before = self._entries.get(name)
            if before is not None and before.resource is resource:
                continue
            if before is not None and before.version == resource.version:
                if before.resource.sources != resource.sources or before.resource.held:
                    self._entries[name] = Entry(before.version, resource, resource.ByteSize())
                    moved.add(name)
                    self._mark(resource.sources)
                continue
            changed[name] = before.version if before is not None else None
            self._put(name, resource)
        for name in self._entries.keys() - compiled.resources.keys():
            if name in compiled.holds:
                self._hold(name)
            else:
                changed[name] = self._drop(name)
        for name in self._compiled.holds ^ compiled.holds:
            # Gateways may have a version of what is only held here, or be about to lose it.
            if name not in self._entries:
                changed.setdefault(name, None)
        self._compiled = compiled
        self._world = world
        self._mark_absent()
        urgent = frozenset(name for name, before in changed.items() if before is not None or name not in self._entries)
        return Change(changed, urgent, frozenset(moved))

    def removal(self, name: Name) -> pb.Removal | None:
        """What takes ``name`` away from a gateway, resting on the newest view of all that it came from.

        None while the object has been observed but not compiled: it is not known yet whether the name goes.
        """
        ref = primary(name)
        if ref in self._world.objects and ref not in self._compiled.verdicts:
            return None
        sources: dict[str, int] = {str(each): self._world.seen(each) for each in (ref, *self._gone.get(name, ()))}
        for source, revision in self._compiled.denied.get(name, {}).items():
            sources[source] = max(revision, sources.get(source, 0))
        return pb.Removal(
            type=name.type,
            name=name.name,
            sources=[pb.Source(ref=source, revision=revision) for source, revision in sorted(sources.items())],
        )

    def absent_marks(self) -> list[pb.Source]:
        """The sources of what is not in the table though it could be: for a gateway that holds nothing yet.

        Without them it would believe a replica that has not yet seen a deletion.
        """
        return [pb.Source(ref=ref, revision=self._marks[ref][0]) for ref in self._absent]

    def marks(self, since: int) -> list[pb.Source]:
        """The sources whose revision has grown after the `sequence` ``since``; 0: all of them."""
        if since == 0:
            if self._all_marks[0] != self._sequence:
                every = [pb.Source(ref=ref, revision=revision) for ref, (revision, _) in self._marks.items()]
                self._all_marks = (self._sequence, every)
            return self._all_marks[1]
        newer = takewhile(lambda mark: mark[1][1] > since, reversed(self._marks.items()))
        return [pb.Source(ref=ref, revision=revision) for ref, (revision, _) in newer]

    def _put(self, name: Name, resource: pb.Resource) -> None:
        if (before := self._entries.get(name)) is not None:
            self._fingerprint.remove(name, before.version)
        self._entries[name] = entry = Entry(resource.version, resource, resource.ByteSize())
        self._fingerprint.add(name, entry.version)
        self._gone.pop(name, None)
        self._mark(resource.sources)

    def _hold(self, name: Name) -> None:
        entry = self._entries[name]
        if not entry.resource.held:
            kept = pb.Resource()
            kept.CopyFrom(entry.resource)
            kept.held = True
            self._entries[name] = entry._replace(resource=kept, size=kept.ByteSize())

    def _drop(self, name: Name) -> bytes:
        entry = self._entries.pop(name)
        self._fingerprint.remove(name, entry.version)
        self._gone[name] = tuple(_ref(source.ref) for source in entry.resource.sources)
        if len(self._gone) > _MAX_GONE:
            del self._gone[next(iter(self._gone))]
        return entry.version

    def _mark_absent(self) -> None:
        """Mark what was deleted, and what is there but denied; of a deletion that nobody saw there is no trace."""
        world = self._world
        absent = {str(ref): revision for ref, revision in world.tombstones.items() if ref not in world.objects}
        for ref, observed in world.objects.items():
            type_ = _TYPES.get(ref.kind)
            if type_ is not None and ref in self._compiled.verdicts:
                name = Name(type_, f"{ref.namespace}/{ref.name}")
                if name not in self._entries and name not in self._compiled.holds:
                    absent[str(ref)] = observed.revision
        for sources in (self._compiled.marks, *self._compiled.denied.values()):
            for source, revision in sources.items():
                absent[source] = max(revision, absent.get(source, 0))
        self._mark(pb.Source(ref=ref, revision=revision) for ref, revision in absent.items())
        self._absent = tuple(absent)

    def _mark(self, sources: Iterable[pb.Source]) -> None:
        for source in sources:
            known = self._marks.get(source.ref)
            if known is None or known[0] < source.revision:
                self._marks[source.ref] = (source.revision, self._sequence)
                self._marks.move_to_end(source.ref)


def _ref(text: str) -> Ref:
    kind, namespace, name = text.split("/", 2)
    return Ref(kind, namespace, name)
