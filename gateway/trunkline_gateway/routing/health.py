"""What is known of keys and targets from the answers they gave: who cools down, who is on trial, who was refused.

Only what failed has an entry, so a healthy gateway keeps nothing here and looks up almost nothing. Entries are named
by what is stable across tables (credential and key, group and target) and so survive swaps; a key's also holds what it
sent, as a hash, so that a rotated Secret starts clean. One per process, used from one event loop; no lock.

A key: 401, 402, 403 take it out, and one request in five minutes finds out whether that is still so; 429 cools it. A
target: 408, 5xx, connect errors, timeouts and broken answers cool it, five seconds doubling to five minutes. What comes
out of cooling down is on trial, one request at a time, until one succeeds.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, NamedTuple, Self, TypeAlias

from trunkline_gateway.routing.snapshot import Snapshot, Upstream, UpstreamKey
from trunkline_protocol.v1 import routing_pb2 as pb

BASE_SECONDS: Final = 5.0
MAX_SECONDS: Final = 300.0
PROBE_SECONDS: Final = 300.0
MAX_RETRY_AFTER_SECONDS: Final = 3600.0
"""What an upstream may ask for at most; one has been seen to say a day."""

REPORT_REASONS: Final = {
    401: "the provider refused the key (401)",
    402: "the provider asks for payment (402)",
    403: "the provider forbids the key (403)",
    429: "rate limited (429)",
}

State: TypeAlias = Literal["active", "cooling", "rejected"]


class TargetName(NamedTuple):
    """A target across tables: ``namespace/name`` of its group and of its credential, and its own name."""

    route: str
    target: str
    upstream: str


class _KeyName(NamedTuple):
    """A key across tables.

    Attributes:
        sent: Hash of what is sent.
    """

    upstream: str
    key: str
    sent: int


@dataclass(slots=True)
class _Entry:
    """Of a key or a target that has failed and not succeeded since.

    Attributes:
        failures: In a row, as far as they lengthen the next cooldown.
        until: When it may be tried again, on the injected monotonic clock.
        until_wall: The same in Unix seconds.
        trials: Requests that are finding out whether it is well again.
    """

    state: State
    status: int
    failures: int = 0
    until: float = 0.0
    until_wall: float = 0.0
    trials: int = 0


class Health:
    """See the module. Times are those of the injected ``clock``."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] | None = None) -> None:
        """Start with everything healthy.

        Args:
            clock: Monotonic seconds.
            wall: Unix seconds, for what is reported and for the expiry of keys.
        """
        self.clock = clock
        self.wall = wall or _wall_clock
        self._keys: dict[_KeyName, _Entry] = {}
        self._present: frozenset[_KeyName] | None = None
        self._targets: dict[TargetName, _Entry] = {}

    # ---- asked by the plan ----

    def is_well(self, target: TargetName, upstream: Upstream, key: UpstreamKey) -> bool:
        """Whether nothing speaks against the two: neither has failed since it last succeeded."""
        if self._targets and target in self._targets:
            return False
        return self._key(upstream, key) is None

    def key_state(self, upstream: Upstream, key: UpstreamKey) -> State:
        """Whether the key may be tried now; a refused one whose probe is due counts as active."""
        entry = self._key(upstream, key)
        return "active" if entry is None or entry.until <= self.clock() else entry.state

    def key_until(self, upstream: Upstream, key: UpstreamKey) -> float:
        """When the key may be tried again; in the past for one that may be tried now."""
        entry = self._key(upstream, key)
        return 0.0 if entry is None else entry.until

    def key_on_trial(self, upstream: Upstream, key: UpstreamKey) -> bool:
        """Whether a request is just finding out if the key is well again: others do better elsewhere."""
        entry = self._key(upstream, key)
        return entry is not None and entry.trials > 0

    def target_until(self, target: TargetName) -> float | None:
        """None where it may be tried now; else when, which is now for one that is being tried by another request."""
        entry = self._targets.get(target) if self._targets else None
        if entry is None:
            return None
        now = self.clock()
        if entry.until > now:
            return entry.until
        return now if entry.trials else None

    # ---- an attempt ----

    def begin(self, target: TargetName, upstream: Upstream, key: UpstreamKey) -> "Ticket | None":
        """Claim an attempt; None where the key cannot be used now (it cools, or its probe was taken).

        Whoever gets a ticket uses it as a context manager and says how the attempt went.
        """
        key_entry = self._key(upstream, key)
        if key_entry is not None:
            now = self.clock()
            if key_entry.until > now:
                return None
            if key_entry.state == "rejected":
                self._wait(key_entry, PROBE_SECONDS)
        target_entry = self._targets.get(target) if self._targets else None
        return Ticket(
            self,
            target,
            upstream,
            key,
            None if key_entry is None else _Trial(key_entry, key_entry.until),
            None if target_entry is None else _Trial(target_entry, target_entry.until),
        )

    # ---- the table and the report ----

    def prune(self, snapshot: Snapshot) -> None:
        """Forget what is not in the table any more; called after each swap."""
        self._present = frozenset(
            _name(upstream, key) for upstream in snapshot.upstreams.values() for key in upstream.keys
        )
        for name in self._keys.keys() - self._present:
            del self._keys[name]
        for target in list(self._targets):
            if not _has_target(snapshot, target):
                del self._targets[target]

    def report(self) -> list[pb.KeyHealth]:
        """Every key that is not active, sorted; one that is left out is active."""
        now = self.clock()
        return [
            pb.KeyHealth(
                upstream=name.upstream,
                key=name.key,
                state=_REPORTED[entry.state],
                reason=REPORT_REASONS.get(entry.status, f"refused ({entry.status})"),
                until=int(entry.until_wall),
            )
            for name, entry in sorted(self._keys.items(), key=lambda item: item[0])
            if entry.state == "rejected" or entry.until > now
        ]

    # ---- within ----

    def _key(self, upstream: Upstream, key: UpstreamKey) -> _Entry | None:
        return self._keys.get(_name(upstream, key)) if self._keys else None

    def _fail_key(self, upstream: Upstream, key: UpstreamKey, status: int, retry_after: float | None) -> None:
        name = _name(upstream, key)
        if self._present is not None and name not in self._present:
            return  # it was rotated meanwhile: nothing is to be said of the new one
        entry = self._keys.get(name)
        if entry is None:
            entry = self._keys[name] = _Entry("cooling", status)
        entry.status = status
        if status != 429:
            entry.state, entry.failures = "rejected", 0
            self._wait(entry, PROBE_SECONDS)
            return
        if entry.state == "rejected":  # it is accepted again, and has too much to do
            entry.state, entry.until = "cooling", 0.0
        left = entry.until - self.clock()
        if retry_after is not None:
            seconds = min(max(retry_after, 1.0), MAX_RETRY_AFTER_SECONDS)
        elif left > 0:
            return  # it failed before this request's answer came: one incident, one step
        else:
            entry.failures += 1
            seconds = _backoff(entry.failures)
        if seconds > left:
            self._wait(entry, seconds)

    def _wait(self, entry: _Entry, seconds: float) -> None:
        entry.until = self.clock() + seconds
        entry.until_wall = self.wall() + seconds

    def _fail_target(self, target: TargetName, status: int) -> None:
        entry = self._targets.get(target)
        if entry is None:
            entry = self._targets[target] = _Entry("cooling", status)
        entry.status = status
        if entry.until > self.clock():
            return  # as above: requests that fail together, or are sent because nothing else is left
        entry.failures += 1
        self._wait(entry, _backoff(entry.failures))

    def _forget_key(self, upstream: Upstream, entry: _Entry, key: UpstreamKey) -> None:
        name = _name(upstream, key)
        if self._keys.get(name) is entry:
            del self._keys[name]

    def _forget_target(self, target: TargetName, entry: _Entry) -> None:
        if self._targets.get(target) is entry:
            del self._targets[target]


@dataclass(slots=True)
class _Trial:
    """An entry as an attempt found it."""

    entry: _Entry
    until: float

    @property
    def untouched(self) -> bool:
        """Whether nothing has failed since: only then does a success say something about it."""
        return self.entry.until == self.until


class Ticket:
    """One attempt: exactly what it found out goes into the account, once. Nothing found out is fine, too."""

    __slots__ = ("_health", "_key", "_key_trial", "_target", "_target_trial", "_upstream")

    def __init__(
        self,
        health: Health,
        target: TargetName,
        upstream: Upstream,
        key: UpstreamKey,
        key_trial: _Trial | None,
        target_trial: _Trial | None,
    ) -> None:
        self._health = health
        self._target = target
        self._upstream = upstream
        self._key = key
        self._key_trial = key_trial
        self._target_trial = target_trial

    def __enter__(self) -> Self:
        if self._key_trial is not None:
            self._key_trial.entry.trials += 1
        if self._target_trial is not None:
            self._target_trial.entry.trials += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._key_trial is not None:
            self._key_trial.entry.trials -= 1
        if self._target_trial is not None:
            self._target_trial.entry.trials -= 1

    def succeeded(self) -> None:
        """It gave an answer: both are well. An answer begun before a failure does not take that back."""
        if self._key_trial is not None and self._key_trial.untouched:
            self._health._forget_key(self._upstream, self._key_trial.entry, self._key)
        if self._target_trial is not None and self._target_trial.untouched:
            self._health._forget_target(self._target, self._target_trial.entry)

    def key_failed(self, status: int, retry_after_seconds: float | None = None) -> None:
        """401, 402, 403 or 429. Without a key there is none to blame: it is the target's failure alone."""
        if self._key.auth_header is None:
            self._health._fail_target(self._target, status)
        else:
            self._health._fail_key(self._upstream, self._key, status, retry_after_seconds)

    def target_failed(self, status: int) -> None:
        """408, 5xx, or what such a failure counts as."""
        self._health._fail_target(self._target, status)


_REPORTED: Final = {
    "active": pb.HEALTH_STATE_ACTIVE,
    "cooling": pb.HEALTH_STATE_COOLING_DOWN,
    "rejected": pb.HEALTH_STATE_REJECTED,
}


def _backoff(failures: int) -> float:
    return min(BASE_SECONDS * 2.0 ** min(failures - 1, 30), MAX_SECONDS)


def _name(upstream: Upstream, key: UpstreamKey) -> _KeyName:
    # The hash is of this process only, keyed at random, never stored or shown. The bytes object remembers it.
    return _KeyName(upstream.name, key.name, 0 if key.auth_header is None else hash(key.auth_header[1]))


def _has_target(snapshot: Snapshot, name: TargetName) -> bool:
    if not name.route:
        return name.upstream in snapshot.upstreams
    route = snapshot.routes.get(name.route)
    return route is not None and any(
        each.name == name.target and each.upstream is not None and each.upstream.name == name.upstream
        for each in route.targets
    )


def _wall_clock() -> float:
    return time.time_ns() / 1e9
