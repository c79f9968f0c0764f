"""Decides which status has changed, and when to look again; a sink writes it.

It works on what may have changed only: with 11,000 objects, looking at all of them at every ACK would take longer than
the ACKs. Belongs to the main loop.
"""

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from trunkline_operator.compile.result import Compiled, Verdict
from trunkline_operator.report.status import (
    NO_GATEWAYS_SECONDS,
    PENDING_SECONDS,
    KeyHealth,
    Rollout,
    Subject,
    Waits,
    differs,
    next_instant,
    status,
)
from trunkline_operator.report.transitions import Transition, transitions
from trunkline_operator.watch.world import Observed, Ref, World
from trunkline_protocol.table import Name

_LOG: Final = logging.getLogger(__name__)

SETTLE_SECONDS: Final = 0.25
"""A version that has just been published is given this long to be acknowledged, so that one write says it all."""

HEALTH_SECONDS: Final = 5.0
"""The health of the keys of one account is not written more often than this."""

_BATCH: Final = 50
_LONGEST_DISPUTE_SECONDS: Final = 60.0
_LONGEST_OVERTAKEN_SECONDS: Final = 30.0
_LONGEST_SLEEP_SECONDS: Final = 3600.0


class Fleet(Protocol):
    """What the gateways have said."""

    def rollout(self, names: Iterable[Name], *, held: bool) -> Rollout:
        """How far the fleet is with these table resources; ``held``: they are kept at an older version."""
        ...

    def key_health(self, upstream: str) -> Mapping[str, KeyHealth]:
        """What gateways say of the keys of an Upstream, by the key's name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A status that differs from what stands there.

    Attributes:
        there: What stands there.
        revision: The object's resourceVersion when it did; 0: not known.
        overtaken: To be called when somebody else has written the object since.
    """

    ref: Ref
    uid: str
    status: Mapping[str, Any]
    there: Mapping[str, Any]
    transitions: tuple[Transition, ...]
    revision: int = 0
    overtaken: Callable[[], None] = field(default=lambda: None, compare=False, repr=False)


class Sink(Protocol):
    """Where a status goes."""

    def write(self, write: Write, written: Callable[[int], None]) -> None:
        """Take it; a later one of the same object replaces it. ``written`` is told the resulting revision."""
        ...

    def forget(self, ref: Ref) -> None:
        """The object is gone, or needs no write any more."""
        ...


@dataclass(slots=True)
class _Track:
    """What is remembered of one object between two looks."""

    verdict: Verdict
    generation: int
    versions: tuple[tuple[Name, bytes], ...]
    since: float
    sent: Mapping[str, Any] | None = None
    sent_uid: str = ""
    sent_revision: int = 0
    disputes: int = 0
    disputed_until: float = 0.0
    overtaken: int = 0
    overtaken_times: int = 0
    overtaken_until: float = 0.0
    health: Mapping[str, KeyHealth] = field(default_factory=dict)
    health_read: float = -HEALTH_SECONDS


class Reporter:
    """Follows the compiler and the fleet, and writes what changed to a sink."""

    def __init__(
        self,
        world: World,
        fleet: Fleet,
        sink: Sink,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._world = world
        self._fleet = fleet
        self._sink = sink
        self._clock = clock
        self._monotonic = monotonic
        self._tracks: dict[Ref, _Track] = {}
        self._by_name: dict[Name, set[Ref]] = {}
        self._dirty: dict[Ref, None] = {}
        self._due: list[tuple[float, int, Ref]] = []
        self._due_at: dict[Ref, float] = {}
        self._order = itertools.count()
        self._wake = asyncio.Event()
        self._gateways = 0
        self._no_gateways_since = monotonic()
        self._on_duty = asyncio.Event()
        self._on_duty.set()

    # ---- what happens -----------------------------------------------------------------------------------------------

    def compiled(self, compiled: Compiled) -> None:
        """Take a new compilation; has to be called before the world moves on."""
        now = self._monotonic()
        for ref, verdict in compiled.verdicts.items():
            observed = self._world.objects.get(ref)
            if observed is None:
                continue
            present = tuple(name for name in verdict.programs if name in compiled.resources or name in compiled.holds)
            versions = tuple(
                (name, compiled.resources[name].version if name in compiled.resources else b"") for name in present
            )
            track = self._tracks.get(ref)
            if track is None:
                self._tracks[ref] = track = _Track(verdict, observed.generation, versions, now)
            elif track.verdict == verdict and track.versions == versions and track.generation == observed.generation:
                continue
            else:
                self._unindex(ref, track)
                track.since = track.since if track.versions == versions else now
                track.verdict, track.versions, track.generation = verdict, versions, observed.generation
                track.disputes, track.disputed_until = 0, 0.0
            for name in present:
                self._by_name.setdefault(name, set()).add(ref)
            self._touch(ref)
        for ref in self._tracks.keys() - compiled.verdicts.keys():
            self._forget(ref)

    def fleet_changed(self, names: Iterable[Name]) -> None:
        """Gateways came, went, acknowledged or refused; ``names`` are the table resources that it is about."""
        gateways = self._fleet.rollout((), held=False).gateways
        if gateways == 0 and self._gateways:
            self._no_gateways_since = self._monotonic()
        self._gateways = gateways
        for name in names:
            for ref in self._by_name.get(name, ()):
                self._touch(ref)

    def health_changed(self, upstreams: Iterable[str]) -> None:
        """Gateways reported on keys of these Upstreams (``namespace/name``)."""
        for upstream in upstreams:
            namespace, _, name = upstream.partition("/")
            self.observed(Ref("ProviderCredential", namespace, name))

    def observed(self, ref: Ref) -> None:
        """The status of ``ref`` was seen anew in the cluster; somebody else may have changed it."""
        if ref in self._tracks:
            self._touch(ref)

    # ---- who writes -------------------------------------------------------------------------------------------------

    def stand_by(self) -> None:
        """Somebody else writes: `run` decides nothing until `resume`, and what happens is only taken note of."""
        self._on_duty.clear()

    def resume(self) -> None:
        """Write from now on, after a look at everything: what others wrote meanwhile counts, what we wrote does not."""
        for ref, track in self._tracks.items():
            track.sent, track.disputes, track.disputed_until = None, 0, 0.0
            track.overtaken = 0
            self._dirty[ref] = None
        self._gateways = self._fleet.rollout((), held=False).gateways
        self._no_gateways_since = self._monotonic()
        self._on_duty.set()

    # ---- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._on_duty.wait()
            self._collect_due()
            if not self._dirty:
                self._wake.clear()
                timeout = self._due[0][0] - self._monotonic() if self._due else _LONGEST_SLEEP_SECONDS
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, min(timeout, _LONGEST_SLEEP_SECONDS))):
                        await self._wake.wait()
                continue  # somebody else may be writing by now
            self.look(_BATCH)
            await asyncio.sleep(0)

    def look(self, limit: int | None = None) -> None:
        """Look at what may have changed, at most ``limit`` objects."""
        self._collect_due()
        for ref in list(itertools.islice(self._dirty, limit)):
            del self._dirty[ref]
            try:
                self._look(ref)
            except Exception:  # noqa: BLE001
                # One object must not end the reports on all others.
                _LOG.exception("No status could be made for %s", ref)

    def _look(self, ref: Ref) -> None:
        track, observed = self._tracks.get(ref), self._world.objects.get(ref)
        if track is None or observed is None:
            self._sink.forget(ref)
            return
        now, moment = self._monotonic(), self._clock()
        verdict = replace(track.verdict, programs=tuple(name for name, _ in track.versions))
        rollout = self._fleet.rollout(verdict.programs, held=verdict.held)
        waits = Waits(now - track.since, now - self._no_gateways_since if rollout.gateways == 0 else 0.0)
        self._plan(ref, track, verdict, rollout, now, moment)
        if verdict.programs and rollout.behind and now < track.since + SETTLE_SECONDS:
            return
        there, revision = self._there(track, observed)
        health = self._health(ref, track, now) if verdict.keys else {}
        subject = Subject(kind=ref.kind, generation=track.generation, status=there)
        wanted = status(subject, verdict, rollout, now=moment, waits=waits, health=health)
        if not differs(wanted, there):
            self._sink.forget(ref)
            return
        if self._disputed(ref, track, observed, now) or self._overtaken(ref, track, revision, now):
            return

        def written(revision: int) -> None:
            track.sent, track.sent_uid, track.sent_revision = wanted, observed.uid, revision
            track.overtaken = track.overtaken_times = 0
            self._touch(ref)  # what is wanted may have changed while it was being written

        def overtaken() -> None:
            if revision != track.overtaken:
                track.overtaken, track.overtaken_times = revision, 0
            track.overtaken_until = self._monotonic() + min(2.0**track.overtaken_times, _LONGEST_OVERTAKEN_SECONDS)
            track.overtaken_times += 1
            self._touch(ref)  # the watch may have shown it already

        news = transitions(there, wanted)
        self._sink.write(
            Write(
                ref=ref,
                uid=observed.uid,
                status=wanted,
                there=there,
                transitions=news,
                revision=revision,
                overtaken=overtaken,
            ),
            written,
        )

    def _overtaken(self, ref: Ref, track: _Track, revision: int, now: float) -> bool:
        """Whether to wait for the watch: the API server has something newer than what we know.

        Not for ever: whoever trusts a watch that shows nothing would never write again.
        """
        if not revision or revision != track.overtaken or now >= track.overtaken_until:
            return False
        self._look_at(ref, track.overtaken_until)
        return True

    def _disputed(self, ref: Ref, track: _Track, observed: Observed, now: float) -> bool:
        """Whether to leave the status to somebody else for a while.

        Another operator that sees other gateways, during a rolling update for one, would write its own view over ours
        and we ours over its, for ever. Whoever is written over waits, twice as long each time.
        """
        if now < track.disputed_until:
            return True
        if track.sent is None or observed.revision <= track.sent_revision or not differs(track.sent, observed.status):
            return False
        track.sent = None  # each time that we were written over counts once
        track.disputes += 1
        if track.disputes == 1:
            return False
        track.disputed_until = now + min(2.0**track.disputes, _LONGEST_DISPUTE_SECONDS)
        self._look_at(ref, track.disputed_until)
        return True

    def _plan(self, ref: Ref, track: _Track, verdict: Verdict, rollout: Rollout, now: float, moment: datetime) -> None:
        """Note when to look again although nothing has happened."""
        instants = []
        if verdict.programs and (rollout.gateways == 0 or rollout.behind):
            steps = [track.since + SETTLE_SECONDS, track.since + PENDING_SECONDS]
            if rollout.gateways == 0:
                steps += [self._no_gateways_since + PENDING_SECONDS, self._no_gateways_since + NO_GATEWAYS_SECONDS]
            instants += [step for step in steps if step > now]
        if (instant := next_instant(verdict, moment)) is not None:
            instants.append(now + instant - moment.timestamp())
        if instants:
            self._look_at(ref, min(instants))

    def _health(self, ref: Ref, track: _Track, now: float) -> Mapping[str, KeyHealth]:
        """What gateways say of its keys; it changes at a bounded pace."""
        newest = self._fleet.key_health(f"{ref.namespace}/{ref.name}")
        if newest != track.health:
            if now - track.health_read >= HEALTH_SECONDS:
                track.health, track.health_read = newest, now
            else:
                self._look_at(ref, track.health_read + HEALTH_SECONDS)
        return track.health

    def _there(self, track: _Track, observed: Observed) -> tuple[Mapping[str, Any], int]:
        """What stands in the cluster, and since which revision: what was last seen, or what was written after that."""
        if track.sent is not None and track.sent_uid == observed.uid and track.sent_revision > observed.revision:
            return track.sent, track.sent_revision
        return observed.status, observed.revision

    # ---- bookkeeping ------------------------------------------------------------------------------------------------

    def _touch(self, ref: Ref) -> None:
        self._dirty[ref] = None
        self._wake.set()

    def _look_at(self, ref: Ref, instant: float) -> None:
        known = self._due_at.get(ref)
        if known is not None and self._monotonic() < known <= instant:
            return  # it will look at the next instants then
        self._due_at[ref] = instant
        heapq.heappush(self._due, (instant, next(self._order), ref))
        self._wake.set()

    def _collect_due(self) -> None:
        now = self._monotonic()
        while self._due and self._due[0][0] <= now:
            instant, _, ref = heapq.heappop(self._due)
            if self._due_at.get(ref) == instant:
                del self._due_at[ref]
                self._dirty[ref] = None

    def _unindex(self, ref: Ref, track: _Track) -> None:
        for name, _ in track.versions:
            refs = self._by_name.get(name, set())
            refs.discard(ref)
            if not refs:
                self._by_name.pop(name, None)

    def _forget(self, ref: Ref) -> None:
        self._unindex(ref, self._tracks.pop(ref))
        self._dirty.pop(ref, None)
        self._due_at.pop(ref, None)
        self._sink.forget(ref)
