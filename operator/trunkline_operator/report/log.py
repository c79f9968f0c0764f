"""Reports to the log instead of a cluster: for a directory, whose objects have no status."""

import logging
import sys
from collections.abc import Callable
from typing import Final

from trunkline_operator.report.reporter import Write
from trunkline_operator.watch.world import Ref
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)


class LogReporter:
    """A sink that logs each transition, and remembers what it has said in place of the cluster."""

    def write(self, write: Write, written: Callable[[int], None]) -> None:
        """Log what changed."""
        for transition in write.transitions:
            level = logging.WARNING if transition.type == "Warning" else logging.INFO
            _LOG.log(
                level,
                "%s %s/%s: %s: %s",
                write.ref.kind,
                write.ref.namespace,
                write.ref.name,
                transition.reason,
                transition.message,
                extra=fields(condition=transition.condition),
            )
        written(sys.maxsize)

    def forget(self, ref: Ref) -> None:
        """There is nothing to take back."""
