"""One deadline of a connection that moves with every request and almost never passes."""

import math
from collections.abc import Callable

from trunkline_gateway.timers import Timer, Timers


class Deadline:
    """Set and cleared by storing a number: the timer behind it is moved only when it rings too early.

    Args:
        clock: The loop's, in seconds.
        passed: Called once for each deadline that passes.
    """

    __slots__ = ("_at", "_clock", "_passed", "_rings_at", "_timer", "_timers")

    def __init__(self, timers: Timers, clock: Callable[[], float], passed: Callable[[], None]) -> None:
        self._timers = timers
        self._clock = clock
        self._passed = passed
        self._at = math.inf
        self._rings_at = math.inf
        self._timer: Timer | None = None

    def set(self, seconds: float) -> None:
        """Let it pass ``seconds`` from now, and not when it would have passed before."""
        at = self._at = self._clock() + seconds
        if at < self._rings_at:
            self._arm(at, seconds)

    def clear(self) -> None:
        """Let it not pass."""
        self._at = math.inf

    def close(self) -> None:
        """Clear it, and let go of everything: whoever is called holds this, and the two would hold each other."""
        self._passed = _nothing
        self._at = self._rings_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = at
        self._timer = self._timers.after(seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._rings_at = math.inf
        at = self._at
        if at == math.inf:
            return
        left = at - self._clock()
        if left > 0:
            self._arm(at, left)
        else:
            self._at = math.inf
            self._passed()


def _nothing() -> None:
    pass
