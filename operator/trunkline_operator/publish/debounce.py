"""When to compile and publish: soon after a change, not once for each of a thousand, and at once for a revocation."""

from collections.abc import Callable
from typing import Final

from trunkline_operator.publish.fleet import Scheduler, Timer

QUIET_SECONDS: Final = 0.05
LATEST_SECONDS: Final = 0.2


class Debounce:
    """Calls ``run`` 50 ms after the last `touch`, 200 ms after the first at the latest, or at once.

    ``run`` is called from the loop, never from within `touch`; touches of one turn of the loop are one run even when
    they are urgent.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        run: Callable[[], object],
        *,
        quiet_seconds: float = QUIET_SECONDS,
        latest_seconds: float = LATEST_SECONDS,
    ) -> None:
        self._scheduler = scheduler
        self._run = run
        self._quiet_seconds = quiet_seconds
        self._latest_seconds = latest_seconds
        self._timer: Timer | None = None
        self._first = 0.0
        self._due = 0.0

    def touch(self, *, urgent: bool = False) -> None:
        """Something has changed; ``urgent``: it may be a revocation (a deletion, a Secret, a VirtualKey)."""
        now = self._scheduler.time()
        if self._timer is None:
            self._first = now
            due = now + self._quiet_seconds
        else:
            due = min(now + self._quiet_seconds, self._first + self._latest_seconds)
            if self._due <= now:
                return
        if urgent:
            due = now
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self._scheduler.call_later(max(0.0, due - now), self._fire)

    def close(self) -> None:
        """Forget what was touched."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._run()
