"""How many reviews of tokens the API server is asked for. Belongs to one event loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_WAITING_PER_PLACE: Final = 6


class TooManyError(Exception):
    """There are too many of this lane already."""


class Lane:
    """Bounds how many run at once and, where it says so, how many start in a second.

    A lane without a rate lets everybody wait. In one with a rate only a few may wait, so that whoever floods it is
    turned away at once and an API server that answers slowly does not make a queue that outlives the flood.
    """

    def __init__(self, at_once: int, *, per_second: float = 0, burst: int = 0) -> None:
        """Make one.

        Args:
            at_once: How many run at the same time.
            per_second: How many may start in a second; 0: as many as come.
            burst: How many may start on top of that after a quiet time.
        """
        self._places = asyncio.Semaphore(at_once)
        self._per_second = per_second
        self._burst = burst
        self._left = float(burst)
        self._filled: float | None = None
        self._inside = 0
        self._most_inside = at_once * (1 + _WAITING_PER_PLACE)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a place and hold it.

        Raises:
            TooManyError: there is none.
        """
        if self._per_second and not self._take():
            raise TooManyError
        self._inside += 1
        try:
            async with self._places:
                yield
        finally:
            self._inside -= 1

    def _take(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._filled is not None:
            self._left = min(self._burst, self._left + (now - self._filled) * self._per_second)
        self._filled = now
        if self._left < 1 or self._inside >= self._most_inside:
            return False
        self._left -= 1
        return True
