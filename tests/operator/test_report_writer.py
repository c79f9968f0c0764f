"""Statuses are written promptly, at a bounded pace, the latest of each object, whatever the API server does."""

import asyncio
from dataclasses import replace

import pytest

from trunkline_operator import kube
from trunkline_operator.report import writer as writing
from trunkline_operator.report.buckets import Bucket
from trunkline_operator.report.events import EventRecorder
from trunkline_operator.report.reporter import Write
from trunkline_operator.report.transitions import Transition
from trunkline_operator.watch.world import Ref


def ref(name="gpt-4o"):
    return Ref("ModelGroup", "team-a", name)


def write(name="gpt-4o", *, there=None, news=(), **status):
    return Write(ref=ref(name), uid="uid-1", status=status, there=there or {}, transitions=news)


class Cluster:
    def __init__(self):
        self.patches = []
        self.events = []
        self.errors = []
        self.open = asyncio.Event()
        self.open.set()

    async def patch(self, ref, body):
        await self.open.wait()
        if self.errors:
            raise self.errors.pop(0)
        self.patches.append((ref.name, body))
        return len(self.patches)

    def post(self, ref, uid, transition):
        self.events.append((ref.name, uid, transition.reason))


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
async def writer(cluster, monkeypatch):
    monkeypatch.setattr(writing, "_FIRST_BACKOFF_SECONDS", 0.01)
    made = writing.StatusWriter(cluster.patch, cluster.post)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def until(probe):
    async with asyncio.timeout(5):
        while not probe():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_a_write_is_a_merge_patch_of_the_status_of_that_very_object(cluster, writer):
    revisions = []
    writer.write(
        write(a=1, there={"b": 2}, news=(Transition("Warning", "Accepted", "Invalid", "no"),)), revisions.append
    )
    await until(lambda: revisions)
    assert cluster.patches == [("gpt-4o", {"metadata": {"uid": "uid-1"}, "status": {"a": 1, "b": None}})]
    assert cluster.events == [("gpt-4o", "uid-1", "Invalid")]
    assert writer.outcomes["written"] == 1


async def test_the_latest_wins_and_one_object_is_written_by_one_at_a_time(cluster, writer):
    cluster.open.clear()
    for n in range(5):
        writer.write(write(n=n), lambda _: None)
        await asyncio.sleep(0.01)
    cluster.open.set()
    await until(lambda: not writer.pending and len(cluster.patches) == 2)
    assert [body["status"] for _, body in cluster.patches] == [{"n": 0}, {"n": 4}]


async def test_what_is_taken_back_is_not_written(cluster, writer):
    writer.set_writes(False)
    writer.write(write("a", n=1), lambda _: None)
    writer.write(write("b", n=1), lambda _: None)
    await asyncio.sleep(0.02)
    assert cluster.patches == []
    writer.forget(ref("a"))
    writer.set_writes(True)
    await until(lambda: cluster.patches)
    assert [name for name, _ in cluster.patches] == ["b"]


@pytest.mark.parametrize(
    "error",
    [kube.UnavailableError("gone"), kube.ApiError(503, "", ""), kube.ApiError(429, "", ""), kube.ApiError(403, "", "")],
)
async def test_what_cannot_be_written_is_kept_and_tried_again(cluster, writer, error):
    cluster.errors = [error, error]
    writer.write(write(n=1), lambda _: None)
    await until(lambda: cluster.patches)
    assert writer.outcomes["failed"] == 2


async def test_a_write_rests_on_what_was_seen_and_is_decided_anew_when_that_is_not_there_any_more(cluster, writer):
    overtaken = []
    first = replace(write(n=1), revision=7, overtaken=lambda: overtaken.append(7))
    cluster.errors = [kube.ApiError(409, "Conflict", "")]
    writer.write(first, lambda _: None)
    await until(lambda: overtaken)
    assert (cluster.patches, writer.pending) == ([], 0)
    assert writer.outcomes == {"written": 0, "gone": 0, "conflict": 1, "failed": 0}
    writer.write(replace(first, revision=8), lambda _: None)
    await until(lambda: cluster.patches)
    assert cluster.patches[0][1]["metadata"] == {"uid": "uid-1", "resourceVersion": "8"}


async def test_what_follows_a_write_rests_on_its_revision(cluster, writer):
    cluster.open.clear()
    writer.write(replace(write(n=1), revision=0), lambda _: None)
    await asyncio.sleep(0.01)
    writer.write(replace(write(n=2), revision=0), lambda _: None)
    cluster.open.set()
    await until(lambda: len(cluster.patches) == 2)
    assert cluster.patches[1][1]["metadata"]["resourceVersion"] == "1"


@pytest.mark.parametrize("status", [404, 409, 422])
async def test_what_is_gone_is_given_up(cluster, writer, status):
    cluster.errors = [kube.ApiError(status, "", "")]
    writer.write(write(n=1), lambda _: None)
    await until(lambda: not cluster.errors)
    await asyncio.sleep(0.02)
    assert cluster.patches == []
    assert writer.pending == 0


async def test_a_burst_goes_at_once(cluster, writer):
    for n in range(writing.BURST):
        writer.write(write(f"g{n}", n=n), lambda _: None)
    async with asyncio.timeout(1):
        await until(lambda: len(cluster.patches) == writing.BURST)


async def test_a_change_during_a_mass_change_does_not_queue_behind_it(cluster, writer):
    for n in range(1000):
        writer.write(write(f"g{n}", n=n), lambda _: None)
    await until(lambda: len(cluster.patches) >= writing.BURST)
    writer.write(write("mine", n=1), lambda _: None)
    async with asyncio.timeout(0.5):
        await until(lambda: "mine" in {name for name, _ in cluster.patches})
    names = [name for name, _ in cluster.patches]
    assert "g0" in names  # and the oldest is not forgotten


def test_a_bucket_lets_a_burst_through_and_then_keeps_its_pace():
    now = 0.0
    bucket = Bucket(burst=3, monotonic=lambda: now)
    assert [bucket.take(10) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]
    now = 0.1
    assert bucket.take(10) == 0
    now = 100.0
    assert [bucket.take(10) for _ in range(4)] == [0, 0, 0, pytest.approx(0.1)]


async def test_the_same_event_is_posted_once():
    posted = []

    async def create(namespace, event):
        posted.append((namespace, event))

    recorder = EventRecorder(create)
    task = asyncio.create_task(recorder.run())
    news = Transition("Warning", "Accepted", "Invalid", "x" * 3000)
    recorder.post(ref(), "uid-1", news)
    recorder.post(ref(), "uid-1", news)
    recorder.post(ref(), "uid-2", news)
    await until(lambda: len(posted) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    namespace, event = posted[0]
    assert namespace == event["metadata"]["namespace"] == "team-a"
    assert event["regarding"]["uid"] == "uid-1"
    assert len(event["note"]) <= 1024
    assert recorder.outcomes == {"posted": 2, "repeated": 1, "dropped": 0}
