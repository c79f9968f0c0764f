"""Kubernetes Events: one for each transition of a condition, never two of the same, and never a flood."""

import asyncio
import logging
import socket
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.report.buckets import Bucket
from trunkline_operator.report.transitions import Transition
from trunkline_operator.watch.world import Ref
from trunkline_protocol import resources
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

CONTROLLER: Final = "trunkline.dev/operator"
_BURST: Final = 100
_PER_SECOND: Final = 2.0
_REPEATED_SECONDS: Final = 600.0
_REMEMBERED: Final = 5_000
_WAITING: Final = 1_000
_NOTE: Final = 1_000  # Kubernetes' own bound is 1,024 bytes

Create = Callable[[str, Mapping[str, Any]], Awaitable[None]]
"""Creates an Event in a namespace."""


class EventRecorder:
    """Posts Events in the background; what cannot be posted is dropped: an Event is a courtesy.

    Attributes:
        outcomes: How many were ``posted``, ``repeated`` and ``dropped``.
    """

    def __init__(
        self,
        create: Create,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._create = create
        self._clock = clock
        self._monotonic = monotonic
        self._bucket = Bucket(burst=_BURST, monotonic=monotonic)
        self._said: OrderedDict[tuple[str, Transition], float] = OrderedDict()
        self._queue: asyncio.Queue[tuple[Ref, str, Transition]] = asyncio.Queue(_WAITING)
        self._instance = socket.gethostname()[:128]
        self._failing = False
        self.outcomes = {"posted": 0, "repeated": 0, "dropped": 0}

    def post(self, ref: Ref, uid: str, transition: Transition) -> None:
        """Take an Event."""
        now = self._monotonic()
        key = (uid, transition)
        if now - self._said.get(key, -_REPEATED_SECONDS) < _REPEATED_SECONDS:
            self.outcomes["repeated"] += 1
            return
        self._said[key] = now
        self._said.move_to_end(key)
        while len(self._said) > _REMEMBERED:
            self._said.popitem(last=False)
        try:
            self._queue.put_nowait((ref, uid, transition))
        except asyncio.QueueFull:
            self.outcomes["dropped"] += 1

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            ref, uid, transition = await self._queue.get()
            await self._bucket.wait(_PER_SECOND)
            try:
                await self._create(ref.namespace, self.event(ref, uid, transition))
            except (kube.ApiError, kube.UnavailableError) as error:
                self.outcomes["dropped"] += 1
                # Once, not for each: without the right to create them there are as many as objects.
                level = logging.DEBUG if self._failing else logging.INFO
                _LOG.log(level, "Events are not posted", extra=fields(object=str(ref), error=str(error)))
                self._failing = True
            else:
                self._failing = False
                self.outcomes["posted"] += 1

    def event(self, ref: Ref, uid: str, transition: Transition) -> dict[str, Any]:
        """The Event as ``events.k8s.io/v1`` has it."""
        return body(
            {
                "apiVersion": resources.API_VERSION,
                "kind": ref.kind,
                "namespace": ref.namespace,
                "name": ref.name,
                "uid": uid,
            },
            type_=transition.type,
            reason=transition.reason,
            note=transition.message,
            action=f"Set{transition.condition}",
            instance=self._instance,
            now=self._clock(),
        )


def body(
    regarding: Mapping[str, str], *, type_: str, reason: str, note: str, action: str, instance: str, now: datetime
) -> dict[str, Any]:
    """Make an Event of ours.

    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/

    Args:
        regarding: A reference to the object, with ``namespace`` and ``name``.
        type_: ``Normal`` or ``Warning``.
        reason: In CamelCase.
        note: A sentence; cut to what Kubernetes takes.
        action: What was done.
        instance: Which replica says so, at most 128 characters.
        now: When.
    """
    name = regarding["name"][:200].rstrip(".")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name}-", "namespace": regarding["namespace"]},
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": type_,
        "reason": reason,
        "note": note.encode()[:_NOTE].decode(errors="ignore"),
        "action": action,
        "reportingController": CONTROLLER,
        "reportingInstance": instance,
        "regarding": dict(regarding),
    }
