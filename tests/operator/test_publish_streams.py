"""The whole wire over real gRPC: Unix socket and TLS, connecting, losing, coming back."""

import asyncio
import itertools
from pathlib import Path

import pytest

from builders import wire as make
from builders import wire_ends as ends
from harness.relay import Relay
from trunkline_operator.publish.fleet import LINGER_SECONDS
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb

BASIC = (
    make.secret("a/s", 1, "sk-1"),
    make.upstream("a/up", 2, secret="a/s"),
    make.route("a/m", 3, "a/up"),
    make.key("a/k", 4),
)
NAMES = [make.name_of(each) for each in BASIC]


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return f"unix:{tmp_path / 'run' / 's'}"


async def test_a_gateway_gets_the_table_and_everything_counts_as_programmed(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled(*BASIC))
        assert operator.fleet.programmed(NAMES).gateways == 0
        async with ends.gateway(socket) as gateway:
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 1)
            assert operator.fleet.programmed(NAMES).all
            snapshot = gateway.snapshots[-1]
            assert snapshot.version == operator.fleet.publisher.version
            assert snapshot.exact["m"].targets[0].upstream is snapshot.upstreams["a/up"]
            assert snapshot.upstreams["a/up"].keys[0].auth_header == (b"authorization", b"Bearer sk-1")
            assert gateway.connections == [True]
            await ends.until(lambda: set().union(*operator.notices) >= set(NAMES))


async def test_over_tls_with_a_certificate_made_on_the_spot(tmp_path: Path) -> None:
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        operator.set(make.compiled(*BASIC))
        async with ends.gateway(operator.address, ca_file=operator.ca_file) as gateway:
            await ends.until(lambda: gateway.snapshots)


async def test_a_gateway_trusts_nobody_but_its_ca_file(tmp_path: Path) -> None:
    async with (
        ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator,
        ends.operator("127.0.0.1:0", tls_dir=tmp_path / "other") as other,
        ends.gateway(operator.address, ca_file=other.ca_file) as gateway,
    ):
        await ends.until(lambda: "UNAVAILABLE" in gateway.subscription.last_error)
        assert not gateway.snapshots


async def test_streams_are_refused_until_everything_was_listed(socket: str) -> None:
    ready = False
    async with ends.operator(socket, ready=lambda: ready) as operator, ends.gateway(socket) as gateway:
        await ends.until(lambda: "not yet listed" in gateway.subscription.last_error)
        ready = True
        operator.set(make.compiled(*BASIC))
        await ends.until(lambda: gateway.snapshots)
        assert len(gateway.snapshots) == 1
        assert operator.servicer.counts.refused["UNAVAILABLE"] >= 1


async def test_a_gateway_that_starts_without_an_operator_keeps_trying(socket: str) -> None:
    async with ends.gateway(socket) as gateway:
        await asyncio.sleep(0.3)
        assert gateway.subscription.config_age_seconds > 0.2
        async with ends.operator(socket) as operator:
            operator.set(make.compiled(*BASIC))
            await ends.until(lambda: gateway.snapshots)
            await ends.until(lambda: gateway.subscription.config_age_seconds == 0)


async def test_after_a_restart_of_the_operator_nothing_unchanged_is_sent_again(socket: str) -> None:
    async with ends.gateway(socket) as gateway:
        for change in range(3):
            async with ends.operator(socket) as operator:
                operator.set(make.compiled(*BASIC, make.route("a/n", 10 + change, description=str(change))))
                await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 1)
                assert operator.fleet.programmed(NAMES).all
            await ends.until(lambda: not gateway.subscription.connected)
        assert gateway.store.received == len(BASIC) + 3
        assert operator.servicer.counts.resources == 1


async def test_a_deletion_while_the_operator_was_away_goes_out_when_it_is_back(socket: str) -> None:
    async with ends.gateway(socket) as gateway:
        async with ends.operator(socket) as operator:
            operator.set(make.compiled(*BASIC))
            await ends.until(lambda: gateway.snapshots and gateway.snapshots[-1].keys)
        async with ends.operator(socket) as operator:
            operator.set(make.compiled(*BASIC[:3]), make.world(listed=50))
            await ends.until(lambda: not gateway.snapshots[-1].keys)


async def test_a_change_reaches_all_and_a_reject_shows_by_name(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled(*BASIC))
        async with ends.gateway(socket, "gw-0") as first, ends.gateway(socket, "gw-1"):
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 2)
            bad = make.upstream("a/up", 9, secret="a/s", base_url="ftp://x")
            operator.set(make.compiled(BASIC[0], bad, *BASIC[2:]))
            name = Name(pb.TYPE_UPSTREAM, "a/up")
            assert not operator.fleet.programmed([name]).all
            await ends.until(lambda: len(operator.fleet.programmed([name]).rejected) == 2)
            programmed = operator.fleet.programmed(NAMES)
            assert programmed.rejected[0] == ("gw-0", "its base URL is not an http(s) URL")
            assert not programmed.all
            assert first.snapshots[-1].upstreams["a/up"].endpoint.base_url == "https://up.test/v1"
            assert [each.rejected[0][0] for each in operator.fleet.gateways()] == [name, name]
            sent = operator.servicer.counts.resources
            operator.set(make.compiled(BASIC[0], bad, *BASIC[2:], make.key("a/l", 12)))
            await ends.until(lambda: operator.fleet.programmed([Name(pb.TYPE_KEY, "a/l")]).all)
            assert operator.servicer.counts.resources == sent + 2


async def test_the_newer_stream_of_a_node_wins(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled(*BASIC))
        async with ends.gateway(socket, "gw-0", backoff_seconds=30) as old:
            await ends.until(lambda: old.subscription.connected)
            async with ends.gateway(socket, "gw-0") as new:
                await ends.until(lambda: new.subscription.connected and not old.subscription.connected)
                assert "newer stream" in old.subscription.last_error
                assert [each.node for each in operator.fleet.gateways()] == ["gw-0"]


async def test_a_gateway_that_is_gone_stops_counting_after_a_moment_and_one_that_drains_at_once(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled(*BASIC))
        async with ends.gateway(socket, "gw-0") as gateway:
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 1)
            gateway.subscription.drain()
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 0)
            assert gateway.subscription.connected
        async with ends.gateway(socket, "gw-1"):
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 1)
        assert operator.fleet.programmed(NAMES).gateways == 1
        await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 0, LINGER_SECONDS + 2)


async def test_a_stream_that_has_reached_its_age_comes_back_without_ceasing_to_count(socket: str) -> None:
    async with ends.operator(socket, age_seconds=0.2) as operator:
        operator.set(make.compiled(*BASIC))
        async with ends.gateway(socket) as gateway:
            await ends.until(lambda: operator.fleet.programmed(NAMES).gateways == 1)
            while operator.servicer.counts.streams < 4:
                await asyncio.sleep(0.01)
                assert operator.fleet.programmed(NAMES).gateways == 1
            assert gateway.store.received == len(BASIC)


async def test_a_node_without_a_usable_name_is_refused(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled())
        async with ends.gateway(socket, "not a name") as gateway:
            await ends.until(lambda: "INVALID_ARGUMENT" in gateway.subscription.last_error)


async def test_what_keys_do_is_reported_and_the_worst_counts(socket: str) -> None:
    def report(state: "pb.HealthState.ValueType") -> list[pb.KeyHealth]:
        return [pb.KeyHealth(upstream="a/up", key="k", state=state, reason="said so")]

    async with ends.operator(socket) as operator:
        operator.set(make.compiled(*BASIC))
        states = itertools.chain([pb.HEALTH_STATE_REJECTED], itertools.repeat(pb.HEALTH_STATE_ACTIVE))
        async with (
            ends.gateway(socket, "gw-0", health_report=lambda: report(pb.HEALTH_STATE_COOLING_DOWN)),
            ends.gateway(socket, "gw-1", health_report=lambda: report(next(states))),
        ):

            def state() -> int:
                return operator.fleet.key_states("a/up")["k"].state

            await ends.until(lambda: operator.fleet.key_states("a/up"))
            await ends.until(lambda: state() == pb.HEALTH_STATE_COOLING_DOWN)


async def test_a_key_that_cannot_be_sent_is_reported_without_its_value(socket: str) -> None:
    async with ends.operator(socket) as operator:
        operator.set(make.compiled(make.secret("a/s", 5, "sk\r\nx: canary"), *BASIC[1:]))
        async with ends.gateway(socket):
            await ends.until(lambda: operator.fleet.key_states("a/up"))
            health = operator.fleet.key_states("a/up")["k"]
            assert health.state == pb.HEALTH_STATE_REJECTED
            assert "line break" in health.reason
            assert "canary" not in health.reason


async def test_a_large_table_comes_in_parts_and_is_applied_as_one(socket: str) -> None:
    async with ends.operator(socket) as operator:
        routes = [make.route(f"a/r{n}", n + 1, description="x" * 1000) for n in range(3000)]
        operator.set(make.compiled(*BASIC, *routes))
        async with ends.gateway(socket) as gateway:
            await ends.until(lambda: gateway.snapshots)
            assert len(gateway.snapshots) == 1
            assert len(gateway.snapshots[0].routes) == 3001


async def test_whoever_can_open_the_socket_is_us(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(OSError, match="mode 0700"):
        async with ends.operator(f"unix:{tmp_path / 'open' / 's'}"):
            pass
    async with ends.operator(f"unix:{tmp_path / 'made' / 's'}"):
        assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


async def test_a_peer_that_falls_silent_is_noticed_by_both_ends(tmp_path: Path) -> None:
    async with ends.operator("127.0.0.1:0", tls_dir=tmp_path / "tls") as operator:
        operator.set(make.compiled(*BASIC))
        with Relay(int(operator.address.rpartition(":")[2])) as relay:
            async with ends.gateway(f"127.0.0.1:{relay.port}", ca_file=operator.ca_file) as gateway:
                await ends.until(lambda: gateway.subscription.connected)
                relay.freeze()
                await ends.until(lambda: not gateway.subscription.connected, 20)
                await ends.until(lambda: not operator.fleet.gateways(), 20)
                assert gateway.snapshots
