"""What a chart and a kubelet do for the certificate that operators share: two objects, and a file that lags behind."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.kube import ApiServer


class SharedAuthority:
    """A Secret and a ConfigMap, both empty, in a namespace.

    Attributes:
        flags: for operators that are to use them.
    """

    def __init__(self, api: ApiServer, namespace: str, *, delay: str = "3s") -> None:
        self.api = api
        self.namespace = namespace
        self._root = f"/api/v1/namespaces/{namespace}"
        self.flags: Sequence[str] = (
            f"--tls-secret={namespace}/trunkline-operator-tls",
            f"--ca-configmap={namespace}/trunkline-operator-ca",
            f"--ca-publish-delay={delay}",
        )
        self.create()

    def create(self) -> None:
        """Make both, as the chart does."""
        for plural, kind, name in (
            ("secrets", "Secret", "trunkline-operator-tls"),
            ("configmaps", "ConfigMap", "trunkline-operator-ca"),
        ):
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
            self.api.request("POST", f"{self._root}/{plural}", body)

    def secret(self) -> dict[str, bytes]:
        """The Secret's entries."""
        data = self.api.request("GET", f"{self._root}/secrets/trunkline-operator-tls").get("data") or {}
        return {name: base64.b64decode(coded) for name, coded in data.items()}

    def bundle(self) -> str:
        """What the gateways are to trust."""
        body = self.api.request("GET", f"{self._root}/configmaps/trunkline-operator-ca")
        return (body.get("data") or {}).get("ca.crt") or ""

    def empty_the_secret(self) -> None:
        """What an administrator does to have a new authority."""
        path = f"{self._root}/secrets/trunkline-operator-tls"
        self.api.request("PATCH", path, {"data": None})

    def delete_the_secret(self) -> None:
        """By mistake, perhaps."""
        self.api.request("DELETE", f"{self._root}/secrets/trunkline-operator-tls")


class MountedBundle:
    """A kubelet that brings the ConfigMap to a file, ``lag_seconds`` late; a context manager."""

    def __init__(self, shared: SharedAuthority, path: Path, *, lag_seconds: float) -> None:
        self.path = path
        self._shared = shared
        self._lag = lag_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        seen: list[tuple[float, str]] = []
        while not self._stop.wait(0.1):
            try:
                seen.append((time.monotonic(), self._shared.bundle()))
            except OSError:
                continue
            due = [text for at, text in seen if time.monotonic() - at >= self._lag]
            if due and due[-1]:
                new = self.path.with_suffix(".new")
                new.write_text(due[-1], encoding="ascii")
                new.replace(self.path)


def leaf(port: int, bundle: Path) -> bytes:
    """The certificate (DER) that an operator at 127.0.0.1 serves with, which ``bundle`` has to trust.

    Raises:
        ssl.SSLError: it is not trusted.
        OSError: nobody is there.
    """
    context = ssl.create_default_context(cafile=str(bundle))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found
