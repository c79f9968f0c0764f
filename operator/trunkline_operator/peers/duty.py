"""What follows from the Lease: who writes from when on, and to whom this replica reports."""

import asyncio
from collections.abc import Callable
from typing import Final

from trunkline_operator.peers.elector import Standing

WAIT_SECONDS: Final = 3.0
"""How long a new writer waits for its peers' reports, lest it write `NoGateways` over what was true."""


class Duty:
    """Follows `elector.Elector`. Belongs to the running loop.

    Attributes:
        writes: Whether statuses are written now.
    """

    def __init__(self, *, begin: Callable[[], None], end: Callable[[], None], report_to: Callable[[str], None]) -> None:
        """Make one that does not write.

        Args:
            begin: Begin to write.
            end: Write nothing any more; called only after ``begin``.
            report_to: Report to ``HOST:PORT``, or to nobody.
        """
        self.writes = False
        self._begin = begin
        self._end = end
        self._report_to = report_to
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.TimerHandle | None = None
        self._term: int | None = None

    def changed(self, standing: Standing) -> None:
        """This replica stands elsewhere now."""
        self._report_to("" if standing.writes else standing.address)
        if not standing.writes:
            self._stop()
        elif not self.writes and self._waiting is None:
            # Nobody to wait for: this is the first writer ever, or it has come back and nobody was in between.
            alone = not standing.succeeded or standing.term == self._term
            self._waiting = self._loop.call_later(0 if alone else WAIT_SECONDS, self._start, standing.term)

    def _start(self, term: int) -> None:
        self._waiting, self._term, self.writes = None, term, True
        self._begin()

    def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self.writes:
            self.writes = False
            self._end()
