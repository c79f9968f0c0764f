"""Who holds the Lease: what a candidate may conclude and do. Pure; `elector` asks the API server.

https://kubernetes.io/docs/concepts/architecture/leases/

Clocks of different machines are never compared: a candidate takes the Lease over when it has itself seen no change of
it for as long as the Lease lasts. A holder counts from the moment *before* it sent the request that succeeded, and only
for ``DEADLINE_SECONDS``; so it has stopped ``DURATION_SECONDS - DEADLINE_SECONDS`` before anybody may follow, whatever
was slow, lost or late in between. Two that try at once are told apart by the resourceVersion.
"""

from dataclasses import dataclass, replace
from typing import Final

DURATION_SECONDS: Final = 15.0
"""How long after its last change a Lease may be taken over."""

DEADLINE_SECONDS: Final = 10.0
"""How long a holder writes without having renewed."""


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
        self.record = record

    def claim(self, now: float) -> Claim | None:
        """What to write now; None: somebody else holds it, or nothing is known yet."""
        record = self.record
        if record is None:
            return None
        renews = record.holder == self.identity
        lasts = max(self._duration, record.duration_seconds)
        if record.holder and not renews and now < self._changed_at + lasts:
            return None
        if not renews:
            self.succeeded = record.used
        wanted = replace(
            record,
            holder=self.identity,
            address=self._address,
            duration_seconds=self._duration,
            transitions=record.transitions + (record.used and not renews),
            used=True,
        )
        return Claim(wanted, renews, now)

    def release(self, now: float) -> Claim | None:
        """What to write to give it back; None: it is not ours to give. It holds it no more in any case."""
        self._valid_until = float("-inf")
        record = self.record
        if record is None or record.holder != self.identity:
            return None
        return Claim(replace(record, holder="", address=""), True, now)

    def written(self, claim: Claim, revision: str, now: float) -> None:
        """A claim has succeeded."""
        if claim.record.holder != self.identity:
            self._valid_until = float("-inf")
        else:
            self._valid_until = claim.asked_at + self._deadline
        self.record = replace(claim.record, revision=revision)
        self._changed_at = now
