"""A token bucket whose pace depends on how much waits."""

import asyncio
import time
from collections.abc import Callable


class Bucket:
    """Lets ``burst`` through at once, then ``per_second``."""

    def __init__(self, *, burst: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._tokens = burst
        self._monotonic = monotonic
        self._at = monotonic()

    def take(self, per_second: float) -> float:
        """Take one token, and give 0; or take none, and give the seconds until there is one."""
        now = self._monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * per_second)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / per_second

    async def wait(self, per_second: float) -> None:
        """Take one token when there is one."""
        while (pause := self.take(per_second)) > 0:  # noqa: ASYNC110 - somebody else may be faster
            await asyncio.sleep(pause)
