"""kubelet and kube-proxy: what makes a machine a node."""

from __future__ import annotations

import json
from pathlib import Path

from cluster.node.commands import run
from cluster.node.controlplane import ControlPlane
from cluster.node.layout import (
    CGROUP,
    CLUSTER_DOMAIN,
    DNS_ADDRESS,
    NODE_ADDRESS,
    NODE_NAME,
    POD_RANGE,
    Layout,
)
from cluster.node.processes import Processes
from harness import binaries

_KUBELET = "kubelet"
_PROXY = "kube-proxy"


def start(layout: Layout, processes: Processes, control_plane: ControlPlane) -> None:
    """Start the kubelet and kube-proxy. containerd must answer already: the kubelet exits without it."""
    resolv = layout.config / "resolv.conf"
    # For pods with dnsPolicy Default; they are to hear of nobody outside.
    resolv.write_text(f"nameserver {DNS_ADDRESS}\n", encoding="ascii")
    processes.start(
        _KUBELET,
        [
            str(binaries.locate("kubelet")),
            f"--config={_write(layout, _KUBELET, _kubelet(layout, resolv))}",
            f"--kubeconfig={control_plane.kubeconfig_of(_KUBELET)}",
            f"--root-dir={layout.kubelet}",
            f"--cert-dir={layout.certificates / 'kubelet'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_ADDRESS}",
        ],
    )
    config = _write(layout, _PROXY, _proxy(control_plane.kubeconfig_of(_PROXY)))
    processes.start(_PROXY, [str(binaries.locate(_PROXY)), f"--config={config}"])


def stop_kubelet(processes: Processes) -> None:
    """Stop the kubelet: containers go on, and nobody brings them back."""
    processes.stop(_KUBELET, timeout_seconds=5)


def stop_proxy(layout: Layout, processes: Processes) -> None:
    """Stop kube-proxy and take its packet rules out."""
    processes.stop(_PROXY, timeout_seconds=5)
    config = layout.config / f"{_PROXY}.json"
    if config.exists():
        run([str(binaries.locate(_PROXY)), f"--config={config}", "--cleanup"], check=False)


def _write(layout: Layout, name: str, config: dict[str, object]) -> Path:
    path = layout.config / f"{name}.json"
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")
    return path


def _kubelet(layout: Layout, resolv: Path) -> dict[str, object]:
    """See https://kubernetes.io/docs/reference/config-api/kubelet-config.v1beta1/."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.certificates / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{layout.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "failSwapOn": False,
        "failCgroupV1": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(resolv),
        # A machine of developers or of CI may be nearly full; that is not what is tested.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "makeIPTablesUtilChains": False,
        "podLogsDir": str(layout.directory / "pod-logs"),
        "volumePluginDir": str(layout.directory / "volume-plugins"),
        "registryPullQPS": 0,
    }


def _proxy(kubeconfig: str) -> dict[str, object]:
    """See https://kubernetes.io/docs/reference/config-api/kube-proxy-config.v1alpha1/."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "iptables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE_NAME,
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": f"{NODE_ADDRESS}:10256",
        "metricsBindAddress": f"{NODE_ADDRESS}:10249",
        "nodePortAddresses": [f"{NODE_ADDRESS}/32"],
        # The machine's own connection tracking stays as it is.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "iptables": {"localhostNodePorts": False},
    }
