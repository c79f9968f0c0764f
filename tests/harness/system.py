"""The whole system as processes: a real API server, the operator, and any number of gateways.

    with System(api_server) as system:
        system.apply(manifests)
        gateway = system.gateway("gw-1")
        gateway.wait_ready()

Everything goes through the commands, ports and flags that users have; nothing is imported from the product.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from harness import ports
from harness.children import Child
from harness.kube import ApiError, ApiServer

REPOSITORY = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
GATEWAY_NAMESPACE = "trunkline-system"
GATEWAY_ACCOUNT = "trunkline-gateway"
OPERATOR_ACCOUNT = "trunkline-operator"
_POLL_SECONDS = 0.01

T = TypeVar("T")


def wait_for(probe: Callable[[], T], timeout_seconds: float, what: str) -> T:
    """Call ``probe`` until it returns something true, and return that.

    Raises:
        TimeoutError: it never did; the message ends with what it returned last.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (found := probe()):
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {timeout_seconds} s for {what}; last: {found!r}")
        time.sleep(_POLL_SECONDS)
    return found


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def request(
    port: int,
    method: str,
    path: str,
    body: object = None,
    *,
    key: str = "",
    headers: Mapping[str, str] = {},
    timeout_seconds: float = 10,
) -> Reply:
    """Send one request to 127.0.0.1 over a connection of its own; ``body`` bytes as they are, else as JSON.

    Raises:
        OSError: there was no answer.
    """
    sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    extra = {"authorization": f"Bearer {key}"} if key else {}
    if sent is not None:
        extra["content-type"] = "application/json"
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)) as connection:
        connection.request(method, path, sent, {**extra, **headers})
        answer = connection.getresponse()
        read = answer.read()
        return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)


@dataclass(slots=True)
class Process:
    """One of our programs. Its ports stay the same over restarts."""

    name: str
    admin_port: int
    log: Path
    argv: Sequence[str]
    child: Child | None = field(default=None, kw_only=True)

    def start(self) -> Self:
        """Start it, or start it again."""
        self.child = Child(self.name, self.argv, log=self.log, env=_environment())
        return self

    def kill(self) -> None:
        """``kill -9``."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def terminate(self, timeout_seconds: float = 40) -> None:
        """SIGTERM, and wait for its end."""
        if self.child is not None:
            self.child.end(signal.SIGTERM, timeout_seconds=timeout_seconds)
            self.child = None

    def admin(self, path: str, method: str = "GET") -> Reply:
        """Ask the admin port."""
        return request(self.admin_port, method, path)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry ``labels``; 0 where there is none."""
        return _metric(self.admin("/metrics").body.decode(), name, labels)

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says 200."""
        with contextlib.suppress(OSError):
            return self.admin("/readyz").status == 200
        return False

    def wait_ready(self, timeout_seconds: float = 30) -> Self:
        """Return once it is ready.

        Raises:
            TimeoutError: it is not; with the tail of its log.
        """
        _wait_ready(self.is_ready, self.child, self.name, timeout_seconds)
        return self


@dataclass(slots=True)
class Gateway(Process):
    """A gateway process. ``state_dir`` outlives it, as an emptyDir outlives a container."""

    port: int
    state_dir: Path

    @property
    def base_url(self) -> str:
        """For an OpenAI SDK."""
        return f"http://127.0.0.1:{self.port}/v1"

    def post(self, path: str, body: object, *, key: str, timeout_seconds: float = 10) -> Reply:
        """POST to the public port."""
        return request(self.port, "POST", path, body, key=key, timeout_seconds=timeout_seconds)

    def chat(self, model: str, *, key: str, text: str = "hello", stream: bool = False, **fields: object) -> Reply:
        """One chat completion, read to its end."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": stream, **fields}
        return self.post("/v1/chat/completions", body, key=key)


@dataclass(slots=True)
class Operator(Process):
    """The operator process."""

    grpc_port: int
    tls_dir: Path


@dataclass(slots=True)
class System:
    """One operator on an API server, in namespaces of its own, and its gateways.

    Attributes:
        api: the API server, with the CRDs installed.
        namespace: fresh; the only one that the operator watches.
    """

    api: ApiServer
    namespace: str = ""
    operator_flags: Sequence[str] = ()
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="trunkline-system-")))
    gateways: list[Gateway] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def __enter__(self) -> Self:
        install_crds(self.api)
        self.namespace = self.namespace or self.api.fresh_namespace("team")
        _ensure_account(self.api, GATEWAY_NAMESPACE, GATEWAY_ACCOUNT)
        _ensure_account(self.api, GATEWAY_NAMESPACE, OPERATOR_ACCOUNT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        print(self.logs())  # shown where the test failed
        for gateway in self.gateways:
            gateway.kill()
        for operator in self.operators:
            operator.kill()

    @property
    def operator(self) -> Operator:
        """The first operator, started at first use."""
        return self.operators[0] if self.operators else self.start_operator()

    def start_operator(
        self, api_url: str = "", *, tls_dir: Path | None = None, account: str = OPERATOR_ACCOUNT
    ) -> Operator:
        """Start an operator, one of several if there is one; they show each other tokens of ``account``.

        ``api_url`` lets it reach the API server by another way, such as a relay.
        """
        kubeconfig = self.api.kubeconfig
        if api_url:
            kubeconfig = self.directory / f"relayed-{len(self.operators)}.kubeconfig"
            kubeconfig.write_text(self.api.kubeconfig.read_text(encoding="utf-8").replace(self.api.url, api_url))
        grpc_port, admin_port = ports.free_ports(2)
        tls_dir = tls_dir or self.directory / "tls"
        token_files = [self.directory / f"operator-{n}.token" for n in range(len(self.operators) + 1)]
        if self.operators:  # the only one reports to nobody, and may be there before the API server
            for path in token_files:
                path.write_text(self.api.create_token(GATEWAY_NAMESPACE, account, "trunkline"), encoding="ascii")
        argv = [
            str(BIN / "trunkline-operator"),
            f"--namespace={self.namespace}",
            f"--gateway-service-account={GATEWAY_NAMESPACE}/{GATEWAY_ACCOUNT}",
            f"--tls-dir={tls_dir}",
            f"--grpc-port={grpc_port}",
            f"--admin-port={admin_port}",
            f"--kubeconfig={kubeconfig}",
            f"--lease={self.namespace}/trunkline-operator",
            f"--peer-address=127.0.0.1:{grpc_port}",
            f"--peer-token-file={token_files[-1]}",
            f"--operator-service-account={GATEWAY_NAMESPACE}/{OPERATOR_ACCOUNT}",
            *self.operator_flags,
        ]
        log = self.directory / f"operator-{len(self.operators)}.log"
        operator = Operator("operator", admin_port, log, argv, grpc_port, tls_dir).start()
        self.operators.append(operator)
        return operator

    def gateway(
        self, name: str, *flags: str, account: str = GATEWAY_ACCOUNT, operator_port: int | None = None
    ) -> Gateway:
        """Start a gateway named ``name`` with a token of ``account``; the operator may come later."""
        port, admin_port = ports.free_ports(2)
        token_file = self.directory / f"{name}.token"
        token_file.write_text(self.api.create_token(GATEWAY_NAMESPACE, account, "trunkline"), encoding="ascii")
        argv = [
            str(BIN / "trunkline-gateway"),
            f"--operator=127.0.0.1:{operator_port or self.operator.grpc_port}",
            "--host=127.0.0.1",
            f"--port={port}",
            f"--admin-port={admin_port}",
            f"--ca-file={self.operator.tls_dir / 'ca.crt'}",
            f"--token-file={token_file}",
            f"--state-dir={self.directory / name}",
            f"--node-name={name}",
            "--drain-delay=0s",  # its clients hear of its end at once
            *flags,
        ]
        log = self.directory / f"{name}.log"
        gateway = Gateway(name, admin_port, log, argv, port, self.directory / name).start()
        self.gateways.append(gateway)
        return gateway

    def apply(self, manifests: str | Iterable[Mapping[str, Any]]) -> None:
        """``kubectl apply`` YAML text, or objects, into the namespace."""
        text = manifests if isinstance(manifests, str) else "\n---\n".join(json.dumps(each) for each in manifests)
        self.api.kubectl("apply", "-n", self.namespace, "-f", "-", input=text)

    def create(self, kind: str, name: str, spec: Mapping[str, Any]) -> None:
        """Create one of our objects without kubectl, faster."""
        self.api.request("POST", self._path(kind), our_object(kind, name, spec))

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One of our objects.

        Raises:
            ApiError: there is none.
        """
        answer: dict[str, Any] = self.api.request("GET", self._path(kind, name))
        return answer

    def patch(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        """Merge-patch an object of ours, or a Secret (``stringData`` works)."""
        self.api.request("PATCH", self._path(kind, name), change)

    def delete(self, kind: str, name: str) -> None:
        """Delete an object of ours, or a Secret."""
        self.api.request("DELETE", self._path(kind, name))

    def secret(self, name: str, *, labelled: bool = True, **entries: str) -> None:
        """Create a Secret."""
        labels = {"trunkline.dev/secret": "true"} if labelled else {}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "labels": labels}}
        self.api.request("POST", self._path("Secret"), {**body, "stringData": entries})

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """A condition of an object; empty where it is not there yet."""
        conditions = self.get(kind, name).get("status", {}).get("conditions", [])
        return next((each for each in conditions if each["type"] == condition), {})

    def wait_condition(
        self, kind: str, name: str, condition: str, status: str, *, reason: str = "", timeout_seconds: float = 10
    ) -> dict[str, Any]:
        """Return the condition once it has ``status`` (and ``reason``) for the object's current generation."""

        def probe() -> dict[str, Any]:
            body = self.get(kind, name)
            found = next(
                (each for each in body.get("status", {}).get("conditions", []) if each["type"] == condition), {}
            )
            fits = found.get("status") == status and (not reason or found.get("reason") == reason)
            return found if fits and found.get("observedGeneration") == body["metadata"]["generation"] else {}

        try:
            return wait_for(probe, timeout_seconds, f"{kind} {name} {condition}={status}")
        except TimeoutError as late:
            raise TimeoutError(f"{late}\n{json.dumps(self.get(kind, name).get('status'), indent=1)}") from None

    def logs(self) -> str:
        """What all processes have logged, for an error message and for a search for canaries."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-20_000:]}"
            for path in sorted(self.directory.glob("*.log"))
        )

    def _path(self, kind: str, name: str = "") -> str:
        root = "/api/v1" if kind == "Secret" else "/apis/trunkline.dev/v1alpha1"
        plural = {
            "Secret": "secrets",
            "ProviderCredential": "providercredentials",
            "ModelGroup": "modelgroups",
            "RoutePolicy": "routepolicies",
            "VirtualKey": "virtualkeys",
        }[kind]
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")


def our_object(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """An object of one of our kinds."""
    return {"apiVersion": "trunkline.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def install_crds(api: ApiServer) -> None:
    """Apply ``crds/`` and wait until they are established."""
    api.kubectl("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    api.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(REPOSITORY / "crds"))


def server_context(ca_file: Path) -> ssl.SSLContext:
    """A client's TLS context that trusts ``ca_file`` alone."""
    return ssl.create_default_context(cafile=str(ca_file))


def _ensure_account(api: ApiServer, namespace: str, name: str) -> None:
    for path, kind, body in (
        ("/api/v1/namespaces", "Namespace", namespace),
        (f"/api/v1/namespaces/{namespace}/serviceaccounts", "ServiceAccount", name),
    ):
        try:
            api.request("POST", path, {"apiVersion": "v1", "kind": kind, "metadata": {"name": body}})
        except ApiError as refused:
            if refused.status != 409:
                raise


def _environment() -> dict[str, str]:
    # A user's own settings must not reach the processes under test.
    return {name: value for name, value in os.environ.items() if not name.startswith(("TRUNKLINE_", "OPENAI_"))}


def _wait_ready(is_ready: Callable[[], bool], child: Child | None, name: str, timeout_seconds: float) -> None:
    def probe() -> bool:
        if child is None or not child.alive:
            raise RuntimeError(f"{name} is not running\n{child.log_tail() if child else ''}")
        return is_ready()

    try:
        wait_for(probe, timeout_seconds, f"{name} to be ready")
    except TimeoutError as late:
        raise TimeoutError(f"{late}\n{child.log_tail() if child else ''}") from None


def _metric(text: str, name: str, labels: Mapping[str, str]) -> float:
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        series, _, rest = head.partition("{")
        if series == name and all(f'{label}="{wanted}"' in rest for label, wanted in labels.items()):
            total += float(value)
    return total
