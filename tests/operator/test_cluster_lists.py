"""Our own LISTs find what a watch has missed, and a Secret without the label is known by metadata only."""

import asyncio
import contextlib
import itertools
import logging

import pytest

from trunkline_operator import kube
from trunkline_operator.watch import cluster, kopf_thread
from trunkline_operator.watch.cluster import ClusterSource
from trunkline_operator.watch.source import Changes
from trunkline_operator.watch.world import Change, Ref, World

LABEL = {"trunkline.dev/secret": "true"}
KEY = Ref("VirtualKey", "team-a", "alice")
SECRET = Ref("Secret", "team-a", "alice")


class ApiServer:
    """Objects by path, and what was asked for."""

    def __init__(self):
        self.objects = {}
        self.revision = 100
        self.asked = []
        self.errors = []

    def put(self, ref, *, labels=None, **more):
        self.revision += 1
        metadata = {
            "name": ref.name,
            "uid": f"uid-{ref.name}",
            "generation": 1,
            "resourceVersion": str(self.revision),
            "labels": labels or {},
            "creationTimestamp": "2026-05-01T00:00:00Z",
        } | ({"namespace": ref.namespace} if ref.namespace else {})
        self.objects[ref] = {"metadata": metadata, **more}
        return {"apiVersion": "", "kind": ref.kind, **self.objects[ref]}

    def delete(self, ref):
        self.revision += 1
        del self.objects[ref]

    async def pages(self, path, *, label_selector="", metadata_only=False):
        self.asked.append((path, metadata_only))
        if self.errors:
            raise self.errors.pop(0)
        plural = path.rpartition("/")[2]
        found = [
            {"metadata": body["metadata"]} if metadata_only else body
            for ref, body in self.objects.items()
            if f"{ref.kind.lower()}s" == plural
            and (not label_selector or body["metadata"]["labels"] == LABEL)
            and (f"/namespaces/{ref.namespace}/" in path or "/namespaces/" not in path)
        ]
        for page in itertools.batched(found, 1) if hasattr(itertools, "batched") else [[each] for each in found]:
            yield kube.Page(list(page), self.revision)
        yield kube.Page([], self.revision)

    async def get(self, path, *, accept=kube.JSON):
        self.asked.append((path, accept == kube.METADATA))
        for ref, body in self.objects.items():
            if path.endswith(f"/namespaces/{ref.namespace}/{ref.kind.lower()}s/{ref.name}"):
                return {"metadata": body["metadata"]} if accept == kube.METADATA else body
        raise kube.ApiError(404, "NotFound", "")


@pytest.fixture
def api():
    made = ApiServer()
    made.put(Ref("Namespace", "", "team-a"))
    return made


@pytest.fixture
async def source(api, monkeypatch):
    """A source whose kopf sees nothing at all."""

    async def deaf(watching, on_restart):
        await asyncio.Event().wait()

    monkeypatch.setattr(kopf_thread, "watch", deaf)
    monkeypatch.setattr(cluster, "_IN_FLIGHT_SECONDS", 0)
    monkeypatch.setattr(cluster, "_FIRST_BACKOFF_SECONDS", 0.01)
    recorded = []
    world = World()
    made = ClusterSource(api, world, Changes(lambda ref, change: recorded.append((ref, change)), lambda: None))
    made.world, made.recorded, made.task = world, recorded, None
    yield made
    made.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await made.task


def virtual_key(secret="alice"):
    return {"spec": {"models": ["*"], "secretRef": {"name": secret, "key": "key"}}}


async def synced(source):
    source.task = source.task or asyncio.create_task(source.run())
    async with asyncio.timeout(5):
        await source.synced.wait()
    return source


async def test_everything_is_listed_in_full_before_anything_is_told(api, source):
    api.put(KEY, **virtual_key())
    api.put(SECRET, labels=LABEL, data={"key": "c2st"})
    api.put(Ref("Secret", "team-a", "private"), data={"key": "c2st"})
    await synced(source)
    assert set(source.world.objects) == {KEY}
    assert set(source.world.secrets) == {SECRET}
    assert source.world.namespaces["team-a"]
    assert source.recorded == []
    assert source.why_not == ""


async def test_it_waits_for_the_api_server_and_says_so(api, source):
    api.errors = [kube.UnavailableError("refused")] * 7 + [kube.ApiError(404, "NotFound", "the server could not find")]
    source.task = asyncio.create_task(source.run())
    await asyncio.sleep(0.005)
    assert not source.synced.is_set()
    assert "cannot be listed" in source.why_not
    await synced(source)


async def test_a_relist_drops_what_is_gone_and_fetches_what_was_missed(api, source):
    api.put(KEY, **virtual_key())
    api.put(SECRET, labels=LABEL, data={"key": "c2st"})
    await synced(source)
    api.asked.clear()
    api.delete(KEY)
    other = Ref("VirtualKey", "team-a", "bob")
    api.put(other, **virtual_key())
    await source.relist()
    assert set(source.world.objects) == {other}
    assert (KEY, Change.REVOKES) in source.recorded
    assert source.phantoms["VirtualKey"] == source.missed["VirtualKey"] == 1
    lists = [(path, metadata) for path, metadata in api.asked if path.count("/") <= 4]
    assert all(metadata for _, metadata in lists)
    assert sum("virtualkeys/bob" in path for path, _ in api.asked) == 1


async def test_a_quiet_relist_records_nothing(api, source):
    api.put(KEY, **virtual_key())
    api.put(SECRET, labels=LABEL, data={"key": "c2st"})
    await synced(source)
    await source.relist()
    assert source.recorded == []
    assert not any(source.phantoms.values())


async def test_what_is_newer_than_the_list_is_kept(api, source):
    await synced(source)
    api.put(KEY, **virtual_key())
    body = {"apiVersion": "trunkline.dev/v1alpha1", "kind": "VirtualKey", **api.objects[KEY]}
    api.delete(KEY)
    api.revision = 50  # a replica of the API server that lags
    source.world.put(body)
    await source.relist()
    assert KEY in source.world.objects


async def test_an_unlabelled_secret_is_known_by_its_metadata_only(api, source):
    api.put(SECRET, data={"key": "c2st"})
    api.put(KEY, **virtual_key())
    await synced(source)
    assert source.world.unlabelled == {SECRET}
    assert SECRET not in source.world.secrets
    asked = [metadata for path, metadata in api.asked if path.endswith("/secrets/alice")]
    assert asked
    assert all(asked)


async def test_a_secret_that_loses_its_label_is_no_longer_used(api, source):
    api.put(KEY, **virtual_key())
    api.put(SECRET, labels=LABEL, data={"key": "c2st"})
    await synced(source)
    # The API server tells a watch by label of a deletion, with the revision of the update.
    gone = api.put(SECRET, data={"key": "c2st"})
    source._deliver(cluster.SECRETS, "DELETED", gone)
    assert SECRET not in source.world.secrets
    async with asyncio.timeout(5):
        while (SECRET, Change.REVOKES) not in source.recorded:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    # Whoever compiles at the revocation knows already that only the label is gone.
    assert source.world.unlabelled == {SECRET}


async def test_an_unlabelled_secret_that_comes_later_is_noticed(api, source):
    api.put(KEY, **virtual_key())
    await synced(source)
    api.put(SECRET, data={"key": "c2st"})
    async with asyncio.timeout(5):
        while SECRET not in source.world.unlabelled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_while_a_kind_is_not_watched_lists_take_the_watchs_place(api, source):
    api.put(KEY, **virtual_key())
    await synced(source)
    source._is_seeing(cluster.BY_KIND["VirtualKey"], False)
    await asyncio.sleep(0.2)
    api.delete(KEY)
    async with asyncio.timeout(1):
        while KEY in source.world.objects:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    source._is_seeing(cluster.BY_KIND["VirtualKey"], True)
    await asyncio.sleep(0.5)
    api.asked.clear()
    await asyncio.sleep(0.5)
    assert not any("virtualkeys" in path for path, _ in api.asked)


async def test_a_secret_that_is_gone_is_not_unlabelled_any_more(api, source):
    api.put(SECRET, data={"key": "c2st"})
    api.put(KEY, **virtual_key())
    await synced(source)
    api.delete(SECRET)
    await source.relist()
    assert source.world.unlabelled == set()


async def test_only_watched_namespaces_count(api, monkeypatch):
    source = ClusterSource(
        api, world := World(), Changes(lambda ref, change: None, lambda: None), namespaces=["team-a"]
    )
    api.put(Ref("Namespace", "", "team-b"))
    api.put(KEY, **virtual_key())
    api.put(Ref("VirtualKey", "team-b", "bob"), **virtual_key())

    async def deaf(watching, on_restart):
        assert list(watching.namespaces) == ["team-a"]
        await asyncio.Event().wait()

    monkeypatch.setattr(kopf_thread, "watch", deaf)
    source.task = None
    await synced(source)
    assert set(world.namespaces) == {"team-a"}
    assert set(world.objects) == {KEY}
    source.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await source.task


def test_kopf_logs_no_objects(caplog):
    kopf_thread._quieten()
    logging.getLogger("kopf._cogs.clients.watching").warning(
        "Ignoring an unsupported event type: {'type': 'X', 'object': {'data': {'key': 'canary-5b1c'}}}"
    )
    logging.getLogger("kopf.objects").info("canary-5b1c")
    assert "canary-5b1c" not in caplog.text
    assert "Ignoring an unsupported event type" in caplog.text
