"""What is said of those who are not let in: a stranger at the port must not fill the log."""

import logging
import time
from collections.abc import Callable
from typing import Final

from trunkline_operator.publish.authenticate import RefusedError
from trunkline_protocol.logs import fields

QUIET_SECONDS: Final = 5.0


class Refusals:
    """Counts refusals, and logs at most one of each code in `QUIET_SECONDS`, with how many were left out before it.

    Attributes:
        counted: gRPC status code → how many there were.
    """

    def __init__(
        self,
        logger: logging.Logger,
        whom: str,
        counted: dict[str, int],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one.

        Args:
            logger: Where to say it.
            whom: Who is refused: ``a gateway``.
            counted: Where to count; all of them.
            clock: Seconds.
        """
        self._logger = logger
        self._whom = whom
        self._clock = clock
        self.counted = counted
        self._said: dict[str, tuple[float, int]] = {}  # when, and how many there had been by then

    def refused(self, error: RefusedError, peer: str) -> None:
        """Somebody at ``peer`` was not let in."""
        code = error.code.name
        count = self.counted[code] = self.counted.get(code, 0) + 1
        now = self._clock()
        when, before = self._said.get(code, (float("-inf"), 0))
        if now - when < QUIET_SECONDS:
            return
        self._said[code] = (now, count)
        more = fields(code=code, peer=peer, left_out=count - before - 1)
        self._logger.warning("Refused %s: %s", self._whom, error.message, extra=more)
