"""etcd, kube-apiserver, the controllers and the scheduler, and everybody's way in."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import time
from dataclasses import dataclass

from cluster.node.certificates import Authority
from cluster.node.commands import CommandError, run
from cluster.node.layout import (
    API_PORT,
    API_SERVICE_ADDRESS,
    NODE_ADDRESS,
    NODE_NAME,
    SERVICE_RANGE,
    Layout,
)
from cluster.node.processes import Processes
from harness import binaries, certificates, ports
from harness.kube import StartError

_ETCD = "etcd"
_APISERVER = "kube-apiserver"

# Everyone has the rights that Kubernetes' own roles give to these names:
# https://kubernetes.io/docs/reference/access-authn-authz/rbac/#core-component-roles
_USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
}


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The control plane of one node. It keeps no state of its own: another process may stop what this one started."""

    layout: Layout
    processes: Processes

    def write_credentials(self) -> None:
        """Write keys, certificates, tokens and a kubeconfig for each component."""
        pki = self.layout.certificates
        authority = Authority(pki / "ca.crt")
        authority.issue_server(
            pki / "apiserver.crt",
            pki / "apiserver.key",
            names=(
                "kubernetes",
                "kubernetes.default",
                "kubernetes.default.svc",
                "kubernetes.default.svc.cluster.local",
            ),
            addresses=(NODE_ADDRESS, API_SERVICE_ADDRESS, "127.0.0.1"),
        )
        authority.issue_client(
            pki / "kubelet-client.crt", pki / "kubelet-client.key", user="kube-apiserver", group="system:masters"
        )
        certificates.rsa_key_pair(pki / "sa.key", pki / "sa.pub")
        lines = []
        for component, (user, group) in _USERS.items():
            token = secrets.token_urlsafe(24)
            lines.append(f"{token},{user},{user}" + (f',"{group}"' if group else ""))
            self._write_kubeconfig(component, token)
        tokens = self.layout.config / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text("\n".join(lines) + "\n", encoding="ascii")
        (self.layout.config / "etcd-ports.json").write_text(json.dumps(ports.free_ports(2)), encoding="ascii")

    def start_etcd(self) -> None:
        """Start etcd on the loopback interface."""
        client_port, peer_port = json.loads((self.layout.config / "etcd-ports.json").read_text(encoding="ascii"))
        client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
        self.processes.start(
            _ETCD,
            [
                str(binaries.locate("etcd")),
                f"--data-dir={self.layout.directory / 'etcd'}",
                "--unsafe-no-fsync",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ],
        )

    def start_apiserver(self, *, timeout_seconds: float = 60) -> None:
        """Start kube-apiserver on its port and etcd's data; return once it is ready.

        Raises:
            StartError: it died or was not ready in time.
        """
        pki = self.layout.certificates
        etcd_port, _ = json.loads((self.layout.config / "etcd-ports.json").read_text(encoding="ascii"))
        self.processes.start(
            _APISERVER,
            [
                str(binaries.locate("kube-apiserver")),
                f"--etcd-servers=http://127.0.0.1:{etcd_port}",
                f"--bind-address={NODE_ADDRESS}",
                f"--advertise-address={NODE_ADDRESS}",
                f"--secure-port={API_PORT}",
                f"--cert-dir={pki}",
                f"--tls-cert-file={pki / 'apiserver.crt'}",
                f"--tls-private-key-file={pki / 'apiserver.key'}",
                f"--client-ca-file={pki / 'ca.crt'}",
                f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
                f"--kubelet-client-key={pki / 'kubelet-client.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={pki / 'sa.pub'}",
                f"--service-account-signing-key-file={pki / 'sa.key'}",
                f"--service-cluster-ip-range={SERVICE_RANGE}",
                f"--token-auth-file={self.layout.config / 'tokens.csv'}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--allow-privileged=true",
            ],
        )
        self.wait_until_ready(timeout_seconds=timeout_seconds)

    def stop_apiserver(self) -> None:
        """``kill -9`` kube-apiserver: watches break, and connections are refused until it is started again."""
        self.processes.stop(_APISERVER, sig=signal.SIGKILL)

    def start_controllers(self) -> None:
        """Start kube-controller-manager and kube-scheduler; they wait for the API server by themselves."""
        pki = self.layout.certificates
        for name, flags in (
            (
                "kube-controller-manager",
                [
                    f"--service-account-private-key-file={pki / 'sa.key'}",
                    f"--root-ca-file={pki / 'ca.crt'}",
                    # As kubeadm has it: each controller with its own rights.
                    "--use-service-account-credentials=true",
                ],
            ),
            ("kube-scheduler", []),
        ):
            kubeconfig = self.kubeconfig_of(name)
            self.processes.start(
                name,
                [
                    str(binaries.locate(name)),
                    f"--kubeconfig={kubeconfig}",
                    f"--authentication-kubeconfig={kubeconfig}",
                    f"--authorization-kubeconfig={kubeconfig}",
                    "--leader-elect=false",
                    "--secure-port=0",
                    *flags,
                ],
            )

    def stop_controllers(self) -> None:
        """Stop kube-controller-manager and kube-scheduler."""
        for name in ("kube-controller-manager", "kube-scheduler"):
            self.processes.stop(name, timeout_seconds=3)

    def stop(self) -> None:
        """Stop all of it; kube-apiserver before etcd, without which it hangs."""
        self.stop_controllers()
        self.stop_apiserver()
        self.processes.stop(_ETCD, sig=signal.SIGKILL)

    def wait_until_ready(self, *, timeout_seconds: float = 60) -> None:
        """Return once ``/readyz`` says ok.

        Raises:
            StartError: a server died, or time is up.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self.kubectl("get", "--raw", "/readyz", "--request-timeout=2s")
            except CommandError as error:
                for name in (_ETCD, _APISERVER):
                    self.processes.check(name)
                if time.monotonic() > deadline:
                    tail = self.processes.log_tail(_APISERVER)
                    raise StartError(f"kube-apiserver is not ready: {error}\n{tail}") from None
                time.sleep(0.1)
            else:
                return

    def kubectl(self, *args: str, input: str | None = None, timeout_seconds: float = 60) -> str:
        """Run kubectl as the administrator.

        Raises:
            CommandError: it failed.
        """
        argv = [str(binaries.locate("kubectl")), f"--kubeconfig={self.layout.kubeconfig}"]
        argv.append(f"--cache-dir={self.layout.directory / 'kubectl-cache'}")
        return run([*argv, *args], input=input, timeout_seconds=timeout_seconds)

    def kubeconfig_of(self, component: str) -> str:
        """Return the path of a component's kubeconfig."""
        return str(self.layout.config / f"{component}.kubeconfig")

    def _write_kubeconfig(self, component: str, token: str) -> None:
        authority = base64.b64encode((self.layout.certificates / "ca.crt").read_bytes()).decode("ascii")
        server = {"server": f"https://{NODE_ADDRESS}:{API_PORT}", "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": component,
            "clusters": [{"name": NODE_NAME, "cluster": server}],
            "users": [{"name": component, "user": {"token": token}}],
            "contexts": [{"name": component, "context": {"cluster": NODE_NAME, "user": component}}],
        }
        path = self.layout.config / f"{component}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")
