"""What the machine must have: Linux, root, a container runtime, and the programs built from source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from harness import binaries
from harness.assets import AssetsMissingError

__all__ = ["BINARIES", "AssetsMissingError", "cni_directory", "install", "why_not_here"]

BINARIES = (
    "etcd",
    "kubectl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "helm",
)

# By program and not by package alone: Docker's own containerd.io brings the same programs as Debian's containerd.
_PACKAGES = {
    "containerd": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
}
_BUILD_PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap"}
_CNI_PACKAGE = "containernetworking-plugins"
_CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))


def why_not_here() -> str:
    """Return in one sentence why no node can run on this machine, empty if it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        who = "root on Linux" if not sys.platform.startswith("linux") else "root"
        return f"a node of our own needs {who}: run as root, or set KUBECONFIG to any cluster (kind, k3d, a real one)"
    return ""


def cni_directory() -> Path | None:
    """Return the directory of the CNI plugins, ``None`` where there is none."""
    found = [path for path in _CNI_DIRECTORIES if all((path / name).exists() for name in ("bridge", "host-local"))]
    return found[0] if found else None


def install() -> None:
    """Install by apt what is missing of the container runtime, and build what is missing of Kubernetes (minutes, once).

    Raises:
        AssetsMissingError: something is missing and cannot be had here; one sentence.
    """
    missing = _missing_packages()
    if missing:
        if shutil.which("apt-get") is None:
            raise AssetsMissingError(f"missing on this machine: {', '.join(missing)} (Debian's names of the packages)")
        print(f"installing {' '.join(missing)}", file=sys.stderr)
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for argv in (["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", *missing]):
            done = subprocess.run(argv, env=environment, stdout=sys.stderr, check=False)
            if done.returncode != 0:
                raise AssetsMissingError(f"{' '.join(argv)} failed with exit code {done.returncode}")
    still = _missing_packages()
    if still:
        raise AssetsMissingError(f"still missing after the installation: {', '.join(still)}")
    binaries.build(*BINARIES)


def _missing_packages() -> list[str]:
    wanted = _PACKAGES if _docker_answers() else _PACKAGES | _BUILD_PACKAGES
    needed = {package for program, package in wanted.items() if shutil.which(program) is None}
    if cni_directory() is None:
        needed.add(_CNI_PACKAGE)
    return sorted(needed)


def _docker_answers() -> bool:
    """Whether ``scripts/images.sh`` builds with docker."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=30, check=False).returncode == 0
