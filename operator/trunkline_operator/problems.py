"""What stands in the operator's way in its cluster: each sentence logged once, and shown as Events of its own Pod.

Topics may be anything; of each there is one sentence at a time. An Event is tried until it is posted or its sentence no
longer true, and posted anew every half hour while it is true, since API servers forget Events after an hour. Belongs to
the main loop.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

from trunkline_operator import kube
from trunkline_operator.report import events
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

NOT_USABLE: Final = "ClusterNotUsable"
"""The reason of what the operator cannot work without."""
RIGHTS_MISSING: Final = "RightsMissing"
"""The reason of rights without which it works, but not all of it."""

_RETRY_SECONDS: Final = 30.0
_REPEAT_SECONDS: Final = 1800.0

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

    def __init__(
        self,
        create: Create,
        pod: Pod | None,
        *,
        retry_seconds: float = _RETRY_SECONDS,
        repeat_seconds: float = _REPEAT_SECONDS,
    ) -> None:
        """Make one.

        Args:
            create: For the Events.
            pod: Whom they regard; None: no Events.
            retry_seconds: How long to wait after an Event that could not be posted.
            repeat_seconds: How often to post what is still true.
        """
        self._create = create
        self._pod = pod
        self._retry_seconds = retry_seconds
        self._repeat_seconds = repeat_seconds
        self._current: dict[str, tuple[str, str]] = {}  # topic → sentence, reason
        self._due: dict[str, float] = {}  # sentence → when to post it (again), by the loop's clock
        self._told = asyncio.Event()

    def tell(self, topic: str, sentence: str, *, reason: str = NOT_USABLE) -> None:
        """Say what is wrong with ``topic``; an empty sentence: nothing any more.

        Args:
            topic: What it is about.
            sentence: What is wrong, and what to do.
            reason: Of the Event, in CamelCase.
        """
        before, _ = self._current.get(topic, ("", ""))
        if sentence == before:
            return
        if not sentence:
            del self._current[topic]
            _LOG.info("No longer: %s", before)
            return
        known = any(sentence == each for each, _ in self._current.values())
        self._current[topic] = (sentence, reason)
        if known:
            return
        _LOG.warning("%s", sentence[0].upper() + sentence[1:], extra=fields(topic=topic))
        self._told.set()

    async def run(self) -> None:
        """Post Events until cancelled."""
        if self._pod is None:
            return
        loop = asyncio.get_running_loop()
        while True:
            self._told.clear()
            await self._post_what_is_due(self._pod)
            due = [self._due.get(sentence, 0.0) for sentence, _ in self._current.values()]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(max(min(due), loop.time()) if due else None):
                    await self._told.wait()

    async def _post_what_is_due(self, pod: Pod) -> None:
        loop = asyncio.get_running_loop()
        # What is no longer true is kept in mind until then, for the case that it is true again.
        self._due = {each: due for each, due in self._due.items() if due > loop.time()}
        for sentence, reason in dict(self._current.values()).items():
            if sentence in self._due:
                continue
            if sentence not in (each for each, _ in self._current.values()):
                continue  # not any more
            try:
                await self._create(pod.namespace, event(pod, sentence, datetime.now(UTC), reason))
                self._due[sentence] = loop.time() + self._repeat_seconds
            except (kube.ApiError, kube.UnavailableError) as error:
                _LOG.debug("An Event of our own Pod was not posted: %s", error)
                self._due[sentence] = loop.time() + self._retry_seconds


def event(pod: Pod, sentence: str, now: datetime, reason: str = NOT_USABLE) -> dict[str, Any]:
    """The Event as ``events.k8s.io/v1`` has it."""
    regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.name}
    return events.body(
        regarding | ({"uid": pod.uid} if pod.uid else {}),
        type_="Warning",
        reason=reason,
        note=sentence,
        action="Start",
        instance=pod.name[:128],
        now=now,
    )
