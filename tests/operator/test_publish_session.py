"""What one gateway is sent: differences, the newest only, revocations past a slow ACK, and who counts."""

import time

from builders import wire as make
from builders.virtual_time import Loop
from trunkline_operator.compile.result import Compiled
from trunkline_operator.publish.fleet import LINGER_SECONDS, Connection, Fleet
from trunkline_operator.publish.session import MAX_IN_FLIGHT, NEWER_GATEWAY, Session
from trunkline_operator.watch.world import World
from trunkline_protocol import table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

ROUTE = Name(pb.TYPE_ROUTE, "a/m")
KEY = Name(pb.TYPE_KEY, "a/k")
UPSTREAM = Name(pb.TYPE_UPSTREAM, "a/up")


class Bench:
    """A fleet in virtual time."""

    def __init__(self, *resources: pb.Resource) -> None:
        self.loop = Loop()
        self.notices: list[frozenset[Name]] = []
        self.fleet = Fleet(self.loop, self.notices.append)
        self.set(make.compiled(*resources))

    def set(self, compiled: Compiled, world: World | None = None) -> None:
        self.fleet.set(compiled, world or World())

    def connect(self, *held: pb.Resource, node: str = "gw", instance: str = "i", reader: int = 1) -> Connection:
        versions = [pb.Held(type=each.type, name=each.name, version=each.version) for each in held]
        hello = pb.Hello(node=pb.Node(name=node, instance=instance), reader=reader, held=versions)
        return self.fleet.connect(hello, lambda: None, lambda: None)

    def acknowledge(self, connection: Connection, update: pb.Update, **more: object) -> None:
        self.fleet.acknowledge(connection, pb.Ack(nonce=update.nonce, **more))

    def joined(self, *held: pb.Resource, **more: str) -> Connection:
        connection = self.connect(*held, **more)
        self.acknowledge(connection, connection.session.next()[-1])
        return connection


def one(session: Session) -> pb.Update:
    (update,) = session.next()
    return update


def names(update: pb.Update) -> tuple[list[str], list[str]]:
    return [each.name for each in update.resources], [each.name for each in update.removals]


def test_the_first_update_comes_even_when_nothing_differs_and_says_so() -> None:
    bench = Bench(make.route("a/m", 1))
    connection = bench.connect(make.route("a/m", 1))
    update = one(connection.session)
    assert names(update) == ([], [])
    assert update.table_version == bench.fleet.publisher.version
    assert connection.session.next() == []


def test_only_what_differs_from_what_is_held_is_sent() -> None:
    bench = Bench(make.route("a/m", 2, description="new"), make.key("a/k", 1), make.key("a/l", 1))
    held = (make.route("a/m", 1), make.key("a/k", 1), make.key("a/gone", 1))
    assert names(one(bench.connect(*held).session)) == (["a/m", "a/l"], ["a/gone"])


def test_a_slow_gateway_gets_the_newest_and_nothing_in_between() -> None:
    bench = Bench()
    connection = bench.joined()
    for n in range(5):
        bench.set(make.compiled(make.route(f"a/r{n}", n)))
        if n == 0:
            first = one(connection.session)
    assert names(first)[0] == ["a/r0"]
    # r0 was there and is not any more, which may be a revocation; the rest waits for the ACK.
    assert names(one(connection.session)) == ([], ["a/r0"])
    bench.acknowledge(connection, first)
    assert connection.session.next() == []


def test_a_revocation_overtakes_a_slow_ack_but_not_without_bound() -> None:
    bench = Bench(*[make.key(f"a/k{n}", 1) for n in range(20)])
    connection = bench.connect()
    first = one(connection.session)
    sent = []
    for n in range(10):
        bench.set(make.compiled(*[make.key(f"a/k{k}", 1) for k in range(n + 1, 20)]))
        sent += connection.session.next()
    assert [names(each)[1] for each in sent] == [["a/k0"], ["a/k1"], ["a/k2"]]
    assert len(sent) + 1 == MAX_IN_FLIGHT
    bench.acknowledge(connection, first)
    (rest,) = connection.session.next()
    assert len(rest.removals) == 7
    for update in (*sent, rest):
        bench.acknowledge(connection, update)
    assert bench.fleet.programmed([Name(pb.TYPE_KEY, "a/k0")]).all
    assert connection.session.behind == {}


def test_an_addition_waits_for_the_ack() -> None:
    bench = Bench(make.key("a/k", 1))
    connection = bench.connect()
    first = one(connection.session)
    bench.set(make.compiled(make.key("a/k", 1), make.route("a/m", 1)))
    assert connection.session.next() == []
    bench.acknowledge(connection, first)
    assert names(one(connection.session)) == (["a/m"], [])


def test_a_change_that_is_taken_back_while_it_is_in_flight_is_sent_again() -> None:
    old, new = make.route("a/m", 1), make.route("a/m", 2, description="x")
    bench = Bench(old)
    connection = bench.joined()
    bench.set(make.compiled(new))
    update = one(connection.session)
    bench.set(make.compiled(make.route("a/m", 3)))
    back = one(connection.session)
    assert back.resources[0].version == old.version
    bench.acknowledge(connection, update)
    bench.acknowledge(connection, back)
    assert bench.fleet.programmed([ROUTE]).all


def test_a_rejected_version_is_not_sent_again_until_it_changes_or_the_gateway_comes_back() -> None:
    good, bad = make.upstream("a/up", 1), make.upstream("a/up", 2, base_url="ftp://bad")
    bench = Bench(good)
    connection = bench.joined(good)
    bench.set(make.compiled(bad))
    reject = pb.Reject(type=UPSTREAM.type, name="a/up", version=bad.version, reason="bad", held_version=good.version)
    bench.acknowledge(connection, one(connection.session), rejected=[reject])
    assert bench.fleet.programmed([UPSTREAM]).rejected == (("gw", "bad"),)
    bench.set(make.compiled(bad, make.key("a/k", 1)))
    assert names(one(connection.session)) == (["a/k"], [])
    assert names(one(bench.connect(good).session))[0] == ["a/up", "a/k"]
    bench = Bench(good)
    connection = bench.joined(good)
    bench.set(make.compiled(bad))
    bench.acknowledge(connection, one(connection.session), rejected=[reject])
    bench.set(make.compiled(good))
    assert bench.fleet.programmed([UPSTREAM]).all


def test_a_stale_one_is_offered_again_when_our_view_has_moved_on() -> None:
    bench = Bench(make.key("a/k", 5))
    connection = bench.connect()
    stale = pb.Stale(type=KEY.type, name="a/k")
    bench.acknowledge(connection, one(connection.session), stale=[stale])
    assert not bench.fleet.programmed([KEY]).all
    bench.set(make.compiled(make.key("a/k", 5), make.key("a/l", 6)))
    assert names(one(connection.session))[0] == ["a/l"]
    bench.acknowledge(connection, pb.Update(nonce=2))
    bench.set(make.compiled(make.key("a/k", 8), make.key("a/l", 6)))
    assert names(one(connection.session))[0] == ["a/k"]


def test_what_needs_a_newer_gateway_is_not_sent_but_keys_and_removals_are() -> None:
    key = make.key("a/k", 2, disabled=True)
    key.min_reader = 9
    bench = Bench(make.route("a/m", 2, min_reader=9, description="new"), key)
    connection = bench.connect(make.route("a/m", 1), make.key("a/k", 1), make.route("a/gone", 1))
    update = one(connection.session)
    assert names(update) == (["a/k"], ["a/gone"])
    bench.acknowledge(connection, update)
    assert bench.fleet.programmed([ROUTE]).rejected == (("gw", NEWER_GATEWAY),)
    assert bench.fleet.programmed([KEY]).all


def test_the_last_good_version_of_what_is_held_is_kept_and_sent_to_newcomers() -> None:
    good = make.upstream("a/up", 1)
    bench = Bench(good)
    old = bench.joined(good)
    bench.set(make.compiled(holds=[UPSTREAM]))
    assert old.session.next() == []
    update = one(bench.connect(node="new").session)
    assert update.resources[0].held
    assert update.resources[0].version == good.version
    bench.set(make.compiled(), make.world(tombstones={"ProviderCredential/a/up": 9}))
    assert names(one(old.session)) == ([], ["a/up"])


def test_a_replica_that_never_saw_a_good_version_neither_sends_nor_removes_it() -> None:
    bench = Bench()
    bench.set(make.compiled(holds=[UPSTREAM]))
    connection = bench.connect(make.upstream("a/up", 1))
    assert names(one(connection.session)) == ([], [])
    bench.acknowledge(connection, pb.Update(nonce=1))
    bench.set(make.compiled(), make.world(tombstones={"ProviderCredential/a/up": 9}))
    assert names(one(connection.session)) == ([], ["a/up"])


def test_a_removal_rests_on_the_newest_view_of_all_that_it_came_from() -> None:
    bench = Bench(make.key("a/k", 5))
    connection = bench.joined(make.key("a/k", 5))
    bench.set(make.compiled(), make.world(listed=20, tombstones={"VirtualKey/a/k": 31}))
    (removal,) = one(connection.session).removals
    assert {each.ref: each.revision for each in removal.sources} == {"VirtualKey/a/k": 31}


def test_what_the_operator_never_saw_is_removed_as_of_its_list() -> None:
    bench = Bench()
    bench.set(make.compiled(), make.world(listed=20))
    (removal,) = one(bench.connect(make.key("a/k", 5)).session).removals
    assert removal.sources[0].revision == 20


def test_what_was_observed_but_not_compiled_yet_is_not_removed() -> None:
    bench = Bench()
    world = make.world(listed=20, objects={"VirtualKey/a/k": 25})
    bench.set(make.compiled(), world)
    connection = bench.connect(make.key("a/k", 5))
    update = one(connection.session)
    assert names(update) == ([], [])
    bench.acknowledge(connection, update)
    bench.set(make.compiled(make.key("a/k", 25, disabled=True)), world)
    assert names(one(connection.session)) == (["a/k"], [])


def test_a_newer_view_that_changes_nothing_goes_out_as_a_mark() -> None:
    bench = Bench(make.key("a/k", 5))
    connection = bench.joined(make.key("a/k", 5))
    bench.set(make.compiled(make.key("a/k", 7)))
    update = one(connection.session)
    assert names(update) == ([], [])
    assert [(each.ref, each.revision) for each in update.marks] == [("VirtualKey/a/k", 7)]
    bench.acknowledge(connection, update)
    assert connection.session.next() == []


def test_parts_are_bounded_in_size() -> None:
    bench = Bench(*[make.route(f"a/r{n}", 1, description="x" * 100_000) for n in range(50)])
    parts = bench.connect().session.next()
    assert len(parts) > 4
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert {part.nonce for part in parts} == {1}
    assert max(part.ByteSize() for part in parts) <= table.STREAM_MESSAGE_BYTES + 1000
    assert sum(len(part.resources) for part in parts) == 50


def test_a_gateway_counts_from_its_first_ack_and_only_what_it_lacks_is_told() -> None:
    bench = Bench(*[make.key(f"a/k{n}", 1) for n in range(100)])
    bench.joined()
    bench.loop.advance(1)
    bench.notices.clear()
    second = bench.connect(*[make.key(f"a/k{n}", 1) for n in range(99)], node="second")
    assert bench.fleet.programmed([KEY]).gateways == 1
    bench.acknowledge(second, one(second.session))
    bench.loop.advance(1)
    assert bench.fleet.programmed([KEY]).gateways == 2
    assert not any(bench.notices)


def test_the_first_gateway_and_the_last_concern_every_name() -> None:
    bench = Bench(*[make.key(f"a/k{n}", 1) for n in range(10)])
    bench.loop.advance(1)
    bench.notices.clear()
    connection = bench.joined()
    bench.loop.advance(1)
    assert [len(each) for each in bench.notices] == [10]
    bench.fleet.disconnect(connection)
    assert bench.fleet.programmed([]).gateways == 1
    bench.loop.advance(LINGER_SECONDS + 1)
    assert bench.fleet.programmed([]).gateways == 0
    assert [len(each) for each in bench.notices] == [10, 10]


def test_a_reconnect_of_the_same_process_does_not_stop_counting() -> None:
    bench = Bench(make.key("a/k", 1))
    first = bench.joined()
    bench.fleet.disconnect(first)
    bench.connect(make.key("a/k", 1))
    bench.loop.advance(10)
    assert bench.fleet.programmed([KEY]).all
    assert bench.fleet.programmed([KEY]).gateways == 1


def test_a_new_process_of_the_same_node_counts_from_its_own_first_ack() -> None:
    bench = Bench(make.key("a/k", 1))
    first = bench.joined()
    bench.connect(instance="another")
    assert bench.fleet.programmed([KEY]).gateways == 0
    bench.fleet.disconnect(first)
    assert len(bench.fleet.gateways()) == 1


def test_since_when_a_gateway_is_behind() -> None:
    bench = Bench(make.route("a/m", 1))
    bench.joined(make.route("a/m", 1))
    bench.loop.advance(7)
    bench.set(make.compiled(make.route("a/m", 2, description="x")))
    bench.loop.advance(5)
    bench.set(make.compiled(make.route("a/m", 3, description="y")))
    assert bench.fleet.programmed([ROUTE]).behind == (("gw", 7.0),)


def test_asking_for_eleven_thousand_objects_and_fifty_gateways_is_quick() -> None:
    resources = [make.key(f"a/k{n}", 1) for n in range(11_000)]
    bench = Bench(*resources)
    for n in range(50):
        bench.joined(*resources, node=f"gw-{n}")
    every = [make.name_of(each) for each in resources]
    begun = time.thread_time()
    assert all(bench.fleet.programmed([name]).all for name in every)
    took = time.thread_time() - begun
    bench.set(make.compiled(make.key("a/k0", 2, disabled=True), *resources[1:]))
    begun = time.thread_time()
    assert sum(not bench.fleet.programmed([name]).all for name in every) == 1
    print(f"{took:.3f} s in step, {time.thread_time() - begun:.3f} s behind")
    assert took < 1
