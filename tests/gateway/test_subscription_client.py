"""Why there is no stream, and what is on the disk before the operator hears of it."""

import contextlib
import logging
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc import aio

from builders import wire as make
from builders import wire_ends as ends
from trunkline_gateway.runtime import Gateway
from trunkline_gateway.settings import Settings
from trunkline_gateway.subscription import client, lastgood
from trunkline_gateway.subscription.lastgood import Keeper
from trunkline_gateway.subscription.store import Store
from trunkline_protocol.v1 import routing_pb2 as pb
from trunkline_protocol.v1 import routing_pb2_grpc


class Refusing(routing_pb2_grpc.RoutingServicer):
    async def Stream(  # noqa: N802 - the stub's name
        self, request_iterator: object, context: aio.ServicerContext[pb.GatewayMessage, pb.OperatorMessage]
    ) -> AsyncIterator[pb.OperatorMessage]:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "the token is of somebody else")
        yield pb.OperatorMessage()


@contextlib.asynccontextmanager
async def refusing(address: str) -> AsyncIterator[None]:
    server = aio.server()
    routing_pb2_grpc.add_RoutingServicer_to_server(Refusing(), server)
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(None)


@pytest.mark.parametrize("resources", [0, 3000])
async def test_a_refusal_is_always_named(tmp_path: Path, resources: int, monkeypatch: pytest.MonkeyPatch) -> None:
    send = client._Up.send

    async def twice(up: client._Up, message: pb.GatewayMessage) -> None:
        await send(up, message)
        await send(up, message)  # so that it often meets the end of the call

    monkeypatch.setattr(client._Up, "send", twice)
    address = f"unix:{tmp_path / 's'}"
    store = Store(time.monotonic)
    store.receive(pb.Update(nonce=1, resources=[make.key(f"a/k{n}", 1) for n in range(resources)]))
    async with refusing(address):
        reasons = []
        for _ in range(20):
            async with ends.gateway(address, store=store) as gateway:
                await ends.until(lambda made=gateway: "no operator" not in made.subscription.last_error)
                reasons.append(gateway.subscription.last_error)
    assert set(reasons) == {
        "the operator does not let this gateway in (PERMISSION_DENIED: the token is of somebody else)"
    }


async def test_two_gateways_with_one_name_back_off_and_say_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address) as operator:
        operator.set(make.compiled(make.key("a/k", 1)))
        async with ends.gateway(address, "twin") as one, ends.gateway(address, "twin") as two:
            await ends.until(lambda: max(one.subscription._replaced, two.subscription._replaced) > 3, 10)
            assert any("--node-name twin" in made.subscription.last_error for made in (one, two))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert 1 <= len([warning for warning in warnings if "two gateways share --node-name twin" in warning]) <= 2
    assert not [warning for warning in warnings if warning.startswith("No stream")]


async def test_a_revocation_is_on_the_disk_before_its_ack(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'run' / 's'}"
    state = tmp_path / "state"
    async with ends.operator(address) as operator:
        operator.set(make.compiled(make.key("a/k", 1), make.key("a/l", 1)))
        async with ends.gateway(
            address, keeper=lambda store: Keeper(state, store.saved, write_seconds=0.05)
        ) as gateway:
            await ends.until((state / lastgood.FILE).exists)
            operator.set(make.compiled(make.key("a/k", 1), make.key("a/l", 2, disabled=True)))
            await ends.until(lambda: operator.servicer.counts.acks == 2)
            shutil.copytree(state, tmp_path / "killed")
            version = gateway.store.snapshot.version
    store = Store(time.monotonic)
    keeper = Keeper(tmp_path / "killed", store.saved)
    snapshot = await keeper.restore(store)
    await keeper.close()
    assert snapshot is not None
    assert snapshot.version == version
    assert {key.name: key.disabled for key in snapshot.keys.values()} == {"a/k": False, "a/l": True}


async def test_readyz_says_that_the_last_known_good_is_damaged(tmp_path: Path) -> None:
    lastgood.write(tmp_path / "state", Store(time.monotonic).saved())
    path = tmp_path / "state" / lastgood.FILE
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    settings = Settings(
        operator=f"unix:{tmp_path / 'none'}", host="127.0.0.1", port=0, admin_port=0, state_dir=tmp_path / "state"
    )
    gateway = Gateway(settings)
    await gateway.start()
    try:
        reason = gateway.unready_reason() or ""
    finally:
        await gateway.stop()
    assert "no routing table yet" in reason
    assert f"The last known good table in {tmp_path / 'state'} is damaged and was not used." in reason
