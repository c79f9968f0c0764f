"""The cluster as a source: kopf watches, our own LISTs guard what a watch cannot.

- At the start everything is listed in full before anything is compiled: a half-seen world would take away what works.
- From then on everything is listed again every few minutes, and whenever kopf's watch had a gap, by metadata only:
  what is gone without an event is dropped, what was missed is fetched.
- A Secret without the label is never read. That it exists is asked for by metadata, so that its user can be told what
  to do.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.watch import kopf_thread, lists, obstacles
from trunkline_operator.watch.lists import BY_KIND, NAMESPACES, SECRETS, Listing, Watched
from trunkline_operator.watch.secrets import SecretPresence
from trunkline_operator.watch.source import Changes
from trunkline_operator.watch.world import SECRET_LABEL, Change, Ref, World
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

RELIST_SECONDS: Final = 240.0
_JITTER: Final = 0.2
_GAP_SECONDS: Final = 0.1
_SUSPECT_SECONDS: Final = 5.0
_BLIND_SECONDS: Final = 0.3
_LAST_BLIND_SECONDS: Final = 2.0
_IN_FLIGHT_SECONDS: Final = 0.5
_FIRST_BACKOFF_SECONDS: Final = 0.2
_LAST_BACKOFF_SECONDS: Final = 5.0

_UNREACHABLE = (kube.ApiError, kube.UnavailableError)


class ClusterSource:
    """Keeps a world in step with the cluster. Belongs to the main loop.

    Attributes:
        events: How many events kopf has handed over, by kind.
        restarts: How many times kopf died.
        relists: How many re-LISTs there were, of one kind or all.
        phantoms: How many objects a re-LIST found gone without an event, by kind.
        missed: How many a re-LIST found that no event had told of, by kind.
    """

    def __init__(
        self,
        client: kube.Kube,
        world: World,
        changes: Changes,
        *,
        kubeconfig: Path | None = None,
        namespaces: Sequence[str] = (),
        tell: Callable[[str, str], None] | None = None,
    ) -> None:
        """Prepare; ``run`` starts.

        Args:
            client: For the LISTs.
            world: Where everything is recorded.
            changes: Told of every change, once `synced` is set.
            kubeconfig: For kopf.
            namespaces: Empty: the whole cluster.
            tell: Gets, by topic, why something cannot be looked at, in a sentence; an empty one: it can. Else it is
                logged.
        """
        self._client = client
        self._world = world
        self._changes = changes
        self._kubeconfig = kubeconfig
        self._namespaces = tuple(namespaces)
        self._may_list_namespaces = True
        self._gaps: set[str] = set()
        self._gap = asyncio.Event()
        self._forced = asyncio.Event()
        self._relisted = asyncio.Condition()
        self.relists = 0
        self._presence = SecretPresence(client, world, self._notify)
        self.synced = asyncio.Event()
        self.why_not = "the first LIST has not finished"
        self._obstacles = obstacles.Obstacles(self._namespaces, tell)
        self.events: dict[str, int] = dict.fromkeys(BY_KIND, 0)
        self.phantoms: dict[str, int] = dict.fromkeys(BY_KIND, 0)
        self.missed: dict[str, int] = dict.fromkeys(BY_KIND, 0)
        self.restarts = 0
        self._last_event: float | None = None
        self._suspected = -_SUSPECT_SECONDS
        self._blind: set[str] = set()

    async def run(self) -> None:
        """Follow the cluster until cancelled. Waits for an API server that is away, however long."""
        await asyncio.gather(*(self._list_in_full(watched) for watched in BY_KIND.values()))
        await self._presence.ask_all()
        self.why_not = ""
        self.synced.set()
        watched = [each for each in BY_KIND.values() if each is not NAMESPACES or self._may_list_namespaces]
        async with asyncio.TaskGroup() as group:
            for each in watched:
                # A kopf each: a kind that cannot be watched, its CRD gone perhaps, must not blind the others.
                watching = kopf_thread.Watching(
                    kubeconfig=self._kubeconfig,
                    watched=[each],
                    namespaces=self._namespaces,
                    deliver=self._deliver,
                    gap=self._had_gap,
                    seeing=self._is_seeing,
                )
                group.create_task(kopf_thread.watch(watching, partial(self._restarted, each)))
            group.create_task(self._relist_now_and_then())
            group.create_task(self._presence.run())

    def event_age_seconds(self) -> float | None:
        """How long ago the last event came; None: there was none."""
        return None if self._last_event is None else asyncio.get_running_loop().time() - self._last_event

    async def relist(self) -> None:
        """Do a re-LIST of everything now and wait for its end."""
        async with self._relisted:
            # One that is under way may have begun before what the caller did.
            enough = self.relists + (2 if self._forced.is_set() else 1)
            self._forced.set()
            await self._relisted.wait_for(lambda: self.relists >= enough)

    def suspect(self) -> None:
        """Do a re-LIST of everything soon, at most every few seconds."""
        now = asyncio.get_running_loop().time()
        if now - self._suspected >= _SUSPECT_SECONDS:
            self._suspected = now
            for watched in BY_KIND.values():
                self._had_gap(watched)

    # ---- events -----------------------------------------------------------------------------------------------------

    def _deliver(self, watched: Watched, event: str, body: Mapping[str, Any]) -> None:
        self.events[watched.kind] += 1
        self._last_event = asyncio.get_running_loop().time()
        self._record(watched, body, deleted=event == "DELETED")

    def _record(self, watched: Watched, body: Mapping[str, Any], *, deleted: bool = False) -> None:
        metadata = body["metadata"]
        if not self._is_watched(watched, metadata):
            return
        ref = watched.ref(metadata)
        before = self._world.objects.get(ref)
        if deleted:
            change = self._world.delete(ref, int(metadata["resourceVersion"]))
            if watched is SECRETS:
                self._presence.lost(ref, change)  # perhaps it lost only its label; that is told with the rest
                return
        else:
            change = self._world.put(_complete(watched, body))
            self._presence.look_at(ref)
        if change is not Change.NONE or self._world.objects.get(ref) is not before:
            self._notify(ref, change)

    def _is_watched(self, watched: Watched, metadata: Mapping[str, Any]) -> bool:
        return watched is not NAMESPACES or not self._namespaces or metadata["name"] in self._namespaces

    def _notify(self, ref: Ref, change: Change) -> None:
        if self.synced.is_set():
            self._changes.recorded(ref, change)

    # ---- LISTs ------------------------------------------------------------------------------------------------------

    async def _list_in_full(self, watched: Watched) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            try:
                for listing in [each async for each in self._listings(watched, metadata_only=False)]:
                    for body in listing.items:
                        self._record(watched, body)
                    self._world.relist(watched.kind, listing.namespace, self._revisions(listing), listing.revision)
            except _UNREACHABLE as error:
                self._obstacles.met(watched, error)
                self.why_not = "; ".join(self._obstacles.sentences())
                await asyncio.sleep(backoff * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
                backoff = min(backoff * 2, _LAST_BACKOFF_SECONDS)
            else:
                self._obstacles.gone(watched)
                self.why_not = "; ".join(self._obstacles.sentences()) or "the first LIST has not finished"
                return

    async def _listings(self, watched: Watched, *, metadata_only: bool) -> Any:  # noqa: ANN401
        for namespace in lists.scopes(watched, self._namespaces):
            try:
                yield await lists.listing(self._client, watched, namespace, metadata_only=metadata_only)
            except kube.ApiError as error:
                if error.status != 403 or watched is not NAMESPACES or not self._namespaces:
                    raise
                self._may_list_namespaces = False
                yield await lists.namespaces_one_by_one(self._client, self._namespaces)

    async def _relist_now_and_then(self) -> None:
        loop = asyncio.get_running_loop()
        forced = asyncio.create_task(self._forced.wait())
        gap = asyncio.create_task(self._gap.wait())
        full = loop.time() + _relist_pause()
        blind_pause = _BLIND_SECONDS
        try:
            while True:
                pause = full - loop.time()
                timeout = max(0.0, min(pause, blind_pause) if self._blind else pause)
                await asyncio.wait({forced, gap}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if forced.done() or loop.time() >= full:
                    kinds = list(BY_KIND.values())
                    full = loop.time() + _relist_pause()
                else:
                    if gap.done() and not self._blind:
                        await asyncio.sleep(_GAP_SECONDS)
                    kinds = [BY_KIND[kind] for kind in sorted(self._gaps | self._blind)]
                if forced.done():
                    self._forced.clear()
                    forced = asyncio.create_task(self._forced.wait())
                if gap.done():
                    self._gaps.clear()
                    self._gap.clear()
                    gap = asyncio.create_task(self._gap.wait())
                begun = loop.time()
                if await self._relist(kinds):
                    blind_pause = max(_BLIND_SECONDS, 3 * (loop.time() - begun))
                else:
                    blind_pause = min(blind_pause * 1.5, _LAST_BLIND_SECONDS)
        finally:
            forced.cancel()
            gap.cancel()

    async def _relist(self, kinds: Sequence[Watched]) -> bool:
        """Compare the world with what is there; whether anything could be listed."""
        listed = False
        for watched in kinds:
            try:
                async for listing in self._listings(watched, metadata_only=True):
                    await self._compare(listing)
            except _UNREACHABLE as error:
                self._obstacles.met(watched, error)
                asyncio.get_running_loop().call_later(_LAST_BACKOFF_SECONDS, self._had_gap, watched)
            else:
                self._obstacles.gone(watched)
                listed = True
        if listed:
            if SECRETS in kinds:
                await self._presence.ask_all()
            self._world.forget_tombstones()
            self._changes.listed()
        if len(kinds) == len(BY_KIND):
            async with self._relisted:
                self.relists += 1
                self._relisted.notify_all()
        return listed

    async def _compare(self, listing: Listing) -> None:
        watched, revisions = listing.watched, self._revisions(listing)
        gone = self._world.relist(watched.kind, listing.namespace, revisions, listing.revision)
        for ref in gone:
            self.phantoms[watched.kind] += 1
            _LOG.info("A re-LIST found an object gone", extra=fields(object=str(ref)))
            self._notify(ref, Change.REVOKES)
        if self._world.missed(revisions):
            await asyncio.sleep(_IN_FLIGHT_SECONDS)  # most of them are on their way
            for ref in self._world.missed(revisions):
                await self._fetch(watched, ref)

    async def _fetch(self, watched: Watched, ref: Ref) -> None:
        try:
            body = await self._client.get(watched.path(ref.namespace, ref.name))
        except kube.ApiError as error:
            if error.status != 404:
                raise
            return
        if watched is SECRETS and not _is_labelled(body):
            return
        self.missed[watched.kind] += 1
        self._record(watched, body)

    def _revisions(self, listing: Listing) -> dict[Ref, int]:
        return {
            listing.watched.ref(item["metadata"]): int(item["metadata"]["resourceVersion"])
            for item in listing.items
            if self._is_watched(listing.watched, item["metadata"])
        }

    # ---- gaps -------------------------------------------------------------------------------------------------------

    def _had_gap(self, watched: Watched) -> None:
        self._gaps.add(watched.kind)
        self._gap.set()

    def _restarted(self, watched: Watched) -> None:
        self.restarts += 1
        self._is_seeing(watched, False)

    def _is_seeing(self, watched: Watched, seeing: bool) -> None:
        """While a kind is not being watched, LISTs take the watch's place."""
        if seeing:
            self._blind.discard(watched.kind)
        elif watched.kind not in self._blind:
            self._blind.add(watched.kind)
            self._had_gap(watched)


def _relist_pause() -> float:
    return RELIST_SECONDS * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter


def _complete(watched: Watched, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """``body`` with the type that items of a LIST lack."""
    api_version = f"{watched.group}/{watched.version}" if watched.group else watched.version
    return {**body, "apiVersion": api_version, "kind": watched.kind}


def _is_labelled(body: Mapping[str, Any]) -> bool:
    return (body["metadata"].get("labels") or {}).get(SECRET_LABEL) == "true"
