"""Every change of our objects in one namespace, as a watch tells it: what was written, how often, and by whom twice."""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from harness.kube import ApiServer

PLURALS = {
    "ModelGroup": "modelgroups",
    "ProviderCredential": "providercredentials",
    "RoutePolicy": "routepolicies",
    "VirtualKey": "virtualkeys",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One revision of an object."""

    at: float
    kind: str
    name: str
    revision: int
    generation: int
    status: Mapping[str, Any]

    def condition(self, kind: str) -> tuple[str, str]:
        """Its status and reason; empty where it is not there."""
        for each in self.status.get("conditions", ()):
            if each["type"] == kind:
                return each["status"], each["reason"]
        return "", ""


class History:
    """Watches while the context lasts, over interruptions of the API server too."""

    def __init__(self, api: ApiServer, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._seen: list[Seen] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ready = [threading.Event() for _ in PLURALS]
        self._open: set[Any] = set()

    def __enter__(self) -> Self:
        for (kind, plural), ready in zip(PLURALS.items(), self._ready, strict=True):
            threading.Thread(target=self._watch, args=(kind, plural, ready), daemon=True).start()
        for ready in self._ready:
            if not ready.wait(10):
                raise TimeoutError("the API server does not list our objects")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()

    def seen(self, since: float = 0.0) -> list[Seen]:
        """What changed after ``since`` (`time.monotonic`), oldest first."""
        with self._lock:
            return sorted((each for each in self._seen if each.at >= since), key=lambda each: each.revision)

    def _watch(self, kind: str, plural: str, ready: threading.Event) -> None:
        path = f"/apis/trunkline.dev/v1alpha1/namespaces/{self._namespace}/{plural}"
        revision = ""
        while not self._stopped.is_set():
            try:
                if not revision:
                    revision = self._api.request("GET", path)["metadata"]["resourceVersion"]
                    ready.set()
                query = f"?watch=1&resourceVersion={revision}&timeoutSeconds=300"
                headers = {"authorization": f"Bearer {self._api.token}"}
                request = urllib.request.Request(self._api.url + path + query, headers=headers)
                context = ssl.create_default_context(cafile=str(self._api.ca_file))
                with urllib.request.urlopen(request, context=context, timeout=300) as lines:
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] not in ("ADDED", "MODIFIED"):
                            break
                        revision = self._take(kind, event["object"])
            except OSError:
                self._stopped.wait(0.2)

    def _take(self, kind: str, body: Mapping[str, Any]) -> str:
        metadata = body["metadata"]
        seen = Seen(
            time.monotonic(),
            kind,
            metadata["name"],
            int(metadata["resourceVersion"]),
            metadata["generation"],
            body.get("status", {}),
        )
        with self._lock:
            self._seen.append(seen)
        revision: str = metadata["resourceVersion"]
        return revision
