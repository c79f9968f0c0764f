"""The Secret and the ConfigMap through which replicas share their authority: read, decided upon, written.

What to do is decided in `publish.shared_authority`. Both objects are read every few seconds; each write carries the
resourceVersion that was read, so of several replicas that want the same one wins, and the others read again. Nothing
here ever ends the process: while the objects cannot be had, what there is serves on.
"""

import asyncio
import base64
import binascii
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trunkline_operator import kube
from trunkline_operator.publish import authority, shared_authority
from trunkline_operator.publish.tls import ServingCertificate, Shared, TLSError
from trunkline_operator.watch.obstacles import refusal

_LOG: Final = logging.getLogger(__name__)

_CORE: Final = "/api/v1"
_ROUNDS: Final = 6
_POLL_SECONDS: Final = 10.0
_LEAST_POLL_SECONDS: Final = 0.5

Tell = Callable[[str, str], None]
"""Takes what is wrong with something, in a sentence; an empty one: nothing any more."""


class AuthorityObjects:
    """Keeps ``certificate.shared`` in step with the cluster.

    Attributes:
        rotations: How many authorities this replica has made.
    """

    def __init__(
        self,
        client: kube.Kube,
        certificate: ServingCertificate,
        *,
        secret: tuple[str, str],
        config_map: tuple[str, str],
        tell: Tell,
        delay: timedelta = shared_authority.PUBLISH_DELAY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make one; `run` starts it.

        Args:
            client: Reads and writes.
            certificate: What is served; its ``shared`` is replaced.
            secret: Namespace and name; somebody else creates it, empty.
            config_map: Likewise.
            tell: Gets what is wrong with them, by topic.
            delay: How long a CA has to be published before it signs.
            monotonic: Seconds of this process.
        """
        self._client = client
        self._certificate = certificate
        self._secret = secret
        self._config_map = config_map
        self._tell = tell
        self._delay = delay
        self._monotonic = monotonic
        self._seen: tuple[str, float] = ("", 0.0)
        self._usable = asyncio.Event()
        self._problem = ""
        self.rotations = 0
        certificate.shared = Shared()

    @property
    def poll_seconds(self) -> float:
        """How often the objects are read; a new CA is noticed within this time."""
        return max(_LEAST_POLL_SECONDS, min(_POLL_SECONDS, self._delay.total_seconds() / 12))

    def why_not(self) -> list[str]:
        """Why there is nothing to serve with; empty: there is."""
        if self._usable.is_set():
            return []
        shared = self._certificate.shared
        return [self._problem or f"there is no serving certificate: {shared.why_no_signer if shared else ''}"]

    async def until_usable(self) -> None:
        """Return once there is something to serve with. `run` has to run meanwhile."""
        await self._usable.wait()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            try:
                await self._step()
            except shared_authority.ForeignAuthorityError as error:
                self._trouble(f"the Secret {'/'.join(self._secret)} cannot be used: {error}")
            except kube.UnavailableError as error:
                self._trouble(f"the authority of the serving certificate cannot be read: {error}")
            except kube.ApiError as error:
                self._trouble(f"the authority of the serving certificate cannot be had: {error}")
            except _ObjectError as error:
                self._trouble(str(error))
            except Exception as error:  # noqa: BLE001 - a strange object must not end the serving of what there is
                if not self._problem:
                    _LOG.exception("Looking after the shared authority failed")
                self._trouble(f"the authority of the serving certificate cannot be used: {type(error).__name__}")
            else:
                self._trouble("")
            await self._serve()
            await asyncio.sleep(self.poll_seconds)

    async def _step(self) -> None:
        for _ in range(_ROUNDS):
            secret = await self._get("secrets", "Secret", self._secret)
            config_map = await self._get("configmaps", "ConfigMap", self._config_map)
            found = _read(secret, config_map)
            plan = shared_authority.decide(
                found,
                now=self._client.server_time(),
                seen=self._seen_for(found),
                serving=self._certificate.issuers(),
                delay=self._delay,
            )
            self._certificate.shared = Shared(plan.signer, authority.bundle(found.bundle), plan.why_no_signer)
            try:
                if plan.secret:
                    await self._write_secret(secret, plan.secret)
                elif plan.bundle is not None and plan.published is not None:
                    await self._write_config_map(config_map, plan.bundle, plan.published)
                else:
                    return
            except kube.ApiError as error:
                if error.status != 409:
                    raise
        # Others write all the time; the next look is soon enough.

    def _seen_for(self, found: shared_authority.Found) -> timedelta:
        if found.newest is None or found.newest.certificate not in found.bundle:
            self._seen = ("", 0.0)
            return timedelta(0)
        mark, now = authority.fingerprint(found.newest.certificate), self._monotonic()
        if self._seen[0] != mark:
            self._seen = (mark, now)
        return timedelta(seconds=now - self._seen[1])

    async def _serve(self) -> None:
        now = datetime.now(UTC)
        try:
            await asyncio.to_thread(self._certificate.current, now)
        except TLSError as error:
            if not self._usable.is_set() and not self._problem:
                self._tell("serving certificate", str(error))
            return
        expires = self._certificate.expires
        if expires is not None and expires > now and not self._usable.is_set():
            self._tell("serving certificate", "")
            self._usable.set()

    def _trouble(self, sentence: str) -> None:
        self._problem = sentence
        self._tell("authority", sentence)

    # ---- the objects ------------------------------------------------------------------------------------------------

    async def _get(self, plural: str, kind: str, where: tuple[str, str]) -> dict[str, Any]:
        try:
            return await self._client.get(kube.object_path(_CORE, where[0], plural, where[1]))
        except kube.ApiError as error:
            if error.status == 404:
                flag = "--tls-secret" if kind == "Secret" else "--ca-configmap"
                create = "secret generic" if kind == "Secret" else "configmap"
                raise _ObjectError(
                    f"the {kind} {'/'.join(where)} ({flag}) does not exist: install the chart, which creates it empty, "
                    f"or run kubectl create {create} {where[1]} --namespace {where[0]}"
                ) from None
            if error.status == 403:
                raise _ObjectError(refusal(error, ("get", "patch"), plural, "", where[0], where[1])) from None
            raise

    async def _patch(self, plural: str, where: tuple[str, str], there: Mapping[str, Any], body: dict[str, Any]) -> None:
        metadata = body.setdefault("metadata", {})
        metadata["resourceVersion"] = there["metadata"]["resourceVersion"]
        try:
            await self._client.request(
                "PATCH",
                kube.object_path(_CORE, where[0], plural, where[1]),
                body,
                query={"fieldManager": "trunkline-operator"},
                content_type=kube.MERGE_PATCH,
            )
        except kube.ApiError as error:
            if error.status == 403:
                raise _ObjectError(refusal(error, ("patch",), plural, "", where[0], where[1])) from None
            raise

    async def _write_secret(self, there: Mapping[str, Any], entries: Mapping[str, bytes | None]) -> None:
        coded = {
            name: None if content is None else base64.b64encode(content).decode() for name, content in entries.items()
        }
        await self._patch("secrets", self._secret, there, {"data": coded})
        if coded.get(shared_authority.CRT):
            self.rotations += 1
            _LOG.info("Made a new authority for the serving certificates, in the Secret %s", "/".join(self._secret))

    async def _write_config_map(
        self, there: Mapping[str, Any], bundle: tuple[Any, ...], published: tuple[str, datetime]
    ) -> None:
        body = {
            "metadata": {"annotations": {shared_authority.ANNOTATION: shared_authority.annotation(published)}},
            "data": {shared_authority.CRT: authority.bundle(bundle).decode("ascii")},
        }
        await self._patch("configmaps", self._config_map, there, body)
        _LOG.info(
            "Published %d authorities in the ConfigMap %s; %s signs from %s on",
            len(bundle),
            "/".join(self._config_map),
            published[0],
            (published[1] + self._delay).strftime("%H:%M:%SZ") if len(bundle) > 1 else "now",
        )


class _ObjectError(Exception):
    """One of the two cannot be used; a sentence."""


def _read(secret: Mapping[str, Any], config_map: Mapping[str, Any]) -> shared_authority.Found:
    entries = {}
    for name, coded in (secret.get("data") or {}).items():
        try:
            entries[name] = base64.b64decode(coded, validate=True)
        except (binascii.Error, TypeError):
            continue
    bundle = (config_map.get("data") or {}).get(shared_authority.CRT) or ""
    annotations = config_map["metadata"].get("annotations") or {}
    return shared_authority.read(
        entries, bundle.encode("ascii", "replace"), annotations.get(shared_authority.ANNOTATION, "")
    )
