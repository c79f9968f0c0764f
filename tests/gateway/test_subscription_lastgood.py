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


async def journaled(directory: Path, *updates: pb.Update) -> Store:
    """A store whose table is on the disk, and then got these; the process dies right after the last one."""
    store = store_with(make.key("a/k", 1), make.key("a/l", 1))
    lastgood.write(directory, store.saved())
    again = Store(time.monotonic)
    keeper = Keeper(directory, again.saved, write_seconds=60)
    assert await keeper.restore(again) is not None
    for update in updates:
        applied = again.receive(update)
        assert applied is not None
        await keeper.keep(applied.parts)
    return again


def files(directory: Path, pattern: str = "*") -> list[Path]:
    return list(directory.glob(pattern))


def removal(name: str, revision: int) -> pb.Update:
    source = pb.Source(ref=f"VirtualKey/{name}", revision=revision)
    return pb.Update(nonce=revision, removals=[pb.Removal(type=pb.TYPE_KEY, name=name, sources=[source])])


async def restored(directory: Path) -> Store:
    store = Store(time.monotonic)
    assert await Keeper(directory, store.saved).restore(store) is not None
    return store


async def test_what_came_after_the_table_is_replayed(tmp_path: Path) -> None:
    before = await journaled(
        tmp_path, removal("a/k", 5), pb.Update(nonce=6, resources=[make.secret("a/s", 3, "sk-2"), make.key("a/m", 4)])
    )
    assert {path.stat().st_mode & 0o777 for path in files(tmp_path)} == {0o600}
    after = await restored(tmp_path)
    assert after.snapshot.version == before.snapshot.version
    assert sorted(key.name for key in after.snapshot.keys.values()) == ["a/l", "a/m"]
    assert after.received == 0
    stale = after.receive(pb.Update(nonce=9, resources=[make.key("a/k", 1)]))
    assert stale is not None
    assert stale.ack.stale


@pytest.mark.parametrize("cut", [1, 30, 60])
async def test_a_torn_last_entry_is_ignored(tmp_path: Path, cut: int) -> None:
    await journaled(tmp_path, removal("a/k", 5), removal("a/l", 5))
    (journal,) = files(tmp_path, "journal.*")
    journal.write_bytes(journal.read_bytes()[:-cut])
    assert [key.name for key in (await restored(tmp_path)).snapshot.keys.values()] == ["a/l"]


async def test_entries_older_than_the_table_and_entries_twice_change_nothing(tmp_path: Path) -> None:
    store = await journaled(
        tmp_path, pb.Update(nonce=4, resources=[make.key("a/k", 4)]), removal("a/k", 5), removal("a/l", 5)
    )
    lastgood.write(tmp_path, store.saved())
    (journal,) = files(tmp_path, "journal.*")
    (tmp_path / "journal.99").write_bytes(journal.read_bytes())
    assert (await restored(tmp_path)).snapshot.version == store.snapshot.version


async def test_an_entry_made_while_the_table_is_written_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_with(make.key("a/k", 1), make.key("a/l", 1))
    lastgood.write(tmp_path, store.saved())
    store = Store(time.monotonic)
    keeper = Keeper(tmp_path, store.saved, write_seconds=0)
    await keeper.restore(store)
    true_write, begun = lastgood.write, []

    def slow(*args: object, **more: object) -> None:
        begun.append(1)
        time.sleep(0.2)
        true_write(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(lastgood, "write", slow)
    keeper.touch()
    await ends.until(lambda: begun)
    applied = store.receive(removal("a/k", 5))
    assert applied is not None
    await keeper.keep(applied.parts)
    written = (tmp_path / lastgood.FILE).stat().st_ino
    await ends.until(lambda: (tmp_path / lastgood.FILE).stat().st_ino != written)
    assert [key.name for key in (await restored(tmp_path)).snapshot.keys.values()] == ["a/l"]
    await keeper.close()
    assert os.listdir(tmp_path) == [lastgood.FILE]


async def test_a_long_journal_is_replaced_by_a_table(tmp_path: Path) -> None:
    store = store_with(make.key("a/k", 1))
    lastgood.write(tmp_path, store.saved())
    store = Store(time.monotonic)
    keeper = Keeper(tmp_path, store.saved, write_seconds=0, journal_bytes=1000)
    await keeper.restore(store)
    for revision in range(2, 20):
        applied = store.receive(pb.Update(nonce=revision, resources=[make.key("a/k", revision)]))
        assert applied is not None
        await keeper.keep(applied.parts)
    await ends.until(lambda: sum(path.stat().st_size for path in files(tmp_path, "journal.*")) < 1000)
    assert (await restored(tmp_path)).saved().marks == {"VirtualKey/a/k": 19}
    await keeper.close()


async def test_a_journal_that_cannot_be_written_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lastgood, "append", full)
    await journaled(tmp_path, removal("a/k", 5), removal("a/l", 5))
    assert caplog.text.count("No space left on device") == 1


async def test_a_key_change_in_a_large_table_costs_no_rewrite(tmp_path: Path) -> None:
    store = store_with(*[make.key(f"a/k{n}", 1) for n in range(10_000)])
    lastgood.write(tmp_path, store.saved())
    keeper = Keeper(tmp_path, store.saved)
    await keeper.restore(Store(time.monotonic))
    before = (tmp_path / lastgood.FILE).stat().st_ino
    begun = time.process_time()
    for revision in range(2, 52):
        await keeper.keep([pb.Update(nonce=revision, resources=[make.key("a/k1", revision)])])
    assert (time.process_time() - begun) / 50 < 0.01
    assert (tmp_path / lastgood.FILE).stat().st_ino == before
    await keeper.close()
