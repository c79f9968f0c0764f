"""The last known good: whole or not at all, for our eyes only, and it serves at once."""

import logging
import os
import time
from pathlib import Path

import pytest

from builders import wire as make
from builders import wire_ends as ends
from trunkline_gateway.subscription import lastgood
from trunkline_gateway.subscription.lastgood import Keeper
from trunkline_gateway.subscription.store import Store
from trunkline_protocol.v1 import routing_pb2 as pb


def store_with(*resources: pb.Resource) -> Store:
    store = Store(time.monotonic)
    store.receive(pb.Update(nonce=1, resources=resources))
    return store


def test_what_was_written_is_read(tmp_path: Path) -> None:
    store = store_with(make.secret("a/s", 1, "sk-1"), make.upstream("a/up", 2, secret="a/s"), make.key("a/k", 3))
    lastgood.write(tmp_path / "state", store.saved())
    saved = lastgood.read(tmp_path / "state")
    assert saved is not None
    again = Store(time.monotonic)
    snapshot = again.restore(saved)
    assert snapshot.version == store.snapshot.version
    assert snapshot.upstreams["a/up"].keys[0].auth_header == (b"authorization", b"Bearer sk-1")
    assert again.held() == store.held()
    assert again.saved().marks == store.saved().marks


def test_only_we_can_read_it(tmp_path: Path) -> None:
    lastgood.write(tmp_path / "state", store_with(make.key("a/k", 1)).saved())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()] == [0o600]


@pytest.mark.parametrize("damage", ["cut", "flipped", "other format", "empty", "directory"])
def test_a_damaged_file_counts_as_absent(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    lastgood.write(tmp_path, store_with(make.secret("a/s", 1, "canary")).saved())
    path = tmp_path / lastgood.FILE
    content = path.read_bytes()
    path.unlink()
    match damage:
        case "directory":
            path.mkdir()
        case _:
            path.write_bytes(
                {
                    "cut": content[:-1],
                    "flipped": content[:-1] + bytes([content[-1] ^ 1]),
                    "other format": content.replace(b"table 1", b"table 2"),
                    "empty": b"",
                }[damage]
            )
    with caplog.at_level(logging.WARNING):
        assert lastgood.read(tmp_path) is None
    assert len(caplog.records) == 1
    assert "canary" not in caplog.text


def test_without_a_file_nothing_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert lastgood.read(tmp_path / "none") is None
    assert caplog.records == []


async def test_many_changes_are_one_write_and_the_last_one_is_not_lost(tmp_path: Path) -> None:
    writes = []
    store = store_with(make.key("a/k", 1))

    def saved() -> object:
        writes.append(1)
        return store.saved()

    keeper = Keeper(tmp_path, saved, write_seconds=0.05)  # type: ignore[arg-type]
    for _ in range(100):
        keeper.touch()
    await ends.until((tmp_path / lastgood.FILE).exists)
    assert len(writes) == 1
    store.receive(pb.Update(nonce=2, resources=[make.key("a/l", 1)]))
    keeper.touch()
    await keeper.close()
    found = lastgood.read(tmp_path)
    assert found is not None
    assert found.version == store.snapshot.version
    assert os.listdir(tmp_path) == [lastgood.FILE]


async def test_a_directory_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    keeper = Keeper(tmp_path / "file" / "state", store_with().saved, write_seconds=0)
    keeper.touch()
    await ends.until(lambda: caplog.records)
    await keeper.close()
    assert "Cannot write the last known good" in caplog.text


async def test_a_restarted_gateway_is_sent_nothing_that_it_has(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'run' / 's'}"
    async with ends.operator(address) as operator:
        operator.set(make.compiled(make.key("a/k", 1), make.route("a/m", 1)))
        async with ends.gateway(address, keeper=lambda store: Keeper(tmp_path / "state", store.saved)) as first:
            await ends.until(lambda: first.subscription.connected)
        store = Store(time.monotonic)
        saved = lastgood.read(tmp_path / "state")
        assert saved is not None
        store.restore(saved)
        async with ends.gateway(address, store=store) as again:
            await ends.until(lambda: again.subscription.connected)
            assert store.received == 0
            assert again.snapshots == []
