"""A real Kubernetes API server for tests: etcd and kube-apiserver on free ports, without nodes or controllers.

There is no controller-manager: namespaces are never finalised and nothing is garbage-collected. Give each test a
``fresh_namespace`` and delete objects rather than namespaces. The API is synchronous; from a coroutine call it
through ``asyncio.to_thread``.
"""

from __future__ import annotations

import atexit
import base64
import json
import os
import secrets
import shutil
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from harness import certificates, ports
from harness.assets import AssetsMissingError, assets_or_skip, find_assets, locate_assets
from harness.children import Child

__all__ = [
    "ApiError",
    "ApiServer",
    "AssetsMissingError",
    "KubectlError",
    "StartError",
    "assets_or_skip",
    "find_assets",
    "locate_assets",
]

_START_TIMEOUT_SECONDS = 60.0
_POLL_SECONDS = 0.05


class StartError(RuntimeError):
    """A server died or did not become ready; the message ends with the tails of the logs."""


class ApiError(RuntimeError):
    """The API server refused a request. ``status`` is the HTTP status, ``body`` its answer as text."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class KubectlError(subprocess.CalledProcessError):
    """kubectl failed. Unlike its base it says what kubectl said."""

    def __str__(self) -> str:
        return f"{super().__str__()}\n{self.stderr}"


class ApiServer:
    """One etcd and one kube-apiserver, RBAC on. A context manager; ready to use when the constructor returns.

    Attributes:
        url: ``https://127.0.0.1:PORT``; stays the same over restarts.
        token: bearer token of a member of ``system:masters``.
        ca_file: PEM of the authority that signed the serving certificate.
        kubeconfig: path of the administrator's kubeconfig.
        directory: everything the servers write, logs too; removed by ``stop``.
    """

    def __init__(self, assets: Path | None = None, *, apiserver_flags: Sequence[str] = ()) -> None:
        """Start both servers and wait until they serve (about two seconds).

        Args:
            assets: directory of the binaries; ``None`` asks ``locate_assets``.
            apiserver_flags: further flags of kube-apiserver; one given twice wins the second time.

        Raises:
            AssetsMissingError: there are no binaries.
            StartError: a server died or was not ready within a minute.
        """
        self._assets = assets or locate_assets()
        self._apiserver_flags = tuple(apiserver_flags)
        self._etcd_port, self._peer_port, self._port = ports.free_ports(3)
        self.url = f"https://127.0.0.1:{self._port}"
        self.token = secrets.token_urlsafe(24)
        self.directory = Path(tempfile.mkdtemp(prefix="trunkline-apiserver-"))
        atexit.register(self.stop)
        self._etcd: Child | None = None
        self._apiserver: Child | None = None
        self._serving = certificates.serving_certificate(
            self.directory, names=("kubernetes.default.svc", "localhost"), addresses=("127.0.0.1", "10.0.0.1")
        )
        self.ca_file = self._serving.ca
        certificates.rsa_key_pair(self.directory / "sa.key", self.directory / "sa.pub")
        (self.directory / "tokens.csv").write_text(f'{self.token},admin,admin-uid,"system:masters"\n', encoding="ascii")
        self.kubeconfig = self._write_kubeconfig("admin", self.token)
        # The machine's proxy settings are not for the loopback interface.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.ca_file))),
        )
        try:
            self._start_etcd()
            self._start_apiserver()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kill both servers and remove their directory. Stopping twice is fine."""
        self.kill_apiserver()
        self.kill_etcd()
        shutil.rmtree(self.directory, ignore_errors=True)
        atexit.unregister(self.stop)

    def kill_apiserver(self) -> None:
        """``kill -9`` kube-apiserver: open watches break, new connections are refused. No-op if it is down."""
        if self._apiserver is not None:
            self._apiserver.kill()
            self._apiserver = None

    def kill_etcd(self) -> None:
        """``kill -9`` etcd: kube-apiserver stays up and answers with errors and time-outs. No-op if it is down."""
        if self._etcd is not None:
            self._etcd.kill()
            self._etcd = None

    def restart_apiserver(self, *, wait: bool = True) -> None:
        """Start kube-apiserver again (killing it first if it runs) on its port; ``wait`` for it to be ready."""
        self.kill_apiserver()
        self._start_apiserver()
        if wait:
            self.wait_until_ready()

    def restart_etcd(self, *, wait: bool = True) -> None:
        """Start etcd again (killing it first if it runs) on its port and data; ``wait`` until the API serves.

        Nothing acknowledged is lost: fsync is off, but the kernel keeps what a killed process had written.
        """
        self.kill_etcd()
        self._start_etcd()
        if wait and self._apiserver is not None:
            self.wait_until_ready()

    def wait_until_ready(self, timeout_seconds: float = _START_TIMEOUT_SECONDS) -> None:
        """Return once ``/readyz`` says ok and the ``default`` namespace exists.

        Raises:
            StartError: a server is down, or time is up.
        """
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            for name, child in (("etcd", self._etcd), ("kube-apiserver", self._apiserver)):
                if child is None or not child.alive:
                    self._give_up(f"{name} is not running")
            try:
                self.request("GET", "/readyz", timeout_seconds=2)
                self.request("GET", "/api/v1/namespaces/default", timeout_seconds=2)
            except (OSError, ApiError):
                time.sleep(_POLL_SECONDS)
            else:
                return
        self._give_up(f"not ready after {timeout_seconds:.0f} s")

    def request(self, method: str, path: str, body: Any = None, *, token: str = "", timeout_seconds: float = 10) -> Any:
        """Send one request as the administrator, or with another ``token``; several times faster than kubectl.

        Args:
            method: ``GET``, ``POST``, ``PUT``, ``DELETE``, or ``PATCH`` (a merge patch).
            path: from the root, such as ``/api/v1/namespaces``.
            body: what to send as JSON, or ``None``.
            token: bearer token; empty means the administrator's.
            timeout_seconds: for connecting and for each read.

        Returns:
            The decoded JSON, or the text where the answer is not JSON.

        Raises:
            ApiError: the answer's status is 400 or more.
            OSError: there was no answer.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"authorization": f"Bearer {token or self.token}", "content-type": kind}
        sent = None if body is None else json.dumps(body).encode()
        outgoing = urllib.request.Request(self.url + path, data=sent, headers=headers, method=method)
        try:
            with self._opener.open(outgoing, timeout=timeout_seconds) as answer:
                text = answer.read().decode()
                is_json = answer.headers.get_content_type() == "application/json"
        except urllib.error.HTTPError as refused:
            with refused:
                raise ApiError(refused.code, refused.read().decode(errors="replace")) from None
        return json.loads(text) if is_json else text

    def kubectl(
        self, *args: str, input: str | None = None, check: bool = True, timeout_seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator; ``--kubeconfig`` among ``args`` makes it somebody else.

        Args:
            args: for instance ``"apply", "-f", "-"``.
            input: text for its stdin.
            check: whether a failure raises.
            timeout_seconds: after which it is killed and ``subprocess.TimeoutExpired`` raised.

        Raises:
            KubectlError: it failed and ``check`` is true.
        """
        # The discovery cache is keyed by address and lives for minutes: another run may have had our port.
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "KUBECACHEDIR": str(self.directory / "kubectl-cache")}
        argv = [str(self._assets / "kubectl"), *args]
        done = subprocess.run(
            argv, input=input or "", capture_output=True, text=True, env=env, timeout=timeout_seconds, check=False
        )
        if check and done.returncode != 0:
            raise KubectlError(done.returncode, argv, done.stdout, done.stderr)
        return done

    def create_token(
        self, namespace: str, serviceaccount: str, audience: str | None = None, *, expiration_seconds: int = 3600
    ) -> str:
        """Ask for a token of an existing ServiceAccount; ``audience`` ``None`` is the API server itself.

        Raises:
            ApiError: 404, there is no such ServiceAccount; 422, ``expiration_seconds`` is below 600.
        """
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": expiration_seconds}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{serviceaccount}/token"
        answer = self.request("POST", path, {"spec": spec})
        token: str = answer["status"]["token"]
        return token

    def kubeconfig_for(self, namespace: str, serviceaccount: str) -> Path:
        """Write a kubeconfig with an hour's token of an existing ServiceAccount, its namespace the default one.

        Raises:
            ApiError: 404, there is no such ServiceAccount.
        """
        token = self.create_token(namespace, serviceaccount)
        return self._write_kubeconfig(f"{namespace}.{serviceaccount}", token, namespace=namespace)

    def fresh_namespace(self, prefix: str = "test") -> str:
        """Create a namespace that nobody else uses and return its name, ``PREFIX-xxxxx``."""
        answer = self.request("POST", "/api/v1/namespaces", {"metadata": {"generateName": f"{prefix}-"}})
        name: str = answer["metadata"]["name"]
        return name

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        self._etcd = Child(
            "etcd",
            [
                str(self._assets / "etcd"),
                f"--data-dir={self.directory / 'etcd'}",
                "--unsafe-no-fsync",
                # One member elects itself as soon as it may.
                "--heartbeat-interval=20",
                "--election-timeout=200",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ],
            log=self.directory / "etcd.log",
            scratch=self.directory,
        )

    def _start_apiserver(self) -> None:
        self._apiserver = Child(
            "kube-apiserver",
            [
                str(self._assets / "kube-apiserver"),
                f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
                "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1",
                # Nothing reaches it through a Service, and a loopback address is not a valid endpoint.
                "--endpoint-reconciler-type=none",
                f"--secure-port={self._port}",
                f"--cert-dir={self.directory}",
                f"--tls-cert-file={self._serving.cert}",
                f"--tls-private-key-file={self._serving.key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={self.directory / 'sa.pub'}",
                f"--service-account-signing-key-file={self.directory / 'sa.key'}",
                "--service-cluster-ip-range=10.0.0.0/24",
                f"--token-auth-file={self.directory / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                # It would wait for a controller to create each namespace's default ServiceAccount.
                "--disable-admission-plugins=ServiceAccount",
                "--allow-privileged=true",
                *self._apiserver_flags,
            ],
            log=self.directory / "kube-apiserver.log",
            scratch=self.directory,
        )

    def _write_kubeconfig(self, user: str, token: str, *, namespace: str = "default") -> Path:
        authority = base64.b64encode(self.ca_file.read_bytes()).decode("ascii")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": user,
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": user, "context": {"cluster": "test", "user": user, "namespace": namespace}}],
        }
        path = self.directory / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
        return path

    def _give_up(self, reason: str) -> NoReturn:
        tails = [child.log_tail() for child in (self._etcd, self._apiserver) if child is not None]
        raise StartError("\n".join([f"the API server did not start: {reason}", *tails]))
