"""What stands in the operator's way in its cluster: each sentence logged once, and shown as an Event of its own Pod.

Topics may be anything; of each there is one sentence at a time. Belongs to the main loop.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from trunkline_operator import kube
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

_REASON: Final = "ClusterNotUsable"
_NOTE: Final = 1_000
_WAITING: Final = 50

Create = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Creates an Event in a namespace."""


@dataclass(frozen=True, slots=True)
class Pod:
    """Ourselves, as the downward API tells (``POD_NAMESPACE``, ``POD_NAME``, ``POD_UID``)."""

    namespace: str
    name: str
    uid: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Read the environment; None: we are in no Pod, or nobody has said in which."""
        namespace, name = environ.get("POD_NAMESPACE", ""), environ.get("POD_NAME", "")
        return cls(namespace, name, environ.get("POD_UID", "")) if namespace and name else None


class Problems:
    """See the module."""

    def __init__(self, create: Create, pod: Pod | None) -> None:
        """Make one.

        Args:
            create: For the Events; what cannot be posted is left out, as the log has it.
            pod: Whom they regard; None: no Events.
        """
        self._create = create
        self._pod = pod
        self._current: dict[str, str] = {}
        self._posted: set[str] = set()
        self._queue: asyncio.Queue[str] = asyncio.Queue(_WAITING)

    def tell(self, topic: str, sentence: str) -> None:
        """Say what is wrong with ``topic``; an empty sentence: nothing any more."""
        before = self._current.get(topic, "")
        if sentence == before:
            return
        if not sentence:
            del self._current[topic]
            _LOG.info("No longer: %s", before)
            return
        known = sentence in self._current.values()
        self._current[topic] = sentence
        if known:
            return
        _LOG.warning("%s", sentence[0].upper() + sentence[1:], extra=fields(topic=topic))
        if self._pod is not None and sentence not in self._posted and not self._queue.full():
            self._posted.add(sentence)
            self._queue.put_nowait(sentence)

    async def run(self) -> None:
        """Post Events until cancelled."""
        while True:
            sentence = await self._queue.get()
            if self._pod is None:
                continue
            try:
                await self._create(self._pod.namespace, event(self._pod, sentence, datetime.now(UTC)))
            except (kube.ApiError, kube.UnavailableError) as error:
                _LOG.debug("An Event of our own Pod was not posted: %s", error)
                if isinstance(error, kube.UnavailableError):
                    self._posted.discard(sentence)


def event(pod: Pod, sentence: str, now: datetime) -> dict[str, Any]:
    """The Event as ``events.k8s.io/v1`` has it."""
    regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.name[:200].rstrip('.')}-", "namespace": pod.namespace},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning",
        "reason": _REASON,
        "note": sentence.encode()[:_NOTE].decode(errors="ignore"),
        "action": "Start",
        "reportingController": "trunkline.dev/operator",
        "reportingInstance": pod.name[:128],
        "regarding": regarding | ({"uid": pod.uid} if pod.uid else {}),
    }
