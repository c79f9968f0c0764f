"""Keeps the Lease, or waits for it: `lease.Candidate` against an API server."""

import asyncio
import contextlib
import logging
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.peers.bounds import MAX_ADDRESS
from trunkline_operator.peers.lease import DEADLINE_SECONDS, RELEASED_SECONDS, Candidate, Claim, Record
from trunkline_protocol.logs import fields

_LOG: Final = logging.getLogger(__name__)

_LEASES: Final = "/apis/coordination.k8s.io/v1"
ADDRESS: Final = "trunkline.dev/peer-address"
"""The annotation in which a holder says where its peers reach it."""

RENEW_SECONDS: Final = 3.0
RETRY_SECONDS: Final = 2.0
_FAILED_SECONDS: Final = 1.0
_REQUEST_SECONDS: Final = 3.0
_RELEASE_SECONDS: Final = 2.0
_SPREAD: Final = 0.1


def identity() -> str:
    """Of this process: the pod's name, and something that no other process of that pod had."""
    return f"{socket.gethostname()[:200]}_{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where this replica stands.

    Attributes:
        writes: It holds the Lease.
        holder: Who does; empty: nobody, or not known.
        address: Where the holder's peers reach it; empty where it does not say.
        succeeded: It holds the Lease, and somebody else did before.
        term: The Lease's count of holders; the same as before where a holder comes back that nobody has followed.
        sure: The Lease could be read a short while ago; otherwise ``holder`` is who it was.
    """

    writes: bool = False
    holder: str = ""
    address: str = ""
    succeeded: bool = False
    term: int = 0
    sure: bool = True


class Elector:
    """One candidate.

    Attributes:
        standing: Now.
        transitions: How often the holder changed while we looked.
    """

    def __init__(
        self,
        client: kube.Kube,
        lease: tuple[str, str],
        candidate: Candidate,
        changed: Callable[[Standing], None] = lambda standing: None,
        *,
        tell: Callable[[str, str], None] = lambda topic, sentence: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make one; `run` starts it.

        Args:
            client: The API server.
            lease: Namespace and name.
            candidate: Its clock is that of the running loop.
            changed: Told each new `standing`; must not block.
            tell: Told what is in the way; `problems.Problems.tell`.
            clock: For the times in the Lease, which only people read.
        """
        self.standing = Standing()
        self.transitions = 0
        self._client = client
        self._namespace, self._name = lease
        self._candidate = candidate
        self._changed = changed
        self._tell_problem = tell
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._body: dict[str, Any] = {}
        self._wake = asyncio.Event()
        self._expiry: asyncio.TimerHandle | None = None
        self._answered_at = self._loop.time()
        self._leaving = False

    @property
    def identity(self) -> str:
        """Who we are in the Lease."""
        return self._candidate.identity

    @property
    def lease(self) -> str:
        """``NAMESPACE/NAME``."""
        return f"{self._namespace}/{self._name}"

    @property
    def _topic(self) -> str:
        return f"lease {self.lease}"

    def holds(self) -> bool:
        """Whether to write, to be asked right before each write: a process that was stopped has not seen its timers."""
        return self._candidate.holds(self._loop.time())

    def look(self) -> None:
        """Look at the Lease soon: something says that its holder is leaving."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; then give the Lease back, so that nobody has to wait for its end."""
        try:
            while True:
                pause = await self._step()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause * random.uniform(1 - _SPREAD, 1 + _SPREAD)):  # noqa: S311
                        await self._wake.wait()
                self._wake.clear()
        finally:
            if self._expiry is not None:
                self._expiry.cancel()
            await self._release()

    async def _step(self) -> float:
        """Look, and write if it is our turn; the seconds until the next step."""
        candidate, begun = self._candidate, self._loop.time()
        try:
            claim = candidate.claim(begun) if self._knows_itself() else None
            # Whoever finds the Lease changed under it looks at once, for it may have to stop, or to put it right.
            if claim is None or not await self._written(claim):
                candidate.observed(await self._read(), self._loop.time())
                claim = candidate.claim(self._loop.time())
                if claim is not None and not await self._written(claim):
                    self._tell()
                    return _FAILED_SECONDS
        except (kube.ApiError, kube.UnavailableError) as error:
            self._body = {}  # our own write may have come through unseen: look first
            self._failed(error)
            self._tell()
            return _FAILED_SECONDS
        self._answered_at = begun
        self._tell_problem(self._topic, "")
        self._tell()
        return RENEW_SECONDS if self.standing.writes else RETRY_SECONDS

    async def _written(self, claim: Claim) -> bool:
        """Write; False: somebody else has changed the Lease, or taken it away.

        Raises:
            kube.ApiError, kube.UnavailableError: it cannot be written.
        """
        try:
            await self._write(claim)
        except kube.ApiError as error:
            if error.status != 409 and not (error.status == 404 and claim.record.revision):
                raise
            self._body = {}
            self._candidate.refused()
            return False
        return True

    def _knows_itself(self) -> bool:
        """Whether we were the last to write it, as far as we know."""
        record = self._candidate.record
        return bool(self._body) and record is not None and record.holder == self.identity

    def _tell(self) -> None:
        """Say where we stand, if that is news, and see to it that the end of our time is noticed."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        candidate, record = self._candidate, self._candidate.record or Record()
        writes = self.holds()
        if writes:
            self._expiry = self._loop.call_at(candidate.valid_until, self._tell)
        # A holder that could not renew in time does not know any more who holds it.
        holder = "" if record.holder == self.identity and not writes else record.holder
        # One that has lost its holder by accident is put right by it; meanwhile it is reported to as before.
        address = record.address if holder else "" if record.released else self.standing.address
        now = Standing(
            writes,
            holder,
            address,
            writes and candidate.succeeded,
            record.transitions,
            writes or self._loop.time() < self._answered_at + DEADLINE_SECONDS,
        )
        before, self.standing = self.standing, now
        if now == before:
            return
        if now.holder != before.holder:
            self.transitions += 1
        about = fields(lease=self.lease, holder=holder)
        if now.writes and not before.writes:
            _LOG.info("This replica writes statuses and Events: it holds the Lease", extra=about)
        elif before.writes and self._leaving:
            _LOG.info("This replica gives the Lease back", extra=about)
        elif before.writes and not now.writes:
            _LOG.warning("This replica has lost the Lease and writes nothing any more", extra=about)
        elif before.sure and not now.sure:
            _LOG.info("Who writes is not known any more; this replica reports to all that it knows", extra=about)
        elif holder and holder != before.holder:
            _LOG.info("Another replica writes statuses and Events", extra=about)
        self._changed(now)

    def _failed(self, error: kube.ApiError | kube.UnavailableError) -> None:
        """Say so once: at once what does not pass by itself, and otherwise when it has lasted."""
        refused = isinstance(error, kube.ApiError) and error.status < 500
        if not refused and self._loop.time() < self._answered_at + DEADLINE_SECONDS:
            return
        rights = isinstance(error, kube.ApiError) and error.status == 403
        hint = " (the operator's ServiceAccount may not get, create and update it)" if rights else ""
        # What the API server says may differ each time; the sentence is the same.
        why = str(error) if refused else "the API server does not answer; gateways are served what was last seen"
        self._tell_problem(
            self._topic, f"cannot use the Lease {self.lease}, without which no status is written{hint}: {why}"
        )

    # ---- the object -------------------------------------------------------------------------------------------------

    async def _read(self) -> Record:
        try:
            self._body = await self._client.request("GET", self._path(self._name), timeout_seconds=_REQUEST_SECONDS)
        except kube.ApiError as error:
            # 404 is also what an API server says while it starts; then creating it fails, too.
            if error.status != 404:
                raise
            self._body = {}
            return Record()
        return _record(self._body)

    async def _write(self, claim: Claim, timeout_seconds: float = _REQUEST_SECONDS) -> None:
        body = self._render(claim)
        verb, path = ("PUT", self._path(self._name)) if claim.record.revision else ("POST", self._path(""))
        self._body = await self._client.request(verb, path, body, timeout_seconds=timeout_seconds)
        self._candidate.written(claim, _record(self._body).revision, self._loop.time())

    async def _release(self) -> None:
        self._leaving = True
        claim = self._candidate.release(self._loop.time()) if self._knows_itself() else None
        self._tell()
        if claim is None:
            return
        try:
            await self._write(claim, _RELEASE_SECONDS)
        except (kube.ApiError, kube.UnavailableError) as error:
            _LOG.info("The Lease was not given back and has to run out: %s", error)

    def _render(self, claim: Claim) -> dict[str, Any]:
        """The Lease with our claim in it; what others have added to it stays."""
        record, now = claim.record, self._clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        metadata = dict(self._body.get("metadata") or {"name": self._name, "namespace": self._namespace})
        metadata.pop("managedFields", None)
        annotations = dict(metadata.get("annotations") or {})
        annotations.pop(ADDRESS, None)
        if record.address:
            annotations[ADDRESS] = record.address
        metadata["annotations"] = annotations
        if record.revision:
            metadata["resourceVersion"] = record.revision
        spec = dict(self._body.get("spec") or {})
        spec |= {
            "holderIdentity": record.holder or None,
            "leaseDurationSeconds": int(record.duration_seconds if record.holder else RELEASED_SECONDS),
            "leaseTransitions": record.transitions,
            "renewTime": now,
        }
        if not claim.renews or not spec.get("acquireTime"):
            spec["acquireTime"] = now
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _path(self, name: str) -> str:
        return kube.object_path(_LEASES, self._namespace, "leases", name)


def _record(body: Mapping[str, Any]) -> Record:
    metadata, spec = body.get("metadata") or {}, body.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    return Record(
        holder=holder,
        address=str((metadata.get("annotations") or {}).get(ADDRESS) or "")[:MAX_ADDRESS],
        duration_seconds=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        revision=str(metadata.get("resourceVersion") or ""),
        used=bool(holder or spec.get("acquireTime")),
    )
