"""What a replica reports and what the writer makes of it: the same as if it had seen the gateways itself, or worse."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import wire as make
from builders.virtual_time import Loop
from trunkline_operator.peers.bounds import MAX_GATEWAYS, MalformedError, TooLargeError, check
from trunkline_operator.peers.outgoing import Outgoing
from trunkline_operator.peers.whole import LINGER_SECONDS, MISSING_SECONDS, TOLD_SECONDS, Peer, WholeFleet
from trunkline_operator.publish.fleet import Connection, Fleet
from trunkline_operator.watch.world import World
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

NAMES = [Name(pb.TYPE_ROUTE, f"a/r{n}") for n in range(5)]


def routes(*versions: int) -> list[pb.Resource]:
    """One route for each version; 0: none."""
    return [
        make.route(f"a/r{n}", version, description=str(version)) for n, version in enumerate(versions) if version > 0
    ]


class Replica:
    """A fleet, and who it has heard of changes."""

    def __init__(self, loop: Loop, *resources: pb.Resource) -> None:
        self.loop = loop
        self.notices: list[frozenset[Name]] = []
        self.outgoing: list[Outgoing] = []
        self.fleet = Fleet(loop, self.heard, self.heard_of_keys)
        self.set(*resources)

    def heard(self, names: frozenset[Name]) -> None:
        self.notices.append(names)
        for each in self.outgoing:
            each.changed(names, ())

    def heard_of_keys(self, upstreams: frozenset[str]) -> None:
        for each in self.outgoing:
            each.changed((), upstreams)

    def set(self, *resources: pb.Resource, holds: tuple[Name, ...] = ()) -> None:
        self.fleet.set(make.compiled(*resources, holds=holds), World())

    def connect(self, node: str, *held: pb.Resource, instance: str = "i") -> Connection:
        versions = [pb.Held(type=each.type, name=each.name, version=each.version) for each in held]
        hello = pb.Hello(node=pb.Node(name=node, instance=instance), reader=1, held=versions)
        return self.fleet.connect(hello, lambda: None, lambda: None)

    def serve(self, connection: Connection, *, refuse: Name | None = None) -> None:
        """The gateway applies what there is to apply."""
        while updates := connection.session.next():
            ack = pb.Ack(nonce=updates[-1].nonce)
            for each in (resource for update in updates for resource in update.resources):
                if refuse == Name(each.type, each.name):
                    ack.rejected.add(type=each.type, name=each.name, version=each.version, reason="cannot use it")
            self.fleet.acknowledge(connection, ack)

    def joined(self, node: str, *held: pb.Resource, instance: str = "i") -> Connection:
        connection = self.connect(node, *held, instance=instance)
        self.serve(connection)
        return connection


class Pair:
    """A writer, and a peer that reports to it when told to."""

    def __init__(self, *resources: pb.Resource) -> None:
        self.loop = Loop()
        self.writer = Replica(self.loop, *resources)
        self.peer = Replica(self.loop, *resources)
        self.keys: list[frozenset[str]] = []
        self.told: list[str] = []
        self.whole = WholeFleet(
            self.writer.fleet, self.loop, self.writer.notices.append, self.keys.append, self.tell_problem
        )
        self.replaced: list[Peer] = []
        self.report_to: Peer
        self.outgoing: Outgoing
        self.open()

    def open(self, identity: str = "peer") -> None:
        """The peer opens a new stream."""
        self.outgoing = Outgoing(self.peer.fleet, identity)
        self.peer.outgoing[:] = [self.outgoing]
        made = self.whole.connect(identity, lambda: self.replaced.append(made))
        self.report_to = made

    def tell_problem(self, topic: str, sentence: str) -> None:
        if sentence != (self.told[-1] if self.told else ""):
            self.told.append(sentence)

    def report(self) -> list[pb.PeerReport]:
        self.loop.advance(0.2)
        parts = [pb.PeerReport.FromString(part.SerializeToString()) for part in self.outgoing.next()]
        if parts:
            self.whole.report(self.report_to, parts)
        return parts

    def said(self, name: Name) -> tuple[int, list[str], list[str]]:
        """Gateways, those behind, those that refused."""
        programmed = self.whole.programmed([name])
        assert programmed.all == (not programmed.behind and not programmed.rejected)
        return programmed.gateways, [node for node, _ in programmed.behind], [node for node, _ in programmed.rejected]

    def expected(self, name: Name) -> tuple[int, list[str], list[str]]:
        own, theirs = (each.fleet.programmed([name]) for each in (self.writer, self.peer))
        behind = [node for node, _ in (*own.behind, *theirs.behind)]
        rejected = [node for node, _ in (*own.rejected, *theirs.rejected)]
        if self.peer.fleet.publisher.version_of(name) != self.writer.fleet.publisher.version_of(name):
            counted = [each.node for each in self.peer.fleet.gateways() if each.counts]
            counted += [
                each.session.node.name
                for each in self.peer.fleet.connections
                if each.session.counts and each.session.node.name not in counted
            ]
            behind = [node for node, _ in own.behind] + counted
            rejected = [node for node, _ in own.rejected]
        return own.gateways + theirs.gateways, sorted(behind), sorted(rejected)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_the_writer_says_of_a_peers_gateways_what_the_peer_would_and_hears_of_every_change(seed: int) -> None:
    chance = random.Random(seed)
    pair = Pair()
    gateways: dict[str, tuple[Replica, Connection]] = {}
    versions = {pair.writer: [0] * 5, pair.peer: [0] * 5}
    before = {name: pair.said(name) for name in NAMES}
    for step in range(60):
        pair.writer.notices.clear()
        pair.loop.advance(5)  # what lingers is gone
        replica = chance.choice([pair.writer, pair.peer, pair.peer])
        match chance.choice(["table", "join", "serve", "serve", "refuse", "leave", "drain", "stream", "keys"]):
            case "table":
                versions[replica][chance.randrange(5)] = chance.choice([0, 1, 2, 3])
                replica.set(*routes(*versions[replica]))
            case "join":
                gateways[node] = (replica, replica.connect(node := f"gw-{step}"))
            case "serve" | "refuse" as how if gateways:
                where, connection = gateways[chance.choice(sorted(gateways))]
                where.serve(connection, refuse=chance.choice(NAMES) if how == "refuse" else None)
            case "leave" if gateways:
                where, connection = gateways.pop(chance.choice(sorted(gateways)))
                where.fleet.disconnect(connection)
            case "drain" if gateways:
                where, connection = gateways[chance.choice(sorted(gateways))]
                where.fleet.report(connection, pb.NodeReport(draining=True))
            case "stream":
                pair.whole.disconnect(pair.report_to, goodbye=True)
                pair.open(chance.choice(["peer", "peer", "restarted"]))
            case _:
                pass
        pair.report()
        now = {name: pair.said(name) for name in NAMES}
        if len(pair.whole.peers) == 1 and not any(peer.leaving for peer in pair.whole._peers.values()):
            assert now == {name: pair.expected(name) for name in NAMES}
        told = set().union(*pair.writer.notices)
        for name in NAMES:
            was, is_ = before[name], now[name]
            # How many there are stands in no status; and of what is not in the table there is none.
            differs = (bool(was[0]), was[1:]) != (bool(is_[0]), is_[1:])
            if differs and pair.writer.fleet.publisher.version_of(name) is not None:
                assert name in told, (step, name, was, is_)
        before = now


def test_a_report_says_what_is_new_and_nothing_else() -> None:
    pair = Pair(*routes(1, 1, 1))
    pair.peer.joined("gw-1")
    (first,) = pair.report()
    assert len(first.table) == 3
    assert [each.node.name for each in first.gateways] == ["gw-1"]
    assert pair.report() == []
    pair.peer.set(*routes(1, 2, 1))
    (second,) = pair.report()
    assert [each.name for each in second.table] == ["a/r1"]
    assert [len(each.behind) for each in second.gateways] == [1]
    assert pair.said(NAMES[1]) == (1, ["gw-1"], [])
    assert pair.said(NAMES[0]) == (1, [], [])


def test_a_peer_that_lags_counts_as_behind_although_its_gateways_serve_what_it_has() -> None:
    pair = Pair(*routes(1, 1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.writer.set(*routes(1, 2))
    assert pair.said(NAMES[1]) == (1, ["gw-1"], [])
    assert pair.said(NAMES[0]) == (1, [], [])
    pair.writer.set(*routes(1))
    assert pair.said(NAMES[1]) == (1, ["gw-1"], []), "it still serves what is revoked"
    assert pair.whole.behind() == 1
    pair.writer.set(*routes(1, 1))
    assert pair.whole.behind() == 0


def test_what_is_held_and_was_never_good_at_one_of_them_is_not_missing() -> None:
    pair = Pair(*routes(1, 1))
    pair.peer.joined("gw-1", *routes(1, 1))
    # The writer holds a good version; a restarted peer knows only that there is one.
    pair.writer.set(*routes(1), holds=(NAMES[1],))
    pair.peer = Replica(pair.loop)
    pair.peer.set(*routes(1), holds=(NAMES[1],))
    pair.peer.joined("gw-1", *routes(1, 1))
    pair.open("restarted")
    pair.report()
    assert pair.said(NAMES[1]) == (1, [], [])


@pytest.mark.parametrize("towards_the_writer", [True, False])
def test_a_gateway_that_moves_from_one_replica_to_the_other_counts_once(towards_the_writer: bool) -> None:
    pair = Pair(*routes(1))
    old, new = (pair.peer, pair.writer) if towards_the_writer else (pair.writer, pair.peer)
    left = old.joined("gw-1")
    pair.report()
    assert pair.said(NAMES[0])[0] == 1
    # The new connection is there before the old one is known to be dead.
    connection = new.connect("gw-1", *routes(1))
    pair.report()
    assert pair.said(NAMES[0])[0] == 1, "until its first ACK it counts where it was"
    new.serve(connection)
    pair.report()
    assert pair.said(NAMES[0])[0] == 1
    old.fleet.disconnect(left)
    pair.report()
    pair.loop.advance(10)
    pair.report()
    assert pair.said(NAMES[0])[0] == 1
    new.fleet.report(connection, pb.NodeReport(draining=True))
    pair.report()
    assert pair.said(NAMES[0])[0] == 0


def test_a_new_process_of_a_gateway_does_not_count_where_the_old_one_did() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1", instance="old")
    pair.report()
    pair.writer.connect("gw-1", instance="new")
    pair.loop.advance(1)
    assert pair.said(NAMES[0])[0] == 0


def test_the_gateways_of_a_peer_that_is_gone_count_for_a_moment() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.whole.disconnect(pair.report_to, goodbye=True)
    pair.loop.advance(LINGER_SECONDS - 0.1)
    assert pair.said(NAMES[0])[0] == 1
    pair.writer.notices.clear()
    pair.loop.advance(0.2)
    assert pair.said(NAMES[0])[0] == 0
    assert NAMES[0] in set().union(*pair.writer.notices)


def test_the_gateways_of_a_peer_that_was_cut_off_count_as_they_were_known_and_then_no_more() -> None:
    pair = Pair(*routes(1, 1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.whole.disconnect(pair.report_to)
    pair.loop.advance(LINGER_SECONDS + 1)
    assert pair.said(NAMES[0]) == (1, [], [])
    assert pair.told == []
    pair.writer.set(*routes(2, 1))
    assert pair.said(NAMES[0]) == (1, ["gw-1"], []), "nobody knows that it has this one"
    assert pair.said(NAMES[1]) == (1, [], [])
    pair.loop.advance(TOLD_SECONDS - LINGER_SECONDS)
    (sentence,) = pair.told
    assert "gw-1" in sentence
    assert "peer" in sentence
    pair.loop.advance(MISSING_SECONDS - TOLD_SECONDS - 3)
    assert pair.said(NAMES[0]) == (1, ["gw-1"], [])
    pair.writer.notices.clear()
    pair.loop.advance(3)
    assert pair.said(NAMES[0]) == (0, [], [])
    assert set(NAMES[:2]) <= set().union(*pair.writer.notices)
    assert pair.told[-1] == ""


def test_a_peer_that_was_cut_off_and_is_back_is_not_missing_any_more() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.whole.disconnect(pair.report_to)
    pair.loop.advance(TOLD_SECONDS + 1)
    pair.open()
    pair.report()
    assert pair.told[-1] == ""
    pair.loop.advance(MISSING_SECONDS)
    assert pair.said(NAMES[0]) == (1, [], [])


def test_a_gateway_of_a_killed_peer_counts_where_it_went_and_not_again_where_it_was() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.whole.disconnect(pair.report_to)
    pair.loop.advance(1)
    moved = pair.writer.joined("gw-1", *routes(1))
    assert pair.said(NAMES[0]) == (1, [], [])
    pair.loop.advance(TOLD_SECONDS + 1)
    pair.writer.fleet.disconnect(moved)
    pair.loop.advance(10)
    assert pair.said(NAMES[0]) == (0, [], [])
    assert pair.told == []


def test_a_peer_that_is_back_at_once_never_ceases_to_count() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1")
    pair.report()
    pair.whole.disconnect(pair.report_to)
    pair.open()
    assert pair.said(NAMES[0])[0] == 1
    pair.report()
    pair.loop.advance(LINGER_SECONDS + 1)
    assert pair.said(NAMES[0])[0] == 1


def test_the_newer_stream_of_a_replica_takes_the_place_of_the_older() -> None:
    pair = Pair(*routes(1))
    pair.peer.joined("gw-1")
    pair.report()
    first = pair.report_to
    pair.open()
    pair.report()
    assert pair.replaced == [first]
    pair.whole.disconnect(first)
    pair.loop.advance(LINGER_SECONDS + 1)
    assert pair.said(NAMES[0])[0] == 1


def test_the_worst_that_any_gateway_of_any_replica_says_of_a_key_counts() -> None:
    pair = Pair()
    mine, theirs = pair.writer.joined("gw-1"), pair.peer.joined("gw-2")
    cooling = pb.KeyHealth(upstream="a/up", key="k", state=pb.HEALTH_STATE_COOLING_DOWN, until=7)
    rejected = pb.KeyHealth(upstream="a/up", key="k", state=pb.HEALTH_STATE_REJECTED, reason="401")
    pair.writer.fleet.report(mine, pb.NodeReport(keys=[cooling]))
    pair.peer.fleet.report(theirs, pb.NodeReport(keys=[rejected]))
    pair.report()
    assert pair.whole.key_states("a/up")["k"].reason == "401"
    assert pair.keys[-1] == {"a/up"}
    pair.peer.fleet.disconnect(theirs)
    pair.loop.advance(5)
    pair.report()
    assert pair.whole.key_states("a/up")["k"].until == 7
    # A stream that is opened later says it, too.
    pair.open("another")
    pair.report()
    assert pair.whole.key_states("a/up")["k"].until == 7


def test_a_large_report_comes_in_parts_and_counts_as_one() -> None:
    pair = Pair(*[make.route(f"a/{'r' * 200}{n}", 1) for n in range(10_000)])
    pair.peer.joined("gw-1")
    parts = pair.report()
    assert len(parts) > 2
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert max(part.ByteSize() for part in parts) <= table.STREAM_MESSAGE_BYTES + 1000
    assert len(pair.report_to.table) == 10_000


def test_reasons_of_refusals_are_bounded() -> None:
    many = [make.route(f"a/r{n}", 1) for n in range(1000)]
    pair = Pair(*many)
    connection = pair.peer.connect("gw-1")
    (update,) = connection.session.next()
    ack = pb.Ack(nonce=update.nonce)
    for each in update.resources:
        ack.rejected.add(type=each.type, name=each.name, version=each.version, reason="x" * 500)
    pair.peer.fleet.acknowledge(connection, ack)
    (report,) = pair.report()
    assert len(report.gateways[0].rejected) == 1000
    assert report.gateways[0].ByteSize() < 100_000
    assert pair.said(NAMES[0])[2] == ["gw-1"]


def test_more_gateways_than_anybody_has_are_refused() -> None:
    pair = Pair()
    gateways = [pb.PeerGateway(node=pb.Node(name=f"gw-{n}")) for n in range(MAX_GATEWAYS + 1)]
    with pytest.raises(TooLargeError):
        pair.whole.report(pair.report_to, [pb.PeerReport(nonce=1, peer="peer", gateways=gateways)])


@pytest.mark.parametrize(
    "part",
    [
        pb.PeerReport(),
        pb.PeerReport(peer="a\nb"),
        pb.PeerReport(peer="x" * 300),
        pb.PeerReport(peer="p", address="a b"),
        pb.PeerReport(peer="p", gateways=[pb.PeerGateway(node=pb.Node(name="x\n\x00"))]),
        pb.PeerReport(peer="p", gateways=[pb.PeerGateway(node=pb.Node(name="y" * 300))]),
        pb.PeerReport(peer="p", gateways=[pb.PeerGateway(node=pb.Node(name="gw", instance="i" * 200))]),
        pb.PeerReport(peer="p", table=[pb.PeerName(id=1, name="n" * 1000)]),
        pb.PeerReport(peer="p", table=[pb.PeerName(id=1, name="n", version=b"v" * 1000)]),
        pb.PeerReport(peer="p", keys=[pb.PeerKeys(upstream="u" * 1000)]),
    ],
)
def test_what_no_replica_would_say_is_refused(part: pb.PeerReport) -> None:
    with pytest.raises(MalformedError):
        check(part)


def test_reasons_that_are_too_long_are_cut() -> None:
    gateway = pb.PeerGateway(node=pb.Node(name="gw-1"), rejected=[pb.PeerReject(id=1, reason="r" * 100_000)])
    keys = pb.PeerKeys(upstream="a/up", keys=[pb.KeyHealth(key="k", reason="r" * 100_000)])
    part = pb.PeerReport(peer="p", gateways=[gateway], keys=[keys])
    check(part)
    assert part.ByteSize() < 1000


def test_eleven_thousand_names_and_fifty_gateways_cost_little() -> None:
    resources = [make.key(f"a/k{n}", 1) for n in range(11_000)]
    pair = Pair(*resources)
    for n in range(25):
        pair.peer.joined(f"gw-{n}")
        pair.writer.joined(f"own-{n}")
    took = {}

    def timed(what: str, begun: float) -> None:
        took[what] = time.perf_counter() - begun

    pair.loop.advance(1)
    begun = time.perf_counter()
    parts = pair.outgoing.next()
    timed("full report made", begun)
    begun = time.perf_counter()
    pair.whole.report(pair.report_to, parts)
    timed("full report taken", begun)
    size = sum(part.ByteSize() for part in parts)
    changed = [make.key("a/k7", 2, disabled=True)] + [each for n, each in enumerate(resources) if n != 7]
    pair.peer.set(*changed)
    pair.writer.set(*changed)
    pair.loop.advance(1)
    begun = time.perf_counter()
    parts = pair.outgoing.next()
    pair.whole.report(pair.report_to, parts)
    timed("one name", begun)
    assert sum(part.ByteSize() for part in parts) < 3000
    begun = time.perf_counter()
    for resource in resources:
        pair.whole.programmed((make.name_of(resource),))
    timed("all names asked", begun)
    print(took, size)
    assert took["one name"] < 0.02
    assert took["full report taken"] < 0.5
    assert took["all names asked"] < 2
