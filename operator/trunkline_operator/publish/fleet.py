"""All gateways: who is connected, what each lacks, and what they say of the keys. No I/O.

The servicer feeds it; the report stage asks it. When the state of names changes, ``notify`` gets them, gathered for a
moment: an ACK of a thousand names by fifty gateways is one notice, not fifty thousand.
"""

from collections.abc import Callable, Collection, Iterable, Set
from dataclasses import dataclass
from typing import Final, Protocol

from trunkline_operator.compile.result import Compiled
from trunkline_operator.publish.publisher import Publisher
from trunkline_operator.publish.session import Session
from trunkline_operator.watch.world import World
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

_NOTICE_SECONDS: Final = 0.05
_MAX_UPSTREAMS: Final = 20_000
_MAX_KEYS: Final = 256
LINGER_SECONDS: Final = 2.0

_WORSE: Final = {
    pb.HEALTH_STATE_ACTIVE: 1,
    pb.HEALTH_STATE_COOLING_DOWN: 2,
    pb.HEALTH_STATE_REJECTED: 3,
}


class Timer(Protocol):
    """What `Scheduler.call_later` returns."""

    def cancel(self) -> None:
        """Never call."""
        ...


class Scheduler(Protocol):
    """An event loop, as far as it is needed here; a test passes its own."""

    def time(self) -> float:
        """Seconds on a monotonic clock."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call ``callback`` in ``delay`` seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Programmed:
    """How far some names have come.

    Attributes:
        all: Every gateway that counts serves them as the table has them. True for no gateways.
        gateways: How many count.
        behind: (node name, since when on the scheduler's clock) of those that will have them, by name.
        rejected: (node name, why) of those that cannot use them, by name.
    """

    all: bool
    gateways: int
    behind: tuple[tuple[str, float], ...] = ()
    rejected: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """One connected gateway, for metrics and the debug page."""

    node: str
    instance: str
    version: str
    counts: bool
    draining: bool
    behind: int
    rejected: tuple[tuple[Name, str], ...]
    connected_since: float
    last_seen: float


class Connection:
    """One open stream: the session, and how to reach its writer."""

    def __init__(self, session: Session, now: float, wake: Callable[[], None], replace: Callable[[], None]) -> None:
        self.session = session
        self.wake = wake
        self.replace = replace
        self.since = now
        self.seen = now
        self.keys: dict[str, dict[str, pb.KeyHealth]] = {}
        self.leaving: Timer | None = None


class Fleet:
    """The gateways of this operator. Belongs to one thread.

    Attributes:
        membership: Grows when somebody comes, goes, begins to count or to drain.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        notify: Callable[[frozenset[Name]], None] = lambda names: None,
        keys_changed: Callable[[frozenset[str]], None] = lambda upstreams: None,
        stale: Callable[[], None] = lambda: None,
    ) -> None:
        """Make an empty one.

        Args:
            scheduler: The event loop.
            notify: Gets names whose `programmed` may say something else now; none where only `membership` has grown.
            keys_changed: Gets upstreams whose `key_states` may say something else now.
            stale: A gateway has seen something newer than we have: a LIST, soon, would tell what. Called for each such
                ACK; to be limited by whoever LISTs.
        """
        self.publisher = Publisher()
        self._scheduler = scheduler
        self._notify = notify
        self._keys_changed = keys_changed
        self._stale = stale
        self._connections: dict[str, Connection] = {}
        self._names: set[Name] = set()
        self._upstreams: set[str] = set()
        self._notice: Timer | None = None
        self.membership = 0
        self._told_membership = 0

    @property
    def connections(self) -> Collection[Connection]:
        """All, those included that have just ended and linger."""
        return self._connections.values()

    @property
    def now(self) -> float:
        """The scheduler's clock, which `Connection.since` is on."""
        return self._scheduler.time()

    def set(self, compiled: Compiled, world: World) -> None:
        """Publish a compilation; see `Publisher.set`."""
        change = self.publisher.set(compiled, world)
        now = self._scheduler.time()
        for connection in self._connections.values():
            connection.session.table_changed(change, now)
            connection.wake()
        self._touch(change.changed)

    def connect(self, hello: pb.Hello, wake: Callable[[], None], replace: Callable[[], None]) -> Connection:
        """A stream has said hello.

        Args:
            hello: What it said.
            wake: Called when `Session.next` may have something.
            replace: Called when a newer stream of the same node has come; this one is out of the fleet already.
        """
        now = self._scheduler.time()
        connection = Connection(Session(self.publisher, hello, now), now, wake, replace)
        before = self._connections.get(hello.node.name)
        counted = self._counted()
        self._connections[hello.node.name] = connection
        if before is not None:
            if before.session.node.instance == hello.node.instance:
                connection.session.complete = before.session.complete
            if before.leaving is not None:
                before.leaving.cancel()
            else:
                before.replace()
            self._left(before, counted)
            self._touch(connection.session.behind)
        self._members_changed()
        return connection

    def disconnect(self, connection: Connection) -> None:
        """A stream has ended; may be called more than once.

        Unless it was draining, the gateway counts for two more seconds: every stream ends once in half an hour, and a
        fleet of one must not lose and regain the state of all its resources each time.
        """
        if self._connections.get(connection.session.node.name) is not connection or connection.leaving is not None:
            return
        if connection.session.counts:
            connection.leaving = self._scheduler.call_later(LINGER_SECONDS, lambda: self._forget(connection))
        else:
            self._forget(connection)

    def acknowledge(self, connection: Connection, ack: pb.Ack) -> None:
        """A gateway has applied an update."""
        session = connection.session
        connection.seen = now = self._scheduler.time()
        counted = self._counted()
        joined = not session.complete
        names = session.acknowledge(ack, now)
        if joined and session.complete:
            self._members_changed()
            self._touch(self._everything() if counted == 0 else session.behind)
        elif session.counts:
            self._touch(names)
        if ack.stale:
            self._stale()
        connection.wake()

    def report(self, connection: Connection, report: pb.NodeReport) -> None:
        """A gateway has said how its keys fare, or that it is about to exit."""
        connection.seen = self._scheduler.time()
        for key in report.keys:
            if len(connection.keys) < _MAX_UPSTREAMS or key.upstream in connection.keys:
                states = connection.keys.setdefault(key.upstream, {})
                if len(states) < _MAX_KEYS or key.key in states:
                    states[key.key] = key
                    self._upstreams.add(key.upstream)
        if report.draining and not connection.session.draining:
            counted = self._counted()
            connection.session.draining = True
            self._left(connection, counted)
        self._schedule()

    def programmed(self, names: Collection[Name], *, without: Set[str] = frozenset()) -> Programmed:
        """How far ``names`` have come, leaving out the nodes ``without``; cheap while gateways are up to date."""
        behind: dict[str, float] = {}
        rejected: dict[str, str] = {}
        gateways = 0
        for node, connection in self._connections.items():
            session = connection.session
            if not session.counts or node in without:
                continue
            gateways += 1
            if not session.behind:
                continue
            for name in names:
                if (lacks := session.behind.get(name)) is None:
                    continue
                rejection = session.rejected.get(name)
                if rejection is not None and rejection.version == self.publisher.version_of(name):
                    rejected[node] = rejection.reason
                else:
                    behind[node] = min(lacks.since, behind.get(node, lacks.since))
        for node in rejected:
            behind.pop(node, None)
        return Programmed(
            not behind and not rejected, gateways, tuple(sorted(behind.items())), tuple(sorted(rejected.items()))
        )

    def key_states(self, upstream: str) -> dict[str, pb.KeyHealth]:
        """Key name → the worst that any gateway reports of it; of equals the one that lasts longest."""
        worst: dict[str, pb.KeyHealth] = {}
        for connection in self._connections.values():
            for name, health in connection.keys.get(upstream, {}).items():
                if name not in worst or badness(health) > badness(worst[name]):
                    worst[name] = health
        return worst

    def gateways(self) -> list[Gateway]:
        """Everybody who is connected, by name."""
        return [
            Gateway(
                node=name,
                instance=connection.session.node.instance,
                version=connection.session.node.version,
                counts=connection.session.counts,
                draining=connection.session.draining,
                behind=len(connection.session.behind),
                rejected=tuple((name, each.reason) for name, each in sorted(connection.session.rejected.items())),
                connected_since=connection.since,
                last_seen=connection.seen,
            )
            for name, connection in sorted(self._connections.items())
            if connection.leaving is None
        ]

    def _counted(self) -> int:
        return sum(connection.session.counts for connection in self._connections.values())

    def _forget(self, connection: Connection) -> None:
        counted = self._counted()
        del self._connections[connection.session.node.name]
        self._left(connection, counted)

    def _left(self, connection: Connection, counted: int) -> None:
        """It no longer counts; ``counted``: how many did before."""
        self._upstreams |= connection.keys.keys()
        self._members_changed()
        self._touch(self._everything() if counted and not self._counted() else connection.session.behind)

    def _everything(self) -> Set[Name]:
        names = set(self.publisher.entries)
        for connection in self._connections.values():
            names |= connection.session.behind.keys()
        return names

    def _members_changed(self) -> None:
        self.membership += 1
        self._schedule()

    def _touch(self, names: Iterable[Name]) -> None:
        self._names.update(names)
        self._schedule()

    def _schedule(self) -> None:
        if self._notice is None and (self._names or self._upstreams or self.membership != self._told_membership):
            self._notice = self._scheduler.call_later(_NOTICE_SECONDS, self._tell)

    def _tell(self) -> None:
        names, self._names = frozenset(self._names), set()
        upstreams, self._upstreams = frozenset(self._upstreams), set()
        self._notice = None
        if names or self.membership != self._told_membership:
            self._told_membership = self.membership
            self._notify(names)
        if upstreams:
            self._keys_changed(upstreams)


def badness(health: pb.KeyHealth) -> tuple[int, int]:
    """Of two states of a key, the worse one has more; of equals, the one that lasts longer."""
    return _WORSE.get(health.state, 0), health.until
