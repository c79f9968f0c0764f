"""Where everything of the node is: addresses, names of links, files. One node per machine, since these are fixed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

NODE_NAME = "trunkline-node"
NODE_ADDRESS = "10.89.0.1"
"""The host's own address on a bridge that nothing is plugged into: what a node's InternalIP is elsewhere."""
NODE_LINK = "tlnode"
POD_LINK = "tlpods"
POD_RANGE = "10.244.0.0/24"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443
CGROUP = "trunkline-node"
"""Every container is in a cgroup below this one, so that whatever runs in it is ours to kill."""
RULE_COMMENT = "trunkline-node"
NETWORK_NAME = "trunkline-node"

PAUSE_IMAGE = "localhost/trunkline-node-pause:1"
COREDNS_IMAGE = "localhost/trunkline-node-coredns:1"
PROBE_IMAGE = "localhost/trunkline-node-probe:1"


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a node, all in one directory."""

    directory: Path

    @property
    def logs(self) -> Path:
        """One ``NAME.log`` per process."""
        return self.directory / "logs"

    @property
    def pids(self) -> Path:
        """What was started: one ``NAME.json`` per process."""
        return self.directory / "pids"

    @property
    def config(self) -> Path:
        """Configuration files, kubeconfigs and tokens."""
        return self.directory / "config"

    @property
    def certificates(self) -> Path:
        """Keys and certificates."""
        return self.directory / "pki"

    @property
    def images(self) -> Path:
        """Archives of the images that the node itself needs."""
        return self.directory / "images"

    @property
    def before(self) -> Path:
        """What of the machine is changed, as it was before."""
        return self.directory / "before.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.config / "admin.kubeconfig"

    @property
    def containerd_socket(self) -> Path:
        """Where containerd listens; the path tells its shims from those of another containerd."""
        return self.directory / "containerd.sock"

    @property
    def containerd_state(self) -> Path:
        """Containerd's state, with the network namespaces of the pods."""
        return self.directory / "containerd-state"

    @property
    def cni_config(self) -> Path:
        """Directory of the one CNI network."""
        return self.directory / "cni"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root, with the volumes of the pods."""
        return self.directory / "kubelet"

    def make_directories(self) -> None:
        """Make what must be there before anything starts. Only the owner may look inside."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Pods' users walk through it to their volumes only inside their own mounts, so it can stay closed.
        for path in (self.logs, self.pids, self.config, self.certificates, self.images, self.cni_config, self.kubelet):
            path.mkdir(exist_ok=True)


def default_layout() -> Layout:
    """Return the layout in ``TRUNKLINE_NODE_DIR``, else in ``/var/tmp/trunkline-node``.

    A fixed place, so that a run finds and clears what an earlier one left when it was killed.
    """
    return Layout(Path(os.environ.get("TRUNKLINE_NODE_DIR") or "/var/tmp/trunkline-node").absolute())
