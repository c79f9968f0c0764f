"""Writes statuses to the cluster: a merge patch of ``/status``, the latest of each object, at a bounded pace.

Each rests on the revision that it was decided on, as a patch that the network has kept must not undo what another
writer has written since: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-versions

A change shows at once; a mass change is spread. While the API server is away, the latest of each object is kept. After
a status is written, its transitions become Events.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.report.buckets import Bucket
from trunkline_operator.report.reporter import Write
from trunkline_operator.report.status import merge_patch
from trunkline_operator.report.transitions import Transition, transitions
from trunkline_operator.watch.world import Ref
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

BURST: Final = 200
SUSTAINED_PER_SECOND: Final = 10.0
BACKLOG_PER_SECOND: Final = 50.0
_BACKLOG: Final = 50
_WORKERS: Final = 8
_FIRST_BACKOFF_SECONDS: Final = 0.25
_LAST_BACKOFF_SECONDS: Final = 10.0

Patch = Callable[[Ref, Mapping[str, Any]], Awaitable[int]]
"""Sends a merge patch of ``/status`` and gives the object's new resourceVersion."""

Post = Callable[[Ref, str, Transition], None]
"""Takes an Event for an object and its uid."""


class StatusWriter:
    """The sink of a cluster; `report.reporter.Sink`.

    Attributes:
        writes: Off for a replica that is not the leader: what is pending is kept.
        outcomes: How many patches went how, by ``written``, ``gone``, ``conflict`` and ``failed``.
    """

    def __init__(self, patch: Patch, post: Post, *, writes: bool = True) -> None:
        self._patch = patch
        self._post = post
        self._pending: dict[Ref, tuple[Write, Callable[[int], None]]] = {}
        self._queue: deque[Ref] = deque()
        self._in_flight: set[Ref] = set()
        self._newest = True
        self._wake = asyncio.Event()
        self._bucket = Bucket(burst=BURST)
        self._backoff = 0.0
        self._unavailable = False
        self.outcomes = {"written": 0, "gone": 0, "conflict": 0, "failed": 0}
        self._writes = writes

    @property
    def pending(self) -> int:
        """How many objects wait for their write."""
        return len(self._pending)

    def set_writes(self, writes: bool) -> None:
        """Turn writing on or off."""
        self._writes = writes
        self._wake.set()

    def clear(self) -> None:
        """Drop all that is pending: somebody else writes, and what there will be to write later is decided then."""
        self._pending.clear()
        self._queue.clear()

    def write(self, write: Write, written: Callable[[int], None]) -> None:
        """Take a status; a later one of the same object replaces it."""
        if write.ref not in self._pending and write.ref not in self._in_flight:
            self._queue.append(write.ref)
        self._pending[write.ref] = (write, written)
        self._wake.set()

    def forget(self, ref: Ref) -> None:
        """Drop what is pending for an object."""
        self._pending.pop(ref, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            write, written = await self._next()
            self._in_flight.add(write.ref)
            try:
                await self._send(write, written)
            except Exception:  # noqa: BLE001 - one object must not end the writing of all others
                self.outcomes["failed"] += 1
                _LOG.exception("A status could not be written", extra=fields(object=str(write.ref)))
            finally:
                self._in_flight.discard(write.ref)
                if write.ref in self._pending:
                    self._queue.append(write.ref)
                    self._wake.set()

    async def _next(self) -> tuple[Write, Callable[[int], None]]:
        while True:
            while not self._writes or not self._queue:
                self._wake.clear()
                await self._wake.wait()
            pace = BACKLOG_PER_SECOND if len(self._queue) > _BACKLOG else SUSTAINED_PER_SECOND
            if (pause := self._bucket.take(pace)) > 0:
                await asyncio.sleep(pause)
                continue
            # Another worker may have been faster; its token is lost, which is no harm.
            while self._queue:
                # By turns the one that has waited longest and the newest: an apply during a mass change shows at once.
                self._newest = not self._newest
                ref = self._queue.pop() if self._newest else self._queue.popleft()
                if (taken := self._pending.pop(ref, None)) is not None:
                    return taken

    async def _send(self, write: Write, written: Callable[[int], None]) -> None:
        metadata = {"uid": write.uid} | ({"resourceVersion": str(write.revision)} if write.revision else {})
        body = {"metadata": metadata, "status": merge_patch(write.status, write.there)}
        try:
            revision = await self._patch(write.ref, body)
        except kube.ApiError as error:
            if error.status == 404:
                self.outcomes["gone"] += 1  # its own event follows
                return
            if error.status == 409:
                # Changed by somebody, or another object of that name: what to write then is decided anew.
                self.outcomes["conflict"] += 1
                write.overtaken()
                return
            if error.status == 422:
                # Either another object of that name, or a status that its schema refuses: repeating it helps nobody.
                self.outcomes["failed"] += 1
                _LOG.warning("A status was refused", extra=fields(object=str(write.ref), error=str(error)))
                return
            await self._again(write, written, str(error), error.retry_after_seconds)
        except kube.UnavailableError as error:
            await self._again(write, written, str(error), 0)
        else:
            self.outcomes["written"] += 1
            if self._unavailable:
                _LOG.info("Statuses are written again")
            self._backoff, self._unavailable = 0.0, False
            if (newer := self._pending.get(write.ref)) is not None:
                self._pending[write.ref] = (_on_top_of(write, revision, newer[0]), newer[1])
            for transition in write.transitions:
                self._post(write.ref, write.uid, transition)
            written(revision)

    async def _again(self, write: Write, written: Callable[[int], None], error: str, retry_after: float) -> None:
        """Keep it for later, unless something newer has come in the meantime."""
        self.outcomes["failed"] += 1
        if not self._unavailable:
            _LOG.warning("Statuses cannot be written; they are kept", extra=fields(error=error))
        self._unavailable = True
        self._pending.setdefault(write.ref, (write, written))
        self._backoff = min(max(_FIRST_BACKOFF_SECONDS, self._backoff * 1.3), _LAST_BACKOFF_SECONDS)
        await asyncio.sleep(max(self._backoff, retry_after))


def _on_top_of(done: Write, revision: int, newer: Write) -> Write:
    """``newer``, as a change of what has just been written, unless it was decided on something newer still."""
    if newer.uid != done.uid or newer.revision > revision:
        return newer
    return replace(newer, there=done.status, transitions=transitions(done.status, newer.status), revision=revision)
