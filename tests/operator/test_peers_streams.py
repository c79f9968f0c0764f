"""``Peers.Report`` over real gRPC and TLS: reporting, following, being refused; and what a new writer waits for."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from builders import wire as make
from builders.wire_ends import unix_seconds, until
from trunkline_operator.peers import client, server, whole
from trunkline_operator.peers.client import SERVER_NAME, Credentials, PeerClient
from trunkline_operator.peers.duty import WAIT_SECONDS, Duty
from trunkline_operator.peers.elector import Standing
from trunkline_operator.peers.server import PeersServicer
from trunkline_operator.peers.whole import WholeFleet
from trunkline_operator.publish.authenticate import Anybody, Authenticator, Identity, Nobody, RefusedError
from trunkline_operator.publish.fleet import Fleet
from trunkline_operator.publish.server import AGE_SECONDS, Servicer, serve
from trunkline_operator.publish.tls import ServingCertificate
from trunkline_operator.watch.world import World
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1.routing_pb2_grpc import PeersStub

ROUTE = Name(pb.TYPE_ROUTE, "a/m")


class OneToken:
    """Lets in who shows this token."""

    def __init__(self, token: str) -> None:
        self.token = token

    async def authenticate(self, authorization: str | None) -> Identity:
        if authorization != f"Bearer {self.token}":
            raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, "not you")
        return Identity("operator", "", unix_seconds() + 3600)


@dataclass
class Writer:
    """A replica that is reported to."""

    fleet: Fleet
    whole: WholeFleet
    servicer: PeersServicer
    address: str
    ca_file: Path


@contextlib.asynccontextmanager
async def writer(
    tls_dir: Path,
    authenticator: Authenticator | None = None,
    *,
    age_seconds: float = AGE_SECONDS,
    names: tuple[str, ...] = (SERVER_NAME,),  # and not for the address
) -> AsyncIterator[Writer]:
    loop = asyncio.get_running_loop()
    fleet = Fleet(loop)
    whole = WholeFleet(fleet, loop)
    routing = Servicer(fleet, Anybody(), ready=lambda: True, clock=unix_seconds)
    servicer = PeersServicer(whole, authenticator or Anybody(), clock=unix_seconds, age_seconds=age_seconds)
    certificate = ServingCertificate(tls_dir, names)
    async with serve(
        routing, address="127.0.0.1:0", certificate=certificate, peers=servicer, closing=servicer.close
    ) as port:
        yield Writer(fleet, whole, servicer, f"127.0.0.1:{port}", tls_dir / "ca.crt")


class Peer:
    """A replica with one gateway that serves what there is."""

    def __init__(
        self, identity: str, ca_file: Path, token_file: Path | None = None, server_name: str = SERVER_NAME
    ) -> None:
        self.fleet = Fleet(asyncio.get_running_loop(), self.has_changed)
        self.ended = 0
        credentials = Credentials(ca_file=ca_file, token_file=token_file, server_name=server_name)
        self.client = PeerClient(self.fleet, identity, credentials, self.has_ended)
        hello = pb.Hello(node=pb.Node(name=f"gw-{identity}", instance="i"), reader=1)
        self.gateway = self.fleet.connect(hello, lambda: None, lambda: None)

    def has_changed(self, names: frozenset[Name]) -> None:
        self.client.changed(names)

    def has_ended(self) -> None:
        self.ended += 1

    def set(self, *resources: pb.Resource) -> None:
        self.fleet.set(make.compiled(*resources), World())
        while updates := self.gateway.session.next():
            self.fleet.acknowledge(self.gateway, pb.Ack(nonce=updates[-1].nonce))


@contextlib.asynccontextmanager
async def peer(
    identity: str, ca_file: Path, token_file: Path | None = None, server_name: str = SERVER_NAME
) -> AsyncIterator[Peer]:
    made = Peer(identity, ca_file, token_file, server_name)
    running = asyncio.create_task(made.client.run())
    try:
        yield made
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def gateways(at: Writer) -> int:
    return at.whole.programmed((ROUTE,)).gateways


async def test_a_replica_reports_by_the_name_on_the_certificate_and_its_changes_follow(tmp_path: Path) -> None:
    async with writer(tmp_path) as at, peer("b", at.ca_file) as other:
        at.fleet.set(make.compiled(make.route("a/m", 1)), World())
        other.set(make.route("a/m", 1))
        other.client.to(at.address)
        await until(lambda: gateways(at) == 1)
        assert at.whole.programmed((ROUTE,)).all
        at.fleet.set(make.compiled(make.route("a/m", 2, description="new")), World())
        assert not at.whole.programmed((ROUTE,)).all
        other.set(make.route("a/m", 2, description="new"))
        await until(lambda: at.whole.programmed((ROUTE,)).all)
        other.fleet.report(other.gateway, pb.NodeReport(draining=True))
        await until(lambda: gateways(at) == 0)


async def test_it_follows_the_writer_and_leaves_the_one_before(tmp_path: Path) -> None:
    async with writer(tmp_path) as first, writer(tmp_path) as second, peer("b", first.ca_file) as other:
        other.set()
        other.client.to(first.address)
        await until(lambda: gateways(first) == 1)
        other.client.to(second.address)
        await until(lambda: gateways(second) == 1)
        await until(lambda: not first.whole.peers)
        other.client.to("")
        await until(lambda: not second.whole.peers)
        assert not other.client.connected


async def test_a_writer_that_ends_is_noticed_at_once_and_found_again_when_it_is_back(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(writer(tmp_path))
        async with peer("b", first.ca_file) as other:
            other.set()
            other.client.to(first.address)
            await until(lambda: other.client.connected)
            await stack.aclose()
            await until(lambda: other.ended >= 1, 1.5)
            assert not other.client.connected


async def test_a_stream_that_has_reached_its_age_is_opened_again_and_its_gateways_never_cease_to_count(
    tmp_path: Path,
) -> None:
    async with writer(tmp_path, age_seconds=0.3) as at, peer("b", at.ca_file) as other:
        other.set()
        other.client.to(at.address)
        await until(lambda: gateways(at) == 1)
        while other.ended < 3:
            await asyncio.sleep(0.01)
            assert gateways(at) == 1


async def test_whoever_is_not_let_in_is_not_listened_to_and_nothing_tells_the_token(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token_file = tmp_path / "token"
    token_file.write_text("canary-3f")
    async with writer(tmp_path / "tls", OneToken("right")) as at, peer("b", at.ca_file, token_file) as other:
        other.set()
        other.client.to(at.address)
        await until(lambda: other.client.last_error)
        assert other.client.last_error == "PERMISSION_DENIED: not you"
        assert at.servicer.refused == {"PERMISSION_DENIED": 1}
        assert not at.whole.peers
        token_file.write_text("right")  # kubelets renew it in place
        await until(lambda: gateways(at) == 1, 10)
    assert "canary" not in caplog.text


async def test_without_a_known_account_nobody_is_let_in(tmp_path: Path) -> None:
    async with writer(tmp_path, Nobody("not known (--operator-service-account)")) as at, peer("b", at.ca_file) as other:
        other.client.to(at.address)
        await until(lambda: "--operator-service-account" in other.client.last_error)


async def test_a_writer_of_another_authority_is_not_told_anything(tmp_path: Path) -> None:
    async with writer(tmp_path / "a") as at, writer(tmp_path / "b") as stranger, peer("b", at.ca_file) as other:
        other.client.to(stranger.address)
        await until(lambda: "UNAVAILABLE" in other.client.last_error)
        assert not stranger.whole.peers


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    async with peer("b", tmp_path / "nowhere.crt") as other:
        other.client.to("127.0.0.1:1")
        await until(lambda: "nowhere.crt" in other.client.last_error)


async def test_a_table_of_any_size_is_reported(tmp_path: Path) -> None:
    async with writer(tmp_path) as at, peer("b", at.ca_file) as other:
        resources = [make.route(f"a/{'r' * 150}{n}", 1) for n in range(15_000)]
        other.set(*resources)
        other.client.to(at.address)
        await until(lambda: at.whole.peers and len(next(iter(at.whole.peers)).table) == 15_000, 20)


async def test_a_replica_tells_where_it_is_and_learns_where_the_others_are(tmp_path: Path) -> None:
    async with writer(tmp_path) as at, peer("b", at.ca_file) as one, peer("c", at.ca_file) as other:
        one.client.address, other.client.address = "b:1", "c:1"
        heard: list[list[str]] = []
        other.client.told = lambda addresses: heard.append(list(addresses))
        one.client.to(at.address)
        await until(lambda: one.client.connected)
        other.client.to(at.address)
        await until(lambda: other.client.connected)
        assert at.whole.addresses == ["b:1", "c:1"]
        assert heard[-1] == ["b:1"]


async def test_who_does_not_know_the_writer_reports_to_all_it_knows_and_complains_of_none(tmp_path: Path) -> None:
    async with writer(tmp_path) as first, writer(tmp_path) as second, peer("b", first.ca_file) as other:
        other.set()
        other.client.to("127.0.0.1:1", first.address, second.address, searching=True)
        await until(lambda: (gateways(first), gateways(second)) == (1, 1))
        other.client.to(second.address)
        await until(lambda: not first.whole.peers)
        assert gateways(second) == 1


async def test_a_replica_that_ends_says_goodbye_and_one_that_is_cut_off_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "LINGER_SECONDS", 0.05)
    async with writer(tmp_path) as at:
        async with peer("b", at.ca_file) as other:
            other.set()
            other.client.to(at.address)
            await until(lambda: gateways(at) == 1 and other.client.connected)
        await until(lambda: gateways(at) == 0)
        assert not at.whole.missing
        async with peer("c", at.ca_file) as other:
            other.set()
            other.client.to(at.address)
            await until(lambda: gateways(at) == 1)
            ((_, task),) = other.client._links.values()
            task.cancel()  # as if killed
            await until(lambda: at.whole.missing)
            await asyncio.sleep(0.2)
            assert gateways(at) == 1


async def test_a_writer_that_cannot_be_reached_for_long_is_told_of_once_and_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "UNREACHABLE_SECONDS", 0.3)
    problems: dict[str, str] = {}
    async with writer(tmp_path) as at, peer("b", at.ca_file) as other:
        other.client._tell = problems.__setitem__
        other.client.to("127.0.0.1:1")
        await until(lambda: any(problems.values()))
        assert "127.0.0.1:1" in problems["peer 127.0.0.1:1"]
        other.client.to(at.address)
        await until(lambda: other.client.connected)
        assert not any(problems.values())


async def endless(*parts: pb.PeerReport) -> AsyncIterator[pb.PeerReport]:
    for part in parts:
        yield part
    await asyncio.Event().wait()


async def answer(at: Writer, *parts: pb.PeerReport) -> tuple[grpc.StatusCode, str]:
    """Report, and be refused."""
    options = (("grpc.ssl_target_name_override", SERVER_NAME),)
    credentials = grpc.ssl_channel_credentials(at.ca_file.read_bytes())
    async with grpc.aio.secure_channel(at.address, credentials, options=options) as channel:
        call = PeersStub(channel).Report(endless(*parts))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in call:
                pass
    return refused.value.code(), refused.value.details() or ""


async def test_a_report_is_bounded_in_bytes_and_in_the_time_between_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_BYTES", 1000)
    monkeypatch.setattr(server, "PART_SECONDS", 0.2)
    table = [pb.PeerName(id=n, name=f"a/{n}", version=b"v" * 8) for n in range(30)]
    part = pb.PeerReport(nonce=1, peer="p", table=table, more=True)
    async with writer(tmp_path) as at:
        assert await answer(at, part, part) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "more than 1000 bytes")
        code, why = await answer(at, pb.PeerReport(nonce=1, peer="p", more=True))
        assert (code, why) == (grpc.StatusCode.INVALID_ARGUMENT, "the replica said nothing")
        code, why = await answer(at, pb.PeerReport(nonce=1, peer="a\x00"))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert not at.whole.peers


# ---- who writes from when on ----------------------------------------------------------------------------------------


class Watch:
    """What a Duty does, and when."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.began = asyncio.Event()
        self.reports_to: list[str] = []
        self.duty = Duty(begin=self.begin, end=lambda: self.did.append("end"), report_to=self.reports_to.append)

    def begin(self) -> None:
        self.did.append("begin")
        self.began.set()


async def test_the_first_writer_ever_waits_for_nobody() -> None:
    watch = Watch()
    watch.duty.changed(Standing(True, "a", "a:1", succeeded=False))
    async with asyncio.timeout(WAIT_SECONDS / 3):
        await watch.began.wait()
    assert watch.duty.writes
    assert watch.reports_to == [""]


async def test_a_writer_that_follows_another_waits_for_its_peers_reports() -> None:
    watch = Watch()
    begun = asyncio.get_running_loop().time()
    watch.duty.changed(Standing(False, "a", "a:1", term=1))
    watch.duty.changed(Standing(True, "b", "b:1", succeeded=True, term=2))
    assert watch.reports_to == ["a:1", ""]
    async with asyncio.timeout(WAIT_SECONDS + 2):
        await watch.began.wait()
    assert asyncio.get_running_loop().time() - begun >= WAIT_SECONDS - 0.01
    # The API server was away for a while, and nobody came in between: it goes on where it was.
    watch.began.clear()
    watch.duty.changed(Standing(False, "", "", term=2))
    watch.duty.changed(Standing(True, "b", "b:1", succeeded=True, term=2))
    async with asyncio.timeout(WAIT_SECONDS / 3):
        await watch.began.wait()
    assert watch.did == ["begin", "end", "begin"]


async def test_who_loses_the_lease_while_it_waits_never_begins() -> None:
    watch = Watch()
    watch.duty.changed(Standing(True, "b", "b:1", succeeded=True, term=2))
    watch.duty.changed(Standing(False, "c", "c:1", term=3))
    await asyncio.sleep(WAIT_SECONDS + 0.2)
    assert watch.did == []
    assert watch.reports_to[-1] == "c:1"


async def test_a_certificate_for_another_name_is_reported_to_when_that_name_is_said(tmp_path: Path) -> None:
    """As a certificate of the Service has it, which somebody else made."""
    name = "it-operator.somewhere.svc"
    async with (
        writer(tmp_path, names=(name,)) as at,
        peer("b", at.ca_file) as unaware,
        peer("c", at.ca_file, server_name=name) as aware,
    ):
        async with asyncio.timeout(10):
            while not aware.client.connected or not unaware.client.last_error:
                unaware.client.to(at.address)
                aware.client.to(at.address)
                await asyncio.sleep(0.01)
        assert not unaware.client.connected
