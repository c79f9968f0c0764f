"""Who holds the Lease: what a candidate may conclude and do. Pure; `elector` asks the API server.

https://kubernetes.io/docs/concepts/architecture/leases/

Clocks of different machines are never compared: a candidate takes the Lease over when it has itself seen no change of
it for as long as the Lease lasts. A holder counts from the moment *before* it sent the request that succeeded, and only
for ``DEADLINE_SECONDS``; so it has stopped ``DURATION_SECONDS - DEADLINE_SECONDS`` before anybody may follow, whatever
was slow, lost or late in between. Two that try at once are told apart by the resourceVersion.

People delete Leases, and edit them. One that lacks its holder without having been given back counts as held, by
nobody knows whom, for as long as a Lease lasts; only its last holder may put it right at once, while its own time runs.
One that names a candidate that has not asked for it is like one that names a stranger.
"""

from dataclasses import dataclass, replace
from typing import Final

DURATION_SECONDS: Final = 15.0
"""How long after its last change a Lease may be taken over."""

DEADLINE_SECONDS: Final = 10.0
"""How long a holder writes without having renewed."""

RELEASED_SECONDS: Final = 1.0
"""What stands as the duration of a Lease that was given back, as other implementations have it."""

LONGEST_SECONDS: Final = 60.0
"""No holder is waited for longer than this, whatever duration somebody has written."""

_MAX_TRANSITIONS: Final = 2**31 - 1
"""The API server takes no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A Lease as it stands there.

    Attributes:
        holder: Who holds it; empty: nobody, it was given back or never taken.
        address: Where the holder's peers reach it; may be empty.
        duration_seconds: What the holder asked for.
        transitions: How often the holder changed.
        revision: The resourceVersion; empty where there is no Lease yet.
        used: Whether anybody has ever held it.
    """

    holder: str = ""
    address: str = ""
    duration_seconds: float = DURATION_SECONDS
    transitions: int = 0
    revision: str = ""
    used: bool = False

    @property
    def released(self) -> bool:
        """Whether its holder has given it back."""
        return not self.holder and self.used and 0 < self.duration_seconds <= RELEASED_SECONDS


@dataclass(frozen=True, slots=True)
class Claim:
    """What a candidate wants to write, on condition that the Lease has still the revision that it rests on.

    Attributes:
        record: With the ``revision`` that it rests on; empty: create it.
        renews: Whether the candidate stands there already.
        asked_at: When the request was sent, on the candidate's clock.
    """

    record: Record
    renews: bool
    asked_at: float


class Candidate:
    """One replica's view of the Lease. All times are seconds on its own monotonic clock.

    Attributes:
        identity: Unique among all processes that ever ask.
        record: As last seen or written; None before the first answer.
        succeeded: Whether there was a holder before it, when it last took the Lease.
    """

    def __init__(
        self,
        identity: str,
        address: str = "",
        *,
        duration_seconds: float = DURATION_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        """Make one that knows nothing yet.

        Raises:
            ValueError: The deadline leaves no time between two holders.
        """
        if deadline_seconds >= duration_seconds:
            raise ValueError("a holder has to stop before the Lease ends")
        self.identity = identity
        self.record: Record | None = None
        self.succeeded = False
        self._address = address
        self._duration = duration_seconds
        self._deadline = deadline_seconds
        self._changed_at = 0.0
        self._valid_until = float("-inf")
        self._reign_until = float("-inf")
        self._written = ""
        self._asked: int | None = None  # the transitions of a claim of which we do not know whether it succeeded
        self._held = Record()

    def holds(self, now: float) -> bool:
        """Whether it may write."""
        return now < self._valid_until

    @property
    def valid_until(self) -> float:
        """Until when it may write; in the past if it does not hold the Lease."""
        return self._valid_until

    def observed(self, record: Record, now: float) -> None:
        """The API server has just answered; a Lease that does not exist is ``Record()``."""
        if record.holder != self.identity:
            self._valid_until = float("-inf")
        if self.record is None or self.record.revision != record.revision:
            self._changed_at = now
            if record.holder not in ("", self.identity) or record.released:
                self._reign_until, self._asked = float("-inf"), None
        if record.holder:
            self._held = record
        self.record = record

    def refused(self) -> None:
        """A claim was refused: somebody has changed the Lease, so that it is not ours before we have it anew."""
        self._valid_until, self._asked = float("-inf"), None

    def claim(self, now: float) -> Claim | None:
        """What to write now; None: somebody else holds it, or nothing is known yet."""
        record = self.record
        if record is None:
            return None
        reigns = now < self._reign_until
        restores = reigns and not record.holder and not record.released
        asked = record.revision == self._written or record.transitions == self._asked
        renews = restores or (record.holder == self.identity and (asked or reigns))
        if not renews and self._is_held(record) and now < self._changed_at + self._lasts(record):
            return None
        used = record.used or bool(self._held.holder)
        if not renews:
            self.succeeded = used
        # It is counted on where it was deleted, and from the beginning where there is no higher number.
        count = max(record.transitions, self._held.transitions) + (used and not renews)
        wanted = replace(
            record,
            holder=self.identity,
            address=self._address,
            duration_seconds=self._duration,
            transitions=count if 0 <= count < _MAX_TRANSITIONS else 0,
            used=True,
        )
        self._asked = wanted.transitions
        return Claim(wanted, renews, now)

    def _is_held(self, record: Record) -> bool:
        """Whether somebody may be writing: not where it was given back, and not where there never was anybody."""
        return bool(record.holder or record.used or self._held.holder) and not record.released

    def _lasts(self, record: Record) -> float:
        return min(max(self._duration, record.duration_seconds, self._held.duration_seconds), LONGEST_SECONDS)

    def release(self, now: float) -> Claim | None:
        """What to write to give it back; None: it is not ours to give. It holds it no more in any case."""
        self._valid_until = self._reign_until = float("-inf")
        record = self.record
        if record is None or record.holder != self.identity:
            return None
        return Claim(replace(record, holder="", address="", duration_seconds=RELEASED_SECONDS), True, now)

    def written(self, claim: Claim, revision: str, now: float) -> None:
        """A claim has succeeded."""
        if claim.record.holder != self.identity:
            self._valid_until = self._reign_until = float("-inf")
        else:
            self._valid_until = self._reign_until = claim.asked_at + self._deadline
            self._held = claim.record
            self._written = revision
        self.record = replace(claim.record, revision=revision)
        self._asked = None
        self._changed_at = now
