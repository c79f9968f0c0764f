"""Which of the Secrets that resources refer to exist without our label: asked by metadata, never read."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Final

from trunkline_operator import kube
from trunkline_operator.watch.lists import SECRETS
from trunkline_operator.watch.world import SECRET_LABEL, Change, Observed, Ref, World
from trunkline_protocol import resources
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

_FIRST_AGAIN_SECONDS: Final = 1.0
_LAST_AGAIN_SECONDS: Final = 15.0
_LOST_SECONDS: Final = 0.3
_AT_ONCE: Final = 8


class SecretPresence:
    """Keeps ``world.unlabelled`` up to date: asks when a Secret is first referred to, then less and less often.

    No watch tells of them: a watch of all Secrets would read them.
    """

    def __init__(self, client: kube.Kube, world: World, changed: Callable[[Ref, Change], None]) -> None:
        self._client = client
        self._world = world
        self._changed = changed
        self._asked: set[Ref] = set()
        self._queue: asyncio.Queue[tuple[Ref, float]] = asyncio.Queue()
        self._finding: set[asyncio.Future[None]] = set()

    def look_at(self, ref: Ref) -> None:
        """An object was recorded: ask about the Secrets that it refers to."""
        if (observed := self._world.objects.get(ref)) is not None:
            for secret in secret_refs(observed):
                if secret not in self._asked and secret not in self._world.secrets:
                    self.ask(secret)

    def ask(self, secret: Ref) -> None:
        """Ask about a Secret, again and again while it is referred to and not among the labelled ones."""
        self._asked.add(secret)
        self._queue.put_nowait((secret, _FIRST_AGAIN_SECONDS))

    def lost(self, secret: Ref, change: Change) -> None:
        """The watch of labelled Secrets lost one: find out whether it is gone, or its label only, and tell both."""
        task = asyncio.ensure_future(self._find_out(secret, change))
        self._finding.add(task)
        task.add_done_callback(self._finding.discard)

    async def _find_out(self, secret: Ref, change: Change) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOST_SECONDS):
                await self._note(secret)
        if change is not Change.NONE:
            self._changed(secret, change)
        self.ask(secret)

    async def ask_all(self) -> None:
        """Ask about all that are referred to and not among the labelled ones."""
        referred = {secret for observed in self._world.objects.values() for secret in secret_refs(observed)}
        self._world.unlabelled &= referred
        self._asked = {secret for secret in referred if secret not in self._world.secrets}
        missing = iter(sorted(self._asked))
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._ask_each(missing))

    async def run(self) -> None:
        """Answer what ``ask`` was asked, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            secret, pause = await self._queue.get()
            if secret not in self._asked or secret in self._world.secrets:
                continue
            await self._note(secret)
            again = secret, min(2 * pause, _LAST_AGAIN_SECONDS)
            loop.call_later(pause, self._queue.put_nowait, again)

    async def _ask_each(self, secrets: Iterator[Ref]) -> None:
        for secret in secrets:
            await self._note(secret)

    async def _note(self, secret: Ref) -> bool:
        """Note whether a Secret exists without the label; whether there is a Secret."""
        world = self._world
        if secret in world.secrets:
            return True
        try:
            found = await self._client.get(SECRETS.path(secret.namespace, secret.name), accept=kube.METADATA)
        except kube.ApiError as error:
            if error.status != 404:
                _LOG.warning("A Secret's metadata was refused", extra=fields(object=str(secret), error=str(error)))
                return False
            if secret in world.unlabelled:
                self._changed(secret, world.delete(secret, world.revision(secret)))
            return False
        except kube.UnavailableError:
            return False
        labels = found["metadata"].get("labels") or {}
        if secret in world.secrets or labels.get(SECRET_LABEL) == "true":
            return True  # the watch brings it
        change = world.put({**found, "kind": "Secret"})
        if secret not in world.unlabelled:
            # It has lost its label: the watch told of a deletion with the very revision that it has now.
            world.unlabelled.add(secret)
            change = Change.CHANGED
        if change is not Change.NONE:
            self._changed(secret, change)
        return True


def secret_refs(observed: Observed) -> Iterator[Ref]:
    """The Secrets that a valid object refers to; an invalid one is told other things first."""
    namespace = observed.ref.namespace
    match observed.parsed:
        case resources.ProviderCredential(spec=spec):
            for key in spec.keys:
                yield Ref("Secret", namespace, key.secret_ref.name)
            if spec.endpoint is not None and spec.endpoint.ca_secret_ref is not None:
                yield Ref("Secret", namespace, spec.endpoint.ca_secret_ref.name)
        case resources.VirtualKey(spec=spec):
            if spec.secret_ref is not None:
                yield Ref("Secret", namespace, spec.secret_ref.name)
