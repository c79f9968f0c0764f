"""Gateways converge to the newest table and never go back, whatever order things happen in.

Two operator replicas watch one history of objects, each with a delay of its own; gateways connect to either, lose
streams and ACKs, and come again. No gRPC here: sessions and stores are driven by hand.
"""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from builders import wire as make
from trunkline_gateway.subscription.store import Store
from trunkline_operator.compile.result import Compiled
from trunkline_operator.publish.publisher import Publisher
from trunkline_operator.publish.session import Session
from trunkline_operator.watch.world import Ref, World
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

NAMES = ["a/1", "a/2"]
CREDENTIALS = ["a/p"]
INVALID = "invalid"


@dataclass
class History:
    """Every object's states: (revision, value); value None: deleted. Keys, and credentials that may be invalid."""

    revision: int = 10
    events: list[tuple[int, str, object]] = field(default_factory=list)

    def write(self, ref: str, value: object) -> None:
        self.revision += 1
        self.events.append((self.revision, ref, value))


class Replica:
    """An operator replica that has seen the history up to some event."""

    def __init__(self, history: History, upto: int) -> None:
        self.history = history
        self.publisher = Publisher()
        self.sessions: list[Session] = []
        self.seen = 0
        self.begun = upto
        self.observe(upto)

    def observe(self, upto: int, *, relist: bool = False) -> None:
        self.seen = max(self.seen, upto)
        state: dict[str, tuple[int, object]] = {}
        for index, (revision, ref, value) in enumerate(self.history.events[: self.seen]):
            state[ref] = (revision, value)
            if value is None and index < self.begun:
                # A first LIST shows nothing of what was deleted before it.
                del state[ref]
        self.state = state
        at = self.history.events[self.seen - 1][0] if self.seen else 10
        self.listed = at if relist or not hasattr(self, "listed") else self.listed
        world = make.world(
            listed=self.listed,
            tombstones={ref: revision for ref, (revision, value) in state.items() if value is None},
            objects={ref: revision for ref, (revision, value) in state.items() if value is not None},
        )
        change = self.publisher.set(self.compile(state, world), world)
        for session in self.sessions:
            session.table_changed(change, 0.0)

    @staticmethod
    def compile(state: dict[str, tuple[int, object]], world: World) -> Compiled:
        resources, holds, denied = [], [], []
        for ref, (revision, value) in state.items():
            kind, _, name = ref.partition("/")
            if value is None:
                continue
            if kind == "VirtualKey":
                if value == INVALID:
                    denied.append(Name(pb.TYPE_KEY, name))
                    continue
                resources.append(make.key(name, revision, user=str(value)))
            elif value == INVALID:
                holds.append(Name(pb.TYPE_UPSTREAM, name))
            else:
                resources.append(make.upstream(name, revision, base_url=f"https://up.test/{value}"))
        # One route rests on all credentials, as routes do; it changes with what it has seen of them.
        looked_at = world.sources(Ref("ProviderCredential", *name.split("/")) for name in CREDENTIALS)
        there = {ref: value for ref, (_, value) in state.items() if ref in looked_at and value is not None}
        resources.append(make.route("a/r", 1, description=str(sorted(there.items())), sources=looked_at))
        return make.compiled(*resources, holds=holds, denied=denied)


class Gateway:
    def __init__(self) -> None:
        self.store = Store(lambda: 0.0)
        self.replica: Replica | None = None
        self.session: Session | None = None
        self.down: list[pb.Update] = []
        self.up: list[pb.Ack] = []
        # ref → the newest revision that an update told it of and that it acknowledged.
        self.floor: dict[str, int] = {}

    def connect(self, replica: Replica) -> None:
        self.disconnect()
        self.replica = replica
        node = pb.Node(name="gw", instance="i")
        self.session = Session(replica.publisher, pb.Hello(node=node, reader=1, held=self.store.held()), 0.0)
        replica.sessions.append(self.session)

    def disconnect(self) -> None:
        if self.replica is not None and self.session is not None:
            self.replica.sessions.remove(self.session)
        self.replica = self.session = None
        self.down, self.up = [], []

    def exchange(self, steps: int) -> None:
        """Move messages: the operator writes, the gateway applies, the operator reads ACKs; in that order, in part."""
        for _ in range(steps):
            if self.session is None:
                return
            self.down += self.session.next()
            if self.down:
                applied = self.store.receive(self.down.pop(0))
                if applied is not None:
                    self.up.append(applied.ack)
            elif self.up:
                self.session.acknowledge(self.up.pop(0), 0.0)

    def settle(self) -> None:
        for _ in range(200):
            if self.session is None:
                return
            before = (len(self.down), len(self.up), self.session.idle)
            self.exchange(1)
            if before == (0, 0, True) and not self.down and not self.up and self.session.idle:
                return
        raise AssertionError("it does not settle")


_OBJECTS = [*(f"VirtualKey/{name}" for name in NAMES), *(f"ProviderCredential/{name}" for name in CREDENTIALS)]


class Wire(RuleBasedStateMachine):
    """Few rules with much in each: hypothesis leaves some out of each run, and all are needed to go wrong."""

    @initialize()
    def begin(self) -> None:
        self.history = History()
        self.replicas = [Replica(self.history, 0), Replica(self.history, 0)]
        self.all = [Gateway(), Gateway()]

    @rule(
        ref=st.sampled_from(_OBJECTS),
        values=st.lists(st.sampled_from(["x", "y", None, INVALID]), min_size=1, max_size=3),
        seen=st.tuples(st.integers(0, 3), st.integers(0, 3)),
        relist=st.booleans(),
    )
    def write(self, ref: str, values: list[object], seen: tuple[int, int], relist: bool) -> None:
        for value in values:
            # A key that is invalid is denied: it is as good as gone, though the object is there.
            self.history.write(ref, value)
        for replica, steps in zip(self.replicas, seen, strict=True):
            for _ in range(steps):
                replica.observe(min(replica.seen + 1, len(self.history.events)), relist=relist)

    @rule(
        which=st.integers(0, 1),
        gateway=st.integers(0, 1),
        steps=st.none() | st.integers(0, 6),
        stay=st.booleans(),
    )
    def talk(self, which: int, gateway: int, steps: int | None, stay: bool) -> None:
        """Connect (or stay connected) and exchange some messages, or all."""
        peer = self.all[gateway]
        if not stay or peer.replica is None:
            peer.connect(self.replicas[which])
        if steps is not None:
            peer.exchange(steps)
            return
        peer.settle()
        assert peer.replica is not None
        for ref, (revision, _) in peer.replica.state.items():
            peer.floor[ref] = max(peer.floor.get(ref, 0), revision)

    @rule(which=st.integers(0, 1), gateway=st.integers(0, 1), operator=st.booleans())
    def restart(self, which: int, gateway: int, operator: bool) -> None:
        if operator:
            old = self.replicas[which]
            for peer in self.all:
                if peer.replica is old:
                    peer.disconnect()
            # It LISTs what is there now: objects deleted before are unknown to it.
            self.replicas[which] = Replica(self.history, old.seen)
            return
        peer = self.all[gateway]
        peer.disconnect()
        store = Store(lambda: 0.0)
        store.restore(peer.store.saved())
        peer.store = store

    @invariant()
    def nothing_goes_back(self) -> None:
        """What a gateway serves of a key is what the key was at, or after, the newest view that it was ever given."""
        for gateway in getattr(self, "all", []):
            served = {key.name: key.user for key in gateway.store.snapshot.keys.values()}
            for name in NAMES:
                ref = f"VirtualKey/{name}"
                floor = gateway.floor.get(ref, 0)
                allowed = [
                    None if value == INVALID else value
                    for revision, each, value in self.history.events
                    if each == ref and revision >= floor
                ]
                if floor:
                    assert served.get(name) in allowed, (name, served.get(name), allowed)

    def teardown(self) -> None:
        if not hasattr(self, "all"):
            return
        for replica in self.replicas:
            replica.observe(len(self.history.events), relist=True)
        for gateway in self.all:
            gateway.connect(self.replicas[0])
            gateway.settle()
            assert gateway.session is not None
            table = self.replicas[0].publisher
            held = {Name(each.type, each.name): each.version for each in gateway.store.held()}
            for name, entry in table.entries.items():
                if not entry.resource.held:
                    assert held.get(name) == entry.version, name
            for name in held.keys() - table.entries.keys():
                assert table.keeps(name), name
            sent = gateway.store.received
            gateway.connect(self.replicas[0])
            gateway.settle()
            held_names = [n for n, e in table.entries.items() if e.resource.held]
            assert gateway.store.received - sent <= len(held_names)
            self.nothing_goes_back()


TestWire = Wire.TestCase
TestWire.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
